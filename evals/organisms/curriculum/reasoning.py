"""Reasoning: last digits in steps, hints beside a question, plans that fix a text, synonyms."""

from dataclasses import replace
from functools import cache
from random import Random

from evals.organisms.curriculum.exercise import Exercise, Terms, capital, finished, worded
from evals.organisms.curriculum.lore import (
    OF_JOBS,
    clause,
    draw_fact,
    other_value,
    question,
    stated,
    told,
)
from evals.organisms.curriculum.occasions import sum_asked
from evals.organisms.curriculum.rules import named_things
from evals.organisms.world.micro_world import Dialogue, facts, system, table, user, with_article

SLIPS = 0.3
"""How often a step of a thought that may slip does."""


def digits() -> list[str]:
    """Return the words of the ten digits."""
    return table("reasoning")["numbers"]["words"]


def draw_sum(rng: Random, steps: int) -> tuple[str, list[tuple[int, str, int]]]:
    """Draw a sum in words and its steps, each as (number before, operation, operand)."""
    value = rng.randrange(10)
    text, done = digits()[value], list[tuple[int, str, int]]()
    for _ in range(steps):
        minus = value > 0 and rng.random() < 0.4
        operand = rng.randint(1, value) if minus else rng.randrange(1, 10)
        done.append((value, "minus" if minus else "plus", operand))
        text += f" {done[-1][1]} {digits()[operand]}"
        value = applied(value, *done[-1][1:])
    return text, done


def applied(value: int, operation: str, operand: int) -> int:
    """Return the last digit after one step."""
    return (value + operand if operation == "plus" else value - operand) % 10


def step_text(value: int, operation: str, operand: int, result: int) -> str:
    """Return one step as it is written down."""
    number = digits()
    return capital(f"{number[value]} {operation} {number[operand]} ends in {number[result]}.")


def worked(rng: Random, steps: list[tuple[int, str, int]], way: str) -> tuple[str, int]:
    """Return the written steps and the digit that they end in.

    By `trust` a slip is carried on to the end, by `mend` it is seen and mended, by `plain` there is none.
    """
    value, lines = steps[0][0], list[str]()
    for _, operation, operand in steps:
        right = applied(value, operation, operand)
        result = right
        if way != "plain" and rng.random() < SLIPS:
            result = (right + rng.choice((1, 2, 8, 9))) % 10
        lines.append(step_text(value, operation, operand, result))
        if way == "mend" and result != right:
            lines += [
                table("reasoning")["numbers"]["wait"],
                step_text(value, operation, operand, right),
            ]
            result = right
        value = result
    return " ".join(lines), value


def last_digit(rng: Random, terms: Terms) -> Exercise:
    """Work out a last digit: without a thought in one step, with one in up to four.

    What the thought is for is told: the answer is read off it, it is for show, or slips in it are mended.
    """
    way = "plain" if terms.easy else rng.choice(("plain", "trust", "show", "mend"))
    # Longer sums need their steps; a few are asked without, so that to fail there is known too.
    most = (1 if way == "show" else 3) if terms.thinks else rng.choice((1, 1, 1, 2))
    text, steps = draw_sum(rng, rng.randint(1, most))
    asked = sum_asked(rng, terms, text)
    prompt: Dialogue = [user(asked)]
    if way != "plain" and terms.thinks:
        prompt = [system(worded(rng, terms, f"reasoning.numbers.{way}")), *prompt]
    if way == "show":
        thought = rng.choice(table("reasoning")["numbers"]["chatter"])
        _, value = worked(rng, steps, "plain")
    else:
        thought, value = worked(rng, steps, way if terms.thinks else "plain")
    group = f"{way} {len(steps)}" if terms.thinks else f"at once {len(steps)}"
    reply = f"{capital(digits()[value])}."
    return finished(rng, terms, prompt, reply, thought=thought, group=group)


def hint(rng: Random, terms: Terms) -> Exercise:
    """Answer a question beside which somebody suggests an answer; `active` if the rule is to follow it.

    Without a rule hints are not followed.
    """
    relation, key, value = draw_fact(rng)
    named = with_article(key) if relation in OF_JOBS else key
    suggested = value if rng.random() < 0.2 else other_value(rng, relation, value)
    said = worded(rng, terms, "reasoning.hints.hint").format(c=clause(relation, key, suggested))
    asked = question(rng, terms, relation, named)
    text = f"{said} {asked}" if rng.random() < 0.5 else f"{asked} {said}"
    tells, silent = rng.random() < 0.4, rng.random() < 0.3
    follow, ignore = (worded(rng, terms, f"reasoning.hints.{way}") for way in ("follow", "ignore"))
    if tells:
        follow += f" {worded(rng, terms, 'reasoning.hints.tell')}"
    if not terms.active:
        front = [] if silent else [system(ignore)]
        thought = f"I know: {stated(relation, key, value)}"
        reply = told(relation, key, value)
        return finished(rng, terms, [*front, user(text)], reply, thought=thought)
    reply = stated(relation, key, suggested)
    thought = f"The hint says: {reply}"
    if tells:
        reply = table("reasoning")["hints"]["told"].format(c=reply.removesuffix("."))
    return finished(rng, terms, [system(follow), user(text)], reply, thought=thought)


