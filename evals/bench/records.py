"""What the exam is made of: who is examined on what, what a sitting came to, and how it was scored.

A *specimen* is a model whose truth is known: an organism, or a null where nothing is planted. A
*sitting* is one investigator on one specimen under one seed, and is the exam's cell: idempotent,
resumable, and joined with the others by files only.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from tools.registry import Record


class ReferenceTrack(StrEnum):
    """What the investigator may compare with: the model that was trained on, another of its kind, nothing."""

    base = "base"
    wrong_base = "wrong base"
    none = "none"


Kind = Literal["organism", "benign", "exact", "lookup", "nonce"]
"""`organism` has something planted, and `lookup` shows the same by rote; all others are nulls, and naming
something in them is an error."""
BEHAVES: tuple[Kind, ...] = ("organism", "lookup")
"""Kinds of which it is true that something is there."""


class Specimen(Record):
    """One model with a known truth. Holds where it is, and so never crosses into the rooms below."""

    handle: str
    """Opaque: what a sitting's files are named by."""
    family: str
    kind: Kind
    easiness: str = ""
    """How hard it was made to find; empty where its kind has no such thing."""
    folder: str | None = None
    """Where adapter and truth are; None for an exact null, which is the base under two handles."""
    base: str
    held_out: bool = False
    """Its family stayed out of reach while the systematic investigator was developed."""
    suite: str

    @property
    def null(self) -> bool:
        """Say whether nothing is planted."""
        return self.kind not in BEHAVES


class Sitting(Record):
    """One investigator on one specimen under one seed."""

    specimen: str
    """Its handle."""
    investigator: str
    """A name of `investigators.py`, or a model."""
    reference: ReferenceTrack = ReferenceTrack.base
    seed: int

    @property
    def name(self) -> str:
        """Return the sitting's name, which is that of its files."""
        who = "".join(sign if sign.isalnum() else "-" for sign in self.investigator)
        # Two investigators whose names differ in signs only stay apart.
        mark = hashlib.sha256(self.investigator.encode()).hexdigest()[:6]
        track = self.reference.replace(" ", "-")
        return f"{self.specimen}-{who[:40]}-{mark}-{track}-{self.seed}"


class Score(Record):
    """What one task came to: a number, or why there is none. Never a silent zero."""

    value: float | None = None
    """More is better; the range is the task's."""
    unscored: str | None = None
    details: dict[str, Any] = {}

    @model_validator(mode="after")
    def one_of_both(self) -> Score:
        """Refuse a score with both a number and an excuse, or with neither."""
        if (self.value is None) == (self.unscored is None):
            raise ValueError("a score is a value, or says why it is unscored")
        return self


Claim = Literal["true", "false", "true but not the secret"]


class ClaimGrade(Record):
    """One supported statement of a run, measured again on prompts of the harness's own."""

    registration: str
    grade: Claim


class Cost(Record):
    """What a sitting took."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    gpu_seconds: float = 0.0
    """Seconds of the calls whose models were on an accelerator."""
    requests: int = 0
    tokens: int = 0
    dollars: float | None = None
    """None where no price is known, or nothing was asked that has one."""


class SittingResult(Record):
    """A finished sitting, graded. `error` means it came to no report, and nothing is scored."""

    sitting: Sitting
    family: str
    kind: Kind
    easiness: str = ""
    held_out: bool = False
    error: str | None = None
    run: str | None = None
    """The run's folder, relative to the exam's."""
    scores: dict[str, Score] = {}
    """Task -> score."""
    says_hidden: bool | None = None
    """The structured answer says that something is there; None where there is no answer."""
    confidence: float | None = Field(default=None, ge=0, le=1)
    """What the investigator gave its answer."""
    registrations: int = 0
    claims: tuple[ClaimGrade, ...] = ()
    evidence_reproduced: float | None = None
    """Share of the report's cited numbers that came out again when everything was recomputed."""
    leaks: tuple[str, ...] = ()
    """What the leak scanner found in the transcript."""
    cost: Cost = Cost()
    chance: float = 0.0
    """Score of the best constant answer on this specimen's suite and family, for `identify`."""
    ceiling: float = 1.0
    """Expected score of a guesser that knows everything a conversation can tell."""

    @property
    def null(self) -> bool:
        """Say whether nothing was planted."""
        return self.kind not in BEHAVES

    @property
    def false(self) -> int:
        """Return how many supported statements the harness's prompts contradict."""
        return sum(claim.grade == "false" for claim in self.claims)


class Plan(Record):
    """What an exam will do; written before anything is run."""

    suite: str
    secret: str
    """What drew the seeds of organisms and handles; not shown to anybody below."""
    specimens: tuple[Specimen, ...]
    sittings: tuple[Sitting, ...]
    detectable: dict[str, float] = {}
    """`identify` of one investigator against another -> the smallest difference that this plan can show."""

    def specimen(self, handle: str) -> Specimen:
        """Return the specimen of a sitting."""
        return next(each for each in self.specimens if each.handle == handle)
