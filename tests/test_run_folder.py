"""The run folder and opening: nothing acknowledged is lost, nothing damaged is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.briefing import briefing
from agent.opening import open_run, read_run, resume_run, stored_case
from agent.run_folder import (
    Event,
    RunDamaged,
    RunError,
    RunFolder,
    RunLocked,
    read_line,
    redact,
)
from tests.scripted_run import TABLE, case_of, make_run, worker_for
from tools.registry import ToolError

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abc\n\"é\u2028", max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text("xyz", max_size=3), JSON, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_line_reads_back_as_it_was(data: dict[str, Any]) -> None:
    event = Event(seq=3, type="note", data=data, prev="0" * 64)
    line = event.line()
    assert "\n" not in line
    assert read_line(line.encode()).line() == line


def written(path: Path, count: int = 6) -> Path:
    with RunFolder.create(path) as folder:
        for number in range(count):
            folder.append("note", {"number": number, "text": "words " * 5}, sync=number == 2)
    return path


def test_events_survive_reopening_and_go_on(tmp_path: Path) -> None:
    written(tmp_path / "run")
    with RunFolder(tmp_path / "run", write=True) as folder:
        folder.append("note", {"number": 6})
    again = RunFolder(tmp_path / "run")
    assert [event.data["number"] for event in again.events] == list(range(7))


def test_what_is_applied_is_what_is_read_back_down_to_the_order_of_keys(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run") as folder:
        event = folder.append("note", {"b": 1, "a": {"d": (1, 2), "c": 0}})
    (read,) = RunFolder(tmp_path / "run").events
    assert json.dumps(event.data) == json.dumps(read.data)


def test_every_torn_tail_is_cut_and_kept(tmp_path: Path) -> None:
    whole = (written(tmp_path / "run") / "events.jsonl").read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for size in range(ends[3] + 1, len(whole)):
        path = tmp_path / f"cut{size}"
        path.mkdir()
        (path / "events.jsonl").write_bytes(whole[:size])
        complete = sum(end <= size for end in ends)
        with RunFolder(path, write=True) as folder:
            assert len(folder.events) == complete
            folder.append("note", {"number": complete})
        assert len(RunFolder(path).events) == complete + 1
        torn = list(path.glob("events.torn.*"))
        assert b"".join(each.read_bytes() for each in torn) == whole[ends[complete - 1] : size]


def test_damage_before_the_tail_is_refused(tmp_path: Path) -> None:
    log = written(tmp_path / "run") / "events.jsonl"
    whole = log.read_bytes()
    last = whole.rindex(b"\n", 0, len(whole) - 1)
    for place in range(0, last, 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        log.write_bytes(bytes(changed))
        with pytest.raises(RunDamaged):
            RunFolder(tmp_path / "run")


def test_a_removed_or_repeated_event_breaks_the_chain(tmp_path: Path) -> None:
    log = written(tmp_path / "run") / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    for changed in (lines[:2] + lines[3:], lines[:3] + lines[2:], lines[1:]):
        log.write_bytes(b"".join(changed))
        with pytest.raises(RunDamaged):
            RunFolder(tmp_path / "run")


def test_one_writer_only(tmp_path: Path) -> None:
    written(tmp_path / "run")
    with RunFolder(tmp_path / "run", write=True):
        assert len(RunFolder(tmp_path / "run").events) == 6
        with pytest.raises(RunLocked, match="pid"):
            RunFolder(tmp_path / "run", write=True)
    RunFolder(tmp_path / "run", write=True).close()


def test_a_reader_cannot_append(tmp_path: Path) -> None:
    written(tmp_path / "run")
    with pytest.raises(RunError, match="reading only"):
        RunFolder(tmp_path / "run").append("note", {})


def test_keys_never_reach_the_log(tmp_path: Path) -> None:
    key = "sk-" + "a1B2" * 8
    with RunFolder.create(tmp_path / "run") as folder:
        folder.append("note", {"text": [f"my key is {key}", {"inner": key}]})
    assert key not in (tmp_path / "run" / "events.jsonl").read_text()
    assert redact("no key here") == "no key here"


def test_a_run_is_not_opened_twice(tmp_path: Path) -> None:
    open_run(tmp_path / "run", case_of(), worker_for(tmp_path / "run"), "me", 1).folder.close()
    with pytest.raises(RunError, match="resume"):
        open_run(tmp_path / "run", case_of(), worker_for(tmp_path / "run"), "me", 1)


def test_a_case_that_cannot_be_split_leaves_no_folder(tmp_path: Path) -> None:
    same = [{"text": "{context} Say whether {claim}."}] * 2
    with pytest.raises(ToolError, match="near-duplicates"):
        open_run(tmp_path / "run", case_of(templates=same), worker_for(tmp_path), "me", 1)
    assert not (tmp_path / "run").exists()


def test_the_secret_comes_from_the_seed_and_the_case(tmp_path: Path) -> None:
    def secret(folder: str, seed: int, **changes: Any) -> str:
        path = tmp_path / folder
        opened = open_run(path, case_of(**changes), worker_for(path), "me", seed)
        opened.folder.close()
        return opened.run_secret

    first = secret("a", 1)
    assert secret("b", 1) == first
    assert secret("c", 2) != first and secret("d", 1, name="other") != first


def test_places_and_secrets_of_the_models_are_kept_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "run"
    opened = open_run(path, case_of(), worker_for(path), "me", 1)
    opened.folder.close()
    shown = json.dumps([briefing(opened), opened.case.public()])
    for hidden in ("/secret/place", "a hidden word", opened.run_secret):
        assert hidden not in shown
    kept = stored_case(path)
    assert kept.subject.model == "/secret/place/of/the/model"
    assert kept.reference is not None and kept.subject.system == "a hidden word"


def test_resuming_with_other_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    with pytest.raises(RunError, match="weights"):
        resume_run(path, worker_for(path, table=TABLE | {"name": "another"}))
    resume_run(path, worker_for(path)).folder.close()


def test_resuming_with_other_tool_code_needs_a_word(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    other: Any = worker_for(path)
    other.catalogue = other.catalogue.model_copy(update={"code": "0" * 64})
    with pytest.raises(RunError, match="--accept-code-change"):
        resume_run(path, other)
    resume_run(path, other, accept_code_change=True).folder.close()
    resume_run(path, other).folder.close()
    sessions = list(read_run(path).folder.of_type("run_resumed"))
    assert [event.data["catalogue"]["code"] for event in sessions] == ["0" * 64] * 2


def test_a_resumed_run_splits_its_prompts_as_the_first_session_did(tmp_path: Path) -> None:
    path = tmp_path / "run"
    first = open_run(path, case_of(), worker_for(path), "me", 5)
    first.folder.close()
    again = read_run(path)
    assert first.populations == again.populations
