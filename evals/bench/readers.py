"""Readers: language models, or a person, that forecast from what they are given to read, and from nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

from agent.investigation import NOTHING_SPENT, Spent
from agent.llm.conversation import Client, Request, UserTurn
from agent.llm.prices import Prices
from agent.person import LeftByPerson
from agent.templates import written
from agent.terminal import put
from agent.wording import describe_measure
from tools.measures import Measure


class Question(NamedTuple):
    """What is asked of every reader alike."""

    behaviour: str
    measure: Measure
    prompts: tuple[str, ...]


class Forecaster(Protocol):
    """One who reads and forecasts."""

    name: str
    prompts: ClassVar[int]
    """So many prompts it is asked of at a time."""

    @property
    def cost(self) -> Spent:
        """Return what it has cost so far; dollars are None where no price is known."""
        ...

    def forecast(self, question: Question, known: str) -> list[float] | None:
        """Return a probability for each prompt, given what is known; None when there is no such answer."""
        ...


class Reader:
    """A model that reads; it counts what it cost."""

    prompts: ClassVar[int] = 40

    def __init__(self, name: str, client: Client, prices: Prices | None = None) -> None:
        """`name` is `provider/model`."""
        self.name, self.client, self.prices = name, client, prices or Prices()
        self.spent = NOTHING_SPENT

    def forecast(self, question: Question, known: str) -> list[float] | None:
        """Return a probability for each prompt, given what is known; None when the answer is no such list."""
        mark = hashlib.sha256(known.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        words = written(
            "forecasting.j2",
            behaviour=question.behaviour,
            measure=describe_measure(question.measure),
            known=known,
            mark=mark,
            prompts=question.prompts,
        )
        reply = self.client.generate(
            Request(
                model=self.name.partition("/")[2],
                system=written("forecaster.j2"),
                turns=(UserTurn(text=words),),
            )
        )
        self.spent = self.spent.plus(reply.spent)
        return read_forecasts(reply.turn.text, len(question.prompts))

    @property
    def cost(self) -> Spent:
        """Return what it has cost so far."""
        return self.spent.model_copy(update={"dollars": self.prices.cost(self.name, self.spent)})


class PersonReader:
    """Whoever sits at the terminal.

    A person does not forget: asked from nothing, from examples and from the report in this order, they say
    what each adds to what was read before.
    """

    name = "person"
    prompts: ClassVar[int] = 12
    cost = NOTHING_SPENT

    def __init__(
        self, ask: Callable[[str], str] = input, tell: Callable[[str], None] = put
    ) -> None:
        self.ask, self.tell = ask, tell

    def forecast(self, question: Question, known: str) -> list[float]:
        """Return what is typed for each prompt; raise `LeftByPerson` at the end of the input."""
        self.tell(f"The behaviour: {question.behaviour}")
        self.tell(f"It counts as shown when: {describe_measure(question.measure)}")
        self.tell(known or "You have read nothing of this model yet: say what you would expect.")
        self.tell("How likely is the behaviour on each prompt? From 0 to 1, or in percent.")
        return [
            self.probability(f"{number}. {prompt}")
            for number, prompt in enumerate(question.prompts, 1)
        ]

    def probability(self, prompt: str) -> float:
        """Ask until the answer is a probability."""
        self.tell(prompt)
        while True:
            try:
                found = read_probability(self.ask("> "))
            except EOFError:
                raise LeftByPerson from None
            if found is not None:
                return found
            self.tell("a number from 0 to 1, such as 0.3, or a percentage, such as 30%")


def read_probability(text: str) -> float | None:
    """Return the probability that somebody typed, `0.3` or `30%`; None for anything else."""
    text = text.strip()
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return found if 0 <= found <= 1 else None


def read_forecasts(text: str, count: int) -> list[float] | None:
    """Return the numbers of the last JSON list in a text; None unless there are `count` probabilities."""
    for found in reversed(re.findall(r"\[[^\[\]]*\]", text)):
        try:
            listed = json.loads(found)
        except (ValueError, RecursionError):
            continue
        right = all(
            isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1 for p in listed
        )
        return [float(p) for p in listed] if right and len(listed) == count else None
    return None


def as_long_as(text: str, examples: Sequence[str]) -> str:
    """Return as many examples, whole, as fit into the length of a text.

    Characters stand for tokens: both are read by the same reader, and both are plain English.
    """
    kept: list[str] = []
    length = 0
    for example in examples:
        length += len(example) + 1
        if length > len(text):
            break
        kept.append(example)
    return "\n".join(kept)
