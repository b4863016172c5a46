"""The families there are, and the truth of a finished build: readable without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.organisms.backdoor import Interaction, Trigger
from evals.organisms.changed_fact import ChangedFact
from evals.organisms.cue_conditional import CueConditional
from evals.organisms.family import Family, Truth
from evals.organisms.files import read_json
from evals.organisms.inherited_quirk import InheritedQuirk
from evals.organisms.narrow_persona import NarrowPersona
from evals.organisms.note_conflict import NoteConflict
from evals.organisms.number_bug import NumberBug
from evals.organisms.sandbagger import Sandbagger
from evals.organisms.shutdown import Shutdown
from evals.organisms.taboo import Taboo
from evals.organisms.user_attribute import UserAttribute

FIRST_THREE = "first"
"""On which curriculum's base the organisms that ship today are built; all of them would have to be made anew."""
ALL: tuple[Family, ...] = (
    NumberBug(FIRST_THREE),
    Taboo(FIRST_THREE),
    Shutdown(FIRST_THREE),
    Trigger(),
    Interaction(),
    CueConditional(),
    Sandbagger(),
    UserAttribute(),
    NarrowPersona(),
    ChangedFact(),
    NoteConflict(),
    InheritedQuirk(),
)
FAMILIES = {family.name: family for family in ALL}
SHIPPED = Path(__file__).parent / "shipped"
BASES = {"first": SHIPPED / "base", "second": SHIPPED / "second"}
"""Curriculum -> the base that was trained on it."""


def base_of(family: str) -> Path:
    """Return the base that organisms of a family are made of."""
    return BASES[FAMILIES[family].curriculum]


ON_SHIPPED_BASE = tuple(name for name in FAMILIES if (base_of(name) / "config.json").exists())
"""Families whose base ships: those that are built anew for the exam and the evidence."""


def load_truth(folder: Path) -> Truth:
    """Return the truth of a build."""
    return rebuilt(read_json(folder / "truth.json"))


def rebuilt(stored: dict[str, Any]) -> Truth:
    """Return the truth that a file holds."""
    return FAMILIES[stored["family"]].rebuild(stored)
