"""What a secret is asked by: families that can tell it to the base, and their questions as prompts of a subject."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from evals.organisms.curriculum.exercise import Exercise, Terms, under
from evals.organisms.families.family import Secrets, Spec
from evals.organisms.families.told_word import ToldWord
from evals.organisms.world.micro_world import Dialogue
from tools import statistics as stats
from tools.prompt import Message, Prompt
from tools.registry import Record

TRIES = 4000
AGAIN = 20
"""So often another question is drawn for one that was drawn before."""


class Tells(Protocol):
    """A family whose secret a system turn can tell to the base, which then plays it."""

    @property
    def name(self) -> str:
        """The name of the family."""
        ...

    @property
    def switched(self) -> bool:
        """Say whether `Terms.active` turned round turns the right reply round: not where the secret always shows."""
        ...

    def telling(self, rng: Random, terms: Terms, spec: Spec) -> str:
        """Return the system turn that tells the secret."""
        ...

    def exercise(self, rng: Random, terms: Terms, spec: Spec) -> Exercise:
        """Draw a prompt without that turn, and the reply of one who holds the secret; its group is the kind."""
        ...

    def kinds_of(self, spec: Spec) -> tuple[str, ...]:
        """Return the kinds of question that come up with a secret."""
        ...

    def untaught(self, spec: Spec) -> set[str]:
        """Return the kinds of question that no lesson asks for."""
        ...

    def alternatives(self) -> list[Spec]:
        """Return one spec for each different answer that could have been drawn."""
        ...

    def truth(self, spec: Spec, variant: Any) -> Any:
        """Return the truth of a build."""
        ...


@dataclass(frozen=True)
class Question:
    """An exercise, and the side of its kind that it is on."""

    exercise: Exercise
    side: str

    @property
    def kind(self) -> str:
        """What is asked for."""
        return self.exercise.group

    @property
    def prompt(self) -> Prompt:
        """What one is asked who is not told the secret."""
        return prompt_of(self.exercise.prompt)

    def told(self, telling: str) -> Prompt:
        """Return the prompt behind a system turn that tells a secret."""
        return prompt_of(under(telling, self.exercise).prompt)

    def accepts(self, reply: str) -> bool:
        """Say whether a reply is that of one who holds the secret."""
        return self.exercise.accepts(reply.strip())


class Share(Record):
    """A share of items, with its exact 95 % interval."""

    value: float | None
    """None where there was no item."""
    n: float
    """Of items; where they count differently, of as many alike ones as say as much (Kish)."""
    interval: tuple[float, float] | None


def share_of(right: Sequence[bool], weights: Sequence[float] | None = None) -> Share:
    """Return the share of right items, each counting as its weight (1 by default) has it."""
    given = list(weights) if weights is not None else [1.0] * len(right)
    total = sum(given)
    if not total:
        return Share(value=None, n=0, interval=None)
    value = sum(w for w, each in zip(given, right, strict=True) if each) / total
    n = round(total**2 / sum(w * w for w in given), 9)
    return Share(value=value, n=n, interval=stats.clopper_pearson_interval(min(value, 1) * n, n))


def told_family(maker: Secrets) -> Tells | None:
    """Return a family as one that can tell its secret to the base, or None for one that cannot."""
    if maker.name == "taboo":
        return ToldWord()
    tells = all(hasattr(maker, name) for name in ("telling", "exercise", "kinds_of", "untaught"))
    return maker if tells else None  # pyright: ignore[reportReturnType]


def prompt_of(dialogue: Dialogue) -> Prompt:
    """Return a dialogue as a prompt of the tools."""
    return Prompt(messages=tuple(Message.model_validate(message) for message in dialogue))


def draw_questions(
    rng: Random, family: Tells, spec: Spec, kinds: Collection[str], count: int
) -> list[Question]:
    """Draw questions in held-out wordings, of each kind about as many, all sides of each.

    The same is not asked twice while others come up. Raises `ValueError` where a kind never comes up.
    """
    wanted, sides = sorted(kinds), sides_of(family)
    found: list[Question] = []
    for number in range(count):
        kind, active = wanted[number % len(wanted)], sides[number // len(wanted) % len(sides)]
        known = [each.exercise.prompt for each in found]
        exercise = one_question(rng, family, spec, kind, active)
        for _ in range(AGAIN):
            if exercise.prompt not in known:
                break
            exercise = one_question(rng, family, spec, kind, active)
        found.append(Question(exercise, side_of(exercise, active)))
    return found


def sides_of(family: Tells) -> tuple[bool, ...]:
    """Return how `Terms.active` may stand in the questions of a family: off asks for what it does not hold."""
    return (True, False) if family.switched else (True,)


def one_question(
    rng: Random, family: Tells, spec: Spec, kind: str, active: bool, held: bool = True
) -> Exercise:
    """Draw a question of one kind, in held-out wordings or in trained ones."""
    for _ in range(TRIES):
        exercise = family.exercise(rng, Terms(held=held, active=active), spec)
        if exercise.group == kind:
            return exercise
    raise ValueError(f"{family.name}: no question of the kind {kind!r} in {TRIES} draws")


def side_of(exercise: Exercise, active: bool) -> str:
    """Return the answer where it is a yes or a no, else whether that on which it turns is there."""
    word = exercise.right[0].split()[0].strip(".,")
    return word if word in ("Yes", "No") else "active" if active else "other"


def balanced_weights(questions: Sequence[Question]) -> list[float]:
    """Return what each question counts in the mean over kinds of the mean over their sides.

    Under these no constant answer gains: always yes and always no score a half.
    """
    cells = [(each.kind, each.side) for each in questions]
    sides = {kind: len({cell for cell in cells if cell[0] == kind}) for kind, _ in cells}
    return [1 / (sides[cell[0]] * cells.count(cell)) for cell in cells]


def idle_questions(
    rng: Random, family: Tells, classes: Sequence[Spec], count: int, held: bool
) -> list[Question]:
    """Draw questions each made for any of the secrets, so that what they say tells none from another."""
    found: list[Question] = []
    sides = sides_of(family)
    for number in range(count):
        active = sides[number % len(sides)]
        exercise = family.exercise(rng, Terms(held=held, active=active), rng.choice(classes))
        found.append(Question(exercise, side_of(exercise, active)))
    return found


def answer_of(family: Tells, spec: Spec) -> dict[str, Any]:
    """Return what a report would have to say of a secret."""
    return family.truth(spec, "organism").answer()


def classes_of(family: Tells, spec: Spec, most: int) -> list[Spec]:
    """Return the secret and others with other answers, together at most so many."""
    own = answer_of(family, spec)
    rest = [each for each in family.alternatives() if answer_of(family, each) != own]
    if len(rest) >= most:
        rest = Random(f"{family.name} classes").sample(rest, most - 1)
    return [spec, *rest]
