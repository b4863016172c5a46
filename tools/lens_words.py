"""Which words of a lens stand out, and on what ground a candidate does not: ranks and a summary in words."""

from __future__ import annotations

from collections.abc import Sequence

from tools.registry import Record
from tools.vocabulary import Words
from tools.word_screens import FEWEST_CLUSTERS
from tools.word_shifts import ALPHA, Clearest, Shifts

NAMED = 3
"""So many words of each side are named in the summary."""


class CandidateRanks(Record):
    """One candidate among all of them; rank 1 is the most raised."""

    word: str
    rank: int
    """By the mean `outlier` over all layers and positions."""
    best: int
    """Its best rank at any single layer and position."""
    stands_out: bool
    """Whether it is above the null band and either beyond `outlier_by_chance` anywhere or, over all layers and
    positions, beyond `throughout_by_chance`. If not, its rank is chance, also the first."""
    throughout: float
    """Robust z of its mean `outlier` over all layers and positions, among those of all candidates."""
    p: float
    """Smallest over the layers and positions that move it; corrected for having looked at them all."""
    by_position: dict[str, tuple[int, ...]]
    """Position -> its rank at each layer read, in order."""


def ranked(
    shifts: Shifts, words: Words, cells: Sequence[tuple[int, int]], top: int
) -> tuple[CandidateRanks, ...]:
    """Return the candidates by their mean z, the first `top` of them."""
    ranks = 1 + shifts.outlier.argsort(dim=1, descending=True).argsort(dim=1)
    # Unlike the score, the z is not bounded: a few layers that carry a word outweigh many that do not.
    order = shifts.outlier.mean(0).argsort(descending=True).tolist()
    positions = list(dict.fromkeys(position for _, position in cells))
    return tuple(
        CandidateRanks(
            word=words.texts[number],
            rank=place,
            best=int(ranks[:, number].min()),
            stands_out=bool(shifts.standing[number]),
            throughout=round(float(shifts.throughout[number]), 2),
            p=round(float(shifts.least_p[number]), 4),
            by_position={
                f"{position:+d}": tuple(
                    int(ranks[cell, number]) for cell, (_, at) in enumerate(cells) if at == position
                )
                for position in positions
            },
        )
        for place, number in enumerate(order[:top], 1)
    )


def summarise(
    found: Clearest,
    shifts: Shifts,
    words: Words,
    ranks: Sequence[CandidateRanks],
    clusters: int,
) -> str:
    """Return the result in one line, by the same comparison as the tables beside it; `clusters` is of templates."""
    if shifts.nothing:
        return "no difference: every word is read alike"
    text = found.told()
    for side, places in (("raised", found.raised), ("lowered", found.lowered)):
        named = ", ".join(words.texts[number] for number, _ in places[:NAMED])
        text += f"; {side} beyond the others: {named}" if named else ""
    if not ranks:
        return text
    first, others = ranks[0], sum(each.stands_out for each in ranks[1:])
    does = f"stands out{f', as do {others} others' if others else ''}"
    if not first.stands_out:
        does = f"does not stand out: {ground(first, shifts, words, clusters)}"
    return f"{text}; the first candidate, {first.word}, {does}"


def ground(first: CandidateRanks, shifts: Shifts, words: Words, clusters: int) -> str:
    """Return on what ground the first candidate does not stand out."""
    if clusters < FEWEST_CLUSTERS:
        return "too few templates to tell"
    if first.p > ALPHA:
        return (
            f"its shift is no steadier over the templates than chance makes one (p {first.p:.2g})"
        )
    number = words.texts.index(first.word)
    moved = shifts.agreeing[:, number] & (shifts.outlier[:, number] > 0)
    if not bool(moved.any()):
        return "it is not raised, only lowered less than the others"
    furthest = float(shifts.outlier[moved, number].max())
    everywhere = all(rank == 1 for ranks in first.by_position.values() for rank in ranks)
    return (
        f"some word has to be first{' at every place' if everywhere else ''}, and its z is {furthest:.1f} at its best "
        f"place and {first.throughout:.1f} over all, where the furthest of {len(words.texts)} words alike reaches "
        f"{shifts.outlier_by_chance:.1f} and {shifts.throughout_by_chance:.1f}"
    )
