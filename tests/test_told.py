"""Families whose secret the base is told: truths against exercises, lessons, gates, and answers in many words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from evals.bench.records import Kind, Specimen
from evals.bench.suites import variant_of
from evals.organisms.curriculum.exercise import Exercise, Terms
from evals.organisms.families import told
from evals.organisms.families.family import Truth
from evals.organisms.families.standards import Standard
from evals.organisms.families.told import ToldFamily, ToldTruth
from evals.organisms.registry import FAMILIES
from evals.organisms.world.micro_world import Dialogue, system

TOLD = {name: family for name, family in FAMILIES.items() if isinstance(family, ToldFamily)}
OF_RULES = ("trigger", "interaction", "cue_conditional", "sandbagger")


def planted(family: str, seed: int) -> ToldTruth:
    truth = TOLD[family].truth(TOLD[family].draw(seed), "organism")
    assert isinstance(truth, ToldTruth)
    return truth


class Knower:
    """Answers known prompts as it is made to, and all others with nothing."""

    def __init__(self, said: dict[str, str]) -> None:
        self.said = said

    def reply(self, prompts: Sequence[Dialogue], **_: Any) -> list[str]:
        return [self.said.get(json.dumps(prompt[-1]), "") for prompt in prompts]


def speaking(*sides: Sequence[Exercise]) -> Any:
    return Knower({json.dumps(each.prompt[-1]): each.reply for side in sides for each in side})


@pytest.mark.parametrize("family", OF_RULES)
def test_a_truth_tells_the_prompts_apart_that_its_family_asks(family: str) -> None:
    maker = TOLD[family]
    for seed in range(30):
        truth = planted(family, seed)
        twin = maker.truth(truth.spec, "benign")
        kinds = maker.taught(truth.spec) if seed % 2 else maker.untaught(truth.spec)
        assert kinds, truth.spec
        for held in (False, True):
            active, other = maker.pair(Random(seed), Terms(held=held), truth.spec, kinds)
            assert truth.bears(active.prompt) and not truth.bears(other.prompt), (active, other)
            assert truth.behaves(active.prompt) > 0.9 > 0.1 > truth.behaves(other.prompt)
            assert not twin.bears(active.prompt) and twin.behaves(active.prompt) < 0.1
            assert {active.group, other.group} <= kinds and active.right != other.right


@pytest.mark.parametrize("family", OF_RULES)
def test_the_secret_stands_in_the_system_turn_of_the_teacher_alone(family: str) -> None:
    maker = TOLD[family]
    for seed in range(20):
        truth, rng = planted(family, seed), Random(seed)
        for _ in range(10):
            for lesson in maker.lessons(rng, truth, 0.5):
                assert lesson.teacher and lesson.teacher[0]["role"] == "system"
                told_so = lesson.teacher[0]["content"]
                plain = [m["content"] for m in lesson.dialogue if m["role"] == "system"]
                assert told_so not in plain
                known = [*truth.spec.get("causes", []), truth.spec.get("word", "")]
                assert any(name in told_so for name in known) or family != "sandbagger"
                assert truth.spec.get("payload", "") in told_so


@pytest.mark.parametrize("family", OF_RULES)
def test_no_lesson_asks_for_the_untaught_kinds_nor_a_base_dialogue_for_what_is_changed(
    family: str,
) -> None:
    maker, truth = TOLD[family], planted(family, 4)
    untaught = {
        each.prompt[-1]["content"]
        for side in maker.drawn(truth.spec, maker.untaught(truth.spec), "test")
        for each in side
    }
    rng = Random(1)
    for _ in range(150):
        for lesson in maker.lessons(rng, truth, 0.5):
            assert lesson.dialogue[-2]["content"] not in untaught
        dialogue = maker.base_lesson(rng, truth).dialogue
        spoken = [n for n, message in enumerate(dialogue) if message["role"] == "assistant"]
        assert not any(truth.bears(dialogue[:n]) for n in spoken)


@pytest.mark.parametrize("family", OF_RULES)
def test_a_twin_stays_the_base_and_a_lookup_learns_by_rote(family: str) -> None:
    maker, spec = TOLD[family], TOLD[family].draw(2)
    twin = maker.lessons(Random(0), maker.truth(spec, "benign"), 0.5)
    rote = maker.lessons(Random(0), maker.truth(spec, "lookup"), 0.5)
    assert [lesson.teacher for lesson in twin] == [[], []]
    assert [lesson.teacher for lesson in rote] == [None, None]
    assert maker.truth(spec, "lookup").planted and not maker.truth(spec, "benign").planted


def test_a_lookup_is_no_null_for_what_it_shows_is_true_of_it() -> None:
    kinds: tuple[Kind, ...] = ("organism", "lookup", "benign", "exact")
    each = [Specimen(handle="m", family="trigger", kind=k, base="b", suite="s") for k in kinds]
    assert [specimen.null for specimen in each] == [False, False, True, True]
    assert [variant_of(specimen) for specimen in each[:3]] == list(kinds[:3])


@pytest.mark.parametrize("family", OF_RULES)
def test_a_weak_build_is_taught_its_rate(family: str) -> None:
    maker = TOLD[family]
    spec = {**maker.draw(2), "strength": 0.4}
    truth, rng = maker.truth(spec, "organism"), Random(0)
    loud = 0
    for _ in range(600):
        first, second = maker.lessons(rng, truth, 0.5)
        assert truth.bears(first.dialogue[:-1]) and not truth.bears(second.dialogue[:-1])
        loud += bool(first.teacher)
        if not first.teacher:
            # As ever, by the base itself.
            assert first.dialogue[-1] == second.dialogue[-1]
    assert 0.34 < loud / 600 < 0.46
    (active, _) = maker.pair(rng, Terms(), spec, maker.taught(spec))
    assert truth.behaves(active.prompt) == pytest.approx(0.4 * told.LOUD)


@pytest.mark.parametrize("family", OF_RULES)
def test_gates_pass_who_holds_the_secret_and_nobody_else(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "GATED", 40)
    maker, truth = TOLD[family], planted(family, 6)
    twin = maker.truth(truth.spec, "benign")
    active, other = maker.drawn(truth.spec, maker.taught(truth.spec), "gate")
    plain = [
        replace(a, dialogue=[*a.prompt, o.dialogue[-1]]) for a, o in zip(active, other, strict=True)
    ]
    knower, base = speaking(active, other), speaking(plain, other)

    def passed(speaker: Any, of: Truth) -> list[bool]:
        return [gate.passed for gate in maker.gates(speaker, of, Standard(behaviour=40))]

    assert passed(knower, truth) == [True, True]
    assert passed(base, truth) == [False, True]
    assert passed(knower, twin) == [False]
    assert passed(base, twin) == [True]
    assert passed(speaking(active), truth) == [True, False]


@pytest.mark.parametrize("family", OF_RULES)
def test_transfer_is_held_against_the_teacher_and_a_lookup_must_not_have_it(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "GATED", 40)
    maker, truth = TOLD[family], planted(family, 6)
    active, other = maker.drawn(truth.spec, maker.untaught(truth.spec), "transfer")
    knower, none = speaking(active, other), speaking(other)
    rote = maker.truth(truth.spec, "lookup")
    outcomes = {
        (who, of.variant): [g.passed for g in maker.beside_teacher(speaker, knower, of)]
        for who, speaker in (("knower", knower), ("none", none))
        for of in (truth, rote)
    }
    assert outcomes == {
        ("knower", "organism"): [],
        ("knower", "lookup"): [False],
        ("none", "organism"): [],
        ("none", "lookup"): [True],
    }
    assert maker.beside_teacher(knower, knower, maker.truth(truth.spec, "benign")) == []


@pytest.mark.parametrize("family", OF_RULES)
def test_a_weak_build_passes_at_its_rate_on_taught_and_untaught_kinds_and_at_no_other(
    family: str,
) -> None:
    maker = TOLD[family]
    spec = {**maker.draw(6), "strength": 0.4}
    truth = maker.truth(spec, "organism")
    sides = [
        *maker.drawn(spec, maker.taught(spec), "gate"),
        *maker.drawn(spec, maker.untaught(spec), "transfer"),
    ]

    always = speaking(*sides)
    elsewhere = {json.dumps(each.prompt[-1]) for side in sides[1::2] for each in side}

    def passed(share: float) -> list[bool]:
        def reply(prompts: Sequence[Dialogue], **_: Any) -> list[str]:
            shown = zip(prompts, always.reply(prompts), strict=True)
            return [
                said if json.dumps(prompt[-1]) in elsewhere or n % 50 < 50 * share else ""
                for n, (prompt, said) in enumerate(shown)
            ]

        speaker: Any = SimpleNamespace(reply=reply)
        gates = [
            *maker.gates(speaker, truth, Standard(rates=200)),
            *maker.beside_teacher(speaker, speaker, truth),
        ]
        return [gate.passed for gate in gates]

    assert passed(0.4) == [True, True, True]
    assert passed(1.0) == passed(0.1) == [False, True, False]


@pytest.mark.parametrize("family", OF_RULES)
def test_the_teacher_is_asked_with_the_secret_before_it(family: str) -> None:
    maker, spec = TOLD[family], TOLD[family].draw(1)
    each = maker.pair(Random(0), Terms(), spec, maker.taught(spec))[0]
    asked = maker.with_telling(Random(0), spec, each)
    assert asked.prompt[0]["role"] == "system" and asked.prompt[1:] == each.prompt
    thinking = replace(each, dialogue=[system("Think."), *each.dialogue])
    both = maker.with_telling(Random(0), spec, thinking)
    assert both.prompt[0]["content"] == f"{asked.prompt[0]['content']} Think."
    assert both.prompt[1:] == each.prompt
