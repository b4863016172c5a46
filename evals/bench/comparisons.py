"""Two investigators compared on the specimens that both sat, and what such a comparison could show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from evals.bench.intervals import spread_interval
from evals.bench.records import ReferenceTrack
from tools import statistics as stats
from tools.power import minimum_detectable_difference
from tools.registry import Record
from tools.sequential import holm

ALPHA = 0.05
POWER = 0.8
BETWEEN = 0.25
"""Assumed sd, over specimens, of the true difference between two investigators' rates."""
WITHIN = 0.45
"""Assumed sd of one run's outcome (0 or 1) about its specimen's rate."""


class Comparison(Record):
    """`first` minus `second` on one task, specimen by specimen; positive: the first does better."""

    task: str
    reference: ReferenceTrack
    first: str
    second: str
    specimens: int
    """How many both sat, with a score for each."""
    sittings: tuple[int, int]
    """How many sittings of the first and of the second that is."""
    difference: float | None = None
    interval: tuple[float, float] | None = None
    """95 % t interval over specimens; not corrected for the other comparisons."""
    p: float | None = None
    """Two-sided exact sign-flip permutation test over specimens."""
    adjusted_p: float | None = None
    """p after Holm's correction for all comparisons that are printed."""
    detectable: float | None = None
    """Smallest true difference that so many specimens show with 80 % power, at the spread that was seen.

    None where no spread was seen, or where so few specimens can show nothing.
    """
    verdict: Literal["shown", "not shown", "not compared"] = "not compared"
    note: str = ""

    @property
    def words(self) -> str:
        """Return the verdict: who is better, or what could have been shown."""
        if self.verdict == "shown":
            return f"shown: {self.first if (self.difference or 0) > 0 else self.second} is better"
        if self.verdict == "not compared":
            return f"not compared: {self.note}"
        could = "unknown" if self.detectable is None else f"{self.detectable:.2f}"
        return f"not shown (minimum detectable difference {could})"


def detectable_difference(
    specimens: int,
    seeds: int,
    *,
    between: float = BETWEEN,
    within: float = WITHIN,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float | None:
    """Return the smallest true difference of two rates that a planned paired comparison can show.

    Known before any run: each of two investigators sits every specimen under `seeds` seeds. The
    difference of a specimen's means has the sd sqrt(between^2 + 2 within^2 / seeds); the test is the
    exact sign-flip test over specimens, two-sided. None where not even a difference of 1 would show.
    Give `alpha` divided by the number of comparisons for what survives Holm at its worst.
    """
    if specimens < 2 or seeds < 1:
        return None
    sd = math.sqrt(between**2 + 2 * within**2 / seeds)
    found = minimum_detectable_difference(sd, specimens, alpha, power)
    return found if found <= 1 else None


def compare(
    task: str,
    reference: ReferenceTrack,
    names: tuple[str, str],
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
) -> Comparison:
    """Compare two investigators by their scores, given by specimen; only shared specimens count.

    The verdict is left to `with_verdicts`, which knows how many comparisons are printed.
    """
    shared = sorted(specimen for specimen in first.keys() & second.keys())
    known = Comparison(
        task=task,
        reference=reference,
        first=names[0],
        second=names[1],
        specimens=len(shared),
        sittings=(sum(len(first[k]) for k in shared), sum(len(second[k]) for k in shared)),
    )
    if len(shared) < 2:
        return known.model_copy(update={"note": "fewer than 2 specimens were sat by both"})
    differences = [stats.mean(first[k]) - stats.mean(second[k]) for k in shared]
    interval, note = spread_interval(differences)
    detectable = None
    if interval is not None:
        found = minimum_detectable_difference(
            stats.cluster_sd(differences), len(shared), ALPHA, POWER
        )
        detectable = found if math.isfinite(found) else None
    return known.model_copy(
        update={
            "difference": stats.mean(differences),
            "interval": interval,
            "p": stats.sign_flip_p(differences),
            "detectable": detectable,
            "note": note,
        }
    )


def with_verdicts(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons with Holm's correction over all of them, and their verdicts.

    A difference is shown when its adjusted p is at most 0.05 and its interval leaves out 0.
    """
    tested = [each for each in comparisons if each.p is not None]
    adjusted = iter(holm([each.p for each in tested if each.p is not None]))
    done: list[Comparison] = []
    for each in comparisons:
        if each.p is None:
            done.append(each)
            continue
        value = next(adjusted)
        apart = each.interval is None or each.interval[0] > 0 or each.interval[1] < 0
        verdict = "shown" if value <= ALPHA and apart else "not shown"
        done.append(each.model_copy(update={"adjusted_p": value, "verdict": verdict}))
    return tuple(done)
