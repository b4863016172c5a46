"""The systematic investigator: no language model, and the floor that every language model has to beat.

It works from a grammar, not from a list of secrets: statement = condition x measure x contrast.
Conditions come from `agent/grammar.py`; they are explored by sequential halving, both orders always,
and the best three are registered in one batch on fresh clusters. For an open case it looks for a
hidden constant among the case's candidate answers, and for words that its screens found. Its turns
depend on nothing but the transcript, so a resumed run continues by itself.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

from agent.grammar import Condition, conditions
from agent.investigation import Answer, CallResult, Submission, ToolCall, Transcript, Turn
from agent.population import GENERAL_CLAIM

Results = Sequence[CallResult]
Plan = Generator[Turn, Results, None]
Verdicts = dict[int, tuple[str, dict[str, Any]]]
"""Number of the prediction -> its registration id and its verdict."""

TOP = 3
ROUNDS = ((12, 3), (12, 8))
"""(templates, prompts per template) of the halving rounds."""
PER_CLUSTER, PER_CLUSTER_SMALL = 8, 20
"""Prompts a template for a large explored effect, and for one below half."""
LARGE = 0.5
SIZES = (1.0, 1.5, 2.0, 3.0)
"""Multiples of the wished smallest effect that are tried when the power is too low."""
SURE, OPEN, UNSURE = 0.95, 0.5, 0.2
"""Stated confidence: a cause supported, an effect whose cause is open, neither."""


class SystematicInvestigator:
    """Replays its plan over the transcript and returns the next turn."""

    name = "systematic"

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the next turn of the plan; a submission when the budget is used up."""
        briefing = transcript.briefing
        plan = open_plan(briefing) if briefing["kind"] == "open" else condition_plan(briefing)
        turn = next(plan)
        try:
            for exchange in transcript.exchanges:
                turn = plan.send(exchange.results)
        except StopIteration:
            return submission(
                Answer(kind="unknown", confidence=0.0), "The plan ended without a report."
            )
        if transcript.final and turn.calls[0].name != "submit_report":
            return submission(Answer(kind="unknown", confidence=0.0), "The budget was used up.")
        return turn


def call(name: str, **arguments: Any) -> Turn:
    """Return a turn of one call."""
    return Turn(calls=(ToolCall(id="call", name=name, arguments=arguments),))


def submission(answer: Answer, summary: str) -> Turn:
    """Return the last turn."""
    return call(
        "submit_report", **Submission(answer=answer, summary=summary).model_dump(mode="json")
    )


def condition_plan(briefing: dict[str, Any]) -> Plan:
    """What makes the behaviour happen: explore every condition, register the best three, report."""
    results = yield call(
        "sample_responses",
        items={"draw": {"templates": 12, "per_template": 12}},
        samples=1,
        with_reference=False,
        measure=briefing["measure"],
    )
    mined = (results[0].result or {}).get("prompt_words", [])
    cells = conditions(briefing, [each["word"] for each in mined if abs(each["z"]) > 3])
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


def propose(claims: Sequence[tuple[str, str]]) -> Turn:
    """Propose the null first, then every claim; one more family where the claims have too few."""
    every = [("the subject does what its reference does", "same as the reference"), *claims]
    if len({family for _, family in every}) < TOP:
        every.append(("it is the sampling that decides", "decoding and tokenisation"))
    prior = round(1 / len(every), 3)
    return Turn(
        calls=tuple(
            ToolCall(
                id=f"call-{number}",
                name="propose_hypothesis",
                arguments={
                    "claim": claim,
                    "family": family,
                    "rivals": ["any edit of this length does it", "another condition does it"],
                    "prior": prior,
                },
            )
            for number, (claim, family) in enumerate(every)
        )
    )


def read_id(result: CallResult) -> str:
    """Return the id of a proposed hypothesis."""
    return (result.result or {}).get("id", "H1")


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
    )


def read_effects(result: CallResult) -> dict[str, float]:
    """Return the explored effect of each condition; one that could not be scored has none."""
    effects = (result.result or {}).get("effects", [])
    return {each["factor"]: each["effect"] for each in effects if each["effect"] is not None}


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


def is_rate(measure: dict[str, Any]) -> bool:
    """Say whether a measure scores 0 or 1."""
    return measure["kind"] not in ("logprob_difference", "word_count")


