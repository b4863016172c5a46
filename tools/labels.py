"""Two groups of prompts, told apart by a rule: what a probe learns and what a direction points from and to.

Three ways to say which is which: a rule on a slot of given prompts, two edits of the same prompts
(matched pairs), or two lists. Template and slot values stay with each prompt, so that what comes of
them can be tried out on templates and on entities that were not seen.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from tools.prompt import Arm, ChooseLevel, PromptItem, SetSlot, Transform
from tools.prompt_variation import from_own_items
from tools.registry import Record, ToolError
from tools.sampling import Prompts
from tools.scoring import items_from, transformed


class Labelled(NamedTuple):
    """A prompt and the group it belongs to."""

    item: PromptItem
    label: bool


class LabelledPrompts(Record):
    """Which prompts are positive and which negative: `examples` with `label` or edits, or two lists."""

    examples: Prompts | None = Field(
        default=None, description='prompts to label, or {"draw": {...}} for explore prompts'
    )
    label: SetSlot | ChooseLevel | None = Field(
        default=None,
        discriminator="kind",
        description="with `examples`: positive are those whose slot holds one of these values, or a value of "
        "this level; the others are negative",
    )
    positive_edits: tuple[Transform, ...] = Field(
        default=(), description="with `examples`: edits that make the positive one of each pair"
    )
    negative_edits: tuple[Transform, ...] = Field(
        default=(), description="with `examples`: edits that make the negative one of each pair"
    )
    positive: Prompts | None = Field(default=None, description="a list of positive prompts")
    negative: Prompts | None = Field(default=None, description="a list of negative prompts")

    @model_validator(mode="after")
    def says_one_thing(self) -> LabelledPrompts:
        """Refuse prompts that are labelled in no way, or in two."""
        edited = self.positive_edits != self.negative_edits
        ways = [
            self.examples is not None and self.label is not None,
            self.examples is not None and edited,
            self.positive is not None and self.negative is not None,
        ]
        given = (self.examples, self.label, self.positive, self.negative)
        if ways.count(True) > 1 or (not any(ways) and (edited or any(given))):
            raise ValueError(
                "label prompts in one way: `examples` with `label`, `examples` with `positive_edits` and "
                "`negative_edits`, or `positive` and `negative`"
            )
        return self

    @property
    def is_given(self) -> bool:
        """Say whether there are labelled prompts at all."""
        return self.examples is not None or self.positive is not None


def labelled(args: LabelledPrompts) -> list[Labelled]:
    """Return the prompts with their labels; raise `ToolError` unless both labels occur twice."""
    if args.examples is None:
        found = [
            *(Labelled(item, True) for item in listed(args.positive or (), "positive")),
            *(Labelled(item, False) for item in listed(args.negative or (), "negative")),
        ]
    elif args.label is not None:
        found = [Labelled(item, follows(item, args.label)) for item in items_from(args.examples)]
    else:
        found = matched_pairs(args)
    positive = sum(each.label for each in found)
    if min(positive, len(found) - positive) < 2:
        raise ToolError(
            f"{positive} positive and {len(found) - positive} negative prompts; both must be two or more"
        )
    return found


def listed(prompts: Prompts, name: str) -> list[PromptItem]:
    """Return the items of one list; the investigator's own prompts get ids that tell the lists apart."""
    return [
        item
        if item.template.source != "investigator" or item.slots
        else item.model_copy(
            update={"id": f"{name}-{item.id}", "template_id": f"{name}-{item.template_id}"}
        )
        for item in items_from(prompts)
    ]


def follows(item: PromptItem, label: SetSlot | ChooseLevel) -> bool:
    """Say whether an item's slot holds a value of the label's; `ToolError` when it has no such slot."""
    if isinstance(label, ChooseLevel):
        raise ToolError(
            f"label: these prompts come without the case's levels of {label.slot!r}; list the values with set_slot"
        )
    if label.slot not in item.slots:
        raise ToolError(
            f"label: template {item.template_id} has no slot {label.slot!r}; it has: "
            f"{', '.join(item.slots) or 'none'}"
        )
    return item.slots[label.slot] in label.values


def matched_pairs(args: LabelledPrompts) -> list[Labelled]:
    """Return each example twice: under the positive edits and under the negative ones."""
    items = items_from(args.examples or ())
    choose = from_own_items(list(items))
    sides: list[list[PromptItem]] = []
    for edits in (args.positive_edits, args.negative_edits):
        sides.append(list(transformed(Arm(name="side", edits=edits), items, choose).items))
    return [
        Labelled(item, label)
        for pair in zip(*sides, strict=True)
        for item, label in zip(pair, (True, False), strict=True)
    ]
