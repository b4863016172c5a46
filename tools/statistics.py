"""Tests, intervals and effect sizes over clusters, recomputable from plain lists of floats.

The values are one number per cluster (the level over which a claim generalises): a mean, a
difference between two arms, or a difference of differences. Samples and prompts inside a cluster
are averaged before they come here; taken as independent they would give 17 to 60 % false positives.

Sums are `math.fsum` or exact integers and never pass through BLAS, so that a verdict comes out the
same to 10 significant digits on any machine. Values that are not finite raise `ValueError`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Alternative = Literal["two-sided", "greater", "less"]

VERSIONS: dict[str, int] = {
    "auroc": 1,
    "benjamini_hochberg": 1,
    "bootstrap_t": 1,
    "brier": 1,
    "clopper_pearson": 1,
    "confidence_sequence": 1,
    "e_process": 1,
    "existence": 1,
    "holm": 1,
    "log_odds_ratio": 1,
    "log_odds_with_prior": 1,
    "logit_shift": 1,
    "max_statistic": 1,
    "mcnemar": 1,
    "power": 1,
    "rank": 1,
    "sign_flip": 1,
    "t_interval": 1,
    "tost": 1,
    "trend": 1,
    "wilson": 1,
}
"""The version of each statistic, here and in `sequential`, `power` and `discrimination`.