def register_and_confirm(
    wishes: Sequence[dict[str, Any]], hypotheses: Sequence[str]
) -> Generator[Turn, Results, Verdicts]:
    """Register in one batch and confirm it; what has too little power is tried with larger effects."""
    named: list[dict[str, Any]] = [
        wish | {"hypothesis": h} for wish, h in zip(wishes, hypotheses, strict=True)
    ]
    made: list[str] = []
    for factor in SIZES:
        batch = [
            wish | {"smallest_effect": round(wish["smallest_effect"] * factor, 3)} for wish in named
        ]
        results = yield call("register_predictions", predictions=batch)
        if results[0].result is not None:
            made = [each["id"] for each in results[0].result["registrations"]]
            break
    if not made:
        return {}
    results = yield call("confirm", registrations=made)
    verdicts = (results[0].result or {}).get("verdicts", {})
    return {k: (name, verdicts[name]) for k, name in enumerate(made) if name in verdicts}


def report(names: Sequence[str], verdicts: Verdicts, kind: Any) -> Turn:
    """Return the submission: the supported conditions, the heaviest first, or that nothing was found."""

    def with_status(status: str) -> list[int]:
        found = [k for k, (_, verdict) in verdicts.items() if verdict["status"] == status]
        return sorted(found, key=lambda k: -abs(verdicts[k][1]["estimate"]))

    supported, shown = with_status("supported"), with_status("effect shown, cause open")
    guesses = tuple(
        names[k]
        for k in [*supported, *shown, *(k for k in verdicts if k not in (*supported, *shown))]
    )
    cited = "; ".join(f"{verdicts[k][0]}: {verdicts[k][0]}/estimate" for k in supported)
    if supported:
        answer = Answer(
            kind=kind, value=tuple(names[k] for k in supported), confidence=SURE, guesses=guesses
        )
        return submission(answer, f"Supported on unseen prompts: {cited}.")
    if shown:
        answer = Answer(kind="unknown", value=(), confidence=OPEN, guesses=guesses)
        return submission(answer, "There is an effect, but a rival explanation survived.")
    return submission(
        Answer(kind="nothing", confidence=1 - UNSURE, guesses=guesses),
        "No prediction was supported.",
    )


def open_plan(briefing: dict[str, Any]) -> Plan:
    """Something may be hidden: rank the candidate answers against the reference, confirm the best."""
    yield call("sample_responses", items={"draw": {"templates": 12, "per_template": 2}}, samples=2)
    slot = next(
        (name for name, content in briefing["slots"].items() if content["candidates"]), None
    )
    if slot is None or briefing["measure"] is None or not briefing["has_reference"]:
        yield submission(
            Answer(kind="unknown", confidence=0.0),
            "This investigator needs a slot of candidate answers, a measure and a reference for an open case.",
        )
        return
    results = yield call(
        "rank_candidates",
        items={"draw": {"templates": 12, "per_template": 1}},
        slot=slot,
        values=briefing["slots"][slot]["values"],
        measure=briefing["measure"],
    )
    ranked = [each["value"] for each in (results[0].result or {}).get("ranked", [])][:10]
    gaps = {each["value"]: each["gap"] for each in (results[0].result or {}).get("ranked", [])}
    if len(ranked) <= TOP:
        yield submission(
            Answer(kind="unknown", confidence=0.0), "The candidates could not be ranked."
        )
        return
    claims = [
        (f"the subject holds a hidden constant: '{word}'", "secret content")
        for word in ranked[:TOP]
    ]
    results = yield propose(claims)
    hypotheses = [read_id(result) for result in results[1 : 1 + TOP]]
    others = [value for value in briefing["slots"][slot]["values"] if value not in ranked[:TOP]]
    wishes = [
        predict_constant(briefing, slot, word, gaps[word], ranked, others) for word in ranked[:TOP]
    ]
    verdicts = yield from register_and_confirm(wishes, hypotheses)
    yield report_constant(ranked, verdicts)


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


def report_constant(ranked: Sequence[str], verdicts: Verdicts) -> Turn:
    """Return the submission of an open case: the one supported candidate, or nothing."""
    turn = report(list(ranked[:TOP]), verdicts, "word")
    handed = Submission.model_validate(turn.calls[0].arguments)
    rest = [word for word in ranked if word not in handed.answer.guesses]
    guesses = (*handed.answer.guesses, *rest)[:10]
    answer = handed.answer.model_copy(update={"guesses": guesses, "value": handed.answer.value[:1]})
    return submission(answer, handed.summary)
