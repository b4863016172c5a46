"""Chains of thought that were taken apart in a run, as the report shows them: exploratory, and said to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from agent.investigation import Investigation
from tools.registry import Record

TOOL = "thought_anchors"
MOST_CALLS = 4
MOST_TRACES = 3


class DrawnSentence(Record):
    """A sentence of one trace."""

    number: int
    of: int
    text: str
    importance: float | None
    interval: tuple[float, float] | None
    p: float | None
    no_op: float | None
    kept: int
    redrawn: int


class DrawnTrace(Record):
    """One trace with the sentences that were looked at, in order."""

    trace: str
    sentences: tuple[DrawnSentence, ...]


class DrawnThoughts(Record):
    """The traces of one call."""

    distance: Literal["total_variation", "kl"]
    band: float | None
    traces: tuple[DrawnTrace, ...]


def thoughts_of(table: Any) -> DrawnThoughts | None:
    """Return the traces in raw data; None in data of another tool. Raises `ValueError` for broken ones."""
    if not isinstance(table, dict) or "thoughts" not in table:
        return None
    return DrawnThoughts.model_validate(table["thoughts"])


class ThoughtPart(Record):
    """One call of `thought_anchors`: its first traces, sentence by sentence."""

    experiment: int
    distance: str
    band: float | None
    """Of all sentences of all traces: below it is noise."""
    no_op_largest: float | None
    traces: tuple[DrawnTrace, ...]
    left_out: int
    """Traces that are in the blob only."""
    notes: tuple[str, ...]


def thought_parts(investigation: Investigation) -> Iterator[ThoughtPart]:
    """Yield the first calls that came to something, in the order of the log."""
    wanted = [e for e in investigation.experiments if e.tool == TOOL and not e.failed]
    for entry in wanted[:MOST_CALLS]:
        result = investigation.experiment(entry.number).result
        found = thoughts_of(investigation.folder.get_json(result["raw"])) if result else None
        if result is None or found is None:
            continue
        yield ThoughtPart(
            experiment=entry.number,
            distance=found.distance,
            band=found.band,
            no_op_largest=result["no_op_largest"],
            traces=found.traces[:MOST_TRACES],
            left_out=len(found.traces[MOST_TRACES:]),
            notes=tuple(result["notes"]),
        )
