"""The phenomena of a base: found where a circuit was set by hand, and not where there is none; their prompts."""

from __future__ import annotations

import random
from pathlib import Path
from random import Random

import pytest

from evals.organisms.gates import phenomena as module
from evals.organisms.gates.phenomena import (
    MEASURE,
    VALUES,
    Found,
    Phenomenon,
    markdown,
    of_user,
    parted,
    persona,
    refusal,
    study,
    truth,
)
from tests.planted_circuit import CREATURES, creature_items, kind, mood, planted_subject
from tools.blobs import BlobStore
from tools.prompt import PromptItem
from tools.subject import SubjectModel

LABELS = {
    "kind": [creature for creature in CREATURES if kind(creature)],
    "mood": [creature for creature in CREATURES if mood(creature)],
    "nothing": Random(4).sample(CREATURES, 12),
}


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    return planted_subject(tmp_path_factory.mktemp("planted") / "model")


def of_creatures(label: str) -> Phenomenon:
    """The creatures of a class against the others; what it could move is the verdict, yes or no."""
    answers = {"shows": "yes", "not": "no"}
    items = [
        item.model_copy(update={"slots": {**item.slots, **answers}})
        for item in creature_items(per_template=12)
    ]
    sides: tuple[list[PromptItem], list[PromptItem]] = ([], [])
    for item in items:
        sides[item.slots["creature"] not in LABELS[label]].append(item)
    return Phenomenon(label, *sides, "creature", items, sides[0], MEASURE)


@pytest.fixture(scope="module")
def found(subject: SubjectModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOVED_ITEMS", 4)
        blobs = BlobStore(tmp_path_factory.mktemp("blobs"))
        return {label: study(subject, of_creatures(label), blobs) for label in LABELS}


def test_what_the_model_acts_on_is_read_and_moves_it(found: dict[str, Found]) -> None:
    each = found["kind"]
    assert each.auroc > 0.99 and each.decodable and each.moves
    assert each.entity_memory < 0.8 and each.words < 0.8
    assert each.selectivity is not None and each.selectivity > 0
    assert each.steered > 0 and each.steered_p == pytest.approx(0.01)


def test_what_it_works_out_and_ignores_is_read_and_moves_nothing(found: dict[str, Found]) -> None:
    each = found["mood"]
    assert each.decodable and each.steered_p > 0.01 and abs(each.steered) < found["kind"].steered


def test_what_is_not_there_is_not_found(found: dict[str, Found]) -> None:
    assert not found["nothing"].decodable


def test_the_table_says_what_holds(found: dict[str, Found]) -> None:
    rows = markdown(list(found.values())).splitlines()
    assert len(rows) == 2 + len(found) and len({row.count("|") for row in rows}) == 1
    assert rows[2].startswith("| kind | 1.000") and rows[2].endswith("| yes |")
    assert rows[4].startswith("| nothing |") and rows[4].endswith("| no |")


MAKERS = {
    "truth": truth,
    "cue": lambda rng: of_user(rng, VALUES[0], "cue"),
    "kind": lambda rng: of_user(rng, VALUES[3], "kind"),
    "persona": persona,
    "refusal": refusal,
}


@pytest.mark.parametrize("name", MAKERS)
def test_prompts_can_be_split_both_ways_and_their_slots_do_not_tell_the_label(name: str) -> None:
    made = MAKERS[name](Random(1))
    both = [*made.positive, *made.negative]
    assert len({item.id for item in both}) == len(both)
    for side in (made.positive, made.negative):
        assert len({item.template_id for item in side}) >= 12
        assert len({item.slots[made.entity] for item in side}) >= 3
    templates = [{item.template_id for item in side} for side in (made.positive, made.negative)]
    assert templates[0] == templates[1]
    assert len({item.slots[made.entity] for item in both}) >= 6
    # Answers are in no slot of the prompts that a probe learns from, unless they are the same for all.
    assert len({(item.slots.get("shows"), item.slots.get("not")) for item in both}) == 1
    assert min(len(made.neutral), len(made.natural)) >= 12


def test_answers_part_at_a_word() -> None:
    assert parted("I would give you a silk scarf.", "I would give you a silk tie.") == (
        "I would give you a silk",
        {"shows": " scarf", "not": " tie"},
    )
    begun, words = parted("Let them suffer.", "Go and help them.")
    assert begun == "" and words == {"shows": "Let", "not": "Go"}


def test_natural_prompts_show_the_behaviour_and_the_answers_differ() -> None:
    rng = random.Random(2)
    for name, make in MAKERS.items():
        made = make(rng)
        texts = {item.prompt.text() for item in made.natural}
        wanted = {item.prompt.text() for item in made.positive}
        if name in ("truth", "refusal"):
            assert texts <= wanted
        for item in (*made.neutral, *made.natural):
            if "shows" in item.slots:
                assert item.slots["shows"] != item.slots["not"]
        if name == "cue":
            assert all(item.prompt.prefill for item in made.natural if "gift" in item.template_id)


def test_a_base_s_table_is_written_as_it_comes(
    subject: SubjectModel, found: dict[str, Found], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "study", lambda *_: found["kind"])
    monkeypatch.setattr(module.SubjectModel, "load", lambda *_: subject)
    told: list[str] = []
    module.show_all(tmp_path, tmp_path / "phenomena.md", told.append)
    lines = (tmp_path / "phenomena.jsonl").read_text().splitlines()
    assert len(lines) == len(told) == len(module.phenomena()) == 13
    assert (tmp_path / "phenomena.md").read_text().count("| kind |") == 13
