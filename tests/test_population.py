"""The split is crossed by template and entity, draws depend on their seed only, nothing is used twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.case import Slot
from agent.population import (
    ChooseFromPool,
    Pool,
    Population,
    draw,
    fingerprint,
    population_of,
    split_population,
)
from tests.synthetic_cases import LEVELS, number_case
from tools.prompt import Template, fill
from tools.registry import ToolError

POOLS: tuple[Pool, ...] = get_args(Pool)
quick = settings(deadline=None, max_examples=25)


def population(count: int = 20, seed: int = 0, **slots: Slot) -> Population:
    templates = [
        Template(text=f"{'{name} '}asks question number{k} about thing{k} today")
        for k in range(count)
    ]
    rows = [{"name": f"name{k}", "place": f"place{k // 2}"} for k in range(40)]
    return split_population("case", templates, slots, rows, "prompts of the kind", seed)


@quick
@given(st.integers(0, 2**32), st.integers(5, 60))
def test_no_template_and_no_entity_is_on_two_sides(seed: int, count: int) -> None:
    pools = population(count, seed).pools
    for field in (
        lambda pool: set(pool.templates),
        lambda pool: {row["name"] for row in pool.fillings},
        # Rows are linked by what they share, here the place, and stay together.
        lambda pool: {row["place"] for row in pool.fillings},
    ):
        check_disjoint([field(pools[pool]) for pool in POOLS])
    sizes = [len(pools[pool].templates) for pool in POOLS]
    assert sum(sizes) == count
    assert abs(sizes[0] - 2 * count / 5) <= 1.5 and abs(sizes[2] - count / 5) <= 1.5


def check_disjoint(sides: list[set[Any]]) -> None:
    assert all(sides)
    assert sum(map(len, sides)) == len(set[Any]().union(*sides))


@quick
@given(st.integers(0, 2**32))
def test_levels_are_split_value_by_value_and_all_keep_every_level(seed: int) -> None:
    slot = Slot(levels={name: tuple(values) for name, values in LEVELS.items()})
    pools = population(20, seed, context=slot).pools
    for level in ("version", "date", "price"):
        check_disjoint([set(pools[pool].slots["context"].levels[level]) for pool in POOLS])
    # A level of one value is shared: it has no other.
    assert all(pools[pool].slots["context"].levels["none"] == ("",) for pool in POOLS)


def test_candidates_are_shared_and_plain_values_are_not() -> None:
    words = tuple(f"word{k}" for k in range(10))
    shared = population(20, 0, word=Slot(values=words, candidates=True)).pools
    assert all(shared[pool].slots["word"].values == words for pool in POOLS)
    split = population(20, 0, word=Slot(values=words)).pools
    check_disjoint([set(split[pool].slots["word"].values) for pool in POOLS])


@quick
@given(st.integers(0, 2**32), st.integers(0, 2**32), st.sampled_from(POOLS))
def test_a_draw_is_fixed_by_its_seed(first: int, second: int, pool: Pool) -> None:
    people = population(20)
    one, two, three = (draw(people, pool, (4, 3), seed) for seed in (first, first, second))
    assert one == two
    if first != second:
        assert [item.prompt for item in one] != [item.prompt for item in three]
    assert len({item.template_id for item in one}) == 4 and len(one) == 12
    assert {item.template_id for item in one} <= set(people.pools[pool].templates)
    names = {row["name"] for row in people.pools[pool].fillings}
    assert {item.slots["name"] for item in one} <= names


@quick
@given(st.integers(0, 2**32))
def test_what_is_burned_is_never_drawn_again(seed: int) -> None:
    people = population(10)
    burned: set[str] = set()
    for round_ in range(10):
        items = draw(people, "confirm", (4, 3), seed + round_, burned=burned)
        marks = [fingerprint(item.prompt.text()) for item in items]
        assert len(set(marks)) == len(marks) and not burned & set(marks)
        burned |= set(marks)
    # 4 templates x 16 names: at some point nothing fresh is left, and then nothing comes.
    assert len(burned) <= 64 and len(items) < 12


def test_a_filling_is_made_once_however_little_is_left_to_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[str, frozenset[tuple[str, str]]]] = []

    def counted(template: Template, slots: dict[str, str]) -> Any:
        made.append((template.text, frozenset(slots.items())))
        return fill(template, slots)

    monkeypatch.setattr("agent.population.fill", counted)
    people = population(10)
    rows = len({frozenset(row.items()) for row in people.pools["explore"].fillings})
    items = draw(people, "explore", (2, 500), 1)
    # Five hundred of each are asked for, and there are no more than the rows.
    assert len(items) == len(made) == len(set(made)) == 2 * rows


def test_the_same_text_in_other_letters_is_used() -> None:
    assert fingerprint("Is  IT\nso?") == fingerprint("is it so?") != fingerprint("is it?")


def test_near_duplicates_are_refused() -> None:
    long = "please tell me now which of these two numbers here is the larger one of the two {a}"
    with pytest.raises(ToolError, match="templates 1 and 2 are near-duplicates"):
        split_population("case", [Template(text=long), Template(text=f"{long}!")], {}, [], "", 0)
    in_system = [
        Template(text="{a}", system=text) for text in ("Be kind now.", "Speak like a king.")
    ]
    split_population("case", in_system, {}, [], "", 0)


def test_few_templates_are_told_in_the_scope() -> None:
    assert "fewer than 12" in population(20).scope
    assert population_of(number_case(), 0).scope == "prompts of the kind the case describes"


def test_only_templates_that_show_a_slot_are_drawn() -> None:
    templates = [Template(text=f"say thing{k} about it{' {a}' * (k % 2)}") for k in range(30)]
    people = split_population("case", templates, {"a": Slot(values=("x", "y", "z"))}, [], "", 0)
    items = draw(people, "confirm", (30, 1), 1, slots=("a",))
    assert items and all("{a}" in item.template.text for item in items)
    assert len(items) == len(people.usable("confirm", ["a"]))


def test_a_level_is_filled_from_its_own_pool_and_the_same_in_every_arm() -> None:
    people = population_of(number_case(), 0)
    item = draw(people, "confirm", (1, 1), 0)[0]
    choose: Callable[..., str] = people.choose("confirm", 3)
    held_out = people.pools["confirm"].slots["context"].levels["version"]
    assert choose("context", "version", item) in held_out
    assert choose("context", "version", item) == choose("context", "version", item)
    assert isinstance(choose, ChooseFromPool)
    with pytest.raises(ToolError, match="did you mean 'version'"):
        choose("context", "verzion", item)
    with pytest.raises(ToolError, match="unknown factor slot 'contxt'"):
        choose("contxt", "version", item)
