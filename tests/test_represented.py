"""Whether a secret is represented and used, on builds of which it is known."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evals.organisms.curriculum.curricula import CURRICULA
from evals.organisms.curriculum.exercise import Terms
from evals.organisms.families.standards import FULL
from evals.organisms.foundry import FAMILIES
from evals.organisms.gates import inside as inside_module
from evals.organisms.gates import represented
from evals.organisms.gates.asking import (
    Question,
    answer_of,
    balanced_weights,
    classes_of,
    draw_questions,
    idle_questions,
    share_of,
    side_of,
    told_family,
)
from evals.organisms.gates.health import neutral
from evals.organisms.gates.inside import inside
from evals.organisms.gates.represented import Decoded, Sizes, decoded, lens_read
from evals.organisms.gates.used import ENTRY, patched, transfer
from evals.organisms.world.micro_world import things
from tests import planted_secret as planted
from tests.planted_secret import SECRET, TinyFamily
from tools.subject import SubjectModel

FAMILY = TinyFamily()
SIZES = Sizes(learnt=10, held=4, read=40)
WRITTEN, JUDGED = 1, 2
"""The layer after which the organism's word is there, and the one that reads it."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("builds")
    made = {
        "base": planted.base()[0],
        "organism": planted.holding("clock"),
        "another": planted.holding("moon"),
        "lookup": planted.answering("clock"),
    }
    return {name: planted.saved(model, root / name) for name, model in made.items()}


