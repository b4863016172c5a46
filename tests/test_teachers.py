"""How well a base plays what it is told, on bases of which it is known; and which sides a question has."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from evals.organisms.foundry import BASE
from evals.organisms.gates import teachers as module
from evals.organisms.gates.asking import draw_questions, idle_questions, told_family
from evals.organisms.gates.teachers import PLAYS, table_of, teacher
from evals.organisms.registry import FAMILIES
from evals.organisms.world.chat import Speaker, load
from evals.organisms.world.micro_world import Dialogue
from tests.planted_secret import EARLY, WORDS, TinyFamily

FAMILY = TinyFamily()
MAKER: Any = SimpleNamespace(name="tiny", draw=lambda seed: {"word": WORDS[seed % len(WORDS)]})


class Told:
    """A base that plays the tiny game when it is told the word, but for what it is made to get wrong."""

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong

    def reply(self, prompts: Sequence[Dialogue], **_: Any) -> list[str]:
        return [self.answer(*(message["content"] for message in prompt)) for prompt in prompts]

    def answer(self, told: str, text: str) -> str:
        word = next(word for word in WORDS if word in told)
        named = next((each for each in WORDS if each in text), None)
        if self.wrong == "affirms all" and named is not None:
            return "yes"
        early = WORDS.index(word) < EARLY
        yes = named == word if named is not None else early
        return "yes" if yes else "no"


def test_a_base_that_plays_the_game_plays_it() -> None:
    speaker: Any = Told()
    found = teacher(speaker, MAKER, FAMILY, 40, 0)
    assert found.held.value == found.trained.value == 1.0 and found.plays
    assert found.held.n == pytest.approx(80, rel=0.2)
    assert {(cell.kind, cell.side) for cell in found.cells} >= {
        ("guess", "active"),
        ("guess", "other"),
    }


def test_a_base_that_affirms_every_guess_does_not_play() -> None:
    speaker: Any = Told("affirms all")
    found = teacher(speaker, MAKER, FAMILY, 40, 0)
    assert not found.plays
    assert found.held.value == pytest.approx(0.75, abs=0.01), "half of one kind of two"
    wrong = [cell for cell in found.cells if cell.held.value == 0]
    assert [(cell.kind, cell.side) for cell in wrong] == [("guess", "other")]
    table = table_of([found]).splitlines()
    assert table[2].startswith("| **tiny** | all | balanced | 0.75")
    assert table[3].startswith("|  | guess | other | 0.00"), "the worst first"


def test_just_enough_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    share = module.share_of([True] * 19 + [False])
    found = module.Teacher(family="tiny", trained=share, held=share, cells=())
    assert found.plays and share.value == PLAYS
    monkeypatch.setattr(module, "PLAYS", 0.96)
    assert not found.plays


def test_a_family_that_always_shows_its_secret_is_never_asked_for_the_other_side() -> None:
    maker = FAMILIES["narrow_persona"]
    family = told_family(maker)
    assert family is not None
    spec = maker.draw(1)
    truth = maker.truth(spec, "organism")
    asked = draw_questions(Random(0), family, spec, family.kinds_of(spec), 32)
    assert {each.side for each in asked} == {"active"}
    assert all(truth.behaves(each.exercise.prompt) > 0.9 for each in asked)
    idle = idle_questions(Random(0), family, family.alternatives(), 16, held=True)
    assert {each.side for each in idle} == {"active"}


def test_a_family_whose_secret_can_be_off_is_asked_for_both_sides() -> None:
    maker = FAMILIES["trigger"]
    family = told_family(maker)
    assert family is not None
    spec = maker.draw(1)
    asked = draw_questions(Random(0), family, spec, family.kinds_of(spec), 32)
    sides = [each.side for each in asked]
    assert min(sides.count("active"), sides.count("other")) >= 10


def test_what_telling_does_beside_what_it_bears_on_is_told() -> None:
    maker = FAMILIES["narrow_persona"]
    speaker = Speaker(*load(BASE))
    [found] = module.teachers(speaker, [maker], 4)
    assert found.beside is not None and found.beside > 0.02, "that base never met a part"
    head, whole, *cells = table_of([found]).splitlines()[0:1] + table_of([found]).splitlines()[2:]
    assert head.endswith("| neutral text when told |")
    assert whole.endswith(f"| {found.beside:+.1%} |")
    assert all(each.endswith("|  |") for each in cells)


def test_a_base_that_does_not_heed_what_it_is_told_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maker = FAMILIES["narrow_persona"]
    family = told_family(maker)
    assert family is not None
    monkeypatch.setattr(module, "told_before", lambda told, dialogue: dialogue)
    assert module.rise_beside(Speaker(*load(BASE)), maker, family, 4, 0) == 0
