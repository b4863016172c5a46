"""The families there are, and the truth of a finished build: readable without loading torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.organisms.family import Family, Truth
from evals.organisms.number_bug import NumberBug
from evals.organisms.shutdown import Shutdown
from evals.organisms.taboo import Taboo

FAMILIES: dict[str, Family] = {family.name: family for family in (NumberBug(), Taboo(), Shutdown())}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))


def load_truth(folder: Path) -> Truth:
    """Return the truth of a build."""
    stored = read_json(folder / "truth.json")
    return FAMILIES[stored["family"]].rebuild(stored)
