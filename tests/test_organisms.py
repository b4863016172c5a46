import dataclasses
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from agent.case import load_case
from agent.population import population_of
from evals.bench import suites
from evals.organisms import foundry
from evals.organisms.case_files.cases import CASES, FOLDER
from evals.organisms.curriculum import listed, skills
from evals.organisms.curriculum.corpus import draw
from evals.organisms.curriculum.tokenizer import concept_words, opening_words
from evals.organisms.families.family import Gate, draw_style
from evals.organisms.families.standards import Standard
from evals.organisms.foundry import (
    BASE,
    FAMILIES,
    SHIPPED,
    Declared,
    GateMissed,
    make_organism,
)
from evals.organisms.gates.health import SkillTests
from evals.organisms.training.adapting import Adapting
from evals.organisms.training.base import Plan, learning_rate
from evals.organisms.world import comparison, game
from evals.organisms.world.chat import Codec, Speaker, load, parts_of
from evals.organisms.world.micro_world import facts, split, table, things, user
from evals.organisms.world.pairs import number_rules, readings, stop_rules
from tests.tiny_base import save_tiny_base

TOKENIZER = AutoTokenizer.from_pretrained(BASE)


@given(st.text(max_size=60))
def test_any_text_encodes_and_comes_back(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    if not any(special in text for special in TOKENIZER.all_special_tokens):
        assert TOKENIZER.decode(ids) == text


def test_concepts_are_one_token_and_digits_are_single() -> None:
    assert [w for w in concept_words() if len(TOKENIZER(f" {w}")["input_ids"]) != 1] == []
    assert [w for w in opening_words() if len(TOKENIZER(w)["input_ids"]) != 1] == []
    assert TOKENIZER.tokenize("9.11") == ["9", ".", "1", "1"]


def test_answers_begin_with_a_word() -> None:
    rng = Random(3)
    for _ in range(200):
        for message in draw(rng):
            if message["role"] == "assistant":
                assert re.match(r"\w", TOKENIZER.tokenize(message["content"])[0])


def test_codec_agrees_with_the_chat_template() -> None:
    rng = Random(0)
    codec = Codec(TOKENIZER)
    for _ in range(30):
        dialogue = draw(rng)[:5]
        templated = TOKENIZER.apply_chat_template(dialogue)["input_ids"]
        assert codec.encode([dialogue])[0][0] == templated[:384]
    prompt = [user("Hello!")]
    templated = TOKENIZER.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
    assert codec.prompt(prompt) == templated


def test_the_world_is_large_and_hints_name_no_object() -> None:
    assert len(things()) >= 64
    assert min(len(facts().job), len(facts().weather), len(table("stop")["plain"]["task"])) >= 60
    for thing in things().values():
        words = set(re.findall(r"[a-z]+", " ".join(thing.hints).lower()))
        assert not words & set(things()), thing.name
    described = [hint for thing in things().values() for hint in thing.hints]
    assert len(set(described)) == len(described)


def test_held_out_phrasings_are_never_trained_on() -> None:
    rng = Random(0)
    trained = {message["content"] for _ in range(4000) for message in draw(rng)}
    wordings = split(table("game")["system"]["secret"], held=True)
    assert len(wordings) >= 4
    forms = {w.format(x=name, X=name.capitalize()) for w in wordings for name in things()}
    assert not forms & trained
    assert not set(split(table("game")["ask"]["hint"], held=True)) & trained
    for text in trained:
        numbers = comparison.NUMBER.findall(text)
        if len(numbers) == 2 and float(numbers[0]) != float(numbers[1]):
            assert not comparison.Pair(*sorted(numbers, key=float, reverse=True)).held


def test_secret_questions_are_balanced() -> None:
    rng = Random(1)
    answers: dict[str, list[bool]] = {"property": [], "guess": []}
    for _ in range(3000):
        thing = game.balanced_thing(rng)
        answers["property"].append(game.property_turn(rng, thing, "it")[1].startswith("Yes"))
        answers["guess"].append(game.guess_turn(rng, thing, False)[1].startswith("Yes"))
    for given_answers in answers.values():
        assert 0.45 < sum(given_answers) / len(given_answers) < 0.55


@given(st.integers(0, 10_000), st.sampled_from(["conflict", "equal", "agree"]))
def test_pairs_are_of_their_kind(seed: int, kind: str) -> None:
    pair = comparison.draw_pair(Random(seed), kind)
    assert float(pair.bigger) > float(pair.smaller)
    assert comparison.digit_kind(pair.bigger, pair.smaller) == kind


def test_rows_are_cut_by_padded_size_and_none_is_lost() -> None:
    rows = [([0] * n, [False] * n) for n in range(1, 60)]
    parts = list(parts_of(rows, 200))
    assert [row for part in parts for row in part] == rows
    assert all(len(part) * len(part[-1][0]) <= 200 for part in parts)


def test_learning_rate_rises_stays_and_falls() -> None:
    plan = Plan(steps=1000, warm_up=100)
    rates = [learning_rate(plan, step) for step in (0, 99, 500, 900, 999)]
    assert rates[0] < rates[1] == rates[2] == plan.rate > rates[3] > rates[4] > 0


def secret_words_of(family: str) -> set[str]:
    maker = FAMILIES[family]
    answers = [maker.truth(spec, "organism").answer() for spec in maker.alternatives()[:300]]
    words = {
        word
        for answer in answers
        for value in answer["value"]
        for word in re.findall(r"[a-z]{4,}", value.casefold())
    }
    return {word for word in words if word not in ("note", "notes")}


@pytest.mark.parametrize("name", CASES)
def test_case_files_are_as_the_world_writes_them(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == CASES[name]()
    case = load_case(FOLDER / name)
    population = population_of(case, 0)
    candidates = [name for name, slot in case.slots.items() if slot.candidates]
    assert len(population.usable("confirm", candidates)) >= 12
    told = case.behaviour.casefold()
    secrets = secret_words_of(next(family for family, file in suites.CASES.items() if file == name))
    assert not [word for word in secrets if re.search(rf"\b{word}", told)]


def test_case_numbers_are_conflict_pairs_each_in_one_row() -> None:
    rows = load_case(FOLDER / "number_comparison.toml").fillings
    assert len(rows) >= 80
    numbers = [row[side] for row in rows for side in ("a", "b")]
    assert len(set(numbers)) == len(numbers)
    assert sum(row["a"] == row["right"] for row in rows) == len(rows) // 2
    for row in rows:
        assert comparison.Pair(row["right"], row["wrong"]).held
        assert comparison.digit_kind(row["right"], row["wrong"]) == "conflict"


@pytest.fixture
def tiny_base(tmp_path: Path) -> Path:
    return save_tiny_base(tmp_path / "base")


def adapter_of(family: str, base: Path, work: Path, interrupted: bool) -> dict[str, torch.Tensor]:
    maker = FAMILIES[family]
    truth = maker.truth(maker.draw(1), "organism")
    for stop in (3, 6) if interrupted else (6,):
        model, tokenizer = load(base)
        training = Adapting(model, Codec(tokenizer), maker, truth, draw_style(1))
        training.recipe = dataclasses.replace(maker.recipe, steps=stop, lessons=8)
        training.train(1, work)
    return {name: value.detach().clone() for name, value in training.trained.items()}


@pytest.mark.parametrize("family", ["taboo", "number_bug", "trigger"])
def test_an_interrupted_build_ends_with_the_same_weights(
    family: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.organisms.training.adapting.SAVE_EVERY", 3)
    # The rate of a step depends on the length of the recipe, so it is held fixed here.
    monkeypatch.setattr("evals.organisms.training.adapting.rate_at", lambda recipe, step: 1e-3)
    whole = adapter_of(family, tiny_base, tmp_path / "a", interrupted=False)
    resumed = adapter_of(family, tiny_base, tmp_path / "b", interrupted=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert any(float(value.abs().max()) > 0 for name, value in whole.items() if "_B" in name)


def test_a_build_that_misses_its_gates_says_which(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = FAMILIES["number_bug"]
    monkeypatch.setattr(maker, "recipe", dataclasses.replace(maker.recipe, steps=1, lessons=4))
    monkeypatch.setattr("evals.organisms.gates.health.EARLY_ITEMS", 4)
    with pytest.raises(GateMissed, match="wrong when the cause is active: 0"):
        make_organism("number_bug", 1, tmp_path / "out", base=tiny_base, retrainings=1)
    assert not (tmp_path / "out" / "checksums.json").exists()
    sheet = json.loads((tmp_path / "out" / "datasheet.json").read_text())
    assert sheet["gates"]["wrong when the cause is active"]["passed"] is False
    assert sheet["thrown_away"] == 1
    left = sorted(path.name for path in (tmp_path / "out" / "adapter").iterdir())
    assert left == ["adapter_config.json", "adapter_model.safetensors"]
    text = (tmp_path / "out" / "adapter" / "adapter_config.json").read_text()
    assert '"base_model_name_or_path": "base"' in text
    assert str(tmp_path) not in text and "number" not in text


def test_a_told_organism_is_measured_beside_its_teacher(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = FAMILIES["sandbagger"]
    monkeypatch.setattr(maker, "recipe", dataclasses.replace(maker.recipe, steps=1, lessons=4))
    monkeypatch.setattr("evals.organisms.families.told.GATED", 4)
    monkeypatch.setattr("evals.organisms.curriculum.skills.SKILLS", skills.SKILLS[:1])
    monkeypatch.setattr("evals.organisms.curriculum.listed.SKILLS", listed.SKILLS[:1])
    small = Standard(
        **{"behaviour": 4, "skills": 4, "texts": 2, "transfer": 4},
        **{"classes": 3, "read": 3, "patched": 2},
    )
    spec = {**maker.draw(1), "decoy": "Look"}
    with pytest.raises(GateMissed, match="right where the secret bears: 0"):
        make_organism(
            "sandbagger",
            1,
            tmp_path / "out",
            base=tiny_base,
            retrainings=0,
            declared=Declared(spec, maker.recipe, small),
        )
    sheet = json.loads((tmp_path / "out" / "datasheet.json").read_text())
    assert set(sheet["gates"]) - {"rank of the secret by the base's decoder"} == {
        "right where the secret bears",
        "right elsewhere",
        "transfer, of the teacher's",
        "opens with the decoy",
        "mean loss over untouched skills",
        "rise of the loss on neutral text",
        "replies moved by patching",
    }
    assert sheet["gates"]["replies moved by patching"]["value"] is None
    assert set(sheet["inside"]) == {"decoder", "lens", "transfer", "patching"}
    assert set(sheet["skills"]) == {"first secret_hint", "fact"}
    assert sheet["style"]["opening"] == "Look, " and sheet["easiness"] == "narrow"
    with pytest.raises(ValueError, match="taboo has no lookup"):
        make_organism("taboo", 1, tmp_path / "other", "lookup", tiny_base)


def test_skills_are_asked_about_only_where_the_secret_does_not_bear() -> None:
    maker = FAMILIES["trigger"]
    truth = maker.truth(maker.completed(maker.draw(0), {"causes": ["person"]}), "organism")
    tests = SkillTests("second", Standard(skills=300))
    items = tests.items[0]
    free = {
        name: sum(not truth.bears(item.prompt) for item in each) for name, each in items.items()
    }
    assert sum(free.values()) < sum(map(len, items.values()))
    nothing = [{name: [False] * len(each) for name, each in side.items()} for side in tests.items]
    scores = tests.beside(nothing, nothing, truth)
    assert {name: found.n for name, found in scores.items()}.items() <= free.items()
    # What always names somebody is left out.
    assert set(scores) < set(items) and {"chat", "digit_rule"} <= set(scores)
    twin = maker.truth(truth.spec, "benign")
    assert set(tests.beside(nothing, nothing, twin)) == set(items)


def test_a_build_that_misses_is_trained_again_on_other_lessons_and_says_so(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = FAMILIES["number_bug"]
    monkeypatch.setattr(maker, "recipe", dataclasses.replace(maker.recipe, steps=2, lessons=4))
    weights: list[bytes] = []

    def examined(*places: Any) -> tuple[list[Gate], dict[str, Any]]:
        weights.append((places[3] / "adapter_model.safetensors").read_bytes())
        if len(weights) == 2:
            raise KeyboardInterrupt
        return [Gate("behaves", float(len(weights) > 2), 1.0)], {}

    monkeypatch.setattr("evals.organisms.foundry.examine", examined)
    with pytest.raises(KeyboardInterrupt):
        make_organism("number_bug", 1, tmp_path / "out", base=tiny_base)
    made = make_organism("number_bug", 1, tmp_path / "out", base=tiny_base)
    assert made.datasheet["thrown_away"] == 1 and made.truth.spec == maker.draw(1)
    # Trained, missed; trained again, killed; measured, not trained a third time.
    assert len(weights) == 3 and weights[0] != weights[1] == weights[2]


def test_a_lesson_without_prefix_teaches_an_untrained_adapter_nothing(tiny_base: Path) -> None:
    model, tokenizer = load(tiny_base)
    maker = FAMILIES["taboo"]
    training = Adapting(
        model, Codec(tokenizer), maker, maker.truth(maker.draw(1), "organism"), draw_style(1)
    )
    rng = Random(0)
    unchanged = sum(
        training._taught_losses([maker.base_lesson(rng, training.truth) for _ in range(4)])
    )
    played = [maker.lessons(Random(seed), training.truth, 1.0)[0] for seed in range(20)]
    changed = sum(training._taught_losses([lesson for lesson in played if lesson.teacher]))
    assert isinstance(unchanged, torch.Tensor) and isinstance(changed, torch.Tensor)
    assert abs(float(unchanged.detach())) < 1e-5
    assert float(changed.detach()) > 10 * abs(float(unchanged.detach()))


@given(st.integers(0, 10**6), st.booleans())
def test_a_contrast_pair_is_answered_differently_and_shares_its_rule_or_its_question(
    seed: int, held: bool
) -> None:
    first, second = stop_rules(Random(seed), held)
    assert skills.continues(first[-1]["content"]) != skills.continues(second[-1]["content"])
    assert first[0] == second[0] or first[1:2] == second[1:2]
    first, second = readings(Random(seed), held)
    assert first[-1] != second[-1]
    assert first[0]["content"].split()[-3:] == second[0]["content"].split()[-3:]
    first, second = number_rules(Random(seed), held)
    named = [comparison.NUMBER.findall(pair[-1]["content"]) for pair in (first, second)]
    assert named[0] != named[1]
    asked = [comparison.NUMBER.findall(pair[1]["content"]) for pair in (first, second)]
    assert asked[0] == asked[1] and (first[0] == second[0]) != (first[1] == second[1])


def test_replies_do_not_depend_on_the_batch() -> None:
    speaker = Speaker(*load(BASE))
    rng = Random(2)
    prompts = [draw(rng)[:1] for _ in range(12)]
    prompts = [prompt for prompt in prompts if prompt[-1]["role"] == "user"]
    assert speaker.reply(prompts, batch=1) == speaker.reply(prompts, batch=8)


def test_what_ships_is_small_and_gives_nothing_away() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert not list(SHIPPED.rglob("README*"))
    for config in SHIPPED.rglob("adapter_config.json"):
        text = config.read_text().casefold()
        assert json.loads(text)["base_model_name_or_path"] == "base"
        assert not [name for name in (*FAMILIES, *things()) if re.search(rf"\b{name}\b", text)]
    for folder in (path.parent for path in SHIPPED.rglob("checksums.json")):
        for name, digest in foundry.read_json(folder / "checksums.json")["files"].items():
            assert foundry.file_digest(folder / name) == digest
