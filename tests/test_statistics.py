import itertools
import math
import random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from tools import power, sequential
from tools.discrimination import auroc, brier_score, log_odds_with_prior
from tools.statistics import (
    VERSIONS,
    bootstrap_t_interval,
    clopper_pearson_interval,
    cluster_sd,
    existence_p,
    log_odds_ratio,
    logit_shift,
    mcnemar_exact_p,
    mean,
    mean_interval,
    rank_p,
    rank_smallest_p,
    sign_flip_p,
    sign_flip_smallest_p,
    tost_interval,
    tost_p,
    trend_p,
    trend_slope,
    wilson_interval,
)

DATA = [0.31, -0.12, 0.45, 0.08, 0.27, -0.03, 0.52, 0.19, 0.11, 0.36]
LONG = [*DATA, 0.02, -0.2, 0.14, 0.33, -0.41, 0.07, 0.25, -0.06]
clusters = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=9)


def enumerated_p(values, alternative):
    """The definition in exact thirds-and-tenths arithmetic: integers of a thousandth."""
    units = [round(1000 * value) for value in values]
    key = {"greater": lambda x: x, "less": lambda x: -x, "two-sided": abs}[alternative]
    flips = itertools.product((1, -1), repeat=len(units))
    sums = [key(sum(s * u for s, u in zip(signs, units, strict=True))) for signs in flips]
    return sum(total >= key(sum(units)) for total in sums) / len(sums)


@settings(max_examples=150, deadline=None)
@given(clusters, st.sampled_from(["two-sided", "greater", "less"]))
def test_sign_flip_is_the_enumeration_with_decimal_ties_counted(values, alternative):
    assert sign_flip_p(values, alternative) == enumerated_p(values, alternative)


def test_sign_flip_counts_a_tie_that_rounding_would_miss():
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in floating point, so a bare comparison drops half of the ties.
    assert sign_flip_p([0.1, 0.2, -0.3], "greater") == enumerated_p([0.1, 0.2, -0.3], "greater")
    assert sign_flip_p([0.1, 0.2, 0.3], "greater") == 1 / 8


