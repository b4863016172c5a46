"""A person at the terminal investigates through the same loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.budget import Budget
from agent.loop import run
from agent.opening import open_run
from agent.person import LeftByPerson, PersonInvestigator
from tests.scripted_run import case_of, worker_for


def sit(path: Path, lines: list[str]) -> tuple[str, list[str], int]:
    said: list[str] = []
    waiting = iter(lines)

    def ask(_: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    case = case_of()
    investigation = open_run(path, case, worker_for(path), "person", 7)
    try:
        reason = run(investigation, PersonInvestigator(ask, said.append), Budget(case.limits))
    finally:
        investigation.folder.close()
    return reason, said, len(investigation.exchanges)


def test_lines_are_calls_and_slips_of_the_hand_are_no_turns(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_text('{"text": "from a file"}')
    lines = [
        "",
        "tools",
        "tools note",
        "tools nothing",
        "brief",
        "note {not json",
        "note [1]",
        "note @nowhere.json",
        'note {"text": "typed"}',
        f"note @{tmp_path / 'note.json'}",
        *['not_a_tool {"x": 1}'] * 6,
        'submit_report {"answer": {"kind": "nothing", "confidence": 0.6}}',
    ]
    reason, said, turns = sit(tmp_path / "run", lines)
    # Six mistakes in a row end no person's run.
    assert reason == "submitted" and turns == 9
    told = "\n".join(said)
    assert "Keep an observation" in told and "no tool 'nothing'" in told
    assert told.count("the arguments cannot be read") == 3
    assert "unknown tool 'not_a_tool'" in told
    assert "/secret/place" not in told


def test_who_goes_away_leaves_the_run_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(LeftByPerson):
        sit(tmp_path / "run", ['note {"text": "one"}'])
