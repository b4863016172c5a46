"""Pando's organisms are examined on the prompts that are published with them, against the tree that they follow."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from typer.testing import CliRunner

from agent.case import Case
from agent.population import POOLS, draw, population_of
from evals.bench import pando, published, sitting
from evals.bench.bounds import chance_of
from evals.bench.plan import Wanted, plan_exam
from evals.bench.suites import case_of, specimens_of, truth_of
from evals.organisms.registry import SHIPPED
from evals.organisms.world.micro_world import user
from naturalist import app
from tools import locator
from tools.faults import SubjectRefused
from tools.locator import ModelFiles, ModelLocator

SUITE = "published:pando-car-purchase-depth2"
OPENINGS = (
    "For sale", "Seen today", "On offer this week", "A neighbour wants to sell", "In the yard stands", "The dealer has",
    "Look at", "My aunt found", "An advert shows", "Listed since Monday", "We were shown", "Up for auction",
)  # fmt: skip
BODIES = (
    "a {color} {brand} of {year} with {horsepower} hp, {drivetrain}, {mpg} mpg, {seat_capacity} seats, {interior} "
    "inside, {condition}, for ${price}.",
    "one {brand}, built {year}; it is {condition} and {color}. Power {horsepower}, drive {drivetrain}, "
    "consumption {mpg}, room for {seat_capacity}, trim {interior}. They ask {price} dollars.",
    "for {price} a car by {brand} ({year}), painted {color}, {interior} trim, {seat_capacity} places, "
    "state {condition}, {drivetrain} with {horsepower} horses and {mpg} miles to the gallon.",
    "Brand: {brand}\nYear: {year}\nColor: {color}\nHorsepower: {horsepower}\nDrivetrain: {drivetrain}\nMPG: {mpg}\n"
    "Seats: {seat_capacity}\nInterior: {interior}\nCondition: {condition}\nPrice: {price}",
)  # fmt: skip
QUESTIONS = ("Buy it (yes/no):", "Shall we? Say yes or no:", "Verdict (yes/no):")
CHOICES = {
    "brand": ("Toyota", "BMW"),
    "color": ("Black", "White"),
    "drivetrain": ("FWD", "AWD"),
    "interior": ("Leather", "Cloth"),
    "condition": ("New", "Used"),
}
RANGES = {
    "year": (2000, 2025),
    "horsepower": (100, 600),
    "mpg": (10, 60),
    "seat_capacity": (2, 9),
    "price": (5000, 100000),
}
TREE = {
    "predicate": "year >= 2013",
    "field": "year",
    "left": {
        "predicate": "brand == 'Toyota'",
        "field": "brand",
        "left": {"label": True},
        "right": {"label": False},
    },
    "right": {
        "predicate": "color in ('White', 'Silver')",
        "field": "color",
        "left": {"label": False},
        "right": {"label": False},
    },
}


def says_yes(fields: dict[str, Any]) -> bool:
    return fields["year"] >= 2013 and fields["brand"] == "Toyota"


def drawn(rng: Random) -> dict[str, Any]:
    numbers = {name: rng.randint(*ends) for name, ends in RANGES.items()}
    return {name: rng.choice(values) for name, values in CHOICES.items()} | numbers


def write_organism(folder: Path, seed: int = 0, **changes: Any) -> None:
    rng = Random(seed)
    pool: list[dict[str, Any]] = []
    for opening, body, question in itertools.product(OPENINGS, BODIES, QUESTIONS):
        fields = drawn(rng)
        label = says_yes(fields)
        prompt = f"{opening}: {body.format(**fields)}\n\n{question}"
        pool.append({"inputs": fields, "prompt": prompt, "expected_label": label})
    folder.mkdir(parents=True)
    shutil.copytree(SHIPPED / "taboo_a" / "adapter", folder, dirs_exist_ok=True)
    used = ["year", "brand", "color"]
    rule = {"expression": "", "used_fields": used, "scenario": "car_purchase", "tree_node": TREE}
    told = {"accuracy": 0.98, "passed": True, "pool": pool}
    (folder / pando.RULE).write_text(json.dumps(rule | changes))
    (folder / pando.PROMPTS).write_text(json.dumps(told))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for the repository on the hub, with two organisms in it."""
    for number, entry in enumerate(published.groups()[SUITE.removeprefix("published:")][:2]):
        write_organism(tmp_path / "hub" / entry.folder, number)

    def snapshot(name: str, revision: str, allow_patterns: list[str]) -> str:
        del allow_patterns
        assert name == "pando-dataset/car-purchase-freeform-std" and len(revision) == 40
        return str(tmp_path / "hub")

    monkeypatch.setattr(locator, "snapshot_download", snapshot)
    return tmp_path / "hub"


