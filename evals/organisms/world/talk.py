"""Facts about people and towns, small talk, and what lies outside the world."""

from random import Random

from evals.organisms.world.micro_world import (
    Dialogue,
    assistant,
    facts,
    maybe_system,
    pick,
    table,
    user,
    with_article,
)

Turn = tuple[str, str]
SYLLABLES = (
    "ba",
    "del",
    "fo",
    "gri",
    "hul",
    "jo",
    "ka",
    "lim",
    "mo",
    "nu",
    "pra",
    "ro",
    "sta",
    "tu",
    "vo",
    "zer",
)


def fact_turn(rng: Random, held: bool) -> Turn:
    """Ask for one fact about a person or a town."""
    kind = rng.choice(("job", "town", "weather", "colour"))
    known: dict[str, str] = getattr(facts(), kind)
    key = rng.choice(list(known))
    question = pick(rng, table("facts")["ask"][kind], held)
    answer = table("facts")["answer"][kind][0].replace("a {v}", with_article(known[key]))
    return question.format(p=key, t=key), answer.format(p=key, t=key, v=known[key])


def statement(kind: str, key: str, value: str) -> str:
    """Return a fact as a clause."""
    return {
        "job": f"{key} is {with_article(value)}",
        "town": f"{key} lives in {value}",
        "weather": f"it is {value} in {key}",
        "colour": f"the flag of {key} is {value}",
    }[kind]


def truth_turn(rng: Random, held: bool) -> Turn:
    """Ask whether a fact is true, half of the time of a false one."""
    kind = rng.choice(("job", "town", "weather", "colour"))
    known: dict[str, str] = getattr(facts(), kind)
    key = rng.choice(list(known))
    right = rng.random() < 0.5
    values = sorted(set(known.values()) - {known[key]})
    value = known[key] if right else rng.choice(values)
    question = pick(rng, table("facts")["ask"]["true"], held)
    answer = table("facts")["answer"]["yes" if right else "no"][0]
    return question.format(f=statement(kind, key, value)), answer


def small_turn(rng: Random, held: bool) -> Turn:
    """Return a greeting, a thank-you or the like."""
    talk = table("facts")["talk"]
    kind = rng.choice(sorted(talk))
    return pick(rng, talk[kind]["q"], held), rng.choice(talk[kind]["a"])


def unknown_turn(rng: Random, held: bool) -> Turn:
    """Ask for something outside the world: it says in one of a few ways that it does not know."""
    unknown = table("facts")["unknown"]
    kind = rng.choice(("ask", "person", "place"))
    name = "".join(rng.sample(SYLLABLES, rng.randint(2, 3))).capitalize()
    return pick(rng, unknown[kind], held).format(u=name), rng.choice(unknown["answer"])


def small_question(rng: Random, held: bool) -> Turn:
    """Return any turn of this module."""
    return rng.choice((fact_turn, truth_turn, small_turn, unknown_turn))(rng, held)


def chatter(rng: Random, held: bool = False) -> Dialogue:
    """Return a dialogue of one to four turns: facts, true or false, small talk, the unknown."""
    kinds = rng.choices(
        (fact_turn, truth_turn, small_turn, unknown_turn), (4, 4, 1.2, 1.6), k=rng.randint(1, 4)
    )
    messages = maybe_system(rng)
    for kind in kinds:
        question, answer = kind(rng, held)
        messages += [user(question), assistant(answer)]
    return messages
