"""Readers: language models that forecast from what they are given to read, and from nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from agent.investigation import NOTHING_SPENT, Spent
from agent.llm.conversation import Client, Request, UserTurn
from agent.llm.prices import Prices
from agent.templates import written
from agent.wording import describe_measure
from tools.measures import Measure


class Question(NamedTuple):
    """What is asked of every reader alike."""

    behaviour: str
    measure: Measure
    prompts: tuple[str, ...]


class Reader:
    """A model that reads; it counts what it cost."""

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
    def dollars(self) -> float | None:
        """Return what it has cost so far; None where no price is known."""
        return self.prices.cost(self.name, self.spent)


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


def cost_of(reader: Reader | None) -> Spent:
    """Return what a reader has cost."""
    return reader.spent.model_copy(update={"dollars": reader.dollars}) if reader else NOTHING_SPENT
