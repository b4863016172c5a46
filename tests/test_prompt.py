"""Edits change one thing each, keep the item's id, and compose whatever their order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.prompt import (
    AddTurns,
    Arm,
    ChooseLevel,
    ForceStart,
    FormatNumbers,
    InsertText,
    Message,
    PatchFrom,
    Prompt,
    PromptItem,
    ReplaceText,
    SetSlot,
    SwapSlots,
    Template,
    Transform,
    apply_transform,
    fill,
    spell,
)
from tools.registry import ToolError
from tools.scoring import transformed


def item_of(template: Template | str, **slots: str) -> PromptItem:
    given = Template(text=template) if isinstance(template, str) else template
    return PromptItem(
        id="i", template=given, template_id="t", slots=slots, prompt=fill(given, slots)
    )


def no_levels(slot: str, level: str, item: PromptItem) -> str:
    return f"<{level}>"


def after(item: PromptItem, edit: Transform, index: int = 0) -> PromptItem:
    done = apply_transform(item, edit, index, no_levels)
    assert done.id == item.id
    return done


def words(item: PromptItem) -> str:
    return item.prompt.messages[-1].content


NUMBERS = item_of("{a} or {b}?", a="9.11", b="9.8", right="9.8", wrong="9.11")


def test_every_turn_is_filled_and_a_missing_value_is_told() -> None:
    template = Template(
        text="{a}?",
        system="s {a}",
        history=(Message(role="assistant", content="h {a}"),),
        prefill="p {a}",
    )
    prompt = fill(template, {"a": "X"})
    assert prompt.text() == "s X\nh X\nX?\np X"
    with pytest.raises(ToolError, match=r"no value for \{a\}; slots are: b"):
        fill(template, {"b": "X"})


def test_slot_edits_fill_the_template_anew() -> None:
    item = item_of("{tone}go", tone="please ")
    assert words(after(item, SetSlot(slot="tone", values=("now ",)))) == "now go"
    paraphrases = SetSlot(slot="tone", values=("one ", "two "))
    assert [words(after(item, paraphrases, k)) for k in range(3)] == ["one go", "two go", "one go"]
    assert words(after(item, ChooseLevel(slot="tone", level="rude"))) == "<rude>go"
    with pytest.raises(ToolError, match="has no slot 'tune'; it has: tone"):
        after(item, SetSlot(slot="tune", values=("x",)))


def test_a_swap_moves_the_anchor_where_it_is_wanted() -> None:
    last = SwapSlots(slots=("a", "b"), condition="put_last", anchor="wrong")
    first = SwapSlots(slots=("a", "b"), condition="put_first", anchor="wrong")
    assert words(after(NUMBERS, last)) == "9.8 or 9.11?"
    assert words(after(NUMBERS, first)) == "9.11 or 9.8?"
    assert words(after(NUMBERS, SwapSlots(slots=("a", "b")))) == "9.8 or 9.11?"
    with pytest.raises(ToolError, match="needs an `anchor` slot"):
        after(NUMBERS, SwapSlots(slots=("a", "b"), condition="put_last"))


def test_first_and_last_are_those_of_the_reading_and_a_slot_may_be_its_own_anchor() -> None:
    first = SwapSlots(slots=("a", "b"), condition="put_first", anchor="wrong")
    last = first.model_copy(update={"condition": "put_last"})
    turned = item_of("{b} or {a}?", a="9.11", b="9.8", wrong="9.11")
    assert words(after(turned, first)) == "9.11 or 9.8?"
    assert words(after(turned, last)) == "9.8 or 9.11?"
    scene = item_of("{stakes} {time}", time="It is night.", stakes="It is small.")
    own = SwapSlots(slots=("time", "stakes"), condition="put_first", anchor="time")
    assert words(after(scene, own)) == "It is night. It is small."
    assert words(after(scene, own.model_copy(update={"condition": "put_last"}))) == words(scene)


def test_numbers_keep_their_value_and_their_labels_follow() -> None:
    padded = after(NUMBERS, FormatNumbers(slots=("a", "b"), style="equal_decimals"))
    assert padded.slots == {"a": "9.11", "b": "9.80", "right": "9.80", "wrong": "9.11"}
    longer = after(NUMBERS, FormatNumbers(slots=("a",), style="one_more_zero"))
    assert longer.slots["a"] == longer.slots["wrong"] == "9.110"
    assert spell("-9.11") == "minus nine point one one"
    with pytest.raises(ToolError, match="which is not a number"):
        after(item_of("{a}", a="x"), FormatNumbers(slots=("a",), style="words"))


@settings(deadline=None, max_examples=50)
@given(st.decimals(min_value=-99, max_value=99, places=2), st.integers(-99, 99))
def test_padding_never_changes_a_number(left: Any, right: int) -> None:
    item = item_of("{a} {b}", a=str(left), b=str(right))
    done = after(item, FormatNumbers(slots=("a", "b"), style="equal_decimals"))
    assert (float(done.slots["a"]), float(done.slots["b"])) == (float(left), right)


def test_text_edits_touch_the_last_user_turn_only() -> None:
    template = Template(
        text="Say cat, Cat or concat.", history=(Message(role="user", content="cat"),)
    )
    item = item_of(template)
    done = after(item, ReplaceText(old="cat", new=r"\1"))
    assert words(done) == r"Say \1, \1 or concat."
    assert done.prompt.messages[0].content == "cat"
    assert words(after(item, InsertText(texts=("Hm.",)))) == "Hm. Say cat, Cat or concat."
    assert words(after(item, InsertText(where="after", texts=("Hm.",)))).endswith("concat. Hm.")
    assert after(item, ForceStart(text="Well")).prompt.prefill == "Well"


def test_a_system_text_joins_the_system_turn_or_makes_one() -> None:
    edit = InsertText(where="system", texts=("Be brief.",))
    assert after(item_of("go"), edit).prompt.messages[0].content == "Be brief."
    told = after(item_of(Template(text="go", system="Hello.")), edit).prompt.messages
    assert [turn.content for turn in told] == ["Hello. Be brief.", "go"]


TURNS = AddTurns(turns=(Message(role="user", content="u"), Message(role="assistant", content="a")))


def test_earlier_turns_come_before_the_last_user_turn() -> None:
    item = item_of(Template(text="go", system="s"))
    assert [turn.content for turn in after(item, TURNS).prompt.messages] == ["s", "u", "a", "go"]


@pytest.mark.parametrize("edit", [TURNS, InsertText(texts=("x",)), ReplaceText(old="a", new="b")])
def test_raw_text_has_no_turn_to_edit(edit: Transform) -> None:
    raw = PromptItem(
        id="i",
        template=Template(text=""),
        template_id="t",
        prompt=Prompt(prefill="Once", continue_as="raw"),
    )
    with pytest.raises(ToolError, match="no user turn"):
        after(raw, edit)


def test_an_arm_loses_no_edit_whatever_their_order() -> None:
    text, slot = InsertText(texts=("Hm.",)), SetSlot(slot="tone", values=("now ",))
    item = item_of("{tone}go", tone="please ")
    for edits in ((text, slot), (slot, text)):
        arm = Arm(name="x", edits=edits)
        assert words(transformed(arm, [item], no_levels).items[0]) == "Hm. now go"


def test_a_patch_source_keeps_the_edits_of_its_arm() -> None:
    source = (SetSlot(slot="tone", values=("now ",)),)
    arm = Arm(
        name="x",
        edits=(InsertText(texts=("Hm.",)),),
        intervention=PatchFrom(source=source, layer=0),
    )
    prompts = transformed(arm, [item_of("{tone}go", tone="please ")], no_levels)
    assert words(prompts.items[0]) == "Hm. please go"
    assert prompts.sources[0].messages[-1].content == "Hm. now go"
