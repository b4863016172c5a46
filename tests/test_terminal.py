"""Nothing that is written to a terminal controls it, whatever it holds."""

from __future__ import annotations

import random
import re

import pytest
import typer

from agent.safe_text import safe_text
from agent.terminal import fail, put, put_json, say

PIECES = (
    "\x1b[31m", "\x1b]8;;http://evil.invalid\x07link", "\x1b]0;title\x07", "\x1b[2J\x1b[H", "\x9b1A", "\x08\x08", "\r",
    "\x07", "\x00", "\u202e", "\u2066", "\u200b", "\ufeff", "\x1bP+q\x1b\\", "\x85", "\u2028", "[/INST]", "[bold]",
    "%s", "\ud800", "plain words", "\U000e0041", "\x7f", "\x1bc", "\x1b[6n",
)  # fmt: skip
STRINGS = 10_000


def strings() -> list[str]:
    """Return strings of pieces that want to act and of characters from everywhere."""
    chance = random.Random(7)
    found: list[str] = []
    for _ in range(STRINGS):
        parts = [chance.choice(PIECES) for _ in range(chance.randrange(1, 4))]
        parts += [chr(chance.randrange(0x110000)) for _ in range(3)]
        chance.shuffle(parts)
        found.append("".join(parts))
    return found


def test_ten_thousand_strings_hold_no_control_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    every = strings()
    assert len(every) == STRINGS and sum("\x1b" in text for text in every) > 1000
    for text in every:
        say(text)
        put(text)
        put_json({text: [text]})
        with pytest.raises(typer.Exit):
            fail(2, text)
    told = "".join(capsys.readouterr())
    shown = told.replace("\n", "").replace("\t", "")
    assert len(shown) > 100 * STRINGS and shown.isprintable()
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown) is None


def test_what_was_meant_is_still_to_be_read() -> None:
    assert safe_text("\x1b[31mred") == "⟨U+001B⟩[31mred" and safe_text("[bold] %s") == "[bold] %s"
