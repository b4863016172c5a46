"""Levels of a factor in what is explored: the worker knows no population, so a level becomes its explore values."""

from __future__ import annotations

from typing import Any

from agent.population import Population
from tools.registry import ToolError, unknown


def with_explore_levels(population: Population, value: Any) -> Any:
    """Replace `choose_level` edits in a JSON value by the explore values of that level."""
    match value:
        case {"kind": "choose_level", "slot": str(slot), "level": str(level)}:
            found = population.pools["explore"].slots.get(slot)
            levels = found.levels if found else {}
            if level not in levels:
                raise ToolError(unknown(f"level of {slot!r}", level, list(levels) or ["none"]))
            return {"kind": "set_slot", "slot": slot, "values": list(levels[level])}
        case dict():
            return {key: with_explore_levels(population, inner) for key, inner in value.items()}
        case list():
            return [with_explore_levels(population, inner) for inner in value]
        case _:
            return value
