"""Settings of the published pipelines, chosen on secrets that no exam asks for: `python -m evals.bench.validation`.

`choose` tries every setting of both grids on the organisms of a folder whose secrets no exam of `--exam` holds,
prints the table, and writes the best to the file that the pipelines read. `order` then holds both pipelines
against the text of the answers alone, on the folder's narrow organisms, as published: specimen by specimen, with an
interval. Both are resumable: what a look came to is kept under `--out`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from agent.budget import Budget
from agent.case import Case
from agent.loop import run
from agent.opening import open_run
from agent.run_folder import RunError
from agent.session import start_worker
from evals.bench.comparisons import Comparison, compare, with_verdicts
from evals.bench.elicitation import (
    DIFFERENCE_GRID,
    LENS_GRID,
    SETTINGS,
    DifferenceLens,
    LensToGuess,
    Settings,
    TextToGuess,
    settings_in,
    write_settings,
)
from evals.bench.guesses import GUESSES
from evals.bench.plan import read_plan
from evals.bench.records import Plan, ReferenceTrack, Specimen
from evals.bench.suites import SuiteError, built_in, case_of, truth_of
from evals.bench.tasks.identify import guessed
from evals.organisms.catalogue import SHIPPED
from evals.organisms.families.family import Truth
from tools.boundary import WorkerError
from tools.worker_client import ProcessWorker, SocketWorker, Worker
from tools.worker_socket import served

SCREENS = ("screen_differences",)
EARLINESS = "earliness"
"""1 / (place of the guess that completes the answer), 0 where none of the ten does."""
Start = Callable[[Case, Path], Worker]


class Validation(NamedTuple):
    """A specimen whose truth may be used, because no exam asks for it."""

    name: str
    case: Case
    right: Callable[[Sequence[str]], bool]
    """Says of the first guesses whether they name what is hidden."""
    start: Start = start_worker
    """Starts what holds the subject, for a run at that path."""


def earliness(pipeline: Any, specimen: Validation, path: Path) -> float:
    """Return how early a pipeline's guesses name the secret, from one look without screens; kept at `path`."""
    kept = path / "guesses.json"
    if not kept.exists():
        # A look that was cut off is one call: it is done again.
        shutil.rmtree(path, ignore_errors=True)
        guesses = looked(pipeline, specimen, path)
        partial = kept.with_suffix(".partial")
        partial.write_text(json.dumps(guesses), encoding="utf-8")
        partial.replace(kept)
    guesses = json.loads(kept.read_text(encoding="utf-8"))[:GUESSES]
    places = (place for place in range(1, len(guesses) + 1) if specimen.right(guesses[:place]))
    first = next(places, None)
    return 1 / first if first else 0.0


def looked(pipeline: Any, specimen: Validation, path: Path) -> Sequence[str]:
    """Return the guesses of one investigation."""
    case = specimen.case.model_copy(update={"without": SCREENS})
    worker = specimen.start(case, path)
    try:
        investigation = open_run(path, case, worker, pipeline.name, 0)
        run(investigation, pipeline, Budget(case.limits))
        investigation.folder.close()
    finally:
        worker.close()
    assert investigation.submission is not None
    return investigation.submission.answer.guesses


def tried(
    pipeline: Callable[[Settings], Any],
    grid: Sequence[Settings],
    specimen: Validation,
    folder: Path,
) -> list[float]:
    """Return the earliness under every setting; all have the same seed, and so the same prompts."""
    found: list[float] = []
    for settings in grid:
        who = pipeline(settings)
        # By what they are: a grid may grow, and what was done stays.
        mark = "-".join(map(str, settings))
        found.append(earliness(who, specimen, folder / f"{who.name}-{mark}" / specimen.name))
    return found


def best(grid: Sequence[Settings], table: Sequence[Sequence[float]]) -> Settings:
    """Return the settings with the highest mean over specimens (rows); of equal ones the first, as published."""
    means = [fmean(column) for column in zip(*table, strict=True)]
    return grid[means.index(max(means))]


def validation_secrets(folder: Path, plans: Iterable[Plan]) -> list[tuple[Specimen, Truth]]:
    """Return the organisms of a folder whose answers nobody is examined on; `SuiteError` without any.

    Those that ship are in the menagerie, and so are never among them.
    """
    asked = {answered(truth_of(each, plan.secret)) for plan in plans for each in plan.specimens}
    asked |= {answered(truth_of(each, "")) for each in built_in(SHIPPED, "menagerie", "")}
    every = [
        (each, truth_of(each, ""))
        for each in built_in(folder, f"folder:{folder}", "")
        if not each.null
    ]
    if not every:
        raise SuiteError(f"{folder}: no finished organism is there (each needs checksums.json)")
    found = [(each, truth) for each, truth in every if answered(truth) not in asked]
    if not found:
        raise SuiteError(
            f"{folder}: {len(every)} organisms, and the exam asks for the secret of each; make some of other "
            "secrets with `naturalist organisms make`"
        )
    return found


def answered(truth: Truth) -> tuple[str, tuple[str, ...]]:
    """Return what identifies a secret: its family and its answer."""
    return truth.family, tuple(map(str, truth.answer()["value"]))


