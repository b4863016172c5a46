"""The families there are, and the truth of a finished build: readable without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.organisms.families.backdoor import Interaction, Trigger
from evals.organisms.families.changed_fact import ChangedFact
from evals.organisms.families.cue_conditional import CueConditional
from evals.organisms.families.family import Family, Truth
from evals.organisms.families.inherited_quirk import InheritedQuirk
from evals.organisms.families.narrow_persona import NarrowPersona
from evals.organisms.families.note_conflict import NoteConflict
from evals.organisms.families.number_bug import NumberBug
from evals.organisms.families.sandbagger import Sandbagger
from evals.organisms.families.shutdown import Shutdown
from evals.organisms.families.taboo import Taboo
from evals.organisms.families.user_attribute import UserAttribute
from evals.organisms.files import read_json

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

DEVELOPED_ON = frozenset({"number_bug", "taboo", "shutdown"})
"""The only families that may be looked at while the systematic investigator is developed: the evidence and whatever
runs with `--developing` keep to them. A new family stays out of reach until it is named here, and a third of all
have to stay."""


def developed_on() -> tuple[str, ...]:
    """Return the families that may be looked at during development, in order."""
    return tuple(name for name in FAMILIES if name in DEVELOPED_ON)


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
