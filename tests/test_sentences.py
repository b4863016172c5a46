"""Sentences add up to their text, end where a reader says, and are alike when they say the same."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.sentences import alike, grouped, overlap, split


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=' \n.?ab1"。)', max_size=40))
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    pieces = split(text)
    assert "".join(pieces) == (text if text.strip() else "")
    assert all(piece.strip() for piece in pieces)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("First I plan. Then I act!", ["First I plan.", " Then I act!"]),
        ("Compare 9.11 and 9.8 now. Fine?", ["Compare 9.11 and 9.8 now. Fine?"]),
        ("A line that ends.\nAnother one here", ["A line that ends.\n", "Another one here"]),
        ("No stop at all here\n\nNext paragraph", ["No stop at all here\n\n", "Next paragraph"]),
        ("Hm. So it is. I see it now.", ["Hm. So it is.", " I see it now."]),
        ("To do:\n1. Take the key\n2. Open the door", ["To do:\n1. Take the key\n2. Open the door"]),
        ('He said "stop." Then he left.', ['He said "stop."', " Then he left."]),
        ("这是第一个句子,很长。这是第二个句子,也长。", ["这是第一个句子,很长。", "这是第二个句子,也长。"]),
        ("Yes.", ["Yes."]),
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_says(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


def test_long_runs_of_one_sign_take_no_time() -> None:
    began = time.perf_counter()
    for sign in ".", " ", "\n", "\n ", ". ", '."', "(.":
        split(sign * 20_000)
    assert time.perf_counter() - began < 5


def test_alike_is_the_words_with_numbers_and_negations_kept() -> None:
    assert overlap("I go to Rome", "to rome I go!") == 1.0 and overlap("", "...") == 1.0
    assert overlap("one two", "two three") == pytest.approx(1 / 3)
    plan = "I will go for the small red one."
    assert alike(plan, "So I will go for the small red one.", 0.8)
    assert not alike(plan, "I will go for the small blue one.", 0.8)
    assert not alike(plan, "I will not go for the small red one.", 0.8)
    assert not alike(plan, "I won't go for the small red one", 0.5)
    assert not alike("that makes 17 in all, I am sure of it", "that makes 71 in all, I am sure of it", 0.5)  # fmt: skip


def test_groups_are_named_by_the_first_that_says_it() -> None:
    said = [
        "We take the train.",
        "It rains.",
        "we take the train",
        "It does not rain.",
        "It rains!",
    ]
    assert grouped(said, 0.8) == [0, 1, 0, 3, 1]