def test_sign_flip_agrees_with_scipy():
    for alternative in ("two-sided", "greater", "less"):
        other = scipy.stats.permutation_test(
            (DATA,),
            np.mean,
            permutation_type="samples",
            alternative=alternative,
            n_resamples=np.inf,
        )
        assert sign_flip_p(DATA, alternative) == pytest.approx(other.pvalue, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(clusters, st.floats(1e-6, 1e6), st.randoms())
def test_sign_flip_ignores_order_and_scale_and_mirrors(values, scale, shuffler):
    p = sign_flip_p(values)
    shuffled = [*values]
    shuffler.shuffle(shuffled)
    assert sign_flip_p(shuffled) == p
    assert sign_flip_p([scale * value for value in values]) == p
    assert sign_flip_p([-value for value in values]) == p
    assert sign_flip_p(values, "less") == sign_flip_p([-value for value in values], "greater")


def test_sign_flip_falls_as_the_effect_grows():
    shifted = [
        sign_flip_p([value + shift for value in DATA], "greater") for shift in (-1, 0, 0.1, 1)
    ]
    assert shifted == sorted(shifted, reverse=True)
    assert shifted[0] == 1.0
    assert shifted[-1] == sign_flip_smallest_p(len(DATA), "greater")


def test_sign_flip_beyond_enumeration_is_seeded_and_near_the_exact_value():
    exact_sums = np.zeros(1)
    for value in LONG:
        exact_sums = np.concatenate([exact_sums + value, exact_sums - value])
    exact = float(np.mean(np.abs(exact_sums) >= abs(sum(LONG)) - 1e-9))
    p = sign_flip_p(LONG, seed=3)
    assert p == sign_flip_p(LONG, seed=3) != sign_flip_p(LONG, seed=4)
    assert abs(p - exact) < 4 * math.sqrt(exact * (1 - exact) / 19_999)
    assert sign_flip_p([-value for value in LONG], seed=3) == p
    assert sign_flip_p([1.0] * 40, "greater", seed=1) == sign_flip_smallest_p(40) == 1 / 20_000


@pytest.mark.parametrize("n", [2, 5, 16])
def test_smallest_p_is_attained(n):
    for alternative in ("two-sided", "greater"):
        assert sign_flip_p([0.1 * n] * n, alternative) == sign_flip_smallest_p(n, alternative)


def test_no_evidence_gives_one():
    assert sign_flip_p([0.0] * 12) == 1.0
    assert sign_flip_p([0.0] * 20, seed=1) == 1.0
    assert sign_flip_smallest_p(1) == 1.0


@pytest.mark.parametrize("bad", [[], [0.1, math.nan], [math.inf, 0.2]])
def test_what_is_not_finite_is_refused(bad):
    for function in (sign_flip_p, mean_interval, cluster_sd, mean):
        with pytest.raises(ValueError, match=r"finite|no values"):
            function(bad)


def test_mean_interval_agrees_with_scipy():
    low, high = mean_interval(DATA, 0.9)
    other = scipy.stats.ttest_1samp(DATA, 0).confidence_interval(0.9)
    assert (low, high) == pytest.approx((other.low, other.high), rel=1e-12)
    assert cluster_sd(DATA) == pytest.approx(np.std(DATA, ddof=1), rel=1e-14)
    with pytest.raises(ValueError, match="2 clusters"):
        mean_interval([0.3])


@settings(max_examples=60, deadline=None)
@given(clusters, st.randoms())
def test_sums_do_not_depend_on_order(values, shuffler):
    shuffled = [*values]
    shuffler.shuffle(shuffled)
    assert mean_interval(values) == mean_interval(shuffled)
    assert tost_p(values, 0.1) == tost_p(shuffled, 0.1)


def test_bootstrap_t_leans_towards_the_long_tail_and_is_seeded():
    skewed = [0.0, 0.01, 0.02, 0.02, 0.03, 0.04, 0.05, 0.05, 0.3, 0.6]
    low, high = bootstrap_t_interval(skewed, seed=1)
    t_low, t_high = mean_interval(skewed)
    assert high - mean(skewed) > 1.3 * (t_high - mean(skewed))
    assert low > t_low
    assert (
        (low, high) == bootstrap_t_interval(skewed, seed=1) != bootstrap_t_interval(skewed, seed=2)
    )
    mirrored = bootstrap_t_interval([-value for value in skewed], seed=1)
    assert mirrored == pytest.approx((-high, -low), rel=1e-9)
    assert bootstrap_t_interval([0.2] * 8) == (pytest.approx(0.2), pytest.approx(0.2))
    assert bootstrap_t_interval([0.0] * 7 + [1.0])[1] == math.inf


@pytest.mark.parametrize(("successes", "n"), [(0, 12), (3, 12), (12, 12), (60, 200)])
def test_binomial_intervals_agree_with_statsmodels(successes, n):
    assert wilson_interval(successes, n) == pytest.approx(
        proportion_confint(successes, n, method="wilson"), rel=1e-10, abs=1e-15
    )
    exact = proportion_confint(successes, n, method="beta")
    assert clopper_pearson_interval(successes, n) == pytest.approx(exact, rel=1e-10, abs=1e-15)


def test_null_runs_give_the_published_upper_bounds():
    assert clopper_pearson_interval(0, 30, 0.9)[1] == pytest.approx(0.095, abs=5e-4)
    assert clopper_pearson_interval(0, 59, 0.9)[1] == pytest.approx(0.0495, abs=5e-4)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 9), (9, 1), (5, 5), (30, 52)])
def test_mcnemar_agrees_with_the_binomial_test(b, c):
    expected = scipy.stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_exact_p(b, c) == pytest.approx(expected, rel=1e-10)


def test_tost_agrees_with_statsmodels_and_its_interval():
    differences = [0.02, -0.05, 0.07, 0.01, -0.03, 0.04, 0.0, 0.06, -0.02, 0.03]
    expected, *_ = ttost_paired(np.array(differences), np.zeros(10), -0.05, 0.05)
    assert tost_p(differences, 0.05) == pytest.approx(expected, rel=1e-10)
    for margin in (0.02, 0.03, 0.035, 0.04, 0.1):
        low, high = tost_interval(differences, 0.05)
        assert (tost_p(differences, margin) < 0.05) == (-margin < low and high < margin)
    p = tost_p(differences, 0.05)
    assert tost_p([-value for value in differences], 0.05) == p
    assert tost_p(differences, 0.08) < p < tost_p(differences, 0.03)


