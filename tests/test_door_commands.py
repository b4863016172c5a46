"""The commands for other tools and people: export, say, mcp, and tools of one's own on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import naturalist
from agent.opening import opened_event, read_run, stored_tools
from agent.run_folder import RunFolder
from agent.verify import verify
from tests.scripted_run import make_run
from tests.test_commands import CONFIGURATION, USAGE, told, write_case

pytestmark = pytest.mark.usefixtures("workers_here")
OWN = '''
from typing import Any

from tools.experiment import Context
from tools.registry import Record, tool


class WordsArguments(Record):
    text: str


class WordsResult(Record):
    words: int


@tool
def NAME(subject: Any, args: WordsArguments, context: Context) -> WordsResult:
    """Count the words of a text."""
    return WordsResult(words=len(args.text.split()))


TOOLS = (NAME,)
'''


def call(*words: object) -> Result:
    return CliRunner().invoke(naturalist.app, [str(word) for word in words])


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN.replace("NAME", "count_words"))
    return path


def script(folder: Path) -> Path:
    """Write turns that use the researcher's own tool and submit."""
    submission = {"answer": {"kind": "nothing", "confidence": 0.5}}
    turns: list[dict[str, Any]] = [
        {"calls": [{"id": "a", "name": "count_words", "arguments": {"text": "one two three"}}]},
        {"calls": [{"id": "b", "name": "submit_report", "arguments": submission}]},
    ]
    path = folder / "script.json"
    path.write_text(json.dumps(turns))
    return path


def test_a_tool_of_ones_own_is_called_logged_and_there_again_after_a_stop(
    tmp_path: Path, own: Path
) -> None:
    runs, case = tmp_path / "runs", write_case(tmp_path)
    who = f"scripted:{script(tmp_path)}"
    done = call("investigate", case, "--investigator", who, "--runs", runs, "--tools", own)
    assert done.exit_code == 0, done.output
    (path,) = runs.glob("*")
    run = read_run(path)
    result = run.exchanges[0].results[0].result
    assert result is not None and result["words"] == 3
    (entry,) = [e for e in run.worker.catalogue.tools if e["name"] == "count_words"]
    assert entry["own"] is True and stored_tools(path) == (str(own),)
    assert verify(path).faults == ()
    log = path / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    cut = next(k for k, line in enumerate(lines) if b'"type":"turn"' in line)
    log.write_bytes(b"".join(lines[: cut + 1]))
    again = call("resume", path)
    assert again.exit_code == 0, again.output
    assert read_run(path).exchanges[0].results[0].result == result
    assert verify(path).faults == ()


def test_a_tool_of_ones_own_is_called_by_hand(tmp_path: Path, own: Path) -> None:
    write_case(tmp_path)
    subject = f"synthetic:{tmp_path / 'table.toml'}"
    words = ["--subject", subject, "--args", '{"text": "a b"}', "--out", tmp_path / "out"]
    done = call("call", "count_words", *words, "--tools", own)
    assert json.loads(done.stdout) == {"words": 2}
    assert "no file" in told(call("call", "x", *words, "--tools", tmp_path / "no.py"), USAGE)


def test_a_tool_with_the_name_of_one_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN.replace("NAME", "confirm"))
    done = call("investigate", write_case(tmp_path), "--runs", tmp_path / "runs", "--tools", path)
    assert "is called 'confirm'" in told(done, USAGE)
    assert not list((tmp_path / "runs").glob("*"))


def test_export_prints_the_files_and_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    before = (tmp_path / "run" / "events.jsonl").read_bytes()
    for kind in ("docent", "frames"):
        done = call("export", tmp_path / "run", "--to", kind, "--out", tmp_path / kind)
        assert done.exit_code == 0, done.output
        assert all(Path(line).is_file() for line in done.stdout.splitlines())
    assert (tmp_path / "run" / "events.jsonl").read_bytes() == before
    assert verify(tmp_path / "run").faults == ()
    assert "is not a run folder" in told(call("export", tmp_path, "--to", "docent"), USAGE)


def test_say_to_a_run_that_is_over(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    assert "the investigation is over" in told(call("say", tmp_path / "run", "more"), USAGE)


def test_mcp_is_refused_in_one_line_before_it_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "either a case" in told(call("mcp"), USAGE)
    assert "no case file" in told(call("mcp", tmp_path / "none.toml"), USAGE)
    make_run(tmp_path / "run")
    line = told(call("mcp", "--resume", tmp_path / "run"), USAGE)
    assert "its investigator is 'scripted'" in line
    monkeypatch.setattr("agent.doors.commands.find_spec", lambda name: None)
    assert "pip install 'mcp" in told(call("mcp", write_case(tmp_path)), CONFIGURATION)


@pytest.mark.parametrize(("who", "how"), [("mcp", "mcp --resume"), ("notebook", "Notebook.resume")])
def test_resume_says_how_a_run_from_outside_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str, how: str
) -> None:
    make_run(tmp_path / "run")
    opened = opened_event(RunFolder(tmp_path / "run")) | {"investigator": who}
    monkeypatch.setattr("agent.session.opened_event", lambda folder: opened)
    assert how in told(call("resume", tmp_path / "run"), CONFIGURATION)
