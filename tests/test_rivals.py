"""The standing rivals: what the harness adds to every effect of an edit."""

from __future__ import annotations

from typing import Any

import pytest

from agent.population import population_of
from agent.prediction import Prediction, Rival
from agent.rivals import standing_rivals
from tests.scripted_run import case_of, level, prediction
from tools.prompt import ChooseLevel, InsertText

POPULATION = population_of(case_of(), 0)
PLAIN = {"name": "plain"}


def inserted(
    where: str = "before", text: str = "Think of a long list of versions."
) -> dict[str, Any]:
    edit = {"kind": "insert_text", "where": where, "texts": [text]}
    return {"name": "inserted", "edits": [edit]}


def rivals(**changes: Any) -> tuple[Rival, ...]:
    return standing_rivals(Prediction.model_validate(prediction(**changes)), POPULATION)


def no_op(rival: Rival) -> InsertText:
    assert rival.arm is not None and rival.standing
    edit = rival.arm.edits[-1]
    assert isinstance(edit, InsertText)
    return edit


def test_an_edit_has_to_beat_a_no_op_an_off_topic_text_and_other_levels() -> None:
    found = rivals()
    assert [rival.name for rival in found] == [
        "a no-op edit of the same length",
        "an off-topic context",
        "the placebo level context = date",
    ]
    # The no-op stands on the control, so that it differs from the treatment in the one thing.
    assert found[0].arm is not None
    assert found[0].arm.edits[0] == ChooseLevel(slot="context", level="plain")
    assert found[2].arm is not None
    assert found[2].arm.edits == (ChooseLevel(slot="context", level="date"),)


def test_a_level_that_both_arms_set_is_no_treatment_and_has_no_rival() -> None:
    """Another level of the background, with the treatment still in place, does what the treatment does."""
    background = level("plain")["edits"]
    treated = {"name": "treated", "edits": [*background, *inserted("after")["edits"]]}
    found = rivals(treatment=treated, control={"name": "plain", "edits": background})
    assert [rival.name for rival in found] == [
        "a no-op edit of the same length",
        "an off-topic context",
    ]
    assert no_op(found[0]).where == "after"
    assert all(rival.arm is not None and len(rival.arm.edits) == 2 for rival in found)


@pytest.mark.parametrize("where", ["before", "after", "system"])
def test_the_no_op_has_the_length_and_the_place_of_the_edit(where: str) -> None:
    for text in ("So.", "one two three four five six seven eight nine ten"):
        edit = no_op(rivals(treatment=inserted(where, text), control=PLAIN)[0])
        assert edit.where == where
        lengths = [len(each.split()) for each in edit.texts]
        assert all(abs(length - max(4, len(text.split()))) <= 3 for length in lengths)


def test_a_trend_over_edits_has_standing_rivals_too() -> None:
    doses = [
        {"dose": 2.0, "arm": inserted(text="Versions, versions and once more versions.")},
        {"dose": 0.0, "arm": PLAIN},
        {"dose": 1.0, "arm": inserted()},
    ]
    found = rivals(form="trend", doses=doses)
    assert len(found) == 2
    assert found[0].arm is not None and len(found[0].arm.edits) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "equivalence", "smallest_effect": 0.2},
        {"treatment": PLAIN, "control": {"name": "r", "model": "reference"}},
        {
            "treatment": {
                "name": "steer",
                "intervention": {
                    "kind": "steer",
                    "direction": "0" * 64,
                    "layer": 1,
                    "coefficient": 2,
                },
            },
            "control": PLAIN,
        },
    ],
)
def test_other_contrasts_have_none(changes: dict[str, Any]) -> None:
    assert rivals(**changes) == ()
