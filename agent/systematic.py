"""The systematic investigator: no language model, and the floor that every language model has to beat.

It works from a grammar, not from a list of secrets: statement = condition x measure x contrast.
Conditions come from `agent/grammar.py`; they are explored by sequential halving, both orders always,
and the best three are registered in one batch on fresh clusters. An open case has a plan of its own
(`agent/open_plan.py`). Its turns depend on nothing but the transcript, so a resumed run continues by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agent.grammar import Condition, conditions
from agent.investigation import CallResult, Transcript, Turn
from agent.open_plan import open_plan
from agent.plan_turns import (
    TOP,
    Plan,
    call,
    is_rate,
    propose,
    read_id,
    register_and_confirm,
    report,
    turn_of,
)
from agent.population import GENERAL_CLAIM

ROUNDS = ((12, 3), (12, 8))
"""(templates, prompts per template) of the halving rounds."""
PER_CLUSTER, PER_CLUSTER_SMALL = 8, 20
"""Prompts a template for a large explored effect, and for one below half."""
LARGE = 0.5
USUAL_LENGTH, LONGEST = 32, 2048
"""Tokens that exploring tools take by themselves, and at most."""


class SystematicInvestigator:
    """Replays its plan over the transcript and returns the next turn."""

    name = "systematic"

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the next turn of the plan; a submission when the budget is used up."""
        briefing = transcript.briefing
        plan = open_plan(briefing) if briefing["kind"] == "open" else condition_plan(briefing)
        return turn_of(plan, transcript)


def condition_plan(briefing: dict[str, Any]) -> Plan:
    """What makes the behaviour happen: explore every condition, register the best three, report."""
    results = yield call(
        "sample_responses",
        items={"draw": {"templates": 12, "per_template": 12}},
        samples=1,
        with_reference=False,
        measure=briefing["measure"],
        **answer_length(briefing),
    )
    mined = (results[0].result or {}).get("prompt_words", [])
    words = [each["word"] for each in mined if abs(each["z"]) > 3]
    cells = conditions(briefing, words, read_rates(results[0]))
    results = yield propose([(cell.claim, cell.family) for cell in cells])
    ids = {cell.name: read_id(result) for cell, result in zip(cells, results[1:], strict=False)}
    scores: dict[str, float] = {}
    every = cells
    for number, (templates, each) in enumerate(ROUNDS):
        results = yield explore(briefing, cells, templates, each)
        scores = read_effects(results[0])
        keep = max(TOP + 1, math.ceil(len(cells) / 2)) if number + 1 < len(ROUNDS) else TOP
        cells = sorted(cells, key=lambda cell: -abs(scores.get(cell.name, 0.0)))[: max(keep, TOP)]
    wishes = [predict(briefing, cell, scores.get(cell.name, 0.0), every) for cell in cells[:TOP]]
    hypotheses = [ids[cell.name] for cell in cells[:TOP]]
    verdicts = yield from register_and_confirm(wishes, hypotheses)
    yield report([cell.name for cell in cells[:TOP]], verdicts, "factor")


def explore(
    briefing: dict[str, Any], cells: Sequence[Condition], templates: int, each: int
) -> Turn:
    """Vary every condition at once, one at a time, the rest of the prompt as it comes."""
    factors = [
        {
            "name": cell.name,
            "levels": [
                {"name": name, "edits": [edit.model_dump(mode="json") for edit in edits]}
                for name, edits in (("control", cell.control), ("treatment", cell.treatment))
            ],
        }
        for cell in cells
    ]
    return call(
        "vary_prompts",
        items={"draw": {"templates": templates, "per_template": each}},
        factors=factors,
        measure=briefing["measure"],
        with_reference=False,
        **answer_length(briefing),
    )


def answer_length(briefing: dict[str, Any]) -> dict[str, int]:
    """Return how long answers may be, where the case wants longer ones than tools give by themselves."""
    wanted = briefing["max_new_tokens"]
    return {"max_new_tokens": min(wanted, LONGEST)} if wanted > USUAL_LENGTH else {}


def read_rates(result: CallResult) -> dict[str, dict[str, float]]:
    """Return the explored rate of the behaviour by level of each factor slot, where it could be scored."""
    told = (result.result or {}).get("by_level") or {}
    return {
        slot: {
            each["group"]: each["rates"]["subject"]
            for each in groups
            if each["rates"]["subject"] is not None
        }
        for slot, groups in told.items()
    }


def read_effects(result: CallResult) -> dict[str, float]:
    """Return the explored effect of each condition; one that could not be scored has none."""
    effects = (result.result or {}).get("effects", [])
    return {
        each["factor"]: each["subject"]["effect"]
        for each in effects
        if each["subject"]["effect"] is not None
    }


def predict(
    briefing: dict[str, Any], cell: Condition, effect: float, others: Sequence[Condition]
) -> dict[str, Any]:
    """Return the prediction that half of a condition's explored effect shows on unseen prompts.

    Its rival is that only another part of the prompt matters, the next in line: then this edit does
    nothing. Whether any edit of its kind would do the same is for the standing rivals.
    """
    rate = is_rate(briefing["measure"])
    rival = next((other.factor for other in others if other.factor != cell.factor), "the sampling")
    nothing = [-0.1, 0.1] if rate else [-0.25, 0.25]
    rivals: list[dict[str, Any]] = [{"name": f"only {rival} matters", "predicts": nothing}]
    size = min(max(0.5 * abs(effect), 0.2), 0.5) if rate else max(0.5 * abs(effect), 0.5)
    return {
        "measure": briefing["measure"],
        "treatment": {
            "name": cell.name,
            "edits": [edit.model_dump(mode="json") for edit in cell.treatment],
        },
        "control": {
            "name": "control",
            "edits": [edit.model_dump(mode="json") for edit in cell.control],
        },
        "direction": "more" if effect >= 0 else "less",
        "smallest_effect": round(size, 3),
        "clusters": min(GENERAL_CLAIM, briefing["unseen_templates"]),
        "per_cluster": (PER_CLUSTER if abs(effect) >= LARGE else PER_CLUSTER_SMALL) if rate else 2,
        "rivals": rivals,
    }
