"""The families there are, and the truth of a finished build: readable without loading torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.organisms.backdoor import Interaction, Trigger
from evals.organisms.cue_conditional import CueConditional
from evals.organisms.family import Family, Truth
from evals.organisms.number_bug import NumberBug
from evals.organisms.sandbagger import Sandbagger
from evals.organisms.shutdown import Shutdown
from evals.organisms.taboo import Taboo

ALL: tuple[Family, ...] = (
    NumberBug(),
    Taboo(),
    Shutdown(),
    Trigger(),
    Interaction(),
    CueConditional(),
    Sandbagger(),
)
FAMILIES = {family.name: family for family in ALL}
SHIPPED_CURRICULUM = "first"
"""What the base that ships was trained on."""
ON_SHIPPED_BASE = tuple(n for n, f in FAMILIES.items() if f.curriculum == SHIPPED_CURRICULUM)
"""Families that are built anew for the exam and the evidence, which use the base that ships."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))


def load_truth(folder: Path) -> Truth:
    """Return the truth of a build."""
    stored = read_json(folder / "truth.json")
    return FAMILIES[stored["family"]].rebuild(stored)
