"""The auxiliary writer: fresh prompts from somebody who has seen the case and no hypothesis.

What it may see is what anybody knows before the first turn: the behaviour, the marks that stand for
slots, and a few explore templates. Code takes or leaves each text; those taken become a population
with held-out templates of its own, which a prediction can name.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from agent.investigation import Investigation, Spent, Writer
from agent.llm.conversation import Client, Request, UserTurn
from agent.llm.prices import Prices
from agent.population import Population, alike, marks, word_grams
from agent.templates import written
from tools.prompt import Template
from tools.registry import Record, ToolError, tool

MOST_POPULATIONS = 3
ROUNDS = 4
FEWEST = 10
SHOWN_TEMPLATES = 6
MOST_CHARACTERS = 2000


class Wanted(Record):
    """How many prompts."""

    count: int = Field(
        default=40,
        ge=FEWEST,
        le=80,
        description="templates to write; two fifths are kept for confirmation, so 30 or more for a general claim",
    )


class Fresh(Record):
    """The new population, by the name under which predictions and draws refer to it."""

    population: str
    explore: int
    """Templates that you may draw from."""
    confirm: int
    """Templates kept for confirmation."""
    reserve: int
    """Templates kept to replicate on."""
    left_out: dict[str, int]
    """Why texts of the writer's were not taken -> how many."""


class LanguageModelWriter:
    """Asks a model for prompts; it answers with a JSON list."""

    def __init__(self, name: str, client: Client, prices: Prices | None = None) -> None:
        """`name` is `provider/model`, as the log has it."""
        self.name, self.client, self.prices = name, client, prices or Prices()

    def write(self, view: dict[str, Any], count: int) -> tuple[list[Template], Spent | None]:
        """Return what can be read of the model's answer; raise `LLMError` when the provider fails."""
        request = Request(
            model=self.name.partition("/")[2],
            system=written("writer.j2"),
            turns=(UserTurn(text=written("writing.j2", count=count, **view)),),
        )
        reply = self.client.generate(request)
        dollars = self.prices.cost(self.name, reply.spent)
        return read_templates(reply.turn.text), reply.spent.model_copy(update={"dollars": dollars})


def read_templates(text: str) -> list[Template]:
    """Return the templates of a JSON list inside a text; what is none is left out."""
    found = re.search(r"\[.*\]", text, re.DOTALL)
    try:
        listed = json.loads(found[0]) if found else []
    except (ValueError, RecursionError):
        return []
    reader = TypeAdapter(Template)
    templates: list[Template] = []
    for each in listed:
        try:
            fields = {"text": each} if isinstance(each, str) else dict(each)
            templates.append(reader.validate_python(fields | {"source": "auxiliary"}))
        except (ValidationError, TypeError, ValueError):
            continue
    return templates


@tool
def write_prompts(investigation: Investigation, args: Wanted, context: Any) -> Fresh:
    """Have fresh prompts for the behaviour written by somebody who knows none of your hypotheses.

    They become a population of their own: draw from it ({"draw": {"population": "fresh-1", ...}}) and
    name it in a prediction to show that a finding does not hang on the wording of the case's prompts.
    """
    done = investigation.unfinished.get("population")
    if done:
        return described(investigation, done[0]["id"], done[0]["left_out"])
    if investigation.writer is None:
        raise ToolError("this run has no writer: it would have to be started with --writer MODEL")
    number = len(investigation.populations)
    if number > MOST_POPULATIONS:
        raise ToolError(f"{MOST_POPULATIONS} fresh populations were written already; use those")
    taken, left_out = gathered(investigation, investigation.writer, args.count)
    if len(taken) < FEWEST:
        told = ", ".join(f"{why}: {count}" for why, count in left_out.items()) or "it gave none"
        raise ToolError(f"the writer gave only {len(taken)} usable prompts ({told})")
    name = f"fresh-{number}"
    content = {
        "id": name,
        "templates": [each.model_dump(mode="json") for each in taken],
        "left_out": left_out,
    }
    investigation.record("population", content, sync=True)
    return described(investigation, name, left_out)


def gathered(
    investigation: Investigation, writer: Writer, count: int
) -> tuple[list[Template], dict[str, int]]:
    """Ask until there are so many usable prompts, a few times; return them, and why others were left out."""
    taken: list[Template] = []
    left_out: dict[str, int] = {}
    # What was given before a kill is read from the log, and not asked for again.
    before = [each["templates"] for each in investigation.unfinished.get("written", ())]
    for number in range(ROUNDS):
        if number < len(before):
            given = [Template.model_validate(each) for each in before[number]]
        else:
            given = asked(investigation, writer, count - len(taken))
        for template in given:
            why = fault_of(investigation, template, taken)
            if why is not None:
                left_out[why] = left_out.get(why, 0) + 1
            elif len(taken) < count:
                taken.append(template)
        if len(taken) == count:
            break
    return taken, left_out


def asked(investigation: Investigation, writer: Writer, count: int) -> list[Template]:
    """Ask the writer once, and log what it cost and all that it gave: `verify` judges the texts again."""
    given, spent = writer.write(view_of(investigation), count)
    if spent is not None:
        cost = {"role": "writer", "spent": spent.model_dump(mode="json")}
        investigation.record("spent", cost)
    listed = [each.model_dump(mode="json") for each in given]
    investigation.record("written", {"asked": count, "templates": listed}, sync=True)
    return given


def view_of(investigation: Investigation) -> dict[str, Any]:
    """Return what the writer is shown: nothing that came after the first turn."""
    case = investigation.populations["case"]
    explore = case.pools["explore"]
    shown = [case.templates[name] for name in explore.templates[:SHOWN_TEMPLATES]]
    return {
        "behaviour": investigation.case.behaviour,
        "examples": [each.model_dump(mode="json", exclude_defaults=True) for each in shown],
        "always": sorted(always_shown(case)),
        "slots": {
            name: list(slot.values[:4]) or [values[0] for values in slot.levels.values()]
            for name, slot in explore.slots.items()
        }
        | {name: [row[name] for row in explore.fillings[:4]] for name in names_of_rows(case)},
    }


def names_of_rows(population: Population) -> list[str]:
    """Return the slots that linked rows fill."""
    rows = population.pools["explore"].fillings
    return list(rows[0]) if rows else []


def always_shown(population: Population) -> set[str]:
    """Return the slots that every template of a population shows."""
    return set.intersection(*(marks(each) for each in population.templates.values()))


def fault_of(investigation: Investigation, template: Template, taken: list[Template]) -> str | None:
    """Return why a written template is not taken, or None."""
    case = investigation.populations["case"]
    shown = marks(template)
    known = {*case.pools["explore"].slots, *names_of_rows(case)}
    if not template.text.strip() or len(template.text) > MOST_CHARACTERS:
        return "empty or too long"
    if shown - known:
        return f"no slot is called {min(shown - known)!r}"
    if always_shown(case) - shown:
        return f"{{{min(always_shown(case) - shown)}}} is missing"
    grams = word_grams(template)
    every = [each for one in investigation.populations.values() for each in one.templates.values()]
    if any(alike(grams, word_grams(each)) for each in [*every, *taken]):
        return "like one that is there already"
    return None


def described(investigation: Investigation, name: str, left_out: dict[str, int]) -> Fresh:
    """Return a fresh population in short."""
    pools = investigation.populations[name].pools
    return Fresh(
        population=name,
        explore=len(pools["explore"].templates),
        confirm=len(pools["confirm"].templates),
        reserve=len(pools["reserve"].templates),
        left_out=left_out,
    )
