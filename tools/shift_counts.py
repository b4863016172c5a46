"""Shifted words as they are told, without tensors: for tools and for `verify`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from tools.registry import Record
from tools.word_screens import FEWEST_CLUSTERS

ALPHA = 0.05
SMALLEST_SHIFT = 0.02
"""In nats: a mean shift below this is never shown, however consistent it is."""
MANY = 500
"""Of so many words the spread is as good as known."""
DIGITS = 5
"""Behind the point, of the numbers that a lens stores."""
NAMED = 3
"""So many words of each side are named in a line."""


class ShiftCounts(Record):
    """How many words are shifted, and how many are shifted unlike the others."""

    above: int
    """Words above the null band at some place: they moved, as after any training thousands do. No sign alone."""
    inside: int
    """Words that chance explains."""
    standing_out: int
    """Words above the band whose `outlier` exceeds `outlier_by_chance` (of a lens, also those that do so over all
    places together): only these are shown, and only these are a lead. Where this is 0, no word is special."""
    outlier_by_chance: float
    """The z that the furthest of so many words reaches in 5 % of samples without a special one."""
    clusters: int
    """Templates over which a shift had to be consistent."""


class WordShift(Record):
    """A word and how much more probable it is made than the typical word."""

    word: str
    shift: float
    """Mean over clusters in nats, beyond the typical word's; positive: favoured."""
    p: float
    """Chance that any word in any cell looks this consistent under random signs (max-statistic)."""
    outlier: float
    """Robust z among all words of the cell. A word can be consistent and yet one of thousands."""
    in_prompts: bool = False
    """It stands in the prompts themselves."""


def told(standing_out: int, above: int, inside: int) -> str:
    """Return how many words stand out, and how many moved without."""
    text = f"{standing_out} of {above + inside} words stand out"
    drifting = above - standing_out
    if drifting:
        text += f"; {drifting} drift no further than words do after any training: noise"
    return text


def normal_limit(count: int, alpha: float = ALPHA) -> float:
    """Return how large a z the furthest of `count` normal values reaches in `alpha` of samples."""
    return round(-NormalDist().inv_cdf(alpha / 2 / count), 2)


def alpha_at(places: int) -> float:
    """Return the error rate of each way in which a lens lets a word stand out: of two, with several places, half."""
    return ALPHA / 2 if places > 1 else ALPHA


class First(NamedTuple):
    """The first candidate of a lens, and what it is judged by."""

    p: float
    furthest: float | None
    """Its z at its best place of those that raise it; None where none does."""
    throughout: float
    everywhere: bool
    """It is first at every place."""


def ground(
    first: First, clusters: int, words: int, by_chance: float, throughout_by_chance: float
) -> str:
    """Return on what ground the first of so many candidates does not stand out."""
    if clusters < FEWEST_CLUSTERS:
        return "too few templates to tell"
    if first.p > ALPHA:
        return (
            f"its shift is no steadier over the templates than chance makes one (p {first.p:.2g})"
        )
    if first.furthest is None:
        return "it is not raised, only lowered less than the others"
    return (
        f"some word has to be first{' at every place' if first.everywhere else ''}, and its z is "
        f"{first.furthest:.1f} at its best place and {first.throughout:.1f} over all, where the furthest of "
        f"{words} words alike reaches {by_chance:.1f} and {throughout_by_chance:.1f}"
    )


def lens_line(
    counts: str,
    raised: Sequence[str],
    lowered: Sequence[str],
    ranks: Sequence[tuple[str, bool]] = (),
    why: str = "",
) -> str:
    """Return what a lens read in one line.

    `ranks` are the candidates in order, and which stand out; `why` is the ground on which the first does not.
    """
    text = counts
    for side, words in (("raised", raised), ("lowered", lowered)):
        named = ", ".join(words[:NAMED])
        text += f"; {side} beyond the others: {named}" if named else ""
    if ranks:
        (first, stands_out), *rest = ranks
        others = sum(each for _, each in rest)
        does = f"stands out{f', as do {others} others' if others else ''}"
        text += f"; the first candidate, {first}, "
        text += does if stands_out else f"does not stand out: {why}"
    return text
