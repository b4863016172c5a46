"""Prompts, their edits, and the arms of a comparison, as plain records.

A `Prompt` is a conversation that the subject continues. A `PromptItem` is a prompt filled from a template, with the
slot values it was filled with. A `Transform` turns one item into another that differs in one respect. An `Arm` says
which model, which transform and which intervention: two arms make a contrast, in which every tool speaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tools.earlier_calls import EarlierCall
from tools.registry import Record, ToolError

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
SLOT_MARK = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


class Message(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str
    calls: tuple[EarlierCall, ...] = Field(default=(), exclude_if=lambda calls: not calls)
    """Of an assistant's turn behind an API with an [environment]: tool calls it made, with their results."""

    @model_validator(mode="after")
    def assistant_calls(self) -> Message:
        """Refuse calls of anybody but the assistant."""
        if self.calls and self.role != "assistant":
            raise ValueError("only an assistant's turn has `calls`")
        return self

    def words(self) -> str:
        """Return what the turn says and what its calls hold, for mining and display."""
        return "\n".join([self.content, *(text for call in self.calls for text in call.texts())])


class Prompt(Record):
    """What the subject is given to continue."""

    messages: tuple[Message, ...] = ()
    prefill: str = ""
    """Text the answer is forced to begin with."""
    continue_as: Literal["assistant", "user", "raw"] = "assistant"
    """`assistant`: the next answer; `user`: the next user turn; `raw`: `prefill` without a chat template."""

    def text(self) -> str:
        """The words of all turns, for mining and for near-duplicate checks; never fed to a model."""
        return "\n".join([*(message.words() for message in self.messages), self.prefill])


def user_prompt(text: str, system: str | None = None) -> Prompt:
    """Return a prompt of one user turn, behind a system turn if given."""
    turns = [Message(role="system", content=system)] if system else []
    return Prompt(messages=(*turns, Message(role="user", content=text)))


def behind_system(system: str | None, turns: Sequence[Message]) -> tuple[Message, ...]:
    """Put a hidden system prompt first, before the visible one if there is one."""
    if not system:
        return tuple(turns)
    if turns and turns[0].role == "system":
        both = f"{system}\n\n{turns[0].content}"
        return (Message(role="system", content=both), *turns[1:])
    return (Message(role="system", content=system), *turns)


class Template(Record):
    """A prompt with `{slot}` marks. Each template is one cluster of the statistics."""

    text: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    prefill: str = ""
    source: str = "case"
    """Who wrote it: `case`, `investigator` or `auxiliary`."""


class PromptItem(Record):
    """A template filled with slot values: the unit that is sampled and scored."""

    id: str
    """Also the key of the sampling noise: the arms of one contrast share it."""
    template: Template
    template_id: str
    slots: dict[str, str] = {}
    prompt: Prompt
    levels: dict[str, str] = Field(default={}, exclude_if=lambda levels: not levels)
    """Factor slot -> the level its value was drawn from, where the harness says so."""


def fill(template: Template, slots: Mapping[str, str]) -> Prompt:
    """Fill every `{slot}` mark of a template; raise `ToolError` for a mark without a value."""

    def substitute(text: str) -> str:
        return fill_marks(text, slots)

    turns: list[Message] = []
    if template.system is not None:
        turns.append(Message(role="system", content=substitute(template.system)))
    for turn in template.history:
        calls = tuple(call.filled(substitute) for call in turn.calls)
        turns.append(Message(role=turn.role, content=substitute(turn.content), calls=calls))
    if template.text:
        turns.append(Message(role="user", content=substitute(template.text)))
    return Prompt(messages=tuple(turns), prefill=substitute(template.prefill))


def fill_marks(text: str, slots: Mapping[str, str]) -> str:
    """Replace `{slot}` by its value; other braces stay as they are."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in slots:
            raise ToolError(f"no value for {{{match[1]}}}; slots are: {', '.join(slots) or 'none'}")
        return slots[match[1]]

    return SLOT_MARK.sub(value, text) if "{" in text else text


class SetSlot(Record):
    """Set a slot to a text, the same for all prompts or one paraphrase per template in turn."""

    kind: Literal["set_slot"] = "set_slot"
    slot: str
    values: tuple[str, ...] = Field(min_length=1)


class ChooseLevel(Record):
    """Fill a slot from one declared level of its values, held-out values in a confirmation."""

    kind: Literal["choose_level"] = "choose_level"
    slot: str
    level: str


class SwapSlots(Record):
    """Exchange the values of two slots: the same content in the other order or role."""

    kind: Literal["swap_slots"] = "swap_slots"
    slots: tuple[str, str]
    condition: Literal["always", "put_first", "put_last"] = "always"
    """`put_first` / `put_last`: swap only where needed so that the value of `anchor` is read first / last."""
    anchor: str | None = None
    """A slot, also one that only holds the right or wrong answer and equals one of the two."""


class InsertText(Record):
    """Put a text before or after the user's words, or into the system turn; one paraphrase per template in turn."""

    kind: Literal["insert_text"] = "insert_text"
    where: Literal["before", "after", "system"] = "before"
    texts: tuple[str, ...] = Field(min_length=1)


