"""What calls take: counted as they run, told with the result, and refused where they could not end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.call_cost import (
    answers_of,
    check_cost,
    rounded_seconds,
    runs_of,
    seconds_per_answer,
    takes,
    told_cost,
)
from agent.investigation import Investigation, ToolCall, Turn
from agent.loop import run
from agent.opening import open_run
from agent.rendering import write_report
from agent.scripted import ScriptedInvestigator
from agent.verify import verify
from tests.planted_circuit import KIND, MEASURE, basis, planted_subject
from tests.scripted_run import case_of, worker_for
from tests.test_intervention import HALVES, ITEMS
from tools.black_box import BLACK_BOX
from tools.blobs import BlobStore
from tools.edits import save_direction
from tools.experiment import Context, Experiment
from tools.intervention import ablate_direction, steer
from tools.registry import ToolError
from tools.worker_client import InProcessWorker

DRAW = {"draw": {"templates": 6, "per_template": 2}}
EDIT = {"kind": "insert_text", "texts": ["Please."]}
FACTORS = [
    {"name": name, "levels": [{"name": "no"}, {"name": "yes", "edits": [EDIT]}]} for name in "ab"
]
END = Turn(
    calls=(ToolCall(id="e", name="submit_report", arguments={"answer": {"kind": "nothing"}}),)
)


class Slow(InProcessWorker):
    """Says of every call that it took 40 seconds."""

    def call(self, *args: Any, **more: Any) -> Experiment:
        return super().call(*args, **more).model_copy(update={"seconds": 40.0})


def drive(path: Path, *calls: tuple[str, dict[str, Any]], **limits: Any) -> Investigation:
    base: Any = worker_for(path)
    investigation = open_run(
        path, case_of(limits=limits), Slow(base.subject, BLACK_BOX, path / "blobs"), "scripted", 7
    )
    turns = [Turn(calls=(ToolCall(id="x", name=name, arguments=given),)) for name, given in calls]
    run(investigation, ScriptedInvestigator([*turns, END]), Budget(investigation.case.limits))
    return investigation


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("sample_responses", {}),
        ("sample_responses", {"samples": 3, "with_reference": False}),
        ("vary_prompts", {"factors": FACTORS, "samples": 2}),
        ("vary_prompts", {"factors": FACTORS, "design": "factorial"}),
        ("rank_candidates", {"slot": "claim", "values": ["a", "b", "c", "d"], "samples": 2}),
    ],
)
def test_as_many_answers_are_counted_as_are_given(
    tmp_path: Path, tool: str, arguments: dict[str, Any]
) -> None:
    measure = {} if tool == "sample_responses" else {"measure": {"kind": "word_count"}}
    ran = drive(tmp_path / "run", (tool, {"items": DRAW, **arguments, **measure}))
    result = ran.exchanges[0].results[0].result
    assert result is not None, ran.exchanges[0].results[0].error
    arms = ran.folder.get_json(result["raw"])["arms"]
    given = sum(len(row["outputs"]) for rows in arms.values() for row in rows)
    assert answers_of(tool, ran.experiment(len(ran.experiments)).arguments, 2) == given
    assert result["took"] == f"{given:,} answers, 40 s"


def test_runs_inside_are_counted_as_they_are_made(tmp_path: Path) -> None:
    """What a direction, its doses and its placebos take is known before the call; concepts come on top."""
    subject = planted_subject(tmp_path / "model")
    context = Context(seed=1, blobs=BlobStore(tmp_path / "blobs"))
    direction = save_direction(context.blobs, 20 * basis(KIND))
    stored = {"items": ITEMS[:3], "measure": MEASURE, "layer": 2, "direction": direction}
    for more in ({}, {"doses": [0.5, 1.0, 2.0, 4.0], "placebos": 120}):
        result = steer(subject, stored | more, context)
        made = json.loads(context.blobs.get(result.model_dump()["raw"]))["runs"]
        rows = len(made.pop("plain")) + len(made.pop("steered")) + 2 * sum(map(len, made.values()))
        assert runs_of("steer", stored | more, 4) == 3 * rows
    labelled = {**stored, **HALVES, "direction": None}
    result = ablate_direction(subject, labelled, context)
    made = json.loads(context.blobs.get(result.model_dump()["raw"]))["runs"]
    made.pop("concept", None)
    assert runs_of("ablate_direction", labelled, 4) == 3 * sum(map(len, made.values()))
    pairs = {"items": ITEMS[:3], "layers": [0, 1], "positions": [-1, -2], "measure": MEASURE}
    assert runs_of("patch_activations", pairs, 4) == 3 * 2 * 2 * 3
    assert runs_of("patch_activations", {"clean": ITEMS[:3]}, 4) == 3 * 4 * 16 * 3
    assert "299 runs a prompt" in (takes("ablate_direction", 4) or "")
    assert "601 runs a prompt" in (takes("steer", 4) or "") and takes("note", 4) is None


def test_a_tool_that_looks_inside_is_timed_by_itself(tmp_path: Path) -> None:
    """Its speed is that of earlier calls to it; before there is one no call to it is refused."""
    ran = drive(tmp_path / "run", ("sample_responses", {"items": DRAW, "samples": 2}))
    large = {"items": [0] * 24, "measure": {"kind": "word_count"}, "placebos": 999}
    assert seconds_per_answer(ran, "sample_responses", read=False) is not None
    assert seconds_per_answer(ran, "steer", read=False) is None
    check_cost(ran, "steer", large)
    small = {**large, "items": [0] * 2, "placebos": 99}
    done = Experiment(tool="steer", arguments=small, seed=0, models={}, code="", seconds=40.0)
    entry = {"number": len(ran.experiments) + 1, "key": "k", "tool": "steer", "purpose": "exploration",
             "blob": ran.folder.put_json(done.model_dump(mode="json")), "seconds": 40.0}  # fmt: skip
    ran.record("experiment", entry)
    with pytest.raises(ToolError, match="steer: 96,072 runs would take .*placebos x kinds"):
        check_cost(ran, "steer", large)
    assert told_cost(ran, "steer", small, 40.0) == "806 runs, 40 s"


def test_a_call_that_could_not_end_within_the_budget_is_refused_with_the_number_that_would(
    tmp_path: Path,
) -> None:
    small, large = {"items": DRAW, "samples": 2}, {"items": DRAW, "samples": 100}
    calls = (("sample_responses", small), ("sample_responses", large))
    ran = drive(tmp_path / "run", *calls, tool_seconds=130)
    assert ran.exchanges[0].results[0].error is None
    error = ran.exchanges[1].results[0].error or ""
    assert error.startswith("sample_responses: 2,400 answers would take about")
    assert "50 s is left for tools; ask for at most" in error
    assert len(error.splitlines()) == 1 and ran.ended == "submitted"
    free = drive(tmp_path / "free", *calls)
    assert free.exchanges[1].results[0].error is None
    # Played again the same is refused: by the seconds of the log, not by a clock.
    write_report(tmp_path / "run")
    assert verify(tmp_path / "run").faults == ()


def test_minutes_that_are_left_are_those_of_the_log(tmp_path: Path) -> None:
    calls = (("sample_responses", {"items": DRAW, "samples": 100}),)
    ran = drive(tmp_path / "run", *calls, minutes=4.0)
    error = ran.exchanges[0].results[0].error or ""
    assert "s is left of the run's minutes" in error
    log = tmp_path / "run" / "events.jsonl"
    assert [json.loads(line) for line in log.read_text().splitlines() if '"clock"' in line]
    write_report(tmp_path / "run")
    assert verify(tmp_path / "run").faults == ()


def test_strange_arguments_cost_nothing() -> None:
    for samples in (10**400, "many", None, -(10**400)):
        count = answers_of("sample_responses", {"items": ["a"], "samples": samples}, 2)
        assert count is None or count < 0
    assert answers_of("vary_prompts", {"items": ["a"], "factors": [5, {"levels": 3}]}, 1) == 2
    assert answers_of("note", {"text": "a"}, 2) is None
    assert runs_of("steer", {"items": ["a"], "placebos": "many", "samples": 10**400}, 4) == 0
    assert runs_of("patch_activations", {"layers": 5, "positions": None}, 4) == 0
    assert (rounded_seconds(3.2), rounded_seconds(47)) == ("under 10 s", "50 s")
