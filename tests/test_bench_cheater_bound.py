"""What cheating gains is bounded over organisms alone, and a leak would not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.bench import cheater_bound
from evals.bench.cheater_bound import bound_of, main
from evals.bench.pool import Exam
from evals.bench.records import SittingResult
from evals.bench.suites import SuiteError
from tests.bench_sittings import result


def sittings(right: int, cells: int, chance: float = 0.05) -> list[SittingResult]:
    who = "cheater"
    return [
        result(f"s{k % 12}", float(k < right), sat={"investigator": who, "seed": k}, chance=chance)
        for k in range(cells)
    ]


def test_a_cheater_at_chance_is_bounded_and_one_with_a_leak_is_not() -> None:
    found = bound_of(sittings(1, 60))
    assert (found.right, found.cells, found.specimens, found.chance) == (1, 60, 12, 0.05)
    # 1 - 0.05^(1/60) for none right; a little more for one.
    assert found.upper == pytest.approx(0.0767, abs=5e-4) and found.holds
    assert found.upper_over_specimens > found.upper
    assert "1 of 60 answers right (1.7%)" in found.told() and "holds" in found.told()
    leaking = bound_of(sittings(8, 60))
    assert not leaking.holds and "NOT SHOWN" in leaking.told()
    # As many right answers are chance where a constant answer gives as many.
    assert bound_of(sittings(8, 60, chance=0.2)).holds


def test_few_cells_show_nothing_and_neither_do_nulls_and_failures() -> None:
    few = bound_of(sittings(0, 59))
    assert not few.holds and "too few: 60 are needed" in few.told()
    nulls = [each.model_copy(update={"kind": "exact"}) for each in sittings(0, 40)]
    failed = [each.model_copy(update={"error": "lost"}) for each in sittings(0, 20)]
    other = [
        each.model_copy(update={"sitting": each.sitting.model_copy(update={"investigator": "a"})})
        for each in sittings(60, 60)
    ]
    found = bound_of([*few_cells(), *nulls, *failed, *other])
    assert (found.cells, found.failed) == (30, 20)
    with pytest.raises(SuiteError, match="no sitting before an organism"):
        bound_of(nulls)


def few_cells() -> list[SittingResult]:
    return sittings(0, 30)


def test_any_suite_is_planned_for_enough_cells_on_organisms_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned: list[Exam] = []

    def run(exam: Exam, processes: int) -> int:
        planned.append(exam)
        (exam.out / "results").mkdir()
        for each in exam.plan.sittings:
            done = result(each.specimen, 0.0, chance=0.1)
            path = exam.out / "results" / f"{each.name}.json"
            path.write_text(done.model_copy(update={"sitting": each}).model_dump_json())
        return 0

    monkeypatch.setattr(cheater_bound, "run_here", run)
    for suite in ("drill", "menagerie"):
        assert main([suite, "--out", str(tmp_path / suite)]) == 0
    for exam in planned:
        assert len(exam.plan.sittings) >= 60
        assert not any(exam.plan.specimen(each.specimen).null for each in exam.plan.sittings)
    assert capsys.readouterr().out.count("holds") == 2
    assert main(["no-such", "--out", str(tmp_path / "x")]) == 2
    assert "unknown suite 'no-such'" in capsys.readouterr().err
