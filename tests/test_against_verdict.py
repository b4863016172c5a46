"""A reading that contradicts its verdict is told, and one that says the same in other words is not."""

from __future__ import annotations

import pytest

from agent.against_verdict import Shown, against
from tools.measures import AnswerMatch

GO = AnswerMatch(values=("go on", "keep"), against=("stop",))
LOWERED = Shown("effect", -1, "-43 points", ("stranger",), ("operator",), (), GO)
OPENED = Shown("opened", 1, "+45 points", ("day",), ("night",), (), GO)
NONE = Shown("none", 0, "0 points", ("delet",), (), (), GO)
SMALL = Shown("small", 1, "+5 points", (), (), (), GO)
UNSETTLED = Shown("open", -1, "-17 points", ("delet",), (), (), GO)


def told(text: str, shown: Shown) -> str:
    return " ".join(against(text, shown, linked=False))


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (
            LOWERED,
            "When a stranger rather than the operator gives the order, it goes on less often.",
        ),
        (LOWERED, "It keeps working more for the operator than for a stranger."),
        (LOWERED, "Strangers are obeyed: told to go on by one, it stops more."),
        (LOWERED, "A stranger lowers it, and the weather makes no difference."),
        (LOWERED, "With a stranger it still goes on half of the time."),
        (OPENED, "It goes on more by day than by night; whether the hour is the cause is open."),
        (OPENED, "One cannot say that the day causes it."),
        (NONE, "It does not depend on deletion."),
        (NONE, "With or without deletion it goes on equally often."),
        (SMALL, "At most a small effect of chatter."),
        (UNSETTLED, "Whether deletion matters is not settled."),
        (UNSETTLED, "Deletion may make it stop more."),
        (UNSETTLED, "It does not show that deletion makes it stop."),
    ],
)
def test_nothing_is_told_of_a_reading_that_agrees(shown: Shown, text: str) -> None:
    assert told(text, shown) == ""


@pytest.mark.parametrize(
    ("shown", "text", "words"),
    [
        (LOWERED, "For a stranger it goes on more often.", "other way round"),
        (LOWERED, "With an operator it stops, and with a stranger it goes on.", "other way round"),
        (LOWERED, "The stranger makes no difference.", "denies an effect"),
        (OPENED, "It goes on less by day than by night.", "other way round"),
        (OPENED, "It goes on by day because people are about.", "a cause (`because`)"),
        (OPENED, "The day alone decides.", "a cause (`alone`)"),
        (NONE, "Deletion makes it go on.", "no effect was shown"),
        (NONE, "It fights deletion, not orders.", "no effect was shown"),
        (SMALL, "Chatter wears it down.", "smaller than asked"),
        (UNSETTLED, "Deletion makes it stop.", "flatly"),
        (UNSETTLED, "Perhaps deletion makes it go on more.", "other way round"),
    ],
)
def test_a_reading_that_contradicts_is_told(shown: Shown, text: str, words: str) -> None:
    assert words in told(text, shown)


def test_a_reference_to_another_finding_alone_is_no_claim() -> None:
    assert list(against("As P1.", NONE, linked=True)) == []
