"""Earlier runs of one case on one subject, and what they left of its error rate.

Whoever runs a case twice has two chances of a false alarm. So the error rate of a case on a subject is
spent once, whatever number of runs it takes: a registration of an earlier run has spent its share, and
what is left is shared by the registrations of the next run. The sum of all shares never exceeds alpha,
so at most alpha is the chance of any false alarm in all of them together. `--fresh-alpha` starts the
count anew, and then the report says that it was asked for.

Counted are the runs in one folder of runs, as their logs stand when a run opens; what was counted is
kept in the run's first event, so nothing later depends on other folders. The investigations of a set
are not counted: its headline comes from its aggregate alone, which is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.case import Limits
from agent.run_folder import Event, RunDamaged, read_events, read_line
from tools.registry import Record, ToolError
from tools.sequential import alpha_share

SPENT_UP = 1e-3
"""A share of alpha that is too small for any test: with less of it left, no run is opened."""


class EarlierRuns(Record):
    """What was counted when a run opened."""

    runs: int = 0
    registrations: int = 0
    """Of all earlier runs."""
    spent: float = 0.0
    """Error rate that registrations have spent since the count was last started afresh."""
    afresh: int = 0
    """How many runs, with this one, asked to start the count afresh although there were earlier ones."""

    def left(self, limits: Limits) -> float:
        """Return the error rate that the run may spend in all."""
        return max(0.0, limits.alpha - self.spent)

    def words(self, limits: Limits) -> str:
        """Return what a reader has to know of the earlier runs; empty when there were none."""
        if not self.runs:
            return ""
        text = (
            f"This is run {self.runs + 1} of this case on this subject in its folder of runs; "
            f"{self.registrations} registrations were spent before."
        )
        if self.spent:
            text += (
                f" The {self.left(limits):.4g} that they left of the error rate {limits.alpha:g} is shared by "
                f"this run's {limits.registrations} registrations."
            )
        if self.afresh:
            text += (
                f" The count was started afresh on request ({self.afresh} of these runs), so the error rate "
                "does not cover a choice among the runs."
            )
        return text


def count_earlier(
    runs: Path, case: str, subject: str, limits: Limits, *, fresh: bool = False
) -> EarlierRuns:
    """Count the runs under `runs` of the case with this name on the subject with this digest.

    Raises `ToolError` when they left nothing of the error rate.
    """
    found = sorted(logs_of(runs, case, subject), key=lambda events: str(opened_at(events[0])))
    spent, registrations, afresh = 0.0, 0, 0
    for events in found:
        earlier = EarlierRuns.model_validate(events[0].data.get("earlier") or {})
        if earlier.afresh > afresh:
            spent, afresh = 0.0, earlier.afresh
        shares = [event.data["alpha"] for event in events if event.type == "registration"]
        spent, registrations = spent + sum(shares), registrations + len(shares)
    if fresh and found:
        spent, afresh = 0.0, afresh + 1
    counted = EarlierRuns(runs=len(found), registrations=registrations, spent=spent, afresh=afresh)
    if counted.left(limits) < SPENT_UP * limits.alpha:
        raise ToolError(
            f"{len(found)} earlier runs of this case on this subject under {runs} have spent all of its error "
            f"rate ({registrations} registrations); --fresh-alpha starts the count afresh, and the report says so"
        )
    return counted


def logs_of(runs: Path, case: str, subject: str) -> Iterator[list[Event]]:
    """Yield the events of every countable run of a case on a subject."""
    for log in sorted([*runs.glob("*/events.jsonl"), *runs.glob("*/aggregate/events.jsonl")]):
        with log.open("rb") as lines:
            first = lines.readline()
        try:
            opened = read_line(first.rstrip(b"\n")).data
            same = (opened["case"]["name"], opened["catalogue"]["models"].get("subject"))
            if same == (case, subject):
                yield read_events(log)[0]
        except RunDamaged as error:
            raise ToolError(
                f"{log.parent} is a run of this case and cannot be counted: {error}; move it away"
            ) from None
        except (ValueError, LookupError, AttributeError):
            # Not a log of ours, or one that was killed before its first event was whole.
            continue


def opened_at(event: Event) -> str:
    """Return when a run was opened; ISO times sort as text."""
    return event.data["versions"]["at"]


def told(counted: EarlierRuns, limits: Limits) -> str:
    """Return the line that warns before a run whose tests are stricter, or whose count starts afresh."""
    share = alpha_share(counted.left(limits), limits.registrations)
    return f"{counted.words(limits)} Each is tested at alpha {share:.4g}." + (
        "" if counted.afresh else " (--fresh-alpha starts the count afresh.)"
    )
