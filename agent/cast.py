"""Who takes part in a run beside the subject: the investigator, a writer, a sceptic, two judges.

Models are named `PROVIDER/MODEL`, with `@URL` behind it where a server of one's own is meant. A run
keeps their names and nothing of how they are reached.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.aggregator import AggregatorInvestigator
from agent.case import Case, Limits
from agent.investigation import Investigation, Spent
from agent.judge import MOST_JUDGES, JudgeFault, JudgeModel, JudgePanel, warning_of
from agent.language_model import LanguageModelInvestigator
from agent.llm.cassette import CassetteClient
from agent.llm.conversation import Client
from agent.llm.faults import LLMError
from agent.llm.prices import Prices
from agent.llm.providers import PROVIDERS, is_model, make_client
from agent.llm.retrying import BUDGET_S
from agent.loop import HANDED_IN, Investigator
from agent.opening import opened_event
from agent.person import PersonInvestigator
from agent.run_folder import RunFolder
from agent.scripted import ScriptedInvestigator
from agent.systematic import SystematicInvestigator
from agent.terminal import CONFIGURATION, USAGE, fail, say
from agent.writer import LanguageModelWriter
from tools.boundary import load_module
from tools.registry import Record, ToolError
from tools.worker_client import InProcessWorker, ProcessWorker, Worker

OWN, SCRIPTED = "python:", "scripted:"
KNOWN = ", ".join(f"{provider}/MODEL" for provider in PROVIDERS)


class Provider(Record):
    """How the investigating model is reached; nothing of it is kept in the run."""

    base_url: str | None = None
    key_env: str | None = None
    """The environment variable that holds the key of a server of one's own."""
    cassette: Path | None = None
    prices: Path | None = None
    retry_minutes: float = BUDGET_S / 60
    """So long a request that fails is tried again."""


class Roles(Record):
    """Models beside the investigator, as they were given."""

    writer: str | None = None
    sceptic: str | None = None
    judges: tuple[str, ...] = ()

    def named(self) -> Roles:
        """Return them without their places, which nothing keeps."""

        def name(given: str | None) -> str | None:
            return name_and_place(given)[0] if given else None

        judges = tuple(name_and_place(each)[0] for each in self.judges)
        return Roles(writer=name(self.writer), sceptic=name(self.sceptic), judges=judges)


class Cast(NamedTuple):
    """Everybody, ready to speak."""

    investigator: Investigator
    writer: LanguageModelWriter | None = None
    sceptic: LanguageModelInvestigator | None = None
    panel: JudgePanel | None = None

    def circumstances(self) -> dict[str, Any]:
        """Return what a run remembers of them."""
        roles, judges = self.names(), self.judges()
        return {
            **({"roles": roles} if roles else {}),
            **({"judges": list(judges)} if judges else {}),
        }

    def names(self) -> dict[str, str]:
        """Return who takes part beside investigator and judges, by role."""
        found = {"writer": self.writer, "sceptic": self.sceptic}
        return {role: each.name for role, each in found.items() if each is not None}

    def judges(self) -> tuple[str, ...]:
        """Return the names of the judges."""
        return self.panel.names if self.panel else ()

    def join(self, investigation: Investigation) -> None:
        """Give an investigation its writer, and let it count what judges cost."""
        investigation.writer = self.writer
        if self.panel is not None:
            investigation.costs = self.panel.costs


def make_cast(name: str, case: Case, roles: Roles, provider: Provider) -> Cast:
    """Return everybody who takes part; refuse an unknown name in one line."""
    limits = case.limits
    writer = role_model("writer", roles.writer, limits, provider)
    sceptic = role_model("sceptic", roles.sceptic, limits, provider)
    return Cast(
        investigator=make_investigator(name, limits, provider),
        writer=LanguageModelWriter(*writer) if writer else None,
        sceptic=LanguageModelInvestigator(*sceptic) if sceptic else None,
        panel=make_panel(roles.judges, limits, provider),
    )


def refuse_idle(name: str, roles: Roles, provider: Provider) -> None:
    """Refuse options of an investigating model where a program investigates: they would do nothing."""
    if is_model(name):
        return
    given: dict[str, object] = {
        "--base-url": provider.base_url,
        "--key-env": provider.key_env,
    }
    if not (roles.writer or roles.sceptic or roles.judges):
        given["--cassette"] = provider.cassette
    idle = [option for option, value in given.items() if value is not None]
    if idle:
        fail(
            USAGE,
            f"{' and '.join(idle)}: for an investigating model, and {name!r} is a program; leave it out, or give "
            "--investigator PROVIDER/MODEL (a subject's server is --subject-url, a role's stands behind its @)",
        )


def make_investigator(name: str, limits: Limits, provider: Provider | None = None) -> Investigator:
    """Return the investigator with that name; refuse an unknown one in one line."""
    for program in (SystematicInvestigator, AggregatorInvestigator, PersonInvestigator):
        if name == program.name:
            return program()
    if name.startswith(OWN):
        return own_investigator(name)
    if name.startswith(SCRIPTED):
        return ScriptedInvestigator.load(Path(name.removeprefix(SCRIPTED)))
    if is_model(name):
        provider = provider or Provider()
        prices = known_prices(name, limits, provider.prices)
        client = client_for(name, provider.base_url, provider.key_env, provider)
        return LanguageModelInvestigator(name, client, prices)
    if name in HANDED_IN:
        fail(CONFIGURATION, HANDED_IN[name])
    return fail(
        CONFIGURATION,
        f"unknown investigator {name!r}; known: systematic, person, scripted:FILE.json, python:FILE.py:NAME, {KNOWN}",
    )


