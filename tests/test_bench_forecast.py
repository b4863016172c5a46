"""Forecasts: what a proper score says of them, and what a program reads off a report."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.population import draw, population_of
from evals.bench.drill import drill_case
from evals.bench.forecast import LEAST, already, log_score, read_report, skill
from evals.bench.paper import Asked
from evals.bench.readers import as_long_as, read_forecasts
from tools.prompt import (
    ChooseLevel,
    FormatNumbers,
    InsertText,
    PromptItem,
    ReplaceText,
    SetSlot,
    SwapSlots,
    Template,
    fill,
)

CASE = drill_case()


def asked() -> list[Asked]:
    items = draw(population_of(CASE, 0), "explore", (12, 6), seed=2)
    return [Asked(item, "explore", 0.5) for item in items]


def report(**arms: float) -> dict[str, Any]:
    edit = {"kind": "choose_level", "slot": "context"}
    prediction = {
        "hypothesis": "H1",
        "measure": CASE.measure.model_dump(mode="json") if CASE.measure else None,
        "treatment": {"name": "t", "edits": [{**edit, "level": "harbour"}]},
        "control": {"name": "c", "edits": [{**edit, "level": "garden"}]},
        "smallest_effect": 0.2,
        "rivals": [{"name": "r", "predicts": [-0.1, 0.1]}],
    }
    means = [{"name": name, "mean": mean} for name, mean in arms.items()]
    return {
        "findings": [{"id": "P1", "status": "supported", "prediction": prediction}],
        "evidence": [{"finding": "P1", "arms": means}],
        "step_zero": {"rates": {"subject": {"mean": 0.3}}},
    }


def test_the_score_is_the_mean_log_probability_of_what_happened() -> None:
    assert log_score([0.5, 0.5], [True, False]) == pytest.approx(math.log(0.5))
    assert log_score([0.8, 0.4], [True, False]) == pytest.approx(math.log(0.8 * 0.6) / 2)
    # Never quite sure: a surprise costs no more than this.
    assert log_score([0.0], [True]) == pytest.approx(math.log(LEAST))


@given(st.lists(st.booleans(), min_size=4, max_size=60), st.floats(0.02, 0.98))
def test_no_constant_beats_the_base_rate(outcomes: list[bool], constant: float) -> None:
    rate = sum(outcomes) / len(outcomes)
    best = log_score([rate] * len(outcomes), outcomes)
    assert log_score([constant] * len(outcomes), outcomes) <= best + 1e-9


def test_skill_is_nothing_for_the_rate_and_whole_for_the_oracle() -> None:
    outcomes = [True] * 9 + [False] + [False] * 9 + [True]
    oracle = [0.9] * 10 + [0.1] * 10
    assert skill([0.5] * 20, outcomes, oracle) == pytest.approx(0.0)
    assert skill(oracle, outcomes, oracle) == pytest.approx(1.0)
    swapped = skill(oracle[::-1], outcomes, oracle)
    assert swapped is not None and swapped < 0
    assert skill([0.5] * 20, outcomes, [0.5] * 20) is None


def test_a_report_forecasts_the_rate_of_the_arm_that_a_prompt_belongs_to() -> None:
    prompts = asked()
    found = read_report(report(treatment=0.9, control=0.1), CASE, prompts)
    for each, forecast in zip(prompts, found, strict=True):
        at_harbour = "harbour" in each.item.prompt.text().casefold()
        assert forecast == pytest.approx(0.9 if at_harbour else 0.1)
    assert {round(each, 6) for each in found} == {0.9, 0.1}


def test_what_is_not_supported_or_not_about_prompts_forecasts_only_the_rate() -> None:
    prompts = asked()
    refuted = report(treatment=0.9, control=0.1)
    refuted["findings"][0]["status"] = "effect shown, cause open"
    against = report(treatment=0.9, control=0.1)
    against["findings"][0]["prediction"]["control"] = {"name": "r", "model": "reference"}
    unscored = report(control=0.1)
    for told in (refuted, against, unscored):
        assert read_report(told, CASE, prompts) == [0.3] * len(prompts)
    nothing = report(treatment=0.9, control=0.1) | {"findings": [], "step_zero": None}
    assert read_report(nothing, CASE, prompts) == [0.5] * len(prompts)


def test_an_edit_is_already_made_where_it_would_change_nothing() -> None:
    template = Template(text="{context} Which is bigger, {a} or {b}?")
    slots = {"context": "We walk to the harbour.", "a": "9.8", "b": "9.11", "wrong": "9.11"}
    item = PromptItem(
        id="i", template=template, template_id="t", slots=slots, prompt=fill(template, slots)
    )
    last = SwapSlots(slots=("a", "b"), condition="put_last", anchor="wrong")
    made = (
        ChooseLevel(slot="context", level="harbour"),
        SetSlot(slot="a", values=("9.8", "7")),
        last,
        InsertText(texts=("Which is bigger",)),
        ReplaceText(old="smaller", new="bigger"),
    )
    not_made = (
        ChooseLevel(slot="context", level="garden"),
        ChooseLevel(slot="colour", level="red"),
        SetSlot(slot="a", values=("7",)),
        last.model_copy(update={"condition": "put_first"}),
        last.model_copy(update={"condition": "always", "anchor": None}),
        FormatNumbers(slots=("a", "b"), style="equal_decimals"),
        InsertText(texts=("Hello.",)),
        ReplaceText(old="bigger", new="larger"),
    )
    assert all(already(edit, item, CASE) for edit in made)
    assert not any(already(edit, item, CASE) for edit in not_made)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[0.1, 0.9, 1]", [0.1, 0.9, 1.0]),
        ("First [1, 2]. So: [0.5, 0.5, 0.25] ", [0.5, 0.5, 0.25]),
        ("[0.1, 0.9]", None),
        ("[0.1, 0.9, 1.2]", None),
        ("[0.1, 0.9, true]", None),
        ('[0.1, 0.9, "1"]', None),
        ("[0.1, 0.9, NaN]", None),
        ("I cannot say.", None),
    ],
)
def test_a_readers_list_is_read_whole_or_not_at_all(text: str, found: list[float] | None) -> None:
    assert read_forecasts(text, 3) == found


def test_raw_examples_are_no_longer_than_the_report() -> None:
    examples = [f"example {k}" for k in range(100)]
    kept = as_long_as("x" * 55, examples)
    assert kept == "\n".join(examples[:5]) and len(kept) <= 55
    assert as_long_as("", examples) == ""
