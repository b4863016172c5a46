"""A budget counts from the log, warns once and names the limit that is used up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.budget import Budget
from agent.case import Limits
from agent.investigation import Exchange, Spent, Turn


class Clock:
    """A clock that the test sets, in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def state(
    steps: int = 0,
    seconds: tuple[float, ...] = (),
    spent: Spent | None = None,
    others: tuple[Spent, ...] = (),
) -> Any:
    events = [SimpleNamespace(data={"spent": each.model_dump(mode="json")}) for each in others]
    return SimpleNamespace(
        folder=SimpleNamespace(of_type=lambda kind: iter(events if kind == "spent" else [])),
        exchanges=[Exchange(turn=Turn(spent=spent))] * steps,
        experiments=[SimpleNamespace(seconds=each) for each in seconds],
    )


TURN = Spent(input_tokens=900, output_tokens=100, dollars=0.25)


@pytest.mark.parametrize(
    ("limits", "spent", "expected"),
    [
        ({"steps": 3}, state(2), None),
        ({"steps": 3}, state(3), "steps"),
        ({"steps": None, "tool_seconds": 5}, state(99, (2.0, 2.9)), None),
        ({"steps": None, "tool_seconds": 5}, state(99, (2.0, 3.0)), "tool seconds"),
        ({"steps": None}, state(10_000, (1e9,)), None),
        ({"tokens": 3000}, state(2, spent=TURN), None),
        ({"tokens": 3000}, state(3, spent=TURN), "tokens"),
        ({"dollars": 0.8}, state(3, spent=TURN), None),
        ({"dollars": 0.8}, state(4, spent=TURN), "dollars"),
        ({"dollars": 0.8, "tokens": 10}, state(9), None),
        ({"tokens": 3000}, state(2, spent=TURN, others=(TURN,)), "tokens"),
        ({"dollars": 0.8}, state(2, spent=TURN, others=(TURN, TURN)), "dollars"),
    ],
)
def test_the_limit_that_is_used_up_is_named(
    limits: dict[str, Any], spent: Any, expected: str | None
) -> None:
    assert Budget(Limits(**limits), clock=Clock()).exhausted(spent) == expected


def test_minutes_go_on_from_where_an_earlier_session_stopped() -> None:
    clock = Clock()
    budget = Budget(Limits(minutes=10), spent_minutes=4, clock=clock)
    assert budget.minutes() == pytest.approx(4)
    clock.now += 5.9 * 60
    assert budget.exhausted(state()) is None
    clock.now += 0.2 * 60
    assert budget.exhausted(state()) == "minutes"


def test_one_warning_at_four_fifths() -> None:
    budget = Budget(Limits(steps=10), clock=Clock())
    assert budget.warning(state(7)) is None
    assert "steps 80%" in (budget.warning(state(8)) or "")
    assert budget.warning(state(9)) is None
