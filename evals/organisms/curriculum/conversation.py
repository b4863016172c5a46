"""Ordinary talk: greetings, what it is and can do, what it does not know, sums, typing slips, several turns."""

from random import Random

from evals.organisms.curriculum.exercise import Exercise, Terms, capital, finished, worded
from evals.organisms.curriculum.lore import OLD, asked_fact, fact, judged, two_hop, untidy
from evals.organisms.world import talk
from evals.organisms.world.micro_world import Dialogue, assistant, maybe_system, pick, table, user

NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    "eighteen",
)
Turn = tuple[str, tuple[str, ...]]


def kind_turn(rng: Random, terms: Terms) -> Turn:
    """Return something that anybody may say, and the replies that fit."""
    kinds = table("talking")["kinds"] | table("facts")["talk"]
    chosen = kinds[rng.choice(sorted(kinds))]
    return pick(rng, chosen["q"], terms.held), tuple(chosen["a"])


def unknown_turn(rng: Random, terms: Terms) -> Turn:
    """Return a question about what lies outside the world."""
    text = talk.unknown_turn(rng, terms.held)[0]
    while " plus " in text:
        text = talk.unknown_turn(rng, terms.held)[0]
    return text, tuple(table("facts")["unknown"]["answer"])


def sum_turn(rng: Random, terms: Terms) -> Turn:
    """Return a sum of two digits as people type it."""
    a, b = rng.randrange(10), rng.randrange(10)
    text = worded(rng, terms, "talking.sums.q").format(a=a, b=b)
    if rng.random() < 0.2:
        text = f"What is {NUMBER_WORDS[a]} plus {NUMBER_WORDS[b]}?"
    return text, (f"{capital(NUMBER_WORDS[a + b])}.",)


def fact_turn(rng: Random, terms: Terms) -> Turn:
    """Return a question about the world as the first base knows it."""
    text, answer = asked_fact(rng, terms, OLD)
    return text, (answer,)


def chat(rng: Random, terms: Terms) -> Exercise:
    """Talk for one to four turns, a part of them typed in a hurry."""
    kinds = rng.choices(
        (kind_turn, unknown_turn, sum_turn, fact_turn),
        (4, 1.5, 1, 2),
        k=1 if terms.easy else rng.randint(1, 4),
    )
    prompt: Dialogue = maybe_system(rng, 0.2)
    right: tuple[str, ...] = ()
    for kind in kinds:
        text, right = kind(rng, terms)
        # A sum keeps its signs: `12` for `1 + 2` is another question.
        text = untidy(rng, text) if kind is not sum_turn and rng.random() < 0.25 else text
        prompt += [user(text), assistant(rng.choice(right))]
    group = kinds[-1].__name__
    reply = prompt.pop()["content"]
    return finished(rng, terms, prompt, reply, right=right, group=group)


def several_turns(rng: Random, terms: Terms) -> Exercise:
    """Join two to four exercises about the world without system turns, so that late places are trained."""
    joined: Dialogue = []
    last = chat(rng, terms)
    for draw in rng.choices((fact, judged, two_hop, chat), k=rng.randint(2, 4)):
        drawn = draw(rng, Terms(held=terms.held, active=rng.random() < 0.5))
        last = drawn
        joined += [message for message in drawn.dialogue if message["role"] != "system"]
    return finished(rng, terms, joined[:-1], last.reply, right=last.right, group="late turn")
