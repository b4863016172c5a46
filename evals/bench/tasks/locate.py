"""Locate: name the layers, heads or positions that hold what was planted, where they are exactly known."""

from __future__ import annotations

from collections.abc import Set
from statistics import fmean
from typing import Any

from agent.submission import Submission
from evals.bench.paper import Paper
from evals.bench.records import Score


class Locate:
    """Overlap of the named places with the true ones: shared over all in either; 1 is exact.

    (Jaccard's index, the mean over the kinds of place that are exactly known: the layers of an adapter that
    sits in some only, the heads and positions that a truth names. A kind of which nothing was named counts 0.)
    """

    name = "locate"

    def score(self, paper: Paper) -> Score | None:
        """Score the places; unscored where none was named, None where none is exact."""
        planted = paper.planted_places()
        if not planted or not paper.truth.planted:
            return None
        named = named_places(paper.investigation.submission)
        if not any(named[kind] for kind in planted):
            return Score(unscored=f"no {' or '.join(planted)} were named")
        found = {kind: overlap(named[kind], places) for kind, places in planted.items()}
        details = {
            kind: {"named": sorted(named[kind]), "planted": sorted(planted[kind]), "overlap": share}
            for kind, share in found.items()
        }
        return Score(value=fmean(found.values()), details=details)


def named_places(submitted: Submission | None) -> dict[str, frozenset[Any]]:
    """Return the places of each kind that were handed in."""
    if submitted is None:
        return dict.fromkeys(("layers", "heads", "positions"), frozenset())
    return {
        "layers": frozenset(submitted.layers),
        "heads": frozenset(each.name for each in submitted.heads),
        "positions": frozenset(submitted.positions),
    }


def overlap(named: Set[Any], planted: Set[Any]) -> float:
    """Return the share of places in both among those in either."""
    return len(named & planted) / len(named | planted)


TASK = Locate()
