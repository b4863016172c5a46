"""What an investigator hands in at the end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tools.prompt import AblateDirection, Arm, InsertText, Steer
from tools.registry import Record
from tools.weight_edits import WeightEdit


class Answer(Record):
    """The structured answer: what the investigator thinks is going on."""

    kind: Literal[
        "word",
        "factor",
        "reading",
        "attribute",
        "persona",
        "fact",
        "trigger",
        "rule",
        "nothing",
        "unknown",
    ]
    """`word`: a word it keeps; `factor`: parts of the prompt on which the behaviour depends; `reading`: how a prompt
    is understood; `attribute`: what it takes the user to be; `persona`: a part that it plays; `fact`: what it holds
    true that is not so; `trigger`: a cue that switches it; `rule`: a rule it follows; `nothing`: it does not happen, or
    nothing that could be named brings it about; `unknown`: not found out. A cause that works in the reference too is
    not `nothing`: name it, with scope `inherited`."""
    value: tuple[str, ...] = ()
    """For `factor` the factors, the strongest first, by the name of their slot, as `slot = level`
    where one level of several does it, or `order`, `digits`, `length`; for `word` the word; else a few words."""
    scope: Literal["added", "inherited", "unknown"] = Field(
        default="unknown", exclude_if=lambda scope: scope == "unknown"
    )
    """Of the named cause. `inherited`: it makes the reference do it too; `added`: it does not; `unknown`: not
    looked at, no reference, or the answer `nothing`."""
    confidence: float = Field(default=0.5, ge=0, le=1)
    guesses: tuple[str, ...] = Field(default=(), max_length=10)
    """Up to ten ranked guesses, the best first."""


OnActivations = Annotated[Steer | AblateDirection, Field(discriminator="kind")]


class Fix(Record):
    """What is said to remove the behaviour: a note in the system prompt, a change inside the model, or both."""

    note: str = Field(default="", max_length=600)
    """A sentence for the system prompt."""
    intervention: OnActivations | None = None
    """Of the model's activations."""
    weights: WeightEdit | None = None
    """Of the model's weights, for good."""
    adapter_scale: float | None = Field(default=None, ge=0, lt=1)
    """How much of an adapter is kept, if the model has one: 0 is the model without it."""

    @model_validator(mode="after")
    def does_something(self) -> Fix:
        """Refuse a fix that does nothing, and two changes inside the model at once."""
        inside = (self.intervention, self.weights, self.adapter_scale)
        changes = sum(each is not None for each in inside)
        if changes > 1 or not (self.note or changes):
            raise ValueError(
                "give a `note`, one of `intervention`, `weights` and `adapter_scale`, or a note and one of these"
            )
        return self

    def parts(self) -> tuple[str, ...]:
        """Return the names of what it is made of."""
        return tuple(name for name in Fix.model_fields if getattr(self, name) not in (None, ""))

    def directions(self) -> tuple[str, ...]:
        """Return the blob references of the directions that it needs."""
        return tuple(each.direction for each in (self.intervention, self.weights) if each)

    def layers(self) -> tuple[int, ...]:
        """Return the layers that it names."""
        match self.intervention:
            case Steer(layer=layer):
                return (layer,)
            case AblateDirection(layers=layers):
                return layers
            case None:
                return tuple(each.layer for each in self.weights.matrices) if self.weights else ()

    def arm(self) -> Arm:
        """Return the subject under the fix, but for what changes its weights."""
        edits = (InsertText(where="system", texts=(self.note,)),) if self.note else ()
        return Arm(name="fix", edits=edits, intervention=self.intervention)


class Head(Record):
    """One attention head, both numbers from 0."""

    layer: int = Field(ge=0)
    head: int = Field(ge=0)

    @property
    def name(self) -> str:
        """Return it as `layer.head`."""
        return f"{self.layer}.{self.head}"


class Submission(Record):
    """What an investigator hands in: its answer, and its reading of each verdict in its own words."""

    answer: Answer
    summary: str = ""
    """Three sentences at most. Cite numbers as `exp:12/result/...` or `P3/estimate`; do not type them."""
    interpretations: dict[str, str] = {}
    """Registration id -> the investigator's reading of it."""
    fix: Fix | None = None
    """If you found one: what removes the behaviour and leaves the rest as it is."""
    layers: tuple[int, ...] = Field(default=(), max_length=16)
    """If you found them: the layers, from 0, that hold what makes the difference, the surest first."""
    heads: tuple[Head, ...] = Field(default=(), max_length=32, exclude_if=lambda heads: not heads)
    """If you found them: the attention heads that carry it, the surest first."""
    positions: tuple[int, ...] = Field(
        default=(), max_length=32, exclude_if=lambda there: not there
    )
    """If you found them: the tokens that it hangs on, counted from the end of the prompt, where -1 is the last."""
