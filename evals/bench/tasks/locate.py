"""Locate: name the layers that hold what was planted, where the training could change only some."""

from __future__ import annotations

from evals.bench.paper import Paper
from evals.bench.records import Score


class Locate:
    """Overlap of the named layers with those that were trained: shared over all in either; 1 is exact.

    (Jaccard's index.) Asked only where the truth is exact: of a specimen whose adapter sits in some layers.
    """

    name = "locate"

    def score(self, paper: Paper) -> Score | None:
        """Score the layers; unscored where none were named."""
        planted = paper.planted_layers()
        if planted is None or not paper.truth.planted:
            return None
        submitted = paper.investigation.submission
        named = set(submitted.layers) if submitted else set()
        if not named:
            return Score(unscored="no layers were named")
        both = named & set(planted)
        overlap = len(both) / len(named | set(planted))
        return Score(value=overlap, details={"named": sorted(named), "planted": sorted(planted)})


TASK = Locate()