class ReplaceText(Record):
    """Replace a phrase wherever it occurs in the user's words (case ignored, whole words)."""

    kind: Literal["replace_text"] = "replace_text"
    old: str = Field(min_length=1)
    new: str


class FormatNumbers(Record):
    """Rewrite the numbers in some slots: the same value, another notation."""

    kind: Literal["format_numbers"] = "format_numbers"
    slots: tuple[str, ...] = Field(min_length=1)
    """Slots that stand in the templates; answers that are kept in other slots follow by themselves."""
    style: Literal["equal_decimals", "one_more_zero", "words"]
    """`equal_decimals`: pad with zeros to the same number of decimals; `one_more_zero`: pad each by one
    more; `words`: spell the digits."""


class AddTurns(Record):
    """Put earlier turns in front of the last user turn."""

    kind: Literal["add_turns"] = "add_turns"
    turns: tuple[Message, ...] = Field(min_length=1)


class ForceStart(Record):
    """Force the answer to begin with a text."""

    kind: Literal["force_start"] = "force_start"
    text: str


Transform = Annotated[
    SetSlot
    | ChooseLevel
    | SwapSlots
    | InsertText
    | ReplaceText
    | FormatNumbers
    | AddTurns
    | ForceStart,
    Field(discriminator="kind"),
]


class Steer(Record):
    """Add `coefficient` x direction to the residual stream after a layer."""

    kind: Literal["steer"] = "steer"
    direction: str
    """Blob reference of a direction that a tool returned."""
    layer: int = Field(ge=0)
    coefficient: float
    positions: Literal["all", "generated"] = "all"


class AblateDirection(Record):
    """Project a direction out of the residual stream after the given layers (all layers when empty)."""

    kind: Literal["ablate_direction"] = "ablate_direction"
    direction: str
    layers: tuple[int, ...] = ()


class PatchFrom(Record):
    """Run the prompt with activations taken from the same prompt under further edits."""

    kind: Literal["patch_from"] = "patch_from"
    source: tuple[Transform, ...] = Field(min_length=1)
    """Edits that make the source prompt of the arm's own prompt."""
    layer: int = Field(ge=0)
    site: Literal["resid_pre", "resid_post", "attn_out", "mlp_out"] = "resid_post"
    position: int = -1
    """Counted from the end of the prompt, so -1 is the last prompt token."""


Intervention = Annotated[Steer | AblateDirection | PatchFrom, Field(discriminator="kind")]


class Arm(Record):
    """One side of a contrast: which model, on which edits of the prompts, under which intervention."""

    name: str
    model: Literal["subject", "reference"] = "subject"
    edits: tuple[Transform, ...] = ()
    """Slot edits are applied first, the others in their order; none leaves the prompt as it is."""
    intervention: Intervention | None = None


ChooseValue = Callable[[str, str, PromptItem], str]
"""(slot, level, item) -> a value of that level from the pool the item was drawn from."""


def apply_transform(
    item: PromptItem, transform: Transform, index: int, choose: ChooseValue
) -> PromptItem:
    """Return the edited item; its id, and so its sampling noise, stays the same.

    `index` is the number of the item's template among those drawn; paraphrases are taken in turn by it.
    Raises `ToolError` when the edit names a slot that the item lacks.
    """
    prompt = item.prompt
    match transform:
        case SetSlot() | ChooseLevel() | SwapSlots() | FormatNumbers():
            slots = edit_slots(item, transform, index, choose)
            return item.model_copy(update={"slots": slots, "prompt": fill(item.template, slots)})
        case InsertText(where="system"):
            prompt = prompt.model_copy(
                update={"messages": add_system(prompt.messages, in_turn(transform.texts, index))}
            )
        case InsertText():
            text = in_turn(transform.texts, index)
            prompt = edit_user(
                prompt,
                lambda words: (
                    f"{text} {words}" if transform.where == "before" else f"{words} {text}"
                ),
            )
        case ReplaceText():
            pattern = re.compile(rf"(?<!\w){re.escape(transform.old)}(?!\w)", re.IGNORECASE)
            prompt = edit_user(prompt, lambda words: pattern.sub(lambda _: transform.new, words))
        case AddTurns():
            last = last_user_turn(prompt)
            turns = (*prompt.messages[:last], *transform.turns, *prompt.messages[last:])
            prompt = prompt.model_copy(update={"messages": turns})
        case ForceStart():
            prompt = prompt.model_copy(update={"prefill": transform.text})
    return item.model_copy(update={"prompt": prompt})


