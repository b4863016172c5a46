import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.sequential import (
    STAKES,
    EProcess,
    alpha_share,
    confidence_sequence,
    e_process,
    holm,
    max_statistic_p,
)

differences = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


def product_wealth(values, null=0.0):
    bets = [math.prod(1 + stake * (d - null) / (1 + null) for d in values) for stake in STAKES] + [
        math.prod(1 - stake * (d - null) / (1 - null) for d in values) for stake in STAKES
    ]
    return sum(bets) / len(bets)


@settings(max_examples=80, deadline=None)
@given(differences, st.floats(-0.9, 0.9))
def test_wealth_is_the_mean_of_the_products(values, null):
    process = EProcess(null=null)
    for value in values:
        process.add(value)
    assert process.value == pytest.approx(product_wealth(values, null), rel=1e-9)
    assert len(process.values) == len(values)


@settings(max_examples=60, deadline=None)
@given(differences)
def test_wealth_is_symmetric_in_sign_and_one_sided_bets_mirror(values):
    negated = [-value for value in values]
    assert e_process(negated) == pytest.approx(e_process(values), rel=1e-12)
    assert e_process(negated, "less") == pytest.approx(e_process(values, "greater"), rel=1e-12)


def test_the_expected_wealth_is_one_under_the_null():
    # All 2^10 equally likely paths of +-0.6: a martingale's mean is exact.
    total = 0.0
    for path in range(1024):
        total += e_process([0.6 if path >> k & 1 else -0.6 for k in range(10)])[-1]
    assert total / 1024 == pytest.approx(1.0, rel=1e-12)


def test_rejection_is_final_and_needs_one_over_alpha():
    process = EProcess()
    assert process.value == 1.0
    for _ in range(12):
        process.add(0.8)
    reached = process.value
    assert reached >= 20
    assert process.rejects(1 / reached)
    for _ in range(40):
        process.add(-0.8)
    assert process.rejects(1 / reached)
    assert not EProcess().rejects(0.05)


def test_values_that_break_the_bound_are_refused():
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        EProcess().add(1.01)
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        EProcess().add(math.nan)
    with pytest.raises(ValueError, match="inside"):
        EProcess(null=1.0)
    assert math.isfinite(e_process([1.0] * 3000)[-1])


def test_the_confidence_sequence_inverts_the_test_at_every_mean():
    generator = random.Random(8)
    outcomes: set[bool] = set()
    for run in range(40):
        centre = generator.uniform(-0.6, 0.6)
        values = [centre + generator.uniform(-0.4, 0.4) for _ in range(5 + run)]
        low, high = confidence_sequence(values, 0.1)
        for null in (-0.7, -0.2, 0.0, 0.3, 0.8, low - 1e-6, low + 1e-6, high - 1e-6, high + 1e-6):
            if -1 < null < 1:
                process = EProcess(null=null)
                for value in values:
                    process.add(value)
                assert process.rejects(0.1) == (not low <= null <= high)
                outcomes.add(process.rejects(0.1))
    assert outcomes == {True, False}


@settings(max_examples=40, deadline=None)
@given(differences)
def test_a_mean_that_was_never_rejected_stays_inside(values):
    low, high = confidence_sequence(values, 0.1)
    assert -1 <= low <= high <= 1
    for null in (-0.7, 0.0, 0.3):
        process = EProcess(null=null)
        for value in values:
            process.add(value)
        assert low - 1e-9 <= null <= high + 1e-9 or process.rejects(0.1 + 1e-9)


def test_the_confidence_sequence_narrows_round_the_mean():
    generator = random.Random(1)
    values = [generator.uniform(-0.4, 0.8) for _ in range(200)]
    widths = []
    for n in (10, 50, 200):
        low, high = confidence_sequence(values[:n])
        assert low < sum(values[:n]) / n < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.25
    assert confidence_sequence([]) == (-1.0, 1.0)
    mirrored = confidence_sequence([-value for value in values])
    low, high = confidence_sequence(values)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_contradictory_looks_leave_the_last_interval():
    low, high = confidence_sequence([1.0] * 30 + [-1.0] * 300)
    assert low <= high


def test_max_statistic_pays_for_the_search():
    permuted = [[0.1, 0.9], [0.8, 0.2], [0.3, 0.1]]
    assert max_statistic_p([0.85, 2.0], permuted) == [2 / 4, 1 / 4]
    assert max_statistic_p([0.9, 0.3], permuted) == [2 / 4, 4 / 4]
    with pytest.raises(ValueError, match="cells"):
        max_statistic_p([1.0], permuted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_holm_lies_between_no_correction_and_bonferroni(p_values, shuffler):
    adjusted = holm(p_values)
    for p, each in zip(p_values, adjusted, strict=True):
        assert p <= each + 1e-15
        assert each <= 1.0
    assert min(adjusted) == min(1.0, len(p_values) * min(p_values))
    assert max(adjusted) >= max(p_values)
    order = list(range(len(p_values)))
    shuffler.shuffle(order)
    assert holm([p_values[k] for k in order]) == [adjusted[k] for k in order]


def test_alpha_share():
    assert alpha_share(0.05, 8) == 0.00625
    with pytest.raises(ValueError, match="at least one"):
        alpha_share(0.05, 0)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.5, 1.5])