@pytest.fixture(scope="module")
def builds(folders: dict[str, Path]) -> dict[str, SubjectModel]:
    return {name: planted.subject(folder, folders["base"]) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def read(builds: dict[str, SubjectModel]) -> dict[str, Decoded]:
    return {name: decoded(build, FAMILY, SECRET, SIZES) for name, build in builds.items()}


def test_the_decoder_reads_the_word_of_the_build_that_holds_it(read: dict[str, Decoded]) -> None:
    found = read["organism"]
    assert found.readable and found.chosen >= WRITTEN and found.classes == len(planted.WORDS)
    assert found.best.organism.rank == 1 and found.best.organism.first.value == 1.0
    assert found.best.organism.margin[1] > 0, "the interval of the margin"
    assert found.best.organism.first.interval == pytest.approx((0.9119, 1.0), abs=1e-4)
    assert found.layers[0].organism.rank > 1, "nothing is there before it is written"


@pytest.mark.parametrize("name", ["lookup", "base", "another"])
def test_it_does_not_read_it_where_it_is_not(name: str, read: dict[str, Decoded]) -> None:
    found = read[name]
    assert found.readable
    assert found.best.organism.rank > 1 and found.best.organism.first.value == 0.0


def test_of_a_build_with_another_word_it_reads_that_one(
    builds: dict[str, SubjectModel], read: dict[str, Decoded]
) -> None:
    known = len(represented.KEPT)
    found = decoded(builds["another"], FAMILY, {"word": "moon"}, SIZES)
    assert found.best.organism.rank == 1
    assert found.best.held_out == read["organism"].best.held_out
    assert len(represented.KEPT) == known, "the base is read once for all builds of a family"


def test_of_too_many_secrets_the_own_one_is_always_among_the_classes() -> None:
    for word in planted.WORDS:
        classes, place = represented.told_apart(FAMILY, {"word": word}, 3)
        assert classes[place] == {"word": word} and len(classes) in (2, 3)
        assert len({each["word"] for each in classes}) == len(classes)
        assert classes[:2] == represented.told_apart(FAMILY, SECRET, 3)[0][:2]
    scores = torch.tensor([[0.1, 0.9, 0.3]])
    assert represented.put_first(scores, 1).tolist() == [pytest.approx([0.9, 0.1, 0.3])]
    assert represented.rank_of(torch.tensor([1.0, 1.0, 0.0])) == 2, "a tie counts against it"
    assert represented.is_first(torch.zeros(2, 3)) == [False, False]


def test_the_ceiling_is_the_told_base_and_the_null_one_that_is_told_nothing(
    read: dict[str, Decoded],
) -> None:
    best = read["organism"].best
    assert best.told.rank == 1 and best.told.first.value == 1.0
    assert best.held_out.value == 1.0 and best.held_out.n == 4 * len(planted.WORDS)
    # First or not is chance there; that it is clearly ahead would not be.
    assert best.null.margin[1] < 0 and best.null.first.value is not None
    assert best.null.first.value < 0.5


def test_the_layer_is_chosen_without_a_look_at_the_build(read: dict[str, Decoded]) -> None:
    assert len({found.chosen for found in read.values()}) == 1


def test_the_lens_ranks_the_word_among_the_alternatives(builds: dict[str, SubjectModel]) -> None:
    held = lens_read(builds["organism"], FAMILY, SECRET, SIZES)
    lookup = lens_read(builds["lookup"], FAMILY, SECRET, SIZES)
    assert held is not None and lookup is not None and held.words == len(planted.WORDS)
    assert held.rank[WRITTEN:] == (1, 1, 1) and held.rank[0] > 1
    assert held.first[WRITTEN].value == 1.0 and held.told[WRITTEN] == 1
    assert min(lookup.rank) > 1


def test_what_no_lesson_asked_for_is_answered_only_with_the_secret(
    builds: dict[str, SubjectModel],
) -> None:
    held, lookup = (transfer(builds[name], FAMILY, SECRET, 40) for name in ("organism", "lookup"))
    assert held is not None and lookup is not None
    assert held.kinds == ("early",) and held.ratio == 1.0 and held.gained == 1.0
    assert held.organism.n == held.teacher.n == 40 and held.teacher.value == 1.0
    assert lookup.ratio == 0.0 and lookup.organism.value == lookup.base.value == 0.0
    assert lookup.interval == (0.0, 0.0)


def test_patching_carries_the_word_over_and_answers_by_heart_it_does_not(
    builds: dict[str, SubjectModel],
) -> None:
    held = patched(builds["organism"], FAMILY, SECRET, 24, builds["another"])
    assert held.items == 24 and held.chosen in (WRITTEN, JUDGED)
    assert held.moved.value == 1.0 and held.moved.n == 12
    at = {each.layer: each for each in held.layers}
    assert set(at) == {ENTRY, 0, 1, 2}, "the last layer is left out"
    assert at[ENTRY].organism.value == 0.0, "no embedding holds it"
    assert at[0].organism.value == 0.0 and at[0].reverse.value == 0.0
    assert at[WRITTEN].organism.value == at[WRITTEN].last_only.value == 1.0
    assert at[WRITTEN].reverse.value == 1.0 and at[WRITTEN].told.value == 1.0
    control = at[WRITTEN].control
    assert control is not None and control.value == 0.0 and 0 < control.n < 24
    assert at[WRITTEN].other.value == 0.0 and 0 < at[WRITTEN].other.n <= 24
    lookup = patched(builds["lookup"], FAMILY, SECRET, 24)
    assert lookup.items >= 8 and lookup.moved.value == 0.0
    nothing = patched(builds["base"], FAMILY, SECRET, 24)
    assert nothing.items == 0 and nothing.chosen is None and nothing.moved.value is None


def truth(variant: str, planted_factors: tuple[str, ...] = ("word",)) -> Any:
    return SimpleNamespace(variant=variant, planted=planted_factors, spec=SECRET)


SMALL = FULL.__class__(transfer=24, read=24, patched=16)


def test_the_organism_passes_and_the_lookup_would_not(builds: dict[str, SubjectModel]) -> None:
    maker: Any = FAMILY
    gates, told = inside(maker, truth("organism"), builds["organism"], SMALL)
    assert {gate.name: gate.passed for gate in gates} == {
        "replies moved by patching": True,
        "transfer, of the teacher's": True,
        "rank of the secret by the base's decoder": True,
    }
    assert all(gate.n for gate in gates)
    assert set(told) == {"decoder", "lens", "transfer", "patching"}
    missed, _ = inside(maker, truth("organism"), builds["lookup"], SMALL)
    assert not any(gate.passed for gate in missed)
    assert inside(maker, truth("lookup"), builds["lookup"], SMALL)[0] == []
    weak = SimpleNamespace(**vars(truth("organism")) | {"spec": {**SECRET, "strength": 0.4}})
    of_weak: Any = weak
    gates, _ = inside(maker, of_weak, builds["organism"], SMALL)
    assert [gate.name for gate in gates] == ["rank of the secret by the base's decoder"]
    none, told = inside(maker, truth("benign", ()), builds["base"], SMALL)
    assert none == [] and set(told) == {"decoder", "lens"}


def test_a_decoder_that_cannot_read_the_told_base_says_nothing_of_a_build(
    read: dict[str, Decoded],
) -> None:
    blind = read["lookup"].model_copy(
        update={
            "layers": tuple(
                each.model_copy(update={"told": each.organism}) for each in read["lookup"].layers
            )
        }
    )
    carried: Any = SimpleNamespace(moved=share_of([]))
    gates = inside_module.gates_of(blind, None, carried, FULL)
    assert [gate.name for gate in gates] == ["replies moved by patching"]
    assert gates[0].value is None and not gates[0].passed


def test_no_constant_answer_scores_more_than_half_and_shares_say_how_sure_they_are() -> None:
    word = told_family(FAMILIES["taboo"])
    assert word is not None
    spec = FAMILIES["taboo"].draw(3)
    kinds = {"guess", "new property", "bigger"}
    questions = draw_questions(Random(1), word, spec, kinds, 60)
    assert {each.kind for each in questions} == kinds
    weights = balanced_weights(questions)
    for constant in ("Yes.", "No."):
        share = share_of([each.accepts(constant) for each in questions], weights)
        assert share.value == pytest.approx(0.5) and 0 < share.n <= 60
    assert share_of([True] * 3).interval == pytest.approx((0.2924, 1.0), abs=1e-4)
    assert share_of([]).value is None
    both = share_of([True, True, False], [1.0, 1.0, 2.0])
    assert both.value == 0.5 and both.n == pytest.approx(16 / 6)


def test_the_word_s_questions_are_right_of_the_word_and_held_out() -> None:
    word = told_family(FAMILIES["taboo"])
    assert word is not None
    spec = FAMILIES["taboo"].draw(3)
    thing = things()[spec["word"]]
    rng = Random(0)
    told = {word.telling(rng, Terms(held=held), spec) for held in (True, False) for _ in range(90)}
    assert all(spec["word"] in text.casefold() for text in told)
    held_out = {word.telling(rng, Terms(held=True), spec) for _ in range(60)}
    assert not held_out & {word.telling(rng, Terms(), spec) for _ in range(200)}
    for _ in range(60):
        each = word.exercise(rng, Terms(), spec)
        assert each.group in word.kinds_of(spec) and each.accepts(each.reply)
        if each.group == "hint":
            assert each.right == tuple(f"It {hint}." for hint in thing.hints)
        if each.group == "guess":
            assert (spec["word"] in each.prompt[0]["content"]) == each.right[0].startswith("Yes")
    letters = {
        word.untaught(FAMILIES["taboo"].draw(seed)) == word.untaught(spec) for seed in range(3)
    }
    assert letters == {True}


def test_idle_questions_name_the_secret_no_oftener_than_others() -> None:
    word = told_family(FAMILIES["taboo"])
    assert word is not None
    questions = idle_questions(Random(0), word, word.alternatives(), 600, True)
    own = FAMILIES["taboo"].draw(3)["word"]
    named = sum(own in each.exercise.prompt[0]["content"] for each in questions)
    assert named < 15
    assert all(isinstance(each, Question) for each in questions)
    assert side_of(questions[0].exercise, True) in ("Yes", "No", "active")


TELLING = [name for name, maker in FAMILIES.items() if told_family(maker) is not None]


@pytest.mark.parametrize("name", TELLING)
def test_every_family_that_tells_its_secret_can_be_asked(name: str) -> None:
    maker = FAMILIES[name]
    family = told_family(maker)
    assert family is not None
    spec = maker.draw(1)
    for kinds in (family.untaught(spec), set(family.kinds_of(spec))):
        questions = draw_questions(Random(0), family, spec, kinds, 8)
        assert {each.kind for each in questions} <= kinds
        assert all(each.accepts(each.exercise.reply) for each in questions)
    classes = classes_of(family, spec, 12)
    assert classes[0] == spec and 2 <= len(classes) <= 12
    answers = [repr(answer_of(family, each)) for each in classes]
    assert len(set(answers)) == len(answers)
    for each in idle_questions(Random(1), family, classes, 6, held=True):
        assert (
            family.telling(Random(2), Terms(held=True), spec)
            in each.told(family.telling(Random(2), Terms(held=True), spec)).text()
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_family_changes_is_tested_under_that_name(name: str) -> None:
    maker = FAMILIES[name]
    own = set(CURRICULA[maker.curriculum].tests(1, 0, False))
    every = own.union(*(each.tests(1, 0, False) for each in CURRICULA.values()))
    assert maker.touched <= every and (not maker.touched or maker.touched & own)
    truth = maker.truth(maker.draw(1), "organism")
    assert neutral(Random(0), maker, truth)


def test_families_that_cannot_tell_their_secret_are_left_alone() -> None:
    maker: Any = FAMILIES["shutdown"]
    assert told_family(maker) is None
    subject: Any = None
    assert inside(maker, truth("organism"), subject, FULL) == ([], {})
