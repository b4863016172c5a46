"""What many looks and many tests cost: an e-process with its confidence sequence, and corrections.

Source of the e-process: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting,
arXiv:2010.09686, sections 4 and 5; Ville 1939 for the bound that allows a look after every cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from scipy import stats

from tools.measures import logsumexp
from tools.statistics import Alternative, rank_p

STAKES = (0.1, 0.25, 0.5, 0.8)
"""The share of its wealth that each bet stakes, on either side: eight bets in a two-sided test."""
_LARGEST_LOG = 690.0


@dataclass
class EProcess:
    """Wealth of a mixture of fixed bets against "the mean cluster difference is `null`".

    Differences lie in [-1, 1] (rates) and come in an order fixed by the seed, never by their values.
    Under the null P(the wealth ever reaches 1 / alpha) <= alpha, however often one looks and whenever
    one stops. It must not be started anew on the same claim. More than one is evidence against.
    """

    alternative: Alternative = "two-sided"
    null: float = 0.0
    values: list[float] = field(default_factory=list[float])
    """The wealth after each cluster, starting from 1 before the first; at most e^690."""

    def __post_init__(self) -> None:
        if not -1 < self.null < 1:
            raise ValueError(f"the null mean must lie inside (-1, 1): {self.null}")
        signs = {"two-sided": (1, -1), "greater": (1,), "less": (-1,)}[self.alternative]
        self._stakes = [sign * stake for sign in signs for stake in STAKES]
        self._logs = [0.0] * len(self._stakes)

    def add(self, difference: float) -> float:
        """Take in the next cluster and return the wealth; raise `ValueError` outside [-1, 1]."""
        if not -1 <= difference <= 1:
            raise ValueError(f"a cluster difference must lie in [-1, 1]: {difference}")
        for place, stake in enumerate(self._stakes):
            self._logs[place] += _log_growth(difference, self.null, stake)
        log_wealth = logsumexp(self._logs) - math.log(len(self._logs))
        self.values.append(math.exp(min(log_wealth, _LARGEST_LOG)))
        return self.values[-1]

    @property
    def value(self) -> float:
        """The wealth now: an e-value at any stopping time."""
        return self.values[-1] if self.values else 1.0

    def rejects(self, alpha: float) -> bool:
        """Say whether the wealth has ever reached 1 / alpha; such a rejection is final."""
        return max(self.values, default=1.0) >= 1 / alpha


def e_process(differences: Sequence[float], alternative: Alternative = "two-sided") -> list[float]:
    """Return the wealth after each cluster difference, in order; reject once one is >= 1 / alpha."""
    process = EProcess(alternative)
    for difference in differences:
        process.add(difference)
    return process.values


def confidence_sequence(differences: Sequence[float], alpha: float = 0.05) -> tuple[float, float]:
    """Return the means in [-1, 1] that no look so far has rejected at `alpha`.

    It holds the true mean at every look at once with probability 1 - alpha, and it leaves out 0
    exactly when the two-sided `EProcess` has rejected. Found by inverting the mixture, which is
    convex in the null mean and at most 1 at the mean of the data.
    """
    low, high = -1.0, 1.0
    for n in range(1, len(differences) + 1):
        seen = differences[:n]
        centre = math.fsum(seen) / n
        new_low = max(low, _boundary(seen, low, centre, alpha))
        new_high = min(high, _boundary(seen, high, centre, alpha))
        if new_low > new_high:
            # The looks contradict each other, which happens with probability alpha at most.
            break
        low, high = new_low, new_high
    return low, high


def _boundary(seen: Sequence[float], outside: float, inside: float, alpha: float) -> float:
    """Return where the wealth crosses 1 / alpha between two means, or `outside` if it does not."""
    if not _rejected(seen, outside, alpha):
        return outside
    for _ in range(200):
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            break
        if _rejected(seen, middle, alpha):
            outside = middle
        else:
            inside = middle
    return inside


def _rejected(seen: Sequence[float], null: float, alpha: float) -> bool:
    # At a null of -1 or 1 any other value is impossible, and one bet wins without limit.
    if abs(null) == 1:
        return any(difference != null for difference in seen)
    logs = [
        math.fsum(_log_growth(difference, null, sign * stake) for difference in seen)
        for sign in (1, -1)
        for stake in STAKES
    ]
    return logsumexp(logs) - math.log(len(logs)) >= -math.log(alpha)


def _log_growth(difference: float, null: float, stake: float) -> float:
    """Return the log factor of one bet, scaled so that it stays positive for any value in [-1, 1]."""
    room = 1 + null if stake > 0 else 1 - null
    return math.log1p(stake * (difference - null) / room)


def alpha_share(alpha: float, maximum_registrations: int) -> float:
    """Return the level of each registration: verdicts are revealed one by one, so each spends alpha / M.

    M is declared when the run opens and counts abandoned registrations; Holm with stopping at the
    first success would err 9 to 19 % of the time.
    """
    if maximum_registrations < 1:
        raise ValueError(f"at least one registration must be allowed: {maximum_registrations}")
    return alpha / maximum_registrations


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values for one batch registered together; reject where <= the batch's alpha.

    Source: Holm 1979, Scand. J. Statist. 6. Written out because the function of statsmodels collects
    garbage on every call, which takes longer than a whole simulated run.
    """
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=_proper(p_values).__getitem__)):
        running = max(running, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, running)
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values (q) that bound the false discovery rate of a screen, not of a verdict.

    Source: Benjamini & Hochberg 1995, JRSS B 57 (independent or positively dependent tests).
    """
    if not p_values:
        return []
    return [float(p) for p in stats.false_discovery_control(list(_proper(p_values)), method="bh")]


def max_statistic_p(observed: Sequence[float], permuted: Sequence[Sequence[float]]) -> list[float]:
    """Return the family-wise p of each cell of a sweep, larger statistics being more extreme.

    Each row of `permuted` is the whole grid under one permutation, in the order of `observed`; only
    its largest cell counts, so the search over the grid is paid for whatever the cells' dependence.

    Source: Westfall & Young 1993, Resampling-Based Multiple Testing, section 2.5 (single step).
    """
    if any(len(row) != len(observed) for row in permuted):
        raise ValueError("every permuted grid must have the cells of the observed one")
    largest = [max(row) for row in permuted]
    return [rank_p(value, largest) for value in observed]


def _proper(p_values: Sequence[float]) -> Sequence[float]:
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError("p-values must lie in [0, 1]")
    return p_values
