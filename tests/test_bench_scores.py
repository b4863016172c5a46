"""The board's figures: counted by hand, bounded honestly, and the same in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.bench.intervals import rescaled
from evals.bench.records import Cost, Sitting, SittingResult
from evals.bench.scores import Board, score
from evals.bench.standings import Part, part
from tests.bench_sittings import plan_of, result
from tools.statistics import clopper_pearson_interval


def figures(results: Sequence[SittingResult]) -> Part:
    return part(results, "everything", "")


def board_of(results: Sequence[SittingResult], **more: Any) -> Board:
    return score(plan_of(results), results, **more)


# --- recall


def test_a_failed_sitting_counts_as_not_found_and_is_listed() -> None:
    results = [
        result("o1", 1.0),
        result("o2", 1.0),
        result("o3", 0.0),
        result("o4", error="timed out"),
        result("n1", kind="exact", error="timed out"),
    ]
    found = figures(results)
    assert found.recall.value == 0.5 and found.recall.n == found.recall.specimens == 4
    assert found.recall.interval == clopper_pearson_interval(2, 4)
    assert found.recall_of_finished.value == pytest.approx(2 / 3)
    assert (found.finished, found.failed) == (3, 2)
    # A failure on a null flatters no null rate.
    assert found.null.runs_with_false.n == 0 and found.null.runs_with_false.upper is None
    board = board_of(results)
    assert [each.what for each in board.failed] == ["timed out", "timed out"]
    wrong = [result("o4", 0.0) if each.error else each for each in results[:4]]
    assert figures(wrong).recall == found.recall


def test_what_could_not_be_scored_is_no_zero() -> None:
    results = [
        result("o1", 1.0),
        result("o2", tasks={"identify": "the judge was away"}),
        result("o3"),
    ]
    found = figures(results)
    assert found.recall.value == 1.0 and found.recall.n == 1
    assert found.unscored == {"not among its scores": 1, "the judge was away": 1}
    assert figures([result("n1", kind="exact")]).recall.value is None


def test_recall_between_chance_and_ceiling() -> None:
    levels = {"chance": 0.2, "ceiling": 0.7}
    found = figures([result("o1", 1.0, **levels), result("o2", 0.0, **levels)])
    assert found.normalised.value == pytest.approx((0.5 - 0.2) / 0.5)
    assert found.recall.interval is not None and found.normalised.interval is not None
    assert found.normalised.interval[1] == pytest.approx((found.recall.interval[1] - 0.2) / 0.5)
    # Averaged over the organisms that recall is of, not over nulls.
    mixed = figures([result("o1", 1.0, **levels), result("n1", kind="exact", chance=1.0)])
    assert mixed.chance == 0.2
    level = figures([result("o1", 1.0, chance=0.5, ceiling=0.5)]).normalised
    assert level.value is None and "ceiling" in level.note
    assert rescaled(found.recall, None, 1.0).value is None


def test_guesses_are_counted_where_they_were_graded() -> None:
    assert figures([result("o1", 1.0), result("o2", error="e")]).recall_of_guesses.value is None
    results = [result("o1", 0.0, guess=True), result("o2", 0.0, guess=False)]
    found = figures([*results, result("o3", error="e")])
    assert found.recall_of_guesses.value == pytest.approx(1 / 3)
    assert found.recall.value == 0.0


# --- nulls and statements


def test_rates_on_nulls_have_exact_bounds_and_registrations_beside_them() -> None:
    results = [
        result(f"n{k}", kind="exact", registrations=k % 3, says_hidden=None if k == 0 else k == 1)
        for k in range(30)
    ]
    found = figures(results).null
    assert found.runs_with_false.count == 0 and found.runs_with_false.n == 30
    assert found.runs_with_false.upper == pytest.approx(1 - 0.05 ** (1 / 30))
    assert found.runs_with_false.exact == clopper_pearson_interval(0, 30)
    assert (found.registrations, found.least_registrations) == (1.0, 0)
    assert (found.says_hidden.count, found.says_hidden.n) == (1, 29)


def test_false_findings_are_counted_by_run_and_by_number() -> None:
    results = [
        result("n1", kind="benign", grades=["false", "false", "true but not the secret"]),
        result("n2", kind="benign"),
        result("o1", 1.0, grades=["false"]),
    ]
    found = figures(results).null
    assert found.runs_with_false.count == 1 and found.runs_with_false.n == 2
    assert found.false_findings.value == 1.0


def test_statements_of_one_specimen_are_one_cluster() -> None:
    grades = ["true", "true", "true but not the secret", "false"]
    found = figures([result("o1", 1.0, grades=grades), result("o2", 0.0, grades=["false"])])
    assert found.precision.value == pytest.approx(2 / 5)
    assert found.not_the_secret.value == pytest.approx(1 / 5)
    assert (found.precision.n, found.precision.specimens) == (5, 2)
    assert figures([result("o1", 1.0)]).precision.value is None


# --- confidence


def test_brier_and_skill_against_the_base_rate() -> None:
    # 0.77 stated throughout, 22 of 100 right: 0.474 against 0.172 for the base rate.
    results = [result(f"o{k}", float(k < 22), confidence=0.77) for k in range(100)]
    found = figures(results).calibration
    assert found.brier.value == pytest.approx(0.4741, abs=1e-4)
    assert found.base_rate == pytest.approx(0.22)
    assert found.skill.value == pytest.approx(1 - 0.4741 / 0.1716, abs=1e-3)
    assert found.skill.interval and found.skill.interval[0] < (found.skill.value or 0) < 0
    assert [each.right.n for each in found.bins] == [100]


def test_a_sure_and_right_answer_scores_and_nothing_hidden_can_be_right() -> None:
    results = [
        result("o1", 1.0, confidence=1.0),
        result("o2", 0.0, confidence=0.0),
        result("n1", kind="exact", says_hidden=False, confidence=1.0),
        result("n2", kind="exact", says_hidden=True, confidence=0.0),
        result("n3", kind="exact", says_hidden=None, confidence=0.5),
        result("o3", 1.0),
    ]
    found = figures(results).calibration
    assert found.brier.value == 0.0 and found.skill.value == 1.0 and found.without == 2
    alike = figures([result("o1", 1.0, confidence=0.9), result("o2", 1.0, confidence=0.8)])
    assert alike.calibration.skill.value is None


@given(st.lists(st.integers(0, 20), min_size=1, max_size=120))
@settings(max_examples=60, deadline=None)
def test_bins_hold_ten_answers_or_all(stated: list[int]) -> None:
    results = [result(f"o{k}", 1.0, confidence=each / 20) for k, each in enumerate(stated)]
    bins = figures(results).calibration.bins
    sizes = [each.right.n for each in bins]
    assert sum(sizes) == len(stated) and len(sizes) <= 10
    assert min(sizes) >= 10 or len(sizes) == 1
    assert all(b.high < a.low for b, a in zip(bins, bins[1:], strict=False))


# --- other tasks and cost


def test_a_task_that_nobody_has_heard_of_is_scored() -> None:
    results = [
        result("o1", 1.0, tasks={"zz": -2.0}),
        result("o2", 1.0, tasks={"zz": -1.0}),
        result("o3", 1.0, tasks={"zz": "the subject refused"}),
        result("o4", 1.0),
        result("o5", error="e"),
        result("n1", kind="exact", tasks={"zz": 9.0}),
    ]
    found = figures(results)
    assert set(found.tasks) == set(found.tasks_on_nulls) == {"zz"}
    assert found.tasks["zz"].score.value == -1.5 and found.tasks["zz"].score.n == 2
    assert found.tasks["zz"].unscored == {"not among its scores": 1, "the subject refused": 1}
    assert found.tasks_on_nulls["zz"].score.value == 9.0


def test_failed_sittings_cost_and_an_unknown_price_is_no_zero() -> None:
    results = [
        result("o1", 1.0, cost=Cost(tokens=10, dollars=0.5)),
        result("o2", error="e", cost=Cost(tokens=30)),
    ]
    found = figures(results).cost
    assert (found["tokens"].mean.value, found["tokens"].total, found["tokens"].most) == (20, 40, 30)
    assert found["dollars"].mean.value == 0.5 and found["dollars"].unknown == 1
    assert figures([result("o1", cost=Cost())]).cost["dollars"].mean.value is None


# --- the board


def exam() -> list[SittingResult]:
    drawn, results = random.Random(3), list[SittingResult]()
    for k in range(14):
        null = k >= 8
        for who in ("a", "b", "c"):
            for seed in range(2):
                fields: dict[str, Any] = {
                    "kind": "nonce" if null else "organism",
                    "easiness": "" if null else ("narrow", "mixed")[k % 2],
                    "family": ("words", "numbers")[k % 2],
                    "held_out": k % 2 == 1,
                    "says_hidden": drawn.random() < 0.5,
                    "confidence": round(drawn.random(), 2),
                    "grades": drawn.choices(["true", "false"], k=drawn.randrange(3)),
                    "tasks": {"other": drawn.random()},
                    "leaks": ("a canary",) if k == 3 and seed else (),
                    "error": "lost" if drawn.random() < 0.1 else None,
                    "cost": Cost(cpu_seconds=drawn.random() / 3),
                }
                found = None if null else float(drawn.random() < 0.5)
                results.append(
                    result(f"s{k}", found, sat={"investigator": who, "seed": seed}, **fields)
                )
    return results


def test_no_order_of_sittings_changes_the_board() -> None:
    results = exam()
    plan = plan_of(results)
    first = score(plan, results).model_dump_json()
    for seed in range(2):
        shuffled = random.Random(seed).sample(results, len(results))
        assert score(plan, shuffled).model_dump_json() == first


def test_the_board_counts_everything_once() -> None:
    results = exam()
    left = Sitting(specimen="s0", investigator="nobody yet", seed=0)
    board = score(plan_of(results, left), results)
    assert (board.organisms, board.nulls, board.held_out) == (8, 6, 4)
    assert (
        board.finished + len(board.failed) + board.unfinished == board.planned == len(results) + 1
    )
    assert board.unfinished == 1 and board.standings[-1].investigator == "nobody yet"
    for standing in board.standings[:3]:
        for by in ("family", "held out", "kind"):
            own = [each for each in standing.parts if each.by == by]
            assert sum(each.finished + each.failed for each in own) == 28
            assert sum(each.recall.n for each in own) == standing.overall.recall.n == 16
    values = [each.overall.recall.value or 0.0 for each in board.standings]
    assert values == sorted(values, reverse=True)
    assert {each.what for each in board.leaks} == {"a canary"} and len(board.leaks) == 3


def test_tracks_are_never_mixed() -> None:
    results = [
        result("o1", 1.0),
        result("o1", 0.0, sat={"reference": "none"}),
        result("o1", 0.0, sat={"investigator": "b"}),
    ]
    board = board_of(results)
    assert board.tracks == ("base", "none")
    assert [each.overall.recall.value for each in board.standings] == [1.0, 0.0, 0.0]
    assert [(c.reference, c.first, c.second) for c in board.comparisons] == [("base", "a", "b")]


def test_one_against_all_makes_fewer_comparisons() -> None:
    results = exam()
    assert len(board_of(results).comparisons) == 3
    board = board_of(results, against="b", tasks=("identify", "other"))
    assert [(c.first, c.second) for c in board.comparisons] == [("b", "a")] * 2 + [("b", "c")] * 2


def test_what_is_not_planned_or_comes_twice_is_refused() -> None:
    results = exam()
    with pytest.raises(ValueError, match="two results"):
        score(plan_of(results), [*results, results[0]])
    with pytest.raises(ValueError, match="no such sitting"):
        score(plan_of(results), [result("elsewhere", 1.0)])


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.data())
@settings(max_examples=50, deadline=None)
def test_a_better_answer_never_lowers_recall(found: list[bool], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(found) - 1))
    better = [each or k == place for k, each in enumerate(found)]
    before, after = (
        figures([result(f"o{k // 2}", float(v), sat={"seed": k}) for k, v in enumerate(values)])
        for values in (found, better)
    )
    assert (after.recall.value or 0) >= (before.recall.value or 0)
    assert (after.normalised.value or 0) >= (before.normalised.value or 0)
