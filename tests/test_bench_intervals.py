"""Intervals over specimens: by hand, by simulation, and never more certain than the data."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.bench.intervals import Values, average, proportion
from tools.statistics import clopper_pearson_interval, mean_interval


def test_the_clustered_interval_by_hand() -> None:
    found = proportion([("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0)])
    # p = 1/2; variance 2/1 * (1^2 + 1^2) / 4^2 = 1/4, so one effective run; t(3) / t(1) for few clusters.
    effective = (3.182446 / 12.706205) ** 2
    expected = clopper_pearson_interval(0.5 * effective, effective)
    assert found.interval == pytest.approx(expected, abs=1e-5)
    assert found.method == "exact, clustered"


def test_the_same_run_under_more_seeds_tells_nothing_new() -> None:
    once = [(f"o{k}", float(k < 6)) for k in range(12)]
    for values in (once, [(name, 1.0) for name, _ in once]):
        one, four = proportion(values), proportion(values * 4)
        assert one.value == four.value and one.interval and four.interval
        assert four.interval[0] <= one.interval[0] + 1e-9
        assert four.interval[1] >= one.interval[1] - 1e-9
        naive = clopper_pearson_interval(round(sum(v for _, v in values)) * 4, 48)
        assert naive[0] > four.interval[0]


def test_different_runs_of_a_specimen_do_tell_more() -> None:
    apart = [(f"o{k}", float(seed < 2)) for k in range(12) for seed in range(4)]
    found = proportion(apart)
    alone = clopper_pearson_interval(6, 12)
    assert found.interval and found.interval[1] - found.interval[0] < alone[1] - alone[0]


@pytest.mark.parametrize("resemblance", [0.1, 0.9])
def test_the_interval_covers_the_truth_where_counting_runs_does_not(resemblance: float) -> None:
    drawn, truth, trials = random.Random(5), 0.3, 300
    covered = naive = 0
    for _ in range(trials):
        values: list[Values] = []
        for k in range(16):
            weight = (1 - resemblance) / resemblance
            rate = drawn.betavariate(truth * weight, (1 - truth) * weight)
            values += [(str(k), float(drawn.random() < rate)) for _ in range(4)]
        low, high = proportion(values).interval or (1.0, 0.0)
        covered += low <= truth <= high
        low, high = clopper_pearson_interval(round(sum(v for _, v in values)), len(values))
        naive += low <= truth <= high
    assert covered >= 0.92 * trials
    assert resemblance < 0.5 or naive < 0.85 * trials


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.0, 0.5, 1.0])), min_size=1))
@settings(max_examples=100, deadline=None)
def test_a_proportion_lies_in_its_interval_and_in_0_to_1(values: list[Values]) -> None:
    found = proportion(values)
    assert found.value is not None and found.interval is not None
    low, high = found.interval
    assert 0 <= low <= found.value + 1e-9 and found.value - 1e-9 <= high <= 1
    assert high - low > 0
    assert proportion(values[::-1]) == found


def test_figures_that_are_no_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        proportion([("a", 1.5)])


def test_an_average_is_over_specimens_and_no_spread_is_no_certainty() -> None:
    found = average([("a", 1.0), ("a", 3.0), ("b", 5.0)])
    assert found.value == 3.5 and (found.n, found.specimens) == (3, 2)
    assert found.interval == mean_interval([2.0, 5.0])
    assert average([("a", 1.0), ("b", 1.0)]).interval is None
    assert average([("a", 1.0)]).interval is None
    assert average([]).value is None
