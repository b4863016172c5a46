"""A person investigates from a notebook: free exploration, strict confirmation, a run that verifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.case import load_case
from agent.notebook import Notebook
from agent.opening import read_run
from agent.run_folder import RunError
from agent.verify import verify
from tests.scripted_run import hypotheses, make_run, turns
from tests.test_commands import write_case
from tools.registry import ToolError


def predictions() -> list[dict[str, Any]]:
    return turns()[1].calls[0].arguments["predictions"]


def propose_three(run: Notebook) -> None:
    for call in hypotheses():
        given: dict[str, Any] = call.arguments
        run.propose(given["claim"], given["family"], given["rivals"], prior=given["prior"])


def test_a_whole_investigation_with_mistakes_a_break_and_a_report(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with Notebook.open(write_case(tmp_path), path=path, seed=7) as run:
        assert run.briefing["step_zero"]["happens"] is True
        for _ in range(6):
            # A person may err as often as he likes.
            with pytest.raises(ToolError, match="did you mean 'items'"):
                run.experiment("sample_responses", item=["x"])
        with pytest.raises(ToolError, match="a method of its own"):
            run.experiment("confirm", registrations=["P1"])
        draw = {"draw": {"templates": 3, "per_template": 2}}
        seen = run.experiment("sample_responses", items=draw, samples=2)
        assert "<script>" not in seen._repr_html_() and "sample_responses" in seen._repr_html_()
        frame = run.frame(seen)
        assert set(frame["experiment"]) == {seen.experiment} and len(frame) == 2 * 2 * 6
        propose_three(run)
        told = run.register(*predictions())
        assert [each["id"] for each in told["registrations"]] == ["P1", "P2"]
        assert "not confirmed yet" in run._repr_html_()
    with Notebook.resume(path) as run:
        assert run.confirm("P1")["verdicts"]["P1"]["status"] == "supported"
        with pytest.raises(ToolError, match="verdict already"):
            run.confirm("P1")
        assert "confirmation" not in set(run.frame()["purpose"])
        assert "supported" in run._repr_html_() and "refuted" in run._repr_html_()
        page = run.submit("factor", ["context"], confidence=0.8)
        assert page.is_file() and "P1" in page.read_text(encoding="utf-8")
        assert "confirmation" in set(run.frame()["purpose"])
        with pytest.raises(ToolError, match="over"):
            run.note("late")
    assert verify(path).faults == ()
    found = read_run(path)
    assert found.investigator == "notebook" and found.ended == "submitted"
    assert {name: each.status for name, each in found.verdicts.items()} == {
        "P1": "supported",
        "P2": "refuted",
    }


def test_what_cannot_be_opened_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="near-duplicates"):
        path = write_case(tmp_path, templates=[{"text": "{context} Say {claim}."}] * 2)
        Notebook.open(path, path=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(ToolError, match="no file"):
        Notebook.open(write_case(tmp_path), path=tmp_path / "none", tools=[tmp_path / "no.py"])
    with pytest.raises(ToolError, match="has its models"):
        Notebook.open(load_case(write_case(tmp_path)), adapter="x", path=tmp_path / "none")
    make_run(tmp_path / "other")
    with pytest.raises(RunError, match="'scripted', not a notebook"):
        Notebook.resume(tmp_path / "other")
