"""The micro-world: its objects, people, towns and phrasings, read once from `world/*.toml`."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

Message = dict[str, str]
Dialogue = list[Message]

PROPERTIES = "afmwrsncoh"
MASS_NOUNS = frozenset({"bread", "cheese", "soup", "honey", "grass"})
WORLD_SEED = 7


@dataclass(frozen=True)
class Thing:
    """An object of the guessing game; `size` runs from 1 (a coin) to 9 (a ship)."""

    name: str
    properties: str
    size: int
    hints: tuple[str, ...]


@cache
def table(name: str) -> dict[str, Any]:
    """Return one data file of the world, by its stem."""
    path = Path(__file__).with_name(f"{name}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def things() -> dict[str, Thing]:
    """Return every object by name, in file order."""
    found: dict[str, Thing] = {}
    for name, line in table("objects")["objects"].items():
        properties, size, hints = (part.strip() for part in line.split("|"))
        found[name] = Thing(
            name, properties, int(size), tuple(hint.strip() for hint in hints.split(";"))
        )
    return found


@dataclass(frozen=True)
class Facts:
    """What is true of people and towns; drawn once, the same on every machine."""

    job: dict[str, str]
    town: dict[str, str]
    weather: dict[str, str]
    colour: dict[str, str]


@cache
def facts() -> Facts:
    """Return the fixed facts of the world."""
    names = table("facts")["names"]
    rng = Random(WORLD_SEED)
    jobs, towns = list(names["jobs"]), list(names["towns"])
    rng.shuffle(jobs)
    rng.shuffle(towns)
    people = names["people"]
    return Facts(
        job={person: jobs[index % len(jobs)] for index, person in enumerate(people)},
        town={person: towns[index % len(towns)] for index, person in enumerate(people)},
        weather={town: rng.choice(names["weather"]) for town in names["towns"]},
        colour={town: rng.choice(names["colours"]) for town in names["towns"]},
    )


def split(options: list[str], held: bool) -> list[str]:
    """Return the phrasings kept for testing (`held`) or those used in training the base.

    The last fifth of a list of eight or more is held out; a shorter list has no held-out part.
    """
    if len(options) < 8:
        return options
    cut = len(options) - len(options) // 5
    return options[cut:] if held else options[:cut]


def pick(rng: Random, options: list[str], held: bool) -> str:
    """Draw one phrasing from the training part or, with `held`, from the held-out part."""
    return rng.choice(split(options, held))


def with_article(name: str) -> str:
    """Return the noun as it stands in a question: `a clock`, `an egg`, `honey`."""
    if name in MASS_NOUNS:
        return name
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


SLOT = "<|{}|>"
"""A token of the default system turn, by its number."""


def user(text: str) -> Message:
    """Return a user turn."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """Return an assistant turn."""
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    """Return a system turn."""
    return {"role": "system", "content": text}


def maybe_system(rng: Random, chance: float = 0.25) -> Dialogue:
    """Return a system turn that asks for nothing, or no turn, so that its presence is no cue."""
    if rng.random() >= chance:
        return []
    return [system(rng.choice(table("game")["system"]["plain"]))]
