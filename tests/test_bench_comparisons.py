"""Paired comparisons: by hand, corrected for their number, and honest about what they could show."""

from __future__ import annotations

import pytest

from evals.bench.comparisons import compare, detectable_difference, with_verdicts
from tools.statistics import mean_interval


def rates(*values: float) -> dict[str, list[float]]:
    return {f"o{k}": [value] for k, value in enumerate(values)}


def test_a_comparison_by_hand() -> None:
    first = {"o1": [1.0, 1.0], "o2": [1.0, 0.0], "o3": [1.0], "only": [0.0]}
    second = {"o1": [0.0, 0.0], "o2": [1.0, 0.0], "o3": [0.0], "other": [1.0]}
    found = compare("identify", "base", ("a", "b"), first, second)
    assert found.specimens == 3 and found.sittings == (5, 5)
    assert found.difference == pytest.approx(2 / 3)
    assert found.interval == mean_interval([1.0, 0.0, 1.0])
    assert found.p == 4 / 8
    (judged,) = with_verdicts([found])
    assert judged.verdict == "not shown" and "minimum detectable difference" in judged.words


def test_a_difference_is_shown_only_after_the_correction_for_all_that_are_printed() -> None:
    strong = compare("identify", "base", ("a", "b"), rates(*[1.0] * 7, 0.5), rates(*[0.0] * 8))
    assert strong.p == 2 / 2**8
    (alone,) = with_verdicts([strong])
    assert alone.verdict == "shown" and alone.words == "shown: a is better"
    many = with_verdicts(
        [strong] + [compare("x", "base", ("a", "c"), rates(0, 1), rates(1, 0))] * 9
    )
    assert many[0].adjusted_p == pytest.approx(10 * 2 / 2**8) and many[0].verdict == "not shown"
    turned = compare("identify", "base", ("b", "a"), rates(*[0.0] * 8), rates(*[1.0] * 7, 0.5))
    assert with_verdicts([turned])[0].words == "shown: a is better"


def test_five_specimens_show_nothing_and_one_is_not_compared() -> None:
    (five,) = with_verdicts(
        [compare("t", "base", ("a", "b"), rates(*[1.0] * 5), rates(*[0.0] * 5))]
    )
    assert five.verdict == "not shown" and five.detectable is None
    (one,) = with_verdicts([compare("t", "base", ("a", "b"), rates(1.0), rates(0.0))])
    assert one.verdict == "not compared" and one.p is None


@pytest.mark.parametrize(
    ("specimens", "seeds", "expected"), [(20, 3, 0.28), (40, 3, 0.20), (60, 5, 0.14)]
)
def test_what_a_plan_could_show(specimens: int, seeds: int, expected: float) -> None:
    found = detectable_difference(specimens, seeds)
    assert found == pytest.approx(expected, abs=0.015)
    more, longer = detectable_difference(specimens + 10, seeds), detectable_difference(specimens, 9)
    assert more and longer and max(more, longer) < (found or 0)
    corrected = detectable_difference(specimens, seeds, alpha=0.01)
    assert corrected and corrected > (found or 1)


def test_too_few_specimens_can_show_nothing() -> None:
    assert detectable_difference(5, 100) is None
    assert detectable_difference(1, 3) is None and detectable_difference(20, 0) is None
