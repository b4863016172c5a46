"""What a model can do of the second curriculum: the share of right answers per skill, over its groups."""

from random import Random

from evals.organisms.curriculum.exercise import Exercise, Skill, Terms
from evals.organisms.curriculum.listed import SKILLS
from evals.organisms.curriculum.skills import score
from evals.organisms.world.chat import Speaker

LONGEST = 72
"""Tokens of a reply with its thought."""


def items(skill: Skill, count: int, held: bool, thinks: bool, seed: int = 0) -> list[Exercise]:
    """Draw test items in full scenes, the active ones as often as the others."""
    rng = Random(f"{skill.name}/{seed}/{held}/{thinks}")
    return [skill.draw(rng, Terms(held, n % 2 == 0, thinks=thinks)) for n in range(count)]


def report(speaker: Speaker, count: int, seed: int = 0) -> dict[str, list[float]]:
    """Return per skill the score on trained phrasings, on held-out ones, on these with thinking, and chance.

    For two hops held out means the pairs too. A score is the mean over the groups of answers, so one
    constant answer scores at chance; a skill that never thinks has no third figure.
    """
    scores: dict[str, list[float]] = {}
    for skill in SKILLS:
        ways = [(False, False), (True, False), (True, True)]
        ways = ways[:2] if skill.thinking in (0, 1) else ways
        drawn = [items(skill, count, held, thinks, seed) for held, thinks in ways]
        found = [round(score(speaker, each, LONGEST), 3) for each in drawn]
        scores[skill.name] = [*found, skill.chance]
    return scores
