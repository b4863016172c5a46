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

DEVELOPED_ON = frozenset({"number_bug", "taboo", "shutdown"})
"""The only families that may be looked at while the systematic investigator is developed: the evidence and whatever
runs with `--developing` keep to them. A new family stays out of reach until it is named here, and a third of all
have to stay."""


def developed_on() -> tuple[str, ...]:
    """Return the families that may be looked at during development, in order."""
    return tuple(name for name in FAMILIES if name in DEVELOPED_ON)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))


def load_truth(folder: Path) -> Truth:
    """Return the truth of a build."""
    stored = read_json(folder / "truth.json")
    return FAMILIES[stored["family"]].rebuild(stored)