A change that moves any result by more than 1e-10 of itself raises the number; a log holds it.
"""

ENUMERATED = 16
"""Up to this many clusters every sign pattern is visited; beyond it `FLIPS` are drawn."""
FLIPS = 19_999
TIE = 1e-10
"""Two statistics closer than this share of the largest value are tied; a tie counts against the claim."""
_GRID_BITS = 46


def mean(values: Sequence[float]) -> float:
    """Return the mean, correctly rounded whatever the order of the values."""
    return math.fsum(finite(values)) / len(values)


def cluster_sd(values: Sequence[float]) -> float:
    """Return the standard deviation between clusters, n - 1 below, in the unit of the values."""
    centre = mean(values)
    if len(values) < 2:
        raise ValueError("a standard deviation needs at least 2 clusters")
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def sign_flip_p(
    differences: Sequence[float], alternative: Alternative = "two-sided", seed: int = 0
) -> float:
    """Return the p-value of the sign-flip permutation test that the mean difference is zero.

    Exact for differences that are symmetric about zero under the null, whatever their variances.
    All patterns up to 16 clusters, beyond that 19,999 drawn from `random.Random(seed)` with
    p = (1 + #) / (1 + 19,999). "greater" claims a positive mean. Values are laid on an integer grid
    of 2^-46 of the largest, so that sums are exact and ties do not depend on rounding.

    Limit: two arms with equal means of which only one varies between templates give skewed
    differences; a claim towards the short tail then errs up to 13 % at 0.05 with 8 to 20 clusters.

    Source: Fisher 1935, The Design of Experiments, section 21; Phipson & Smyth 2010,
    arXiv:1603.05766 (the added one).
    """
    units = _on_grid(differences)
    if alternative == "less":
        units = [-unit for unit in units]
    exact = len(units) <= ENUMERATED
    sums = _all_flips(units) if exact else _drawn_flips(units, seed)
    observed = sum(units)
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    reached = int(np.count_nonzero(sums >= observed - math.ceil(TIE * 2**_GRID_BITS)))
    return reached / len(sums) if exact else (1 + reached) / (1 + FLIPS)


def sign_flip_smallest_p(n_clusters: int, alternative: Alternative = "two-sided") -> float:
    """Return the smallest p that `sign_flip_p` can give: 2^(1-n) two-sided, 2^-n one-sided, 1/20,000 above 16."""
    if n_clusters > ENUMERATED:
        return 1 / (1 + FLIPS)
    return min(1.0, (2 if alternative == "two-sided" else 1) / 2**n_clusters)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided t interval of the mean over clusters, n - 1 degrees of freedom.

    Zero width when all values are equal: then no spread was seen, which is not certainty.
    """
    centre = mean(values)
    half = _standard_error(values) * float(
        stats.t.ppf((1 + share(confidence)) / 2, len(values) - 1)
    )
    return centre - half, centre + half


def bootstrap_t_interval(
    values: Sequence[float], confidence: float = 0.95, *, seed: int = 0, resamples: int = 1999
) -> tuple[float, float]:
    """Return the bootstrap-t interval of the mean: as `mean_interval`, for skewed clusters.

    A bound is infinite when so many resamples lack any spread that the data cannot set it. The
    percentile interval is not offered: it errs 8 to 11 % of the time at 8 to 20 clusters.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 12.5.
    """
    centre, error = mean(values), _standard_error(values)
    if error == 0:
        return centre, centre
    generator = random.Random(seed)
    ratios: list[float] = []
    for _ in range(resamples):
        drawn = generator.choices(values, k=len(values))
        shift, spread = mean(drawn) - centre, _standard_error(drawn)
        if spread:
            ratios.append(shift / spread)
        else:
            ratios.append(math.copysign(math.inf, shift) if shift else 0.0)
    ratios.sort()
    tail = max(0, math.floor((1 - share(confidence)) / 2 * (resamples + 1) + 1e-9) - 1)
    return centre - ratios[-1 - tail] * error, centre - ratios[tail] * error


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a rate over independent units (0 to 1)."""
    return _binomial_interval(successes, n, confidence, "wilson")


def clopper_pearson_interval(
    successes: float, n: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the exact interval of a rate over independent units (0 to 1): never too short.

    Takes effective numbers too, which need not be whole.

    Source: Clopper & Pearson 1934, Biometrika 26, by beta quantiles.
    """
    _counts(successes, n)
    tail = (1 - share(confidence)) / 2
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    high = float(stats.beta.isf(tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def mcnemar_exact_p(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p from the discordant pairs; each pair must be its own cluster.

    Source: McNemar 1947, Psychometrika 12: 2 P(Bin(b + c, 1/2) <= min(b, c)), at most 1.
    """
    if min(only_first, only_second) < 0:
        raise ValueError("counts of pairs cannot be negative")
    total = only_first + only_second
    return min(1.0, 2 * float(stats.binom.cdf(min(only_first, only_second), total, 0.5)))


def tost_p(differences: Sequence[float], margin: float, *, bound: float | None = None) -> float:
    """Return the p of equivalence: small when the mean difference lies inside +-margin.

    The larger of two one-sided t-tests. Without any spread between clusters t says nothing, and p is
    the largest chance of such a sample under a mean outside the margin: for values that cannot leave
    +-`bound` (1 for rates) about (1 - margin / bound)^n, without a bound 1.

    Limit: where all of the effect sits in a tenth of the templates, few clusters may not meet it, and
    equivalence at the margin errs 27 % at 12 clusters and 13 % at 30. For rates, two one-sided
    `EProcess`es with null +-margin hold whatever the shape, but need some 60
    clusters for a margin of ten points.

    Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15.
    """
    if margin <= 0:
        raise ValueError("the margin of equivalence must be positive")
    centre, error, n = mean(differences), _standard_error(differences), len(differences)
    if error > 0:
        ratio = max((-margin - centre) / error, (centre - margin) / error)
        return float(stats.t.cdf(ratio, n - 1))
    if bound is None or bound <= margin or abs(centre) >= margin:
        return 1.0
    return (1 - (margin - abs(centre)) / (bound - abs(centre))) ** n


def tost_interval(differences: Sequence[float], alpha: float = 0.05) -> tuple[float, float]:
    """Return the 1 - 2 alpha t interval, which lies inside the margin exactly when `tost_p` < alpha."""
    return mean_interval(differences, 1 - 2 * alpha)


def rank_p(value: float, placebos: Sequence[float], alternative: Alternative = "greater") -> float:
    """Return (1 + #{placebo at least as extreme}) / (K + 1); ties count against the value.

    "two-sided" compares magnitudes. Exact where the value is exchangeable with its placebos.
    Source: Phipson & Smyth 2010, arXiv:1603.05766.
    """
    turn = {"greater": float, "less": lambda x: -x, "two-sided": abs}[alternative]
    finite([value, *placebos])
    reached = sum(_at_least(turn(placebo), turn(value)) for placebo in placebos)
    return (1 + reached) / (1 + len(placebos))


def rank_smallest_p(n_placebos: int) -> float:
    """Return the smallest p that `rank_p` can give."""
    return 1 / (1 + n_placebos)


def trend_slope(doses: Sequence[float], responses: Sequence[float]) -> float:
    """Return the least-squares slope of one cluster's responses, in response units per unit of dose."""
    if len(doses) != len(responses):
        raise ValueError(f"{len(doses)} doses but {len(responses)} responses")
    middle, level = mean(doses), mean(responses)
    spread = math.fsum((dose - middle) ** 2 for dose in doses)
    if spread == 0:
        raise ValueError("a slope needs at least 2 different doses")
    products = (
        (dose - middle) * (response - level)
        for dose, response in zip(doses, responses, strict=True)
    )
    return math.fsum(products) / spread


def trend_p(
    doses: Sequence[float],
    responses: Sequence[Sequence[float]],
    alternative: Alternative = "two-sided",
    *,
    seed: int = 0,
) -> float:
    """Return the p that responses (one row per cluster, one column per dose) have no mean slope."""
    return sign_flip_p([trend_slope(doses, row) for row in responses], alternative, seed=seed)


def existence_p(successes: int, clusters: int, rate: float) -> float:
    """Return the exact binomial p of "reproduces in more than `rate` of clusters".

    The interval that belongs to it is `clopper_pearson_interval`.
    """
    _counts(successes, clusters)
    return float(stats.binom.sf(successes - 1, clusters, share(rate)))


def log_odds_ratio(successes_a: int, n_a: int, successes_b: int, n_b: int) -> float:
    """Return log odds(a) - log odds(b) in nats, one half added to each cell; positive: a is higher.

    Source: Haldane 1956, Ann. Hum. Genet. 20; Anscombe 1956, Biometrika 43.
    """
    _counts(successes_a, n_a)
    _counts(successes_b, n_b)
    odds_a = (successes_a + 0.5) / (n_a - successes_a + 0.5)
    return math.log(odds_a) - math.log((successes_b + 0.5) / (n_b - successes_b + 0.5))


def logit_shift(rate: float, base_rate: float, *, floor: float = 0.005) -> float:
    """Return logit(rate) - logit(base_rate) in nats, both held within [floor, 1 - floor].

    For rates whose counts are not at hand; `log_odds_ratio` is better where they are.
    """
    odds = [min(max(share(each, closed=True), floor), 1 - floor) for each in (rate, base_rate)]
    return math.log(odds[0] / (1 - odds[0])) - math.log(odds[1] / (1 - odds[1]))


def finite(values: Sequence[float]) -> Sequence[float]:
    """Return the values; raise `ValueError` for none at all and for one that is not finite."""
    if not values:
        raise ValueError("no values")
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"not a finite number: {value}")
    return values


def share(value: float, *, closed: bool = False) -> float:
    """Return the value; raise `ValueError` outside (0, 1), or outside [0, 1] when closed."""
    if not (0 <= value <= 1 if closed else 0 < value < 1):
        raise ValueError(f"must lie between 0 and 1: {value}")
    return value


def _counts(successes: float, n: float) -> None:
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n} is not a count")


def _standard_error(values: Sequence[float]) -> float:
    # Differences that are equal on paper differ in the last bit; rounding must not pass for spread.
    if len(values) > 1 and max(values) - min(values) <= TIE * max(map(abs, values)):
        return 0.0
    return cluster_sd(values) / math.sqrt(len(values))


def _at_least(left: float, right: float) -> bool:
    return left >= right - TIE * max(abs(left), abs(right))


def _on_grid(values: Sequence[float]) -> list[int]:
    """Return the values in units of 2^-46 of the power of two above the largest magnitude."""
    exponent = math.frexp(max(map(abs, finite(values))))[1]
    return [round(math.ldexp(value, _GRID_BITS - exponent)) for value in values]


def _all_flips(units: Sequence[int]) -> NDArray[np.int64]:
    sums = np.zeros(1, dtype=np.int64)
    for unit in units:
        sums = np.concatenate([sums + unit, sums - unit])
    return sums


def _drawn_flips(units: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Return drawn sums: each byte of randomness looks up the sum of eight flipped values."""
    padded = [*units, *[0] * (-len(units) % 8)]
    width = len(padded) // 8
    drawn = random.Random(seed).randbytes(FLIPS * width)
    choices = np.frombuffer(drawn, dtype=np.uint8).reshape(FLIPS, width)
    sums = np.zeros(FLIPS, dtype=np.int64)
    for column in range(width):
        sums += _all_flips(padded[8 * column : 8 * column + 8])[choices[:, column]]
    return sums


def _binomial_interval(
    successes: int, n: int, confidence: float, method: Literal["wilson", "exact"]
) -> tuple[float, float]:
    _counts(successes, n)
    interval: Any = stats.binomtest(successes, n).proportion_ci(share(confidence), method=method)
    return float(interval.low), float(interval.high)
