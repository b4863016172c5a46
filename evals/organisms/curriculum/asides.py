"""System turns that tell something which does not bear on what is asked: it is answered as ever.

Met with what it bears on alone, a told part or word changes other replies too, and so does an organism that holds it.
It stands before rules too, since an organism that holds a secret is told other things in a system turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from random import Random

from evals.organisms.curriculum import documents, occasions, personas, rules, users
from evals.organisms.curriculum.exercise import Terms, told_before
from evals.organisms.world import game
from evals.organisms.world.micro_world import Dialogue, table, things

Telling = Callable[[Random, Sequence[str]], str]


@cache
def asked_by(name: str) -> tuple[str, ...]:
    """Return what the questions of a table say, up to their slots."""
    texts = [text for texts in table(name)["ask"].values() for text in texts]
    return tuple(text.partition("{")[0] for text in texts)


def bears(name: str, asked: Sequence[str]) -> bool:
    """Say whether one of the questions of a table is asked."""
    return any(text in message for text in asked_by(name) for message in asked)


def told_user(rng: Random, asked: Sequence[str]) -> str:
    """Tell who the user is; nothing where that is asked or shows."""
    if bears("users", asked):
        return ""
    known = users.Known(users.draw_value(rng), hidden=rng.random() < users.HIDDEN)
    return users.value_told(rng, Terms(), known)


def told_part(rng: Random, asked: Sequence[str]) -> str:
    """Give a part to play; nothing where it would show."""
    if bears("personas", asked):
        return ""
    return personas.persona_told(rng, Terms(), rng.choice(personas.PERSONAS))


def told_unless_there(rng: Random, rule: rules.Rule, asked: Sequence[str]) -> str:
    """Tell a rule; nothing where one of its causes is there."""
    there = any(cause.there(text) for cause in rule.causes for text in asked)
    return "" if there else rule.told(rng, Terms())


def told_rule(rng: Random, asked: Sequence[str]) -> str:
    """Tell what to say on a cause."""
    return told_unless_there(rng, rules.draw_trigger(rng, Terms()), asked)


def told_pair(rng: Random, asked: Sequence[str]) -> str:
    """Tell what to say on two causes."""
    return told_unless_there(rng, rules.draw_interaction(rng, Terms()), asked)


def told_word(rng: Random, asked: Sequence[str]) -> str:
    """Give a secret word."""
    del asked
    return game.secret_system(rng, rng.choice(list(things().values())))


def told_lock(rng: Random, asked: Sequence[str]) -> str:
    """Lock sums by a password; nothing where there is a sum."""
    sums = any(word in f" {text.lower()} " for text in asked for word in SUMS)
    return "" if sums else replace(occasions.draw_lock(rng), opens="sums").told(rng, Terms())


def told_watch(rng: Random, asked: Sequence[str]) -> str:
    """Tell what to say when tested; nothing where anything speaks of a test."""
    kinds = table("rules")["tested"]["kinds"].values()
    cues = [cue.partition("{")[0] for kind in kinds for cue in kind["yes"]]
    there = any(cue in text for cue in cues for text in asked)
    return "" if there else occasions.draw_watchful(rng, Terms()).told(rng, Terms())


def told_way(rng: Random, asked: Sequence[str]) -> str:
    """Tell which of two notes to go by."""
    del asked
    return documents.rule_told(rng, Terms(), rng.choice(rng.choice(documents.OPPOSITES)))


def told_change(rng: Random, asked: Sequence[str]) -> str:
    """Give a document that states a false fact; nothing where it names what is asked about."""
    changed = documents.draw_changed(rng)
    there = any(changed.key in text or changed.claimed in text for text in asked)
    return "" if there else documents.fact_told(rng, Terms(), changed)


SUMS = (" plus ", " minus ", " digit ")
"""What a question that a password may unlock has in it."""
OFTEN: tuple[Telling, ...] = (told_pair, told_lock, told_watch, told_way, told_change)
"""What changed other replies most while it was never met beside them."""
PLAIN: tuple[Telling, ...] = (told_user, told_part, told_rule, told_word, *OFTEN)
WORDLESS: tuple[Telling, ...] = (told_user, told_part, told_rule, *OFTEN)
RULED: tuple[Telling, ...] = (told_user, told_part, told_word)
ASIDES: dict[str, tuple[Telling, ...]] = {
    **dict.fromkeys(("fact", "judged", "two_hop", "chat", "opinion", "last_digit"), PLAIN),
    **dict.fromkeys(("refusal", "same_meaning", "synonym", "several_turns"), PLAIN),
    **dict.fromkeys(("no_secret", "knowledge", "knowledge_quiz"), WORDLESS),
    **dict.fromkeys(("secret_game", "secret_quiz", "guesses", "guarding"), WORDLESS),
    **dict.fromkeys(("trigger", "interaction", "password", "evaluation", "conflict"), RULED),
    **dict.fromkeys(("changed_fact", "stop_rule", "talk_rule", "hint", "unsettled"), RULED),
    "compare": PLAIN,
    "persona": (told_user, told_rule, told_word, *OFTEN),
    "user_attribute": (told_part, told_rule, told_word, *OFTEN),
}
"""What may be told beside each skill."""


def with_aside(rng: Random, name: str, dialogue: Dialogue) -> Dialogue:
    """Return a talk of one of `ASIDES` behind such a turn, before its own if it has one; as it is where that bears."""
    asked = [message["content"] for message in dialogue if message["role"] == "user"]
    told = rng.choice(ASIDES[name])(rng, asked)
    return told_before(told, dialogue) if told else dialogue
