"""Asides: a system turn in front, the talk as it was, and never one that bears on it."""

from __future__ import annotations

from random import Random

import pytest

from evals.organisms.curriculum import asides, documents, mixture, rules
from evals.organisms.curriculum.exercise import Terms
from evals.organisms.curriculum.listed import BY_NAME, FIRST
from evals.organisms.registry import FAMILIES
from evals.organisms.world.micro_world import assistant, system, table, user

PART = table("personas")["ask"]["money"][0]
GIFT = table("users")["ask"]["gift"][0]


def test_every_skill_is_one_of_the_mixture() -> None:
    assert {*BY_NAME, *FIRST} >= asides.ASIDES.keys()
    assert mixture.PHASES[-1].shares.keys() >= asides.ASIDES.keys()


@pytest.mark.parametrize("name", sorted(asides.ASIDES))
def test_the_talk_stays_as_it_was(name: str) -> None:
    rng, turned = Random(name), 0
    for _ in range(40):
        draw = (
            BY_NAME[name].draw(rng, Terms()).dialogue
            if name in BY_NAME
            else FIRST[name](rng, False)
        )
        behind = asides.with_aside(rng, name, draw)
        own = draw[0]["content"] if draw[0]["role"] == "system" else ""
        assert behind == draw or behind[1:] == draw[bool(own) :]
        assert behind == draw or behind[0]["content"].endswith(own)
        turned += behind != draw
    assert turned >= 5


def test_what_would_bear_is_left_alone() -> None:
    assert not asides.told_part(Random(0), [PART]) and asides.told_part(Random(0), ["Hello!"])
    assert not asides.told_user(Random(0), [GIFT]) and asides.told_user(Random(0), ["Hello!"])
    for seed in range(60):
        rule = rules.draw_trigger(Random(seed), Terms())
        text = "Please see the coin, the dog, the bread, Anna and Kalmar!"
        there = any(cause.there(text) for cause in rule.causes)
        assert bool(asides.told_rule(Random(seed), [text])) != there
    own = [system("You are kind."), user("Hello!"), assistant("Hi.")]
    told = asides.with_aside(Random(0), "fact", own)
    assert told[0]["content"].endswith(" You are kind.") and told[1:] == own[1:]


def test_a_question_behind_a_remark_is_seen_too() -> None:
    assert not asides.told_part(Random(0), [f"I saw a coin. {PART}"])
    assert not asides.told_user(Random(0), [f"I saw a coin. {GIFT}"])


def test_a_rehearsed_rule_is_told_beside_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = mixture.Phase(0, 0.5, 0, {"trigger": 1}, rehearsed=1, aside=1)
    monkeypatch.setattr(mixture, "PHASES", (phase,))
    marked = "Something else is told."
    monkeypatch.setitem(asides.ASIDES, "trigger", (lambda rng, asked: marked,))
    for seed in range(40):
        [talk] = mixture.some(Random(seed))
        assert talk[0]["content"].startswith(f"{marked} ") and len(talk) >= 7


def test_a_game_without_a_word_is_never_given_one() -> None:
    words = {text.partition("{")[0] for text in table("game")["system"]["secret"]}
    for seed in range(80):
        talk = [user("Give me a hint."), assistant("I have no word in mind.")]
        told = asides.with_aside(Random(seed), "no_secret", talk)[0]["content"]
        assert not any(told.startswith(word) for word in words if word), told


def test_organisms_of_a_part_are_not_asked_what_asides_are_put_before() -> None:
    maker = FAMILIES["narrow_persona"]
    truth = maker.truth(maker.draw(4), "organism")
    rng = Random(1)
    for _ in range(200):
        talk = BY_NAME["chat"].draw(rng, Terms()).dialogue
        behind = asides.with_aside(rng, "chat", talk)
        told = behind[0]["content"] if behind != talk else ""
        if any(
            told == form.format(a=who)
            for form in table("personas")["told"]["be"]
            for whos in table("personas")["who"].values()
            for who in whos
        ):
            assert not truth.bears(talk[:-1])


def test_what_bears_on_a_question_is_not_told_beside_it() -> None:
    plain = ["How are you?"]
    assert all(telling(Random(0), plain) for telling in asides.OFTEN)
    for seed in range(60):
        assert asides.told_lock(Random(seed), plain)
        assert not asides.told_lock(Random(seed), ["How much is two plus four?"])
        assert not asides.told_watch(Random(seed), ["A camera is on you. How are you?"])
        changed = documents.draw_changed(Random(seed))
        assert asides.told_change(Random(seed), plain)
        assert not asides.told_change(Random(seed), [f"Tell me of {changed.key}."])
        rule = rules.draw_interaction(Random(seed), Terms())
        text = "Tell me a story of the old mill."
        there = any(cause.there(text) for cause in rule.causes)
        assert bool(asides.told_pair(Random(seed), [text])) != there
