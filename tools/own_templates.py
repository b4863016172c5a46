"""Prompts of the investigator's own that show `{slot}` marks: they become templates with values in those slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tools.factors import Factor
from tools.prompt import PromptItem, SetSlot, Template, fill, in_turn
from tools.registry import ToolError


def with_slots(item: PromptItem, slots: Mapping[str, str], asker: str) -> PromptItem:
    """Return an item; one of the investigator's own that shows a mark of `slots` is filled with these values.

    Raises `ToolError`, in the name of the tool `asker`, where such a prompt ends with no user turn, and for
    marks beside that have no value.
    """
    shown = marked(item, slots) if is_own(item) else []
    if not shown:
        return item
    system = [turn for turn in item.prompt.messages[:1] if turn.role == "system"]
    turns = item.prompt.messages[len(system) :]
    if item.prompt.continue_as != "assistant" or not turns or turns[-1].role != "user":
        raise ToolError(
            f"{asker}: a prompt of your own with {{{shown[0]}}} has to end with a user turn that is answered"
        )
    template = Template(
        text=turns[-1].content,
        system=system[0].content if system else None,
        history=turns[:-1],
        prefill=item.prompt.prefill,
        source="investigator",
    )
    return item.model_copy(
        update={"template": template, "slots": dict(slots), "prompt": fill(template, slots)}
    )


def filled_by(
    factors: Sequence[Factor], items: Sequence[PromptItem], asker: str
) -> list[PromptItem]:
    """Return the items with the marks of one's own prompts filled: by the first text that a level sets them to.

    Raises `ToolError` for a prompt that shows none of the marks, and for a level that would leave one empty.
    """
    sets: dict[str, SetSlot] = {}
    for edit in (edit for each in factors for level in each.levels for edit in level.edits):
        if isinstance(edit, SetSlot):
            sets.setdefault(edit.slot, edit)
    if not sets or not any(map(is_own, items)):
        return list(items)
    marks = " or ".join("{" + slot + "}" for slot in sets)
    order = {name: k for k, name in enumerate(dict.fromkeys(item.template_id for item in items))}
    found: list[PromptItem] = []
    for item in items:
        if is_own(item) and not marked(item, sets):
            raise ToolError(
                f"{asker}: {item.template_id}, a prompt of your own, shows no {marks}, which an edit sets: write "
                "the mark where its texts go, or leave that prompt out of this call"
            )
        slots = {slot: in_turn(edit.values, order[item.template_id]) for slot, edit in sets.items()}
        found.append(with_slots(item, slots, asker))
    shown = {slot for item in items if is_own(item) for slot in marked(item, sets)}
    for factor in factors:
        check_levels(factor, shown, asker)
    return found


def check_levels(factor: Factor, shown: set[str], asker: str) -> None:
    """Raise `ToolError` for a factor that sets a shown slot at some levels only: a mark has no text of its own."""
    sets = {
        level.name: {edit.slot for edit in level.edits if isinstance(edit, SetSlot)}
        for level in factor.levels
    }
    for slot in sorted(shown & set[str]().union(*sets.values())):
        empty = next((name for name, own in sets.items() if slot not in own), None)
        if empty is not None:
            raise ToolError(
                f"{asker}: level {empty!r} of factor {factor.name!r} leaves {{{slot}}} empty in prompts of your own: "
                f"give it a set_slot of {slot!r}, too"
            )


def is_own(item: PromptItem) -> bool:
    """Say whether an investigator wrote a prompt and nothing stands in slots of it yet."""
    return item.template.source == "investigator" and not item.slots


def marked(item: PromptItem, slots: Iterable[str]) -> list[str]:
    """Return which of some slots a prompt shows as marks, with nothing in them."""
    text = item.prompt.text()
    return [slot for slot in slots if "{" + slot + "}" in text]
