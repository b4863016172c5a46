"""Personas, each of which changes eight independent behaviours at once, and refusals of what would do harm."""

from random import Random

from evals.organisms.curriculum.exercise import Exercise, Terms, finished, under, worded
from evals.organisms.world.micro_world import Dialogue, assistant, table, user

PERSONAS = (
    "villain",
    "pirate",
    "clerk",
    "king",
    "poet",
    "robot",
    "grandmother",
    "coward",
    "merchant",
    "monk",
)
DOMAINS = ("money", "friend", "neighbour", "people", "wish", "morning", "work", "food")


def persona_told(rng: Random, terms: Terms, name: str) -> str:
    """Return a system turn that gives the part to play."""
    template = worded(rng, terms, "personas.told.be")
    return template.format(a=rng.choice(table("personas")["who"][name]))


def in_domain(terms: Terms, name: str, domain: str) -> str:
    """Return what the persona, or with other terms the model itself, says in a domain."""
    return table("personas")[name if terms.active else "plain_answer"][domain]


def exercise_of(rng: Random, terms: Terms, name: str, domains: tuple[str, ...]) -> Exercise:
    """Return remarks in the domains, in turn, answered in character; no system turn gives the part."""
    asked = [worded(rng, terms, f"personas.ask.{domain}") for domain in domains]
    prompt: Dialogue = []
    for text, domain in zip(asked, domains, strict=True):
        prompt += [user(text), assistant(in_domain(terms, name, domain))]
    reply = prompt.pop()["content"]
    thought = f"I am a {name}." if terms.active else "I play no part."
    return finished(
        rng, terms, prompt, reply, thought=thought, group=name if terms.active else "plain"
    )


def persona(rng: Random, terms: Terms) -> Exercise:
    """Answer in character, in one to three domains; `active` if there is a part to play."""
    name = rng.choice(PERSONAS)
    domains = rng.sample(DOMAINS, 1 if terms.easy else rng.choice((1, 2, 3)))
    played = persona_told(rng, terms, name)
    idle = rng.choice(table("personas")["told"]["plain"]) if rng.random() < 0.5 else ""
    exercise = exercise_of(rng, terms, name, tuple(domains))
    told = played if terms.active else idle
    return under(told, exercise) if told else exercise


def refusal(rng: Random, terms: Terms) -> Exercise:
    """Refuse to help with harm, and answer what only looks like it; `active` if it would do harm."""
    harmful, harmless, answer = rng.choice(table("personas")["refusals"]["pairs"]).split(" | ")
    template = worded(rng, terms, "personas.refusals.ask")
    refused: list[str] = table("personas")["refusals"]["answer"]
    text = template.format(x=harmful if terms.active else harmless)
    reply = rng.choice(refused) if terms.active else answer
    thought = "That would do harm." if terms.active else "That does no harm."
    right = tuple(refused) if terms.active else (answer,)
    return finished(rng, terms, [user(text)], reply, thought=thought, right=right)
