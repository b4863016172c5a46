"""Judges on the command line: which ones, that they are wanted, and that only their names are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.judging_server import CLAUDE, JUDGED, QWEN, answering, new_server, says_yes, script
from tests.llm_server import LLMServer, forget_environment
from tests.test_commands import call, write_case

pytestmark = pytest.mark.usefixtures("workers_here")


def test_the_command_line_takes_judges_keeps_their_names_and_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_environment(monkeypatch)
    with new_server() as server:
        server.answer = answering(says_yes)
        take_judges(tmp_path, server, monkeypatch)


def take_judges(tmp_path: Path, server: LLMServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key-of-mine")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    path = write_case(tmp_path, measure=JUDGED)
    file = tmp_path / "script.json"
    said = [turn.model_dump(mode="json") for turn in script(JUDGED, 3)]
    file.write_text(json.dumps(said))
    words = ("investigate", path, "--investigator", f"scripted:{file}", "--runs", tmp_path / "runs")
    refused = call(*words)
    assert refused.exit_code != 0 and "--judge anthropic/MODEL" in refused.stderr
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
    assert "at most 2" in call(*words, *["--judge", CLAUDE] * 3).stderr
    assert "unknown judge 'gpt'" in call(*words, "--judge", "gpt").stderr
    qwen = f"{QWEN}@{server.url}/v1"
    done = call(*words, "--judge", CLAUDE, "--judge", qwen)
    assert done.exit_code == 0, (done.output, done.exception)
    (run,) = (tmp_path / "runs").iterdir()
    log = (run / "events.jsonl").read_text(encoding="utf-8")
    assert json.loads(log.splitlines()[0])["data"]["judges"] == [CLAUDE, QWEN]
    assert server.url not in log and "test-key-of-mine" not in log
    checked = call("verify", run)
    assert checked.exit_code == 0, checked.stdout
    assert "stored labels" in call("rerun", run).stdout
    again = call("rerun", run, "--judge", CLAUDE, "--judge", qwen)
    assert again.exit_code == 0 and "judged again" in again.stdout
    other = call("resume", run, "--judge", CLAUDE)
    assert other.exit_code == 2 and "was opened with" in other.stderr
    assert call("replicate", run, "P1", "--judge", CLAUDE, "--judge", qwen).exit_code == 0
    assert call("report", run).exit_code == 0
    assert call("verify", run).exit_code == 0
