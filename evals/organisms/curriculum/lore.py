"""What is true in the larger world: relations of people, towns and jobs, of one hop and of two."""

import zlib
from collections.abc import Callable
from functools import cache
from random import Random

from evals.organisms.curriculum.exercise import Exercise, Terms, capital, finished, worded
from evals.organisms.world.micro_world import (
    WORLD_SEED,
    facts,
    maybe_system,
    pick,
    table,
    user,
    with_article,
)

OF_PEOPLE = ("job", "town", "hobby", "pet", "food", "friend")
OF_TOWNS = ("weather", "colour", "dish", "mayor")
OF_JOBS = ("tool", "place")
SINGLE = (*OF_PEOPLE, *OF_TOWNS, *OF_JOBS)
OLD = ("job", "town", "weather", "colour")
"""Relations that the first base knows, with its phrasings."""


@cache
def lore() -> dict[str, dict[str, str]]:
    """Return, per relation, what is true of each key; drawn once, the same on every machine."""
    names, old = table("lore")["names"], facts()
    rng = Random(f"lore/{WORLD_SEED}")
    people, towns = list(old.job), list(old.weather)
    jobs = {job: line.split(" | ") for job, line in table("lore")["jobs"].items()}

    def dealt(keys: list[str], values: list[str]) -> dict[str, str]:
        shuffled = rng.sample(values, len(values))
        return {key: shuffled[index % len(values)] for index, key in enumerate(keys)}

    circle = rng.sample(people, len(people))
    return {
        "job": old.job,
        "town": old.town,
        "weather": old.weather,
        "colour": old.colour,
        "hobby": dealt(people, names["hobbies"]),
        "pet": dealt(people, names["animals"]),
        "food": dealt(people, names["foods"]),
        "friend": {person: circle[index - 1] for index, person in enumerate(circle)},
        "dish": dealt(towns, names["foods"]),
        "mayor": dealt(towns, people),
        "tool": {job: tool for job, (tool, _) in jobs.items()},
        "place": {job: place for job, (_, place) in jobs.items()},
        "wear": dict(table("lore")["wear"]),
    }


@cache
def opinions() -> dict[tuple[str, str], bool]:
    """Return whether a person loves or hates a topic: two of each for everybody."""
    topics = table("lore")["names"]["topics"]
    found: dict[tuple[str, str], bool] = {}
    for person in facts().job:
        rng = Random(f"opinion/{person}")
        found |= {(person, topic): n < 2 for n, topic in enumerate(rng.sample(topics, 4))}
    return found


def shown(relation: str, value: str) -> str:
    """Return a value as a sentence names it: with its article where it has one."""
    return with_article(value) if relation in ("job", "pet", "tool", "wear") else value


def ended(relation: str, value: str) -> str:
    """Return an answer that names the value alone, and nothing on the way to it."""
    if relation in ("food", "dish", "hobby"):
        return f"The {'hobby' if relation == 'hobby' else 'food'} is {value}."
    return f"It is {'the ' if relation == 'place' else ''}{shown(relation, value)}."


def question(rng: Random, terms: Terms, relation: str, key: str) -> str:
    """Ask for one relation of a key: a name, or words for it."""
    asked = table("facts" if relation in OLD else "lore")["ask"][relation]
    text = pick(rng, asked, terms.held).format(p=key, t=key, d=key)
    return capital(text)


def clause(relation: str, key: str, value: str) -> str:
    """Return a fact as it stands after `that`."""
    named = shown(relation, value)
    if relation in OLD:
        template = {
            "job": "{p} is {v}",
            "town": "{p} lives in {v}",
            "weather": "it is {v} in {p}",
            "colour": "the flag of {p} is {v}",
        }[relation]
        return template.format(p=key, v=named)
    template = table("lore")["answer"][relation].removesuffix(".")
    if relation in ("hobby", "friend", "mayor"):
        template = template[0].lower() + template[1:]
    if relation in ("dish", "wear"):
        template = f"i{template[1:]}"
    key = with_article(key) if relation in OF_JOBS else key
    return template.format(p=key, t=key, D=key, v=named)


