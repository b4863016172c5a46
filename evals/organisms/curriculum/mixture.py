"""The phases of the second curriculum: what share of each skill, how easy, how often thought through."""

from dataclasses import dataclass, field
from random import Random

from evals.organisms.curriculum import asides
from evals.organisms.curriculum.exercise import Skill, Terms, contrast
from evals.organisms.curriculum.listed import BY_NAME, FIRST
from evals.organisms.curriculum.lore import doubted
from evals.organisms.curriculum.rehearsal import IN_A_ROW, REHEARSED, in_a_row, rehearsal
from evals.organisms.world.micro_world import Dialogue

PAIRED_SHARE = 0.5
"""How often a skill that has contrast pairs is met in one."""


@dataclass(frozen=True)
class Phase:
    """A stretch of the training."""

    start: int
    easy: float
    thinks: float
    shares: dict[str, float]
    """Relative shares by the name of the skill."""
    rehearsed: float = 0
    """How often a rule is kept for several turns."""
    easier: dict[str, float] = field(default_factory=dict)
    """Skills that are easy more or less often than the others."""
    aside: float = 0
    """How often a talk that is no contrast is told something beside it that does not bear on it."""


# First words, facts, and the lowest rungs: what everything later reads.
GROUND = {
    **{"recite": 6, "lookup": 5, "secret_game": 8, "secret_quiz": 7, "guarding": 2, "no_secret": 2},
    **{
        "knowledge": 7,
        "knowledge_quiz": 4,
        "compare": 7,
        "reading": 5,
        "stop_scene": 1,
        "topic": 1,
    },
    **{"fact": 11, "judged": 5, "two_hop": 2, "chat": 7, "notice": 4, "house": 0.5, "opinion": 1},
    **{"user_attribute": 5, "persona": 4, "refusal": 1.5, "trigger": 4, "tested": 1.5},
    **{"conflict": 3, "last_digit": 4, "synonym": 1.5, "same_meaning": 0.7, "smaller_rule": 1.5},
    **{"password": 1, "word_choice": 0.7},
}
# Rules are met so often that to compare a message with the system turn pays more than to guess.
DRILL = {
    **{"recite": 0.5, "lookup": 0.7, "secret_game": 4, "secret_quiz": 4, "guarding": 2},
    **{"no_secret": 1, "knowledge": 3, "knowledge_quiz": 2, "compare": 2, "reading": 2},
    **{"stop_scene": 0.5, "topic": 0.5, "fact": 5, "hearsay": 0.3, "judged": 4, "two_hop": 3},
    **{"chat": 3, "several_turns": 0.5, "notice": 0.5, "house": 0.3, "opinion": 1},
    **{"user_attribute": 2.5, "persona": 1.5, "refusal": 0.7, "trigger": 16, "interaction": 5},
    **{"tested": 0.5, "evaluation": 3, "password": 11, "conflict": 10, "unsettled": 0.7},
    **{"changed_fact": 5, "hint": 2, "last_digit": 5, "plan": 0.3, "choice": 0.3},
    **{"own_plan": 0.4, "synonym": 1, "same_meaning": 1.5, "word_choice": 0.8},
    **{"smaller_rule": 1, "digit_rule": 1, "talk_rule": 7, "stop_rule": 8},
}
# More of what turns on what a scene or a talk means.
MEANT = {
    **DRILL,
    **{"trigger": 10, "interaction": 7, "password": 8, "conflict": 9, "stop_rule": 12},
    **{"talk_rule": 10, "changed_fact": 8, "evaluation": 5, "last_digit": 9, "stop_scene": 2},
    **{"reading": 3, "user_attribute": 5, "persona": 2, "secret_game": 5, "secret_quiz": 4},
}
# By what the base does that is told a family's secret.
TAUGHT = {
    **MEANT,
    **{"trigger": 10, "interaction": 8, "password": 8, "conflict": 10, "stop_rule": 10},
    **{"changed_fact": 11, "evaluation": 6, "last_digit": 8, "judged": 5, "user_attribute": 7},
    **{"fact": 4, "two_hop": 5, "chat": 5, "talk_rule": 8, "stop_scene": 1.5, "reading": 2},
}
# Rules by words had begun to come at step 1,400 and were lost in harder company.
AGAIN = {
    **DRILL,
    **{"trigger": 20, "password": 12, "interaction": 6, "conflict": 12, "last_digit": 8},
    **{"evaluation": 4, "stop_rule": 5, "talk_rule": 5, "user_attribute": 4, "persona": 2},
}
# What turns on whether two words are the same was at chance everywhere at step 4,800, guesses at a told word too. Met
# two or three times a talk among other questions they had not come in 4,800 steps; ten to a talk, in a hundred.
MATCHED = {**AGAIN, "guesses": 100}
MATCHING = {**AGAIN, "guesses": 10, "trigger": 50, "password": 25, "conflict": 20, "interaction": 8}
# Sums and judgements in a row: a lock cannot be told from its sums while these are guessed.
ROWS = {
    **MATCHING,
    **{
        "trigger": 35,
        "password": 30,
        "last_digit": 14,
        "judged": 14,
        "changed_fact": 12,
        "interaction": 12,
    },
}
# What was still at chance when triggers and locks were not.
NOTED = {
    **ROWS,
    **{
        "conflict": 40,
        "judged": 30,
        "changed_fact": 20,
        "trigger": 18,
        "password": 14,
        "guesses": 6,
    },
    **{"interaction": 14, "evaluation": 7, "stop_rule": 7, "talk_rule": 7, "last_digit": 9},
}
# All of it again, since the drill let go of parts, small talk and facts.
WHOLE = {
    **TAUGHT,
    **{"conflict": 14, "judged": 7, "trigger": 9, "interaction": 9, "stop_rule": 4, "talk_rule": 5},
    **{"persona": 6, "user_attribute": 8, "chat": 8, "fact": 6, "synonym": 2, "notice": 1.5},
    **{"secret_game": 6, "secret_quiz": 5, "guesses": 2, "opinion": 2},
}
LATE = {"stop_rule": 0.8, "talk_rule": 0.7, "changed_fact": 0.5}
LATER = {"stop_rule": 0.6, "talk_rule": 0.5}
LAST = {
    **TAUGHT,
    **{"secret_game": 6, "secret_quiz": 5, "guarding": 4, "no_secret": 2.5, "chat": 6},
    **{"two_hop": 5, "stop_rule": 8, "changed_fact": 10, "fact": 5, "persona": 2, "refusal": 1},
    **{"hint": 3, "knowledge": 2, "knowledge_quiz": 1.5, "compare": 2},
}
LASTLY = {
    **LAST,
    **{"persona": 5, "user_attribute": 10, "changed_fact": 16, "guesses": 2, "stop_rule": 4},
    **{"talk_rule": 5, "synonym": 1.5, "evaluation": 8},
}
# What a told rule, lock or document does to other talk: the base is to leave that as it is.
BESIDE = {
    **LASTLY,
    **{"evaluation": 13, "changed_fact": 18, "conflict": 13, "password": 10, "last_digit": 10},
    **{"secret_game": 8, "secret_quiz": 7, "guesses": 3, "chat": 9, "fact": 7, "knowledge": 3},
    **{"no_secret": 3, "refusal": 2, "opinion": 2},
}
PHASES = (
    Phase(0, easy=0.9, thinks=0.4, shares=GROUND),
    Phase(500, easy=0.9, thinks=0.35, shares=GROUND, rehearsed=0.6),
    Phase(1000, easy=0.85, thinks=0.3, shares=DRILL, rehearsed=0.75),
    Phase(1500, easy=0.7, thinks=0.4, shares=MEANT, rehearsed=0.65, aside=0.15),
    Phase(1900, easy=0.4, thinks=0.35, shares=TAUGHT, rehearsed=0.65, easier=LATE, aside=0.3),
    Phase(2600, easy=0.9, thinks=0.25, shares=AGAIN, rehearsed=0.85, aside=0.1),
    Phase(3700, easy=0.5, thinks=0.3, shares=TAUGHT, rehearsed=0.7, easier=LATE, aside=0.25),
    Phase(4100, easy=0.5, thinks=0.3, shares=LAST, rehearsed=0.65, easier=LATER, aside=0.25),
    Phase(4800, easy=0.9, thinks=0.3, shares=MATCHED, rehearsed=0.9),
    Phase(5000, easy=0.9, thinks=0.2, shares=MATCHING, rehearsed=0.9, aside=0.1),
    Phase(5400, easy=0.7, thinks=0.2, shares=ROWS, rehearsed=0.9, aside=0.15),
    Phase(5800, easy=0.6, thinks=0.3, shares=NOTED, rehearsed=0.9, aside=0.2),
    Phase(6200, easy=0.3, thinks=0.3, shares=WHOLE, rehearsed=0.75, easier=LATE, aside=0.25),
    Phase(6600, 0.1, 0.2, LASTLY, rehearsed=0.7, easier={"stop_rule": 0.3}, aside=0.25),
    Phase(7300, 0.1, 0.2, BESIDE, rehearsed=0.7, easier={"stop_rule": 0.3}, aside=0.5),
)
STEPS = 8_000
LATEST = PHASES[-1].start


