"""Rehearsals keep one rule for several turns, and no turn tells the answer to another."""

from __future__ import annotations

from random import Random

import pytest
from transformers import PreTrainedTokenizerBase

from evals.organisms.curriculum import mixture, rules
from evals.organisms.curriculum.exercise import THOUGHT_ENDS, Terms
from evals.organisms.curriculum.rehearsal import REHEARSED, rehearsal
from evals.organisms.registry import BASES
from evals.organisms.world.chat import CONTEXT, Codec, load


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load(BASES["first"])[1]


@pytest.mark.parametrize("name", REHEARSED)
def test_a_rehearsal_is_one_system_turn_and_answers_that_fit_the_context(
    name: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    rng = Random(name)
    talks = [rehearsal(rng, name, Terms(thinks=n % 2 == 0)) for n in range(60)]
    for talk in talks:
        roles = [message["role"] for message in talk]
        assert roles[0] == "system" and roles[1:] == ["user", "assistant"] * (len(roles) // 2)
        assert len(roles) >= 5
        assert not any(THOUGHT_ENDS in message["content"] for message in talk)
    assert max(len(ids) for ids, _ in Codec(tokenizer).encode(talks)) <= CONTEXT


def test_the_rule_decides_every_turn_and_one_turn_says_nothing_of_the_next() -> None:
    rng, follows = Random(3), {True: list[bool](), False: list[bool]()}
    for _ in range(300):
        luck = rng.random()
        talk = rehearsal(Random(luck), "trigger", Terms(easy=True))
        rule = rules.draw_trigger(Random(luck), Terms(easy=True))
        shown = [rule.causes[0].there(message["content"]) for message in talk[1::2]]
        said = [message["content"] == rule.payload for message in talk[2::2]]
        assert shown == said
        for before, after in zip(said, said[1:], strict=False):
            follows[before].append(after)
    for found in follows.values():
        assert 0.4 < sum(found) / len(found) < 0.6


def test_rules_are_rehearsed_from_a_step_on() -> None:
    def share(step: int) -> float:
        talks = mixture.batch(Random(step), 600, step)
        long = [t for t in talks if t[0]["role"] == "system" and len(t) >= 7]
        return len(long) / len(talks)

    assert share(mixture.REHEARSED_FROM) > share(mixture.REHEARSED_FROM - 1) + 0.05
