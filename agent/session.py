"""One sitting of an investigation: its models, its worker, its loop, its report.

Everything the command line needs between parsing words and printing lines.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from agent.api_worker import api_worker
from agent.budget import Budget
from agent.case import Case, CaseError, Limits, load_case, located
from agent.cast import Cast, Provider, Roles, known_prices, make_cast, same_roles, seat
from agent.earlier_runs import count_earlier, told
from agent.engines import api_name, check_engines
from agent.house_tools import HOUSE_TOOLS, SCEPTIC_TOOLS
from agent.investigation import Investigation
from agent.judge import JudgePanel
from agent.llm.prices import Prices
from agent.loop import run
from agent.opening import open_run, opened_event, resume_run, stored_case, stored_tools
from agent.plan import resources_told
from agent.population import population_of
from agent.rendering import write_report
from agent.run_folder import RunFolder
from agent.terminal import CONFIGURATION, RESOURCES, Progress, fail, faults_told, put, put_json, say
from agent.words import WordsAside
from tools.boundary import DEFAULT_CATALOGUE, Catalogue
from tools.judging import needs_judges
from tools.locator import ModelLocator, described_in
from tools.registry import Record, ToolError, describe_faults, unknown
from tools.remote import OnProgress
from tools.sequential import alpha_share
from tools.worker_client import ProcessWorker, Worker

NEEDED_MB = 200


class Models(Record):
    """What a command line changes about a case's models; None changes nothing."""

    subject: str | None = None
    reference: str | None = None
    adapter: str | None = None
    url: str | None = None
    """Where models behind an API are, subject and reference alike."""
    key_env: str | None = None


def changed_case(
    path: Path, models: Models, limits: dict[str, float | None], without: Sequence[str] = ()
) -> Case:
    """Read a case with what the command line changes; raise `CaseError` for models that do not go together."""
    case = load_case(path)
    subject, reference, adapter = models.subject, models.reference, models.adapter
    here = Path.cwd()
    changes: dict[str, Any] = {}
    described = described_in(Path(subject)) if subject is not None else None
    if described is not None:
        # What a prompted organism is held against is the same model without its prompt.
        changes = {
            "subject": described,
            "reference": described.model_copy(update={"system": None}),
        }
    elif subject is not None:
        changes["subject"] = located(ModelLocator(model=subject), here)
    if adapter is not None:
        base = changes.get("subject", case.subject)
        chosen = None if adapter == "none" else adapter
        changes["subject"] = located(base.model_copy(update={"adapter": chosen}), here)
    if reference is not None:
        changes["reference"] = (
            None if reference == "none" else located(ModelLocator(model=reference), here)
        )
    if without:
        changes["without"] = tuple(without)
    given = {name: value for name, value in limits.items() if value is not None}
    if given:
        changes["limits"] = changed_limits(case.limits, given)
    case = reached(case.model_copy(update=changes), models)
    check_engines(case)
    return case


def changed_limits(limits: Limits, given: dict[str, float]) -> Limits:
    """Return the limits with those given in their place; raise `CaseError` for one that is none."""
    try:
        return Limits.model_validate(limits.model_dump() | given)
    except ValidationError as error:
        raise CaseError("\n".join(describe_faults("--budget", Limits, error))) from None


def reached(case: Case, models: Models) -> Case:
    """Return a case whose models are asked at the address, and with the key, of the command line."""
    given = {"base_url": models.url, "key_env": models.key_env}
    given = {name: value for name, value in given.items() if value is not None}
    changes = {
        role: locator.model_copy(update=given)
        for role, locator in (("subject", case.subject), ("reference", case.reference))
        if locator is not None and (role == "subject" or api_name(locator) is not None)
    }
    return case.model_copy(update=changes) if given else case


def new_run_path(runs: Path, name: str) -> Path:
    """Return a folder for a new run, named by time and case."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    number = 1
    while (runs / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return runs / (stem if number == 1 else f"{stem}-{number}")


def check_disk(path: Path) -> None:
    """Refuse to start on a nearly full disk."""
    parent = next(each for each in path.resolve().parents if each.exists())
    free = shutil.disk_usage(parent).free / 2**20
    if free < NEEDED_MB:
        fail(
            RESOURCES,
            f"{free:.0f} MB free under {parent}, a run needs {NEEDED_MB}; free some, or use --runs",
        )


class Start(NamedTuple):
    """How a worker is started."""

    prices: Path | None = None
    own_tools: tuple[str, ...] = ()
    """Files of a researcher's tools, as `tools.boundary.load_tools` takes them."""
    on_progress: OnProgress | None = None
    ask_again: bool = False
    """For a `rerun`: ask a subject behind an API also what it was asked before, and offer the tool that
    follows recorded texts."""


