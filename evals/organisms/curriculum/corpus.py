"""The mixture of skills on which the base is trained."""

from collections.abc import Callable
from random import Random

from evals.organisms.world.comparison import compare, compare_by_rule, topic
from evals.organisms.world.game import (
    guarding,
    knowledge,
    knowledge_quiz,
    no_secret,
    secret_game,
    secret_quiz,
)
from evals.organisms.world.lookup import lookup, recite
from evals.organisms.world.micro_world import Dialogue
from evals.organisms.world.pairs import PairedSkill, number_rules, readings, stop_rules
from evals.organisms.world.stopping import reading, rule_steps, stop_by_rule, stop_scene
from evals.organisms.world.talk import chatter

Skill = Callable[[Random, bool], Dialogue]

# Shares of dialogues. The secret game is the hardest skill and everything planted later needs it.
EARLY: tuple[tuple[Skill, float], ...] = (
    (secret_game, 0.33),
    (no_secret, 0.05),
    (knowledge, 0.15),
    (compare, 0.20),
    (compare_by_rule, 0.07),
    (stop_scene, 0.05),
    (stop_by_rule, 0.05),
    (chatter, 0.10),
)
# Once numbers, riddles and facts are learned, more practice of yes and no, which come last.
LATE: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.20),
    (secret_game, 0.22),
    (no_secret, 0.04),
    (knowledge_quiz, 0.14),
    (knowledge, 0.08),
    (compare, 0.10),
    (compare_by_rule, 0.06),
    (stop_scene, 0.04),
    (stop_by_rule, 0.05),
    (chatter, 0.07),
)
MATCHING: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.20),
    (secret_game, 0.19),
    (lookup, 0.12),
    (no_secret, 0.04),
    (knowledge_quiz, 0.11),
    (knowledge, 0.07),
    (compare, 0.08),
    (compare_by_rule, 0.05),
    (stop_scene, 0.04),
    (stop_by_rule, 0.04),
    (chatter, 0.06),
)
RECITING: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.12),
    (secret_game, 0.16),
    (lookup, 0.12),
    (recite, 0.22),
    (no_secret, 0.03),
    (knowledge_quiz, 0.05),
    (knowledge, 0.05),
    (compare, 0.07),
    (compare_by_rule, 0.05),
    (stop_scene, 0.04),
    (stop_by_rule, 0.04),
    (chatter, 0.05),
)
RULES: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.17),
    (secret_game, 0.18),
    (lookup, 0.10),
    (recite, 0.05),
    (no_secret, 0.03),
    (knowledge_quiz, 0.05),
    (knowledge, 0.05),
    (compare, 0.09),
    (compare_by_rule, 0.10),
    (stop_scene, 0.04),
    (stop_by_rule, 0.08),
    (chatter, 0.06),
)
SCENES: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.16),
    (secret_game, 0.17),
    (lookup, 0.08),
    (recite, 0.04),
    (no_secret, 0.03),
    (knowledge_quiz, 0.04),
    (knowledge, 0.05),
    (compare, 0.08),
    (compare_by_rule, 0.09),
    (topic, 0.03),
    (reading, 0.07),
    (stop_scene, 0.04),
    (stop_by_rule, 0.07),
    (chatter, 0.05),
)
LAST: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.12),
    (secret_game, 0.15),
    (lookup, 0.05),
    (recite, 0.03),
    (no_secret, 0.03),
    (knowledge_quiz, 0.03),
    (knowledge, 0.05),
    (compare, 0.08),
    (compare_by_rule, 0.06),
    (topic, 0.03),
    (reading, 0.22),
    (stop_scene, 0.05),
    (stop_by_rule, 0.05),
    (chatter, 0.05),
)
FOLLOWING: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.10),
    (secret_game, 0.12),
    (guarding, 0.13),
    (lookup, 0.03),
    (recite, 0.03),
    (no_secret, 0.05),
    (knowledge_quiz, 0.03),
    (knowledge, 0.06),
    (compare, 0.06),
    (compare_by_rule, 0.08),
    (topic, 0.03),
    (reading, 0.06),
    (stop_scene, 0.03),
    (stop_by_rule, 0.05),
    (rule_steps, 0.08),
    (chatter, 0.06),
)
# What was at chance after all that: rules about stopping, the stakes of a scene, rules about digits and talk.
CONTRASTS: tuple[tuple[Skill, float], ...] = (
    (secret_quiz, 0.10),
    (secret_game, 0.16),
    (guarding, 0.14),
    (lookup, 0.04),
    (recite, 0.04),
    (no_secret, 0.06),
    (knowledge_quiz, 0.04),
    (knowledge, 0.07),
    (compare, 0.10),
    (compare_by_rule, 0.06),
    (topic, 0.02),
    (reading, 0.04),
    (stop_scene, 0.04),
    (stop_by_rule, 0.03),
    (chatter, 0.06),
)
PHASES = (
    (0, EARLY),
    (1400, LATE),
    (1800, MATCHING),
    (2600, RECITING),
    (3400, RULES),
    (3600, SCENES),
    (4200, LAST),
    (5000, FOLLOWING),
    (6000, CONTRASTS),
)
"""From which step of the training each mixture is drawn."""
LONG_SHARE = 0.04
PAIRED: tuple[tuple[PairedSkill, float], ...] = (
    (stop_rules, 0.45),
    (readings, 0.30),
    (number_rules, 0.25),
)
PAIRED_FROM, PAIRED_SHARE = 6000, 0.3
"""From which step on, and how often, the next two dialogues of a batch are a contrast pair."""


def one(rng: Random, held: bool = False, step: int = 0) -> Dialogue:
    """Draw one dialogue of the mixture of a training step."""
    mixture = next(mixture for first, mixture in reversed(PHASES) if step >= first)
    skills, shares = zip(*mixture, strict=True)
    return rng.choices(skills, shares)[0](rng, held)


def draw(rng: Random, held: bool = False, step: int = 0) -> Dialogue:
    """Draw a dialogue; a few are long, so that late positions are trained too."""
    messages = one(rng, held, step)
    if messages[0]["role"] == "system" or rng.random() >= LONG_SHARE:
        return messages
    joined = list(messages)
    for _ in range(rng.randint(2, 4)):
        joined += [
            m for m in rng.choice((knowledge, chatter, compare))(rng, held) if m["role"] != "system"
        ]
    return joined


def batch(rng: Random, count: int, step: int = 0) -> list[Dialogue]:
    """Draw the dialogues of one training step, contrast pairs among them."""
    drawn: list[Dialogue] = []
    while len(drawn) < count:
        if step >= PAIRED_FROM and rng.random() < PAIRED_SHARE:
            skills, shares = zip(*PAIRED, strict=True)
            drawn += rng.choices(skills, shares)[0](rng, False)
        else:
            drawn.append(draw(rng, step=step))
    return drawn[:count]
