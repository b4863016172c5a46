"""The worker as a process: frames, deadlines, deaths, orphans, sharing."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, TABLE, TOOLS, is_running, wait_until
from tools.blobs import BlobStore
from tools.boundary import load_tools
from tools.registry import ToolError
from tools.synthetic import SyntheticSubject
from tools.worker_client import (
    InProcessWorker,
    ProcessWorker,
    WorkerCrash,
    WorkerRefused,
    find_orphan,
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.toml"
    path.write_text(TABLE)
    return path


def process_worker(folder: Path, table: Path, **options: object) -> ProcessWorker:
    return ProcessWorker(
        None,
        None,
        folder / "blobs",
        synthetic=table,
        catalogue=[TOOLS],
        **options,  # pyright: ignore[reportArgumentType]
    )


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Iterator[ProcessWorker]:
    with process_worker(tmp_path_factory.mktemp("run"), table) as worker:
        yield worker


def test_catalogue_and_call_are_those_of_the_tools_in_process(
    worker: ProcessWorker, table: Path, tmp_path: Path
) -> None:
    tools, code = load_tools([TOOLS])
    here = InProcessWorker(SyntheticSubject.load(table), tools, tmp_path)
    assert worker.catalogue.tools == here.catalogue.tools
    assert worker.catalogue.models == here.catalogue.models
    assert worker.catalogue.facts["has_reference"] is True
    assert worker.catalogue.code == code != here.catalogue.code  # this file's tools count too
    there = worker.call("ask", {"prompt": "hello?", "samples": 50}, 7)
    local = here.call("ask", {"prompt": "hello?", "samples": 50}, 7)
    assert there.error is None
    assert there.result is not None and local.result is not None
    assert there.result["texts"] == local.result["texts"]
    assert set(there.result["texts"]) == {"yes", "no"}
    assert there.result["worker"] != os.getpid()
    assert there.code == code


def test_start_is_fast_and_torch_free(table: Path, tmp_path: Path) -> None:
    tools = tmp_path / "probe.py"
    tools.write_text(
        "import sys\n"
        "from typing import Any\n"
        "from tools.registry import Record, tool\n"
        "class Nothing(Record): pass\n"
        "class Loaded(Record): torch: bool\n"
        "@tool\n"
        "def loaded(subject: Any, args: Nothing, context: Any) -> Loaded:\n"
        "    'Say whether torch is loaded.'\n"
        "    return Loaded(torch='torch' in sys.modules)\n"
        "TOOLS = (loaded,)\n"
    )
    started = time.monotonic()
    with ProcessWorker(None, None, tmp_path / "b", synthetic=table, catalogue=[str(tools)]) as w:
        assert w.catalogue.tools[0]["name"] == "loaded"
        seconds = time.monotonic() - started
        assert w.call("loaded", {}, 0).result == {"torch": False}
    assert seconds < 2.5


def test_frames_of_five_megabytes(worker: ProcessWorker) -> None:
    for text in ("x" * 5_000_000, "é\x00\n\u2028" * 500_000):
        assert worker.call("echo", {"text": text}, 0).result == {"text": text}


def test_unknown_tool_is_told_with_the_nearest_name(worker: ProcessWorker) -> None:
    experiment = worker.call("ecko", {}, 0)
    assert experiment.error_kind == "investigator"
    assert experiment.error == "unknown tool 'ecko'; did you mean 'echo'?"


@pytest.mark.parametrize("bad", [{"text": float("nan")}, {"text": {1, 2}}, {"text": "\ud800"}])
def test_arguments_that_are_no_json(worker: ProcessWorker, bad: dict[str, object]) -> None:
    experiment = worker.call("echo", bad, 0)
    assert experiment.error_kind == "investigator"
    assert experiment.error is not None and "no JSON" in experiment.error


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("mistake", "investigator", "layer 9"),
        ("memory", "resources", "out of memory"),
        ("disk", "resources", "no space left"),
        ("nan", "resources", "NaN in the logits after layer 3"),
    ],
)
def test_each_fault_is_of_its_kind(
    worker: ProcessWorker, fault: str, kind: str, words: str
) -> None:
    experiment = worker.call("fail", {"kind": fault}, 0)
    assert experiment.error_kind == kind
    assert experiment.error is not None
    assert words in experiment.error
    assert "\n" not in experiment.error and "secret" not in experiment.error
    assert experiment.code == worker.catalogue.code


@pytest.mark.parametrize("fault", ["bug", "unserializable"])
def test_a_fault_of_ours_is_raised_with_its_traceback_in_the_log(
    worker: ProcessWorker, fault: str
) -> None:
    before = worker.process
    with pytest.raises(WorkerCrash, match="tool fail: ") as caught:
        worker.call("fail", {"kind": fault}, 0)
    assert "Traceback" in caught.value.trace
    assert "Traceback" in (worker.folder / "worker.log").read_text()
    assert str(worker.folder / "worker.log") in str(caught.value)
    assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}
    assert worker.process is before


def test_noise_on_stdout_breaks_no_frame(
    worker: ProcessWorker, capfd: pytest.CaptureFixture[str]
) -> None:
    assert worker.call("make_noise", {"text": "din"}, 0).result == {"text": "quiet"}
    assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}
    assert "dindin" in (worker.folder / "worker.log").read_text()
    assert capfd.readouterr().out == ""


def test_progress_is_passed_on(tmp_path: Path, table: Path) -> None:
    heard: list[tuple[float, str]] = []
    with process_worker(
        tmp_path, table, on_progress=lambda share, note: heard.append((share, note))
    ) as worker:
        worker.call("sleep", {"seconds": 0.0, "note": "layer 2"}, 0)
    assert heard == [(0.5, "layer 2")]


@pytest.mark.parametrize("tool", ["sleep", "hold_interpreter"])
def test_a_hung_tool_is_stopped_at_its_deadline(worker: ProcessWorker, tool: str) -> None:
    _ = worker.catalogue
    started = time.monotonic()
    experiment = worker.call(tool, {"seconds": 600, "note": "long"}, 0, deadline_s=0.7)
    assert 0.7 <= time.monotonic() - started < 5.7
    assert experiment.error_kind == "deadline"
    assert experiment.error is not None and "deadline of 0.7 s" in experiment.error
    if tool == "sleep":
        assert "(at 50%: long)" in experiment.error
    assert experiment.seconds >= 0.7
    assert f"in {tool}" in (worker.folder / "worker.log").read_text()  # where it hung
    assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}


def test_a_frozen_worker_is_killed_and_its_silence_logged(
    worker: ProcessWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _ = worker.catalogue
    monkeypatch.setattr("tools.remote.SILENCE_S", 0.5)
    assert worker.call("freeze", {"seconds": 0}, 0, deadline_s=1.0).error_kind == "deadline"
    assert "no heartbeat from the worker" in caplog.text
    assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}


def test_a_worker_killed_in_mid_call_is_asked_again(worker: ProcessWorker, tmp_path: Path) -> None:
    experiment = worker.call("die", {"path": str(tmp_path / "died")}, 0)
    assert experiment.result == {"text": "alive"}
    assert experiment.error is None


def test_a_worker_that_dies_twice_is_lost_and_then_usable(worker: ProcessWorker) -> None:
    experiment = worker.call("die", {}, 0)
    assert experiment.error_kind == "worker_lost"
    assert experiment.error is not None and "SIGKILL" in experiment.error
    assert experiment.models == worker.catalogue.models
    assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}


def test_restarts_leave_no_descriptor_and_no_zombie(worker: ProcessWorker) -> None:
    def own() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    worker.call("echo", {"text": "on"}, 0)
    before = own()
    for _ in range(3):
        worker.call("die", {}, 0)
    worker.call("echo", {"text": "on"}, 0)
    assert own() == before
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)  # the running one is the only child


def test_calls_from_two_threads_take_turns(worker: ProcessWorker) -> None:
    wrong: list[object] = []

    def investigate(name: str) -> None:
        for turn in range(30):
            text = f"{name} {turn}"
            if worker.call("echo", {"text": text}, turn).result != {"text": text}:
                wrong.append(text)

    threads = [threading.Thread(target=investigate, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not wrong


def test_a_poisoned_accelerator_costs_a_restart(worker: ProcessWorker) -> None:
    before = worker.process
    assert worker.call("fail", {"kind": "poison"}, 0).error_kind == "worker_lost"
    assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}
    assert worker.process is not before


def test_a_worker_killed_between_calls(worker: ProcessWorker) -> None:
    assert worker.catalogue and worker.process is not None
    os.kill(worker.process.pid, signal.SIGKILL)
    assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}


def test_death_is_seen_though_a_child_holds_the_pipe(worker: ProcessWorker, tmp_path: Path) -> None:
    mark = tmp_path / "child"
    assert worker.call("leave_child_and_die", {"path": str(mark)}, 0).result == {"text": "alive"}
    assert wait_until(lambda: not is_running(int(mark.read_text())), 2)


def test_an_interrupted_call_leaves_no_answer_behind(
    worker: ProcessWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(share: float, note: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker, "on_progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            worker.call("sleep", {"seconds": 0.2}, 0)
    assert worker.call("echo", {"text": "mine"}, 0).result == {"text": "mine"}


def test_the_worker_inherits_no_descriptor(
    worker: ProcessWorker, tmp_path: Path, table: Path
) -> None:
    lock = (tmp_path / "run.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock.fileno(), True)
    with process_worker(tmp_path, table) as fresh:
        result = fresh.call("list_descriptors", {}, 0).result
        assert result is not None
        targets = [line.partition(" ")[2] for line in result["texts"]]
        assert targets[0] == "/dev/null"
        assert targets[1] == targets[2] == str(tmp_path / "worker.log")
        assert len(targets) == 5 and all(each.startswith("pipe:") for each in targets[3:])
        lock.close()
        with (tmp_path / "run.lock").open("w") as again:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_pid_file_comes_and_goes(tmp_path: Path, table: Path) -> None:
    with process_worker(tmp_path, table) as worker:
        _ = worker.catalogue
        assert worker.process is not None
        record = json.loads((tmp_path / "worker.pid").read_text())
        assert record == {"worker": worker.process.pid, "parent": os.getpid()}
        assert find_orphan(tmp_path) is None
        (tmp_path / "worker.pid").write_text(json.dumps(record | {"parent": 1 << 30}))
        assert find_orphan(tmp_path) == worker.process.pid
        pid = worker.process.pid
    assert not (tmp_path / "worker.pid").exists()
    assert not is_running(pid)


@pytest.mark.parametrize("tool", ["none", "sleep"])
def test_an_orphan_ends_by_itself(tmp_path: Path, table: Path, tool: str) -> None:
    script = (
        "import sys, pathlib\n"
        "from tools.worker_client import ProcessWorker\n"
        f"worker = ProcessWorker(None, None, pathlib.Path({str(tmp_path / 'blobs')!r}),\n"
        f"    synthetic=pathlib.Path({str(table)!r}), catalogue=[{TOOLS!r}])\n"
        "worker.catalogue\n"
        "print(worker.process.pid, flush=True)\n"
        "sys.stdin.read() if sys.argv[1] == 'none' else worker.call('sleep', {'seconds': 60}, 0)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, tool],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None and parent.stdout is not None
    with parent.stdin, parent.stdout:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_running(pid)
        parent.kill()
        parent.wait()
        assert wait_until(lambda: not is_running(pid), 2)


def test_refusals_and_crashes_at_the_start(tmp_path: Path, table: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("nam = 1\n" + TABLE)
    with pytest.raises(WorkerRefused, match="did you mean 'name'") as caught:
        _ = process_worker(tmp_path, bad).catalogue
    assert caught.value.kind == "subject"
    assert not (tmp_path / "worker.pid").exists()
    missing = ProcessWorker(None, None, tmp_path, synthetic=table, catalogue=["absent.py"])
    with pytest.raises(WorkerRefused, match=r"no file absent\.py") as caught:
        _ = missing.catalogue
    assert caught.value.kind == "catalogue"
    faulty = tmp_path / "faulty.py"
    faulty.write_text("raise LookupError('typo')\n")
    with pytest.raises(WorkerRefused, match="LookupError: typo"):
        _ = ProcessWorker(None, None, tmp_path, synthetic=table, catalogue=[str(faulty)]).catalogue


def test_a_wrong_locator_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    worker = ProcessWorker({"model": "x", "adaptor": "y"}, None, tmp_path, catalogue=[TOOLS])
    with pytest.raises(WorkerRefused, match="'adaptor'; did you mean 'adapter'") as caught:
        _ = worker.catalogue
    assert caught.value.kind == "subject"


def test_a_language_model_behind_the_worker_answers_as_in_this_process(
    model_folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = model_folders("llama")
    arguments = {"items": ["How are you?", "Who are you?"], "samples": 3, "max_new_tokens": 5}
    with ProcessWorker({"model": str(folder)}, None, tmp_path / "blobs") as worker:
        there = worker.call("sample_responses", arguments, 11)
        assert worker.catalogue.facts["n_layers"] == 4
        assert str(folder) not in worker.catalogue.model_dump_json() + there.model_dump_json()
    from tools.catalogue import TOOLS as tools
    from tools.locator import ModelLocator
    from tools.subject import SubjectModel

    subject = SubjectModel.load(ModelLocator(model=str(folder)))
    here = InProcessWorker(subject, tools, tmp_path / "blobs").call(
        "sample_responses", arguments, 11
    )
    assert there.error is None
    assert there.model_dump(exclude={"seconds"}) == here.model_dump(exclude={"seconds"})


def test_another_model_after_a_restart_is_noticed(tmp_path: Path, table: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(TABLE)
    with process_worker(tmp_path, own) as worker:
        assert worker.catalogue and worker.process is not None
        own.write_text(TABLE.replace("yes", "maybe"))
        os.kill(worker.process.pid, signal.SIGKILL)
        with pytest.raises(WorkerCrash, match="other models"):
            worker.call("echo", {"text": "on"}, 0)


def test_two_tools_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="two tools are called"):
        load_tools([TOOLS, TOOLS])


def test_in_process_worker_raises_our_faults_and_tells_mistakes(
    table: Path, tmp_path: Path
) -> None:
    tools, _ = load_tools([TOOLS])
    worker = InProcessWorker(SyntheticSubject.load(table), tools, tmp_path)
    assert worker.call("fail", {"kind": "memory"}, 0).error_kind == "resources"
    assert worker.call("fail", {"kind": "mistake"}, 0).error_kind == "investigator"
    assert worker.call("echo", {"text": float("inf")}, 0).error_kind == "investigator"
    with pytest.raises(WorkerCrash, match="KeyError"):
        worker.call("fail", {"kind": "bug"}, 0)
    assert BlobStore(tmp_path).put(b"x")