def start_worker(
    case: Case,
    path: Path,
    start: Start = Start(),  # noqa: B008
) -> Worker:
    """Start what holds the subject; its blobs go where the run is."""
    progress = start.on_progress or Progress()
    check_engines(case)
    name = api_name(case.subject)
    if name is not None:
        if start.own_tools:
            fail(CONFIGURATION, "--tools: tools of your own need a model on this machine")
        known = known_prices(name, case.limits, start.prices)
        return api_worker(case, path, progress, known, keep=not start.ask_again, say=say)
    if case.subject.model.startswith("synthetic:"):
        table = Path(case.subject.model.removeprefix("synthetic:"))
        return ProcessWorker(
            None,
            None,
            path / "blobs",
            progress,
            table,
            catalogue=("tools.black_box:BLACK_BOX", *start.own_tools),
            folder=path,
        )
    reference = case.reference.model_dump(mode="json") if case.reference else None
    extra = ("tools.following:FOLLOWING",) if start.ask_again else ()
    return ProcessWorker(
        case.subject.model_dump(mode="json"),
        reference,
        path / "blobs",
        progress,
        catalogue=(DEFAULT_CATALOGUE, *extra, *start.own_tools),
        folder=path,
    )


def counted(runs: Path, case: Case, worker: Worker, *, fresh: bool) -> dict[str, Any]:
    """Count earlier runs of the case on this subject, say what they mean, and return it for the first event."""
    subject = worker.catalogue.models.get("subject", "")
    earlier = count_earlier(runs, case.name, subject, case.limits, fresh=fresh)
    if earlier.runs:
        say(told(earlier, case.limits))
    return {"earlier": earlier.model_dump(mode="json")}


def worker_again(path: Path, start: Start = Start()) -> Worker:  # noqa: B008
    """Start the worker of a run once more, with the models and the tools it was opened with."""
    return start_worker(
        stored_case(path), path, start._replace(own_tools=tuple(stored_tools(path)))
    )


def tool_files(given: Sequence[Path]) -> tuple[str, ...]:
    """Return files of own tools by their full path; raise `ToolError` for one that is not there."""
    gone = [path for path in given if not path.is_file()]
    if gone:
        raise ToolError(f"--tools: no file {gone[0]}")
    return tuple(str(path.resolve()) for path in given)


class Opening(NamedTuple):
    """What a new run is opened with beside its case."""

    seed: int = 0
    tools: tuple[str, ...] = ()
    """Files of a researcher's own tools."""
    prices: Path | None = None
    panel: JudgePanel | None = None
    worker: Worker | None = None
    """One that holds the case's models already; None starts one."""
    circumstances: Callable[[Worker], Mapping[str, Any]] = lambda _: {}
    """Asked before the first event what the run has to remember of other folders."""


def open_new(
    path: Path, case: Case, name: str, opening: Opening, on_progress: OnProgress | None = None
) -> Investigation:
    """Open a run with a worker; one that could not be opened leaves nothing behind."""
    needs_judges(case.measure, opening.panel)
    worker = opening.worker or start_worker(
        case, path, Start(opening.prices, opening.tools, on_progress)
    )
    seat(opening.panel, worker)
    try:
        population_of(case, opening.seed)
        # A model that is refused is refused here, before there is a log.
        refuse_shadowed(worker.catalogue)
        refuse_strange(case, worker.catalogue)
        tools = {"tools": list(opening.tools)} if opening.tools else {}
        known = {**opening.circumstances(worker), **tools}
        return open_run(path, case, worker, name, opening.seed, known)
    except BaseException:
        worker.close()
        if not (path / "events.jsonl").exists():
            shutil.rmtree(path, ignore_errors=True)
        raise


def refuse_shadowed(catalogue: Catalogue) -> None:
    """Raise `ToolError` for a tool that has the name of one of ours, and so could never be called."""
    ours = {tool.name for tool in (*HOUSE_TOOLS, *SCEPTIC_TOOLS)}
    taken = [entry["name"] for entry in catalogue.tools if entry["name"] in ours]
    if taken:
        raise ToolError(f"a tool of yours is called {taken[0]!r}, as one of the harness; rename it")