def own_investigator(name: str) -> Investigator:
    """Return a program of the user's own: `python:FILE.py:NAME`, or `python:MODULE:NAME`; refuse what is none.

    NAME is called without arguments and gives an object with `next_turn`; a run keeps the whole name.
    """
    try:
        module, made_by = load_module(name.removeprefix(OWN))
        made = getattr(module, made_by)()
        if not callable(getattr(made, "next_turn", None)):
            raise TypeError(f"{made_by}() has no next_turn")
    except Exception as error:  # noqa: BLE001
        # Whatever a program of the user's own raises while it is made is told in the user's words.
        fail(
            CONFIGURATION,
            f"{name}: no investigator is there ({error}); give python:FILE.py:NAME, where NAME() returns an "
            "object with next_turn(transcript)",
        )
    made.name = name
    return made


def client_for(
    name: str,
    url: str | None,
    key_env: str | None,
    provider: Provider,
    whose: str | None = None,
) -> Client:
    """Return the client of a model; replies are kept where the command line says so."""
    budget_s = 60 * provider.retry_minutes
    client = make_client(name, url, key_env, say=say, budget_s=budget_s, whose=whose)
    if provider.cassette is None:
        return client
    # Found out here, and not when the first reply is paid for.
    written = provider.cassette if provider.cassette.exists() else provider.cassette.parent
    if not os.access(written, os.W_OK):
        raise ToolError(f"--cassette: {written} is not there or cannot be written")
    return CassetteClient(provider.cassette, client)


def known_prices(name: str, limits: Limits, file: Path | None) -> Prices:
    """Return the prices of models; refuse a budget in dollars where that of `name` is not known."""
    prices = Prices.load(file)
    if limits.dollars is not None and prices.cost(name, Spent()) is None:
        fail(
            CONFIGURATION,
            f"no price is known for {name}, so a budget in dollars cannot be kept; "
            "give its prices with --prices FILE.toml (0 for a server of your own), or a budget in tokens",
        )
    return prices


def name_and_place(given: str) -> tuple[str, str | None]:
    """Return the name of a model and where its server is, if that was given."""
    name, mark, rest = given.partition("@http")
    return name, f"http{rest}" if mark else None


def role_model(
    role: str, given: str | None, limits: Limits, provider: Provider
) -> tuple[str, Client, Prices] | None:
    """Return a role's model, its client and its prices; None where the role is not given."""
    if given is None:
        return None
    name, url = name_and_place(given)
    if not is_model(name):
        fail(USAGE, f"unknown {role} {name!r}; it is one of {KNOWN}, with @URL behind for a server")
    prices = known_prices(name, limits, provider.prices)
    whose = f"the {role} ({name})"
    try:
        return name, client_for(name, url, None, provider, whose), prices
    except LLMError as error:
        error.whose = whose
        raise


def make_panel(given: Sequence[str], limits: Limits, provider: Provider) -> JudgePanel | None:
    """Return the judges; None without any. What to hold against them is said."""
    if len(given) > MOST_JUDGES:
        fail(USAGE, f"{len(given)} judges given, at most {MOST_JUDGES} can be compared")
    judges: list[JudgeModel] = []
    for number, each in enumerate(given, 1):
        try:
            model = role_model("judge", each, limits, provider)
        except LLMError as error:
            raise JudgeFault(number, name_and_place(each)[0], error) from None
        if model is not None:
            judges.append(JudgeModel(*model))
    if not judges:
        return None
    panel = JudgePanel(judges)
    warning = warning_of(panel.names)
    if warning is not None:
        say(f"warning: {warning}")
    return panel


def same_roles(path: Path, given: Roles) -> Roles:
    """Return the roles of a run that goes on; refuse others than it had."""
    opened = opened_event(RunFolder(path))
    return going_on(Roles(**opened.get("roles", {}), judges=opened.get("judges", ())), given)


def going_on(stored: Roles, given: Roles) -> Roles:
    """Return the stored roles, or those given again with their places; refuse others."""

    def same(role: str, again: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
        if again and tuple(name_and_place(each)[0] for each in again) != before:
            told = " and ".join(before) or f"no {role}"
            fail(
                USAGE,
                f"this run was opened with {told}: give the same {role}, in that order, or none to use it",
            )
        return again or before

    def one(role: str, again: str | None, before: str | None) -> str | None:
        found = same(role, (again,) if again else (), (before,) if before else ())
        return found[0] if found else None

    return Roles(
        writer=one("writer", given.writer, stored.writer),
        sceptic=one("sceptic", given.sceptic, stored.sceptic),
        judges=same("judges", given.judges, stored.judges),
    )


def seat(panel: JudgePanel | None, worker: Worker) -> None:
    """Let a worker's outputs be read by the judges, with their progress where the worker's is."""
    worker.judge = panel
    told = worker.on_progress if isinstance(worker, ProcessWorker | InProcessWorker) else None
    if panel is not None and told is not None:
        panel.progress = told
