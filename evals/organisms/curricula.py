"""The curricula by name: what a base is trained on, its vocabulary, and how it is asked what it can do."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from evals.organisms import corpus, skills
from evals.organisms.chat import Speaker
from evals.organisms.curriculum import mixture, scoring, vocabulary
from evals.organisms.tokenizer import VOCABULARY, Words, concept_words, opening_words
from evals.organisms.world import Dialogue


class Report(Protocol):
    """How a model is asked what it can do."""

    def __call__(
        self, speaker: Speaker, count: int, keeps: skills.Keeps = skills.every
    ) -> dict[str, list[float]]:
        """Return the scores by skill, on so many items each, less those with a prompt not to keep."""
        ...


@dataclass(frozen=True)
class Curriculum:
    """What one base is trained on."""

    batch: Callable[[Random, int, int], list[Dialogue]]
    """The dialogues of a training step: a random source, how many, and the step."""
    report: Report
    words: Callable[[], Words]
    """What its tokenizer is trained on."""


def first_words() -> Words:
    """Return the words of the shipped base's tokenizer."""
    return Words(VOCABULARY, concept_words(), opening_words(), lambda rng, _: corpus.draw(rng))


def second_words() -> Words:
    """Return the words of the next base's tokenizer; its text is of all phases in turn."""
    starts = [phase.start for phase in mixture.PHASES]
    return Words(
        vocabulary.VOCABULARY,
        sorted({*concept_words(), *vocabulary.concept_words()}),
        sorted({*opening_words(), *vocabulary.opening_words()}),
        lambda rng, n: mixture.one(rng, step=starts[n % len(starts)]),
    )


def first_report(
    speaker: Speaker, count: int, keeps: skills.Keeps = skills.every
) -> dict[str, list[float]]:
    """Return the scores of the first curriculum's skills."""
    return skills.report(speaker, count, keeps=keeps)


def second_report(
    speaker: Speaker, count: int, keeps: skills.Keeps = skills.every
) -> dict[str, list[float]]:
    """Return the scores of the first curriculum's skills that are kept, and of the second's own."""
    kept = {
        f"first {name}": scores
        for name, scores in skills.report(speaker, count, keeps=keeps).items()
        if name not in ("number_rule", "stop_rule", "fact")
    }
    return kept | scoring.report(speaker, count, keeps=keeps)


CURRICULA = {
    "first": Curriculum(corpus.batch, first_report, first_words),
    "second": Curriculum(mixture.batch, second_report, second_words),
}
