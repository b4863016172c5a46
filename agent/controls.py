"""What stood beside a finding's contrast: every rival explanation and check, with what came of it."""

from __future__ import annotations

from typing import Literal

from agent.prediction import Prediction
from agent.verdict import Verdict
from agent.wording import interval_words, size, with_unit
from tools.measures import unit
from tools.registry import Record


class Control(Record):
    """One rival explanation or check, with what came of it."""

    name: str
    kind: Literal["standing rival", "named rival", "check"]
    passed: bool
    detail: str


def controls_of(prediction: Prediction, verdict: Verdict | None) -> tuple[Control, ...]:
    """Return every rival and check with its outcome."""
    if verdict is None:
        return ()
    found: list[Control] = []
    for rival, registered in zip(verdict.rivals, prediction.rivals, strict=False):
        if registered.predicts is not None:
            low, high = (
                size(bound, prediction.measure, signed=True) for bound in registered.predicts
            )
            detail = f"predicts {low} to {high} {unit(prediction.measure)}"
            if verdict.interval is not None:
                detail += f"; seen was {interval_words(verdict.interval, prediction.measure)}"
        elif rival.difference is None:
            detail = "could not be scored"
        else:
            over = with_unit(rival.difference, prediction.measure, signed=True)
            detail = f"treatment beats it by {over} ({interval_words(rival.interval, prediction.measure)})"
        kind = "standing rival" if rival.standing else "named rival"
        found.append(Control(name=rival.name, kind=kind, passed=rival.excluded, detail=detail))
    for check in verdict.checks:
        found.append(
            Control(name=check.name, kind="check", passed=check.passed, detail=check.detail)
        )
    return tuple(found)
