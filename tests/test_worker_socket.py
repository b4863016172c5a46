"""A worker that several clients share over a unix socket."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, TABLE, TOOLS, is_running, wait_until
from tools.worker_client import SocketWorker, WorkerCrash, WorkerRefused


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.toml"
    path.write_text(TABLE)
    return path


@pytest.fixture
def server(tmp_path: Path, table: Path) -> Iterator[Path]:
    path = tmp_path / "worker.sock"
    command = [sys.executable, "-m", "tools.worker", "--synthetic", str(table)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--catalogue", TOOLS, "--socket", str(path)], cwd=ROOT, stderr=log
        )
    try:
        assert wait_until(path.exists, 10)
        yield path
    finally:
        process.terminate()
        assert process.wait(timeout=5) == 0
        assert not path.exists()


def test_two_clients_share_one_worker(server: Path, tmp_path: Path) -> None:
    assert server.stat().st_mode & 0o777 == 0o600
    wrong: list[object] = []
    workers: set[int] = set()

    def investigate(name: str) -> None:
        with SocketWorker(server, tmp_path / name) as worker:
            for turn in range(40):
                text = f"{name} {turn}"
                if worker.call("echo", {"text": text}, turn).result != {"text": text}:
                    wrong.append(text)
            result = worker.call("ask", {"prompt": "?"}, 0).result
            workers.add(result["worker"] if result else 0)

    threads = [threading.Thread(target=investigate, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not wrong
    assert len(workers) == 1 and workers != {0}


def test_a_shared_worker_keeps_deadlines_and_survives_its_clients(
    server: Path, tmp_path: Path
) -> None:
    with SocketWorker(server, tmp_path) as worker:
        late = worker.call("sleep", {"seconds": 600}, 0, deadline_s=0.5)
        assert late.error_kind == "deadline"
        with pytest.raises(WorkerCrash, match="KeyError"):
            worker.call("fail", {"kind": "bug"}, 0)
        assert worker.call("die", {}, 0).error_kind == "worker_lost"
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(server))
            rude.sendall(b"\x00\x00\x00\x02{}")
            # The server may have hung up on it already.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
        before = worker.cpu_seconds
        assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}
        # What the call took in the process behind the server.
        assert 0 < worker.cpu_seconds - before < 1


def test_requests_are_served_one_at_a_time_and_a_client_may_leave(
    server: Path, tmp_path: Path
) -> None:
    begun = threading.Event()
    leaver = SocketWorker(server, tmp_path, on_progress=lambda share, note: begun.set())
    assert leaver.catalogue
    asked = threading.Thread(target=leaver.call, args=("sleep", {"seconds": 0.8}, 0), daemon=True)
    started = time.monotonic()
    asked.start()
    assert begun.wait(5)
    with SocketWorker(server, tmp_path) as second:
        assert second.call("echo", {"text": "after"}, 0, deadline_s=0.5).error is None
    assert time.monotonic() - started > 0.8  # it waited for the first, which its deadline excludes
    asked.join(timeout=5)
    assert not asked.is_alive()
    descriptor = leaver.channel
    assert descriptor is not None
    descriptor.send(
        {"id": 9, "tool": "sleep", "arguments": {"seconds": 0.2}, "seed": 0}
        | {"deadline": 5, "blobs": str(tmp_path)}
    )
    leaver.close()
    with SocketWorker(server, tmp_path) as third:
        assert third.call("echo", {"text": "on"}, 0).result == {"text": "on"}


def test_a_killed_server_takes_its_worker_along_and_can_be_followed(
    tmp_path: Path, table: Path
) -> None:
    path = tmp_path / "worker.sock"
    command = [sys.executable, "-m", "tools.worker", "--synthetic", str(table)]
    command += ["--catalogue", TOOLS, "--socket", str(path)]
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    assert wait_until(path.exists, 10)
    pid = json.loads((tmp_path / "worker.pid").read_text())["worker"]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 2 and "already serves" in second.stderr
    assert is_running(pid)
    first.kill()
    first.wait()
    assert wait_until(lambda: not is_running(pid), 2)
    assert path.exists()  # left behind
    third = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        with contextlib.closing(SocketWorker(path, tmp_path)) as worker:
            assert wait_until(lambda: answers(worker), 10)
    finally:
        third.terminate()
        assert third.wait(timeout=5) == 0


def answers(worker: SocketWorker) -> bool:
    try:
        return worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}
    except WorkerRefused:
        return False


def test_no_server_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(WorkerRefused, match="no worker answers"):
        _ = SocketWorker(tmp_path / "nobody.sock", tmp_path).catalogue