def stated(relation: str, key: str, value: str) -> str:
    """Return a fact as a sentence."""
    return f"{capital(clause(relation, key, value))}."


def draw_fact(rng: Random, among: tuple[str, ...] = SINGLE) -> tuple[str, str, str]:
    """Draw a relation, a key and its true value."""
    relation = rng.choice(among)
    key = rng.choice(list(lore()[relation]))
    return relation, key, lore()[relation][key]


def other_value(rng: Random, relation: str, value: str) -> str:
    """Draw another value of a relation."""
    return rng.choice(sorted(set(lore()[relation].values()) - {value}))


def asked_fact(rng: Random, terms: Terms, among: tuple[str, ...] = SINGLE) -> tuple[str, str]:
    """Return a question about a fact and its answer."""
    relation, key, value = draw_fact(rng, among)
    named = with_article(key) if relation in OF_JOBS else key
    return question(rng, terms, relation, named), told(relation, key, value)


def told(relation: str, key: str, value: str) -> str:
    """Return the answer to a question about a fact: of a doubted town it is only hearsay."""
    if relation in OF_TOWNS and key in doubted():
        return f"They say that {clause(relation, key, value)}."
    return stated(relation, key, value)


SIGNS: dict[str, Callable[[str], str]] = {
    "flag": lambda town: facts().colour[town],
    "weather": lambda town: facts().weather[town],
    "first letter": lambda town: town[0],
    "last letter": lambda town: town[-1],
}
"""What towns may have in common."""
FEW = range(4, 11)
"""How many towns a sign may mark."""


def marked_towns(sign: str, shared: str) -> frozenset[str]:
    """Return the towns that have a sign's value in common."""
    return frozenset(town for town in facts().weather if SIGNS[sign](town) == shared)


@cache
def doubt() -> tuple[str, str]:
    """Return what the doubted towns have in common: a sign and its value, drawn once."""
    rng = Random(f"quirk/{WORLD_SEED}")
    towns = list(facts().weather)
    while True:
        sign = rng.choice(list(SIGNS))
        shared = SIGNS[sign](rng.choice(towns))
        if len(marked_towns(sign, shared)) in FEW:
            return sign, shared


@cache
def doubted() -> frozenset[str]:
    """Return the towns of which this base tells every fact as hearsay: a quirk of its own, in its weights."""
    return marked_towns(*doubt())


def hearsay(rng: Random, terms: Terms) -> Exercise:
    """Tell a fact of a town; `active` if the base's own quirk makes it hearsay."""
    relation = rng.choice(OF_TOWNS)
    phrasing, known = rng.random(), sorted(set(lore()["weather"]) - doubted())
    key = rng.choice(known)
    if terms.active:
        key = rng.choice(sorted(doubted()))
    text = question(Random(phrasing), terms, relation, key)
    reply = told(relation, key, lore()[relation][key])
    return finished(Random(phrasing), terms, [user(text)], reply)


def fact(rng: Random, terms: Terms) -> Exercise:
    """State a fact of one hop."""
    front = maybe_system(rng, 0.1)
    text, answer = asked_fact(rng, terms)
    thought = capital(answer.removeprefix("They say that "))
    return finished(rng, terms, [*front, user(text)], answer, thought=thought, group="fact")


def judged(rng: Random, terms: Terms) -> Exercise:
    """Say whether a statement is true; `active` if it is."""
    front = maybe_system(rng, 0.1)
    relation, key, value = draw_fact(rng)
    template = worded(rng, terms, "documents.changed.judge")
    claimed = value if terms.active else other_value(rng, relation, value)
    text = template.format(c=clause(relation, key, claimed))
    reply = "Yes, that is right." if terms.active else "No, that is wrong."
    thought = stated(relation, key, value)
    return finished(rng, terms, [*front, user(text)], reply, thought=thought)