def refuse_strange(case: Case, catalogue: Catalogue) -> None:
    """Raise `ToolError` for a tool to go without that there is not: nothing would be left out."""
    names = [entry["name"] for entry in catalogue.tools if entry["for_investigator"]]
    # A run without this one could not end.
    names += [tool.name for tool in HOUSE_TOOLS if tool.name != "submit_report"]
    strange = [name for name in case.without if name not in names]
    if strange:
        raise ToolError(f"--without: {unknown('tool', strange[0], names)}")


def open_again(path: Path, on_progress: OnProgress | None = None) -> Investigation:
    """Open a run where it was left, with its worker; a worker that is of no use is stopped."""
    worker = worker_again(path, Start(on_progress=on_progress))
    try:
        return resume_run(path, worker)
    except BaseException:
        worker.close()
        raise


def drive_new(
    path: Path,
    case: Case,
    cast: Cast,
    opening: Opening,
    again: Path | None = None,
) -> None:
    """Open a run and drive it to its end; a run that could not be opened leaves nothing behind.

    `again` is what a user resumes after a fault, by default the run.
    """
    with faults_told(str(path) if (path / "events.jsonl").exists() else None):
        asked = opening.circumstances
        opening = opening._replace(
            panel=cast.panel, circumstances=lambda w: {**cast.circumstances(), **asked(w)}
        )
        investigation = open_new(path, case, cast.investigator.name, opening)
    with faults_told(str(again or path)):
        try:
            drive(investigation, cast)
        finally:
            investigation.worker.close()


def drive_old(
    path: Path,
    given: Roles,
    provider: Provider,
    *,
    accept_code_change: bool = False,
    again: Path | None = None,
    worker: Worker | None = None,
) -> None:
    """Go on with a run that was stopped anywhere, to its end; `worker` as in `Opening`."""
    with faults_told(str(again or path)):
        case = stored_case(path)
        name = opened_event(RunFolder(path))["investigator"]
        cast = make_cast(name, case, same_roles(path, given), provider)
        worker = worker or worker_again(path, Start(prices=provider.prices))
        seat(cast.panel, worker)
        try:
            drive(resume_run(path, worker, accept_code_change=accept_code_change), cast)
        finally:
            worker.close()


def drive(investigation: Investigation, cast: Cast) -> None:
    """Run the loop to its end and write the report."""
    cast.join(investigation)
    try:
        investigation.words = WordsAside(investigation.folder.path)
        budget = Budget(investigation.case.limits, investigation.minutes)
        run(investigation, cast.investigator, budget, cast.sceptic)
    finally:
        investigation.folder.close()
    write_report(investigation.folder.path)


def plan(case: Case, cast: Cast, prices: Path | None = None) -> dict[str, Any]:
    """Return what a run of this case would do, without starting it; `prices` are a user's own."""
    investigator = cast.investigator
    population = population_of(case, 0)
    limits = case.limits
    share = alpha_share(limits.alpha, limits.registrations)
    pools = {pool: len(population.usable(pool)) for pool in ("explore", "confirm", "reserve")}
    return {
        "case": case.name,
        "kind": case.kind,
        "investigator": investigator.name,
        **cast.names(),
        **({"judges": " and ".join(cast.judges())} if cast.panel else {}),
        **resources_told(case, population, cast, Prices.load(prices)),
        "templates": ", ".join(f"{count} to {pool}" for pool, count in pools.items()),
        "scope of a finding": population.scope,
        "reference": "yes" if case.reference else "no: contrasts between prompts only",
        "registrations": f"at most {limits.registrations}, each at alpha {share:.4g}",
        "limits": ", ".join(
            f"{k} {v}" for k, v in case.limits.model_dump().items() if v is not None
        ),
    }


def announce(path: Path, as_json: bool) -> None:
    """Say where the report is and what it found, in a few lines."""
    file = path / "report" / "report.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    if as_json:
        put_json({"run": str(path), "report": content})
        return
    for sentence in content["answer"]["sentences"]:
        put(sentence)
    for finding in content["findings"]:
        put(f"  {finding['id']} {finding['status']}: {finding['statement']}")
    put(f"report: {path / 'report' / 'report.html'}")
