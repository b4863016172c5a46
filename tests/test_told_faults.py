"""What a careless or hostile user gets: one line and a documented exit code, nothing lost, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import told_faults
from agent.case import CaseError, load_case
from agent.llm.cassette import Entry, read_entries
from agent.llm.conversation import declined
from agent.llm.faults import LLMError
from agent.llm.keys import check_address
from agent.opening import stored_case
from agent.run_folder import Event, RunError, read_events
from agent.terminal import faults_told
from tests.scripted_run import make_run
from tests.test_commands import CONFIGURATION, USAGE, call, told, write_case
from tools.boundary import load_tools
from tools.registry import ToolError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["minutes", "tokens", "usd", "tool-seconds"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_a_budget_that_is_none_is_refused_and_not_taken_for_no_limit(
    tmp_path: Path, name: str, value: str
) -> None:
    if name == "tokens" and not value.lstrip("-").isdigit():
        return
    result = call("investigate", write_case(tmp_path), "--dry-run", f"--budget-{name}", value)
    assert "--budget" in told(result, USAGE)


@pytest.mark.parametrize("limits", [{"minutes": 0}, {"tool_seconds": -1}, {"steps": 0}])
def test_a_limit_that_is_none_is_refused_in_a_case_too(
    tmp_path: Path, limits: dict[str, int]
) -> None:
    result = call("investigate", write_case(tmp_path, limits=limits), "--dry-run")
    assert f"limits.{next(iter(limits))}" in told(result, USAGE)


@pytest.mark.parametrize(
    "templates",
    [3, [3], [{"text": "x", "history": 3}], [{"text": "x", "history": [{"user": 3}]}]],
)
def test_a_case_of_another_shape_is_told(tmp_path: Path, templates: Any) -> None:
    path = write_case(tmp_path, templates=templates)
    with pytest.raises(CaseError, match="templates"):
        load_case(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}", b"NaN", b"[" * 100_000])
def test_a_script_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "script.json").write_bytes(content)
    who = f"scripted:{tmp_path / 'script.json'}"
    result = call("investigate", write_case(tmp_path), "--dry-run", "--investigator", who)
    assert "the script" in told(result, USAGE)


@pytest.mark.parametrize("source", ["1 / 0", "import sys\nsys.exit(3)", "raise KeyError('a\\nb')"])
def test_a_file_of_ones_own_that_fails_at_import_names_the_line(
    tmp_path: Path, source: str
) -> None:
    path = tmp_path / "own.py"
    path.write_text(f"x = 1\n{source}\n")
    with pytest.raises(ToolError, match=r"own\.py cannot be imported: .* \(line [23]\)$") as caught:
        load_tools([str(path)])
    assert len(caught.value.faults[0].splitlines()) == 1
    who = f"python:{path}:Mine"
    result = call("investigate", write_case(tmp_path), "--dry-run", "--investigator", who)
    assert "cannot be imported" in told(result, CONFIGURATION)


@pytest.mark.parametrize("who", ["python:", "python:.x:y", "python:a b:c"])
def test_a_module_that_is_none(tmp_path: Path, who: str) -> None:
    result = call("investigate", write_case(tmp_path), "--dry-run", "--investigator", who)
    assert "is no Python module" in told(result, CONFIGURATION)


def test_a_program_that_raises_while_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "def Mine():\n    raise ZeroDivisionError('made of nothing')\n"
    )
    who = f"python:{tmp_path / 'own.py'}:Mine"
    result = call("investigate", write_case(tmp_path), "--dry-run", "--investigator", who)
    assert "made of nothing" in told(result, CONFIGURATION)


@pytest.mark.parametrize("content", [b"my notes", b"one\ntwo", b"{}\n", b"\xff\n\xfe"])
def test_a_file_that_is_no_cassette_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ToolError, match="line 1 is no reply"):
        read_entries(path)
    assert path.read_bytes() == content


def test_a_cassette_loses_only_the_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    line = Entry(key="k", reply=declined("no", "m", None)).model_dump_json()
    for torn in (b"", b"{", b'{"key":"x'):
        path.write_bytes(line.encode() + b"\n" + torn)
        assert [entry.key for entry in read_entries(path)] == ["k"]
        assert path.read_bytes() == line.encode() + b"\n"


def test_a_cassette_without_a_folder_is_found_out_before_a_reply_is_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    words = ("--investigator", "openai-chat/x", "--cassette", tmp_path / "no" / "replies.jsonl")
    result = call("investigate", write_case(tmp_path), "--dry-run", *words)
    assert "is not there or cannot be written" in told(result, USAGE)


def test_an_option_of_a_model_is_not_ignored_where_a_program_investigates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    run = ("investigate", write_case(tmp_path), "--dry-run")
    address = ("--base-url", "http://127.0.0.1:9/v1")
    replies = ("--cassette", tmp_path / "replies.jsonl")
    assert "--base-url: for an investigating model" in told(call(*run, *address), USAGE)
    assert "--cassette: for an investigating model" in told(call(*run, *replies), USAGE)
    sceptic = ("--sceptic", f"openai-chat/x@{address[1]}")
    assert call(*run, *replies, *sceptic).exit_code == 0
    assert call(*run, *address, "--investigator", "openai-chat/x").exit_code == 0


@pytest.mark.parametrize(
    "address", ["", "x", "127.0.0.1:8000", "ftp://a", "http://", "http://[::1", "http://a:99999"]
)
def test_what_is_no_address_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(LLMError, match="is no address of a server"):
        check_address(address)
    check_address("http://127.0.0.1:8000/v1")


def test_a_path_that_cannot_be_used_is_told_in_any_command(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    make_run(tmp_path / "run")
    assert str(taken) in told(
        call("investigate", write_case(tmp_path), "--runs", taken, "--investigator", "person"),
        USAGE,
    )
    assert str(taken) in told(
        call("export", tmp_path / "run", "--to", "docent", "--out", taken), USAGE
    )
    assert taken.read_text() == ""


def test_a_run_of_another_version_is_told(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    log = tmp_path / "run" / "events.jsonl"
    (first, *_), _ = read_events(log)
    opened = first.data | {"case": first.data["case"] | {"colour": "red"}}
    log.write_text(Event(seq=0, type=first.type, data=opened, prev=first.prev).line() + "\n")
    with pytest.raises(RunError, match="another version of naturalist"):
        stored_case(tmp_path / "run")


def test_a_folder_that_is_no_run_stays_as_it_is(tmp_path: Path) -> None:
    assert "is not a run folder" in told(call("report", tmp_path), USAGE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_plan_of_a_set_that_is_damaged_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.json").write_bytes(content)
    for command in ("verify", "report", "resume"):
        assert "set.json cannot be read" in told(call(command, tmp_path), USAGE)


def test_verify_says_of_a_log_that_was_cut_that_the_run_has_not_ended(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    log = tmp_path / "run" / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert "note: the run has not ended" in call("verify", tmp_path / "run").stdout


def test_a_role_that_cannot_be_reached_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for role in ("writer", "sceptic"):
        result = call("investigate", write_case(tmp_path), "--dry-run", f"--{role}", "openai/x")
        assert f"the {role} (openai/x): no API key" in told(result, CONFIGURATION)


@pytest.mark.parametrize("option", ["--subject", "--reference", "--adapter"])
def test_an_empty_name_is_not_the_folder_one_stands_in(tmp_path: Path, option: str) -> None:
    result = call("investigate", write_case(tmp_path), "--dry-run", option, "")
    assert "is empty" in told(result, USAGE)


def test_folders_of_runs_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    assert "is no folder" in call("doctor", "--runs", tmp_path / "file").stdout
    for command in (("doctor", "--runs"), ("verify",), ("report",)):
        result = call(*command, tmp_path / "loop")
        assert result.exit_code == USAGE and "Traceback" not in result.output


def test_what_an_exam_cannot_be_asked_for(tmp_path: Path) -> None:
    exam = ("bench", "run", "drill", "--out", tmp_path / "exam", "--plan")
    assert "known: base, wrong base, none" in told(call(*exam, "--track", "zzz"), USAGE)
    assert "slurm or local" in told(call(*exam, "--cluster", "zzz"), USAGE)
    assert "unknown reader 'zzz'" in told(call(*exam, "--reader", "zzz"), USAGE)
    assert "cannot be read" in told(call(*exam, "--prices", tmp_path / "none"), USAGE)
    assert call(*exam).exit_code == 0
    report = call("bench", "report", tmp_path / "exam", "--against", "sistematic")
    assert "did you mean 'systematic'" in told(report, USAGE)


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), faults_told("runs/x"):
        raise ZeroDivisionError
    assert told_faults.told(FileNotFoundError(2, "no such file"), None) is None


def test_a_reader_of_stdout_that_has_gone_fails_no_command() -> None:
    source = "from agent.terminal import put\nfor n in range(9): put('a line')\nraise SystemExit(3)"
    readable, writable = os.pipe()
    os.close(readable)
    done = subprocess.run(
        [sys.executable, "-c", source],
        stdout=writable,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(writable)
    assert (done.returncode, done.stderr) == (3, b"")


def test_a_terminal_that_knows_few_letters_shows_the_others_by_number() -> None:
    source = "from agent.terminal import put\nput('\u03b1 is shown')"
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"\\u03b1 is shown\n"), done.stderr


HELP = """
import sys
from typer.testing import CliRunner
from naturalist import app
groups = {"organisms": ("list", "make", "check"), "bench": ("run", "sitting", "report", "sit")}
alone = "investigate resume tools call doctor report verify rerun replicate diff review mcp export say"
for words in [[], *([name] for name in alone.split()), *([g, name] for g in groups for name in groups[g])]:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0 and "Usage: " in result.stdout, words
heavy = {"torch", "transformers", "numpy", "scipy", "huggingface_hub", "openai", "anthropic", "starlette"}
print(sorted(heavy & set(sys.modules)))
"""


def test_help_waits_for_no_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