def test_equivalence_is_not_free_where_no_spread_was_seen():
    assert tost_p([0.0] * 12, 0.1) == 1.0
    assert tost_p([0.0] * 12, 0.1, bound=1) == pytest.approx(0.9**12)
    assert tost_p([0.0] * 48, 0.1, bound=1) < 0.00641
    assert tost_p([0.2] * 12, 0.1, bound=1) == 1.0
    rounding = [0.7 - 0.65, 0.4 - 0.35] * 6
    assert len(set(rounding)) > 1
    assert tost_p(rounding, 0.1, bound=1) == pytest.approx((1 - 0.05 / 0.95) ** 12)


def test_rank_counts_ties_against_the_value():
    placebos = [0.1, 0.2, 0.3, 0.3 + 1e-16]
    assert rank_p(0.3, placebos) == 3 / 5
    assert rank_p(0.31, placebos) == rank_smallest_p(4) == 1 / 5
    assert rank_p(-0.31, placebos, "less") == 1 / 5
    assert rank_p(-0.31, placebos, "two-sided") == 1 / 5
    assert rank_p(0.1 + 0.2, [0.3]) == 1.0


def test_rank_is_uniform_when_exchangeable():
    generator = random.Random(5)
    draws = [[generator.random() for _ in range(20)] for _ in range(2000)]
    share = sum(rank_p(row[0], row[1:]) <= 0.05 for row in draws) / 2000
    assert 0.035 < share < 0.065


def test_trend_agrees_with_least_squares():
    doses = [-2.0, -1.0, 0.0, 1.0, 3.0]
    row = [0.1, 0.3, 0.2, 0.6, 0.5]
    assert trend_slope(doses, row) == pytest.approx(scipy.stats.linregress(doses, row).slope)
    rows = [[0.1 * dose + 0.01 * k * (-1) ** k for dose in doses] for k in range(8)]
    assert trend_p(doses, rows, "greater") == 1 / 256
    assert trend_p(doses, rows, "less") == 1.0
    with pytest.raises(ValueError, match="different doses"):
        trend_slope([1.0, 1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="3 responses"):
        trend_slope([1.0, 2.0], [0.0, 1.0, 2.0])


def test_existence_agrees_with_the_binomial_test():
    expected = scipy.stats.binomtest(9, 12, 0.3, alternative="greater").pvalue
    assert existence_p(9, 12, 0.3) == pytest.approx(expected, rel=1e-12)
    assert existence_p(0, 12, 0.3) == 1.0
    with pytest.raises(ValueError, match="not a count"):
        existence_p(13, 12, 0.3)


def test_log_odds():
    assert log_odds_ratio(8, 10, 2, 10) == pytest.approx(2 * math.log(8.5 / 2.5))
    assert log_odds_ratio(2, 10, 8, 10) == -log_odds_ratio(8, 10, 2, 10)
    assert math.isfinite(log_odds_ratio(10, 10, 0, 10))
    assert logit_shift(0.8, 0.2) == pytest.approx(2 * math.log(4))
    assert logit_shift(1.0, 0.0) == pytest.approx(2 * math.log(199))
    assert logit_shift(0.001, 0.0) == 0.0


def test_words_are_ranked_by_the_published_formula():
    prior = {"elephant": 1.0, "the": 50.0, "rare": 0.5}
    a, b = {"elephant": 20, "the": 100, "rare": 1}, {"elephant": 1, "the": 110}
    z = log_odds_with_prior(a, b, prior)
    shift = math.log(21 / (121 + 51.5 - 21)) - math.log(2 / (111 + 51.5 - 2))
    assert z["elephant"] == pytest.approx(shift / math.sqrt(1 / 21 + 1 / 2))
    assert z["elephant"] > 2 > abs(z["rare"])
    swapped = log_odds_with_prior(b, a, prior)
    assert swapped == pytest.approx({word: -score for word, score in z.items()})
    with pytest.raises(ValueError, match="'new'"):
        log_odds_with_prior({"new": 1}, b, prior)


def test_brier_score_of_the_published_example():
    outcomes = [True] * 22 + [False] * 78
    assert brier_score([0.77] * 100, outcomes) == pytest.approx(0.474, abs=5e-4)
    assert brier_score([0.22] * 100, outcomes) == pytest.approx(0.172, abs=5e-4)
    with pytest.raises(ValueError, match="between 0 and 1"):
        brier_score([1.2], [True])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30))
