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
from agent.house_tools import HOUSE_TOOLS, SCEPTIC_TOOLS
from agent.investigation import Investigation, Spent
from agent.language_model import LanguageModelInvestigator
from agent.llm.conversation import Client
from agent.llm.prices import Prices
from agent.llm.providers import PROVIDERS, is_model, make_client
from agent.loop import HANDED_IN, Investigator, run
from agent.opening import open_run, stored_case, stored_tools
from agent.plan import answers_told
from agent.population import population_of
from agent.rendering import write_report
from agent.scripted import ScriptedInvestigator
from agent.systematic import SystematicInvestigator
from agent.terminal import (
    CONFIGURATION,
    RESOURCES,
    Progress,
    fail,
    faults_told,
    put,
    put_json,
    say,
)
from agent.words import WordsAside
from agent.writer import LanguageModelWriter
from tools.boundary import DEFAULT_CATALOGUE, Catalogue
from tools.locator import ModelLocator
from tools.registry import Record, ToolError
from tools.remote import OnProgress
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
    if name in HANDED_IN:
        fail(CONFIGURATION, HANDED_IN[name])
    return fail(
        CONFIGURATION,
        f"unknown investigator {name!r}; known: systematic, scripted:FILE.json, "
        + ", ".join(f"{each}/MODEL" for each in PROVIDERS),
    )


def language_model(name: str, limits: Limits, provider: Provider) -> LanguageModelInvestigator:
    """Return an investigator that asks a model; refuse a budget in dollars that nobody can count."""
    prices = Prices.load(provider.prices)
    if limits.dollars is not None and prices.cost(name, Spent()) is None:
        fail(
            CONFIGURATION,
            f"no price is known for {name}, so a budget in dollars cannot be kept; "
            "give its prices with --prices FILE.toml, or a budget in tokens",
        )
    client = make_client(name, provider.base_url, provider.cassette, say)
    return LanguageModelInvestigator(name, client, prices)


class Roles(Record):
    """Models beside the investigator: a name such as `anthropic/MODEL`, or `openai-chat/MODEL@URL`."""

    writer: str | None = None
    sceptic: str | None = None

    def named(self) -> dict[str, str]:
        """Return who takes part, by role."""
        return self.model_dump(exclude_none=True)


def role_model(role: str, name: str, provider: Provider) -> tuple[str, Client, Prices]:
    """Return a role's model, its client and its prices; a URL behind `@` is where its server is."""
    model, _, url = name.partition("@")
    if not is_model(model):
        fail(
            CONFIGURATION,
            f"--{role} {name!r} is no model; give PROVIDER/MODEL or PROVIDER/MODEL@URL",
        )
    client = make_client(model, url or provider.base_url, provider.cassette, say)
    return model, client, Prices.load(provider.prices)


def with_roles(
    investigation: Investigation, provider: Provider
) -> LanguageModelInvestigator | None:
    """Give the investigation its writer, if it has one, and return its sceptic, if it has one."""
    roles = investigation.roles
    if "writer" in roles:
        investigation.writer = LanguageModelWriter(*role_model("writer", roles["writer"], provider))
    if "sceptic" not in roles:
        return None
    return LanguageModelInvestigator(*role_model("sceptic", roles["sceptic"], provider))


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


def start_worker(
    case: Case,
    path: Path,
    own_tools: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> ProcessWorker:
    """Start the process that holds the subject; its blobs go where the run is.

    `own_tools` are files of a researcher's tools, as `tools.boundary.load_tools` takes them.
    """
    progress = on_progress or Progress()
    if case.subject.model.startswith("synthetic:"):
        table = Path(case.subject.model.removeprefix("synthetic:"))
        return ProcessWorker(
            None,
            None,
            path / "blobs",
            progress,
            table,
            catalogue=("tools.black_box:BLACK_BOX", *own_tools),
            folder=path,
        )
    reference = case.reference.model_dump(mode="json") if case.reference else None
    return ProcessWorker(
        case.subject.model_dump(mode="json"),
        reference,
        path / "blobs",
        progress,
        catalogue=(DEFAULT_CATALOGUE, *own_tools),
        folder=path,
    )


def worker_again(path: Path, on_progress: OnProgress | None = None) -> ProcessWorker:
    """Start the worker of a run once more, with the models and the tools it was opened with."""
    return start_worker(stored_case(path), path, stored_tools(path), on_progress)


def tool_files(given: Sequence[Path]) -> tuple[str, ...]:
    """Return files of own tools by their full path; raise `ToolError` for one that is not there."""
    gone = [path for path in given if not path.is_file()]
    if gone:
        raise ToolError(f"--tools: no file {gone[0]}")
    return tuple(str(path.resolve()) for path in given)


class Opening(Record):
    """What a new run is opened with beside its case."""

    seed: int = 0
    roles: dict[str, str] = {}
    """Role -> name of a model."""
    tools: tuple[str, ...] = ()
    """Files of a researcher's own tools."""


def open_new(
    path: Path, case: Case, name: str, opening: Opening, on_progress: OnProgress | None = None
) -> Investigation:
    """Start a worker and open a run; one that could not be opened leaves nothing behind."""
    worker = start_worker(case, path, opening.tools, on_progress)
    try:
        population_of(case, opening.seed)
        # A model that is refused is refused here, before there is a log.
        refuse_shadowed(worker.catalogue)
        return open_run(path, case, worker, name, opening.seed, opening.roles, opening.tools)
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


def drive_new(
    path: Path,
    case: Case,
    investigator: Investigator,
    opening: Opening,
    provider: Provider | None = None,
) -> None:
    """Open a run and drive it to its end; a run that could not be opened leaves nothing behind."""
    with faults_told(str(path) if (path / "events.jsonl").exists() else None):
        investigation = open_new(path, case, investigator.name, opening)
    with faults_told(str(path)):
        try:
            drive(investigation, investigator, provider or Provider())
        finally:
            investigation.worker.close()


def drive(investigation: Investigation, investigator: Investigator, provider: Provider) -> None:
    """Run the loop to its end and write the report."""
    try:
        sceptic = with_roles(investigation, provider)
        investigation.words = WordsAside(investigation.folder.path)
        budget = Budget(investigation.case.limits, investigation.minutes)
        run(investigation, investigator, budget, sceptic)
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


def plan(case: Case, investigator: Investigator, roles: Roles | None = None) -> dict[str, Any]:
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
        **(roles.named() if roles else {}),
        **answers_told(case, population),
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
