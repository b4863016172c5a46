"""The list of what ships: what is on it, builds that miss are not trained again, and the table of gates."""

import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent.terminal import CONFIGURATION
from evals.organisms import menagerie
from evals.organisms.__main__ import parser, run
from evals.organisms.families.family import Gate
from evals.organisms.foundry import SHIPPED, GateMissed
from evals.organisms.registry import FAMILIES
from evals.organisms.spec import OrganismSpec, SpecError

SPECS = menagerie.declared()
SPEC = OrganismSpec(family="taboo", seed=1)


def test_the_list_holds_forty_organisms_and_thirty_nulls() -> None:
    variants = Counter(spec.variant for spec in SPECS)
    exact = sum(not family.in_base for family in FAMILIES.values())
    assert variants["organism"] >= 40
    assert variants["benign"] + variants["nonce"] + exact >= 30
    by_family = Counter(spec.family for spec in SPECS if spec.variant == "organism")
    in_base = {name for name, family in FAMILIES.items() if family.in_base}
    assert all(by_family[name] >= 3 for name in FAMILIES if name not in in_base)
    assert sum(by_family[name] for name in in_base) <= 2
    assert {spec.easiness for spec in SPECS} == {"narrow", "mixed"}
    assert any(spec.decoys for spec in SPECS) and any(spec.strength < 1 for spec in SPECS)


def test_every_family_has_different_secrets_on_the_list() -> None:
    for name, maker in FAMILIES.items():
        told = [s for s in SPECS if s.family == name and s.variant == "organism"]
        answers = {json.dumps(maker.truth(s.drawn(), "organism").answer()) for s in told}
        assert len(answers) >= min(2, len(told)) or maker.in_base, name


def test_handles_are_distinct_and_tell_nothing() -> None:
    handles = [menagerie.handle_of(spec) for spec in SPECS]
    assert len(set(handles)) == len(SPECS) and {len(handle) for handle in handles} == {9}
    assert menagerie.handle_of(SPEC) != menagerie.handle_of(SPEC.model_copy(update={"seed": 2}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[build]]\nfamilies = ["taboo"]\nseeds = [1, 1]', "is declared twice"),
        ('[[build]]\nfamilies = ["taboo"]\nseeds = [1]\nvariant = "lookup"', "taboo has no lookup"),
        ('[[build]]\nfamilies = ["tabu"]\nseeds = [1]', "unknown family 'tabu'"),
        ('[[build]]\nfamilies = ["taboo"]\nseed = [1]', "seed"),
    ],
)
def test_a_list_that_cannot_be_built_is_told(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "list.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=told):
        menagerie.declared(path)
    assert run(parser().parse_args(["menagerie", "--list", str(path)])) == CONFIGURATION
    assert told in capsys.readouterr().err


def test_a_build_that_missed_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Path] = []

    def missing(spec: OrganismSpec, out: Path) -> None:
        tries.append(out)
        out.mkdir(exist_ok=True)
        raise GateMissed(f"{spec.family} missed hints")

    monkeypatch.setattr(menagerie, "make_declared", missing)
    first = menagerie.build(SPEC, tmp_path, time.time() + 60)
    again = menagerie.build(SPEC, tmp_path, time.time() + 60)
    assert first is not None and again is not None
    assert first.missed == again.missed == "taboo missed hints"
    assert tries == [tmp_path / menagerie.handle_of(SPEC)]
    other = SPEC.model_copy(update={"seed": 2})
    assert menagerie.build(other, tmp_path, time.time() - 1) is None
    table = menagerie.table_of([SPEC, other], tmp_path)
    assert "taboo missed hints" in table and "not built" in table


def test_the_table_tells_a_finished_build_and_its_tightest_gate(tmp_path: Path) -> None:
    folder = tmp_path / menagerie.handle_of(SPEC)
    shutil.copytree(SHIPPED / "taboo_a", folder)
    sheet: dict[str, Any] = json.loads((folder / "datasheet.json").read_text())
    sheet["gates"] = {
        "hints": {"value": 0.96, "limit": 0.95, "passed": True},
        "leaks": {"value": 0.0, "limit": 0.02, "passed": True},
        "loss": {"value": 0.03, "limit": 0.02, "passed": False},
    }
    (folder / "datasheet.json").write_text(json.dumps(sheet))
    row = menagerie.row_of(folder)
    assert "2 of 3" in row and "loss: 0.030, limit 0.02" in row
    assert row in menagerie.table_of([SPEC], tmp_path)


@pytest.mark.parametrize(
    ("gate", "inside"),
    [
        (Gate("a", 0.97, 0.95), 0.02 / 0.95),
        (Gate("a", 0.93, 0.95), -0.02 / 0.95),
        (Gate("a", 0.01, 0.02, at_least=False), 0.5),
        (Gate("a", 0.0, 0.0, at_least=False), 0.0),
        (Gate("a", None, 0.9), float("-inf")),
    ],
)
def test_how_far_inside_its_limit_a_gate_is(gate: Gate, inside: float) -> None:
    assert menagerie.room(gate) == pytest.approx(inside)
    stored = {"value": gate.value, "limit": gate.limit, "passed": gate.passed}
    assert menagerie.room(menagerie.gate_from("a", stored)) == pytest.approx(inside)