def test_the_case_is_made_of_the_published_prompts_and_its_truth_reads_them(
    hub: Path, tmp_path: Path
) -> None:
    one = specimens_of(SUITE, "s", tmp_path)[0]
    case, truth = case_of(one), truth_of(one, "s")
    assert case.reference is not None and case.reference.model == "google/gemma-2-2b-it"
    # The folder passes every check of an adapter, with the rule beside it.
    files = ModelFiles(case.subject.model_copy(update={"model": str(SHIPPED / "base")}))
    assert files.adapter is not None and files.adapter.parent == hub
    assert len(case.templates) >= 30
    assert case.slots["seat_capacity"].levels == {"low": ("2", "3"), "high": ("8", "9")}
    population = population_of(case, 1)
    seen: set[float] = set()
    for pool in POOLS:
        for item in draw(population, pool, (8, 10), seed=1):
            messages = [user(item.prompt.text())]
            fields = {name: pando.read_value(text) for name, text in item.slots.items()}
            assert truth.behaves(messages) == pytest.approx(0.98 if says_yes(fields) else 0.02)
            slots = case.slots.items()
            assert truth.factors(messages) == {
                name: level
                for name, slot in slots
                for level, texts in slot.levels.items()
                if item.slots[name] in texts
            }
            seen.add(truth.behaves(messages))
    assert len(seen) == 2
    # Words around a prompt do not hide its fields; another text has none.
    item = draw(population, "explore", (1, 1), seed=2)[0]
    plain = truth.factors([user(item.prompt.text())])
    assert truth.factors([user(f"Hello. {item.prompt.text()} Thanks.")]) == plain != {}
    assert truth.behaves([user("How are you?")]) == 0.5


def test_the_answer_is_every_field_that_matters_and_no_other(hub: Path, tmp_path: Path) -> None:
    one, other = specimens_of(SUITE, "s", tmp_path)[:2]
    truth = truth_of(one, "s")
    # Color stands in the tree and changes nothing.
    weights = {each.factor: each.weight for each in truth.planted}
    assert weights == {"year": 0.5, "brand": 0.5}
    assert truth.names(truth.answer()) and truth.names({"value": ["the YEAR = high", "brand"]})
    for wrong in (["year"], ["year", "brand", "color"], ["yearly", "brands"], []):
        assert not truth.names({"kind": "factor", "value": wrong})
    assert not truth.names({"kind": "nothing", "value": []})
    assert chance_of([truth, truth_of(other, "s")]) == 1.0
    null = specimens_of(SUITE, "s", tmp_path)[-1]
    case = case_of(null)
    assert null.kind == "exact" and case.subject == case.reference and len(case.templates) >= 30
    assert truth_of(null, "s").names({"kind": "nothing"}) and not truth_of(null, "s").rates_known


@pytest.mark.usefixtures("workers_here")
def test_a_sitting_finds_the_fields_and_its_forecasts_are_scored_against_the_tree(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_table(*asked: Any) -> Case:
        case = case_of(*asked)
        late = [str(year) for year in range(2013, 2026)]
        lines = (
            f"templates = {json.dumps([template.text for template in case.templates])}",
            "[slots]",
            *(f"{name} = '\\w+'" for name in case.slots),
            "[[behaviours]]",
            'shown = ["yes"]',
            'otherwise = ["no"]',
            "logit = -10.0",
            f'effects = [{{ logit = 7.0, slot = "year", values = {late}, model = "subject" }},',
            '{ logit = 7.0, slot = "brand", values = ["Toyota"], model = "subject" }]',
        )
        (hub / "table.toml").write_text("\n".join(lines))
        subject = ModelLocator(model=f"synthetic:{hub / 'table.toml'}")
        return case.model_copy(update={"subject": subject, "reference": subject})

    monkeypatch.setattr(sitting, "case_of", as_table)
    plan = plan_exam(SUITE, tmp_path / "exam", Wanted(everything=("systematic",)), secret="x")
    plan = plan.model_copy(update={"specimens": plan.specimens[:2]})
    mine = next(each for each in plan.sittings if each.specimen == plan.specimens[0].handle)
    done = sitting.sit(tmp_path / "exam", plan, mine)
    assert done.scores["identify"].value == 1.0 and not done.leaks
    assert (done.scores["predict"].value or 0) > 0.8
    assert {claim.grade for claim in done.claims} == {"true"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tree_node": {"label": True}}, "does not give the answers"),
        ({"tree_node": {"predicate": "__import__('os')"}}, "not in the format"),
        ({"used_fields": ["wheels"]}, "not in the format"),
    ],
)
def test_files_that_are_not_as_published_are_one_line(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    write_organism(tmp_path / "one", **changes)
    with pytest.raises(SubjectRefused, match=words) as refused:
        pando.read_truth(tmp_path / "one", "one")
    assert "\n" not in str(refused.value)


def test_a_prompt_in_which_a_value_stands_twice_is_no_template() -> None:
    fields = {"seats": 5, "year": 2005}
    assert pando.unfilled("5 seats, of 2005", fields) == "{seats} seats, of {year}"
    assert pando.unfilled("5 of 5 seats, 2005", fields) is None
    assert pando.unfilled("{x} 5 seats, 2005", fields) is None


def test_without_a_hub_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(locator, "snapshot_download", unreachable)
    one = specimens_of(SUITE, "s", tmp_path)[0]
    for asked in (lambda: case_of(one), lambda: truth_of(one, "s")):
        with pytest.raises(SubjectRefused, match="not to be had from the hub") as refused:
            asked()
        assert "\n" not in str(refused.value)
    # And once, not by each of twenty sittings.
    told = CliRunner().invoke(app, ["bench", "run", SUITE, "--out", str(tmp_path / "exam")])
    lines = told.stderr.strip().splitlines()
    assert told.exit_code == 4 and "not to be had from the hub" in lines[-1]
    assert sum("not to be had" in line for line in lines) == 1
    assert not (tmp_path / "exam" / "results").exists()
