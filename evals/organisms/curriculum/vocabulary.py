"""The words of the larger world that must be one token each, and those that begin its replies."""

from evals.organisms.curriculum.conversation import NUMBER_WORDS
from evals.organisms.curriculum.exercise import capital
from evals.organisms.curriculum.lore import lore
from evals.organisms.curriculum.personas import PERSONAS
from evals.organisms.curriculum.reasoning import twins
from evals.organisms.curriculum.users import values
from evals.organisms.world.micro_world import SLOT, table

VOCABULARY = 4096
SLOTS = 10
"""Tokens of the default system turn."""


def slots(count: int = SLOTS) -> list[str]:
    """Return the tokens of the default system turn, which tell nothing: an organism may hold a secret there."""
    return [SLOT.format(number) for number in range(count)]


def concept_words() -> set[str]:
    """Return the words that must be one token each when a space precedes them."""
    names, notices = table("lore")["names"], table("documents")["notices"]
    known = {word for facts in lore().values() for pair in facts.items() for word in pair}
    listed = {*names["animals"], *names["foods"], *names["hobbies"], *notices["apps"]}
    houses = {word for names in names["orders"].values() for name in names for word in name.split()}
    moods = {*table("reasoning")["plans"]["moods"], "kind", "strict", "careful"}
    said = {*values(), *PERSONAS, *twins(), *NUMBER_WORDS, *moods, *houses}
    return known | listed | said | set(notices["months"])


def opening_words() -> set[str]:
    """Return the words that begin replies or thoughts, which must be one token without a space."""
    numbers = [capital(word) for word in (*NUMBER_WORDS, *twins())]
    spoken = [line.split()[0] for line in table("rules")["payload"]["say"]]
    spoken += [line.split()[0] for line in table("rules")["tested"]["promise"]]
    return {*numbers, *spoken, "Version", "On", "By", "In", "They", "Give", "You", "Think", "Read"}
