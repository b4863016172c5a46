"""What turns a table into a status: selection by scoring, and rivals of a difference of differences."""

from __future__ import annotations

from typing import Any

import pytest

from agent.prediction import Prediction
from agent.verdict import decide
from tests.scripted_run import level, prediction

RATES = {"treatment": 0.9, "control": 0.1, "rival_0": 0.1}


def rows(rate: float, unscored: float = 0.0) -> list[dict[str, Any]]:
    """Forty templates of twenty items; the rate is that of the items that could be scored."""
    found: list[dict[str, Any]] = []
    scored = 20 - round(unscored * 20)
    for k in range(40 * 20):
        score = float(k % 20 < round(rate * scored)) if k % 20 < scored else None
        found.append({"template_id": f"t{k // 20}", "scores": [score], "mean": score})
    return found


def status(
    rates: dict[str, float], unscored: dict[str, float] | None = None, **changes: Any
) -> tuple[str, Any]:
    wanted = Prediction.model_validate(prediction(**changes))
    missing = unscored or {}
    table = {name: rows(rate, missing.get(name, 0.0)) for name, rate in rates.items()}
    verdict = decide(wanted, table, 0.01, 1)
    return verdict.status, verdict


def test_a_clear_effect_is_supported_and_a_surviving_rival_leaves_the_cause_open() -> None:
    assert status(RATES)[0] == "supported"
    assert status(RATES | {"rival_0": 0.9})[0] == "effect shown, cause open"
    assert status(RATES | {"treatment": 0.1})[0] == "refuted"
    assert status(RATES, direction="less")[0] == "refuted"


@pytest.mark.parametrize("arm", ["treatment", "control"])
def test_an_edit_that_chooses_what_is_scored_supports_nothing(arm: str) -> None:
    found, verdict = status(RATES, {arm: 0.5})
    assert found == "effect shown, cause open"
    assert any("scored" in check.name and not check.passed for check in verdict.checks)
    # As much missing everywhere is no selection by the edit, and a little is none.
    assert status(RATES, {"treatment": 0.1, "control": 0.1})[0] == "supported"
    assert verdict.unscored == 400


def test_the_same_holds_for_equivalence_and_existence() -> None:
    same = {"treatment": 0.3, "control": 0.3}
    form = {"form": "equivalence", "smallest_effect": 0.2, "rivals": []}
    assert status(same, **form)[0] == "supported"
    assert status(same, {"treatment": 0.5}, **form)[0] == "inconclusive"
    exists = {"form": "existence", "smallest_effect": 0.5, "rivals": []}
    assert status({"treatment": 0.3}, **exists)[0] == "supported"
    assert status({"treatment": 0.3}, {"treatment": 0.5}, **exists)[0] == "inconclusive"


def test_a_rival_that_does_the_same_beyond_the_reference_survives() -> None:
    """On the subject alone the rival is far below; beyond what the reference does it is as strong."""
    rates = {
        "treatment": 0.9,
        "control": 0.1,
        "treatment_reference": 0.6,
        "control_reference": 0.1,
        "rival_0": 0.5,
        "rival_0_reference": 0.2,
    }
    changes: dict[str, Any] = {"reference_pair": True, "smallest_effect": 0.2}
    assert status(rates, **changes)[0] == "effect shown, cause open"
    assert status(rates | {"rival_0_reference": 0.5}, **changes)[0] == "supported"
    del rates["rival_0_reference"]
    assert status(rates, **changes)[0] == "effect shown, cause open"


def test_a_range_that_holds_the_effect_survives() -> None:
    for predicts, wanted in (([0.7, 0.9], "effect shown, cause open"), ([0.0, 0.2], "supported")):
        rivals = [{"name": "r", "predicts": predicts}]
        assert status({"treatment": 0.9, "control": 0.1}, rivals=rivals)[0] == wanted


def test_placebos_count_against_a_rank() -> None:
    placebos = [level("date") | {"name": str(k)} for k in range(120)]
    rates = RATES | {f"placebo_{k}": 0.1 for k in range(120)}
    found, verdict = status(rates, form="rank", placebos=placebos)
    assert (found, verdict.p) == ("supported", pytest.approx(1 / 121))
    assert (
        status(rates | {"placebo_5": 0.9, "placebo_6": 1.0}, form="rank", placebos=placebos)[0]
        != "supported"
    )


def test_nothing_scored_is_inconclusive() -> None:
    assert status(RATES, {"treatment": 1.0})[0] == "inconclusive"
    wanted = Prediction.model_validate(prediction())
    assert decide(wanted, {}, 0.01, 1).status == "inconclusive"
