"""Which templates a prediction is about: those that show what its edits need and what it was registered for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from agent.population import Population
from agent.prediction import Prediction
from tools.prompt import ChooseLevel, FormatNumbers, SetSlot, SwapSlots
from tools.registry import unknown


class Shown(TypedDict):
    """The slots by which templates are chosen, as `Population.usable` and `draw` take them."""

    slots: tuple[str, ...]
    without: tuple[str, ...]


def templates_of(prediction: Prediction) -> Shown:
    """Return which templates are clusters of a prediction, in every draw of it."""
    choice = prediction.templates
    slots = (*edited_slots(prediction), *(choice.showing if choice else ()))
    return Shown(slots=tuple(dict.fromkeys(slots)), without=choice.hiding if choice else ())


def told_templates(prediction: Prediction) -> str:
    """Return which templates these are, as " that show a, b and do not show c"; empty for all."""
    shown = templates_of(prediction)
    parts = [f"show {', '.join(shown['slots'])}"] if shown["slots"] else []
    parts += [f"do not show {', '.join(shown['without'])}"] if shown["without"] else []
    return f" that {' and '.join(parts)}" if parts else ""


def choice_faults(prediction: Prediction, population: Population) -> Iterator[str]:
    """Yield what is wrong with a choice of templates, before anything is drawn."""
    choice = prediction.templates
    if choice is None:
        return
    known = sorted(set[str]().union(*map(population.shown, population.templates)))
    strange = [slot for slot in (*choice.showing, *choice.hiding) if slot not in known]
    if strange:
        yield unknown("slot of `templates`", strange[0], known or ["none"])
    elif len(population.usable("explore", **templates_of(prediction))) < 2:
        yield (
            f"fewer than two explore templates{told_templates(prediction)}: nothing can be tried out there, so choose "
            "other `templates` or leave the choice out"
        )


def edited_slots(prediction: Prediction) -> tuple[str, ...]:
    """Return the slots that treatment, control or doses edit: only templates that show them are clusters."""
    arms = [prediction.treatment, *([prediction.control] if prediction.control else [])]
    arms = [step.arm for step in prediction.doses] if prediction.form == "trend" else arms
    found: list[str] = []
    for edit in (edit for arm in arms for edit in arm.edits):
        match edit:
            case SetSlot() | ChooseLevel():
                found.append(edit.slot)
            case SwapSlots() | FormatNumbers():
                found += edit.slots
            case _:
                continue
    return tuple(dict.fromkeys(found))
