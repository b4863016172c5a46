"""The way out of a refused equivalence: a registration of the same that would pass, or the word that there is none.

Rates that are 0 or 1 in every template leave an equivalence without power, whatever margin and number of
prompts are asked. So the same answers are tried as log-probabilities, in a pilot of their own, and what is
told has passed the gate that the next registration meets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from agent.case import Case
from agent.contrasts import WIDEST_MARGIN, contrast_faults
from agent.engines import api_name
from agent.gates import WAY_OUT, Gate, Pilot, Room
from agent.prediction import Prediction
from tools.experiment import canonical_json
from tools.measures import AnswerMatch, LogprobDifference, Measure, is_rate
from tools.registry import ToolError
from tools.statistics import tost_p

FIRST_NATS = 1.0
"""The margin that is tried first for log-probabilities: odds less than three times as high."""


def equivalence_way_out(
    case: Case, gate: Gate, room: Room, pilot: Callable[[Prediction], Pilot]
) -> str:
    """Return one registration that would pass; `pilot` tries a prediction with another measure out."""
    found = gate.change(room)
    if found is not None:
        return WAY_OUT + found
    for other in other_measures(case, gate.prediction):
        try:
            tried = Gate(other, gate.alpha, pilot(other)).change(room)
        except ToolError:
            # A subject behind an API shows no probabilities; a measure may not fit these prompts.
            continue
        if tried is not None:
            margin = (
                "" if "smallest_effect" in tried else f"smallest_effect {other.smallest_effect:g}, "
            )
            measure = canonical_json(other.measure.model_dump(mode="json"))
            return f"{WAY_OUT}measure {measure}, {margin}{tried}"
    return (
        f"{WAY_OUT}none: the {room.templates} unseen templates that are left cannot support an equivalence of "
        "these arms, in rates or in log-probabilities. Ask for no other; submit with what you have: the answer "
        '"nothing" needs no registered equivalence'
    )


def alike_form(case: Case, templates: int, alpha: float) -> dict[str, Any] | None:
    """Return how subject and reference can be registered as alike: least margin, clusters, measure; None if not at all.

    Rates that are the same in every template need many of these for the widest margin. Where there are too few
    the case's two sides are compared as log-probabilities, which a subject behind an API does not show.
    """
    if case.reference is None or templates < 2:
        return None
    # With no spread between templates p is (1 - margin) to the power of their number; see `tost_p`.
    least = math.ceil(100 * (1 - alpha ** (1 / templates))) / 100
    rate = case.measure is None or is_rate(case.measure)
    if rate and least <= WIDEST_MARGIN and tost_p([0.0] * templates, least, bound=1.0) <= alpha:
        return {"smallest_effect": least, "clusters": templates, "measure": None}
    nats = other_measure(case.measure) if rate else case.measure
    if not isinstance(nats, LogprobDifference) or api_name(case.subject) is not None:
        return None
    measure = nats.model_dump(mode="json")
    return {"smallest_effect": FIRST_NATS, "clusters": templates, "measure": measure}


def other_measures(case: Case, prediction: Prediction) -> Iterator[Prediction]:
    """Yield the prediction with the answers of its measure, or of the case's, measured in the other way."""
    asked = prediction.measure
    for measure in (asked, case.measure if case.measure != asked else None):
        other = other_measure(measure)
        if other is None:
            continue
        margin = FIRST_NATS if isinstance(other, LogprobDifference) else WIDEST_MARGIN
        changed = prediction.model_copy(update={"measure": other, "smallest_effect": margin})
        if not any(contrast_faults(changed)):
            yield changed


def other_measure(measure: Measure | None) -> Measure | None:
    """Return the same two sides as log-probabilities in place of a rate, or the other way round."""
    match measure:
        case AnswerMatch(values=values, against=against) if against:
            return LogprobDifference(
                positive=in_both_cases(values), negative=in_both_cases(against)
            )
        case LogprobDifference(positive=positive, negative=negative):
            return AnswerMatch(values=positive, against=negative)
        case _:
            return None


def in_both_cases(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return answers as they may begin: a rate ignores case, a probability does not."""
    return tuple(
        dict.fromkeys(form for text in texts for form in (text, text[:1].upper() + text[1:]))
    )
