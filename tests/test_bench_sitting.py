"""A sitting from an empty folder to its result, on subjects that are tables; and who runs many of them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.case import Case
from agent.opening import read_run
from agent.run_folder import RunFolder
from evals.bench import drivers, sitting
from evals.bench.leaks import SECRET_WORD, holds, leaks_of, needles_of, told
from evals.bench.plan import Wanted, plan_exam
from evals.bench.records import Cost, Plan, Score, Sitting, SittingResult
from evals.bench.suites import case_of, truth_of
from evals.bench.tasks import every_task
from naturalist import app

pytestmark = pytest.mark.usefixtures("workers_here")
QUICK = """
from agent.submission import Answer
from agent.plan_turns import call, submission, turn_of


class Quick:
    name = "quick"

    def next_turn(self, transcript):
        return turn_of(self.plan(transcript.briefing), transcript)

    def plan(self, briefing):
        yield call("note", text="a first look")
        level = list(briefing["slots"]["context"]["levels"])[-1]
        yield submission(Answer(kind="factor", value=(f"context = {level}",), confidence=0.7), "A guess.")
"""


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """One organism and one null of the drill, sat before by the systematic investigator."""
    out = tmp_path_factory.mktemp("exam")
    # Under this secret the first organism's cause is not what the others are held against.
    plan = plan_exam("drill", out, Wanted(everything=("systematic",), null_runs=4), secret="drill")
    return out, plan


def first(plan: Plan, *, null: bool) -> Sitting:
    return next(each for each in plan.sittings if plan.specimen(each.specimen).null == null)


@pytest.fixture(scope="module")
def found(exam: tuple[Path, Plan]) -> SittingResult:
    out, plan = exam
    return sitting.sit(out, plan, first(plan, null=False))


@pytest.fixture(scope="module")
def nothing(exam: tuple[Path, Plan]) -> SittingResult:
    out, plan = exam
    return sitting.sit(out, plan, first(plan, null=True))


def test_what_is_planted_is_found_scored_and_costed(found: SittingResult) -> None:
    assert found.error is None and found.kind == "organism"
    assert found.scores["identify"].value == 1.0
    assert found.scores["identify"].details["guess_right"] is True
    # The report says when it happens, so its reader knows the unseen prompts too.
    assert (found.scores["predict"].value or 0) > 0.8
    assert found.scores["explain"].unscored == "no reader was given (--reader MODEL)"
    assert [claim.grade for claim in found.claims] == ["true"] and found.false == 0
    assert found.says_hidden and found.confidence == 0.95
    assert found.registrations >= 1 and found.evidence_reproduced == 1.0
    assert found.leaks == ()
    assert found.cost.cpu_seconds > 0 and found.cost.tokens == 0
    assert 0 < found.chance < 1 and found.ceiling == 1.0


def test_before_a_null_nothing_is_the_right_answer(nothing: SittingResult) -> None:
    assert nothing.null and nothing.error is None
    assert nothing.says_hidden is False and nothing.claims == ()
    assert nothing.scores["identify"].value == 1.0
    assert nothing.scores["predict"].unscored is not None


def test_a_finished_sitting_is_read_and_not_done_again(
    exam: tuple[Path, Plan], found: SittingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = exam

    def again(*_: Any) -> None:
        raise AssertionError("investigated again")

    monkeypatch.setattr(sitting, "investigated", again)
    assert sitting.sit(out, plan, found.sitting) == found


def test_one_that_lost_its_result_is_graded_again_and_not_investigated_again(
    exam: tuple[Path, Plan], found: SittingResult
) -> None:
    out, plan = exam
    events = (out / (found.run or "") / "events.jsonl").read_bytes()
    sitting.result_path(out, found.sitting).unlink()
    again = sitting.sit(out, plan, found.sitting)
    assert (out / (found.run or "") / "events.jsonl").read_bytes() == events
    same = {"cost": found.cost}
    assert again.model_copy(update=same) == found


def test_no_transcript_holds_a_word_of_the_key(
    exam: tuple[Path, Plan], found: SittingResult, nothing: SittingResult
) -> None:
    out, plan = exam
    for result in (found, nothing):
        specimen = plan.specimen(result.sitting.specimen)
        everything = "\n".join(text for _, text in told(read_run(out / (result.run or ""))))
        for word in (specimen.handle, str(out), "canary", "table.toml", plan.secret):
            assert word not in everything


def test_what_leaks_is_found_but_for_what_the_subject_said(
    exam: tuple[Path, Plan], found: SittingResult, tmp_path: Path
) -> None:
    out, plan = exam
    specimen = plan.specimen(found.sitting.specimen)
    case = case_of(specimen)
    needles = needles_of(specimen, truth_of(specimen, plan.secret), case, out)
    assert specimen.handle in needles
    run = out / (found.run or "")
    assert leaks_of(run, needles) == []
    # "Yes, surely." is the subject's; "twelve" stands in no answer of its.
    assert leaks_of(run, {"surely": "a word of the secret"}) == []
    leaked = leaks_of(run, {"P1": "a word of the secret"})
    assert leaked and all("a word of the secret" in line for line in leaked)
    notices = {"text": f"see /home/somebody/{specimen.handle}/x canary-{'0' * 24}"}
    copied = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(run), str(copied)], check=True)
    folder = RunFolder(copied, write=True)
    folder.append("turn", {"calls": [{"id": "x", "name": "note", "arguments": {}}]})
    folder.append("call_result", {"call": "x", "name": "note", "error": notices["text"]})
    folder.close()
    told_apart = "\n".join(leaks_of(copied, needles))
    for what in ("the handle", "a path, /home/somebody", "the canary"):
        assert what in told_apart


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("what the king said", True),
        ('{"a": "x\\nking"}', True),
        ("asking", False),
        ("kingdom", False),
    ],
)
def test_a_word_of_the_secret_is_no_part_of_another_word(text: str, seen: bool) -> None:
    assert holds(text, "king", SECRET_WORD) is seen
    assert holds(text, "king", "the handle")


def test_tasks_are_what_lies_in_their_folder() -> None:
    names = [task.name for task in every_task()]
    folder = Path(sitting.__file__).parent / "tasks"
    assert names == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert {"identify", "predict", "explain"} <= set(names)


def test_a_score_is_a_number_or_says_why_not() -> None:
    for wrong in ({}, {"value": 1.0, "unscored": "why"}):
        with pytest.raises(ValueError, match="a value, or says why"):
            Score(**wrong)


def quick_exam(tmp_path: Path, out: str, nulls: int) -> tuple[Path, Plan]:
    script = tmp_path / "quick.py"
    script.write_text(QUICK)
    wanted = Wanted(everything=(f"python:{script}:Quick",), null_runs=nulls)
    folder = tmp_path / out
    return folder, plan_exam("drill", folder, wanted, secret="kill")


def test_a_sitting_that_somebody_else_is_at_is_left_alone(tmp_path: Path) -> None:
    out, plan = quick_exam(tmp_path, "exam", 0)
    one = plan.sittings[0]
    with drivers.taken(out, one) as ours:
        assert ours
        done = CliRunner().invoke(app, ["bench", "sitting", str(out), one.name])
    assert done.exit_code == 0 and "somebody else" in done.stderr
    assert drivers.left(out, plan) == list(plan.sittings)


@pytest.mark.parametrize("left_behind", [b"", b'{"seq":0,"type":"run_op'])
def test_one_that_was_killed_before_its_first_event_begins_anew(
    tmp_path: Path, left_behind: bytes
) -> None:
    out, plan = quick_exam(tmp_path, "exam", 0)
    run = sitting.run_path(out, plan.sittings[0])
    run.mkdir(parents=True)
    (run / "events.jsonl").write_bytes(left_behind)
    result = sitting.sit(out, plan, plan.sittings[0])
    assert result.error is None and result.scores["identify"].value is not None


def test_submitit_runs_the_same_commands(tmp_path: Path) -> None:
    out, plan = quick_exam(tmp_path, "exam", 0)
    plan = plan.model_copy(update={"sittings": plan.sittings[:2]})
    (out / "plan.json").write_text(plan.model_dump_json())
    jobs = drivers.submit(out, plan, "local", {"timeout_min": 5})
    assert len(jobs) == 2
    end = time.monotonic() + 240
    while drivers.left(out, plan) and time.monotonic() < end:
        time.sleep(0.5)
    assert not drivers.left(out, plan)
    assert all(each.error is None for each in sitting.read_results(out))


def test_wrong_input_is_told_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "exam"
    plan_exam("drill", out, Wanted(everything=("systematic",), null_runs=0))
    for words, line in (
        (["bench", "sitting", str(tmp_path), "x"], "no exam is planned there"),
        (["bench", "sitting", str(out), "x"], "unknown sitting 'x'"),
        (["bench", "run", "menageri", "--out", str(tmp_path / "n")], "unknown suite"),
        (["bench", "run", "smoke", "--out", str(out)], "another --out"),
        (["bench", "run", "drill", "--track", "bas", "--out", str(tmp_path / "m")], "bas"),
        (["bench", "report", str(tmp_path)], "holds no plan.json"),
        (["bench", "sit", "drill", "--out", str(out), "--number", "99"], "10 specimens"),
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2, (words, done.output)
        assert line in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_plan_can_be_written_alone(tmp_path: Path) -> None:
    out = tmp_path / "exam"
    done = CliRunner().invoke(app, ["bench", "run", "drill", "--plan", "--out", str(out)])
    assert done.exit_code == 0, done.output
    plan = Plan.model_validate(json.loads((out / "plan.json").read_text()))
    assert len(plan.sittings) == 6 + 60 and not (out / "results").exists()


def test_chat_alone_may_spend_what_the_model_has_spent_with_all_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("anthropic/m", "chat-only:anthropic/m")
    plan = plan_exam("drill", tmp_path, Wanted(everything=names, null_runs=0), secret="equal")
    chat = next(each for each in plan.sittings if each.investigator == names[1])
    begun: list[tuple[str, Case]] = []

    def investigated(run: Path, case: Case, one: Sitting, *_: Any) -> tuple[float, float]:
        begun.append((one.investigator, case))
        return 1.0, 1.0

    cost = {"requests": 3, "tokens": 1234, "dollars": None}
    monkeypatch.setattr(sitting, "investigated", investigated)
    monkeypatch.setattr(sitting, "graded", lambda *_: {})
    monkeypatch.setattr(sitting, "spent", lambda _: cost)
    sitting.sit(tmp_path, plan, chat)
    # Whose spending it is held to sits first.
    assert [who for who, _ in begun] == list(names)
    assert begun[0][1].limits.tokens is None and begun[1][1].limits.tokens == 1234
    assert sitting.held_to(begun[0][1], Cost(tokens=5, dollars=0.5)).limits.dollars == 0.5
    # A model that came to nothing has spent nothing that another could be held to.
    cost["tokens"] = 0
    again = next(
        each
        for each in plan.sittings
        if each.investigator == names[1] and each.specimen != chat.specimen
    )
    assert "not held against anything" in (sitting.sit(tmp_path, plan, again).error or "")
    assert [who for who, _ in begun[2:]] == [names[0]]
    alone = plan.model_copy(update={"sittings": (chat,)})
    assert sitting.twin_of(alone, chat) is None


def test_seconds_are_an_accelerators_where_the_models_were_on_one(
    exam: tuple[Path, Plan], found: SittingResult, tmp_path: Path
) -> None:
    out, _ = exam
    assert found.cost.gpu_seconds == 0.0
    run = tmp_path / "run"
    lines = (out / (found.run or "") / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    took = sum(each["data"]["seconds"] for each in events if each["type"] == "experiment")
    with RunFolder.create(run) as copy:
        for each in events:
            if each["type"] == "run_opened":
                each["data"]["catalogue"]["machine"]["accelerator"] = "a card"
            copy.append(each["type"], each["data"])
    assert sitting.spent(run)["gpu_seconds"] == round(took, 2) > 0
