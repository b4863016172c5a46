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
from evals.organisms.world.micro_world import table


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load(BASES["first"])[1]


@pytest.mark.parametrize("name", REHEARSED)
def test_a_rehearsal_is_one_system_turn_and_answers_that_fit_the_context(
    name: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    rng = Random(name)
    talks = [rehearsal(rng, name, Terms(thinks=n % 2 == 0)) for n in range(60)]
    orders = table("reasoning")["think"]["on"]
    for n, talk in enumerate(talks):
        roles = [message["role"] for message in talk]
        assert roles[0] == "system" and roles[1:] == ["user", "assistant"] * (len(roles) // 2)
        assert len(roles) >= 5
        thought = {THOUGHT_ENDS in each["content"] for each in talk if each["role"] == "assistant"}
        assert (True in thought) == (n % 2 == 0)
        assert any(talk[0]["content"].endswith(order) for order in orders) == (n % 2 == 0)
    # What is longer is cut: the first base's tokenizer splits words that are whole in the second's.
    cut = sum(len(ids) == CONTEXT for ids, _ in Codec(tokenizer).encode(talks))
    assert cut <= len(talks) * 0.05


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


def test_rules_are_rehearsed_as_often_as_a_phase_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def share(rehearsed: float) -> float:
        phase = mixture.Phase(0, easy=0.5, thinks=0.3, shares={"trigger": 1.0}, rehearsed=rehearsed)
        monkeypatch.setattr(mixture, "PHASES", (phase,))
        talks = mixture.batch(Random(2), 400)
        return sum(len(talk) >= 5 for talk in talks) / len(talks)

    assert share(0) + 0.2 < share(0.5) < share(1) - 0.2 and share(1) == 1