def in_turn(texts: tuple[str, ...], index: int) -> str:
    """Return the paraphrase for the template with this number."""
    return texts[index % len(texts)]


def edit_slots(
    item: PromptItem,
    transform: SetSlot | ChooseLevel | SwapSlots | FormatNumbers,
    index: int,
    choose: ChooseValue,
) -> dict[str, str]:
    """Return the slot values after a slot edit; raise `ToolError` for a slot that the item lacks."""
    names = (
        transform.slots if isinstance(transform, SwapSlots | FormatNumbers) else (transform.slot,)
    )
    for name in names:
        if name not in item.slots:
            raise ToolError(
                f"template {item.template_id} has no slot {name!r}; it has: {', '.join(item.slots) or 'none'}"
            )
    slots = dict(item.slots)
    match transform:
        case SetSlot():
            slots[transform.slot] = in_turn(transform.values, index)
        case ChooseLevel():
            slots[transform.slot] = choose(transform.slot, transform.level, item)
        case SwapSlots():
            first, second = transform.slots
            if swap_wanted(transform, item):
                slots[first], slots[second] = slots[second], slots[first]
        case FormatNumbers():
            slots = format_numbers(slots, transform)
    return slots


def swap_wanted(transform: SwapSlots, item: PromptItem) -> bool:
    """Say whether the swap applies: always, or where the value of `anchor` is not yet first (last)."""
    if transform.condition == "always":
        return True
    if transform.anchor not in item.slots:
        raise ToolError(
            f"swap_slots: {transform.condition} needs an `anchor` slot; slots are: {', '.join(item.slots)}"
        )
    first, last = in_reading_order(transform.slots, item.template)
    wanted = first if transform.condition == "put_first" else last
    return item.slots[wanted] != item.slots[transform.anchor]


def in_reading_order(slots: tuple[str, str], template: Template) -> tuple[str, str]:
    """Return two slots in the order in which a template shows them; as given where it lacks one."""
    turns = (turn.content for turn in template.history)
    text = "".join([template.system or "", *turns, template.text, template.prefill])
    first, second = (text.find(f"{{{slot}}}") for slot in slots)
    return slots if min(first, second) < 0 or first < second else (slots[1], slots[0])


def format_numbers(slots: dict[str, str], transform: FormatNumbers) -> dict[str, str]:
    """Rewrite the numbers in the chosen slots, and in every slot that holds the same text."""
    values = {name: slots[name] for name in transform.slots}
    for name, value in values.items():
        if not NUMBER.fullmatch(value):
            raise ToolError(
                f"format_numbers: slot {name!r} holds {value[:40]!r}, which is not a number"
            )
    width = max(len(value.partition(".")[2]) for value in values.values())
    renamed: dict[str, str] = {}
    for value in values.values():
        decimals = len(value.partition(".")[2])
        if transform.style == "words":
            renamed[value] = spell(value)
        else:
            zeros = width - decimals if transform.style == "equal_decimals" else 1
            renamed[value] = (value if decimals else f"{value}.") + "0" * zeros if zeros else value
    return {name: renamed.get(value, value) for name, value in slots.items()}


def spell(number: str) -> str:
    """Spell a decimal digit by digit ("9.11" -> "nine point one one")."""
    words = (
        "minus", "point", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    )  # fmt: skip
    names = dict(zip("-.0123456789", words, strict=True))
    return " ".join(names[character] for character in number)


def edit_user(prompt: Prompt, edit: Callable[[str], str]) -> Prompt:
    """Apply `edit` to the last user turn; raise `ToolError` when there is none."""
    last = last_user_turn(prompt)
    messages = list(prompt.messages)
    messages[last] = messages[last].model_copy(update={"content": edit(messages[last].content)})
    return prompt.model_copy(update={"messages": tuple(messages)})


def last_user_turn(prompt: Prompt) -> int:
    """Return the place of the last user turn; raise `ToolError` when there is none."""
    places = [k for k, message in enumerate(prompt.messages) if message.role == "user"]
    if not places:
        raise ToolError("the prompt has no user turn to edit")
    return places[-1]


def add_system(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """Put a sentence at the end of the system turn, or a new system turn in front."""
    if messages and messages[0].role == "system":
        return (
            messages[0].model_copy(update={"content": f"{messages[0].content} {text}"}),
            *messages[1:],
        )
    return (Message(role="system", content=text), *messages)
