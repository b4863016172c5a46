"""The sceptic: after the report is submitted, it may only register counter-experiments.

A counter-experiment is the contrast of a supported finding once more, on fresh prompts, beside a rival
explanation that was not tested against it. If the rival does the same as the treatment, the finding's
cause is open again (agent/counters.py), and the investigator may reply (agent/reply.py). The sceptic
shares the run's budget and its error rate: some registrations are kept for it from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from agent.investigation import Exchange, Investigation, Part, Speaker
from agent.prediction import Prediction, Registration, Rival
from agent.registration import rival_marks, tested
from agent.wording import listed
from tools.registry import Record, ToolError, tool, unknown

MOST_TURNS = 12


class Rest(Record):
    """Why there is nothing more to challenge."""

    why: str = ""


class Rested(Record):
    """An acknowledgement."""

    done: str


class Challenge(Record):
    """A supported contrast once more: form, measure, arms, population and sizes as registered, other rivals."""

    of: str
    """Id of the registration, such as P3."""
    rivals: tuple[Rival, ...] = Field(min_length=1)
    """What may do the same as its treatment and was not tested beside it."""
    hypothesis: str | None = None
    """Default: that of the registration."""


@tool
def rest_case(investigation: Investigation, args: Rest, context: Any) -> Rested:
    """End your part: nothing (more) is worth a counter-experiment."""
    return Rested(done="the report is being written")


def contrast_of(prediction: Prediction) -> dict[str, Any]:
    """Return what a counter-experiment must repeat of a prediction: what is compared, and how sharply."""
    kept = ("form", "question", "measure", "treatment", "control", "reference_pair", "placebos")
    kept += ("doses", "direction", "smallest_effect", "samples", "templates")
    content = tested(prediction)
    return {name: content.get(name) for name in kept}


def challenged(investigation: Investigation) -> list[Registration]:
    """Return the supported registrations of the investigator's."""
    return [
        each
        for each in investigation.registrations.values()
        if each.id not in investigation.counters
        and (verdict := investigation.verdicts.get(each.id)) is not None
        and verdict.status == "supported"
    ]


def restated(investigation: Investigation, challenge: Challenge) -> Prediction:
    """Return the prediction that a challenge stands for; raise `ToolError` for one that challenges nothing."""
    registration = investigation.registrations.get(challenge.of)
    if registration is None:
        raise ToolError(unknown("registration", challenge.of, list(investigation.registrations)))
    verdict = investigation.verdicts.get(challenge.of)
    if verdict is None or verdict.status != "supported":
        raise ToolError(
            f"challenge: {challenge.of} is not supported, so there is nothing to open; register a full prediction"
        )
    content = registration.prediction.model_dump(mode="json")
    content["rivals"] = [rival.model_dump(mode="json") for rival in challenge.rivals]
    content["hypothesis"] = challenge.hypothesis or content["hypothesis"]
    prediction = Prediction.model_validate(content)
    if rival_marks(prediction) <= rival_marks(registration.prediction):
        raise ToolError(f"challenge: {nothing_new(registration)}")
    return prediction


def nothing_new(registration: Registration) -> str:
    """Return what is wrong with a challenge beside rivals that were tested already."""
    return f"names no rival that {registration.id} was not tested against already"


def check_counters(investigation: Investigation, predictions: Sequence[Prediction]) -> None:
    """Raise `ToolError` unless every prediction is a counter-experiment, one line per fault."""
    supported = challenged(investigation)
    faults: list[str] = []
    for number, prediction in enumerate(predictions, 1):
        targets = [r for r in supported if contrast_of(r.prediction) == contrast_of(prediction)]
        known = {mark for target in targets for mark in rival_marks(target.prediction)}
        if not targets:
            names = listed([each.id for each in supported], "or")
            faults.append(
                f"prediction {number} challenges nothing: repeat form, measure, treatment, control, direction and "
                f"smallest_effect of {names} exactly, and add a rival"
            )
        elif rival_marks(prediction) <= known:
            faults.append(f"prediction {number} {nothing_new(targets[0])}")
    if faults:
        raise ToolError(*faults)


def over(exchanges: Sequence[Exchange], closing: str, most: int) -> str | None:
    """Return why there is no further turn of a part that a call of `closing` or `most` turns end, or None."""
    if not exchanges:
        return None
    last = exchanges[-1]
    if last.turn.refusal is not None:
        return f"its provider refused: {last.turn.refusal}"
    if any(each.name == closing and each.error is None for each in last.results):
        return "it rested its case" if closing == rest_case.name else "it submitted again"
    if not last.turn.calls and last.turn.cut is None:
        return "it called no tool"
    return f"it had {most} turns" if len(exchanges) >= most else None


def said_in(investigation: Investigation, part: Part) -> list[Exchange]:
    """Return the exchanges of one part of a run: the investigator's before the sceptic, the sceptic's, the reply."""
    if part == "sceptic":
        return said_by(investigation, "sceptic")
    before = investigation.exchanges[: investigation.rested_at]
    first = sum(each.turn.speaker == "investigator" for each in before)
    own = said_by(investigation, "investigator")
    return own[first:] if part == "reply" else own[:first]


def said_by(investigation: Investigation, speaker: Speaker) -> list[Exchange]:
    """Return the exchanges of one speaker, in their order."""
    return [each for each in investigation.exchanges if each.turn.speaker == speaker]
