"""How the head reaches the tools: a worker of one's own, a shared one, or none but this process.

Nothing here imports torch. Whatever a tool does, `call` returns an experiment; it raises only for
faults of ours (`WorkerCrash`) and for a worker that will not start (`WorkerRefused`, `WorkerCrash`).
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tools.blobs import BlobStore
from tools.boundary import (
    DEFAULT_CATALOGUE,
    Catalogue,
    WorkerCrash,
    WorkerError,
    WorkerRefused,
    call_tool,
    catalogue_of,
    one_line,
    plain_json,
)
from tools.experiment import ROOM, Context, Experiment, code_digest
from tools.frames import Channel
from tools.judging import Judge, JudgeFailed
from tools.registry import Tool, ToolError
from tools.remote import DEADLINE_S, Call, OnProgress, RemoteWorker

__all__ = [
    "Catalogue",
    "InProcessWorker",
    "ProcessWorker",
    "SocketWorker",
    "Worker",
    "WorkerCrash",
    "WorkerError",
    "WorkerRefused",
    "find_orphan",
]
PID_FILE = "worker.pid"
LOG_FILE = "worker.log"
SERVER_SILENCE_S = 60.0
"""A shared worker's server sends heartbeats also while one waits in its queue."""


class Worker(Protocol):
    """A subject with its tools, wherever it runs."""

    judge: Judge | None
    """Reads outputs for measures of kind `judged`; without it they are refused."""

    @property
    def catalogue(self) -> Catalogue:
        """What can be called, and on which models."""
        ...

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = DEADLINE_S
    ) -> Experiment:
        """Run one tool and return the experiment; a tool's faults are inside it."""
        ...

    def close(self) -> None:
        """Let the subject go."""
        ...


