"""Thoughts are found in replies, and prompts go on from the right places in them."""

from __future__ import annotations

from typing import Any

import pytest

from tools.prompt import PromptItem, user_prompt
from tools.scoring import items_from
from tools.thoughts import (
    Trace,
    cuts,
    entered,
    evenly,
    in_place_of,
    no_ops,
    parted,
    replaced,
    traces_in,
)

FENCE = ("<think>", "</think>")
THOUGHT = " First I look at it. Then I take a side.\nNow all is clear."


def item(prefill: str = "") -> PromptItem:
    prompt = user_prompt("Which?").model_copy(update={"prefill": prefill})
    return items_from([prompt])[0]


def traces(*replies: str, prefill: str = "", most: int = 9, **more: Any) -> list[Trace]:
    fence = more.get("fence", FENCE)
    finished = more.get("finished", [True] * len(replies))
    row = {"replies": list(replies), "finished": finished}
    return traces_in([row], [item(prefill)], fence, most)


@pytest.mark.parametrize(
    ("prefill", "reply", "start"),
    [
        ("", "<think> a </think> b", 7),
        ("", "Well. <think>a</think> b", 13),
        ("", "a</think> b", 0),  # the chat template wrote the opening mark
        ("<think>\n", "a</think> b", 0),
        ("<thi", "nk>a</think> b", 3),
        ("", "<think> a", None),
        ("<think>a</think>", " b", None),
        ("", "a</think> b <think>", None),
        ("", "no thought", None),
    ],
)
def test_a_thought_begins_behind_its_mark(prefill: str, reply: str, start: int | None) -> None:
    assert entered(prefill, reply, FENCE) == start
    assert entered(prefill, reply, None) == 0


def test_without_marks_the_last_sentence_is_the_answer() -> None:
    assert parted(THOUGHT, None, finished=True) == (
        [" First I look at it.", " Then I take a side.\n"],
        "Now all is clear.",
    )
    assert parted(THOUGHT, None, finished=False)[1] == "", "a reply that was cut off has none"
    assert parted("", None, finished=True) == ([], "")
    assert parted("It is so, yes.</think> Red.", FENCE, finished=True) == (
        ["It is so, yes."],
        " Red.",
    )
    assert parted("It is so, yes.", FENCE, finished=True) == (["It is so, yes."], "")


def test_only_thoughts_with_an_answer_are_taken_apart() -> None:
    good = f"<think>{THOUGHT}</think> Red."
    found = traces(good, "<think> on and on", "Red.", f"<think>{THOUGHT}</think>", good)
    assert [trace.name for trace in found] == ["own-001-t1", "own-001-t5"]
    (trace,) = traces(f"{THOUGHT}</think> Red.", prefill="<think>")
    assert trace.before == "<think>" and trace.cut(3) == f"<think>{THOUGHT}"
    assert traces(THOUGHT, fence=None, finished=[False]) == []


def test_prompts_go_on_before_and_behind_each_sentence() -> None:
    (trace,) = traces(f"<think>{THOUGHT}</think> Red.")
    begun = {each.id: each.prompt.prefill for each in cuts(trace)}
    assert begun == {
        "own-001-t1-c0": "<think>",
        "own-001-t1-c1": "<think> First I look at it.",
        "own-001-t1-c2": "<think> First I look at it. Then I take a side.\n",
        "own-001-t1-c3": f"<think>{THOUGHT}",
    }
    (first, second, _) = no_ops(trace)
    assert first.prompt.prefill.startswith(begun["own-001-t1-c1"] + " ")
    assert second.prompt.prefill.startswith(begun["own-001-t1-c2"])
    assert second.prompt.prefill[len(begun["own-001-t1-c2"])].isupper(), (
        "no space behind a line feed"
    )
    (swapped,) = replaced(trace, "TAKE a side", "I leave.", "r1")
    assert swapped.prompt.prefill == "<think> First I look at it. I leave.\n"
    assert swapped.id == "own-001-t1-r1-2" and replaced(trace, "nowhere", "x", "r1") == []
    assert in_place_of("  old words\n", " new ") == "  new\n"


def test_of_a_long_thought_evenly_spread_sentences_are_looked_at() -> None:
    assert evenly(3, 9) == (1, 2, 3) and evenly(10, 4) == (1, 3, 6, 8)
    (trace,) = traces(f"<think>{THOUGHT}</think> Red.", most=1)
    assert [each.id for each in cuts(trace)] == ["own-001-t1-c0", "own-001-t1-c1"]
