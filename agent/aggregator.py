"""The aggregator: an investigator without a language model that confirms anew what independent runs found.

It reads the finished runs (they stand in its briefing), groups predictions of the same contrast, and
registers the best three in one batch, on prompts that none of the runs could use. What it answers is a
vote over the runs' answers (`agent/vote.py`). Its turns depend on nothing but the transcript.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agent.investigation import ToolCall, Transcript, Turn
from agent.plan_turns import (
    TOP,
    Plan,
    Verdicts,
    read_id,
    register_and_confirm,
    report,
    submission,
    turn_of,
)
from agent.prediction import Hypothesis, Rival
from agent.registration import BREADTH
from agent.set_reading import ReadRun, Tried, claim_of
from agent.submission import Submission
from agent.template_choice import templates_of
from agent.vote import Statement, elect, same_text
from tools.registry import Record

NULL = Hypothesis(
    id="", claim="the subject does what its reference does", family="same as the reference",
    rivals=("something in the prompts decides",), prior=0.1,
)  # fmt: skip
FILLERS = (
    NULL,
    NULL.model_copy(update={"claim": "it is the sampling that decides", "family": "decoding and tokenisation"}),
    NULL.model_copy(update={"claim": "it is the wording of the prompt", "family": "wording"}),
)  # fmt: skip
"""Proposed beside the runs' own hypotheses where those have too few families."""


WIDE = 16
"""Kept templates that a statement is tested on if there are so many: all its sign flips are enumerated."""


class AggregatorInvestigator:
    """Replays its plan over the transcript and returns the next turn."""

    name = "aggregator"

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the next turn of the plan."""
        return turn_of(aggregate_plan(transcript.briefing), transcript)


class Contrast(Record):
    """One claim with every registration of it, in the order of the runs."""

    tried: tuple[tuple[int, Tried], ...]
    """(number of the run, its registration)"""

    def runs(self, *statuses: str) -> int:
        """Return how many runs registered it; with statuses, how many came to one of them."""
        return len({run for run, each in self.tried if not statuses or each.status in statuses})

    def rank(self) -> tuple[float, ...]:
        """Return what contrasts are ordered by, the best first.

        Runs that supported it, runs that registered it, mean effect in units of the pilots' sd.
        """
        sizes = [
            abs(each.estimate) / each.pilot_sd
            for _, each in self.tried
            if each.estimate is not None and each.pilot_sd
        ]
        return (-self.runs("supported"), -self.runs(), -math.fsum(sizes) / max(len(sizes), 1))


def aggregate_plan(briefing: dict[str, Any]) -> Plan:
    """Carry the runs' hypotheses over, register and confirm the best contrasts, hand the vote in."""
    runs = [ReadRun.model_validate(each) for each in briefing.get("runs", [])]
    best = sorted(contrasts_of(runs), key=Contrast.rank)
    best = best[: min(TOP, briefing["registrations"])]
    hypotheses = hypotheses_of(runs)
    results = yield propose(hypotheses)
    ids = {mark_of(each): read_id(r) for each, r in zip(hypotheses, results, strict=False)}
    wishes = [wish_of(each, briefing) for each in best]
    proposed = [ids[mark_of(hypothesis_of(each, runs))] for each in best]
    held: Verdicts = {}
    if wishes:
        held = yield from register_and_confirm(wishes, proposed, leave_out=True)
    yield hand_in(briefing["kind"], runs, best, held)


def contrasts_of(runs: Sequence[ReadRun]) -> list[Contrast]:
    """Return the registrations of all runs, those of one claim together."""
    groups: dict[str, list[tuple[int, Tried]]] = {}
    for number, run in enumerate(runs):
        for each in run.tried:
            groups.setdefault(claim_of(each.prediction), []).append((number, each))
    return [Contrast(tried=tuple(group)) for group in groups.values()]


def mark_of(hypothesis: Hypothesis) -> tuple[str, str]:
    """Return what two runs' hypotheses are the same by."""
    return hypothesis.family, same_text(hypothesis.claim)


def hypotheses_of(runs: Sequence[ReadRun]) -> list[Hypothesis]:
    """Return the runs' hypotheses, each once with the mean of its priors, and fillers for breadth."""
    groups: dict[tuple[str, str], list[Hypothesis]] = {}
    for hypothesis in (each for run in runs for each in run.hypotheses):
        groups.setdefault(mark_of(hypothesis), []).append(hypothesis)
    found = [
        group[0].model_copy(update={"prior": math.fsum(h.prior for h in group) / len(group)})
        for group in groups.values()
    ]
    for filler in FILLERS:
        families = {each.family for each in found}
        if len(families) < BREADTH and filler.family not in families:
            found.append(filler)
    return found


def hypothesis_of(contrast: Contrast, runs: Sequence[ReadRun]) -> Hypothesis:
    """Return the hypothesis under which a contrast was first registered."""
    number, tried = contrast.tried[0]
    return next(h for h in runs[number].hypotheses if h.id == tried.prediction.hypothesis)


def propose(hypotheses: Sequence[Hypothesis]) -> Turn:
    """Propose every hypothesis in the words of the run it comes from."""
    return Turn(
        calls=tuple(
            ToolCall(
                id=f"call-{number}",
                name="propose_hypothesis",
                arguments=each.model_dump(mode="json", exclude={"id"}),
            )
            for number, each in enumerate(hypotheses)
        )
    )


def wish_of(contrast: Contrast, briefing: dict[str, Any]) -> dict[str, Any]:
    """Return the prediction to register: the largest smallest effect and every rival of any run."""
    every = [each.prediction for _, each in contrast.tried]
    first = every[0]
    shown = templates_of(first)
    most = sum(
        kind["templates"]
        for kind in briefing["unseen_kinds"]
        if set(shown["slots"]) <= set(kind["shows"])
        and not set(shown["without"]) & set(kind["shows"])
    )
    rivals: dict[str, Rival] = {}
    for rival in (rival for each in every for rival in each.rivals if not rival.standing):
        rivals.setdefault(rival.model_dump_json(exclude={"name"}), rival)
    return first.model_dump(mode="json") | {
        "smallest_effect": max(each.smallest_effect for each in every),
        "clusters": min(max(WIDE, *(each.clusters for each in every)), max(most, 2)),
        "per_cluster": max(each.per_cluster for each in every),
        "samples": max(each.samples for each in every),
        "rivals": [rival.model_dump(mode="json") for rival in rivals.values()],
    }


def hand_in(kind: str, runs: Sequence[ReadRun], best: Sequence[Contrast], held: Verdicts) -> Turn:
    """Return the submission: the elected answer, and which statements were confirmed anew."""
    statements = [
        Statement(prediction=best[k].tried[0][1].prediction, status=verdict["status"])
        for k, (_, verdict) in held.items()
    ]
    names = [each.tried[0][1].prediction.treatment.name for each in best]
    handed = Submission.model_validate(report(names, held, "factor").calls[0].arguments)
    return submission(elect(runs, statements, kind), handed.summary)
