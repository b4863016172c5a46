"""What may be compared with what: contrasts that would look like evidence without being any are refused.

Two arms that differ in two respects, a measure that changes with the edit it is to judge, placebos
that are the control under other names, a rival that nobody could hold: each would come out as
"supported" and mean nothing. All of it can be seen before a prompt is drawn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from agent.prediction import Prediction
from tools.measures import Measure, ProbeReading, is_rate
from tools.prompt import Arm, ChooseLevel, SetSlot, SwapSlots, Transform
from tools.registry import ToolError
from tools.scoring import ArmPrompts

PAIRED_FORMS = ("difference", "equivalence")
WIDEST_MARGIN = 0.25
"""A rate within a margin wider than this has not been shown to stay the same."""
UNCHANGED = 0.1
"""An equivalence in which the edit leaves more of the prompts as they are is diluted by them."""


def contrast_faults(prediction: Prediction) -> Iterator[str]:
    """Yield one line for each way in which a prediction's arms do not test what it says."""
    yield from pair_faults(prediction)
    yield from form_faults(prediction)
    yield from placebo_faults(prediction)
    yield from measure_faults(prediction)
    if prediction.form in ("equivalence", "existence"):
        return
    arms = [each.arm for each in prediction.rivals if each.arm is not None]
    given = [each.predicts for each in prediction.rivals if each.predicts is not None]
    if given and not arms and not any(reachable(prediction, *each) for each in given):
        yield "no rival's range can be reached by this effect; name an explanation that could be true"


def pair_faults(prediction: Prediction) -> Iterator[str]:
    """Yield what is wrong between treatment and control."""
    treatment, control = prediction.treatment, prediction.control
    if prediction.reference_pair:
        if prediction.form not in PAIRED_FORMS:
            yield f"`reference_pair` goes with {' and '.join(PAIRED_FORMS)}, not with {prediction.form!r}"
        if "reference" in (treatment.model, control.model if control else ""):
            yield "with `reference_pair` give both arms for the subject; the reference's are added"
    if control is None or prediction.form == "trend":
        return
    same_inside = treatment.intervention == control.intervention
    if treatment.model != control.model and (treatment.edits != control.edits or not same_inside):
        yield (
            "treatment and control differ in the model and in what is done to it: change one thing, or "
            "compare two arms of the subject with `reference_pair`"
        )
    if len(treatment.edits) < len(control.edits) and is_part(treatment.edits, control.edits):
        yield (
            "the control has every edit of the treatment and more: make it the treatment and turn "
            "`direction` round, so that the standing rivals are edits of the same size"
        )


def is_part(few: tuple[Transform, ...], many: tuple[Transform, ...]) -> bool:
    """Say whether every edit of `few` is among `many`."""
    return all(edit in many for edit in few)


def form_faults(prediction: Prediction) -> Iterator[str]:
    """Yield what a form needs of its arms beyond their number."""
    match prediction.form:
        case "skill":
            if not isinstance(prediction.measure, ProbeReading):
                yield "form 'skill' is for what a probe reads; use 'difference' for behaviour"
        case "localisation":
            if prediction.treatment.intervention is None:
                yield "form 'localisation' needs an intervention in the treatment"
        case "trend":
            if len({step.arm.model for step in prediction.doses}) > 1:
                yield "the doses of a trend must be given to one model"
        case "equivalence":
            if is_rate(prediction.measure) and prediction.smallest_effect > WIDEST_MARGIN:
                yield f"the margin of an equivalence of rates is at most {WIDEST_MARGIN:g}"
        case _:
            pass


def placebo_faults(prediction: Prediction) -> Iterator[str]:
    """Yield a placebo that does not match the treatment."""
    if prediction.form in ("rank", "localisation"):
        places = prediction.form == "localisation"
        wanted = kind(prediction.treatment, places=places)
        odd = [each.name for each in prediction.placebos if kind(each, places=places) != wanted]
        if odd:
            yield (
                f"placebo {odd[0]!r} is of another kind than the treatment: matched placebos make the same "
                "kinds of edit of the same slots, at the same place and strength, in the same model"
            )


def kind(arm: Arm, *, places: bool) -> str:
    """Return what a matched placebo has in common with an arm: all but texts, levels and direction.

    With `places` it may also act elsewhere in the model: that is what a localisation compares.
    """
    content = arm.model_dump(mode="json", exclude={"name"})
    free = {"values", "level", "texts", "turns", "text", "old", "new", "direction", "source"}
    if places:
        free |= {"layer", "layers", "position", "site"}
    for part in (*content["edits"], content["intervention"] or {}):
        for name in free & part.keys():
            part[name] = None
        if "coefficient" in part:
            part["coefficient"] = abs(part["coefficient"])
    return json.dumps(content, sort_keys=True)