class ProcessWorker(RemoteWorker):
    """A worker process of one's own: started at the first use, stopped with `close`.

    `subject` and `reference` are model locators as JSON objects; with `synthetic`, the table of a
    synthetic subject, both stay None. `catalogue` names the tools (`module:TUPLE` or `FILE.py`).
    The process's log and its `worker.pid` lie in `folder`, by default where `blobs` lies.
    """

    def __init__(
        self,
        subject: Mapping[str, Any] | None,
        reference: Mapping[str, Any] | None,
        blobs: Path,
        on_progress: OnProgress | None = None,
        synthetic: Path | None = None,
        *,
        catalogue: Sequence[str] = (DEFAULT_CATALOGUE,),
        folder: Path | None = None,
    ) -> None:
        super().__init__(blobs, on_progress)
        self.options = [word for name in catalogue for word in ("--catalogue", name)]
        if synthetic is not None:
            self.options += ["--synthetic", str(synthetic.resolve())]
        if subject is not None:
            self.options += ["--subject", json.dumps(dict(subject))]
        if reference is not None:
            self.options += ["--reference", json.dumps(dict(reference))]
        self.folder = self.blobs.parent if folder is None else folder
        self.process: subprocess.Popen[bytes] | None = None

    def connect(self) -> Channel:
        """Start the process. It gets two pipes, a log, and no other descriptor of ours."""
        self.folder.mkdir(parents=True, exist_ok=True)
        requests_out, requests_in = os.pipe()
        answers_out, answers_in = os.pipe()
        try:
            with (self.folder / LOG_FILE).open("ab") as log:
                self.process = subprocess.Popen(
                    # -P: a folder called `tools` where the user happens to stand is not ours.
                    [sys.executable, "-P", "-m", "tools.worker", *self.options]
                    + ["--frames", str(requests_out), str(answers_in)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(requests_out, answers_in),
                    # A group of its own: Ctrl-C is ours to handle, and a kill takes its children too.
                    start_new_session=True,
                    env=environment(),
                )
        except BaseException:
            os.close(requests_in)
            os.close(answers_out)
            raise
        finally:
            os.close(requests_out)
            os.close(answers_in)
        record = {"worker": self.process.pid, "parent": os.getpid()}
        (self.folder / PID_FILE).write_text(json.dumps(record), encoding="utf-8")
        return Channel(answers_out, requests_in)

    def disconnect(self) -> None:
        """Kill the process and all it started: it holds nothing that is not on disk."""
        channel, process = self.channel, self.process
        self.channel = self.process = None
        if channel is not None:
            channel.close()
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            (self.folder / PID_FILE).unlink(missing_ok=True)

    def check_alive(self, silent: float) -> None:
        """Raise `EOFError` when the process is dead, though a child of it may hold its pipe open."""
        if self.process is None or self.process.poll() is not None:
            raise EOFError("the process has ended")

    def ending(self) -> str:
        """Name the signal or the exit status; waits a moment for a process that is just ending."""
        status = None
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                status = self.process.wait(timeout=0.5)
        if status is None:
            return "stopped answering"
        if status == -signal.SIGKILL:
            return "was killed (SIGKILL; the system does that when memory runs out)"
        return f"died of signal {-status}" if status < 0 else f"ended with status {status}"

    def log_hint(self) -> str:
        """Name the process's log."""
        return f"; see {self.folder / LOG_FILE}"


class SocketWorker(RemoteWorker):
    """A worker that others use too, behind `python -m tools.worker --socket PATH`.

    Requests wait their turn; a deadline counts from when the tool starts.
    """

    def __init__(self, path: Path, blobs: Path, on_progress: OnProgress | None = None) -> None:
        super().__init__(blobs, on_progress)
        self.path = path

    def connect(self) -> Channel:
        """Connect to the server; raise `WorkerRefused` when there is none."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self.path))
                descriptor = connection.detach()
        except OSError as error:
            raise WorkerRefused(
                "socket",
                f"no worker answers at {self.path} ({error.strerror or error}); start it first",
            ) from None
        return Channel(descriptor, descriptor)

    def disconnect(self) -> None:
        """Hang up; the server goes on."""
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.close()

    def check_alive(self, silent: float) -> None:
        """Raise `EOFError` when the server has been silent for too long."""
        if silent > SERVER_SILENCE_S:
            raise EOFError("the server is silent")

    def patience(self, deadline_s: float) -> float:
        """Wait for ever: the server keeps the deadline."""
        return math.inf


class InProcessWorker:
    """The tools in this process: for tests and notebooks. A hung tool hangs the caller."""

    def __init__(
        self,
        subject: Any,
        tools: Iterable[Tool],
        blobs: Path,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.subject, self.tools = subject, tuple(tools)
        self.blobs = BlobStore(blobs)
        self.on_progress = on_progress or (lambda fraction, note: None)
        self.judge: Judge | None = None
        self.catalogue = catalogue_of(self.tools, subject, code_digest())

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = DEADLINE_S
    ) -> Experiment:
        """Run one tool here; `deadline_s` is not enforced. Raises `WorkerCrash` for a fault of ours."""
        del deadline_s
        context = Context(seed=seed, blobs=self.blobs, progress=self.on_progress, judge=self.judge)
        try:
            given = plain_json(arguments)
        except ToolError as error:
            return Call(tool, {}, seed).failed(self.catalogue, "investigator", str(error))
        try:
            return call_tool(self.tools, tool, self.subject, given, context)
        except JudgeFailed:
            raise
        except Exception as error:
            message = f"tool {tool}: {type(error).__name__}: {one_line(error)}"
            raise WorkerCrash(message) from error

    def close(self) -> None:
        """Nothing to stop."""


def environment() -> dict[str, str]:
    """Return the environment of a worker: ours, with this checkout first on the import path."""
    paths = [str(ROOM.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def find_orphan(folder: Path) -> int | None:
    """Return the process id of a worker that was started from `folder` and has outlived its parent."""
    try:
        record = json.loads((folder / PID_FILE).read_text(encoding="utf-8"))
        worker, parent = int(record["worker"]), int(record["parent"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    mother, command = process_facts(worker)
    return worker if "tools.worker" in command and mother != parent else None


def process_facts(number: int) -> tuple[int, str]:
    """Return a process's parent and its command line; (0, "") when there is no such process."""
    listed = Path("/proc") / str(number)
    if listed.parent.joinpath("self").exists():
        with suppress(OSError):
            # The name, in brackets, may hold spaces and brackets itself.
            after_name = (listed / "stat").read_text(encoding="utf-8").rpartition(")")[2]
            command = (listed / "cmdline").read_bytes().replace(b"\0", b" ")
            return int(after_name.split()[1]), command.decode(errors="replace")
        return 0, ""
    found = subprocess.run(
        ["ps", "-o", "ppid=,args=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    mother, _, command = found.stdout.strip().partition(" ")
    return int(mother or 0), command
