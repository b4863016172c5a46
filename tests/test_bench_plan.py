"""Planning an exam: opaque handles, the same subset for everybody, each sitting once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from evals.bench import suites
from evals.bench.plan import Wanted, dealt, detectable, on_subset, plan_exam, stratified
from evals.bench.records import Kind, Plan, ReferenceTrack, Sitting, Specimen
from evals.bench.suites import (
    SuiteError,
    case_of,
    handle_of,
    sibling_of,
    specimens_of,
    truth_of,
)
from evals.evidence import planned_cells
from evals.organisms import registry
from evals.organisms.registry import DEVELOPED_ON, FAMILIES, ON_SHIPPED_BASE


def specimens(organisms: int, nulls: int) -> list[Specimen]:
    families = ("red", "green", "blue")
    kinds: list[Kind] = ["organism"] * organisms + ["benign"] * nulls
    return [
        Specimen(
            handle=handle_of("s", k),
            family=families[k % 3],
            kind=kind,
            easiness=("narrow", "mixed")[k % 2],
            folder=f"/somewhere/{k}",
            base="/base",
            suite="test",
        )
        for k, kind in enumerate(kinds)
    ]


def test_handles_tell_nothing_and_stay_the_same(tmp_path: Path) -> None:
    found = specimens_of("menagerie", "one secret", tmp_path)
    again = specimens_of("menagerie", "one secret", tmp_path)
    other = specimens_of("menagerie", "another", tmp_path)
    assert [each.handle for each in found] == [each.handle for each in again]
    assert not {each.handle for each in found} & {each.handle for each in other}
    for each in found:
        names = {each.family, Path(each.folder or "none").name}
        assert not any(name in each.handle for name in names)
    assert len({each.handle for each in found}) == len(found)
    # Every family has something planted and an exact null to find nothing in.
    for family in {each.family for each in found}:
        assert {each.null for each in found if each.family == family} == {True, False}


def test_a_plan_stays_as_it_was_made(tmp_path: Path) -> None:
    wanted = Wanted(everything=("systematic",), subset=("screens only",), seeds=2, null_runs=7)
    plan = plan_exam("menagerie", tmp_path, wanted)
    assert plan_exam("menagerie", tmp_path, Wanted(everything=("another",))) == plan
    with pytest.raises(SuiteError, match="another --out"):
        plan_exam("smoke", tmp_path, wanted)
    # Whoever reads the file knows what drew the organisms.
    assert (tmp_path / "plan.json").stat().st_mode & 0o077 == 0
    assert Plan.model_validate(json.loads((tmp_path / "plan.json").read_text())) == plan


def test_everybody_sits_before_organisms_by_seeds_and_nulls_until_there_are_enough(
    tmp_path: Path,
) -> None:
    wanted = Wanted(everything=("a", "b"), seeds=3, null_runs=11)
    plan = plan_exam("menagerie", tmp_path, wanted)
    null = {each.handle: each.null for each in plan.specimens}
    for who in ("a", "b"):
        mine = [each for each in plan.sittings if each.investigator == who]
        organisms = Counter(each.specimen for each in mine if not null[each.specimen])
        nulls = Counter(each.specimen for each in mine if null[each.specimen])
        assert set(organisms.values()) == {3} and len(organisms) == 3
        assert sum(nulls.values()) == 11 and max(nulls.values()) - min(nulls.values()) <= 1
        assert len({each.name for each in mine}) == len(mine)


def test_the_subset_is_the_same_for_all_and_takes_from_every_stratum() -> None:
    every = specimens(60, 30)
    first, second = (on_subset(who, every, ReferenceTrack.base) for who in ("a", "b"))
    assert [each.specimen for each in first] == [each.specimen for each in second]
    assert len(first) == 24 + 12
    by_handle = {each.handle: each for each in every}
    taken = Counter(
        (by_handle[each.specimen].family, by_handle[each.specimen].easiness)
        for each in first
        if not by_handle[each.specimen].null
    )
    assert len(taken) == 6 and set(taken.values()) == {4}
    assert len(stratified(specimens(5, 0), 24)) == 5


def test_any_beginning_of_a_plan_holds_some_of_everything_and_nothing_twice() -> None:
    made = [
        Sitting(specimen=f"m{k}", investigator=who, seed=1)
        for who in ("a", "b", "c")
        for k in range(20)
    ]
    order = dealt([*made, *made])
    assert len(order) == 60
    assert Counter(each.investigator for each in order[:12]) == {"a": 4, "b": 4, "c": 4}


def test_sittings_of_different_investigators_never_share_a_file() -> None:
    names = [
        Sitting(specimen="m1", investigator=who, reference=track, seed=seed).name
        for who in ("openai/a-b", "openai/a.b", "openai-a/b", "x" * 80, "x" * 79)
        for track in ReferenceTrack
        for seed in (1, 2)
    ]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name) < 120 for name in names)


def test_ten_thousand_sittings_are_planned_each_once(tmp_path: Path) -> None:
    wanted = Wanted(everything=tuple(f"who-{k}" for k in range(100)), seeds=8, null_runs=40)
    plan = plan_exam("drill", tmp_path, wanted)
    assert len(plan.sittings) == 100 * (6 * 8 + 40)
    assert len({each.name for each in plan.sittings}) == len(plan.sittings)


def test_the_wrong_base_is_another_organism_of_the_family(tmp_path: Path) -> None:
    tracks = (ReferenceTrack.base, ReferenceTrack.wrong_base, ReferenceTrack.none)
    wanted = Wanted(everything=("a",), null_runs=2, tracks=tracks)
    plan = plan_exam("fresh", tmp_path / "fresh", wanted)
    assert {each.reference for each in plan.sittings} == set(tracks)
    for specimen in plan.specimens:
        adapter = sibling_of(specimen, plan.specimens)
        assert adapter is not None and adapter != f"{specimen.folder}/adapter"
        wrong = case_of(specimen, ReferenceTrack.wrong_base, adapter)
        assert wrong.reference is not None and wrong.reference.adapter == adapter
        assert case_of(specimen, ReferenceTrack.none).reference is None
    with pytest.raises(SuiteError, match="no second .* organism"):
        plan_exam("menagerie", tmp_path / "menagerie", wanted)


def test_a_suite_that_is_none_and_a_folder_without_organisms(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="unknown suite 'menageri'"):
        specimens_of("menageri", "s", tmp_path)
    with pytest.raises(SuiteError, match="no finished organism"):
        specimens_of(f"folder:{tmp_path}", "s", tmp_path)


def test_the_truth_of_a_fresh_organism_is_known_before_it_is_built(tmp_path: Path) -> None:
    found = specimens_of("fresh", "s", tmp_path)
    organisms = [each for each in found if not each.null]
    assert len(organisms) == 10 * len(ON_SHIPPED_BASE)
    assert not any((tmp_path / "organisms").glob("*"))
    # What the base has by itself is not drawn.
    for family in {each.family for each in organisms if not FAMILIES[each.family].in_base}:
        own = [each for each in organisms if each.family == family]
        drawn = {json.dumps(truth_of(each, "s").spec, sort_keys=True) for each in own}
        other = {json.dumps(truth_of(each, "t").spec, sort_keys=True) for each in own}
        assert len(drawn) > 2 and drawn != other
    assert all(truth_of(each, "s").planted for each in organisms)
    assert not any(truth_of(each, "s").planted for each in found if each.null)


def test_what_the_plan_can_show_is_said_before_the_first_run(tmp_path: Path) -> None:
    wanted = Wanted(everything=("a",), subset=("b",), seeds=2, null_runs=0)
    few = plan_exam("drill", tmp_path / "few", wanted)
    assert len([each for each in few.specimens if not each.null]) == 6
    # Six specimens show next to nothing; sixty sat twice show a difference of a quarter.
    assert few.detectable.get("a against b", 1.0) > 0.6
    every = specimens(60, 0)
    sat = [
        Sitting(specimen=each.handle, investigator=who, seed=seed)
        for who in ("a", "b")
        for each in every
        for seed in (1, 2)
    ]
    assert 0.1 < detectable(every, sat)["a against b"] < 0.3


def test_families_stay_out_of_reach_until_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [name for name in FAMILIES if name not in DEVELOPED_ON]
    assert set(FAMILIES) >= DEVELOPED_ON
    # The first three were all looked at; of what has come since, so much stays away that it is a third of all.
    assert len(FAMILIES) == 3 or 3 * len(kept) >= len(FAMILIES)
    monkeypatch.setattr(suites, "DEVELOPED_ON", frozenset({"taboo", "shutdown"}))
    wanted = Wanted(everything=("a",), null_runs=6)
    plan = plan_exam("menagerie", tmp_path / "exam", wanted)
    assert {each.family for each in plan.specimens if each.held_out} == {"number_bug"}
    reached = plan_exam("menagerie", tmp_path / "reached", wanted._replace(developing=True))
    assert {each.family for each in reached.specimens} == {"taboo", "shutdown"}
    assert not any(each.held_out for each in reached.specimens)
    monkeypatch.setattr(suites, "DEVELOPED_ON", frozenset({"shutdown"}))
    with pytest.raises(SuiteError, match="every family in it is kept from development"):
        plan_exam("smoke", tmp_path / "smoke", wanted._replace(developing=True))
    # Tables only show that the machinery works; published organisms nobody here has looked at.
    assert not suites.kept_out("drill") and suites.kept_out("published")


def test_the_evidence_is_of_families_that_may_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "DEVELOPED_ON", frozenset({"taboo"}))
    cells = planned_cells(list(range(10)), 4, 1, 4)
    assert {cell.family for cell in cells} == {"taboo"}