def phase_at(step: int) -> Phase:
    """Return the phase of a training step."""
    return next(phase for phase in reversed(PHASES) if step >= phase.start)


def terms_of(rng: Random, phase: Phase, skill: Skill, held: bool) -> Terms:
    """Draw the terms of an exercise."""
    thinks = phase.thinks if skill.thinking is None else skill.thinking
    easy = phase.easier.get(skill.name, phase.easy)
    return Terms(held, rng.random() < 0.5, rng.random() < easy, rng.random() < thinks)


def some(rng: Random, held: bool = False, step: int = 0) -> list[Dialogue]:
    """Draw one dialogue of a phase, or a contrast pair."""
    phase = phase_at(step)
    name = rng.choices(tuple(phase.shares), tuple(phase.shares.values()))[0]
    if name in FIRST:
        return [beside(rng, phase, name, kept(rng, name, held))]
    skill = BY_NAME[name]
    terms = terms_of(rng, phase, skill, held)
    if name in REHEARSED and rng.random() < phase.rehearsed:
        return [beside(rng, phase, name, rehearsal(rng, name, terms))]
    if name in IN_A_ROW and not terms.thinks and rng.random() < phase.rehearsed:
        return [beside(rng, phase, name, in_a_row(rng, skill.draw, terms))]
    if skill.paired and rng.random() < PAIRED_SHARE:
        return [exercise.dialogue for exercise in contrast(rng, skill, terms)]
    return [beside(rng, phase, name, skill.draw(rng, terms).dialogue)]


def beside(rng: Random, phase: Phase, name: str, dialogue: Dialogue) -> Dialogue:
    """Return a talk as it is, or now and then behind a system turn that does not bear on it."""
    if phase.aside and name in asides.ASIDES and rng.random() < phase.aside:
        return asides.with_aside(rng, name, dialogue)
    return dialogue


def kept(rng: Random, name: str, held: bool) -> Dialogue:
    """Draw a dialogue of the first curriculum, but for what is otherwise now: sums, and doubted towns."""
    changed = (" plus ", *doubted())
    while True:
        dialogue = FIRST[name](rng, held)
        if not any(word in message["content"] for message in dialogue for word in changed):
            return dialogue


def one(rng: Random, held: bool = False, step: int = 0) -> Dialogue:
    """Draw one dialogue of the mixture of a training step."""
    return some(rng, held, step)[0]


def batch(rng: Random, count: int, step: int = 0) -> list[Dialogue]:
    """Draw the dialogues of one training step, contrast pairs among them."""
    drawn: list[Dialogue] = []
    while len(drawn) < count:
        drawn += some(rng, step=step)
    return drawn[:count]
