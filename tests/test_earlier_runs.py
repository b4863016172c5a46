"""The error rate of a case on a subject is spent once, however many runs it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.case import Limits
from agent.earlier_runs import EarlierRuns, count_earlier, told
from agent.investigation import Investigation
from agent.loop import run
from agent.opening import open_run, read_run
from agent.rendering import write_report
from agent.set_reading import Place
from agent.verify import verify
from tests.scripted_run import Scripted, case_of, turns, worker_for
from tests.test_commands import call, script, write_case
from tools.registry import ToolError

SUBJECT = "digest"


def run_at(path: Path, earlier: EarlierRuns | None = None, **more: Any) -> Investigation:
    """Make a run of three registrations, each at a fourth of what it may spend."""
    known = more | ({"earlier": earlier.model_dump(mode="json")} if earlier else {})
    case = case_of()
    worker = worker_for(path)
    investigation = open_run(path, case, worker, "scripted", 7, known)
    run(investigation, Scripted(turns(summary="", interpretations={})), Budget(case.limits))
    investigation.folder.close()
    write_report(path)
    return investigation


def counted(runs: Path, case: str = "scripted", **more: Any) -> EarlierRuns:
    first = next(iter(runs.glob("*/events.jsonl")), None)
    models = read_run(first.parent).worker.catalogue.models if first else {"subject": ""}
    limits = more.pop("limits", case_of().limits)
    return count_earlier(runs, case, models["subject"], limits, **more)


def test_registrations_spend_and_what_is_left_is_shared(tmp_path: Path) -> None:
    assert counted(tmp_path) == EarlierRuns()
    first = run_at(tmp_path / "a")
    assert {each.alpha for each in first.registrations.values()} == {0.0125}
    found = counted(tmp_path)
    assert (found.runs, found.registrations) == (1, 3) and found.spent == pytest.approx(0.0375)
    second = run_at(tmp_path / "b", found)
    shares = [each.alpha for each in second.registrations.values()]
    assert shares == pytest.approx([0.0125 / 4] * len(shares)) and shares
    assert found.spent + sum(shares) <= 0.05
    assert verify(tmp_path / "b").faults == ()
    page = (tmp_path / "b" / "report" / "report.md").read_text()
    assert (
        "run 2 of this case on this subject" in page and "3 registrations were spent before" in page
    )
    assert "at most 1.25 % chance" in page
    assert (
        "of this case on this subject" not in (tmp_path / "a" / "report" / "report.md").read_text()
    )


def test_the_sum_of_all_shares_never_exceeds_alpha() -> None:
    limits, spent = Limits(), 0.0
    for registrations in (3, 3, 8, 1, 5):
        earlier = EarlierRuns(runs=1, spent=spent)
        spent += registrations * earlier.left(limits) / limits.registrations
        assert spent <= limits.alpha


def test_another_case_another_subject_and_the_investigations_of_a_set_do_not_count(
    tmp_path: Path,
) -> None:
    run_at(tmp_path / "a")
    assert counted(tmp_path, "other").runs == 0
    assert count_earlier(tmp_path, "scripted", "another", Limits()).runs == 0
    part = Place(whose="investigation", of=2, number=1).model_dump(mode="json")
    run_at(tmp_path / "set" / "1", place=part)
    assert counted(tmp_path).runs == 1
    run_at(tmp_path / "set" / "aggregate")
    assert counted(tmp_path, limits=Limits(alpha=0.2)).runs == 2


def test_a_spent_error_rate_is_refused_until_it_is_started_afresh(tmp_path: Path) -> None:
    run_at(tmp_path / "a")
    run_at(tmp_path / "b")
    with pytest.raises(ToolError, match=r"2 earlier runs .* --fresh-alpha"):
        counted(tmp_path)
    fresh = counted(tmp_path, fresh=True)
    assert (fresh.runs, fresh.afresh, fresh.spent) == (2, 1, 0.0)
    assert "does not cover a choice among the runs" in fresh.words(Limits())
    third = run_at(tmp_path / "c", fresh)
    assert third.alpha == 0.05
    # Whoever comes next shares with the run that started afresh, and is told of it.
    after = counted(tmp_path)
    assert after.spent == pytest.approx(0.0375) and after.afresh == 1
    assert "alpha 0.003125" in told(after, case_of().limits)


def test_a_flag_without_earlier_runs_changes_nothing(tmp_path: Path) -> None:
    assert count_earlier(tmp_path, "scripted", SUBJECT, Limits(), fresh=True) == EarlierRuns()


def test_a_damaged_run_of_the_case_is_not_passed_over(tmp_path: Path) -> None:
    run_at(tmp_path / "a")
    log = tmp_path / "a" / "events.jsonl"
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "events.jsonl").write_text("not a log\n")
    subject = read_run(tmp_path / "a").worker.catalogue.models["subject"]
    log.write_bytes(log.read_bytes().replace(b'"seq":3', b'"seq":9', 1))
    with pytest.raises(ToolError, match="cannot be counted"):
        count_earlier(tmp_path, "scripted", subject, Limits())


@pytest.mark.usefixtures("workers_here")
def test_the_command_counts_and_says_so(tmp_path: Path) -> None:
    path, runs, who = write_case(tmp_path), tmp_path / "runs", script(tmp_path)
    words = ("investigate", path, "--runs", runs, "--seed", 7, "--investigator", who)
    first = call(*words)
    assert first.exit_code == 0 and "run 2" not in first.stderr
    second = call(*words)
    assert second.exit_code == 0 and "This is run 2 of this case" in second.stderr
    third = call(*words, "--fresh-alpha")
    assert third.exit_code == 0 and "started afresh on request" in third.stderr
    assert [read_run(each).earlier.runs for each in sorted(runs.iterdir())] == [0, 1, 2]
