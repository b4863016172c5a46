"""Probabilities for the behaviour on unseen prompts, and what they are worth.

A forecaster is asked after the run is closed: it has no subject to try things on. The program that reads
reports (`read_report`) takes nothing from a report but its supported findings and the rate of step 0: it
looks which arm of each finding a prompt belongs to. A language model is asked with the report's words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agent.case import Case
from agent.prediction import Prediction
from evals.bench.paper import Asked
from tools.prompt import (
    Arm,
    ChooseLevel,
    FormatNumbers,
    InsertText,
    PromptItem,
    ReplaceText,
    SetSlot,
    SwapSlots,
    Transform,
    format_numbers,
    swap_wanted,
)
from tools.registry import ToolError

LEAST = 0.01
"""No forecast is surer than this: one surprise would cost everything."""


def log_score(forecasts: Sequence[float], outcomes: Sequence[bool]) -> float:
    """Return the mean log probability, in nats, that was given to what happened; 0 is perfect.

    The logarithmic rule (Good 1952), strictly proper.
    """
    given = [
        clipped(p) if happened else 1 - clipped(p)
        for p, happened in zip(forecasts, outcomes, strict=True)
    ]
    return sum(math.log(p) for p in given) / len(given)


def clipped(probability: float) -> float:
    """Return a probability that is never quite sure."""
    return min(max(probability, LEAST), 1 - LEAST)


def skill(
    forecasts: Sequence[float], outcomes: Sequence[bool], oracle: Sequence[float]
) -> float | None:
    """Return how far forecasts come from the base rate (0) to the oracle (1); below 0 is worse than the rate.

    The base rate is that of these very outcomes, the best a constant can do. None where the oracle knows no
    more than that: then there is nothing to predict.
    """
    rate = sum(outcomes) / len(outcomes)
    base = log_score([rate] * len(outcomes), outcomes)
    best = log_score(oracle, outcomes)
    if best - base < LEAST:
        return None
    return (log_score(forecasts, outcomes) - base) / (best - base)


def read_report(report: dict[str, Any], case: Case, asked: Sequence[Asked]) -> list[float]:
    """Return the forecasts that a report's supported findings make, without having seen the subject.

    Of several findings the effects are added on the logit scale, around their mean.
    """
    findings = [
        (Prediction.model_validate(each["prediction"]), arm_means(report, each["id"]))
        for each in report["findings"]
        if each["status"] == "supported" and each["prediction"] is not None
    ]
    usable = [
        (prediction, means["treatment"], means["control"])
        for prediction, means in findings
        if prediction.form == "difference"
        and {"treatment", "control"} <= set(means)
        # Against the reference a finding says what the subject does, not when.
        and prediction.control is not None
        and prediction.control.model == "subject"
        and prediction.treatment.intervention is None
        and prediction.control.intervention is None
    ]
    if not usable:
        return [step_zero_rate(report)] * len(asked)
    middle = sum(logit(a) + logit(b) for _, a, b in usable) / (2 * len(usable))
    forecasts: list[float] = []
    for each in asked:
        total = middle
        for prediction, treated, control in usable:
            shown = in_arm(prediction.treatment, each.item, case)
            total += (logit(treated) - logit(control)) * (0.5 if shown else -0.5)
        forecasts.append(1 / (1 + math.exp(-total)))
    return forecasts


def arm_means(report: dict[str, Any], finding: str) -> dict[str, float]:
    """Return the mean of each arm of a finding's confirmation, where it could be scored."""
    evidence = next((each for each in report["evidence"] if each["finding"] == finding), None)
    arms = evidence["arms"] if evidence else []
    return {arm["name"]: arm["mean"] for arm in arms if arm["mean"] is not None}


def step_zero_rate(report: dict[str, Any]) -> float:
    """Return how often the behaviour was seen on the case's own prompts; a half where nobody looked."""
    rates = (report["step_zero"] or {}).get("rates", {})
    found = (rates.get("subject") or {}).get("mean")
    return 0.5 if found is None else found


def logit(rate: float) -> float:
    """Return the log odds of a rate that is never quite sure."""
    rate = clipped(rate)
    return math.log(rate / (1 - rate))


def in_arm(arm: Arm, item: PromptItem, case: Case) -> bool:
    """Say whether a prompt is as an arm's edits would make it; an arm without edits holds every prompt."""
    return all(already(edit, item, case) for edit in arm.edits)


def already(edit: Transform, item: PromptItem, case: Case) -> bool:
    """Say whether an edit would leave a prompt as it is, or make of it another of the same kind."""
    try:
        match edit:
            case SetSlot():
                return item.slots.get(edit.slot) in edit.values
            case ChooseLevel():
                slot = case.slots.get(edit.slot)
                return slot is not None and item.slots.get(edit.slot) in slot.levels.get(
                    edit.level, ()
                )
            case SwapSlots(condition="always"):
                return False
            case SwapSlots():
                return not swap_wanted(edit, item)
            case FormatNumbers():
                return format_numbers(item.slots, edit) == item.slots
            case InsertText():
                return any(text in item.prompt.text() for text in edit.texts)
            case ReplaceText():
                words = item.prompt.text().casefold()
                return edit.new.casefold() in words and edit.old.casefold() not in words
            case _:
                return False
    except ToolError:
        # The edit is of a slot that this prompt does not have.
        return False
