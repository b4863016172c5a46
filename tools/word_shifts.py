"""Which words one set of distributions favours over another, against a null band.

The values are log-probabilities of words in nats, relative to the typical word of the same row, so
that one word that is pushed up does not count as all others being pushed down. A word's score is its
mean shift divided by its own size across rows plus the median size over words: consistent and large
beats consistent and tiny, and erratic. The null band is the largest score over all words and cells
when the signs of rows (or their group) are drawn at random: 5 % of nulls show anything at all.

That null is that nothing moved, and any training moves thousands of words a little and alike: half of a
vocabulary may lie above the band and mean nothing. So a word counts only when it also lies further out among
the words than the furthest of so many does by chance; the others are counted as drift. Some word is the
furthest at every place also where all of them drift, so being first shows nothing: but the mean of its z over
the places, among those of the other words, may lie where no place alone puts it (`together`).

Source: Tusher, Tibshirani & Chu 2001, PNAS 98 (the added constant); Westfall & Young 1993 (the
maximum over words).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tools.shift_counts import ALPHA, MANY, SMALLEST_SHIFT, WordShift, alpha_at, normal_limit, told

DRAWS = 499
NULLS = 10_000
SHOWN_NEAREST = 3


@dataclass(frozen=True)
class Clearest:
    """The words that stand out as (word, cell), and how many there are."""

    raised: list[tuple[int, int]]
    lowered: list[tuple[int, int]]
    above: int
    inside: int
    standing_out: int
    """Above the band and further out among the words than chance puts any."""
    nearest: list[tuple[int, int]]
    """Of the others, those that come nearest to standing out."""

    @property
    def words(self) -> list[int]:
        """The words that are shown, on whichever side."""
        return [number for number, _ in (*self.raised, *self.lowered, *self.nearest)]

    def told(self) -> str:
        """Return how many words stand out, and how many moved without."""
        return told(self.standing_out, self.above, self.inside)


@dataclass(frozen=True)
class Shifts:
    """Statistics of every word in every cell."""

    shift: Tensor
    """[cell, word] in nats."""
    score: Tensor
    p: Tensor
    outlier: Tensor
    band: float
    """95th percentile of the largest null |score|."""
    together: bool = False
    """Whether words are also judged by all cells together; either way then has half of the error rate."""

    @property
    def above(self) -> Tensor:
        """Which words are above the band: [cell, word]."""
        return (self.p <= ALPHA) & (self.shift.abs() >= SMALLEST_SHIFT)

    @property
    def beyond(self) -> Tensor:
        """Which words stand out in a cell: above the band, and further out among the words than chance puts any."""
        return self.agreeing & (self.outlier.abs() > self.outlier_by_chance)

    @property
    def standing(self) -> Tensor:
        """Which words stand out, in a cell or, where that is asked for, over all cells together: [word]."""
        alone = self.beyond.any(0)
        if not self._both:
            return alone
        moved = (self.agreeing & (self.outlier * self.throughout > 0)).any(0)
        return alone | (moved & (self.throughout.abs() > self.throughout_by_chance))

    @functools.cached_property
    def throughout(self) -> Tensor:
        """The robust z of each word's mean z over the cells, among those of all words: [word].

        Words whose places are alike gain nothing by it; one that is steadily far out where others come and go does.
        """
        return outliers(self.outlier.mean(0))

    @property
    def _both(self) -> bool:
        return self.together and len(self.shift) > 1

    @property
    def _alpha(self) -> float:
        return alpha_at(len(self.shift) if self.together else 1)

    @property
    def agreeing(self) -> Tensor:
        """Which words are above the band on the side on which they lie among the words: [cell, word].

        A word that is lowered less than the others is not raised.
        """
        return self.above & (self.outlier * self.shift > 0)

    @property
    def least_p(self) -> Tensor:
        """The smallest p of each word over the cells that move it enough to be shown; 1 where none does."""
        return self.p.masked_fill(self.shift.abs() < SMALLEST_SHIFT, 1.0).amin(0)

    @property
    def nothing(self) -> bool:
        """Whether no word moved anywhere."""
        return bool(self.shift.abs().max() < SMALLEST_SHIFT)

    @property
    def outlier_by_chance(self) -> float:
        """How large a z the furthest of so many words and cells reaches by chance."""
        return outlier_by_chance(self.shift.numel(), self.shift.shape[1], self._alpha)

    @property
    def throughout_by_chance(self) -> float:
        """How large a z over all cells the furthest of so many words reaches by chance."""
        words = self.shift.shape[1]
        return outlier_by_chance(words, words, self._alpha)

    def clearest(self, top: int) -> Clearest:
        """Return the words that stand out, the furthest first, each at its clearest cell.

        Those above the band that do not stand out are counted only: fine-tuning shifts half of the
        vocabulary alike on all prompts, and to read such words makes an investigator guess worse.
        """
        best = self.outlier.abs().masked_fill(~self.agreeing, -1.0).max(0)
        far = dict(enumerate(best.values.tolist()))
        order = sorted((n for n in far if far[n] > 0), key=lambda n: -far[n])
        standing = self.standing.tolist()
        ranked = [n for n in order if standing[n]]
        above = int(self.above.any(0).sum())
        places = [(n, int(best.indices[n])) for n in ranked]
        others = [n for n in order if not standing[n]][:SHOWN_NEAREST]
        return Clearest(
            raised=[(n, cell) for n, cell in places if self.outlier[cell, n] > 0][:top],
            lowered=[(n, cell) for n, cell in places if self.outlier[cell, n] <= 0][:top],
            above=above,
            inside=self.shift.shape[1] - above,
            standing_out=len(ranked),
            nearest=[(n, int(best.indices[n])) for n in others],
        )

    def word(self, cell: int, number: int, text: str, in_prompts: bool) -> WordShift:
        """Return one word of one cell as a record."""
        return WordShift(
            word=text,
            shift=round(float(self.shift[cell, number]), 4),
            p=round(float(self.p[cell, number]), 4),
            outlier=round(float(self.outlier[cell, number]), 2),
            in_prompts=in_prompts,
        )


def relative(logprobs: Tensor) -> Tensor:
    """Return values [..., word] less the median over words of each row."""
    return logprobs - logprobs.median(-1, keepdim=True).values


def outliers(values: Tensor) -> Tensor:
    """Return the robust z of every word among all words of its row, of values [..., word] in nats."""
    middle = values.median(-1, keepdim=True).values
    spread = (values - middle).abs().median(-1, keepdim=True).values * 1.4826
    return (values - middle) / spread.clamp(min=SMALLEST_SHIFT / 2)


@functools.cache
def outlier_by_chance(count: int, words: int = MANY, alpha: float = ALPHA) -> float:
    """Return how large a z the furthest of `count` values, in cells of `words`, reaches in `alpha` of normal samples.

    The spread of a few words is itself uncertain, so their z's reach further: by simulation below `MANY`.
    """
    if words >= MANY:
        return normal_limit(count, alpha)
    generator = torch.Generator().manual_seed(0)
    largest = outliers(torch.randn(NULLS, words, generator=generator)).abs().amax(-1)
    return round(float(largest.quantile(1 - alpha * words / count)), 2)


def by_cluster(values: Tensor, clusters: Sequence[str]) -> Tensor:
    """Return means [cell, cluster, word] of values [cell, row, word], clusters as they first appear."""
    names = list(dict.fromkeys(clusters))
    index = torch.tensor([names.index(name) for name in clusters])
    totals = torch.zeros(values.shape[0], len(names), values.shape[2])
    totals.index_add_(1, index, values)
    return totals / torch.bincount(index, minlength=len(names))[:, None]


def consistent_shifts(values: Tensor, seed: int) -> Shifts:
    """Test paired differences [cell, cluster, word]: the null flips the signs of whole clusters."""
    rows = values.shape[1]
    generator = random.Random(seed)
    signs = [[1.0] * rows]
    signs += [[generator.choice((-1.0, 1.0)) for _ in range(rows)] for _ in range(DRAWS)]
    size = values.square().mean(1).sqrt()
    return max_statistic(values, torch.tensor(signs) / rows, size)


def group_shifts(values: Tensor, first: int, seed: int) -> Shifts:
    """Test the first rows of [cell, row, word] against the others: the null shuffles the groups."""
    rows = values.shape[1]
    generator = random.Random(seed)
    order = list(range(rows))
    weights = torch.full((1 + DRAWS, rows), -1 / (rows - first))
    weights[0, :first] = 1 / first
    for draw in range(1, 1 + DRAWS):
        generator.shuffle(order)
        weights[draw, order[:first]] = 1 / first
    return max_statistic(values, weights, values.std(1, correction=0))


def max_statistic(values: Tensor, weights: Tensor, size: Tensor) -> Shifts:
    """Score every word by weights[0] and take the null from the other weightings.

    `size` [cell, word] must not change under the null's weightings; that makes the test exact.
    """
    scale = size + size.median(-1, keepdim=True).values.clamp(min=SMALLEST_SHIFT)
    shift = torch.einsum("r,crw->cw", weights[0], values)
    score = shift / scale
    largest = torch.zeros(len(weights) - 1)
    for cell, spread in zip(values, scale, strict=True):
        drawn = (weights[1:] @ (cell / spread)).abs().amax(-1)
        largest = torch.maximum(largest, drawn)
    largest = largest.sort().values
    # A draw that repeats the observed signs must tie with it, whatever the rounding.
    reached = len(largest) - torch.searchsorted(largest, score.abs() * (1 - 1e-5) - 1e-9)
    return Shifts(
        shift=shift,
        score=score,
        p=(1 + reached) / (1 + len(largest)),
        outlier=outliers(shift),
        band=float(largest[int((1 - ALPHA) * len(largest))]),
    )
