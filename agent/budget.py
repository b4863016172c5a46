"""What a run may spend, and how far it is: steps, minutes, seconds of tools, tokens, dollars."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.case import Limits
from agent.investigation import Investigation, Spent

WARNING = 0.8


class Budget:
    """Counts from the log, so that a resumed run goes on where it was; minutes count while it runs."""

    def __init__(
        self,
        limits: Limits,
        spent_minutes: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits, self.clock = limits, clock
        self.started = clock() - 60 * spent_minutes
        self.warned = False

    def minutes(self) -> float:
        """Return the minutes spent in all sessions of this run."""
        return (self.clock() - self.started) / 60

    def shares(self, investigation: Investigation) -> dict[str, float]:
        """Return the share spent of every limit that is set; 1 is all of it."""
        asked = spent_by(investigation)
        spent = {
            "minutes": (self.minutes(), self.limits.minutes),
            "tool seconds": (
                sum(entry.seconds for entry in investigation.experiments),
                self.limits.tool_seconds,
            ),
            "steps": (float(len(investigation.exchanges)), self.limits.steps),
            "tokens": (
                float(sum(each.input_tokens + each.output_tokens for each in asked)),
                self.limits.tokens,
            ),
            "dollars": (
                sum(each.dollars or 0.0 for each in asked),
                self.limits.dollars,
            ),
        }
        return {name: used / limit for name, (used, limit) in spent.items() if limit}

    def exhausted(self, investigation: Investigation) -> str | None:
        """Return the name of a limit that is used up, or None."""
        return next(
            (name for name, share in self.shares(investigation).items() if share >= 1), None
        )

    def warning(self, investigation: Investigation) -> str | None:
        """Return one line, once, when any limit is at 80 %."""
        near = [
            f"{name} {share:.0%}"
            for name, share in self.shares(investigation).items()
            if share >= WARNING
        ]
        if not near or self.warned:
            return None
        self.warned = True
        return f"budget nearly used: {', '.join(near)}; register, confirm and submit what you have"


def spent_by(investigation: Investigation) -> list[Spent]:
    """Return what each turn of a language model cost, and what other roles cost (events `spent`)."""
    turns = [each.turn.spent for each in investigation.exchanges if each.turn.spent is not None]
    # Not part of the state: what a judge or a writer cost is no decision of the harness.
    others = [event.data["spent"] for event in investigation.folder.of_type("spent")]
    return [*turns, *(Spent.model_validate(each) for each in others)]
