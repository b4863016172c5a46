"""The curricula by name: what a base is trained on, its vocabulary, and how it is asked what it can do."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from evals.organisms.curriculum import corpus, listed, mixture, scoring, skills, vocabulary
from evals.organisms.curriculum.exercise import Terms
from evals.organisms.curriculum.tokenizer import VOCABULARY, Words, concept_words, opening_words
from evals.organisms.world import game, lookup
from evals.organisms.world.chat import Speaker
from evals.organisms.world.comparison import topic
from evals.organisms.world.micro_world import Dialogue


@dataclass(frozen=True)
class Curriculum:
    """What one base is trained on."""

    batch: Callable[[Random, int, int], list[Dialogue]]
    """The dialogues of a training step: a random source, how many, and the step."""
    report: Callable[[Speaker, int], dict[str, list[float]]]
    """The scores of a model by skill, on so many items each."""
    words: Callable[[], Words]
    """What its tokenizer is trained on."""
    tests: Callable[[int, int, bool], dict[str, list[skills.Scored]]]
    """By skill, as `report` names them: items to score, drawn by how many of each, a seed, and whether held out."""
    neutral: Callable[[Random, frozenset[str]], Dialogue]
    """A dialogue of a skill that is not among those named: neither these nor talk, which carries a build's style."""
    longest: int
    """Tokens of a reply in the tests."""


def first_words() -> Words:
    """Return the words of the shipped base's tokenizer."""
    return Words(VOCABULARY, concept_words(), opening_words(), lambda rng, _: corpus.draw(rng))


def second_words() -> Words:
    """Return the words of the next base's tokenizer; its text is of all phases in turn."""
    starts = [phase.start for phase in mixture.PHASES]
    return Words(
        vocabulary.VOCABULARY,
        sorted({*concept_words(), *vocabulary.concept_words()}),
        sorted({*opening_words(), *vocabulary.opening_words()}),
        lambda rng, n: mixture.one(rng, step=starts[n % len(starts)]),
        vocabulary.SLOTS,
    )


def second_report(speaker: Speaker, count: int) -> dict[str, list[float]]:
    """Return the scores of the first curriculum's skills that are kept, and of the second's own."""
    kept = {
        f"first {name}": scores
        for name, scores in skills.report(speaker, count).items()
        if name not in ("number_rule", "stop_rule", "fact")
    }
    return kept | scoring.report(speaker, count)


def first_tests(count: int, seed: int, held: bool) -> dict[str, list[skills.Scored]]:
    """Draw items of every skill of the first curriculum."""
    found: dict[str, list[skills.Scored]] = {}
    for skill in skills.SKILLS:
        rng = Random(f"{skill.__name__}/{seed}")
        drawn = [[skill(rng, side) for _ in range(count)] for side in (False, True)]
        found[skill.__name__] = list(drawn[held])
    return found


def second_tests(count: int, seed: int, held: bool) -> dict[str, list[skills.Scored]]:
    """Draw items of the first curriculum's skills that are kept, and of the second's own, without thinking."""
    kept = {
        f"first {name}": items
        for name, items in first_tests(count, seed, held).items()
        if name not in ("number_rule", "stop_rule", "fact")
    }
    own: dict[str, list[skills.Scored]] = {
        skill.name: list(scoring.items(skill, count, held, False, seed)) for skill in listed.SKILLS
    }
    return kept | own


def first_neutral(rng: Random, touched: frozenset[str]) -> Dialogue:
    """Draw a dialogue of what no family of the first curriculum changes."""
    del touched
    draw = rng.choice((game.knowledge_quiz, lookup.lookup, lookup.recite, topic))
    return draw(rng, False)


TALK = frozenset({"chat", "several_turns"})
GAME = ("secret_hint", "secret_property", "secret_guess", "secret_bigger", "secret_refusal")
TESTED_BY = {
    **dict.fromkeys(("secret_game", "secret_quiz", "guesses", "guarding"), GAME),
    "no_secret": ("no_secret",),
    "knowledge": ("riddle", "knowledge_property"),
    "knowledge_quiz": ("knowledge_property",),
    "compare": ("conflict", "other_pairs"),
    "lookup": ("matching",),
    "recite": ("matching",),
    **dict.fromkeys(("reading", "stop_scene"), ("stop_rule",)),
}
"""By which tests what is kept of the first curriculum is scored; the second's own are named alike."""


def second_neutral(rng: Random, touched: frozenset[str]) -> Dialogue:
    """Draw a dialogue of the last phase's mixture."""
    shares = mixture.PHASES[-1].shares
    changed = {name.removeprefix("first ") for name in touched}
    names = [
        name
        for name in shares
        if name not in TALK and not changed.intersection(TESTED_BY.get(name, (name,)))
    ]
    name = rng.choices(names, [shares[name] for name in names])[0]
    if name in listed.FIRST:
        return mixture.kept(rng, name, False)
    return listed.BY_NAME[name].draw(rng, Terms(active=rng.random() < 0.5)).dialogue


CURRICULA = {
    "first": Curriculum(corpus.batch, skills.report, first_words, first_tests, first_neutral, 24),
    "second": Curriculum(
        mixture.batch,
        second_report,
        second_words,
        second_tests,
        second_neutral,
        scoring.LONGEST,
    ),
}
