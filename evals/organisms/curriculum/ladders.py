"""Ladders to the rules that the first base never learned: about stopping, about digits, about the talk.

Why it stayed at chance there. The answer is "level of the scene" times "direction of the rule": neither
tells anything alone, so a full scene gives no slope until both are already read, and a scene has six
factors with a dozen sentences a level, of which the rule names one in other words. Four rungs lead there:
a rule without a condition (`smaller_rule`); scenes with one factor; the level said first, as a thought in
the very words of the rule, which puts what has to be read at the place where the answer is decided; and
pairs that differ in the rule or in the level alone. Rules with two negations come with the full scenes.
"""

from dataclasses import replace
from random import Random

from evals.organisms.curriculum.exercise import Exercise, Terms, finished, under, worded
from evals.organisms.curriculum.skills import CONTINUES, STOPS
from evals.organisms.world import comparison, stopping
from evals.organisms.world.micro_world import pick, split, table, user

NEGATIONS = ("unless", "not ", "never")


def plain_rules(held: bool) -> list[str]:
    """Return the rules about stopping that say no more than `if so, go on`."""
    wordings = split(table("stop")["rules"]["when"], held)
    return [text for text in wordings if not any(word in text for word in NEGATIONS)]


def draw_stopping(rng: Random, terms: Terms) -> stopping.Ruled:
    """Draw a rule about one factor, with a scene; an easy one has no negations."""
    ruled = stopping.draw_rule(rng, terms.held)
    if not terms.easy:
        return ruled
    return in_plain_words(replace(ruled, template=rng.choice(plain_rules(terms.held))))


def in_plain_words(ruled: stopping.Ruled) -> stopping.Ruled:
    """Return a rule with its condition in the words that a thought about the scene has, as far as it has them."""
    return replace(ruled, condition=table("stop")["conditions"][ruled.factor][ruled.level][0])


def reduced(rng: Random, terms: Terms, ruled: stopping.Ruled) -> stopping.Ruled:
    """Return a rule with fewer factors in its scene; an easy one has that of the rule alone."""
    others = [name for name in stopping.factors() if name != ruled.factor]
    kept = {ruled.factor, *rng.sample(others, rng.randint(0, 3))}
    if terms.easy:
        kept = {ruled.factor}
    if terms.easy or rng.random() < 0.5:
        ruled = replace(ruled, scene=ruled.scene.only(kept))
    return ruled


def stop_rule(rng: Random, terms: Terms) -> Exercise:
    """Go on or stop as a rule about one factor has it; `active` if it says to go on."""
    ruled = reduced(rng, terms, draw_stopping(rng, terms))
    luck, turns_rule = rng.random(), rng.random() < 0.5
    if ruled.continues != terms.active:
        turned = ruled.opposed(rng) if turns_rule else None
        turned = in_plain_words(turned) if turned and terms.easy else turned
        ruled = turned or replace(ruled, scene=ruled.scene.turned(rng, ruled.factor))
    return under(ruled.wording, stopped(Random(luck), terms, ruled))


def stopped(rng: Random, terms: Terms, ruled: stopping.Ruled) -> Exercise:
    """Go on or stop in the scene of a rule, as the terms have it; no system turn tells the rule."""
    levels = stopping.factors()[ruled.factor]
    seen = table("stop")["reading"][ruled.factor]["a"]
    thought = seen[levels.index(ruled.scene.levels[ruled.factor])]
    reply = stopping.answer(rng, ruled.scene, ruled.continues)
    right = CONTINUES if terms.active else STOPS
    if terms.thinks:
        right = tuple(
            text.format(task=ruled.scene.task)
            for text in table("stop")["answers"]["continue" if terms.active else "stop"]
        )
    return finished(rng, terms, [user(ruled.scene.text)], reply, thought=thought, right=right)


def another_scene(rng: Random, terms: Terms, ruled: stopping.Ruled) -> Exercise:
    """Go on or stop in another scene of a rule that no system turn tells."""
    ruled = reduced(rng, terms, replace(ruled, scene=stopping.draw_scene(rng, terms.held)))
    if ruled.continues != terms.active:
        ruled = replace(ruled, scene=ruled.scene.turned(rng, ruled.factor))
    return stopped(rng, terms, ruled)


def compared(
    rng: Random, terms: Terms, asked: comparison.Question, picked: tuple[str, str]
) -> Exercise:
    """Return a comparison whose rule no system turn tells; `picked` is the number that it picks and why."""
    number, thought = picked
    right = (f"{number} is bigger.", f"{number}.", f"It is {number}.")
    reply = comparison.answer(rng, number)
    return finished(rng, terms, [user(asked.text)], reply, thought=thought, right=right)


def smaller_rule(rng: Random, terms: Terms) -> Exercise:
    """Say the smaller of two decimals because a rule says so; turned round, one says to take the first or last."""
    told = worded(rng, terms, "talking.smaller.told")
    asked = comparison.ask(rng, terms.held, level="none" if terms.easy else "")
    if terms.active:
        return under(
            told, compared(rng, terms, asked, (asked.pair.smaller, "The smaller one is wanted."))
        )
    # The place at which the bigger number stands, so that the pair is answered differently.
    rule = "first" if asked.right_first else "last"
    told = pick(rng, table("numbers")["rules"][rule], terms.held)
    return under(
        told, compared(rng, terms, asked, (asked.pair.bigger, f"The {rule} one is wanted."))
    )


def digit_rule(rng: Random, terms: Terms) -> Exercise:
    """Say the number with more digits; turned round, a rule about the order that picks the other."""
    kind = "conflict" if terms.easy else rng.choice(("conflict", "conflict", "agree"))
    asked = comparison.ask(rng, terms.held, kind=kind, level="none" if terms.easy else "")
    rules = table("numbers")["rules"]
    longer, shorter = sorted(asked.ordered, key=comparison.decimals, reverse=True)
    if terms.active:
        told = pick(rng, rules["digits"], terms.held)
        return under(told, compared(rng, terms, asked, (longer, f"The longer number is {longer}.")))
    place = "first" if asked.ordered[0] == shorter else "last"
    told = pick(rng, rules[place], terms.held)
    return under(told, compared(rng, terms, asked, (shorter, f"The {place} number is {shorter}.")))


def talk_rule(rng: Random, terms: Terms) -> Exercise:
    """Say the smaller number when the talk is about what a rule names; `active` if it is."""
    about = rng.choice(comparison.levels()[1:])
    told = talk_told(rng, terms, about)
    return under(told, in_talk(rng, terms, about))


def talk_told(rng: Random, terms: Terms, about: str) -> str:
    """Return a system turn that tells in what talk the smaller number is said."""
    kinds = table("numbers")["kinds"][about]
    kind = kinds[0] if terms.easy else rng.choice(kinds)
    return pick(rng, table("numbers")["rules"]["talk"], terms.held).format(k=kind)


def in_talk(rng: Random, terms: Terms, about: str) -> Exercise:
    """Say the smaller number in talk about one thing, the bigger in other talk; no system turn tells it."""
    other = rng.choice([name for name in comparison.levels()[1:] if name != about])
    asked = comparison.ask(rng, terms.held, level=about)
    idle = other if rng.random() < 0.7 else "none"
    level = about if terms.active else idle
    asked = replace(asked, level=level, context=comparison.draw_context(rng, level, terms.held))
    number = asked.pair.smaller if terms.active else asked.pair.bigger
    kinds = table("numbers")["kinds"]
    note = "There is no topic." if level == "none" else f"It is about {kinds[level][0]}."
    return compared(rng, terms, asked, (number, note))
