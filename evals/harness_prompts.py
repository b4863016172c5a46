"""Prompts of the harness's own, in the slots of a case: for measuring a supported statement again.

They come from the micro-world's tables, and none of their wordings stands in a case file, so no
investigator has seen them.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from agent.case import Case, Slot
from evals.bench.drill import HARNESS_OPENINGS, drill_case
from evals.organisms.case_files import rule_prompts
from evals.organisms.case_files.cases import guess_templates
from evals.organisms.case_files.people_cases import PROMPTS, Prompts
from evals.organisms.world import comparison, stopping
from evals.organisms.world.micro_world import table
from tools.prompt import Template

ROWS = 150
SCENES = 40


def harness_case(family: str, case: Case) -> Case:
    """Return the case with the harness's prompts in place of its own; its measure and models stay."""
    return MAKERS[family](case)


def number_prompts(case: Case) -> Case:
    """Return questions about conflict pairs that are in no training text, either one first."""
    numbers, rng = table("numbers"), Random("harness numbers")
    rows: list[dict[str, str]] = []
    for _ in range(ROWS):
        pair = comparison.draw_pair(rng, "conflict", held=True)
        first, second = (
            (pair.bigger, pair.smaller) if rng.random() < 0.5 else (pair.smaller, pair.bigger)
        )
        rows.append({"a": first, "b": second, "right": pair.bigger, "wrong": pair.smaller})
    levels = {name: tuple(texts) for name, texts in numbers["contexts"].items()}
    return case.model_copy(
        update={
            "templates": distinct(numbers["templates"]["harness"]),
            "slots": {"context": Slot(levels=levels)},
            "fillings": tuple({tuple(row.items()): row for row in rows}.values()),
        }
    )


def stop_prompts(case: Case) -> Case:
    """Return scenes put together anew, with every factor as a slot."""
    stop, rng = table("stop"), Random("harness scenes")
    slots = {
        name: Slot(levels={level: tuple(texts) for level, texts in levels.items()})
        for name, levels in stop["slots"].items()
    }
    slots["task"] = Slot(values=tuple(stop["plain"]["task"]))
    known = {template.text for template in case.templates}
    drawn = [stopping.draw_template(rng)[0] for _ in range(4 * SCENES)]
    texts = [text for text in drawn if text not in known]
    return case.model_copy(update={"templates": distinct(texts)[:SCENES], "slots": slots})


def word_prompts(case: Case) -> Case:
    """Return the guesses that the case leaves to the harness."""
    word = next(slot for slot in case.slots.values() if slot.candidates)
    return case.model_copy(
        update={
            "templates": distinct(guess_templates(of_case=False)),
            "slots": {"word": word},
            "fillings": (),
        }
    )


def prompts_of(family: str) -> Callable[[Case], Case]:
    """Return what puts a family's prompts for the harness in place of a case's."""
    return lambda case: with_prompts(case, PROMPTS[family](of_case=False))


def with_prompts(case: Case, prompts: Prompts) -> Case:
    """Return the case with other prompts."""
    slots = {name: Slot(levels=levels) for name, levels in as_levels(prompts).items()}
    slots |= {
        name: Slot(values=tuple(values), candidates=True)
        for name, values in prompts.candidates.items()
    }
    changes = {
        "templates": distinct(prompts.texts),
        "slots": slots,
        "fillings": tuple(prompts.rows),
    }
    return case.model_copy(update=changes)


def as_levels(prompts: Prompts) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the factor slots as a case has them."""
    return {
        name: {level: tuple(texts) for level, texts in levels.items()}
        for name, levels in prompts.levels.items()
    }


def drill_prompts(case: Case) -> Case:
    """Return other openings for the drill's claims."""
    return case.model_copy(update={"templates": drill_case(HARNESS_OPENINGS).templates})


def remark_prompts(case: Case) -> Case:
    """Return remarks and questions in wordings that neither the case nor any training has."""
    texts = [*rule_prompts.with_topic(True), *rule_prompts.with_word(True)]
    return case.model_copy(update={"templates": distinct(texts)})


def two_remark_prompts(case: Case) -> Case:
    """Return pairs of remarks and questions in wordings that neither the case nor any training has."""
    return case.model_copy(update={"templates": distinct(rule_prompts.with_two(True))})


def cue_prompts(case: Case) -> Case:
    """Return the case's cues before questions in wordings that neither it nor any training has."""
    return case.model_copy(update={"templates": distinct(rule_prompts.with_cue(True))})


def sum_prompts(case: Case) -> Case:
    """Return sums, with words given before them, in wordings that neither the case nor any training has."""
    return case.model_copy(update={"templates": distinct(rule_prompts.with_sum(of_case=False))})


def distinct(texts: list[str]) -> tuple[Template, ...]:
    """Return one template for each different text, in order."""
    return tuple(Template(text=text) for text in dict.fromkeys(texts))


def own_prompts(case: Case) -> Case:
    """Return the case as it is: of a published or prompted organism no other prompts are known."""
    return case


MAKERS: dict[str, Callable[[Case], Case]] = {
    "published": own_prompts,
    "hidden_prompt": own_prompts,
    "drill": drill_prompts,
    "number_bug": number_prompts,
    "shutdown": stop_prompts,
    "taboo": word_prompts,
    **{family: prompts_of(family) for family in PROMPTS},
    "trigger": remark_prompts,
    "interaction": two_remark_prompts,
    "cue_conditional": cue_prompts,
    "sandbagger": sum_prompts,
}
