"""The verdict's rule: what is supported, what stays open, what is refuted, and that nothing else is."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agent.prediction import Prediction
from agent.verdict import decide, decide_batch
from tests.scripted_run import prediction

ALPHA = 0.05 / 8


def registered(**changes: Any) -> Prediction:
    return Prediction.model_validate(prediction(smallest_effect=0.1) | changes)


def rows(rates: list[float], items: int = 20) -> list[dict[str, Any]]:
    """Return one arm whose templates have these rates."""
    found: list[dict[str, Any]] = []
    for number, rate in enumerate(rates):
        for item in range(items):
            score = float(item < round(rate * items))
            found.append({"template_id": f"t{number:02d}", "scores": [score], "mean": score})
    return found


def table(treatment: float, control: float, **others: float) -> dict[str, Any]:
    """Return arms of twelve templates around these rates."""
    rng = random.Random(4)

    def around(rate: float) -> list[dict[str, Any]]:
        return rows([min(1.0, max(0.0, rate + rng.uniform(-0.1, 0.1))) for _ in range(12)])

    arms = {"treatment": treatment, "control": control, "rival_0": control} | others
    return {name: around(rate) for name, rate in arms.items()}


def status(made: Prediction, arms: dict[str, Any]) -> str:
    return decide(made, arms, ALPHA, 0).status


def test_an_effect_that_beats_every_rival_is_supported() -> None:
    verdict = decide(registered(), table(0.8, 0.2), ALPHA, 0)
    assert verdict.status == "supported" and verdict.rivals[0].excluded
    assert verdict.estimate == pytest.approx(0.6, abs=0.08)
    assert (verdict.p, verdict.clusters, verdict.items) == (2**-12, 12, 3 * 12 * 20)


def test_a_surviving_rival_leaves_the_cause_open() -> None:
    assert status(registered(), table(0.8, 0.2, rival_0=0.78)) == "effect shown, cause open"
    inside = registered(rivals=[{"name": "a range", "predicts": (0.5, 0.7)}])
    outside = registered(rivals=[{"name": "a range", "predicts": (-0.05, 0.2)}])
    assert status(inside, table(0.8, 0.2)) == "effect shown, cause open"
    assert status(outside, table(0.8, 0.2)) == "supported"


def test_the_wrong_direction_is_refuted() -> None:
    assert status(registered(direction="less"), table(0.8, 0.2)) == "refuted"
    assert status(registered(), table(0.2, 0.8)) == "refuted"
    assert status(registered(direction="less"), table(0.2, 0.8)) == "supported"


def test_an_effect_below_the_smallest_of_interest_is_not_supported() -> None:
    verdict = decide(registered(smallest_effect=0.3), table(0.4, 0.2), ALPHA, 0)
    assert verdict.p is not None and verdict.p < ALPHA and verdict.status == "refuted"


def test_equivalence_is_supported_within_its_margin_and_refuted_beyond() -> None:
    same = registered(form="equivalence", smallest_effect=0.2, rivals=[])
    assert status(same, table(0.5, 0.5)) == "supported"
    assert status(same, table(0.9, 0.2)) == "refuted"


def test_equivalence_without_any_spread_has_the_bound_of_a_rate() -> None:
    same = registered(form="equivalence", smallest_effect=0.4, rivals=[])
    arms = {name: rows([1.0] * 12) for name in ("treatment", "control")}
    verdict = decide(same, arms, ALPHA, 0)
    # (1 - margin)^n bounds the chance of twelve equal templates under a difference of the margin.
    assert verdict.p == pytest.approx(0.6**12) and verdict.status == "supported"


def test_existence_counts_templates() -> None:
    some = registered(form="existence", smallest_effect=0.2, control=None, rivals=[])
    assert status(some, {"treatment": rows([0.1] * 12)}) == "supported"
    assert status(some, {"treatment": rows([0.0] * 24)}) == "refuted"


def test_a_trend_has_to_be_monotone() -> None:
    for levels, expected in (
        ((0.2, 0.5, 0.8), "supported"),
        ((0.2, 0.9, 0.6), "effect shown, cause open"),
        ((0.8, 0.5, 0.2), "refuted"),
    ):
        doses = [{"dose": k, "arm": {"name": f"d{k}"}} for k in range(3)]
        arms = {f"dose_{k}": rows([level] * 12) for k, level in enumerate(levels)}
        arms["rival_0"] = rows([0.1, 0.12] * 6)
        assert status(registered(form="trend", doses=doses, control=None), arms) == expected


def test_a_failed_experiment_is_inconclusive_for_every_form() -> None:
    doses = [{"dose": k, "arm": {"name": "d"}} for k in range(3)]
    placebos = [{"name": "a"}, {"name": "b"}]
    for form in (
        "difference",
        "equivalence",
        "rank",
        "trend",
        "localisation",
        "skill",
        "existence",
    ):
        made = registered(form=form, doses=doses, placebos=placebos, reference_pair=True)
        verdict = decide(made, {}, ALPHA, 0)
        assert (verdict.status, verdict.estimate, verdict.p) == ("inconclusive", None, None)


def test_the_scope_says_whether_the_reference_shares_it() -> None:
    for base, scope in ((0.8, "inherited from the reference"), (0.2, "added by training")):
        arms = table(0.8, 0.2, scope_treatment=base, scope_control=0.2)
        verdict = decide(registered(), arms, ALPHA, 0)
        assert (verdict.reference_scope, verdict.status) == (scope, "supported")


def test_a_batch_is_decided_by_holm_within_its_shares() -> None:
    strong, weak = table(0.8, 0.2), table(0.22, 0.2)
    mixed = decide_batch([registered()] * 2, [weak, strong], [ALPHA, ALPHA], [0, 0])
    assert [each.status == "supported" for each in mixed] == [False, True]
    both = decide_batch([registered()] * 2, [strong, strong], [ALPHA, ALPHA], [0, 0])
    assert sorted(each.threshold for each in both) == pytest.approx([ALPHA, 2 * ALPHA])


def test_the_order_of_rows_changes_no_digit() -> None:
    arms, order = table(0.6, 0.3), list(range(12))
    for seed in range(8):
        random.Random(seed).shuffle(order)
        shuffled = {
            name: [row for k in order for row in listed[20 * k : 20 * k + 20]]
            for name, listed in arms.items()
        }
        assert decide(registered(), arms, ALPHA, seed) == decide(
            registered(), shuffled, ALPHA, seed
        )
