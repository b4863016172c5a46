"""The command line: one clear line and a documented exit code for whatever is wrong, data on stdout."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent import session
from agent.opening import read_run
from agent.run_folder import RunFolder
from naturalist import app
from tests.scripted_run import TABLE, case_of, make_run, turns

pytestmark = pytest.mark.usefixtures("workers_here")
USAGE, CONFIGURATION, RESOURCES, LOCKED = 2, 4, 5, 6


def toml(value: Any) -> str:
    """Return JSON as a TOML value, which it is but for the tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return json.dumps(value)


def write_case(folder: Path, **changes: Any) -> Path:
    """Write a case on a synthetic table, and the table."""
    case = case_of().model_dump(mode="json", exclude_none=True)
    behaviours = [toml(each) for each in TABLE["behaviours"]]
    scatter = toml(TABLE["scatter"])
    (folder / "table.toml").write_text(
        f"behaviours = [{', '.join(behaviours)}]\nscatter = {scatter}\n"
    )
    case["subject"] = {"model": f"synthetic:{folder / 'table.toml'}"}
    case["reference"] = {"model": f"synthetic:{folder / 'table.toml'}"}
    path = folder / "case.toml"
    content = {name: value for name, value in (case | changes).items() if value not in (None, {})}
    path.write_text("\n".join(f"{name} = {toml(value)}" for name, value in content.items()))
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def told(result: Result, code: int) -> str:
    """Return the one line on stderr; there is no traceback and nothing on stdout."""
    assert result.exit_code == code, (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("run: ")]
    assert len(lines) == 1 and lines[0].startswith("naturalist: "), lines
    assert result.stdout == ""
    return lines[0]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_a_missing_case_a_bad_one_and_an_unknown_key(tmp_path: Path, runs: Path) -> None:
    assert "no case file at" in told(call("investigate", tmp_path / "none.toml"), USAGE)
    bad = tmp_path / "bad.toml"
    bad.write_text("name = [")
    assert "is not TOML" in told(call("investigate", bad, "--runs", runs), USAGE)
    path = write_case(tmp_path, behavior="x")
    assert "did you mean 'behaviour'?" in told(call("investigate", path, "--runs", runs), USAGE)
    path = write_case(tmp_path, templates=[], prompts=[])
    assert "no prompts" in told(call("investigate", path, "--runs", runs), USAGE)
    assert not runs.exists()


@pytest.mark.parametrize("who", ["sistematic", "scripted:none.json"])
def test_an_investigator_that_is_none(tmp_path: Path, runs: Path, who: str) -> None:
    result = call("investigate", write_case(tmp_path), "--investigator", who, "--runs", runs)
    line = told(result, CONFIGURATION if who == "sistematic" else USAGE)
    assert "unknown investigator" in line or "cannot be read" in line
    assert not runs.exists()


def test_templates_that_cannot_be_split_leave_no_run(tmp_path: Path, runs: Path) -> None:
    path = write_case(tmp_path, templates=[{"text": "{context} Say {claim}."}] * 2)
    assert "near-duplicates" in told(call("investigate", path, "--runs", runs), USAGE)
    assert not list(runs.glob("*/events.jsonl"))


