"""A prediction is complete when it is registered, and its hash covers all of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent.prediction import Prediction
from tests.scripted_run import level, prediction


def made(**changes: Any) -> Prediction:
    return Prediction.model_validate(prediction(**changes))


ARM = level("date")
DOSES = [{"dose": dose, "arm": ARM} for dose in (0.0, 1.0, 2.0)]
NATS = {"kind": "logprob_difference", "positive": [" yes"], "negative": [" no"]}
OTHERS: dict[str, Any] = {
    "hypothesis": "H2",
    "form": "skill",
    "question": "absolute",
    "measure": NATS,
    "treatment": ARM,
    "control": ARM,
    "reference_pair": True,
    "placebos": [ARM],
    "doses": DOSES,
    "direction": "less",
    "smallest_effect": 0.31,
    "population": "other",
    "clusters": 11,
    "per_cluster": 5,
    "samples": 2,
    "rivals": [{"name": "dates do the same", "predicts": [0.0, 0.1]}],
    "templates": {"showing": ["context"]},
}


def test_the_hash_covers_every_field() -> None:
    # Placebos that the harness draws are registered as the arms that come of it.
    assert {*OTHERS, "draw_placebos"} == set(Prediction.model_fields)
    drawn = {"form": "rank", "control": None, "draw_placebos": {"count": 99}}
    assert "draw_placebos" not in made(**drawn).model_dump()
    digests = {made().digest(), *(made(**{name: value}).digest() for name, value in OTHERS.items())}
    assert len(digests) == len(OTHERS) + 1
    assert made().digest() == made().digest()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"control": None}, "needs a `control`"),
        ({"form": "rank"}, "needs `placebos`"),
        ({"draw_placebos": {}}, "is for form 'rank'"),
        ({"form": "rank", "placebos": [ARM] * 2, "draw_placebos": {}}, "in place of `placebos`"),
        ({"form": "trend", "doses": DOSES[:2]}, "at least three different doses"),
        ({"form": "trend", "doses": [DOSES[0]] * 3}, "at least three different doses"),
        ({"form": "existence", "smallest_effect": 1.0}, "share below 1"),
        ({"form": "existence", "measure": NATS}, "a measure of 0 and 1"),
        ({"smallest_effect": 0.09}, "at least 0.10"),
        ({"smallest_effect": 0}, "greater than 0"),
        ({"rivals": []}, "name at least one rival"),
        (
            {"rivals": [{"name": "x", "predicts": [0, 0.1], "standing": True}]},
            "name at least one rival",
        ),
        ({"rivals": [{"name": "x"}]}, "either `arm` or `predicts`"),
        ({"rivals": [{"name": "x", "arm": ARM, "predicts": [0, 1]}]}, "either `arm` or `predicts`"),
        ({"rivals": [{"name": "x", "predicts": [0.5, -0.5]}]}, "the first number is the lower"),
        ({"status": "supported"}, "status"),
    ],
)
def test_an_incomplete_prediction_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        made(**changes)


def test_a_reference_pair_runs_both_arms_on_the_reference() -> None:
    arms = made(reference_pair=True).arms()
    assert set(arms) == {
        "treatment",
        "control",
        "treatment_reference",
        "control_reference",
        "rival_0",
    }
    assert arms["treatment_reference"].model == arms["control_reference"].model == "reference"
    assert arms["treatment_reference"].edits == arms["treatment"].edits
    assert arms["control"].model == "subject"
