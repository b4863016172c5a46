"""The standing rivals: explanations that every effect of an edit has to beat, added by the harness.

An edit of a prompt changes its length, its wording and its topic beside the one thing it was made
for. So the harness adds arms that change those and not that: a no-op edit of the same length, an
off-topic context, and other levels of the same factor. A rival whose arm does what the treatment
does survives, and then the cause is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from agent.population import Population
from agent.prediction import Prediction, Rival
from tools.neutral import of_length
from tools.prompt import Arm, ChooseLevel, InsertText, SetSlot, Transform

MOST_PLACEBO_LEVELS = 2
STANDING: tuple[tuple[str, Literal["neutral", "off_topic"]], ...] = (
    ("a no-op edit of the same length", "neutral"),
    ("an off-topic context", "off_topic"),
)


def edit_length(edits: tuple[Transform, ...], population: Population) -> int:
    """Return about how many words the edits put into a prompt; at least 4, for edits that add none."""
    longest = 4
    for edit in edits:
        counts = sorted(len(text.split()) for text in texts_of((edit,), population))
        if counts:
            longest = max(longest, counts[len(counts) // 2])
    return longest


def texts_of(edits: tuple[Transform, ...], population: Population) -> Iterator[str]:
    """Yield the texts that edits put into prompts; of a level its explore values."""
    for edit in edits:
        if isinstance(edit, InsertText):
            yield from edit.texts
        elif isinstance(edit, SetSlot):
            yield from edit.values
        elif isinstance(edit, ChooseLevel):
            slot = population.pools["explore"].slots.get(edit.slot)
            yield from slot.levels.get(edit.level, ()) if slot else ()


def standing_rivals(prediction: Prediction, population: Population) -> tuple[Rival, ...]:
    """Return the rivals that the harness adds to an effect of an edit; none for other contrasts.

    They apply where treatment and control are the same model on different prompts. Interventions
    on activations bring their own matched placebos (form `rank`), and a claim of no effect or of
    mere occurrence has no cause to be mistaken about.
    """
    if prediction.form not in ("difference", "trend"):
        return ()
    treatment, control = extremes(prediction)
    if control is None or treatment.model != control.model:
        return ()
    if treatment.intervention is not None or treatment.edits == control.edits:
        return ()
    own = tuple(edit for edit in treatment.edits if edit not in control.edits)
    words = edit_length(own, population)
    inserted = next((each for each in own if isinstance(each, InsertText)), None)
    where = inserted.where if inserted else "before"
    beside = [*population.level_texts(), *texts_of(treatment.edits, population)]
    rivals = [
        Rival(
            name=name,
            arm=with_edit(
                control, name, InsertText(where=where, texts=of_length(texts, words, beside))
            ),
            standing=True,
        )
        for name, texts in STANDING
    ]
    if prediction.form == "trend":
        return tuple(rivals)
    return (*rivals, *placebo_levels(treatment, control, population))


def extremes(prediction: Prediction) -> tuple[Arm, Arm | None]:
    """Return the arms an effect lies between: treatment and control, or highest and lowest dose."""
    if prediction.form != "trend":
        return prediction.treatment, prediction.control
    steps = sorted(prediction.doses, key=lambda step: step.dose)
    return steps[-1].arm, steps[0].arm


def with_edit(arm: Arm, name: str, edit: Transform) -> Arm:
    """Return the arm with one more edit at the end."""
    return arm.model_copy(update={"name": name, "edits": (*arm.edits, edit)})


def placebo_levels(treatment: Arm, control: Arm, population: Population) -> tuple[Rival, ...]:
    """Return arms with other levels of the factor that the treatment sets: the matched placebo concept.

    A level that both arms set is the background of a contrast, not its treatment: beside another background the
    treatment would still be there.
    """
    levels = {edit.slot: edit.level for edit in control.edits if isinstance(edit, ChooseLevel)}
    rivals: list[Rival] = []
    for place, edit in enumerate(treatment.edits):
        if not isinstance(edit, ChooseLevel) or edit in control.edits:
            continue
        others = [
            level
            for level in population.levels(edit.slot)
            if level not in (edit.level, levels.get(edit.slot))
        ]
        for level in others[:MOST_PLACEBO_LEVELS]:
            name = f"the placebo level {edit.slot} = {level}"
            edits = list(treatment.edits)
            edits[place] = edit.model_copy(update={"level": level})
            arm = treatment.model_copy(update={"name": name, "edits": tuple(edits)})
            rivals.append(Rival(name=name, arm=arm, standing=True))
    return tuple(rivals)