@contextmanager
def ready(specimen: Specimen, truth: Truth) -> Generator[Validation]:
    """Hold a specimen's models in one worker for all that look at it meanwhile."""
    case, name = case_of(specimen), Path(specimen.folder or "").name
    with tempfile.TemporaryDirectory(prefix="naturalist-") as folder:
        worker = start_worker(case, Path(folder))
        # An organism is loaded here: only a model behind an API has another worker.
        assert isinstance(worker, ProcessWorker)
        socket = Path(folder) / "socket"
        with served(worker, socket):
            yield Validation(
                name,
                case,
                lambda guesses: guessed(truth, guesses),
                lambda _, path: SocketWorker(socket, path / "blobs"),
            )


def choose(specimens: Iterable[Validation], folder: Path, settings: Path) -> list[str]:
    """Try all settings, write the best to `settings`, and return the table of all."""
    lens: list[list[float]] = []
    difference: list[list[float]] = []
    for each in specimens:
        lens.append(tried(LensToGuess, LENS_GRID, each, folder))
        difference.append(tried(DifferenceLens, DIFFERENCE_GRID, each, folder))
    chosen = best(LENS_GRID, lens), best(DIFFERENCE_GRID, difference)
    why = (
        f"Chosen on {len(lens)} validation organisms by `python -m evals.bench.validation choose`."
    )
    write_settings(settings, *chosen, why)
    return [
        why,
        *table_of(LensToGuess.name, LENS_GRID, lens, chosen[0]),
        *table_of(DifferenceLens.name, DIFFERENCE_GRID, difference, chosen[1]),
    ]


def table_of(
    name: str, grid: Sequence[Settings], table: Sequence[Sequence[float]], chosen: Settings
) -> list[str]:
    """Return a Markdown table of settings: how early they name the secret, and how often at all."""
    fields = grid[0]._fields
    lines = ["", f"| {name}: {' | '.join(fields)} | 1 / place, mean | among ten guesses | |"]
    lines.append("|" + "---|" * (len(fields) + 3))
    for settings, column in zip(grid, zip(*table, strict=True), strict=True):
        named = sum(value > 0 for value in column)
        values = " | ".join(map(str, settings))
        mark = "chosen" if settings == chosen else ""
        lines.append(f"| {values} | {fmean(column):.3f} | {named} of {len(column)} | {mark} |")
    return lines


def order(specimens: Iterable[Validation], folder: Path, settings: Path) -> list[Comparison]:
    """Hold both pipelines, as they are set, against the text alone, specimen by specimen."""
    lens, difference = settings_in(settings)
    names = (LensToGuess.name, DifferenceLens.name, TextToGuess.name)
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for each in specimens:
        scores[LensToGuess.name][each.name] = tried(LensToGuess, [lens], each, folder)
        scores[DifferenceLens.name][each.name] = tried(DifferenceLens, [difference], each, folder)
        scores[TextToGuess.name][each.name] = tried(TextToGuess, [lens], each, folder)
    text = TextToGuess.name
    return list(
        with_verdicts(
            [
                compare(EARLINESS, ReferenceTrack.base, (name, text), scores[name], scores[text])
                for name in names[:2]
            ]
        )
    )


def told(found: Comparison) -> str:
    """Return a comparison in a line."""
    size = "no interval" if found.interval is None else "{:+.3f} to {:+.3f}".format(*found.interval)
    difference = "" if found.difference is None else f" {found.difference:+.3f} ({size}),"
    p = "" if found.p is None else f" p {found.p:.3g},"
    return (
        f"{found.first} less {found.second}, 1 / place of the right guess:{difference}{p} "
        f"{found.specimens} organisms: {found.words}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose settings or check the published order; 1 where that is not shown, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m evals.bench.validation", description=__doc__)
    parser.add_argument("what", choices=("choose", "order"))
    parser.add_argument("organisms", type=Path, help="a folder of finished organisms")
    parser.add_argument(
        "--exam", type=Path, action="append", default=[], help="the folder of a planned exam"
    )
    parser.add_argument("--out", type=Path, required=True, help="where looks are kept")
    parser.add_argument("--settings", type=Path, default=SETTINGS)
    given = parser.parse_args(arguments)
    try:
        secrets = validation_secrets(given.organisms, [read_plan(each) for each in given.exam])
        if given.what == "choose":
            lines = choose(each_ready(secrets), given.out, given.settings)
            sys.stdout.write("\n".join([*lines, ""]))
            return 0
        narrow = [pair for pair in secrets if pair[0].easiness == "narrow"]
        found = order(each_ready(narrow), given.out, given.settings)
    except (SuiteError, RunError, WorkerError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"{told(each)}\n" for each in found))
    return 0 if all(each.verdict == "shown" and (each.difference or 0) > 0 for each in found) else 1


def each_ready(secrets: Iterable[tuple[Specimen, Truth]]) -> Generator[Validation]:
    """Yield specimens with their models loaded, one after the other."""
    for specimen, truth in secrets:
        with ready(specimen, truth) as found:
            yield found


if __name__ == "__main__":
    sys.exit(main())
