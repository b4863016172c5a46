"""Events of a log as a reader sees them: each in the form of its kind, nothing of where the models are."""

from __future__ import annotations

from typing import Any

from agent.investigation import CallResult, ExperimentEntry, Turn
from agent.prediction import Hypothesis, Registration
from agent.review.indexed_words import event_title, shown_data
from agent.run_folder import Event
from agent.verdict import Verdict
from tools.registry import Record


class Shown(Record):
    """One event as it is shown."""

    seq: int
    kind: str
    title: str
    data: dict[str, Any]


class VerdictEvent(Record):
    """A verdict or a replication as the log holds it."""

    registration: str
    experiment: int
    verdict: Verdict
    replicate: int | None = None
    burned: str | None = None


class NoteEvent(Record):
    """A note as the log holds it."""

    text: str
    turn: int = 0


class ClockEvent(Record):
    """What stood on the clock before a turn, as the log holds it."""

    minutes: float
    limit: str | None = None
    notices: tuple[str, ...] = ()
    heard: int = 0


KNOWN: dict[str, type[Record]] = {
    "turn": Turn,
    "call_result": CallResult,
    "experiment": ExperimentEntry,
    "hypothesis": Hypothesis,
    "registration": Registration,
    "verdict": VerdictEvent,
    "replication": VerdictEvent,
    "note": NoteEvent,
    "clock": ClockEvent,
}
"""What the pages show in a form of its own; all other events are shown as they are stored."""


def shown(event: Event) -> Shown:
    """Return an event without what a reader should not be shown, long lists of digests counted.

    One that is not of the form of its kind, which only a log of somebody else's holds, is `other`.
    """
    kind, title = event.type, event_title(event.type, event.data)
    try:
        data = shown_data(kind, event.data)
        if kind in ("draw", "replication"):
            data = {name: counted(value) for name, value in data.items()}
        if kind in KNOWN:
            data = KNOWN[kind].model_validate(data).model_dump(mode="json")
    except (ValueError, LookupError, TypeError, AttributeError):
        hidden = kind in ("run_opened", "run_resumed")
        kind, data = "other", {} if hidden else event.data
    return Shown(seq=event.seq, kind=kind, title=title, data=data)


def counted(value: Any) -> Any:
    """Return a list as the number of what is in it, anything else as it is."""
    return f"{len(value)} prompts" if isinstance(value, list) else value
