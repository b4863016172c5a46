"""One sitting of an investigation: its models, its worker, its loop, its report.

Everything the command line needs between parsing words and printing lines.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.budget import Budget
from agent.case import Case, Limits, load_case, located
from agent.investigation import Investigation, Spent
from agent.judge import MOST_JUDGES, JudgeFault, JudgeModel, JudgePanel, warning_of
from agent.language_model import LanguageModelInvestigator
from agent.llm.faults import LLMError
from agent.llm.prices import Prices
from agent.llm.providers import PROVIDERS, is_model, make_client
from agent.loop import Investigator, run
from agent.opening import open_run, opened_event
from agent.population import population_of
from agent.rendering import write_report
from agent.run_folder import RunFolder
from agent.scripted import ScriptedInvestigator
from agent.systematic import SystematicInvestigator
from agent.terminal import (
    CONFIGURATION,
    RESOURCES,
    USAGE,
    Progress,
    fail,
    faults_told,
    put,
    put_json,
    say,
)
from tools.judging import needs_judges
from tools.locator import ModelLocator
from tools.registry import Record
from tools.sequential import alpha_share
from tools.worker_client import ProcessWorker

NEEDED_MB = 200


def changed_case(
    path: Path,
    subject: str | None,
    reference: str | None,
    adapter: str | None,
    limits: dict[str, float | None],
) -> Case:
    """Read a case with what the command line changes about its models and limits; None changes nothing."""
    case = load_case(path)
    here = Path.cwd()
    changes: dict[str, Any] = {}
    if subject is not None:
        changes["subject"] = located(ModelLocator(model=subject), here)
    if adapter is not None:
        base = changes.get("subject", case.subject)
        chosen = None if adapter == "none" else adapter
        changes["subject"] = located(base.model_copy(update={"adapter": chosen}), here)
    if reference is not None:
        changes["reference"] = (
            None if reference == "none" else located(ModelLocator(model=reference), here)
        )
    given = {name: value for name, value in limits.items() if value is not None}
    if given:
        changes["limits"] = case.limits.model_copy(update=given)
    return case.model_copy(update=changes)


class Provider(Record):
    """How a language model is reached; nothing of it is kept in the run."""

    base_url: str | None = None
    cassette: Path | None = None
    prices: Path | None = None


def make_investigator(name: str, limits: Limits, provider: Provider | None = None) -> Investigator:
    """Return the investigator with that name; refuse an unknown one in one line."""
    if name == "systematic":
        return SystematicInvestigator()
    if name.startswith("scripted:"):
        return ScriptedInvestigator.load(Path(name.removeprefix("scripted:")))
    if is_model(name):
        return language_model(name, limits, provider or Provider())
    return fail(
        CONFIGURATION,
        f"unknown investigator {name!r}; known: systematic, scripted:FILE.json, "
        + ", ".join(f"{each}/MODEL" for each in PROVIDERS),
    )


def language_model(name: str, limits: Limits, provider: Provider) -> LanguageModelInvestigator:
    """Return an investigator that asks a model; refuse a budget in dollars that nobody can count."""
    prices = known_prices(name, limits, provider)
    client = make_client(name, provider.base_url, provider.cassette, say)
    return LanguageModelInvestigator(name, client, prices)


def known_prices(name: str, limits: Limits, provider: Provider) -> Prices:
    """Return the prices of models; refuse a budget in dollars where that of `name` is not known."""
    prices = Prices.load(provider.prices)
    if limits.dollars is not None and prices.cost(name, Spent()) is None:
        fail(
            CONFIGURATION,
            f"no price is known for {name}, so a budget in dollars cannot be kept; "
            "give its prices with --prices FILE.toml, or a budget in tokens",
        )
    return prices


def make_panel(given: Sequence[str], limits: Limits, provider: Provider) -> JudgePanel | None:
    """Return the judges of `NAME` or `NAME@URL` each; None without any. What to hold against them is said."""
    if len(given) > MOST_JUDGES:
        fail(USAGE, f"{len(given)} judges given, at most {MOST_JUDGES} can be compared")
    judges: list[JudgeModel] = []
    for number, each in enumerate(given, 1):
        name, url = judge_name(each)
        if not is_model(name):
            known = ", ".join(f"{provider}/MODEL" for provider in PROVIDERS)
            fail(
                USAGE,
                f"unknown judge {name!r}; a judge is one of {known}, with @URL behind it for a server",
            )
        prices = known_prices(name, limits, provider)
        try:
            client = make_client(name, url, provider.cassette, say)
        except LLMError as error:
            raise JudgeFault(number, name, error) from None
        judges.append(JudgeModel(name, client, prices))
    if not judges:
        return None
    panel = JudgePanel(judges)
    warning = warning_of(panel.names)
    if warning is not None:
        say(f"warning: {warning}")
    return panel


def judge_name(given: str) -> tuple[str, str | None]:
    """Return the name of a judge and where its server is; the place is not kept in the run."""
    name, mark, rest = given.partition("@http")
    return name, f"http{rest}" if mark else None


def same_judges(path: Path, given: Sequence[str]) -> Sequence[str]:
    """Return the judges to go on with: those of the run, where none are given again; refuse others."""
    stored = opened_event(RunFolder(path)).get("judges", [])
    if given and [judge_name(each)[0] for each in given] != stored:
        told = " and ".join(stored) or "no judges"
        fail(
            USAGE,
            f"this run was opened with {told}: give the same, in that order, or none to use them",
        )
    return given or stored


def seat(panel: JudgePanel | None, worker: ProcessWorker) -> None:
    """Let a worker's outputs be read by the judges, with their progress where the worker's is."""
    worker.judge = panel
    if panel is not None and worker.on_progress is not None:
        panel.progress = worker.on_progress


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


def start_worker(case: Case, path: Path) -> ProcessWorker:
    """Start the process that holds the subject; its blobs go where the run is."""
    progress = Progress()
    if case.subject.model.startswith("synthetic:"):
        table = Path(case.subject.model.removeprefix("synthetic:"))
        return ProcessWorker(
            None,
            None,
            path / "blobs",
            progress,
            table,
            catalogue=("tools.black_box:BLACK_BOX",),
            folder=path,
        )
    reference = case.reference.model_dump(mode="json") if case.reference else None
    return ProcessWorker(
        case.subject.model_dump(mode="json"), reference, path / "blobs", progress, folder=path
    )


def drive_new(
    path: Path,
    case: Case,
    investigator: Investigator,
    seed: int,
    panel: JudgePanel | None = None,
) -> None:
    """Open a run and drive it to its end; a run that could not be opened leaves nothing behind."""
    with faults_told(str(path) if (path / "events.jsonl").exists() else None):
        needs_judges(case.measure, panel)
        worker = start_worker(case, path)
        seat(panel, worker)
        try:
            population_of(case, seed)
            # A model that is refused is refused here, before there is a log.
            _ = worker.catalogue
            names = panel.names if panel else ()
            investigation = open_run(path, case, worker, investigator.name, seed, names)
        except BaseException:
            worker.close()
            if not (path / "events.jsonl").exists():
                shutil.rmtree(path, ignore_errors=True)
            raise
    with faults_told(str(path)):
        try:
            drive(investigation, investigator, panel)
        finally:
            worker.close()


def drive(
    investigation: Investigation, investigator: Investigator, panel: JudgePanel | None = None
) -> None:
    """Run the loop to its end and write the report."""
    if panel is not None:
        investigation.costs = panel.costs
    try:
        run(investigation, investigator, Budget(investigation.case.limits, investigation.minutes))
    finally:
        investigation.folder.close()
    write_report(investigation.folder.path)


USUAL_TOKENS = (130_000, 290_000)
"""What three investigations over the Messages API read and wrote in all, in 5 to 10 requests."""


def cost_told(investigator: LanguageModelInvestigator) -> str:
    """Return what an investigation by a model may cost, as far as its price is known."""
    tokens = " to ".join(f"{count:,}" for count in USUAL_TOKENS)
    spent = [Spent(input_tokens=count, output_tokens=6_000) for count in USUAL_TOKENS]
    dollars = [investigator.prices.cost(investigator.name, each) for each in spent]
    if dollars[0] is None:
        return f"some {tokens} tokens; no price is known for {investigator.name}"
    priced = " to ".join(f"{each:.2f}" for each in dollars if each is not None)
    return f"some {tokens} tokens, {priced} dollars without caching"


def plan(case: Case, investigator: Investigator, panel: JudgePanel | None = None) -> dict[str, Any]:
    """Return what a run of this case would do, without starting it."""
    population = population_of(case, 0)
    limits = case.limits
    share = alpha_share(limits.alpha, limits.registrations)
    pools = {pool: len(population.usable(pool)) for pool in ("explore", "confirm", "reserve")}
    asks = isinstance(investigator, LanguageModelInvestigator)
    return {
        "case": case.name,
        "kind": case.kind,
        "investigator": investigator.name,
        **({"cost of the model": cost_told(investigator)} if asks else {}),
        **({"judges": " and ".join(panel.names)} if panel else {}),
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
