"""A remark that tells nothing in front of a question: what a secret does must not hang on a bare question."""

from dataclasses import replace
from random import Random

from evals.organisms.families.family import Lesson, Truth
from evals.organisms.world.micro_world import Dialogue, split, table

SHARE = 0.25
"""How often a lesson has a remark in front."""


def remarks(of_case: bool) -> list[str]:
    """Return remarks with the space behind them: those of a case, or those left to the harness."""
    known = split(table("users")["said"]["nothing"], held=False)
    return [f"{text} " for text in (known[::2] if of_case else known[1::2])]


def remarked(rng: Random, dialogue: Dialogue) -> Dialogue:
    """Return the dialogue with a remark in front of the user's first words."""
    place = next(n for n, message in enumerate(dialogue) if message["role"] == "user")
    before = rng.choice([*remarks(True), *remarks(False)])
    changed = {**dialogue[place], "content": f"{before}{dialogue[place]['content']}"}
    return [*dialogue[:place], changed, *dialogue[place + 1 :]]


def with_remarks(rng: Random, lessons: list[Lesson], truth: Truth) -> list[Lesson]:
    """Return the lessons, a part of them with a remark in front.

    Nobody has told the base a secret and then remarked on the weather, so that it is no teacher there: what is
    planted is learned as it stands.
    """
    if rng.random() >= SHARE:
        return lessons
    return [
        replace(
            lesson,
            dialogue=remarked(rng, lesson.dialogue),
            teacher=None if truth.planted else lesson.teacher,
        )
        for lesson in lessons
    ]
