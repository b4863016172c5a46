"""How far a finding goes: what it may be called, what it is said of, and what a reader should hold against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from agent.case import Case
from agent.investigation import Investigation
from agent.judge import warning_of
from agent.population import GENERAL_CLAIM
from agent.prediction import Prediction, Registration
from agent.template_choice import templates_of
from agent.verdict import Verdict
from agent.wording import listed, name, where, words
from tools.measures import AnswerMatch, JudgedMeasure, is_rate
from tools.prompt import AblateDirection, ChooseLevel, PatchFrom, Steer
from tools.scoring import neither_share

Level = Literal["decodable", "controls", "contributes", "mediates"]
"""How much an experiment inside the model may claim, the weakest first; none for contrasts of prompts."""

LEVEL_WORDS: dict[Level, str] = {
    "decodable": "The information can be read there; whether the model uses it is not shown.",
    "controls": "The direction can control the behaviour; whether the model uses it is not shown.",
    "contributes": "The direction contributes to the behaviour on natural inputs.",
    "mediates": "The activations at that place carry the difference between these prompts.",
}
MATCHED_DIRECTIONS = 20
"""So many matched placebo directions at least before an intervention earns a word."""
REFERENCE_WORDS = {
    "added by training": "added by training: the reference model's effect is below the smallest one asked for",
    "inherited from the reference": "inherited from the reference, which shows the effect too",
    "not settled against the reference": "not settled whether the reference model shows it too",
    "reference not comparable": "the reference model is not comparable here",
}
NO_REFERENCE = "contrasts between prompts only: no reference model was given"
AT_AN_END = 0.02
"""Rates nearer than this to 0 or 1 are told as a limit of a finding; the check that decides has `FLOOR`."""
SIDES_GAP = 0.10
"""Arms whose shares of answers that name neither side differ by more may differ in that alone."""


def level_of(prediction: Prediction) -> Level | None:
    """Return the strongest word that a supported prediction of this kind may earn.

    Steering never earns more than "controls", and no intervention earns a word without matched
    placebos that it beat.
    """
    intervention = prediction.treatment.intervention
    matched = [arm for arm in prediction.placebos if arm.intervention is not None]
    if prediction.form == "skill":
        return "decodable"
    if isinstance(intervention, PatchFrom):
        return "mediates"
    if prediction.form not in ("rank", "localisation") or len(matched) < MATCHED_DIRECTIONS:
        return None
    if isinstance(intervention, AblateDirection):
        return "contributes"
    return "controls" if isinstance(intervention, Steer) else None


def scope_of(
    investigation: Investigation, prediction: Prediction, verdict: Verdict | None
) -> tuple[str, ...]:
    """Return what a finding is said of: the prompts, and what the reference model has to do with it."""
    population = investigation.populations.get(prediction.population)
    said_of = [f"on {population.scope}"] if population else []
    if population and prediction.templates is not None:
        held_out = len(population.usable("confirm", **templates_of(prediction)))
        few = f": of {held_out} held-out ones" if held_out < GENERAL_CLAIM else ""
        said_of.append(f"{where(prediction).removesuffix(', ')} only{few}")
    if investigation.case.reference is None:
        said_of.append(NO_REFERENCE)
    elif (
        verdict is not None and verdict.reference_scope is not None and verdict.status != "refuted"
    ):
        said_of.append(REFERENCE_WORDS[verdict.reference_scope])
    elif prediction.reference_pair:
        said_of.append("against the reference model: a difference of differences")
    return tuple(said_of)


def at_an_end(prediction: Prediction, verdict: Verdict) -> bool:
    """Say whether the arms of a rate are all next to 0 or all next to 1, where little could have changed."""
    rates = [
        value for name in ("treatment", "control") if (value := verdict.arms.get(name)) is not None
    ]
    if not rates or not is_rate(prediction.measure):
        return False
    return max(rates) < AT_AN_END or min(rates) > 1 - AT_AN_END


def limits_of(prediction: Prediction, verdict: Verdict | None) -> tuple[str, ...]:
    """Return what a reader should hold against a finding."""
    if verdict is None:
        return ("its share of the error rate is spent all the same",)
    limits: list[str] = []
    if verdict.unscored:
        limits.append(f"{verdict.unscored} of {verdict.items} prompts could not be scored")
    alive = [words(rival.name) for rival in verdict.rivals if not rival.excluded]
    if alive and verdict.status == "effect shown, cause open":
        limits.append(f"not excluded: {listed(alive, 'and')}")
    if prediction.form == "equivalence" and at_an_end(prediction, verdict):
        limits.append("both arms are at an end of the scale, so that nothing changed says little")
    standing = [rival.name for rival in verdict.rivals if rival.standing]
    if prediction.form == "difference" and not standing:
        limits.append("no standing rival applies to a contrast of this kind")
    if isinstance(prediction.treatment.intervention, PatchFrom):
        limits.append("patched in this direction only; the other is a registration of its own")
    elif prediction.treatment.intervention is not None and level_of(prediction) is None:
        limits.append(
            f"fewer than {MATCHED_DIRECTIONS} matched directions were beaten: another direction may do the same"
        )
    if prediction.samples == 1 and verdict.interval and verdict.interval[0] == verdict.interval[1]:
        limits.append("all templates agree exactly: no spread was seen, which is not certainty")
    return tuple(limits)


def reference_words(case: Case) -> str | None:
    """Return what the reference model is to the subject, in words that name neither; None without one."""
    subject, reference = case.subject, case.reference
    if reference is None:
        return None
    if subject.model != reference.model:
        return "another model, or another checkpoint, than the subject"
    parts: list[str] = []
    if subject.revision != reference.revision:
        parts.append("at another checkpoint")
    if subject.adapter != reference.adapter:
        parts.append(
            "with the adapter off"
            if reference.adapter is None
            else "with another adapter"
            if subject.adapter
            else "with an adapter that the subject lacks"
        )
    if subject.system != reference.system:
        parts.append(
            "without its hidden system prompt"
            if reference.system is None
            else "with another hidden system prompt"
        )
    if subject.chat_template_arguments != reference.chat_template_arguments:
        parts.append("with other settings of its chat template")
    if not parts:
        return "the same model again: nothing that could make a difference was said to differ"
    return f"the same model {listed(parts, 'and')}"


def sides_limit(
    prediction: Prediction, table: Mapping[str, Sequence[dict[str, Any]]]
) -> tuple[str, ...]:
    """Return a limit when many more answers of one arm than of the other name neither side."""
    if not isinstance(prediction.measure, AnswerMatch):
        return ()
    shares = [
        neither_share(prediction.measure, table.get(arm, ())) for arm in ("treatment", "control")
    ]
    treated, untreated = shares
    if treated is None or untreated is None or abs(treated - untreated) <= SIDES_GAP:
        return ()
    return (
        f"{100 * untreated:.0f} % of control answers and {100 * treated:.0f} % of treatment answers name neither "
        "side, and score 0: part of the effect may be in whether it answers at all",
    )


def untested_levels(investigation: Investigation, registration: Registration) -> str:
    """Return which levels of the factor that a prediction sets were tested as causes, and what became of the others.

    Empty when every level was. One that stood as a rival only was tested, and excluded or not; what no prediction
    set at all was not tested.
    """
    prediction = registration.prediction
    population = investigation.populations.get(prediction.population)
    lines: list[str] = []
    for slot, own in levels_set(prediction).items():
        control = prediction.control.edits if prediction.control else ()
        base = {e.level for e in control if isinstance(e, ChooseLevel) and e.slot == slot}
        tested = {own} | {
            level
            for each in investigation.registrations.values()
            if each.id in investigation.verdicts
            and (level := levels_set(each.prediction).get(slot)) is not None
        }
        every = population.levels(slot) if population else ()
        left = [level for level in every if level not in tested | base]
        excluded = excluded_levels(investigation, prediction, slot)
        parts = {
            "tested as a cause": [level for level in every if level in tested],
            "excluded as rivals": [level for level in left if level in excluded],
            "not tested as causes": [level for level in left if level not in excluded],
        }
        if left:
            told = [f"{how}: {', '.join(map(name, them))}" for how, them in parts.items() if them]
            lines.append(f"Of {name(slot)}, {'; '.join(told)}.")
    return " ".join(lines)


def excluded_levels(investigation: Investigation, prediction: Prediction, slot: str) -> set[str]:
    """Return the levels of a slot that brought less than half of an effect of it, as rivals on the same measure."""
    found: set[str] = set()
    for each in investigation.registrations.values():
        verdict, other = investigation.verdicts.get(each.id), each.prediction
        if verdict is None or verdict.status not in ("supported", "effect shown, cause open"):
            continue
        if other.measure != prediction.measure or slot not in levels_set(other):
            continue
        for rival, outcome in zip(other.rivals, verdict.rivals, strict=False):
            if outcome.excluded and rival.arm is not None:
                found |= {
                    edit.level
                    for edit in rival.arm.edits
                    if isinstance(edit, ChooseLevel) and edit.slot == slot
                }
    return found


def levels_set(prediction: Prediction) -> dict[str, str]:
    """Return the levels that a treatment sets and its control does not, by slot."""
    control = prediction.control.edits if prediction.control else ()
    return {
        edit.slot: edit.level
        for edit in prediction.treatment.edits
        if isinstance(edit, ChooseLevel) and edit not in control
    }


def judge_limits(investigation: Investigation, prediction: Prediction) -> tuple[str, ...]:
    """Return what to hold against the judges of a judged measure."""
    warning = warning_of(investigation.judges)
    judged = isinstance(prediction.measure, JudgedMeasure)
    return (warning,) if judged and warning else ()
