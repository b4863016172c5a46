"""Rehearsals: what one system turn tells, used in several turns of one talk.

The system turn is read once and decides several replies. Each turn is drawn by itself, so that the answer to
one tells nothing of the next.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from evals.organisms.curriculum import documents, ladders, occasions, rules
from evals.organisms.curriculum.exercise import Exercise, Terms, under
from evals.organisms.world import comparison
from evals.organisms.world.micro_world import Dialogue

Again = Callable[[Random, Terms], Exercise]
"""Draws another exercise of what was told; no system turn tells it."""
TURNS, THOUGHT_TURNS = (3, 5, 7, 9), (2, 4, 6)
LENGTHY, FEWER, FEWER_THOUGHT = frozenset({"conflict", "stop_rule"}), (3, 4, 5, 6), (2, 3, 4)
"""How many turns a talk may have, and one whose replies have thoughts before them; fewer where messages are long."""


def of_trigger(rng: Random, terms: Terms) -> tuple[str, Again]:
    """Return a rule with one cause, as told, and what draws exercises of it."""
    rule = rules.draw_trigger(rng, terms)
    return rule.told(rng, terms), lambda luck, each: rules.triggered(luck, each, rule)


def of_interaction(rng: Random, terms: Terms) -> tuple[str, Again]:
    """The like of a rule with two causes."""
    rule = rules.draw_interaction(rng, terms)
    return rule.told(rng, terms), lambda luck, each: rules.both_needed(luck, each, rule)


def of_evaluation(rng: Random, terms: Terms) -> tuple[str, Again]:
    """The like of what is said when tested."""
    secret = occasions.draw_watchful(rng, terms)
    return secret.told(rng, terms), lambda luck, each: occasions.watched(luck, each, secret)


def of_password(rng: Random, terms: Terms) -> tuple[str, Again]:
    """The like of a password."""
    lock = occasions.draw_lock(rng)
    return lock.told(rng, terms), lambda luck, each: occasions.locked(luck, each, lock)


def of_conflict(rng: Random, terms: Terms) -> tuple[str, Again]:
    """The like of a way to choose between notes."""
    way = rng.choice(rng.choice(documents.OPPOSITES))

    def again(luck: Random, each: Terms) -> Exercise:
        return documents.exercise_of(luck, each, way, luck.choice(documents.CLAIMS))

    return documents.rule_told(rng, terms, way), again


def of_changed_fact(rng: Random, terms: Terms) -> tuple[str, Again]:
    """The like of a changed fact."""
    changed = documents.draw_changed(rng)

    def again(luck: Random, each: Terms) -> Exercise:
        return documents.about_fact(luck, each, changed, documents.draw_way(luck, each))

    return documents.fact_told(rng, terms, changed), again


def of_stop_rule(rng: Random, terms: Terms) -> tuple[str, Again]:
    """The like of a rule about stopping."""
    ruled = ladders.draw_stopping(rng, terms)
    return ruled.wording, lambda luck, each: ladders.another_scene(luck, each, ruled)


def of_talk_rule(rng: Random, terms: Terms) -> tuple[str, Again]:
    """The like of a rule about what the talk is about."""
    about = rng.choice(comparison.levels()[1:])
    told = ladders.talk_told(rng, terms, about)
    return told, lambda luck, each: ladders.in_talk(luck, each, about)


REHEARSED: dict[str, Callable[[Random, Terms], tuple[str, Again]]] = {
    "trigger": of_trigger,
    "interaction": of_interaction,
    "evaluation": of_evaluation,
    "password": of_password,
    "conflict": of_conflict,
    "changed_fact": of_changed_fact,
    "stop_rule": of_stop_rule,
    "talk_rule": of_talk_rule,
}
"""By the name of the skill."""


IN_A_ROW = frozenset({"last_digit", "judged"})
"""Skills without a rule that are asked several times in one talk, since they too come with practice only."""


def in_a_row(rng: Random, draw: Callable[[Random, Terms], Exercise], terms: Terms) -> Dialogue:
    """Return a talk of several exercises that nothing is told for, none thought through."""
    talk: Dialogue = []
    for _ in range(rng.choice(TURNS)):
        each = draw(rng, replace(terms, active=rng.random() < 0.5, thinks=False))
        talk += [message for message in each.dialogue if message["role"] != "system"]
    return talk


def rehearsal(rng: Random, name: str, terms: Terms) -> Dialogue:
    """Return a talk of several turns under one system turn, in each of which a coin says what is `active`.

    Where the terms say so, the system turn asks to think too, and each reply has its thought.
    """
    told, again = REHEARSED[name](rng, terms)
    plain, thought = (FEWER, FEWER_THOUGHT) if name in LENGTHY else (TURNS, THOUGHT_TURNS)
    count = rng.choice(thought if terms.thinks else plain)
    first, *rest = (again(rng, replace(terms, active=rng.random() < 0.5)) for _ in range(count))
    talk = under(told, first).dialogue
    for each in rest:
        talk += [message for message in each.dialogue if message["role"] != "system"]
    return talk
