"""Contrasts that would come out as supported and mean nothing are refused."""

from __future__ import annotations

from typing import Any

import pytest

from agent.contrasts import check_prompts, contrast_faults
from agent.population import draw, population_of
from agent.prediction import Prediction
from agent.registration import build_arms
from tests.scripted_run import case_of, level, prediction
from tests.synthetic_cases import number_case
from tools.registry import ToolError

PLAIN: dict[str, Any] = {"name": "plain"}
VERSION = level("version")


def made(**changes: Any) -> Prediction:
    return Prediction.model_validate(prediction(**changes))


def edited(name: str, *edits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "edits": list(edits), **more}


def insert(text: str, where: str = "before") -> dict[str, Any]:
    return {"kind": "insert_text", "where": where, "texts": [text]}


def steer(coefficient: float = 4.0, layer: int = 2, digit: str = "0") -> dict[str, Any]:
    inside = {"kind": "steer", "direction": digit * 64, "layer": layer, "coefficient": coefficient}
    return {"name": f"steer {digit}", "intervention": inside}


SMALL = [{"name": "small", "predicts": [-0.1, 0.1]}]
ON_REFERENCE = {"model": "reference"}
DOSES = [{"dose": float(k), "arm": edited("d", insert("a " * (k + 1)))} for k in range(3)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"control": PLAIN | ON_REFERENCE}, "differ in the model and in what is done"),
        ({"treatment": steer(), "control": PLAIN | ON_REFERENCE}, "differ in the model"),
        (
            {"treatment": PLAIN, "control": edited("c", insert("gibberish"))},
            "make it the treatment",
        ),
        ({"reference_pair": True, "control": level("plain") | ON_REFERENCE}, "give both arms for"),
        (
            {"reference_pair": True, "form": "trend", "doses": DOSES},
            "goes with difference and equi",
        ),
        ({"form": "skill"}, "is for what a probe reads"),
        ({"form": "localisation", "placebos": [level("date")] * 2}, "needs an intervention"),
        ({"form": "equivalence", "smallest_effect": 0.5}, "at most 0.25"),
        (
            {"form": "trend", "doses": [DOSES[0] | {"arm": PLAIN | ON_REFERENCE}, *DOSES[1:]]},
            "one model",
        ),
        ({"rivals": [{"name": "x", "predicts": [2, 3]}]}, "no rival's range can be reached"),
        ({"rivals": [{"name": "x", "predicts": [-1, -0.5]}]}, "no rival's range can be reached"),
    ],
)
def test_arms_that_do_not_test_the_claim_are_refused(changes: dict[str, Any], told: str) -> None:
    assert told in "\n".join(contrast_faults(made(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rivals": SMALL},
        {"direction": "less", "rivals": [{"name": "x", "predicts": [-1, -0.5]}]},
        {"treatment": PLAIN, "control": PLAIN | ON_REFERENCE},
        {"reference_pair": True},
        {"form": "trend", "doses": DOSES},
        {"form": "rank", "placebos": [level("date"), level("plain")]},
        {"treatment": steer(), "control": PLAIN, "rivals": SMALL},
        {
            "form": "rank",
            "treatment": steer(),
            "control": PLAIN,
            "placebos": [steer(digit="1"), steer(-4.0, digit="2")],
        },
        {
            "form": "localisation",
            "treatment": steer(),
            "control": PLAIN,
            "placebos": [steer(layer=0), steer(layer=1)],
        },
    ],
)
def test_honest_contrasts_pass(changes: dict[str, Any]) -> None:
    assert list(contrast_faults(made(**changes))) == []


@pytest.mark.parametrize(
    "placebo", [PLAIN, level("date") | ON_REFERENCE, edited("i", insert("x")), steer()]
)
def test_a_placebo_of_another_kind_is_refused(placebo: dict[str, Any]) -> None:
    faults = contrast_faults(made(form="rank", placebos=[level("date"), placebo]))
    assert any("of another kind than the treatment" in fault for fault in faults)


@pytest.mark.parametrize("weaker", [steer(0.01, digit="1"), steer(layer=1, digit="1")])
def test_a_weaker_or_misplaced_direction_is_no_matched_placebo(weaker: dict[str, Any]) -> None:
    pair = [steer(digit="2"), weaker]
    faults = contrast_faults(made(form="rank", treatment=steer(), control=PLAIN, placebos=pair))
    assert any("of another kind" in fault for fault in faults)


SWAPPED = edited("swap", {"kind": "swap_slots", "slots": ["right", "wrong"]})
LABELS = {"kind": "answer_match", "values": ["{wrong}"], "against": ["{right}"]}


@pytest.mark.parametrize(
    "treatment",
    [SWAPPED, edited("set", {"kind": "set_slot", "slot": "wrong", "values": ["the"]})],
)
def test_an_edit_may_not_change_what_the_measure_counts(treatment: dict[str, Any]) -> None:
    changes: dict[str, Any] = {"treatment": treatment, "control": PLAIN, "measure": LABELS}
    assert "would be counted by different measures" in "\n".join(contrast_faults(made(**changes)))
    order = edited("order", {"kind": "swap_slots", "slots": ["a", "b"]})
    assert list(contrast_faults(made(**(changes | {"treatment": order})))) == []
    assert list(contrast_faults(made(**changes, reference_pair=True))) == []


POPULATION = population_of(case_of(), 0)
ITEMS = draw(POPULATION, "explore", (12, 2), 0)


def look(**changes: Any) -> str:
    wanted = made(**changes)
    try:
        check_prompts(wanted, build_arms(wanted.arms(), ITEMS, POPULATION, "explore", 0))
    except ToolError as error:
        return str(error)
    return ""


NOTHING = {"kind": "replace_text", "old": "zebra", "new": "horse"}


@pytest.mark.parametrize("form", [{}, {"form": "equivalence", "smallest_effect": 0.2}])
def test_arms_that_are_the_same_under_two_names_are_refused(form: dict[str, Any]) -> None:
    for control in (
        level("version") | {"name": "another name"},
        edited("c", *VERSION["edits"], NOTHING),
    ):
        assert "treatment and control are the same" in look(control=control, **form)
    assert look(**form) == ""


def test_an_equivalence_must_edit_nearly_every_prompt() -> None:
    word = {"kind": "replace_text", "old": "bricks", "new": "stones"}
    arms = {"treatment": edited("t", word), "control": PLAIN, "rivals": []}
    told = look(form="equivalence", smallest_effect=0.2, **arms)
    assert "explore prompts as they are" in told
    assert look(form="difference", **(arms | {"rivals": SMALL})) == ""


def test_a_rival_that_is_one_of_the_arms_is_refused() -> None:
    for name in ("version", "plain"):
        rival = {"name": "a straw man", "arm": edited("r", *level(name)["edits"], NOTHING)}
        assert "name another explanation" in look(rivals=[rival])


def test_placebos_and_doses_must_differ() -> None:
    twice = [level("date"), level("date") | {"name": "date again"}]
    assert "are the same arm" in look(form="rank", placebos=twice)
    assert "are the same arm" in look(form="rank", placebos=[level("date"), level("plain")])
    doses = [{"dose": float(k), "arm": VERSION} for k in range(3)]
    assert "are the same arm" in look(form="trend", doses=doses)
    assert look(form="trend", doses=DOSES) == ""


def test_the_measure_rule_holds_for_the_number_case() -> None:
    case = number_case()
    order = edited(
        "o", {"kind": "swap_slots", "slots": ["a", "b"], "condition": "put_last", "anchor": "wrong"}
    )
    assert case.measure is not None
    measure = case.measure.model_dump(mode="json")
    assert list(contrast_faults(made(measure=measure, treatment=order, control=PLAIN))) == []


def test_a_step_of_a_graded_factor_is_no_rival_of_its_trend() -> None:
    steps = enumerate(("plain", "date", "version"))
    doses = [{"dose": float(k), "arm": level(name)} for k, name in steps]
    trend = {"form": "trend", "doses": doses, "treatment": {"name": "t"}, "control": None}
    for step, dose in (("date", 1), ("version", 2)):
        told = look(**trend, rivals=[{"name": "a step", "arm": level(step) | {"name": "renamed"}}])
        assert f"'a step' is dose {dose} of the trend itself" in told and "`predicts`" in told
        assert len(told.splitlines()) == 1
    longer = edited("longer", {"kind": "insert_text", "texts": ["And so on, and so on."]})
    assert look(**trend, rivals=[{"name": "length", "arm": longer}]) == ""
    assert look(**trend, rivals=SMALL) == ""
    with pytest.raises(ValueError, match="do the same as the highest dose by changing something"):
        made(**trend, rivals=[])
