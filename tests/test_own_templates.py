"""Prompts of one's own with `{slot}` marks are filled in both tools, the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.blobs import BlobStore
from tools.candidates import rank_candidates
from tools.experiment import Context
from tools.prompt_variation import VariationResult, vary_prompts
from tools.registry import ToolError
from tools.synthetic import SyntheticSubject

MATCH = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}
TEXTS = ["Is it {word}?", "Say, is it {word}?", "Could {word} be it?", "Do you mean {word}?"]
WORDS = ("candle", "lamp", "table", "chair")


def setting(slot: str, *values: str) -> dict[str, Any]:
    return {"kind": "set_slot", "slot": slot, "values": list(values)}


def levels(**edits: list[dict[str, Any]]) -> dict[str, Any]:
    named = [{"name": name, "edits": each} for name, each in edits.items()]
    return {"name": "word", "levels": named}


WORD = levels(lamp=[setting("word", "lamp")], candle=[setting("word", "candle")])


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(seed=3, blobs=BlobStore(tmp_path))


def subject() -> SyntheticSubject:
    """Return a subject that says yes to candles."""
    effects = [{"logit": 6.0, "phrase": "candle", "model": "subject"}]
    behaviour = {"shown": ["Yes."], "otherwise": ["No."], "logit": -3.0, "effects": effects}
    return SyntheticSubject.from_table({"behaviours": [behaviour]})


def vary(context: Context, **more: Any) -> VariationResult:
    given = {"items": TEXTS, "factors": [WORD], "measure": MATCH, "samples": 8} | more
    result = vary_prompts(subject(), given, context)
    assert isinstance(result, VariationResult)
    return result


def prompts(context: Context, result: Any, arm: str) -> list[str]:
    rows = json.loads(context.blobs.get(result.raw))["arms"][arm]
    return [row["prompt"]["messages"][-1]["content"] for row in rows]


def test_both_tools_ask_the_same_of_the_same_texts(context: Context) -> None:
    varied = vary(context)
    given = {"items": TEXTS, "slot": "word", "values": WORDS, "measure": MATCH, "samples": 8}
    ranked = rank_candidates(subject(), given, context)
    wanted = [text.replace("{word}", "candle") for text in TEXTS]
    assert prompts(context, varied, "subject/1-x") == wanted
    assert prompts(context, ranked, "subject/candle") == wanted
    (effect,) = varied.effects
    assert (effect.level, effect.against, effect.templates, effect.left_out) == (
        "candle",
        "lamp",
        4,
        0,
    )
    assert effect.subject.effect is not None and effect.subject.effect > 0.7


def test_what_is_not_varied_has_the_first_text_and_no_mark(context: Context) -> None:
    paraphrased = levels(
        lamp=[setting("word", "lamp", "lantern")], candle=[setting("word", "candle")]
    )
    urgent = {"kind": "insert_text", "texts": ["Hurry."]}
    hurry = {"name": "hurry", "levels": [{"name": "no"}, {"name": "yes", "edits": [urgent]}]}
    result = vary(context, factors=[hurry, paraphrased])
    assert prompts(context, result, "subject/x-x-x") == [
        "Is it lamp?", "Say, is it lantern?", "Could lamp be it?", "Do you mean lantern?",
    ]  # fmt: skip
    assert prompts(context, result, "subject/1-x-x")[0] == "Hurry. Is it lamp?"


def test_a_prompt_that_shows_one_of_two_marks_counts_for_that_one(context: Context) -> None:
    tone = {
        "name": "tone",
        "levels": [{"name": name, "edits": [setting("tone", name)]} for name in ("Friend", "Sir")],
    }
    result = vary(
        context, items=[*TEXTS, "{tone}, is it {word}?", "{tone}, may I?"], factors=[WORD, tone]
    )
    by_factor = {each.factor: each for each in result.effects}
    assert (by_factor["word"].templates, by_factor["word"].left_out) == (5, 1)
    assert (by_factor["tone"].templates, by_factor["tone"].left_out) == (2, 4)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"items": [*TEXTS, "Well?"]}, "own-005, a prompt of your own, shows no {word}, which an edit sets: write"),
        ({"factors": [levels(none=[], candle=[setting("word", "candle")])]},
         "level 'none' of factor 'word' leaves {word} empty in prompts of your own: give it a set_slot of 'word'"),
        ({"items": ["Is {name} a {word}?"]}, "no value for {name}; slots are: word"),
        ({"items": [{"messages": [{"role": "user", "content": "Is it {word}?"}], "continue_as": "user"}]},
         "vary_prompts: a prompt of your own with {word} has to end with a user turn"),
    ],
)  # fmt: skip
def test_marks_that_cannot_be_filled_are_told_in_one_line(
    context: Context, change: dict[str, Any], line: str
) -> None:
    with pytest.raises(ToolError) as caught:
        vary(context, **change)
    assert line in str(caught.value) and len(caught.value.faults) == 1


def test_other_braces_are_words_where_no_edit_names_them(context: Context) -> None:
    urgent = {"kind": "insert_text", "texts": ["Hurry."]}
    hurry = {"name": "hurry", "levels": [{"name": "no"}, {"name": "yes", "edits": [urgent]}]}
    result = vary(context, items=["What does {x} mean in code?"] * 2, factors=[hurry])
    assert prompts(context, result, "subject/x-x")[0] == "What does {x} mean in code?"
