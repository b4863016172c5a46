import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.power import (
    clusters_needed,
    minimum_detectable_difference,
    power_existence,
    power_rank,
    power_sign_flip,
    power_tost,
)
from tools.statistics import existence_p, rank_p, sign_flip_p, tost_p

RUNS = 2000


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize(
    ("n", "alpha", "effect"),
    [
        (6, 0.05, 1.0),
        (7, 0.05, 1.2),
        (8, 0.05, 0.9),
        (9, 0.00625, 1.3),
        (10, 0.00625, 1.2),
        (11, 0.00625, 1.2),
        (12, 0.00625, 1.0),
        (14, 0.00625, 0.9),
        (20, 0.00625, 0.8),
        (20, 0.05, 0.5),
    ],
)
def test_power_is_that_of_the_test_itself(n, alpha, effect, alternative):
    rows = np.random.default_rng(n).normal(effect, 1, (RUNS, n)).tolist()
    share = np.mean([sign_flip_p(row, alternative, seed=1) <= alpha for row in rows])
    found = power_sign_flip(effect, 1.0, n, alpha, alternative)
    # 0.04 is what the docstring owns up to; 0.025 is two standard errors of the simulation.
    assert -0.025 < found - share < 0.04 + 0.025


def test_power_from_the_left_and_without_any():
    assert power_sign_flip(-0.2, 0.2, 12, 0.05, "less") == power_sign_flip(
        0.2, 0.2, 12, 0.05, "greater"
    )
    assert power_sign_flip(0.2, 0.2, 12, 0.05, "less") < 1e-3
    assert power_sign_flip(100.0, 1.0, 8, 0.00625) == 0.0
    assert power_sign_flip(100.0, 1.0, 8, 0.0079) > 0.999
    assert power_sign_flip(0.0, 1.0, 12, 0.05) == pytest.approx(0.05, abs=0.001)
    with pytest.raises(ValueError, match="positive"):
        power_sign_flip(0.1, 0.0, 12, 0.05)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.02, 2), st.floats(0.05, 2), st.integers(5, 40), st.sampled_from([0.05, 0.00625]))
def test_power_grows_with_effect_and_alpha(effect, sd, n, alpha):
    base = power_sign_flip(effect, sd, n, alpha)
    assert 0 <= base <= 1
    assert power_sign_flip(1.2 * effect, sd, n, alpha) >= base - 1e-9
    assert power_sign_flip(effect, 1.2 * sd, n, alpha) <= base + 1e-9
    assert power_sign_flip(effect, sd, n, alpha / 2) <= base + 1e-9


def test_six_templates_are_powerless_once_five_tests_are_registered_and_twelve_are_not():
    assert power_sign_flip(0.4, 0.3, 6, 0.05 / 5) == 0.0
    assert power_sign_flip(0.4, 0.3, 12, 0.05 / 5) > 0.9


@pytest.mark.parametrize(
    ("effect", "sd", "alpha"), [(0.1, 0.05, 0.00625), (0.1, 0.2, 0.05), (0.2, 0.3, 0.00625)]
)
def test_clusters_needed_is_the_first_that_suffices(effect, sd, alpha):
    n = clusters_needed(effect, sd, alpha)
    assert n is not None
    assert power_sign_flip(effect, sd, n, alpha) >= 0.8
    assert all(power_sign_flip(effect, sd, k, alpha) < 0.8 for k in range(2, n))
    assert clusters_needed(effect, sd, alpha, maximum=n) == n
    assert clusters_needed(effect, sd, alpha, maximum=n - 1) is None
    detectable = minimum_detectable_difference(sd, n, alpha)
    assert detectable <= effect
    assert power_sign_flip(detectable, sd, n, alpha) == pytest.approx(0.8, abs=1e-6)


def test_nothing_is_detectable_where_no_pattern_reaches_alpha():
    assert minimum_detectable_difference(0.2, 6, 0.00625) == math.inf
    assert clusters_needed(1.0, 0.01, 1e-5) is None
    assert clusters_needed(1.0, 0.01, 1e-5, alternative="greater") is None
    assert minimum_detectable_difference(0.2, 12, 0.05, alternative="less") > 0


@pytest.mark.parametrize(
    ("margin", "sd", "n", "effect"), [(0.1, 0.12, 12, 0), (0.1, 0.1, 20, 0.03), (0.1, 0.3, 12, 0)]
)
def test_power_of_tost_is_that_of_the_test_itself(margin, sd, n, effect):
    rows = np.random.default_rng(3).normal(effect, sd, (RUNS, n)).tolist()
    share = np.mean([tost_p(row, margin) <= 0.05 for row in rows])
    assert power_tost(margin, sd, n, 0.05, effect) == pytest.approx(share, abs=0.03)


def test_power_of_tost_at_the_margin_is_alpha():
    assert power_tost(0.1, 0.02, 20, 0.05, 0.1) == pytest.approx(0.05, abs=1e-4)
    assert power_tost(0.1, 0.02, 20, 0.00625, -0.1) == pytest.approx(0.00625, abs=1e-4)
    assert power_tost(0.1, 1e-6, 300, 0.05) == pytest.approx(1.0)
    assert power_tost(0.1, 0.1, 1, 0.05) == 0.0


def test_power_of_rank_and_existence():
    rows = np.random.default_rng(4).normal(0, 1, (RUNS, 100))
    share = np.mean([rank_p(row[0] + 2.5, row[1:]) <= 0.05 for row in rows])
    assert power_rank(2.5, 99, 0.05) == pytest.approx(share, abs=0.03)
    assert power_rank(0.0, 99, 0.05) == pytest.approx(0.05, abs=1e-6)
    assert power_rank(100.0, 99, 0.01) == pytest.approx(1.0)
    assert power_rank(100.0, 98, 0.01) == 0.0
    hits = np.random.default_rng(5).binomial(12, 0.7, RUNS)
    share = np.mean([existence_p(int(hit), 12, 0.3) <= 0.05 for hit in hits])
    assert power_existence(0.7, 0.3, 12, 0.05) == pytest.approx(share, abs=0.03)
    assert power_existence(1.0, 0.9, 12, 0.05) == 0.0
