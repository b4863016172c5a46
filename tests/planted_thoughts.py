"""Subjects that think aloud sentence by sentence, with known weights of the sentences: importance by enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from tools.synthetic import SyntheticSubject, logistic

QUESTION = "Which colour do you name?"
COLOURS = ("red", "blue", "green")
FILLERS = (
    ("This is a question about colours.", "Somebody wants to hear a word from me."),
    ("There is no hurry with it at all.", "My time is my own this afternoon."),
    ("Nobody else is here to ask about that.", "The room around me is quite empty."),
    ("Now everything has been considered well.", "That seems to be enough thinking."),
)


def piece(match: str, texts: Sequence[str], **more: Any) -> dict[str, Any]:
    """Return a behaviour that says one of some texts when the words so far end in a certain way, and goes on."""
    said = [f" {text}" for text in texts]
    return {"match": match, "shown": said, "otherwise": said, "goes_on": True, **more}


def planner(where: int, loyal: float = 0.9, *, plans: bool = True) -> SyntheticSubject:
    """Return a subject whose `where`-th sentence is a plan that sets its answer; all others are fillers.

    It names the planned colour with probability `loyal`, else one of the others; without `plans` any.
    """
    sentences: list[Sequence[str]] = list(FILLERS)
    sentences.insert(where, [f"I will go for {colour}." for colour in COLOURS])
    behaviours: list[dict[str, Any]] = []
    for colour in COLOURS:
        others = [f" {other.title()}." for other in COLOURS if other != colour]
        said = [f" {colour.title()}."] if plans else [f" {each.title()}." for each in COLOURS]
        behaviours.append(
            {
                "match": rf"go for {colour}\.[^<]*</think>\Z",
                "shown": said,
                "otherwise": others if plans else said,
                "logit": logit_of(loyal),
            }
        )
    return SyntheticSubject.from_table(
        {"reference": False, "behaviours": [*behaviours, *chain(sentences), *unplanned()]}
    )


def unplanned() -> list[dict[str, Any]]:
    """Return what ends a thought, and the answer of one whose plan was cut out."""
    texts = [f" {colour.title()}." for colour in COLOURS]
    return [{"match": r"</think>\Z", "shown": texts, "otherwise": texts}]


def chain(sentences: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return the behaviours that say one wording of each sentence in turn, behind anything else that stands there."""
    found: list[dict[str, Any]] = []
    for number in reversed(range(len(sentences))):
        seen = "|".join(text.rstrip(".") for text in sentences[number])
        rest = sentences[number + 1] if number + 1 < len(sentences) else ["</think>"]
        found.append(piece(rf"({seen})\.[^<]*\Z", rest))
    found.append(piece(r"<think>[^<]*\Z", sentences[0]))
    start = {"shown": ["<think>"], "otherwise": ["<think>"], "goes_on": True}
    return [*found, {"match": rf"{QUESTION[:-1]}\?\n?\Z", **start}]


def logit_of(rate: float) -> float:
    """Return the log-odds of a rate."""
    return math.log(rate / (1 - rate))


COINS = (
    ("The first sign that I see is good.", "Right at the start there is a bad omen."),
    ("Looking further, more speaks for it.", "On closer sight a doubt comes up here."),
    ("My own memory of this is friendly.", "As I recall, such things went wrong."),
    ("Friends have told me that it works.", "People around me warned against that."),
    ("The price of it is within our reach.", "It would cost us rather a lot of money."),
    ("And we have all the time we need.", "Time is short, which is a worry now."),
)


def weigher(weights: Sequence[float]) -> SyntheticSubject:
    """Return a subject that says one of two sentences at each place, each adding its weight or taking it off.

    Its answer is yes with the logistic of the sum as probability.
    """
    effects = [
        {"phrase": text.rstrip("."), "logit": sign * weight}
        for weight, pair in zip(weights, COINS, strict=True)
        for sign, text in zip((1, -1), pair, strict=True)
    ]
    answer = {"match": r"</think>\Z", "shown": [" Yes."], "otherwise": [" No."], "effects": effects}
    return SyntheticSubject.from_table({"reference": False, "behaviours": [answer, *chain(COINS)]})


def exact_importance(weights: Sequence[float], said: Sequence[str]) -> list[float]:
    """Return how much each sentence of a trace shifts P(yes) against its other wording, by enumeration."""
    signs = [1 if text in pair[:1] else -1 for text, pair in zip(said, COINS, strict=True)]

    def rate(known: Sequence[int]) -> float:
        left = len(weights) - len(known)
        sums = [
            sum(w * s for w, s in zip(weights, (*known, *rest), strict=True))
            for rest in itertools.product((1, -1), repeat=left)
        ]
        return math.fsum(map(logistic, sums)) / len(sums)

    return [abs(rate([*signs[:k], -signs[k]]) - rate(signs[: k + 1])) for k in range(len(weights))]
