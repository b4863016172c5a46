"""When a counter-experiment opens a cause: a rival as strong does, a weaker one that was beaten directly does not."""

from __future__ import annotations

from typing import Any

import pytest

from agent.counters import BEYOND_RIVAL, Beaten, Counter, after_counters, counters_of
from agent.finding import findings
from agent.investigation import Investigation
from agent.prediction import Prediction, Registration
from agent.verdict import RivalOutcome, Verdict
from tests.scripted_run import level, make_run, prediction
from tests.test_sceptic import SAME_WORD

EFFECT = 0.6
OUTCOME = {"standing": False, "difference": 0.2, "interval": (0.1, 0.3)}


def verdict(status: str = "supported", estimate: float = EFFECT, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "status": status, "estimate": estimate, "interval": (estimate - 0.1, estimate + 0.1),
        "p": 0.001, "threshold": 0.01, "statistic": "sign_flip/1", "clusters": 12, "items": 96,
        "unscored": 0, "arms": {},
    }  # fmt: skip
    return Verdict.model_validate(fields | changes)


def survived(*excluded: bool, status: str = "effect shown, cause open", **changes: Any) -> Verdict:
    """Return the verdict of a test with rivals, each excluded or not."""
    names = ("dates do the same", SAME_WORD["name"], "another")
    rivals = [{"name": n, "excluded": e, **OUTCOME} for n, e in zip(names, excluded, strict=False)]
    return verdict(status, rivals=rivals, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Investigation:
    return make_run(tmp_path_factory.mktemp("run") / "run", [make_end()])


def make_end() -> Any:
    from agent.investigation import ToolCall, Turn

    arguments = {"answer": {"kind": "factor", "value": ["context"]}}
    return Turn(calls=(ToolCall(id="s", name="submit_report", arguments=arguments),))


def put(run: Investigation, *tests: tuple[dict[str, Any], Verdict]) -> Investigation:
    """Put registrations with their verdicts into a run, P1 first, in place of what it had."""
    run.registrations, run.verdicts = {}, {}
    for number, (wish, found) in enumerate(tests, 1):
        name, wanted = f"P{number}", Prediction.model_validate(wish)
        run.registrations[name] = Registration(
            id=name, batch=name, prediction=wanted, digest=name, alpha=0.01, pilot_sd=None, power=None,
        )  # fmt: skip
        run.verdicts[name] = found
    return run


CHALLENGE = prediction(rivals=[*prediction()["rivals"], SAME_WORD])
NEAR = [{"name": "as much", "predicts": [-0.05, 0.05]}]
DIRECT = prediction(control=SAME_WORD["arm"] | {"name": "as I call it"}, rivals=NEAR)
FINDING = (prediction(), verdict())
OPEN = (CHALLENGE, survived(True, False))
ENOUGH = verdict(estimate=BEYOND_RIVAL * EFFECT + 0.01)


def status_of(run: Investigation) -> str:
    return after_counters("supported", counters_of(run, run.registrations["P1"]))


def test_a_rival_that_survives_opens_the_cause_and_an_excluded_one_does_not(
    run: Investigation,
) -> None:
    assert status_of(put(run, FINDING, OPEN)) == "effect shown, cause open"
    stood = (CHALLENGE, survived(True, True, status="supported"))
    assert status_of(put(run, FINDING, stood)) == "supported"


def test_a_weaker_rival_that_was_beaten_directly_opens_nothing(run: Investigation) -> None:
    put(run, FINDING, OPEN, (DIRECT, ENOUGH))
    assert status_of(run) == "supported"
    (counter,) = counters_of(run, run.registrations["P1"])
    assert counter.beaten == (Beaten(SAME_WORD["name"], "P3", ENOUGH.estimate or 0.0),)
    first, *_ = findings(run)
    assert first.status == "supported"
    assert "the bare word does it, beyond which it is 21 points (P3)" in first.statement
    assert "not excluded in P2, and beaten directly" in first.statement
    # It may stand in the log before: the investigator thought of the rival itself.
    assert status_of(put(run, FINDING, (DIRECT, ENOUGH), OPEN)) == "supported"


@pytest.mark.parametrize(
    ("direct", "found"),
    [
        (DIRECT, verdict("inconclusive", 0.02)),
        (DIRECT, verdict("effect shown, cause open", 0.4)),
        (DIRECT, verdict("refuted", 0.01)),
        (DIRECT, verdict(estimate=BEYOND_RIVAL * EFFECT - 0.01)),
        (DIRECT | {"control": level("date")}, ENOUGH),
        (DIRECT | {"treatment": level("date")}, ENOUGH),
        (DIRECT | {"direction": "less"}, ENOUGH),
        (DIRECT | {"population": "W1"}, ENOUGH),
        (DIRECT | {"measure": {"kind": "regex", "pattern": "yes"}}, ENOUGH),
        (DIRECT | {"reference_pair": True}, ENOUGH),
        (DIRECT | {"form": "equivalence"}, ENOUGH),
    ],
)
def test_a_rival_as_strong_or_compared_otherwise_stays(
    run: Investigation, direct: dict[str, Any], found: Verdict
) -> None:
    assert status_of(put(run, FINDING, OPEN, (direct, found))) == "effect shown, cause open"


def test_each_survivor_has_to_be_beaten_and_every_check_to_pass(run: Investigation) -> None:
    two = [*CHALLENGE["rivals"], {"name": "another", "arm": level("date") | {"model": "reference"}}]
    both = (CHALLENGE | {"rivals": two}, survived(True, False, False))
    assert status_of(put(run, FINDING, both, (DIRECT, ENOUGH))) == "effect shown, cause open"
    failed = {"name": "the judges agree", "passed": False, "detail": "60 %"}
    unchecked = (CHALLENGE, survived(True, False, checks=[failed]))
    assert status_of(put(run, FINDING, unchecked, (DIRECT, ENOUGH))) == "effect shown, cause open"


def test_a_rival_that_gave_a_range_cannot_be_compared(run: Investigation) -> None:
    ranged = [*prediction()["rivals"], {"name": SAME_WORD["name"], "predicts": [0.1, 0.9]}]
    test = (CHALLENGE | {"rivals": ranged}, survived(True, False))
    assert status_of(put(run, FINDING, test, (DIRECT, ENOUGH))) == "effect shown, cause open"


def test_a_comparison_that_was_opened_or_refuted_itself_beats_nothing(run: Investigation) -> None:
    again = DIRECT | {"rivals": [*NEAR, {"name": "a third", "arm": level("date")}]}
    for later in ("effect shown, cause open", "refuted"):
        put(run, FINDING, OPEN, (DIRECT, ENOUGH), (again, verdict(later, 0.25)))
        assert status_of(run) == "effect shown, cause open"


def test_of_several_comparisons_the_largest_is_not_picked(run: Investigation) -> None:
    again = DIRECT | {"smallest_effect": 0.2}
    small = verdict("inconclusive", 0.05)
    put(run, FINDING, OPEN, (DIRECT, small), (again, ENOUGH))
    assert status_of(run) == "effect shown, cause open"
    put(run, FINDING, OPEN, (DIRECT, verdict("inconclusive", 0.3)), (again, ENOUGH))
    (counter,) = counters_of(run, run.registrations["P1"])
    assert not counter.opens and counter.beaten[0].by == "P3 and P4"


def test_a_refuted_repetition_is_not_answered_by_a_comparison() -> None:
    refuted = Counter("P2", verdict("refuted", 0.01))
    assert after_counters("supported", [refuted]) == "inconclusive"
    outcome = RivalOutcome.model_validate({"name": "r", "excluded": False, **OUTCOME})
    opened = Counter("P3", verdict("effect shown, cause open", rivals=[outcome]))
    assert after_counters("supported", [refuted, opened]) == "effect shown, cause open"
