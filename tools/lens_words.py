"""Which words of a lens stand out, and on what ground a candidate does not: ranks and a summary in words."""

from __future__ import annotations

from collections.abc import Sequence

from tools.registry import Record
from tools.shift_counts import DIGITS, First, ground, lens_line
from tools.vocabulary import Words
from tools.word_shifts import Clearest, Shifts


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
    raised, lowered = (
        [words.texts[number] for number, _ in places] for places in (found.raised, found.lowered)
    )
    named = [(each.word, each.stands_out) for each in ranks]
    why = ""
    if ranks and not ranks[0].stands_out:
        limits = shifts.outlier_by_chance, shifts.throughout_by_chance
        why = ground(first_of(ranks[0], shifts, words), clusters, len(words.texts), *limits)
    return lens_line(found.told(), raised, lowered, named, why)


def first_of(rank: CandidateRanks, shifts: Shifts, words: Words) -> First:
    """Return what the first candidate is judged by, with as many digits as are stored."""
    number = words.texts.index(rank.word)
    moved = shifts.agreeing[:, number] & (shifts.outlier[:, number] > 0)
    at_best = shifts.outlier[moved, number]
    return First(
        p=rank.p,
        furthest=round(float(at_best.max()), DIGITS) if bool(moved.any()) else None,
        throughout=rank.throughout,
        everywhere=all(each == 1 for ranks in rank.by_position.values() for each in ranks),
    )