def test_auroc_agrees_with_sklearn(pairs):
    labels, scores = [p[0] for p in pairs], [float(p[1]) for p in pairs]
    if len(set(labels)) < 2:
        with pytest.raises(ValueError, match="both"):
            auroc(labels, scores)
    else:
        assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


PS = [0.011, 0.2, 0.004, 0.03]
RECORDED = {
    "auroc": lambda: auroc([True, False, True, False], [0.4, 0.4, 0.9, 0.1]),
    "benjamini_hochberg": lambda: sequential.benjamini_hochberg(PS)[3],
    "bootstrap_t": lambda: bootstrap_t_interval(DATA, seed=1, resamples=399)[1],
    "brier": lambda: brier_score([0.2, 0.9], [False, True]),
    "clopper_pearson": lambda: clopper_pearson_interval(3, 12)[1],
    "confidence_sequence": lambda: sequential.confidence_sequence(DATA, 0.2)[0],
    "e_process": lambda: sequential.e_process(DATA)[-1],
    "existence": lambda: existence_p(9, 12, 0.3),
    "holm": lambda: sequential.holm(PS)[3],
    "log_odds_ratio": lambda: log_odds_ratio(8, 10, 2, 10),
    "log_odds_with_prior": lambda: log_odds_with_prior({"a": 3}, {"b": 1}, {"a": 1, "b": 2})["a"],
    "logit_shift": lambda: logit_shift(0.8, 0.3),
    "max_statistic": lambda: sequential.max_statistic_p([2.0, 1.0], [[1.5, 0], [0, 3]])[0],
    "mcnemar": lambda: mcnemar_exact_p(1, 9),
    "power": lambda: power.power_sign_flip(0.1, 0.1, 12, 0.00625),
    "rank": lambda: rank_p(0.3, [0.1, 0.3, 0.5]),
    "sign_flip": lambda: sign_flip_p(LONG, seed=7),
    "t_interval": lambda: mean_interval(DATA)[0],
    "tost": lambda: tost_p(DATA, 0.4),
    "trend": lambda: trend_slope([0, 1, 3], [0.1, 0.4, 0.5]),
    "wilson": lambda: wilson_interval(3, 12)[0],
}
"""One result of each statistic; `GOLDEN` holds what its recorded version gave."""
GOLDEN: dict[str, tuple[int, float]] = {
    "auroc": (1, 0.875),
    "benjamini_hochberg": (1, 0.04),
    "bootstrap_t": (1, 0.3605627617236),
    "brier": (1, 0.025),
    "clopper_pearson": (1, 0.5718584618782),
    "confidence_sequence": (1, -0.1871979266489),
    "e_process": (1, 1.473594356038),
    "existence": (1, 0.001691655435),
    "holm": (1, 0.06),
    "log_odds_ratio": (1, 2.447550863244),
    "log_odds_with_prior": (1, 1.602598389009),
    "logit_shift": (1, 2.233592221507),
    "max_statistic": (1, 0.6666666666667),
    "mcnemar": (1, 0.021484375),
    "power": (1, 0.5462213077097),
    "rank": (1, 0.75),
    "sign_flip": (1, 0.0379),
    "t_interval": (1, 0.0663442964041),
    "tost": (1, 0.009550660161592),
    "trend": (1, 0.1214285714286),
    "wilson": (1, 0.08894166839405),
}


def test_a_changed_result_needs_a_new_version():
    found = {name: (VERSIONS[name], compute()) for name, compute in RECORDED.items()}
    assert set(VERSIONS) == set(RECORDED) == set(GOLDEN)
    for name, (version, value) in found.items():
        assert version == GOLDEN[name][0]
        assert value == pytest.approx(GOLDEN[name][1], rel=1e-10), name


def test_holm_and_friends_are_those_of_statsmodels():
    assert sequential.holm(PS) == pytest.approx(list(multipletests(PS, method="holm")[1]))
    assert sequential.holm(PS) == pytest.approx([0.033, 0.2, 0.016, 0.06])
    assert sequential.benjamini_hochberg(PS) == pytest.approx([0.022, 0.2, 0.016, 0.04])
    assert sequential.holm([]) == []
