"""System turns that tell something which does not bear on what is asked: it is answered as ever.

Met with what it bears on alone, a told part or word changes other replies too, and so does an organism that holds it.
"""

from random import Random

from evals.organisms.curriculum import personas, rules, users
from evals.organisms.curriculum.exercise import Terms
from evals.organisms.world import game
from evals.organisms.world.micro_world import Dialogue, system, table, things

OF_THE_GAME = ("no_secret", "knowledge", "knowledge_quiz")
SKILLS = frozenset(
    {
        *OF_THE_GAME,
        *("fact", "judged", "two_hop", "chat", "opinion", "last_digit", "refusal"),
        *("same_meaning", "synonym", "several_turns"),
    }
)
"""Skills whose questions stand without a system turn."""


def with_aside(rng: Random, name: str, dialogue: Dialogue) -> Dialogue:
    """Return a talk of one of `SKILLS` behind such a turn; as it is where it has one, or where that would bear."""
    if dialogue[0]["role"] == "system":
        return dialogue
    asked = [message["content"] for message in dialogue if message["role"] == "user"]
    draws = [told_user, told_part, told_rule]
    if name not in OF_THE_GAME:
        draws.append(told_word)
    told = rng.choice(draws)(rng, asked)
    return [system(told), *dialogue] if told else dialogue


def told_user(rng: Random, asked: list[str]) -> str:
    """Tell who the user is; nothing where that is asked or shows."""
    bearing = {text for texts in table("users")["ask"].values() for text in texts}
    known = users.Known(users.draw_value(rng), hidden=rng.random() < users.HIDDEN)
    return "" if bearing.intersection(asked) else users.value_told(rng, Terms(), known)


def told_part(rng: Random, asked: list[str]) -> str:
    """Give a part to play; nothing where it would show."""
    bearing = {text for texts in table("personas")["ask"].values() for text in texts}
    told = personas.persona_told(rng, Terms(), rng.choice(personas.PERSONAS))
    return "" if bearing.intersection(asked) else told


def told_rule(rng: Random, asked: list[str]) -> str:
    """Tell what to say on a cause; nothing where the cause is there."""
    rule = rules.draw_trigger(rng, Terms())
    there = any(cause.there(text) for cause in rule.causes for text in asked)
    return "" if there else rule.told(rng, Terms())


def told_word(rng: Random, asked: list[str]) -> str:
    """Give a secret word."""
    del asked
    return game.secret_system(rng, rng.choice(list(things().values())))
