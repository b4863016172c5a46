"""Conditions are read off the prompts: two arms that differ in one respect, and no name of a secret."""

from __future__ import annotations

from typing import Any

from agent.grammar import Condition, conditions, slots_in_text
from agent.population import draw, population_of
from agent.prediction import FAMILIES
from tests.synthetic_cases import number_case
from tools.prompt import AddTurns, Arm, ChooseLevel, FormatNumbers, ReplaceText, SetSlot, SwapSlots
from tools.scoring import transformed

CASE = number_case()
POPULATION = population_of(CASE, 0)


def briefing_of(**changes: Any) -> dict[str, Any]:
    explore = POPULATION.pools["explore"]
    measure = CASE.measure
    assert measure is not None
    told: dict[str, Any] = {
        "templates": {name: POPULATION.templates[name].model_dump() for name in explore.templates},
        "fillings": list(explore.fillings),
        "slots": {name: slot.model_dump(mode="json") for name, slot in explore.slots.items()},
        "measure": measure.model_dump(mode="json"),
    }
    return told | changes


def named(cells: list[Condition]) -> dict[str, Condition]:
    assert len({cell.name for cell in cells}) == len(cells)
    return {cell.name: cell for cell in cells}


def test_every_level_is_set_against_the_one_that_says_nothing() -> None:
    cells = named(conditions(briefing_of()))
    assert {"context = version", "context = date", "context = price"} <= set(cells)
    assert cells["context = date"].control == (ChooseLevel(slot="context", level="none"),)
    assert "context = none" not in cells


def test_order_is_told_by_the_value_that_the_measure_names() -> None:
    cell = named(conditions(briefing_of()))["order: `wrong` last"]
    (last,), (first,) = cell.treatment, cell.control
    assert isinstance(last, SwapSlots) and isinstance(first, SwapSlots)
    assert (last.condition, first.condition, last.anchor) == ("put_last", "put_first", "wrong")


def test_numbers_of_unequal_length_are_padded_and_equal_ones_are_not() -> None:
    cell = named(conditions(briefing_of()))["number format: equal decimals"]
    assert isinstance(cell.treatment[0], FormatNumbers) and cell.control == ()
    even = [{"a": "1.5", "b": "1.4", "right": "1.5", "wrong": "1.4"}] * 4
    assert "number format: equal decimals" not in named(conditions(briefing_of(fillings=even)))


def test_mined_words_become_conditions_where_they_can_be_cut_or_chosen() -> None:
    cells = named(conditions(briefing_of(), ["bigger", "or", "zebra"]))
    assert cells["word 'bigger'"].treatment == (ReplaceText(old="bigger", new=""),)
    assert not any("zebra" in name or "'or'" in name for name in cells)
    slots = {"who": {"values": ["my aunt", "a chef"], "levels": {}, "candidates": False}}
    cells = named(conditions(briefing_of(slots=slots), ["aunt"]))
    assert cells["who has 'aunt'"].treatment == (SetSlot(slot="who", values=("my aunt",)),)
    assert cells["who has 'aunt'"].control == (SetSlot(slot="who", values=("a chef",)),)


def test_candidates_are_answers_and_no_conditions() -> None:
    slots = {"word": {"values": ["aunt", "chef"], "levels": {}, "candidates": True}}
    assert "word has 'aunt'" not in named(conditions(briefing_of(slots=slots), ["aunt"]))


def test_each_condition_can_be_applied_and_changes_prompts() -> None:
    items = draw(POPULATION, "explore", (12, 2), 0)
    choose = POPULATION.choose("explore", 0)
    for cell in conditions(briefing_of()):
        assert cell.family in FAMILIES and cell.claim
        sides = [
            transformed(Arm(name="x", edits=edits), items, choose).items
            for edits in (cell.treatment, cell.control)
        ]
        assert [a.prompt for a in sides[0]] != [b.prompt for b in sides[1]], cell.name


def test_the_same_briefing_gives_the_same_conditions_in_the_same_order() -> None:
    assert conditions(briefing_of(), ["bigger"]) == conditions(briefing_of(), ["bigger"])
    assert isinstance(conditions(briefing_of())[-1].treatment[0], AddTurns)


def test_slots_come_in_reading_order() -> None:
    assert slots_in_text(briefing_of()) == ["context", "a", "b"]


def test_without_an_empty_level_the_others_are_held_against_the_one_of_the_middle_rate() -> None:
    slots = {
        "place": {
            "values": [],
            "levels": {"a": ["At a."], "b": ["At b."], "c": ["At c."], "d": ["At d."]},
            "candidates": False,
        }
    }
    rates = {"place": {"a": 0.9, "b": 0.1, "c": 0.12, "d": 0.08}}
    told = briefing_of(slots=slots)

    def control(rates: dict[str, dict[str, float]]) -> set[str]:
        cells = [cell for cell in conditions(told, [], rates) if cell.factor == "place"]
        assert len(cells) == 3
        return {edit.level for cell in cells for edit in cell.control}  # pyright: ignore[reportAttributeAccessIssue]

    # Held against "a", which is the cause, all three others would show the same effect.
    assert control(rates) == {"b"}
    assert control({}) == {"a"}
    assert control({"place": {"a": 0.9}}) == {"a"}
