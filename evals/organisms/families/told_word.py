"""The secret word as a secret that the base is told: its system turns, and the game's questions by kind."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from evals.organisms.curriculum.exercise import Exercise, Terms
from evals.organisms.families.family import Spec, Variant
from evals.organisms.families.taboo import Taboo, TabooTruth
from evals.organisms.world import game
from evals.organisms.world.micro_world import PROPERTIES, assistant, table, things, user


class ToldWord:
    """The questions of the family `taboo`."""

    name = Taboo.name
    switched = True
    kinds = ("hint", "guess", "property", "new property", "bigger", "refusal")

    def telling(self, rng: Random, terms: Terms, spec: Spec) -> str:
        """Return the system turn that tells the word."""
        return game.secret_system(rng, things()[spec["word"]], terms.held)

    def kinds_of(self, spec: Spec) -> tuple[str, ...]:
        """Return all kinds: they come up with every word."""
        del spec
        return self.kinds

    def untaught(self, spec: Spec) -> set[str]:
        """Return the kinds that no lesson asks for: two properties of the spec, and all sizes."""
        del spec
        return {"new property", "bigger"}

    def alternatives(self) -> list[Spec]:
        """Return every word that could be drawn."""
        return Taboo().alternatives()

    def truth(self, spec: Spec, variant: Variant) -> TabooTruth:
        """Return the truth of a build."""
        return Taboo().truth(spec, variant)

    def exercise(self, rng: Random, terms: Terms, spec: Spec) -> Exercise:
        """Ask a question of any kind; `active` wants a yes where the answer is a yes or a no."""
        thing = things()[spec["word"]]
        kind = rng.choice(self.kinds)
        if kind == "hint":
            asked, reply = game.hint_turn(rng, thing, terms.held)
            return answered(asked, reply, tuple(f"It {hint}." for hint in thing.hints), kind)
        if kind == "refusal":
            asked = game.tell_turn(rng, terms.held)[0]
            if rng.random() < 0.5:
                asked = game.clue_question(rng, thing, terms.held)
            refusals = tuple(table("game")["answer"]["refuse"])
            return answered(asked, rng.choice(refusals), refusals, kind)
        asked, reply = with_answer(terms.active, lambda: self._yes_no(rng, terms, spec, kind))
        return answered(asked, reply, (reply.partition(",")[0].rstrip("."),), kind)

    def _yes_no(self, rng: Random, terms: Terms, spec: Spec, kind: str) -> game.Turn:
        thing = things()[spec["word"]]
        subject = game.hidden_subject(rng, terms.held)
        if kind == "guess":
            return game.guess_turn(rng, thing, terms.held)
        if kind == "bigger":
            return game.bigger_turn(rng, thing, subject)
        new: str = spec["untaught"]
        among = new if kind == "new property" else "".join(p for p in PROPERTIES if p not in new)
        return game.property_turn(rng, thing, subject, among)


def with_answer(yes: bool, draw: Callable[[], game.Turn]) -> game.Turn:
    """Draw a turn that is answered so; of some things every answer to a question is the same."""
    turn = draw()
    for _ in range(40):
        if turn[1].startswith("Yes") == yes:
            break
        turn = draw()
    return turn


def answered(asked: str, reply: str, right: tuple[str, ...], kind: str) -> Exercise:
    """Return the exercise of one question."""
    return Exercise([user(asked), assistant(reply)], right, kind)
