"""`doctor` names what a run lacks, each in one line with its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent import doctor

CASE = """
name = "one"
behaviour = "It errs."
kind = "open"
prompts = ["a"]
[subject]
model = "model"
"""


def faults(runs: Path) -> list[tuple[str, int]]:
    return [(line, code) for state, line, code in doctor.findings_of(runs) if state == "FAULT"]


@pytest.fixture(autouse=True)
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the shipped cases aside; what they name may be missing in a test."""
    folder = tmp_path / "cases"
    folder.mkdir()
    monkeypatch.setattr(doctor, "CASES", folder)
    return folder


def test_a_sound_machine_has_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path / "runs") == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    ((line, code),) = faults(tmp_path / "runs")
    assert "1 MB free" in line and code == 5


@pytest.mark.parametrize(
    ("version", "bad"), [("2.5.1+cpu", True), ("2.6.0", False), ("2.10.0", False)]
)
def test_an_old_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, bad: bool
) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda _: version)
    found = faults(tmp_path / "runs")
    assert bool(found) == bad
    assert not bad or ("older than 2.6" in found[0][0] and found[0][1] == 4)


def test_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: None)
    assert any("torch is not installed" in line for line, _ in faults(tmp_path / "runs"))


def test_a_missing_key_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-something")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lines = {line: state for state, line, _ in doctor.key_findings()}
    assert lines["ANTHROPIC_API_KEY is set"] == "ok"
    assert "note" in lines.values() and not any("sk-something" in line for line in lines)


def test_a_model_that_is_missing_or_pickled(tmp_path: Path, cases: Path) -> None:
    (cases / "one.toml").write_text(CASE)
    ((line, code),) = faults(tmp_path / "runs")
    assert line.startswith("one.toml: ") and code == 4
    model = cases / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    ((line, code),) = faults(tmp_path / "runs")
    assert "safetensors" in line and code == 4


def test_an_orphan_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "worker.pid").write_text("{}")
    monkeypatch.setattr(doctor, "find_orphan", lambda _: 4242)
    ((line, code),) = faults(tmp_path / "runs")
    assert "4242" in line and code == 5


def test_a_shipped_case_behind_an_api_is_no_fault(tmp_path: Path, cases: Path) -> None:
    behind = CASE.replace('"model"', '"api:openai-chat/model"')
    (cases / "one.toml").write_text(behind, encoding="utf-8")
    assert faults(tmp_path / "runs") == []
    told = [line for _, line, _ in doctor.findings_of(tmp_path / "runs")]
    assert any("one.toml: behind an API" in line for line in told)
