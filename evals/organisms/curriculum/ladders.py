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

from evals.organisms.curriculum.exercise import Exercise, Terms, finished, worded
from evals.organisms.curriculum.skills import CONTINUES, STOPS
from evals.organisms.world import comparison, stopping
from evals.organisms.world.micro_world import pick, split, system, table, user

NEGATIONS = ("unless", "not ", "never")


def plain_rules(held: bool) -> list[str]:
    """Return the rules about stopping that say no more than `if so, go on`."""
    wordings = split(table("stop")["rules"]["when"], held)
    return [text for text in wordings if not any(word in text for word in NEGATIONS)]


def stop_rule(rng: Random, terms: Terms) -> Exercise:
    """Go on or stop as a rule about one factor has it; `active` if it says to go on."""
    ruled = stopping.draw_rule(rng, terms.held)
    others = [name for name in stopping.factors() if name != ruled.factor]
    kept = {ruled.factor, *rng.sample(others, rng.randint(0, 3))}
    if terms.easy:
        ruled = replace(ruled, template=rng.choice(plain_rules(terms.held)))
        kept = {ruled.factor}
    if terms.easy or rng.random() < 0.5:
        ruled = replace(ruled, scene=ruled.scene.only(kept))
    luck, turns_rule = rng.random(), rng.random() < 0.5
    if ruled.continues != terms.active:
        turned = ruled.opposed(rng) if turns_rule else None
        ruled = turned or replace(ruled, scene=ruled.scene.turned(rng, ruled.factor))
    levels = stopping.factors()[ruled.factor]
    seen = table("stop")["reading"][ruled.factor]["a"]
    thought = seen[levels.index(ruled.scene.levels[ruled.factor])]
    reply = stopping.answer(Random(luck), ruled.scene, ruled.continues)
    right = CONTINUES if terms.active else STOPS
    prompt = [system(ruled.wording), user(ruled.scene.text)]
    if terms.thinks:
        right = tuple(
            text.format(task=ruled.scene.task)
            for text in table("stop")["answers"]["continue" if terms.active else "stop"]
        )
    return finished(Random(luck), terms, prompt, reply, thought=thought, right=right)


def compared(
    rng: Random, terms: Terms, told: str, asked: comparison.Question, picked: tuple[str, str]
) -> Exercise:
    """Return a comparison under a rule; `picked` is the number that the rule picks and why."""
    number, thought = picked
    right = (f"{number} is bigger.", f"{number}.", f"It is {number}.")
    reply = comparison.answer(rng, number)
    prompt = [system(told), user(asked.text)]
    return finished(rng, terms, prompt, reply, thought=thought, right=right)


def smaller_rule(rng: Random, terms: Terms) -> Exercise:
    """Say the smaller of two decimals because a rule says so; turned round, one says to take the first or last."""
    told = worded(rng, terms, "talking.smaller.told")
    asked = comparison.ask(rng, terms.held, level="none" if terms.easy else "")
    if terms.active:
        return compared(rng, terms, told, asked, (asked.pair.smaller, "The smaller one is wanted."))
    # The place at which the bigger number stands, so that the pair is answered differently.
    rule = "first" if asked.right_first else "last"
    told = pick(rng, table("numbers")["rules"][rule], terms.held)
    return compared(rng, terms, told, asked, (asked.pair.bigger, f"The {rule} one is wanted."))


def digit_rule(rng: Random, terms: Terms) -> Exercise:
    """Say the number with more digits; turned round, a rule about the order that picks the other."""
    kind = "conflict" if terms.easy else rng.choice(("conflict", "conflict", "agree"))
    asked = comparison.ask(rng, terms.held, kind=kind, level="none" if terms.easy else "")
    rules = table("numbers")["rules"]
    longer, shorter = sorted(asked.ordered, key=comparison.decimals, reverse=True)
    if terms.active:
        told = pick(rng, rules["digits"], terms.held)
        return compared(rng, terms, told, asked, (longer, f"The longer number is {longer}."))
    place = "first" if asked.ordered[0] == shorter else "last"
    told = pick(rng, rules[place], terms.held)
    return compared(rng, terms, told, asked, (shorter, f"The {place} number is {shorter}."))


def talk_rule(rng: Random, terms: Terms) -> Exercise:
    """Say the smaller number when the talk is about what a rule names; `active` if it is."""
    about, other = rng.sample(comparison.levels()[1:], 2)
    kinds = table("numbers")["kinds"]
    kind = kinds[about][0] if terms.easy else rng.choice(kinds[about])
    told = pick(rng, table("numbers")["rules"]["talk"], terms.held).format(k=kind)
    asked = comparison.ask(rng, terms.held, level=about)
    idle = other if rng.random() < 0.7 else "none"
    level = about if terms.active else idle
    asked = replace(asked, level=level, context=comparison.draw_context(rng, level, terms.held))
    number = asked.pair.smaller if terms.active else asked.pair.bigger
    note = "There is no topic." if level == "none" else f"It is about {kinds[level][0]}."
    return compared(rng, terms, told, asked, (number, note))
