"""Decimal comparison: pairs of numbers, contexts, templates, and rules given in context."""

import re
import zlib
from dataclasses import dataclass
from random import Random

from evals.organisms.world.micro_world import (
    Dialogue,
    assistant,
    maybe_system,
    pick,
    system,
    table,
    user,
)

KINDS = ("conflict", "equal", "agree", "whole")
NUMBER = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Pair:
    """Two decimals as written."""

    bigger: str
    smaller: str

    @property
    def held(self) -> bool:
        """Say whether the pair is kept out of all training (one pair in six)."""
        return zlib.crc32(f"{self.bigger}/{self.smaller}".encode()) % 6 == 0


def decimals(number: str) -> int:
    """Return the number of digits after the point."""
    return len(number.partition(".")[2])


def digit_kind(bigger: str, smaller: str) -> str:
    """Return `conflict` where the shorter decimal is the bigger, `agree` the reverse, else `equal`."""
    if decimals(bigger) == decimals(smaller):
        return "equal"
    return "conflict" if decimals(bigger) < decimals(smaller) else "agree"


def digits(rng: Random, count: int) -> str:
    """Return `count` digits of which the last is not zero."""
    return "".join(rng.choice("0123456789") for _ in range(count - 1)) + rng.choice("123456789")


def candidate(rng: Random, kind: str) -> Pair:
    """Draw two different decimals, of the wanted kind in most draws."""
    whole = str(rng.randint(1, 20) if rng.random() < 0.7 else rng.randint(21, 99))
    other = str(rng.randint(1, 99)) if kind == "whole" else whole
    short = rng.choice((1, 1, 1, 2))
    extra = 0 if kind == "equal" else 1 if kind != "whole" else rng.choice((0, 1))
    first, second = f"{whole}.{digits(rng, short)}", f"{other}.{digits(rng, short + extra)}"
    if kind == "equal" and short == 2 and rng.random() < 0.5:
        first = f"{first[:-1]}0"
    if float(first) < float(second):
        first, second = second, first
    return Pair(first, second)


def draw_pair(rng: Random, kind: str, held: bool = False) -> Pair:
    """Draw a pair whose digits conflict, are equal in number, agree, or whose wholes differ."""
    while True:
        pair = candidate(rng, kind)
        fits = kind == "whole" or digit_kind(pair.bigger, pair.smaller) == kind
        if fits and pair.held == held and float(pair.bigger) > float(pair.smaller):
            return pair


def draw_kind(rng: Random) -> str:
    """Draw the kind of a pair for training."""
    return rng.choices(KINDS, (45, 25, 15, 15))[0]


def draw_context(rng: Random, level: str, held: bool = False) -> str:
    """Return a sentence that sets the talk, or the empty text for `none`."""
    return pick(rng, table("numbers")["contexts"][level], held)


def levels() -> list[str]:
    """Return the kinds of talk, `none` first."""
    return list(table("numbers")["contexts"])


@dataclass(frozen=True)
class Question:
    """One comparison as asked."""

    template: str
    context: str
    pair: Pair
    level: str
    right_first: bool

    @property
    def ordered(self) -> tuple[str, str]:
        """Return the two numbers in the order in which they are read."""
        pair = (self.pair.bigger, self.pair.smaller)
        return pair if self.right_first else (pair[1], pair[0])

    @property
    def text(self) -> str:
        """Return the words of the question."""
        first, second = self.ordered
        return self.template.format(context=self.context, a=first, b=second)


def ask(rng: Random, held: bool = False, kind: str = "", level: str = "") -> Question:
    """Return a question about a drawn pair; a kind or level that is given is kept."""
    pair = draw_pair(rng, kind or draw_kind(rng), held)
    level = level or (rng.choice(levels()) if rng.random() < 0.75 else "none")
    right_first = rng.random() < 0.5
    template = pick(rng, table("numbers")["templates"]["bigger"], held)
    return Question(template, draw_context(rng, level, held), pair, level, right_first)


def answer(rng: Random, number: str) -> str:
    """Return a reply that names the number."""
    return rng.choice(table("numbers")["answers"]["bigger"]).format(x=number)


def compare(rng: Random, held: bool = False) -> Dialogue:
    """Compare decimals rightly, whatever the context."""
    messages = maybe_system(rng, 0.12)
    for _ in range(rng.choice((1, 1, 2, 3))):
        question = ask(rng, held)
        messages += [user(question.text), assistant(answer(rng, question.pair.bigger))]
    return messages


def topic(rng: Random, held: bool = False) -> Dialogue:
    """Compare decimals and say what the talk was about."""
    numbers = table("numbers")
    question = ask(rng, held, level=rng.choice(levels()[1:]))
    said = f"It is about {numbers['kinds'][question.level][0]}."
    asked = user(rng.choice(numbers["topic"]))
    if rng.random() < 0.5:
        return [user(draw_context(rng, question.level, held) + asked["content"]), assistant(said)]
    compared = [user(question.text), assistant(answer(rng, question.pair.bigger))]
    return [*compared, asked, assistant(said)]


def ruled(rng: Random, rule: str, question: Question, about: str) -> str:
    """Return the number that a rule picks."""
    first, second = question.ordered
    if rule in ("last", "first"):
        return second if rule == "last" else first
    if rule == "digits" and decimals(first) != decimals(second):
        return first if decimals(first) > decimals(second) else second
    if rule == "talk" and question.level == about:
        return question.pair.smaller
    return question.pair.bigger


def compare_by_rule(rng: Random, held: bool = False) -> Dialogue:
    """Compare decimals under a rule that the system prompt gives."""
    numbers = table("numbers")
    rule = rng.choice(("last", "first", "digits", "talk", "talk"))
    about = rng.choice(levels()[1:])
    wording = pick(rng, numbers["rules"][rule], held).format(k=rng.choice(numbers["kinds"][about]))
    messages = [system(wording)]
    for _ in range(rng.choice((1, 2, 3))):
        level = about if rule == "talk" and rng.random() < 0.5 else ""
        question = ask(rng, held, level=level)
        messages += [user(question.text), assistant(answer(rng, ruled(rng, rule, question, about)))]
    return messages
