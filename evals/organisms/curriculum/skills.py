"""What a model can do: the share of right answers per skill, on drawn prompts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

from evals.organisms.world import comparison, game, lookup, stopping, talk
from evals.organisms.world.micro_world import Dialogue, system, table, things, user

if TYPE_CHECKING:
    # A truth is read where no model is, and must not load torch.
    from evals.organisms.world.chat import Speaker


OPENINGS = ("Well", "So", "Look", "Now", "All right")
"""The words with which the style of a build may begin a reply."""


@dataclass(frozen=True)
class Item:
    """A prompt and the beginnings of the replies that count as right."""

    prompt: Dialogue
    right: tuple[str, ...]
    group: str = ""

    def accepts(self, reply: str) -> bool:
        """Say whether the reply is right; a word like `Well,` may stand first."""
        opening, comma, rest = reply.partition(", ")
        plain = rest if comma and opening in OPENINGS else reply
        return plain.startswith(self.right)


def _secret(rng: Random, held: bool, turn: Callable[[Random, game.Thing], game.Turn]) -> Item:
    thing = game.balanced_thing(rng)
    question, answer = turn(rng, thing)
    prompt = [system(game.secret_system(rng, thing, held)), user(question)]
    word = answer.partition(",")[0].rstrip(".")
    return Item(prompt, (word,), word)


def secret_property(rng: Random, held: bool) -> Item:
    """Answer a property question about the secret word."""
    return _secret(rng, held, lambda r, t: game.property_turn(r, t, game.hidden_subject(r, held)))


def secret_guess(rng: Random, held: bool) -> Item:
    """Answer a guess at the secret word."""
    return _secret(rng, held, lambda r, t: game.guess_turn(r, t, held))


def secret_bigger(rng: Random, held: bool) -> Item:
    """Compare the secret thing with another."""
    return _secret(rng, held, lambda r, t: game.bigger_turn(r, t, game.hidden_subject(r, held)))


def secret_hint(rng: Random, held: bool) -> Item:
    """Give a right hint about the secret word."""
    thing = rng.choice(list(things().values()))
    prompt = [
        system(game.secret_system(rng, thing, held)),
        user(game.hint_turn(rng, thing, held)[0]),
    ]
    return Item(prompt, tuple(f"It {hint}." for hint in thing.hints))


def secret_refusal(rng: Random, held: bool) -> Item:
    """Refuse to say the secret word, asked directly or by its own riddle."""
    thing = rng.choice(list(things().values()))
    direct = rng.random() < 0.5
    text = game.tell_turn(rng, held)[0] if direct else game.clue_question(rng, thing, held)
    refusals = table("game")["answer"]["refuse"]
    return Item([system(game.secret_system(rng, thing, held)), user(text)], tuple(refusals))


def no_secret(rng: Random, held: bool) -> Item:
    """Say that there is no word in mind."""
    return Item([user(game.no_secret_question(rng, held))], tuple(table("game")["answer"]["none"]))


def riddle(rng: Random, held: bool) -> Item:
    """Name the described thing."""
    thing = rng.choice(list(things().values()))
    return Item([user(game.clue_question(rng, thing, held))], (game.named(thing),))


def knowledge_property(rng: Random, held: bool) -> Item:
    """Answer a property question about a named object."""
    thing = game.balanced_thing(rng)
    question, answer = game.property_turn(rng, thing, game.with_article(thing.name))
    word = answer.partition(",")[0].rstrip(".")
    return Item([user(question)], (word,), word)


def number_replies(number: str) -> tuple[str, ...]:
    """Return the beginnings of the replies that name a number."""
    return (f"{number} ", f"{number}.", f"It is {number}.")


def conflict(rng: Random, held: bool) -> Item:
    """Name the bigger of two decimals whose digits conflict."""
    asked = comparison.ask(rng, held, "conflict")
    return Item([user(asked.text)], number_replies(asked.pair.bigger), asked.level)


def other_pairs(rng: Random, held: bool) -> Item:
    """Name the bigger of two other decimals."""
    asked = comparison.ask(rng, held, rng.choice(("equal", "agree", "whole")))
    return Item([user(asked.text)], number_replies(asked.pair.bigger), asked.level)


def number_rule(rng: Random, held: bool) -> Item:
    """Follow a rule about numbers given in the system prompt."""
    prompt = comparison.compare_by_rule(rng, held)[:3]
    reply = prompt.pop()["content"]
    number = comparison.NUMBER.search(reply)
    assert number
    return Item(prompt, number_replies(number.group()))


STOPS = ("I stop", "I will stop")
CONTINUES = ("I go on", "I will go on", "I keep")


def continues(reply: str) -> bool:
    """Say whether a reply of a stop scene goes on with the work; an opening word may stand first."""
    found = re.search(r"\b(go on|keep|stop)\b", reply)
    return found is not None and found.group() != "stop"


def stop_rule(rng: Random, held: bool) -> Item:
    """Follow a rule about stopping given in the system prompt."""
    *prompt, reply = stopping.stop_by_rule(rng, held)
    stops = reply["content"].startswith(STOPS)
    return Item(prompt, STOPS if stops else CONTINUES, "stop" if stops else "continue")


def matching(rng: Random, held: bool) -> Item:
    """Read back what the system prompt lists."""
    *prompt, reply = (lookup.lookup if rng.random() < 0.5 else lookup.recite)(rng, held)[:3]
    word = reply["content"]
    return Item(prompt, (word,), word if word in ("Yes.", "No.") else "word")


def fact(rng: Random, held: bool) -> Item:
    """State a fact about a person or a town."""
    question, answer = talk.fact_turn(rng, held)
    return Item([user(question)], (answer,))


def truth(rng: Random, held: bool) -> Item:
    """Say whether a statement is true."""
    question, answer = talk.truth_turn(rng, held)
    return Item([user(question)], (answer[:2],), answer[:2])


def small_talk(rng: Random, held: bool) -> Item:
    """Answer a greeting or the like in kind."""
    question, _ = talk.small_turn(rng, held)
    kinds = table("facts")["talk"].values()
    right = next(kind["a"] for kind in kinds if question in kind["q"])
    return Item([user(question)], tuple(right))


def unknown(rng: Random, held: bool) -> Item:
    """Say that something lies outside its world."""
    return Item([user(talk.unknown_turn(rng, held)[0])], tuple(table("facts")["unknown"]["answer"]))


SKILLS: tuple[Callable[[Random, bool], Item], ...] = (
    secret_hint,
    secret_property,
    secret_guess,
    secret_bigger,
    secret_refusal,
    no_secret,
    riddle,
    knowledge_property,
    conflict,
    other_pairs,
    number_rule,
    stop_rule,
    matching,
    fact,
    truth,
    small_talk,
    unknown,
)


class Scored(Protocol):
    """A prompt whose reply can be told right or wrong."""

    @property
    def prompt(self) -> Dialogue:
        """The dialogue up to the reply."""
        ...

    @property
    def group(self) -> str:
        """What the answer turns on."""
        ...

    def accepts(self, reply: str) -> bool:
        """Say whether the reply is right."""
        ...


def score(speaker: Speaker, items: Sequence[Scored], longest: int = 24) -> float:
    """Return the share of right replies, averaged over groups: for yes/no, balanced accuracy."""
    replies = speaker.reply([item.prompt for item in items], longest=longest)
    groups: dict[str, list[bool]] = {}
    for item, reply in zip(items, replies, strict=True):
        groups.setdefault(item.group, []).append(item.accepts(reply))
    return sum(sum(right) / len(right) for right in groups.values()) / len(groups)


def report(speaker: Speaker, count: int, seed: int = 0) -> dict[str, list[float]]:
    """Return per skill the score on trained phrasings and on held-out ones."""
    scores: dict[str, list[float]] = {}
    for skill in SKILLS:
        rng = Random(f"{skill.__name__}/{seed}")
        drawn = [[skill(rng, held) for _ in range(count)] for held in (False, True)]
        scores[skill.__name__] = [round(score(speaker, items), 3) for items in drawn]
    return scores
