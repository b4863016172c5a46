"""Could the model have said what is recorded? Asked of single texts, by `rerun` only.

A token is drawn as the highest of logits / temperature + noise, and the noise of a row is known. So a
recorded text is followed token by token: at each step the token that the model chooses has to lead on to
it, or another one whose score is lower by no more than rounding makes. Where none does the text is
impossible, on whatever machine it is said to have been sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from tools.prompt import Intervention, Prompt
from tools.registry import Record

ROUNDING: Mapping[str, float] = {"float32": 0.02, "float16": 0.25, "bfloat16": 1.0}
"""By how many nats the difference of two logits may differ between machines, by precision: ten times and
more what another order of summation does to it."""
COARSEST = "bfloat16"
TOOL = "follow_texts"
"""Its name in the catalogue of a worker that offers it; it loads torch, and this module does not."""


class RecordedText(Record):
    """One sampled output with what it was sampled from."""

    model: Literal["subject", "reference"]
    prompt: Prompt
    intervention: Intervention | None = None
    source: Prompt | None = None
    """For `patch_from`: the prompt that activations come from."""
    key: str
    """The item's id: with seed and sample it gives the row's noise."""
    sample: int
    text: str


class FollowingArguments(Record):
    """Texts of one experiment, whose seed is that of the call."""

    texts: tuple[RecordedText, ...] = Field(min_length=1)
    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(ge=0)
    rounding: float = Field(ge=0)
    """Nats by which a logit difference may be off."""


class FollowedText(Record):
    """Where a recorded text leads."""

    outcome: Literal["possible", "impossible", "undecided"]
    """`possible`: the model says it, or says it once differences as small as rounding are turned round.
    `undecided`: there were too many of those."""
    token: int | None = None
    """Of an impossible text, the number of the token where nothing leads on to it, from 1."""
    preferred: str | None = None
    """What the model says there: a token in quotation marks, or `the end`."""
    recorded: str | None = None
    """Likewise the token with the highest score that leads on to the recorded text; None where none was found."""
    margin: float | None = None
    """By how many nats the model prefers the one to the other, noise included; where none was found, at least."""


class FollowingResult(Record):
    """One entry for each text, in order."""

    texts: tuple[FollowedText, ...]
