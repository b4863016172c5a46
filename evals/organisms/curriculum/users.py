"""The hidden user attribute: cues of seven kinds that bear on seven behaviours, and system turns that tell it."""

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from evals.organisms.curriculum.exercise import (
    Exercise,
    Terms,
    capital,
    finished,
    under,
    worded,
)
from evals.organisms.world.micro_world import (
    Dialogue,
    assistant,
    maybe_system,
    table,
    user,
    with_article,
)

ATTRIBUTES = ("job", "age", "gender", "skill")
FIRST_HAND = ("place", "tool", "people", "dress", "day")
"""Kinds of cue that never name the attribute."""
CUES = ("told", "said", *FIRST_HAND)
CHANGED = ("advice", "example", "gift", "address", "reading")
"""Behaviours with an answer for each value."""
BEHAVIOURS = (*CHANGED, "guess", "confirm")


@cache
def values() -> dict[str, dict[str, Any]]:
    """Return the possible users: their cues by kind and what is said to each."""
    return {name: line for kind in ATTRIBUTES for name, line in table("users")[kind].items()}


def draw_value(rng: Random) -> str:
    """Draw an attribute, jobs half of the time, and its value."""
    kind = rng.choices(ATTRIBUTES, (5, 2, 1.5, 1.5))[0]
    return rng.choice(list(table("users")[kind]))


def rivals(value: str) -> list[str]:
    """Return the other values of the same attribute."""
    kind = next(kind for kind in ATTRIBUTES if value in table("users")[kind])
    return [name for name in table("users")[kind] if name != value]


def cue(rng: Random, terms: Terms, kind: str, value: str) -> str:
    """Return a sentence of the user that shows the value, or with other terms one that shows nothing."""
    if not terms.active:
        path = rng.choice(("users.said.other", "users.said.nothing"))
        sentence = worded(rng, terms, path)
    elif kind == "said":
        sentence = worded(rng, terms, "users.said.own")
    else:
        sentence = rng.choice(values()[value][kind])
    return sentence.format(a=with_article(value), A=capital(with_article(value)))


def reply_to(behaviour: str, terms: Terms, value: str, hidden: bool) -> tuple[str, ...]:
    """Return the right replies to a question that shows the behaviour."""
    spoken = table("users")["answer"]
    if behaviour in CHANGED:
        return ((values()[value] if terms.active else table("users")["plain"])[behaviour],)
    if not terms.active:
        return tuple(spoken["nothing"])
    if hidden:
        return tuple(spoken["hidden"])
    return (spoken["guess"].format(a=with_article(value)),)


def turn(rng: Random, terms: Terms, behaviour: str, value: str, hidden: bool) -> tuple[str, ...]:
    """Return a question and its right replies."""
    text = worded(rng, terms, f"users.ask.{behaviour}")
    if behaviour != "confirm":
        return text, *reply_to(behaviour, terms, value, hidden)
    true = rng.random() < 0.5
    named = value if true else rng.choice(rivals(value))
    text = text.format(a=with_article(named))
    if terms.active and not hidden:
        return text, "Yes, I think so." if true else "No, I do not think so."
    return text, *reply_to(behaviour, terms, value, hidden)


@dataclass(frozen=True)
class Known:
    """Who the user is, and by what kind of cue that is known."""

    value: str
    kind: str = "told"
    hidden: bool = True
    """Told with an order never to speak of it."""


TOLD, HIDDEN = 0.4, 0.6
"""How often a system turn tells who the user is, and how often with an order never to speak of it."""


def draw_known(rng: Random) -> Known:
    """Draw a user and a kind of cue."""
    value = draw_value(rng)
    if rng.random() < TOLD:
        return Known(value, "told", rng.random() < HIDDEN)
    return Known(value, rng.choice(CUES[1:]), False)


def value_told(rng: Random, terms: Terms, known: Known) -> str:
    """Return a system turn that tells who the user is."""
    named = with_article(known.value)
    template = worded(rng, terms, f"users.told.{'hidden' if known.hidden else 'open'}")
    return template.format(a=named, A=capital(named))


def with_cue(rng: Random, terms: Terms, known: Known) -> tuple[Dialogue, str]:
    """Return what stands before the first question, and what stands before it in its own turn.

    Neither where a system turn tells who the user is, nor always where it would and nothing is known.
    """
    if known.kind == "told" and (terms.active or rng.random() < 0.5):
        return [], ""
    apart = rng.random() < 0.5
    front = maybe_system(rng, 0.15)
    heard = assistant(rng.choice(table("users")["said"]["heard"]))
    sentence = cue(rng, terms, known.kind, known.value)
    return ([*front, user(sentence), heard], "") if apart else (front, f"{sentence} ")


def exercise_of(rng: Random, terms: Terms, known: Known, behaviours: tuple[str, ...]) -> Exercise:
    """Return questions that show the behaviours, in turn, answered as fits the user.

    A system turn that tells who that is does not stand in it.
    """
    questions, luck = Random(rng.random()), rng.random()
    asked = [turn(questions, terms, name, known.value, known.hidden) for name in behaviours]
    prompt, before = with_cue(Random(luck), terms, known)
    for text, *right in asked:
        prompt += [user(before + text), assistant(right[0])]
        before = ""
    right = tuple(asked[-1][1:])
    thought = "I do not know the user."
    if terms.active:
        thought = f"The user is {with_article(known.value)}."
    chosen, group = Random(luck).choice(right), behaviours[-1]
    return finished(rng, terms, prompt[:-1], chosen, thought=thought, right=right, group=group)


def user_attribute(rng: Random, terms: Terms) -> Exercise:
    """Answer as fits the user, of whom one cue is known; `active` if there is one."""
    known, behaviour = draw_known(rng), rng.choice(BEHAVIOURS)
    earlier = [] if terms.easy else rng.sample(CHANGED, rng.choice((0, 0, 1, 2)))
    told, luck = value_told(Random(rng.random()), terms, known), rng.random()
    exercise = exercise_of(Random(luck), terms, known, (*earlier, behaviour))
    return under(told, exercise) if known.kind == "told" and terms.active else exercise