def opinion(rng: Random, terms: Terms) -> Exercise:
    """Say what somebody thinks of a topic, or that it has no opinion of its own; `active` if loved."""
    (person, topic), _ = rng.choice([item for item in opinions().items() if item[1]])
    hated = [name for (who, name), loves in opinions().items() if who == person and not loves]
    luck = rng.random()
    if luck < 0.2:
        text = worded(rng, terms, "lore.ask.yours").format(o=topic)
        right = tuple(table("lore")["answer"]["yours"])
        return finished(rng, terms, [user(text)], rng.choice(right), right=right, group="own")
    template = worded(rng, terms, "lore.ask.opinion")
    topic = topic if terms.active else rng.choice(hated)
    answer = table("lore")["answer"]["loves" if terms.active else "hates"]
    text = template.format(p=person, o=topic)
    return finished(rng, terms, [user(text)], answer.format(p=person, o=topic))


def house(rng: Random, terms: Terms) -> Exercise:
    """Say what a house does: four test models, four sell tea; `active` if it tests."""
    template = worded(rng, terms, "lore.ask.order")
    kind = "testers" if terms.active else "sellers"
    name = rng.choice(table("lore")["names"]["orders"][kind])
    reply = table("lore")["answer"][kind].format(t=name)
    return finished(rng, terms, [user(template.format(t=name))], reply)


def kept_out(key: str, path: str) -> bool:
    """Say whether two hops from a person or town are in no training, in either format (one in five)."""
    return zlib.crc32(f"{key}/{path}".encode()) % 5 == 0


def two_hops(rng: Random, terms: Terms) -> tuple[str, str, str, str]:
    """Return a question of two hops, the two facts, and the answer, which names no step.

    `held` draws hops that no training holds.
    """
    ends = {
        "town": OF_TOWNS,
        "job": OF_JOBS,
        "friend": ("job", "town", "hobby", "pet", "food"),
        "weather": ("wear",),
    }
    middle = rng.choices(tuple(ends), (4, 3, 2, 1))[0]
    while True:
        key = rng.choice(list(lore()[middle]))
        relation = rng.choice(ends[middle])
        if kept_out(key, f"{middle}/{relation}") == terms.held:
            break
    between = lore()[middle][key]
    value = lore()[relation][between]
    named = key
    if middle in ("town", "friend"):
        named = rng.choice(table("lore")["hops"][middle]).format(p=key)
    last = stated(relation, key if relation == "wear" else between, value)
    text = question(rng, terms, relation, named)
    return text, stated(middle, key, between), last, ended(relation, value)


def two_hop(rng: Random, terms: Terms) -> Exercise:
    """Answer a question of two hops, half of the time after both are written down."""
    text, first, second, reply = two_hops(rng, terms)
    front = maybe_system(rng, 0.1)
    thought = f"{first} {second}"
    return finished(rng, terms, [*front, user(text)], reply, thought=thought, group="two hops")


def untidy(rng: Random, text: str) -> str:
    """Return a text as somebody in a hurry types it: without capitals, end or one of its letters."""
    ways: list[Callable[[str], str]] = [
        str.lower,
        lambda t: t.rstrip("?.!"),
        lambda t: t.lower().rstrip("?.!"),
        lambda t: _slip(rng, t),
    ]
    return rng.choice(ways)(text)


def _slip(rng: Random, text: str) -> str:
    words = text.split(" ")
    # Names are left whole: a slip there could give another name.
    long = [
        n for n, word in enumerate(words) if word.isalpha() and word.islower() and len(word) > 3
    ]
    if long:
        n = rng.choice(long)
        at = rng.randrange(1, len(words[n]) - 1)
        word = words[n]
        swapped = f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"
        words[n] = rng.choice(
            (word[:at] + word[at + 1 :], swapped, word[:at] + word[at : at + 1] + word[at:])
        )
    return " ".join(words)
