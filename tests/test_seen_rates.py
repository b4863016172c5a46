"""What exploration showed of a prediction's arms is told when it is registered; nothing is run for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.investigation import Investigation, Turn
from agent.loop import run
from agent.opening import open_run
from agent.rivals import STANDING
from agent.scripted import ScriptedInvestigator
from agent.verify import verify
from tests.scripted_run import MEASURE, case_of, hypotheses, level, prediction, worker_for
from tests.test_sceptic import call
from tools.black_box import BLACK_BOX
from tools.worker_client import InProcessWorker

DRAW = {"draw": {"templates": 6, "per_template": 2}}
FACTOR = {
    "name": "context",
    "levels": [
        {"name": name, "edits": level(name)["edits"]} for name in ("plain", "version", "date")
    ],
}
VARY = call("vary_prompts", items=DRAW, factors=[FACTOR], measure=MEASURE)
END = call("submit_report", answer={"kind": "unknown"})


def drive(path: Path, explored: list[Turn], **changes: Any) -> Investigation:
    base: Any = worker_for(path)
    worker = InProcessWorker(base.subject, BLACK_BOX, path / "blobs")
    case = case_of()
    investigation = open_run(path, case, worker, "scripted", 7)
    register = call("register_predictions", predictions=[prediction(**changes)])
    turns = [Turn(calls=tuple(hypotheses())), *explored, register, END]
    run(investigation, ScriptedInvestigator(turns), Budget(case.limits))
    investigation.folder.close()
    return investigation


def registered(investigation: Investigation) -> dict[str, Any]:
    """Return what the registration told of its prediction."""
    done = investigation.exchanges[-2].results[0]
    assert done.result is not None, done.error
    return done.result["registrations"][0]


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Investigation]:
    path = tmp_path_factory.mktemp("run") / "run"
    return path, drive(path, [VARY])


def test_treatment_control_and_rivals_come_with_the_rates_that_were_seen(
    explored: tuple[Path, Investigation],
) -> None:
    path, found = explored
    effects = found.exchanges[1].results[0].result or {}
    (number,) = [e.number for e in found.experiments if e.purpose == "exploration"]
    seen = registered(found)["seen_in_exploration"]
    placebo = "the placebo level context = date"
    assert set(seen) == {"treatment", "control", "dates do the same", placebo}
    by_level = {each["level"]: each["subject"]["effect"] for each in effects["effects"]}
    rates = {name: float(text.split()[0]) for name, text in seen.items()}
    assert rates["treatment"] - rates["control"] == pytest.approx(by_level["version"], abs=0.01)
    assert rates["dates do the same"] - rates["control"] == pytest.approx(
        by_level["date"], abs=0.01
    )
    assert all(text.endswith(f"(exp:{number}, 6 templates)") for text in seen.values())
    assert verify(path).faults == ()


def test_a_neutral_sentence_stands_for_the_no_op_where_the_control_edits_nothing(
    tmp_path: Path,
) -> None:
    found = drive(tmp_path, [VARY], control={"name": "as they are"}, per_cluster=16)
    seen = registered(found)["seen_in_exploration"]
    assert {STANDING[0][0], "control", "treatment"} <= set(seen)


@pytest.mark.parametrize("explored_with", [[], [{"kind": "regex", "pattern": "yes"}]])
def test_nothing_is_told_of_what_was_not_seen_or_measured_otherwise(
    tmp_path: Path, explored_with: list[dict[str, Any]]
) -> None:
    turns = [
        call("vary_prompts", items=DRAW, factors=[FACTOR], measure=measure)
        for measure in explored_with
    ]
    assert "seen_in_exploration" not in registered(drive(tmp_path, turns))


def test_the_harness_runs_nothing_for_it(explored: tuple[Path, Investigation]) -> None:
    _, found = explored
    purposes = [each.purpose for each in found.experiments]
    assert purposes.count("exploration") == 1 and purposes.count("confirmation") == 0
