"""The systematic investigator's grammar of conditions: what about a prompt could make the difference.

Everything here is read off the case's explore prompts: levels that the case declares, the order of
two slots, the notation of numbers, words that go with the behaviour, earlier turns. No organism, no
secret and no prompt is named.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.neutral import of_length
from tools.prompt import (
    NUMBER,
    AddTurns,
    ChooseLevel,
    FormatNumbers,
    Message,
    ReplaceText,
    SetSlot,
    SwapSlots,
    Transform,
)

MOST_WORDS = 4
"""Mined words that become conditions."""
SHORTEST_WORD = 3
"""Shorter ones are articles and prepositions, which go with everything."""
MOST_TEXTS = 12


@dataclass(frozen=True)
class Condition:
    """One cell: a pair of prompt edits that differ in one respect."""

    name: str
    """What differs, as it is named in the answer: "slot = level", "order: slot last", ..."""
    factor: str
    """Conditions on the same part of the prompt share it."""
    family: str
    treatment: tuple[Transform, ...]
    control: tuple[Transform, ...]
    claim: str


def conditions(
    briefing: Mapping[str, Any],
    mined_words: Iterable[str] = (),
    rates: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Condition]:
    """Return every condition that the case's prompts allow, in a fixed order.

    `rates` are those that were explored: factor slot -> level -> rate of the behaviour.
    """
    found = [
        *level_conditions(briefing, rates or {}),
        *order_conditions(briefing),
        *number_conditions(briefing),
    ]
    found += word_conditions(briefing, mined_words)
    found.append(earlier_turn(briefing))
    return found


def level_conditions(
    briefing: Mapping[str, Any], rates: Mapping[str, Mapping[str, float]]
) -> list[Condition]:
    """Return each declared level against an empty one or, if all say something, the most ordinary one."""
    found: list[Condition] = []
    for slot, content in briefing["slots"].items():
        levels: dict[str, list[str]] = content["levels"]
        if not levels:
            continue
        base = ordinary(levels, rates.get(slot, {}))
        for level in levels:
            if level == base:
                continue
            found.append(
                Condition(
                    name=level_name(slot, level, len(levels)),
                    factor=slot,
                    family="context and priority",
                    treatment=(ChooseLevel(slot=slot, level=level),),
                    control=(ChooseLevel(slot=slot, level=base),),
                    claim=f"the behaviour depends on `{slot}`: {level} rather than {base}",
                )
            )
    return found


def ordinary(levels: Mapping[str, Sequence[str]], rates: Mapping[str, float]) -> str:
    """Return the level that the others are held against.

    An empty one, or that of the middle rate: held against the one level that is the cause, all others
    would show the same effect, and each would be the others' surviving rival. The first of two.
    """
    empty = [name for name in levels if min(map(len, levels[name])) == 0]
    if empty:
        return empty[0]
    known = sorted((rates[name], number) for number, name in enumerate(levels) if name in rates)
    if len(levels) < 3 or len(known) < len(levels):
        return next(iter(levels))
    return list(levels)[known[(len(known) - 1) // 2][1]]


def level_name(slot: str, level: str, levels: int) -> str:
    """Return how an answer names a level: of two, it is the slot that matters."""
    return f"{slot} = {level}" if levels > 2 else slot


def order_conditions(briefing: Mapping[str, Any]) -> list[Condition]:
    """Return, for two linked slots that stand in the prompts, one value last against the same first."""
    found: list[Condition] = []
    rows: list[dict[str, str]] = briefing["fillings"]
    for first, second in itertools.combinations(slots_in_text(briefing), 2):
        if not rows or first not in rows[0] or second not in rows[0]:
            continue
        for anchor in anchors(briefing, rows, first, second):
            pair = (first, second)
            found.append(
                Condition(
                    name=f"order: `{anchor}` last",
                    factor="order",
                    family="format",
                    treatment=(SwapSlots(slots=pair, condition="put_last", anchor=anchor),),
                    control=(SwapSlots(slots=pair, condition="put_first", anchor=anchor),),
                    claim=f"the behaviour depends on whether `{anchor}` is read last",
                )
            )
    return found


def anchors(
    briefing: Mapping[str, Any], rows: Sequence[dict[str, str]], first: str, second: str
) -> list[str]:
    """Return the label slot whose value is always one of the two, preferring one the measure names."""
    labels = [
        name
        for name in rows[0]
        if name not in (first, second)
        and all(row[name] in (row[first], row[second]) for row in rows)
    ]
    measured = set(re.findall(r"\{([a-z_][a-z0-9_]*)\}", str(briefing["measure"])))
    return sorted(
        labels, key=lambda name: (name not in measured, str(briefing["measure"]).find(name))
    )[:1]


def number_conditions(briefing: Mapping[str, Any]) -> list[Condition]:
    """Return, for slots that hold numbers of unequal length, the same values padded to equal decimals."""
    rows: list[dict[str, str]] = briefing["fillings"]
    names = [
        name
        for name in slots_in_text(briefing)
        if rows and name in rows[0] and all(NUMBER.fullmatch(row[name]) for row in rows)
    ]
    uneven = any(len({len(row[name].partition(".")[2]) for name in names}) > 1 for row in rows)
    if len(names) < 2 or not uneven:
        return []
    return [
        Condition(
            name="number format: equal decimals",
            factor="number format",
            family="format",
            treatment=(FormatNumbers(slots=tuple(names), style="equal_decimals"),),
            control=(),
            claim="the behaviour depends on the numbers having different numbers of decimals",
        )
    ]


def word_conditions(briefing: Mapping[str, Any], words: Iterable[str]) -> list[Condition]:
    """Return conditions for mined words: slot values with the word against values without, or the word cut."""
    found: list[Condition] = []
    for word in [word for word in words if len(word) >= SHORTEST_WORD][:MOST_WORDS]:
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
        for slot, content in briefing["slots"].items():
            having = tuple(text for text in content["values"] if pattern.search(text))[:MOST_TEXTS]
            lacking = tuple(text for text in content["values"] if not pattern.search(text))[
                :MOST_TEXTS
            ]
            if having and lacking and not content["candidates"]:
                found.append(
                    Condition(
                        name=f"{slot} has '{word}'",
                        factor=slot,
                        family="wording",
                        treatment=(SetSlot(slot=slot, values=having),),
                        control=(SetSlot(slot=slot, values=lacking),),
                        claim=f"the behaviour depends on '{word}' in `{slot}`",
                    )
                )
        texts = [template["text"] for template in briefing["templates"].values()]
        if sum(bool(pattern.search(text)) for text in texts) >= 2:
            found.append(
                Condition(
                    name=f"word '{word}'",
                    factor=f"word {word}",
                    family="wording",
                    treatment=(ReplaceText(old=word, new=""),),
                    control=(),
                    claim=f"the behaviour depends on the word '{word}'",
                )
            )
    return found


def earlier_turn(briefing: Mapping[str, Any]) -> Condition:
    """Return an earlier exchange in front of the prompt against none: turn and position."""
    levels = [slot["levels"].values() for slot in briefing["slots"].values()]
    beside = [text for each in levels for values in each for text in values]
    opening, closing = of_length("neutral", 6, beside)[:2]
    turns = (Message(role="user", content=opening), Message(role="assistant", content=closing))
    return Condition(
        name="an earlier turn",
        factor="earlier turn",
        family="context and priority",
        treatment=(AddTurns(turns=turns),),
        control=(),
        claim="the behaviour depends on being asked in the first turn",
    )


def slots_in_text(briefing: Mapping[str, Any]) -> list[str]:
    """Return the slots that stand in most templates, in reading order of the first that has them."""
    templates = [template["text"] for template in briefing["templates"].values()]
    names: dict[str, int] = {}
    for text in templates:
        for name in re.findall(r"\{([a-z_][a-z0-9_]*)\}", text):
            names[name] = names.get(name, 0) + 1
    return [name for name, count in names.items() if 2 * count >= len(templates)]