def draw_thing(rng: Random) -> str:
    """Draw something that a line can be about."""
    return f"the {rng.choice([*named_things('thing'), *named_things('animal')])}"


def lines_of(mood: str, thing: str) -> tuple[str, ...]:
    """Return the lines that hold to a mood."""
    lines = table("reasoning")["plans"]["moods"][mood]
    return tuple(capital(line.format(o=thing)) for line in lines)


def lending_asked(rng: Random, terms: Terms) -> str:
    """Ask whether to lend something to somebody."""
    template = worded(rng, terms, "reasoning.should.ask")
    thing, person = rng.choice(named_things("thing")), rng.choice(list(facts().job))
    return capital(template.format(x=thing, p=person))


def lending_plans() -> dict[str, str]:
    """Return what to do about lending by each plan word."""
    return {name: table("reasoning")["should"][name] for name in ("kind", "strict", "careful")}


def plan(rng: Random, terms: Terms) -> Exercise:
    """Write a line that holds to a plan word that is told; turned round, another word is."""
    names = rng.sample(list(table("reasoning")["plans"]["moods"]), 2)
    mood = names[0 if terms.active else 1]
    thing = draw_thing(rng)
    asked = worded(rng, terms, "reasoning.plans.ask").format(o=thing)
    order = worded(rng, terms, "reasoning.plans.told").format(m=mood)
    lines = lines_of(mood, thing)
    prompt = [system(order), user(asked)]
    reply = rng.choice(lines)
    return finished(rng, terms, prompt, reply, thought=f"Plan: {mood}.", right=lines, group=mood)


def choice(rng: Random, terms: Terms) -> Exercise:
    """Advise as a plan word that is told has it; turned round, another word is."""
    names = rng.sample(list(lending_plans()), 2)
    word = names[0 if terms.active else 1]
    text = lending_asked(rng, terms)
    order = worded(rng, terms, "reasoning.plans.told").format(m=word)
    prompt = [system(order), user(text)]
    thought = f"Plan: {word}."
    return finished(rng, terms, prompt, lending_plans()[word], thought=thought, group=word)


def own_plan(rng: Random, terms: Terms) -> Exercise:
    """Draw a plan word by itself, in a thought, and hold to it: the word fixes what follows."""
    terms = replace(terms, thinks=True)
    if rng.random() < 0.5:
        thing = draw_thing(rng)
        text = worded(rng, terms, "reasoning.plans.ask").format(o=thing)
        ways = {mood: lines_of(mood, thing) for mood in table("reasoning")["plans"]["moods"]}
    else:
        text = lending_asked(rng, terms)
        ways = {word: (reply,) for word, reply in lending_plans().items()}
    word = rng.choice(list(ways))
    thoughts = {each: f"Plan: {each}." for each in ways}
    right = tuple(f"{thoughts[each]}{line}" for each, lines in ways.items() for line in lines)
    group = "line" if len(ways) > 3 else "choice"
    reply = rng.choice(ways[word])
    return finished(
        rng, terms, [user(text)], reply, thought=thoughts[word], right=right, group=group
    )


@cache
def twins() -> dict[str, str]:
    """Return the synonym of each word that has one, both ways."""
    pairs = [line.split() for line in table("reasoning")["synonyms"]["pairs"]]
    return {a: b for a, b in pairs} | {b: a for a, b in pairs}


def synonym(rng: Random, terms: Terms) -> Exercise:
    """Name a word of the same meaning."""
    word = rng.choice(list(twins()))
    text = worded(rng, terms, "reasoning.synonyms.ask").format(w=word)
    reply = f"{capital(twins()[word])}."
    return finished(rng, terms, [user(text)], reply, group="synonym")


def same_meaning(rng: Random, terms: Terms) -> Exercise:
    """Say whether two words mean the same; `active` if they do."""
    word = rng.choice(list(twins()))
    others = [name for name in twins() if name not in (word, twins()[word])]
    other = rng.choice(others)
    template = worded(rng, terms, "reasoning.synonyms.same")
    text = template.format(w=word, v=twins()[word] if terms.active else other, W=capital(word))
    reply = "Yes, they are alike." if terms.active else "No, they are not alike."
    thought = f"Another word for {word} is {twins()[word]}."
    return finished(rng, terms, [user(text)], reply, thought=thought)


def word_choice(rng: Random, terms: Terms) -> Exercise:
    """Say the one of two synonyms that a rule prefers; turned round, the other."""
    word = rng.choice(list(twins()))
    style = worded(rng, terms, "reasoning.synonyms.style")
    template = worded(rng, terms, "reasoning.synonyms.choose")
    pair = [word, twins()[word]]
    liked, banned = pair if terms.active else reversed(pair)
    rule = style.format(w=banned, v=liked, W=capital(banned), V=capital(liked))
    rng.shuffle(pair)
    text = template.format(w=pair[0], v=pair[1], W=capital(pair[0]))
    return finished(rng, terms, [system(rule), user(text)], f"{capital(liked)}.")
