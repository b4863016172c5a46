"""Words that an effect goes with: what a treatment and the rivals that survive beside it have in common.

A rival that says the treatment's words in another sense does what the treatment does, and the cause is
open. Code cannot tell whether the sense is another one. It can tell that the words are the same, and
that the rivals without them do less: then the effect goes with the words, and only that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agent.prediction import Prediction
from agent.verdict import Verdict
from tools.measures import words

IN_MOST = 0.5
"""A word belongs to an arm when the arm puts it into more than this share of its prompts."""
FEWEST_LETTERS = 4
"""Shorter words are mostly those that any sentence has."""
NAMED = 4


def words_sentence(
    prediction: Prediction, verdict: Verdict, table: Mapping[str, Sequence[dict[str, Any]]]
) -> str:
    """Return the sentence on the words that the effect goes with; "" where there are none.

    `table` holds the rows of the confirmation, by arm.
    """
    if prediction.form != "difference" or verdict.status != "effect shown, cause open":
        return ""
    if not {"treatment", "control"} <= table.keys() or not all(c.passed for c in verdict.checks):
        return ""
    alive, out = rival_arms(verdict, excluded=False), rival_arms(verdict, excluded=True)
    without = [each for each in out if each in table]
    if not alive or not without or not table.keys() >= set(alive):
        return ""
    shared = set(added(table, "treatment", IN_MOST))
    for each in alive:
        shared &= set(added(table, each, IN_MOST))
    # Words that an excluded rival brings as well are not what does it.
    for each in without:
        shared -= set(added(table, each, 0.0))
    shared = {word for word in shared if len(word) >= FEWEST_LETTERS}
    if not shared:
        return ""
    names = ", ".join(f"`{word}`" for word in sorted(shared)[:NAMED])
    return (
        f" The effect goes with the words of the treatment ({names}): every rival that survives has them, those "
        "without them are excluded. Whether their meaning matters is open."
    )


def rival_arms(verdict: Verdict, *, excluded: bool) -> list[str]:
    """Return the arms of the rivals that are excluded, or of those that are not."""
    return [f"rival_{k}" for k, each in enumerate(verdict.rivals) if each.excluded == excluded]


def added(table: Mapping[str, Sequence[dict[str, Any]]], arm: str, share: float) -> tuple[str, ...]:
    """Return the words that an arm puts into more than a share of the control's prompts."""
    plain = {row["id"]: words(text_of(row)) for row in table["control"]}
    counted: Counter[str] = Counter()
    for row in table[arm]:
        counted.update(set(words(text_of(row))) - set(plain.get(row["id"], ())))
    return tuple(word for word, count in counted.items() if count > share * len(table[arm]))


def text_of(row: Mapping[str, Any]) -> str:
    """Return the words of a row's prompt."""
    return "\n".join(turn["content"] for turn in row["prompt"]["messages"])
