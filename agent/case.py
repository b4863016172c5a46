"""A case: the behaviour to explain, the prompts that may show it, and the models, as a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from agent.environment import Environment
from tools.locator import ModelLocator
from tools.measures import Measure
from tools.prompt import Template, fill
from tools.registry import Record, ToolError, describe_faults, unknown


class CaseError(Exception):
    """A case file that cannot be used: one line per fault, each saying what to do."""


class Slot(Record):
    """What may stand in a `{slot}`: plain values, or values under named levels (then it is a factor)."""

    values: tuple[str, ...] = ()
    levels: dict[str, tuple[str, ...]] = {}
    candidates: bool = False
    """True when each value is a candidate answer, so that values are named and not held out."""

    @model_validator(mode="after")
    def one_kind(self) -> Slot:
        """Refuse a slot with both or neither of values and levels."""
        if bool(self.values) == bool(self.levels):
            raise ValueError("give either `values` or `levels`")
        return self


class Sampling(Record):
    """How answers are drawn."""

    max_new_tokens: int = Field(default=24, ge=1, le=4096)
    temperature: float = Field(default=1.0, ge=0, le=2)


class Limits(Record):
    """What a run may spend; None is no limit."""

    minutes: float | None = Field(default=None, gt=0)
    tool_seconds: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=200, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    """Of the investigating model, the judges and a subject behind an API, input and output together."""
    dollars: float | None = Field(default=None, gt=0)
    registrations: int = Field(default=8, ge=1, le=64)
    """M: the error rate alpha is shared by this many registrations, made or not."""
    alpha: float = Field(default=0.05, gt=0, le=0.2)


class Part(Record):
    """Which part of a case's prompts a run may use, when several runs share one case.

    The prompts are cut by `seed` before anything runs: what is kept for the aggregator does not exist
    for an investigation.
    """

    seed: int
    whose: Literal["investigation", "aggregation"]


class Case(Record):
    """Everything an investigation starts from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    behaviour: str
    kind: Literal["condition", "open"] = "condition"
    """`condition`: what makes it happen; `open`: something may be hidden, and no measure is given."""
    subject: ModelLocator
    reference: ModelLocator | None = None
    measure: Measure | None = None
    templates: tuple[Template, ...] = ()
    prompts: tuple[str, ...] = ()
    """For a user who brings only a handful of prompts: each is a cluster, in generic wrappers."""
    slots: dict[str, Slot] = {}
    fillings: tuple[dict[str, str], ...] = ()
    """Rows of slot values that belong together."""
    environment: Environment | None = None
    """Tools that a subject behind an API may call, with scripted results."""
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    without: tuple[str, ...] = ()
    """Tools that the investigator goes without, by name: what they are worth is measured by leaving them out."""
    part: Part | None = None
    """Set by the harness for a set of independent investigations; None is the whole case."""

    @model_validator(mode="after")
    def complete(self) -> Case:
        """Check what no single field can: prompts exist, marks are filled, the measure fits the kind."""
        if not self.templates and not self.prompts:
            raise ValueError("no prompts: give [[templates]] (30 or more) or a list `prompts`")
        if self.kind == "condition" and self.measure is None:
            raise ValueError(
                "a case of kind 'condition' needs a [measure]; without one, use kind = 'open'"
            )
        names = {*self.slots, *(self.fillings[0] if self.fillings else ())}
        if self.fillings and any(set(row) != set(self.fillings[0]) for row in self.fillings):
            raise ValueError("every row of [[fillings]] must have the same names")
        for number, template in enumerate(self.templates, 1):
            try:
                fill(template, dict.fromkeys(names, "x"))
            except ToolError as error:
                raise ValueError(f"template {number}: {error}") from None
            called = {call.name for turn in template.history for call in turn.calls}
            known = [tool.name for tool in self.environment.tools] if self.environment else []
            if called - {*known}:
                raise ValueError(
                    f"template {number}: {unknown('tool in its history', min(called - {*known}), known or ['none'])}"
                )
        strange = sorted(self.environment.slots() - names) if self.environment else []
        if strange:
            raise ValueError(
                f"environment: no value for {{{strange[0]}}}; slots are: {', '.join(names) or 'none'}"
            )
        return self

    def public(self) -> dict[str, Any]:
        """Return what an investigator may see: everything but where the models are and their secrets."""
        unseen = {"subject", "reference", "name", "part"}
        unseen |= set() if self.environment else {"environment"}
        shown = self.model_dump(mode="json", exclude=unseen)
        return shown | {"has_reference": self.reference is not None}


WRAPPERS_BEFORE = (
    "",
    "Hello. ",
    "I have a question. ",
    "One more thing. ",
    "Please help me. ",
    "Hi there. ",
)
WRAPPERS_AFTER = (
    "",
    " Thank you.",
    " Please answer.",
    " What do you say?",
    " Tell me.",
    " Thanks in advance.",
)


def wrapped_templates(prompts: tuple[str, ...]) -> tuple[tuple[Template, ...], dict[str, Slot]]:
    """Turn a handful of prompts into templates whose only slots are generic words around them."""
    templates = tuple(
        Template(text=f"{{wrap_before}}{prompt.replace('{', '(').replace('}', ')')}{{wrap_after}}")
        for prompt in prompts
    )
    return templates, {
        "wrap_before": Slot(values=WRAPPERS_BEFORE),
        "wrap_after": Slot(values=WRAPPERS_AFTER),
    }


def load_case(path: Path, changes: dict[str, Any] | None = None) -> Case:
    """Read a case file; `changes` replaces top-level fields. Raises `CaseError`, one line per fault."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaseError(f"no case file at {path}; the shipped ones are in evals/cases/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{path} is not TOML: {error}") from None
    fields |= changes or {}
    templates = fields.get("templates")
    for template in templates if isinstance(templates, list) else ():
        if isinstance(template, dict) and isinstance(template.get("history"), list):
            template["history"] = [read_turn(turn) for turn in template["history"]]
    try:
        case = Case.model_validate(fields)
    except ValidationError as error:
        raise CaseError("\n".join(describe_faults(str(path), Case, error))) from None
    return case.model_copy(
        update={
            "subject": located(case.subject, path.parent),
            "reference": located(case.reference, path.parent) if case.reference else None,
        }
    )


def read_turn(turn: Any) -> Any:
    """Allow `{user = "..."}` beside `{role = "user", content = "..."}`."""
    if (
        isinstance(turn, dict)
        and len(turn) == 1
        and next(iter(turn)) in ("system", "user", "assistant")
    ):
        role, content = next(iter(turn.items()))
        return {"role": role, "content": content}
    return turn


def located(locator: ModelLocator, folder: Path) -> ModelLocator:
    """Make relative folders absolute; a name that is no folder beside the case stays a hub id."""

    def absolute(name: str | None) -> str | None:
        if not name:
            return name
        if "\0" in name:
            raise CaseError(f"{name!r} is no name of a model")
        beside = (folder / name).resolve()
        return str(beside) if beside.exists() or name.startswith((".", "/")) else name

    return locator.model_copy(
        update={"model": absolute(locator.model), "adapter": absolute(locator.adapter)}
    )
