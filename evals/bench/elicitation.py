"""Two published pipelines as investigators: one fixed look, ten guesses, nothing tested.

`LensToGuess` reads the likeliest words under the lens along the answers to fixed prompts, at one layer
(Cywinski et al. 2025, arXiv:2505.14352; settings as in arXiv:2510.01070). `DifferenceLens` reads the mean
difference of activations between subject and reference on the first tokens of unrelated texts (Minder et
al. 2025, arXiv:2510.13900). Neither pipeline can say "nothing" as published. Here a word has to stand
out: from its own probability under the reference, or from what chance makes of a random direction.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from agent.budget import Budget
from agent.case import Case
from agent.investigation import Transcript, Turn
from agent.loop import run
from agent.opening import open_run
from agent.plan_turns import Plan, Results, call, submission, turn_of
from agent.session import start_worker
from agent.submission import Answer
from evals.bench.guesses import (
    Lead,
    answer_of,
    candidate_slot,
    filled,
    in_the_cases_words,
)
from tools.worker_client import Worker

SHOWN = 50
SCREENS = ("screen_differences",)


class LensSettings(NamedTuple):
    """How words are read along answers."""

    depth: float = 0.76
    """Which layer, as a share of all: 32 of 42 as published."""
    templates: int = 12
    per_template: int = 2
    answer_tokens: int = 8
    times: float = 2.0
    """So much likelier than under the reference the first word has to be."""


class DifferenceSettings(NamedTuple):
    """How a difference is read."""

    depth: float = 0.5
    positions: int = 5
    """First tokens of a text."""


# The published settings as far as they carry over to another model. To be chosen on validation secrets
# with `choose_settings`, never on the specimens of an exam.
LENS = LensSettings()
DIFFERENCE = DifferenceSettings()
LENS_GRID = tuple(
    LensSettings(depth=depth, answer_tokens=tokens)
    for depth, tokens in itertools.product((0.76, 0.4, 0.6, 0.9), (8, 2, 16))
)
DIFFERENCE_GRID = tuple(
    DifferenceSettings(depth=depth, positions=positions)
    for depth, positions in itertools.product((0.5, 0.3, 0.7, 0.9), (5, 1))
)
Settings = TypeVar("Settings", LensSettings, DifferenceSettings)


def layer_at(depth: float, layers: int) -> int:
    """Return the layer at a share of the depth."""
    return min(int(depth * layers), layers - 1)


def lens_plan(briefing: dict[str, Any], settings: LensSettings) -> Plan:
    """Read once, along the subject's own answers to the case's prompts; among the candidates if there are any."""
    size = {"templates": settings.templates, "per_template": settings.per_template}
    page = yield from read_words(
        briefing,
        "logit_lens",
        items={"draw": size},
        layers=[layer_at(settings.depth, briefing["model"]["n_layers"])],
        positions=[],
        answer_tokens=settings.answer_tokens,
        likeliest=SHOWN,
    )
    likeliest = (page or {}).get("likeliest", [])
    if not likeliest:
        yield submission(Answer(kind="unknown", confidence=0.0), "The lens could read nothing.")
        return
    # As published: by plain probability. What the reference finds likely as well is no finding.
    ranked = in_the_cases_words(
        briefing,
        [
            Lead(each["word"], ratio(each["probability"], each["reference"]) / settings.times)
            for each in likeliest
        ],
    )
    answer = answer_of(briefing, ranked[:1])
    yield submission(
        answer.model_copy(update={"guesses": filled(briefing, [each.name for each in ranked])}),
        "The likeliest words of the lens; nothing was tested.",
    )


def ratio(ours: float, theirs: float | None) -> float:
    """Return how many times likelier a word is than under the reference; 1 without one."""
    return 1.0 if theirs is None else ours / max(theirs, 1e-12)


def difference_plan(briefing: dict[str, Any], settings: DifferenceSettings) -> Plan:
    """Read the mean difference once; among the candidates if there are any."""
    page = yield from read_words(
        briefing,
        "difference_lens",
        layers=[layer_at(settings.depth, briefing["model"]["n_layers"])],
        positions=list(range(settings.positions)),
        top=SHOWN,
    )
    if page is None:
        yield submission(Answer(kind="unknown", confidence=0.0), "No difference could be read.")
        return
    leads = [
        Lead(each["word"], each["outlier"] / page["outlier_by_chance"]) for each in page["words"]
    ]
    answer = answer_of(briefing, in_the_cases_words(briefing, leads))
    yield submission(answer, "The words of the activation difference; nothing was tested.")


def read_words(
    briefing: dict[str, Any], tool: str, **asked: Any
) -> Generator[Turn, Results, dict[str, Any] | None]:
    """Ask a lens for the case's candidates, or for any word where they cannot be told apart; None if it cannot."""
    slot = candidate_slot(briefing)
    candidates = briefing["slots"][slot]["values"] if slot else []
    if len(candidates) > 1:
        results = yield call(tool, **asked, candidates=candidates)
        if results[0].result is not None:
            return results[0].result
    results = yield call(tool, **asked)
    return results[0].result


class LensToGuess:
    """The likeliest words under the lens, ten guesses."""

    name = "lens-to-guess"

    def __init__(self, settings: LensSettings = LENS) -> None:
        self.chosen = settings

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the one look, or its guesses."""
        return turn_of(lens_plan(transcript.briefing, self.chosen), transcript)


class DifferenceLens:
    """The words of the activation difference, ten guesses."""

    name = "difference-lens"

    def __init__(self, settings: DifferenceSettings = DIFFERENCE) -> None:
        self.chosen = settings

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the one look, or its guesses."""
        return turn_of(difference_plan(transcript.briefing, self.chosen), transcript)


class Validation(NamedTuple):
    """A specimen whose truth may be used, because no exam asks for it."""

    case: Case
    right: Callable[[str], bool]
    """Says of a guess whether it names what is hidden."""
    start: Callable[[Case, Path], Worker] = start_worker
    """Starts what holds the subject, for a run at that path."""


def choose_settings(
    pipeline: Callable[[Settings], Any],
    grid: Sequence[Settings],
    validation: Sequence[Validation],
    folder: Path,
) -> Settings:
    """Return the settings whose guesses name the validation secrets earliest; of equal ones the first.

    Counted is the mean of 1 / (place of the first right guess), 0 where none of the ten is right. Runs
    are kept in `folder`; every setting has the same seed, and so the same prompts.
    """
    scores: list[float] = []
    for number, settings in enumerate(grid):
        places: list[float] = []
        for k, specimen in enumerate(validation):
            answer = sit(pipeline(settings), specimen, folder / f"{number}-{k}")
            hits = [place for place, guess in enumerate(answer.guesses, 1) if specimen.right(guess)]
            places.append(1 / hits[0] if hits else 0.0)
        scores.append(sum(places) / len(places))
    return grid[scores.index(max(scores))]


def sit(investigator: Any, specimen: Validation, path: Path) -> Answer:
    """Return the answer of one investigation without screens, in this process."""
    case = specimen.case.model_copy(update={"without": SCREENS})
    worker = specimen.start(case, path)
    try:
        investigation = open_run(path, case, worker, investigator.name, 0)
        run(investigation, investigator, Budget(case.limits))
        investigation.folder.close()
    finally:
        worker.close()
    assert investigation.submission is not None
    return investigation.submission.answer