def test_a_model_that_is_not_there_or_is_a_pickle(tmp_path: Path, runs: Path) -> None:
    path = write_case(tmp_path)
    result = call("investigate", path, "--subject", tmp_path / "gone", "--runs", runs)
    assert str(tmp_path / "gone") in told(result, CONFIGURATION)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (model / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    result = call("investigate", path, "--subject", model, "--reference", "none", "--runs", runs)
    assert re.search("pickle|safetensors", told(result, CONFIGURATION))
    assert not list(runs.glob("*"))


def test_a_table_that_is_broken(tmp_path: Path, runs: Path) -> None:
    path = write_case(tmp_path)
    (tmp_path / "table.toml").write_text("behaviours = 3")
    assert "behaviours" in told(call("investigate", path, "--runs", runs), CONFIGURATION)
    assert not list(runs.glob("*"))


def test_a_full_disk_is_told_before_the_start(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    line = told(call("investigate", write_case(tmp_path), "--runs", runs), RESOURCES)
    assert "5 MB free" in line and "--runs" in line
    assert not runs.exists()


def script(folder: Path) -> str:
    path = folder / "script.json"
    path.write_text(
        json.dumps([turn.model_dump(mode="json") for turn in turns(summary="", interpretations={})])
    )
    return f"scripted:{path}"


def test_a_disk_that_fills_up_loses_nothing(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_case(tmp_path)
    append, count = RunFolder.append, 0

    def filling(self: RunFolder, *args: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count > 12:
            raise OSError(28, "No space left on device")
        return append(self, *args, **more)

    monkeypatch.setattr(RunFolder, "append", filling)
    who = script(tmp_path)
    result = call("investigate", path, "--runs", runs, "--seed", 7, "--investigator", who)
    assert result.exit_code == RESOURCES
    (run,) = runs.iterdir()
    assert (
        "no space left on the disk" in result.stderr and f"naturalist resume {run}" in result.stderr
    )
    kept = len(RunFolder(run).events)
    assert kept == 12
    monkeypatch.undo()
    done = call("resume", run, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["report"]["findings"][0]["status"] == "supported"
    assert [event.seq for event in RunFolder(run).events[:kept]] == list(range(kept))


def test_a_run_prints_where_its_report_is_and_json_is_one_document(
    tmp_path: Path, runs: Path
) -> None:
    path, who = write_case(tmp_path), script(tmp_path)
    result = call("investigate", path, "--runs", runs, "--seed", 7, "--investigator", who)
    assert result.exit_code == 0, result.output
    assert "P1 supported" in result.stdout and "report.html" in result.stdout
    assert "run: " in result.stderr and "run: " not in result.stdout
    (run,) = runs.iterdir()
    assert read_run(run).ended == "submitted"
    again = call("report", run, "--json")
    content = json.loads(again.stdout)
    assert content["run"] == str(run) and len(content["report"]["findings"]) >= 3
    # What the subject says is hostile: no escape sequence reaches the terminal.
    assert "\x1b" not in result.output + again.output


def test_the_plan_of_a_dry_run_starts_nothing(tmp_path: Path, runs: Path) -> None:
    path = write_case(tmp_path)
    plain = call("investigate", path, "--runs", runs, "--dry-run")
    assert plain.exit_code == 0 and "12 to explore, 12 to confirm, 6 to reserve" in plain.stdout
    content = json.loads(call("investigate", path, "--runs", runs, "--dry-run", "--json").stdout)
    assert content["registrations"] == "at most 4, each at alpha 0.0125"
    assert content["investigator"] == "systematic" and content["dollars"].startswith("none: ")
    assert {"prompts", "tokens", "GPU minutes", "memory"} <= content.keys()
    assert not runs.exists()


def test_the_plan_names_the_cost_of_a_model_where_its_price_is_known(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_case(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    for name, said in (
        ("anthropic/claude-opus-5-5", "1.28, without caching"),
        ("openai-chat/x", "no price"),
    ):
        planned = call("investigate", path, "--investigator", name, "--dry-run", "--runs", runs)
        assert planned.exit_code == 0 and said in planned.stdout
    refused = call(
        "investigate", path, "--investigator", "openai-chat/x", "--budget-usd", "1", "--runs", runs
    )
    assert "no price is known for openai-chat/x" in told(refused, CONFIGURATION)
    assert not runs.exists()


def test_every_budget_can_be_given_on_the_command_line(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    changed = session.changed_case

    def kept(*arguments: Any) -> Any:
        case = changed(*arguments)
        seen.append(case.limits)
        return case

    monkeypatch.setattr(session, "changed_case", kept)
    budgets = {"minutes": 3.0, "tokens": 10_000, "usd": 2.0, "tool-seconds": 50.0, "steps": 7}
    words = [word for name, most in budgets.items() for word in (f"--budget-{name}", str(most))]
    planned = call("investigate", write_case(tmp_path), "--runs", runs, "--dry-run", *words)
    assert planned.exit_code == 0
    (limits,) = seen
    assert list(budgets.values()) == [
        limits.minutes,
        limits.tokens,
        limits.dollars,
        limits.tool_seconds,
        limits.steps,
    ]


def test_the_command_line_changes_models_and_minutes(tmp_path: Path) -> None:
    path = write_case(tmp_path)
    case = session.changed_case(
        path,
        session.Models(subject="hub/one", reference="none", adapter="hub/two"),
        {"minutes": 3.0},
    )
    assert (case.subject.model, case.subject.adapter) == ("hub/one", "hub/two")
    assert case.reference is None and case.limits.minutes == 3.0
    assert session.changed_case(path, session.Models(adapter="none"), {}).subject.adapter is None


def test_a_folder_that_is_no_run_and_a_run_that_is_locked(tmp_path: Path) -> None:
    for command in ("resume", "report", "verify"):
        assert "is not a run folder" in told(call(command, tmp_path), USAGE)
    make_run(tmp_path / "run")
    log = tmp_path / "run" / "events.jsonl"
    content = log.read_bytes()
    log.write_bytes(content.replace(b'"seq":3', b'"seq":9', 1))
    assert call("resume", tmp_path / "run").exit_code == 3
    log.write_bytes(content)
    holder = RunFolder(tmp_path / "run", write=True)
    case = write_case(tmp_path)
    assert case.exists()
    with pytest.raises(Exception, match="is being written by another process"):
        RunFolder(tmp_path / "run", write=True)
    holder.close()


def test_tools_are_listed_and_shown() -> None:
    listed = call("tools")
    assert listed.exit_code == 0 and "sample_responses" in listed.stdout
    assert "score_arms" not in listed.stdout
    names = [entry["name"] for entry in json.loads(call("tools", "--json").stdout)]
    assert "register_predictions" in names
    assert json.loads(call("tools", "vary_prompts", "--json").stdout)["schema"]["properties"]
    assert "did you mean 'vary_prompts'" in told(call("tools", "vary_promts"), USAGE)


def one_call(folder: Path, tool: str, args: str) -> Result:
    write_case(folder)
    model = f"synthetic:{folder / 'table.toml'}"
    return call("call", tool, "--subject", model, "--args", args, "--out", folder / "out")


@pytest.mark.parametrize(
    ("tool", "args", "expected"),
    [
        ("sample_responses", "{", "--args is not JSON"),
        ("sample_responses", "[1]", "--args must be a JSON object"),
        ("sample_responses", "@none.json", "none.json"),
        ("sample_respones", "{}", "did you mean 'sample_responses'"),
        ("sample_responses", '{"items": []}', "items"),
    ],
)
def test_a_call_that_is_wrong_is_told(tmp_path: Path, tool: str, args: str, expected: str) -> None:
    assert expected in told(one_call(tmp_path, tool, args), USAGE)


def test_a_call_prints_its_result(tmp_path: Path) -> None:
    result = one_call(tmp_path, "sample_responses", '{"items": ["Is it a version?"], "samples": 2}')
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sampled"] == 4


def test_the_exit_codes_are_documented() -> None:
    text = " ".join(call("--help").stdout.split())
    assert all(f"{code} " in text for code in (0, 1, 2, 3, 4, 5, 6, 130))


OWN_INVESTIGATOR = """
from agent.submission import Answer
from agent.plan_turns import submission


class Mine:
    def next_turn(self, transcript):
        names = [tool["name"] for tool in transcript.briefing["tools"]]
        screened = [screen["tool"] for screen in transcript.briefing["screens"]]
        return submission(Answer(kind="nothing", guesses=(*names, *screened)[:10]), "Mine.")


class Mute:
    pass
"""


def test_an_investigator_of_ones_own_goes_without_the_tools_that_it_is_to_miss(
    tmp_path: Path, runs: Path
) -> None:
    path, mine = write_case(tmp_path), tmp_path / "mine.py"
    mine.write_text(OWN_INVESTIGATOR)
    for without in ([], ["--without", "sample_responses", "--without", "rank_candidates"]):
        who = f"python:{mine}:Mine"
        done = call("investigate", path, "--runs", runs, "--investigator", who, *without, "--json")
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)["report"]["answer"]["guesses"]
        assert ("sample_responses" in said) == (not without), said
        assert "vary_prompts" in said


@pytest.mark.parametrize(
    ("words", "line", "code"),
    [
        (("--without", "vary_prompt"), "did you mean 'vary_prompts'", USAGE),
        (("--investigator", "python:none.py:Mine"), "no file none.py", CONFIGURATION),
        (("--investigator", "python:mine.py:Nobody"), "has no attribute 'Nobody'", CONFIGURATION),
        (("--investigator", "python:mine.py:Mute"), "has no next_turn", CONFIGURATION),
    ],
)
def test_what_cannot_be_left_out_or_asked_is_told(
    tmp_path: Path, runs: Path, words: tuple[str, str], line: str, code: int
) -> None:
    (tmp_path / "mine.py").write_text(OWN_INVESTIGATOR)
    given = [word.replace("mine.py", str(tmp_path / "mine.py")) for word in words]
    result = call("investigate", write_case(tmp_path), "--runs", runs, *given)
    assert line in told(result, code)
    assert not list(runs.glob("*"))
