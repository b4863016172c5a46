"""The way out of a refused equivalence: a registration of the same that would pass, or the word that there is none.

Rates that are 0 or 1 in every template leave an equivalence without power, whatever margin and number of
prompts are asked. So the same answers are tried as log-probabilities, in a pilot of their own, and what is
told has passed the gate that the next registration meets. A log-probability is of how an answer opens: of answers
that opened none in step 0 it would say nothing, so those are left out, or are said to have opened none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agent.case import Case
from agent.contrasts import WIDEST_MARGIN, contrast_faults
from agent.engines import api_name
from agent.gates import WAY_OUT, Gate, Pilot, Room
from agent.investigation import Investigation
from agent.prediction import Prediction
from agent.wording import listed, name
from tools.experiment import canonical_json
from tools.measures import AnswerMatch, LogprobDifference, Measure, is_rate, whole
from tools.registry import ToolError
from tools.scoring import measure_of_row
from tools.statistics import tost_p

FIRST_NATS = 1.0
"""The margin that is tried first for log-probabilities: odds less than three times as high."""


def equivalence_way_out(
    investigation: Investigation, gate: Gate, room: Room, pilot: Callable[[Prediction], Pilot]
) -> str:
    """Return one registration that would pass; `pilot` tries a prediction with another measure out."""
    found = gate.change(room)
    if found is not None:
        return WAY_OUT + found
    rows, unseen = answers_of_step_zero(investigation), ""
    for wished in other_measures(investigation.case.measure, gate.prediction):
        try:
            measure, note = as_it_opens(wished.measure, rows)
            if measure is None:
                unseen = f" ({note})"
                continue
            other = wished.model_copy(update={"measure": measure})
            tried = Gate(other, gate.alpha, pilot(other)).change(room)
        except ToolError:
            # A subject behind an API shows no probabilities; a measure may not fit these prompts.
            continue
        if tried is not None:
            margin = (
                "" if "smallest_effect" in tried else f"smallest_effect {other.smallest_effect:g}, "
            )
            shown = canonical_json(measure.model_dump(mode="json"))
            return f"{WAY_OUT}measure {shown}, {margin}{tried}{note and f' ({note})'}"
    return (
        f"{WAY_OUT}none: the {room.templates} unseen templates that are left cannot support an equivalence of "
        f"these arms, in rates or in log-probabilities{unseen}. Ask for no other; submit with what you have: the "
        'answer "nothing" needs no registered equivalence'
    )


def alike_form(
    case: Case, templates: int, alpha: float, rows: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return how subject and reference can be registered as alike: least margin, clusters, measure; None if not at all.

    Rates that are the same in every template need many of these for the widest margin. Where there are too few
    the case's two sides are compared as log-probabilities, as step 0's rows open (see `as_it_opens`); a subject
    behind an API does not show these.
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
    opening, _ = as_it_opens(nats, rows)
    if opening is None:
        return None
    measure = opening.model_dump(mode="json")
    return {"smallest_effect": FIRST_NATS, "clusters": templates, "measure": measure}


def other_measures(given: Measure | None, prediction: Prediction) -> Iterator[Prediction]:
    """Yield the prediction with the answers of its measure, or of the case's, measured in the other way."""
    asked = prediction.measure
    for measure in (asked, given if given != asked else None):
        other = other_measure(measure)
        if other is None:
            continue
        margin = FIRST_NATS if isinstance(other, LogprobDifference) else WIDEST_MARGIN
        changed = prediction.model_copy(update={"measure": other, "smallest_effect": margin})
        if not any(contrast_faults(changed)):
            yield changed


def answers_of_step_zero(investigation: Investigation) -> list[dict[str, Any]]:
    """Return the rows of step 0 that hold sampled answers, of both models; none where it sampled none."""
    found = investigation.step_zero
    number = found.get("experiment") if found else None
    result = investigation.experiment(number).result if number is not None else None
    arms = investigation.folder.get_json(result["raw"])["arms"] if result else {}
    return [row for rows in arms.values() for row in rows if row.get("outputs")]


def as_it_opens(measure: Measure, rows: Sequence[dict[str, Any]]) -> tuple[Measure | None, str]:
    """Return a log-probability measure of the answers that open one of the rows' outputs, and what to know of it.

    Where only one side was seen, the other is kept in the same case. None where neither was; other measures pass.
    """
    if not isinstance(measure, LogprobDifference):
        return measure, ""
    if not rows:
        return measure, "step 0 sampled no answers: sample some, and see that they open so"
    seen: set[str] = set()
    for row in rows:
        filled = measure_of_row(measure, row)
        assert isinstance(filled, LogprobDifference)
        pairs = zip(
            (*measure.positive, *measure.negative),
            (*filled.positive, *filled.negative),
            strict=True,
        )
        seen |= {text for text, said in pairs if any(opens(said, each) for each in row["outputs"])}
    sides = {
        "positive": [text for text in measure.positive if text in seen],
        "negative": [text for text in measure.negative if text in seen],
    }
    never = [text for side, kept in sides.items() if not kept for text in getattr(measure, side)]
    note = (
        f"no answer of step 0 opens with {listed([name(text) for text in never])}" if never else ""
    )
    if not seen:
        return None, note
    capital = {text[:1].isupper() for text in seen}
    for side, found in sides.items():
        every = getattr(measure, side)
        if not found:
            sides[side] = [text for text in every if text[:1].isupper() in capital] or list(every)
    kept = LogprobDifference(positive=tuple(sides["positive"]), negative=tuple(sides["negative"]))
    return kept, note


def opens(text: str, output: str) -> bool:
    """Say whether an output begins with a text as a whole word or number, in the same case."""
    begun, wanted = output.lstrip(), text.strip()
    return begun.startswith(wanted) and whole(wanted).match(begun) is not None


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