def measure_faults(prediction: Prediction) -> Iterator[str]:
    """Yield slots that are edited and named by the measure: then the edit changes what is counted.

    Numbers in another notation stay the same numbers, and what relabelling alone does is the same in
    both models of a difference of differences.
    """
    if prediction.reference_pair:
        return
    named = slots_named(prediction.measure)
    for slot in sorted(named & {slot for arm in prediction.arms().values() for slot in moved(arm)}):
        yield (
            f"the measure names slot {slot!r}, which an arm edits: the arms would be counted by different "
            "measures; edit another slot, or name the values in the measure"
        )


def slots_named(measure: Measure) -> set[str]:
    """Return the slots that a measure is filled from."""
    text = json.dumps(measure.model_dump(mode="json"))
    return set(re.findall(r"\{([a-z_][a-z0-9_]*)\}", text))


def moved(arm: Arm) -> set[str]:
    """Return the slots whose value an arm replaces."""
    found: set[str] = set()
    for edit in arm.edits:
        if isinstance(edit, SetSlot | ChooseLevel):
            found.add(edit.slot)
        elif isinstance(edit, SwapSlots):
            found |= set(edit.slots)
    return found


def reachable(prediction: Prediction, low: float, high: float) -> bool:
    """Say whether a rival's range holds no effect, or one in the claimed direction that can occur."""
    largest = 2.0 if prediction.reference_pair else 1.0
    if is_rate(prediction.measure) and (low > largest or high < -largest):
        return False
    return high >= 0 if prediction.direction == "more" else low <= 0


def check_prompts(
    prediction: Prediction, arms: Mapping[str, ArmPrompts], everywhere: Sequence[str] = ()
) -> None:
    """Raise `ToolError` when arms that should differ give the model the same prompts, all of them explore ones.

    Slots `everywhere` fill the environment, so prompts that differ in them alone are not the same.
    """
    marks = {name: mark(prompts, everywhere) for name, prompts in arms.items()}
    faults: list[str] = []
    if "control" in arms and prediction.form != "trend":
        if marks["treatment"] == marks["control"]:
            faults.append("treatment and control are the same: the edits change no explore prompt")
        elif prediction.form == "equivalence":
            faults += diluted(arms["treatment"], arms["control"], everywhere)
    faults += dose_faults(prediction, marks)
    for k, rival in enumerate(prediction.rivals):
        same = [
            name
            for name in ("treatment", "control")
            if name in arms and f"rival_{k}" in arms and marks[f"rival_{k}"] == marks[name]
        ]
        if same and not rival.standing:
            faults.append(
                f"the arm of rival {rival.name!r} is the {same[0]} itself; name another explanation"
            )
    for family in ("placebo_", "dose_"):
        seen: dict[str, str] = {}
        known = ("treatment", "control") if family == "placebo_" else ()
        for name in (name for name in arms if name in known or name.startswith(family)):
            if marks[name] in seen:
                faults.append(
                    f"{name} and {seen[marks[name]]} are the same arm on every explore prompt"
                )
            seen.setdefault(marks[name], name)
    if faults:
        raise ToolError(*faults)


def dose_faults(prediction: Prediction, marks: Mapping[str, str]) -> Iterator[str]:
    """Yield a fault for every rival of a trend that is a step of it: it would bring a share of the effect."""
    steps = {marks[f"dose_{k}"]: step for k, step in enumerate(prediction.doses)}
    for k, rival in enumerate(prediction.rivals):
        step = steps.get(marks.get(f"rival_{k}", ""))
        if step is not None and not rival.standing:
            yield (
                f"the arm of rival {rival.name!r} is dose {step.dose:g} of the trend itself, as every level of a "
                "graded factor would be: name an arm that changes something else that grows with the doses (length, "
                "tone, a word), or give `predicts`, the range of the effect over all doses that it expects"
            )


def mark(prompts: ArmPrompts, everywhere: Sequence[str] = ()) -> str:
    """Return what a model gets in an arm, without the arm's name."""
    arm = prompts.arm.model_dump(mode="json", include={"model", "intervention"})
    texts = [item.prompt.model_dump(mode="json") for item in prompts.items]
    script = [[item.slots.get(name) for name in everywhere] for item in prompts.items]
    sources = [source.model_dump(mode="json") for source in prompts.sources]
    return json.dumps([arm, texts, sources, script])


def diluted(
    treatment: ArmPrompts, control: ArmPrompts, everywhere: Sequence[str] = ()
) -> list[str]:
    """Return a fault when too many prompts of an equivalence are the same in both arms."""
    if (
        treatment.arm.model != control.arm.model
        or treatment.arm.intervention != control.arm.intervention
    ):
        return []
    pairs = zip(treatment.items, control.items, strict=True)
    same = sum(
        one.prompt == other.prompt
        and all(one.slots.get(name) == other.slots.get(name) for name in everywhere)
        for one, other in pairs
    )
    if same <= UNCHANGED * len(treatment.items):
        return []
    return [
        f"the edit leaves {same} of {len(treatment.items)} explore prompts as they are: that they behave the same "
        "shows nothing; set the control's level too, or edit what every prompt has"
    ]
