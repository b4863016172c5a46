"""What an investigator is told before its first turn: everything it may know, nothing it may not.

The confirmation prompts, the run secret and the place of the models are not in it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from agent.closed_forms import closed_forms
from agent.equivalence import alike_form, answers_of_step_zero
from agent.gates import placebos_needed
from agent.house_tools import HOUSE_TOOLS
from agent.investigation import Investigation, Speaker
from agent.registration import kept
from agent.sceptic import rest_case
from agent.set_reading import place_of
from tools.sequential import alpha_share

SHOWN_VALUES = 12
SHOWN_ROWS = 20


def briefing(investigation: Investigation, speaker: Speaker = "investigator") -> dict[str, Any]:
    """Return the case with its explore prompts, the step-0 rates, the screens, and the tools.

    It is the same before every turn of a speaker, also after a report: no conversation is told anew.
    """
    case = investigation.case
    explore = investigation.populations["case"].pools["explore"]
    confirm = investigation.populations["case"].pools["confirm"]
    catalogue = investigation.worker.catalogue
    every = [investigation.populations["case"].shown(name) for name in confirm.templates]
    kinds = Counter(tuple(sorted(shown)) for shown in every)
    place = place_of(investigation)
    read = [each.model_dump(mode="json") for each in place.runs] if place else []
    alpha = alpha_share(investigation.alpha, case.limits.registrations)
    return {
        "behaviour": case.behaviour,
        "kind": case.kind,
        "environment": case.environment.model_dump(mode="json", exclude_none=True)
        if case.environment
        else None,
        "max_new_tokens": case.sampling.max_new_tokens,
        "measure": case.measure.model_dump(mode="json") if case.measure else None,
        "judges": len(investigation.judges),
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
        # By which the aggregator counts what a statement of the runs can be tested on.
        "unseen_kinds": [
            {"shows": list(shown), "templates": count} for shown, count in sorted(kinds.items())
        ],
        "unseen_by_slot": {
            name: len(investigation.populations["case"].usable("confirm", [name]))
            for name in explore.slots
        },
        "step_zero": investigation.step_zero,
        "screens": investigation.screens,
        "registrations": registrations_of(investigation, speaker),
        "reply_turns": investigation.reply_turns,
        "roles": investigation.roles,
        "alpha": alpha,
        "placebos_needed": placebos_needed(alpha),
        "closed_forms": list(closed_forms(investigation, alpha)),
        "alike": alike_form(
            case, len(confirm.templates), alpha, answers_of_step_zero(investigation)
        ),
        "tools": [
            *investigation.offered(),
            *(tool.entry() for tool in (*HOUSE_TOOLS, rest_case) if tool.name not in case.without),
        ],
        **({"runs": read} if read else {}),
    }


def registrations_of(investigation: Investigation, speaker: Speaker) -> int:
    """Return how many predictions a speaker may register in all, however many it has registered."""
    for_sceptic, for_reply = kept(investigation)
    every = investigation.case.limits.registrations - for_reply
    if speaker == "investigator":
        return every - for_sceptic
    return every - (len(investigation.registrations) - len(investigation.counters))
