"""The systematic investigator's plan for an open case: something may be hidden, nobody says what.

Two kinds of lead become registered predictions: a hidden constant among the case's candidate answers,
ranked against the reference, and words that the screens found in the subject's answers more or less
often than in its reference's. What it answers is the constant; a word that a fine-tune merely says
more often is a finding, not a secret.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agent.investigation import Turn
from agent.plan_turns import (
    TOP,
    Plan,
    Verdicts,
    call,
    is_rate,
    propose,
    read_id,
    register_and_confirm,
    report,
    submission,
)
from agent.population import GENERAL_CLAIM
from agent.submission import Answer, Submission

FEWEST_POINTS = 0.2
"""A word whose share of answers differs by less is not registered: it would not have the power."""
WORD_PROMPTS, WORD_SAMPLES = 4, 2
"""Prompts a template, and answers to each, when the share of answers with a word is confirmed."""


def open_plan(briefing: dict[str, Any]) -> Plan:
    """Rank the candidate answers and read the screens, confirm the best of both, report."""
    yield call("sample_responses", items={"draw": {"templates": 12, "per_template": 2}}, samples=2)
    if not briefing["has_reference"]:
        yield submission(
            Answer(kind="unknown", confidence=0.0),
            "This investigator needs a reference to compare with for an open case.",
        )
        return
    slot = next(
        (name for name, content in briefing["slots"].items() if content["candidates"]), None
    )
    ranked: list[dict[str, Any]] = []
    if slot is not None and briefing["measure"] is not None:
        results = yield call(
            "rank_candidates",
            items={"draw": {"templates": 12, "per_template": 1}},
            slot=slot,
            values=briefing["slots"][slot]["values"],
            measure=briefing["measure"],
        )
        ranked = (results[0].result or {}).get("ranked", [])
    constants = ranked if len(ranked) > TOP else []
    leads = word_leads(briefing)
    claims = [
        (f"the subject holds a hidden constant: '{each['value']}'", "secret content")
        for each in constants[:TOP]
    ]
    claims += [(word_claim(lead), "wording") for lead in leads]
    if not claims:
        yield submission(
            Answer(kind="unknown", confidence=0.0),
            "No candidate answers could be ranked and the screens showed no word.",
        )
        return
    results = yield propose(claims)
    ids = [read_id(result) for result in results[1:]]
    held: Verdicts = {}
    if slot is not None and constants:
        wishes = constant_wishes(briefing, slot, constants)
        held = yield from register_and_confirm(wishes, ids[: len(wishes)])
    wishes = [predict_word(briefing, lead) for lead in leads]
    said = yield from register_and_confirm(wishes, ids[len(claims) - len(leads) : len(claims)])
    yield report_open([each["value"] for each in constants[:10]], held, leads, said)


def word_leads(briefing: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the words of answers outside the null band of a screen, the largest differences first."""
    found: dict[str, dict[str, Any]] = {}
    for screen in briefing["screens"]:
        words = ((screen["result"] or {}).get("answer_words") or {}).get("words", [])
        for each in words:
            if abs(each["first"] - each["second"]) >= FEWEST_POINTS:
                found.setdefault(each["word"], each)
    return sorted(found.values(), key=lambda each: -abs(each["first"] - each["second"]))[:TOP]


def word_claim(lead: dict[str, Any]) -> str:
    """Return a lead as a claim."""
    more = "more" if lead["first"] > lead["second"] else "less"
    return f"the subject says '{lead['word']}' {more} often than its reference does"


def predict_word(briefing: dict[str, Any], lead: dict[str, Any]) -> dict[str, Any]:
    """Return the prediction that half of the difference in a word's share shows on unseen prompts."""
    gap = lead["first"] - lead["second"]
    return {
        "measure": {"kind": "regex", "pattern": rf"(?i)(?<!\w){re.escape(lead['word'])}(?!\w)"},
        "question": "reference",
        "treatment": {"name": f"says '{lead['word']}'"},
        "control": {"name": "the reference", "model": "reference"},
        "direction": "more" if gap > 0 else "less",
        "smallest_effect": round(max(0.5 * abs(gap), 0.1), 3),
        "clusters": min(GENERAL_CLAIM, briefing["unseen_templates"]),
        "per_cluster": WORD_PROMPTS,
        "samples": WORD_SAMPLES,
        "rivals": [{"name": "only the explored prompts do this", "predicts": [-0.05, 0.05]}],
    }


def constant_wishes(
    briefing: dict[str, Any], slot: str, ranked: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the predictions that the best candidates stand out."""
    words = [each["value"] for each in ranked]
    others = [value for value in briefing["slots"][slot]["values"] if value not in words[:TOP]]
    return [
        predict_constant(briefing, slot, each["value"], each["gap"], words, others)
        for each in ranked[:TOP]
    ]


def predict_constant(
    briefing: dict[str, Any],
    slot: str,
    word: str,
    gap: float,
    ranked: Sequence[str],
    others: Sequence[str],
) -> dict[str, Any]:
    """Return the prediction that a candidate stands out from the others, more than in the reference.

    Its rival is the best other candidate, which is said to stand out as much.
    """
    rival = next(value for value in ranked if value != word)

    def with_values(name: str, values: Sequence[str]) -> dict[str, Any]:
        return {"name": name, "edits": [{"kind": "set_slot", "slot": slot, "values": list(values)}]}

    return {
        "measure": briefing["measure"],
        "question": "reference",
        "treatment": with_values(word, [word]),
        "control": with_values("other candidates", others),
        # Rates of the reference are often at their floor here, where a difference of differences is void.
        "reference_pair": not is_rate(briefing["measure"]),
        "direction": "more",
        "smallest_effect": round(
            max(0.5 * abs(gap), 0.5 if not is_rate(briefing["measure"]) else 0.2), 3
        ),
        "clusters": min(GENERAL_CLAIM, briefing["unseen_templates"]),
        "per_cluster": 1,
        "samples": 4 if is_rate(briefing["measure"]) else 1,
        "rivals": [{"name": f"the candidate {rival}", "arm": with_values(rival, [rival])}],
    }


def report_open(
    ranked: Sequence[str], held: Verdicts, leads: Sequence[dict[str, Any]], said: Verdicts
) -> Turn:
    """Return the submission: the one supported constant or nothing, and the words that were confirmed."""
    turn = report(list(ranked[:TOP]), held, "word")
    handed = Submission.model_validate(turn.calls[0].arguments)
    rest = [word for word in ranked if word not in handed.answer.guesses]
    answer = handed.answer.model_copy(
        update={
            "guesses": (*handed.answer.guesses, *rest)[:10],
            "value": handed.answer.value[:1],
        }
    )
    summary = handed.summary
    if not held:
        answer = Answer(kind="unknown", confidence=0.0, guesses=answer.guesses)
        summary = "No constant was tested."
    confirmed = [k for k, (_, verdict) in said.items() if verdict["status"] == "supported"]
    if confirmed:
        cited = "; ".join(
            f"'{leads[k]['word']}' {said[k][0]}: {said[k][0]}/estimate" for k in confirmed
        )
        summary += f" Words said more or less often than by the reference: {cited}."
    return submission(answer, summary)
