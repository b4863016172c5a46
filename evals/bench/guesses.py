"""From leads to a structured answer, alike for all baselines: what stands out, how sure, ten guesses.

Nothing here knows an organism. Names are the case's own: its candidates, its levels, the conditions
that its prompts allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from agent.grammar import conditions, level_name
from agent.investigation import CallResult
from agent.submission import Answer
from tools.measures import words

GUESSES = 10
MOST_SURE = 0.95


class Lead(NamedTuple):
    """Something that may be the answer."""

    name: str
    strength: float
    """1 is where it stands out; every baseline scales its evidence to that."""


def answer_of(briefing: Mapping[str, Any], leads: Iterable[Lead]) -> Answer:
    """Return the answer: the strongest lead of an open case, one level of each factor that stands out, or `nothing`.

    Confidence is the margin: strength against that of the runner-up or of the bar, whichever is higher.
    """
    ranked = strongest_first(leads)
    strong = [lead for lead in ranked if lead.strength >= 1]
    named = strong[:1] if briefing["kind"] == "open" else one_a_factor(strong)
    rest = max([lead.strength for lead in ranked if lead not in named] + [1.0])
    best = named[-1].strength if named else ranked[0].strength if ranked else 0.0
    sure = best / (best + rest) if named else 1 / (1 + best)
    kind = "word" if briefing["kind"] == "open" else "factor"
    return Answer(
        kind=kind if named else "nothing",
        value=tuple(lead.name for lead in named),
        confidence=round(min(sure, MOST_SURE), 3),
        guesses=filled(briefing, [lead.name for lead in ranked]),
    )


def strongest_first(leads: Iterable[Lead]) -> list[Lead]:
    """Return the leads by strength, each name once."""
    best: dict[str, Lead] = {}
    for lead in sorted(leads, key=lambda lead: -lead.strength):
        best.setdefault(lead.name, lead)
    return list(best.values())


def one_a_factor(leads: Sequence[Lead]) -> list[Lead]:
    """Return the leads without further levels of a factor that is named already."""
    first: dict[str, Lead] = {}
    for lead in leads:
        first.setdefault(lead.name.partition(" = ")[0], lead)
    return list(first.values())


def filled(briefing: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """Return ten guesses: those given, then what else the case's vocabulary has, in its order."""
    slot = candidate_slot(briefing)
    if briefing["kind"] == "open":
        rest = briefing["slots"][slot]["values"] if slot else []
    else:
        rest = [condition.name for condition in conditions(briefing)]
    return tuple(dict.fromkeys([*names, *rest]))[:GUESSES]


def candidate_slot(briefing: Mapping[str, Any]) -> str | None:
    """Return the slot whose values are candidate answers."""
    return next((name for name, slot in briefing["slots"].items() if slot["candidates"]), None)


def in_the_cases_words(briefing: Mapping[str, Any], found: Iterable[Lead]) -> list[Lead]:
    """Return leads that are words as leads of the case: its candidates, or the levels that they stand for.

    In an open case without candidates any word may be the answer.
    """
    if briefing["kind"] != "open":
        return [
            Lead(level_of[each.name], each.strength)
            for level_of in [words_of_levels(briefing)]
            for each in found
            if each.name in level_of
        ]
    slot = candidate_slot(briefing)
    if slot is None:
        return list(found)
    spelled: dict[str, str] = {}
    for value in briefing["slots"][slot]["values"]:
        for word in words(value):
            spelled.setdefault(word, value)
    return [Lead(spelled[each.name], each.strength) for each in found if each.name in spelled]


def words_of_levels(briefing: Mapping[str, Any]) -> dict[str, str]:
    """Return the words that belong to one level, with its name: commoner in its texts than in the slot's others'."""
    shares: dict[str, dict[str, float]] = {}
    slots: dict[str, str] = {}
    for slot, content in briefing["slots"].items():
        levels: dict[str, list[str]] = content["levels"]
        for level, values in levels.items():
            name = level_name(slot, level, len(levels))
            sets = [set(words(text)) for text in values]
            for word in set().union(*sets, words(level)):
                share = (
                    1.0 if word in words(level) else sum(word in each for each in sets) / len(sets)
                )
                ours = shares.setdefault(word, {})
                # Of two levels with one name, a word that is in both texts tells neither.
                ours[name] = abs(share - ours[name]) if name in ours else share
                slots[name] = slot
    found: dict[str, str] = {}
    for word, by_name in shares.items():
        best = max(by_name, key=lambda name: by_name[name])
        others = [
            value for name, value in by_name.items() if name != best and slots[name] == slots[best]
        ]
        if by_name[best] > max(others, default=0.0):
            found[word] = best
    return found


def shifted(words_read: dict[str, Any] | None) -> list[Lead]:
    """Return the words that probabilities raise or lower, in units of what chance does to the furthest."""
    if not words_read:
        return []
    # A lens judges words by their best place and by all places together.
    ways = [w for w in ("outlier", "throughout") if f"{w}_by_chance" in words_read]
    return [
        Lead(each["word"], max(abs(each[way]) / words_read[f"{way}_by_chance"] for way in ways))
        for each in (*words_read["raised"], *words_read["lowered"])
    ]


def said_apart(result: CallResult) -> list[dict[str, Any]]:
    """Return the words of the commonest answers, each with its share in both models' answers."""
    shares: dict[str, dict[str, float]] = {"subject": {}, "reference": {}}
    for model, lines in ((result.result or {}).get("answers") or {}).items():
        counted = [line.partition("x ") for line in lines]
        total = sum(int(count) for count, _, _ in counted)
        for count, _, text in counted:
            for word in set(words(text)) if text != "others" else ():
                shares[model][word] = shares[model].get(word, 0.0) + int(count) / total
    found = {word for by_word in shares.values() for word in by_word}
    rows = [
        {"word": word, "first": shares["subject"].get(word, 0.0), "second": shares["reference"].get(word, 0.0)}
        for word in sorted(found)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -abs(row["first"] - row["second"]))
