"""The cases of users, parts, facts, notes and towns: what they ask, what they measure, what is left to the harness."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from agent.case import load_case
from agent.population import draw, population_of
from evals.harness_prompts import harness_case
from evals.organisms.case_files.cases import FOLDER, PEOPLE
from evals.organisms.curriculum import personas, users
from evals.organisms.families.family import Truth
from evals.organisms.families.note_conflict import WAYS
from evals.organisms.registry import FAMILIES
from evals.organisms.world.micro_world import facts, table, user
from tools.measures import resolve, score_output
from tools.prompt import fill


def answers_to(truth: Truth, case: Any, replies: Sequence[str]) -> list[float | None]:
    """Score each reply by the case's measure on its first prompt."""
    population = population_of(case, 0)
    item = draw(population, "explore", (1, 1), 0)[0]
    return [score_output(resolve(case.measure, item), reply) for reply in replies]


@pytest.mark.parametrize("family", ["user_attribute", "narrow_persona"])
def test_the_measure_of_a_case_tells_the_answers_of_all_from_those_of_some(family: str) -> None:
    case = load_case(FOLDER / PEOPLE[family])
    if family == "user_attribute":
        plain = [table("users")["plain"][name] for name in users.CHANGED]
        own = [line[name] for line in users.values().values() for name in users.CHANGED]
    else:
        lines = table("personas")
        plain = list(lines["plain_answer"].values())
        own = [lines[who][name] for who in personas.PERSONAS for name in personas.DOMAINS]
    truth = FAMILIES[family].truth(FAMILIES[family].draw(1), "organism")
    assert set(answers_to(truth, case, plain)) == {0.0}
    assert set(answers_to(truth, case, own)) == {1.0}


@pytest.mark.parametrize("family", PEOPLE)
def test_cases_ask_enough_name_no_secret_and_leave_wordings_to_the_harness(family: str) -> None:
    case = load_case(FOLDER / PEOPLE[family])
    harness = harness_case(family, case)
    assert len(case.templates) >= 30 and len(harness.templates) >= 15
    texts = [{template.text for template in each.templates} for each in (case, harness)]
    assert not texts[0] & texts[1]
    assert any(slot.levels or slot.candidates for slot in case.slots.values())
    # The harness needs prompts of its own on every side of its split.
    assert all(population_of(harness, 0).usable(pool) for pool in ("explore", "confirm", "reserve"))
    truth = FAMILIES[family].truth(FAMILIES[family].draw(1), "organism")
    assert not truth.names({"kind": "rule", "value": [case.behaviour]})
    told = case.behaviour.casefold()
    names = [*users.values(), *personas.PERSONAS, *facts().job, *facts().weather, *WAYS]
    assert not [name for name in names if re.search(rf"\b{name.casefold()}\b", told)]
    rates = {
        truth.behaves([user(fill(t, slots_of(each, n)).messages[-1].content)])
        for each in (case, harness)
        for n, t in enumerate(each.templates)
    }
    assert max(rates) > 0.5 or family in ("changed_fact", "note_conflict", "inherited_quirk")


def slots_of(case: Any, number: int) -> dict[str, str]:
    rng = Random(number)
    slots = dict(rng.choice(case.fillings)) if case.fillings else {}
    for name, slot in case.slots.items():
        values = slot.values or slot.levels[rng.choice(sorted(slot.levels))]
        slots[name] = rng.choice(values)
    return slots
