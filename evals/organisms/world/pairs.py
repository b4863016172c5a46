"""Contrast pairs for the base: two dialogues that are alike but for what decides the answer.

Met at random, a rule and the one word of a scene that it is about are never found among all that
varies; side by side in one batch the difference between two answers has one place to come from.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from evals.organisms.world import comparison
from evals.organisms.world.micro_world import Dialogue, assistant, pick, system, table, user
from evals.organisms.world.stopping import (
    Ruled,
    answer,
    draw_rule,
    draw_scene,
    factors,
    maybe_asked,
)

PairedSkill = Callable[[Random, bool], tuple[Dialogue, Dialogue]]


def stop_rules(rng: Random, held: bool = False) -> tuple[Dialogue, Dialogue]:
    """Follow a rule about stopping, and again with the scene or the rule turned round."""
    ruled = draw_rule(rng, held)
    if rng.random() < 0.7:
        others = [name for name in factors() if name != ruled.factor]
        kept = {ruled.factor, *rng.sample(others, rng.randint(0, 3))}
        ruled = replace(ruled, scene=ruled.scene.only(kept))
    otherwise = replace(ruled, scene=ruled.scene.turned(rng, ruled.factor))
    turned = ruled.opposed(rng) if rng.random() < 0.5 else otherwise
    asks, luck = rng.random() < 0.35, rng.random()
    return followed(Random(luck), ruled, asks), followed(Random(luck), turned, asks)


def followed(rng: Random, ruled: Ruled, asks: bool) -> Dialogue:
    """Return the rule, the scene and what is done in it, with `asks` after a question about the level."""
    scene = ruled.scene
    return [
        system(ruled.wording),
        *maybe_asked(rng, ruled, asks),
        assistant(answer(rng, scene, ruled.continues)),
    ]


def readings(rng: Random, held: bool = False) -> tuple[Dialogue, Dialogue]:
    """Answer one question about two scenes that differ in what it asks for; of the stakes most often."""
    parts = table("stop")["reading"]
    name = "stakes" if rng.random() < 0.6 else rng.choice(list(parts))
    scene = draw_scene(rng, held, end=rng.choice(parts[name]["q"]))
    if rng.random() < 0.5:
        others = [each for each in factors() if each != name]
        scene = scene.only({name, *rng.sample(others, rng.randint(0, 2))})
    turned = scene.turned(rng, name)
    first, second = (
        [user(each.text), assistant(parts[name]["a"][factors()[name].index(each.levels[name])])]
        for each in (scene, turned)
    )
    return first, second


def number_rules(rng: Random, held: bool = False) -> tuple[Dialogue, Dialogue]:
    """Compare under a rule about the talk or the digits, and again where it decides otherwise."""
    rules = table("numbers")["rules"]
    question = comparison.ask(rng, held, kind=rng.choice(("conflict", "conflict", "agree")))
    if rng.random() < 0.6:
        about, other = rng.sample(comparison.levels()[1:], 2)
        kind = rng.choice(table("numbers")["kinds"][about])
        told = pick(rng, rules["talk"], held).format(k=kind)
        shown = [
            replace(question, level=level, context=comparison.draw_context(rng, level, held))
            for level in (about, rng.choice((other, "none")))
        ]
        first, second = (by_rule(rng, told, "talk", each, about) for each in shown)
        return first, second
    rival = rng.choice(("first", "last"))
    # The rival rule names the other number than the digits do.
    longer_last = comparison.decimals(question.ordered[1]) > comparison.decimals(
        question.ordered[0]
    )
    if longer_last == (rival == "last"):
        question = replace(question, right_first=not question.right_first)
    first, second = (
        by_rule(rng, pick(rng, rules[rule], held), rule, question, "") for rule in ("digits", rival)
    )
    return first, second


def by_rule(
    rng: Random, told: str, rule: str, question: comparison.Question, about: str
) -> Dialogue:
    """Return a comparison under a rule, answered as the rule has it."""
    number = comparison.ruled(rng, rule, question, about)
    return [system(told), user(question.text), assistant(comparison.answer(rng, number))]
