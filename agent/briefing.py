"""What an investigator is told before its first turn: everything it may know, nothing it may not.

The confirmation prompts, the run secret and the place of the models are not in it.
"""

from __future__ import annotations

from typing import Any

from agent.house_tools import HOUSE_TOOLS
from agent.investigation import Investigation

SHOWN_VALUES = 12
SHOWN_ROWS = 20


def briefing(investigation: Investigation) -> dict[str, Any]:
    """Return the case with its explore prompts, the step-0 rates, the screens, and the tools."""
    case = investigation.case
    explore = investigation.populations["case"].pools["explore"]
    confirm = investigation.populations["case"].pools["confirm"]
    catalogue = investigation.worker.catalogue
    return {
        "behaviour": case.behaviour,
        "kind": case.kind,
        "environment": case.environment.model_dump(mode="json", exclude_none=True)
        if case.environment
        else None,
        "max_new_tokens": case.sampling.max_new_tokens,
        "measure": case.measure.model_dump(mode="json") if case.measure else None,
        "has_reference": case.reference is not None,
        "model": catalogue.facts,
        "templates": {
            name: investigation.populations["case"].templates[name].model_dump(mode="json")
            for name in explore.templates
        },
        "fillings": list(explore.fillings[:SHOWN_ROWS]),
        "slots": {
            name: {
                "values": list(slot.values if slot.candidates else slot.values[:SHOWN_VALUES]),
                "levels": {
                    level: list(values[:SHOWN_VALUES]) for level, values in slot.levels.items()
                },
                "candidates": slot.candidates,
            }
            for name, slot in explore.slots.items()
        },
        "unseen_templates": len(confirm.templates),
        "unseen_by_slot": {
            name: len(investigation.populations["case"].usable("confirm", [name]))
            for name in explore.slots
        },
        "step_zero": investigation.step_zero,
        "screens": investigation.screens,
        "registrations": case.limits.registrations,
        "tools": [
            *(entry for entry in catalogue.tools if entry["for_investigator"]),
            *(tool.entry() for tool in HOUSE_TOOLS),
        ],
    }
