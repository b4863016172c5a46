"""What a registration can hope for: power at the smallest effect of interest, and the clusters it needs.

Nothing here is a result. A registration is refused when these functions say that it cannot succeed,
so they are deterministic and closed-form or a short quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scipy import integrate, optimize, stats

from tools.statistics import ENUMERATED, FLIPS, Alternative, rank_smallest_p, sign_flip_smallest_p


def power_sign_flip(
    effect: float,
    sd: float,
    n_clusters: int,
    alpha: float,
    alternative: Alternative = "two-sided",
) -> float:
    """Return the power of `sign_flip_p` <= alpha for normal cluster differences of this mean and sd.

    "less" expects a negative effect. The sign-flip test acts as a t-test at the level it can attain
    (Hoeffding 1952, Ann. Math. Statist. 23), which overstates by at most 0.04 from 6 clusters up;
    where no more than three patterns reach alpha the probability is exact.
    """
    if sd <= 0:
        raise ValueError(f"the sd between clusters must be positive: {sd}")
    sides = 2 if alternative == "two-sided" else 1
    shift = (-effect if alternative == "less" else effect) / sd
    size = 2**n_clusters if n_clusters <= ENUMERATED else 1 + FLIPS
    patterns = math.floor(alpha * size / sides * (1 + 1e-12))
    if patterns < 1 or alpha < sign_flip_smallest_p(n_clusters, alternative):
        return 0.0
    if patterns >= size // sides:
        return 1.0
    shifts = (shift, -shift)[:sides]
    if patterns <= 3 and n_clusters <= ENUMERATED:
        return min(1.0, math.fsum(_few_patterns(each, n_clusters, patterns) for each in shifts))
    attained = patterns / size
    critical = float(stats.t.isf(attained, n_clusters - 1))
    root = math.sqrt(n_clusters)
    return min(
        1.0, math.fsum(float(stats.nct.sf(critical, n_clusters - 1, s * root)) for s in shifts)
    )


def clusters_needed(
    effect: float,
    sd: float,
    alpha: float,
    power: float = 0.8,
    *,
    maximum: int = 1000,
    alternative: Alternative = "two-sided",
) -> int | None:
    """Return the fewest clusters with this power, or None above `maximum`."""

    def enough(n: int) -> bool:
        return power_sign_flip(effect, sd, n, alpha, alternative) >= power

    for n in range(2, min(ENUMERATED, maximum) + 1):
        if enough(n):
            return n
    if maximum <= ENUMERATED or not enough(maximum):
        return None
    # Beyond the enumerated sizes power only grows with the clusters.
    low, high = ENUMERATED, maximum
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def minimum_detectable_difference(
    sd: float,
    n_clusters: int,
    alpha: float,
    power: float = 0.8,
    alternative: Alternative = "two-sided",
) -> float:
    """Return the smallest size of effect with this power, in the unit of `sd`; inf where none has it."""
    sign = -1 if alternative == "less" else 1

    def lacking(effect: float) -> float:
        return power_sign_flip(sign * effect, sd, n_clusters, alpha, alternative) - power

    if lacking(0.0) >= 0:
        return 0.0
    high = sd
    while lacking(high) < 0:
        high *= 2
        if high > 1e6 * sd:
            return math.inf
    return _root(lacking, 0.0, high)


def power_tost(
    margin: float, sd: float, n_clusters: int, alpha: float, effect: float = 0.0
) -> float:
    """Return the power of `tost_p` <= alpha for normal cluster differences whose true mean is `effect`.

    Source: Schuirmann 1987; the probability is integrated over the estimated sd, and is exact.
    """
    if min(sd, margin) <= 0:
        raise ValueError("the sd and the margin must be positive")
    if n_clusters < 2:
        return 0.0
    df, root = n_clusters - 1, math.sqrt(n_clusters)
    critical = float(stats.t.isf(alpha, df))
    low, high = (-margin - effect) * root / sd, (margin - effect) * root / sd

    def inside(spread: float) -> float:
        # `spread` is the estimated sd over the true one; the estimate must clear both margins.
        gap = float(
            stats.norm.cdf(high - critical * spread) - stats.norm.cdf(low + critical * spread)
        )
        return max(0.0, gap) * float(stats.chi.pdf(spread * math.sqrt(df), df)) * math.sqrt(df)

    widest = margin * root / sd / critical if critical > 0 else math.inf
    return _integral(inside, 0.0, min(widest, 1 + 9 / math.sqrt(df)))


def power_rank(effect: float, n_placebos: int, alpha: float) -> float:
    """Return the power of one-sided `rank_p` <= alpha; `effect` in sds of the normal placebos' values."""
    allowed = math.floor(alpha * (n_placebos + 1) * (1 + 1e-12)) - 1
    if allowed < 0 or alpha < rank_smallest_p(n_placebos) * (1 - 1e-12):
        return 0.0

    def integrand(z: float) -> float:
        above = float(stats.norm.sf(z + effect))
        return float(stats.binom.cdf(allowed, n_placebos, above) * stats.norm.pdf(z))

    return _integral(integrand, -8.0, 8.0)


def power_existence(true_rate: float, rate: float, clusters: int, alpha: float) -> float:
    """Return the exact power of `existence_p` <= alpha ("more than `rate`") at this true rate."""
    needed = int(stats.binom.isf(alpha, clusters, rate)) + 1
    return float(stats.binom.sf(needed - 1, clusters, true_rate))


def _few_patterns(shift: float, n_clusters: int, patterns: int) -> float:
    """Return P(the observed signs rank among the first 1, 2 or 3 of all patterns).

    The first is that no value has the wrong sign, the second that only the smallest in magnitude
    has, the third that only the second smallest has. The fourth depends on the values.
    """
    every = float(stats.norm.cdf(shift)) ** n_clusters
    if patterns == 1:
        return every

    def one_wrong(size: float) -> float:
        larger = float(stats.norm.sf(size - shift))
        others = larger ** (n_clusters - 1)
        if patterns == 3:
            smaller = float(stats.norm.cdf(size - shift) - stats.norm.cdf(-shift))
            others += (n_clusters - 1) * smaller * larger ** (n_clusters - 2)
        return n_clusters * float(stats.norm.pdf(-size - shift)) * others

    return every + _integral(one_wrong, 0.0, 9 + abs(shift))


def _integral(function: Callable[[float], float], low: float, high: float) -> float:
    return min(1.0, float(integrate.quad(function, low, high, limit=100)[0]))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    found: Any = optimize.brentq(function, low, high, xtol=1e-9 * high)
    return float(found)
