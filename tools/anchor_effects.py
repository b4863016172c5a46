"""How far two sets of answers part, beside what exchanged labels show, and which sentences stand out of all.

The distance is between two empirical distributions over a few answers. It is never below 0, so that a small
sample shows some where there is none: the exchange of labels between the two sets tells how much.

Sources: Bogdan et al. 2025, arXiv:2506.19143 (counterfactual importance); Westfall & Young 1993 (maximum
statistic); Efron & Stein 1981, Ann. Statist. 9 (jackknife variance).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tools import statistics as stats

Distance = Literal["total_variation", "kl"]
Floats = NDArray[np.float64]
EXCHANGES = 499
FEWEST = 10
"""With fewer answers on either side nothing is said."""
ALPHA = 0.05
Z = NormalDist().inv_cdf(0.975)


def distances(here: Floats, there: Floats, kind: Distance) -> Floats:
    """Return the distance of pairs of counts [..., answer].

    Total variation is the share of answers that change, 0 to 1. KL is in nats, of the first from the
    second, one half added to every count (Jeffreys), without which an answer that one side lacks is infinite.
    """
    if kind == "total_variation":
        p, q = here / here.sum(-1, keepdims=True), there / there.sum(-1, keepdims=True)
        return np.abs(p - q).sum(-1) / 2
    p, q = here + 0.5, there + 0.5
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return (p * np.log(p / q)).sum(-1)


def corrected(seen: Floats, chance: Floats, kind: Distance) -> Floats:
    """Return distances less what chance shows: near 0, and as often below, where the two sides are alike.

    Total variation is corrected in its square, where chance adds up; so a large one is left as it is.
    """
    if kind == "kl":
        return seen - chance.mean()
    over = seen**2 - (chance**2).mean()
    return np.sign(over) * np.sqrt(np.abs(over))


@dataclass(frozen=True)
class Contrast:
    """How far the answers of two sets part."""

    importance: float
    """The distance, corrected."""
    error: float
    """Standard error over resamples: by the jackknife, but no smaller than the spread under exchange."""
    exchanged: Floats
    """The same under each exchange of labels."""
    most: float
    """What the distance cannot exceed."""

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval over resamples."""
        return self.importance - Z * self.error, min(self.importance + Z * self.error, self.most)


def contrast(
    here: Sequence[str], there: Sequence[str], kind: Distance, seed: str
) -> Contrast | None:
    """Return how far two sets of answers part; None where there are too few on either side."""
    if min(len(here), len(there)) < FEWEST:
        return None
    names = sorted({*here, *there})
    codes = np.array([names.index(answer) for answer in (*here, *there)])
    counts = [np.array([each.count(name) for name in names], float) for each in (here, there)]
    seen = distances(counts[0], counts[1], kind)
    # By bytes of the library's own generator: numpy's may draw otherwise in another version.
    size = len(codes)
    drawn = random.Random(seed).randbytes(8 * EXCHANGES * size)
    keys = np.frombuffer(drawn, dtype="<u8").reshape(EXCHANGES, size)
    first = codes[np.argsort(keys, axis=1, kind="stable")[:, : len(here)]]
    ours = np.stack([(first == k).sum(1) for k in range(len(names))], axis=1).astype(float)
    chance = distances(ours, counts[0] + counts[1] - ours, kind)
    exchanged = corrected(chance, chance, kind)
    jackknife = math.sqrt(sum(jackknife_variance(counts, side, kind) for side in (0, 1)))
    return Contrast(
        importance=float(corrected(seen, chance, kind)),
        error=max(jackknife, float(exchanged.std())),
        exchanged=exchanged,
        most=1.0 if kind == "total_variation" else math.inf,
    )


def jackknife_variance(counts: Sequence[Floats], side: int, kind: Distance) -> float:
    """Return the variance of the distance that comes from one side, by leaving each answer out."""
    mine, other = counts[side], counts[1 - side]
    present = np.flatnonzero(mine)
    left = mine - np.eye(len(mine))[present]
    without = distances(left, other, kind) if side == 0 else distances(other, left, kind)
    size = mine.sum()
    weights = mine[present] / size
    centre = (weights * without).sum()
    return float((size - 1) * (weights * (without - centre) ** 2).sum())


def mean_of(contrasts: Sequence[Contrast]) -> Contrast:
    """Return the mean of several contrasts, exchange by exchange."""
    count = len(contrasts)
    return Contrast(
        importance=math.fsum(each.importance for each in contrasts) / count,
        error=math.sqrt(math.fsum(each.error**2 for each in contrasts)) / count,
        exchanged=np.stack([each.exchanged for each in contrasts]).mean(0),
        most=contrasts[0].most,
    )


def over_traces(
    by_trace: Sequence[Contrast],
) -> tuple[tuple[float, float], Literal["traces", "resamples"]]:
    """Return the 95 % interval of the mean, by t over traces; of a single trace over its resamples."""
    if len(by_trace) == 1:
        return by_trace[0].interval(), "resamples"
    low, high = stats.mean_interval([each.importance for each in by_trace])
    return (low, min(high, by_trace[0].most)), "traces"


def family_p(contrasts: Sequence[Contrast]) -> tuple[list[float], float]:
    """Return each contrast's p against the largest of all under each exchange, and the band.

    The band is what the largest exceeds in 5 % of exchanges.
    """
    largest = np.stack([each.exchanged for each in contrasts]).max(0).tolist()
    band = sorted(largest)[EXCHANGES - round(ALPHA * (EXCHANGES + 1))]
    return [stats.rank_p(each.importance, largest) for each in contrasts], band
