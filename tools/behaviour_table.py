"""What a synthetic subject is made of: behaviours, the effects on them, and random intercepts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tools.prompt import fill_marks
from tools.registry import Record, ToolError

LOGISTIC_VARIANCE = math.pi**2 / 3
"""Variance of the logistic distribution: what sampling one answer adds on the logit scale."""
SLOT = r"[\w-]+(?:\.[\w-]+)*"


def compiled(pattern: str) -> str:
    """Return a pattern that Python compiles; raise `ValueError` for another."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


class Effect(Record):
    """A feature of the prompt and what it adds to the logit; all conditions given must hold."""

    logit: float
    """Positive makes the behaviour more likely."""
    model: Literal["both", "subject", "reference"] = "both"
    phrase: str | None = None
    """Present as whole words, case ignored."""
    regex: str | None = None
    slot: str | None = None
    """A slot of a declared template (or a group of the behaviour's `match`) ..."""
    values: tuple[str, ...] = ()
    """... that holds one of these, case ignored."""
    before: tuple[str, str] | None = None
    """The first text comes before the second; both may name slots, and both must be there."""

    @field_validator("regex")
    @classmethod
    def compiles(cls, pattern: str | None) -> str | None:
        """Refuse a pattern that Python cannot compile."""
        return None if pattern is None else compiled(pattern)


class Behaviour(Record):
    """What is said when the behaviour occurs, what is said otherwise, and how likely it is."""

    match: str = ""
    """Regular expression that a prompt must contain; its named groups are slots. Empty: every prompt."""
    shown: tuple[str, ...] = Field(min_length=1)
    """Answers that show the behaviour, drawn evenly. They may name slots, and the marks
    {first_number}, {last_number}, {largest_number} and {smallest_number} of the prompt."""
    otherwise: tuple[str, ...] = Field(min_length=1)
    logit: float = 0.0
    """Log-odds of the behaviour without any effect; 0 is one half."""
    effects: tuple[Effect, ...] = ()
    goes_on: bool = Field(default=False, exclude_if=lambda goes_on: not goes_on)
    """What is said is a piece of the answer: the table is read again with it behind the prompt, until a
    behaviour applies that does not go on."""

    @field_validator("match")
    @classmethod
    def compiles(cls, pattern: str) -> str:
        """Refuse a pattern that Python cannot compile."""
        return compiled(pattern)


class Scatter(Record):
    """Random intercepts, each given as its share of the variance on the latent logit scale.

    A share of 0.5 for templates alone is an intraclass correlation of 0.5.
    """

    template: float = Field(default=0.0, ge=0, lt=1)
    """Templates differ, alike for both models and under every edit: it cancels in a paired contrast."""
    template_by_model: float = Field(default=0.0, ge=0, lt=1)
    """Drawn anew for each model: noise of a subject-against-reference contrast, with mean zero."""
    template_by_wording: float = Field(default=0.0, ge=0, lt=1)
    """Drawn anew for each wording of a template: noise of a contrast between edits, with mean zero."""
    item: float = Field(default=0.0, ge=0, lt=1)
    """Prompts differ within a template, alike for both models and under every edit."""
    seed: int = 0
    """Which draw of these intercepts; another seed is another subject from the same family."""

    @model_validator(mode="after")
    def leaves_room(self) -> Self:
        """Refuse shares that leave nothing to the sampling itself."""
        if self.sampling() <= 0:
            raise ValueError("the shares must add up to less than 1")
        return self

    def sampling(self) -> float:
        """Return the share of the variance that is left to the sampling of one answer."""
        return 1 - self.template - self.template_by_model - self.template_by_wording - self.item

    def deviation(self, share: float) -> float:
        """Return the standard deviation in logits of a component with that share."""
        return math.sqrt(share / self.sampling() * LOGISTIC_VARIANCE)


class BehaviourTable(Record):
    """All that a synthetic subject is. The first behaviour whose `match` fits a prompt applies."""

    name: str = "synthetic"
    reference: bool = True
    behaviours: tuple[Behaviour, ...] = Field(min_length=1)
    scatter: Scatter = Scatter()
    templates: tuple[str, ...] = ()
    """Texts with {slot} marks, found anywhere in a prompt: they name its template and its slots."""
    slots: dict[str, str] = {}
    """Regular expression of a slot's values, for those that are more than one word or number."""


def holds(effect: Effect, text: str, slots: Mapping[str, str]) -> bool:
    """Say whether all conditions of an effect hold for a prompt."""
    if effect.phrase is not None and place(effect.phrase, text) is None:
        return False
    if effect.regex is not None and not re.search(effect.regex, text, re.IGNORECASE):
        return False
    if effect.slot is not None:
        wanted = {value.casefold() for value in effect.values}
        if slots.get(effect.slot, "").casefold() not in wanted:
            return False
    if effect.before is not None:
        first, second = (place(fill_known(mark, slots), text) for mark in effect.before)
        return first is not None and second is not None and first < second
    return True


def place(phrase: str | None, text: str) -> int | None:
    """Return where a phrase first stands in a text, as whole words and whole numbers."""
    if phrase is None:
        return None
    found = re.search(rf"(?<!\w)(?<!\d\.){re.escape(phrase)}(?!\w)(?!\.\d)", text, re.IGNORECASE)
    return None if found is None else found.start()


def fill_known(text: str, slots: Mapping[str, str]) -> str | None:
    """Fill the {slot} marks of a text; None when a slot is not there."""
    try:
        return fill_marks(text, slots)
    except ToolError:
        return None


def template_pattern(text: str, slots: Mapping[str, str]) -> re.Pattern[str]:
    """Return the pattern that finds a template in a prompt, each {slot} a named group."""
    pieces = re.split(r"\{([a-z_][a-z0-9_]*)\}", text)
    pattern, seen = re.escape(pieces[0]), set[str]()
    for number in range(1, len(pieces), 2):
        name, literal = pieces[number], pieces[number + 1]
        # Nothing marks the end of a slot at the very end, so there it is one word or number.
        value = slots.get(name) or (SLOT if not literal and number == len(pieces) - 2 else ".+?")
        pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{value})"
        pattern += re.escape(literal)
        seen.add(name)
    return re.compile(pattern)
