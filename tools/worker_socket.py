"""One worker for several investigators: a unix socket in front of a worker process.

The front holds no model. It passes requests on one at a time, in order of arrival, and so the worker
process behind it keeps its deadline, its restart and its log, as for a single user.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from tools.boundary import (
    DEFAULT_CATALOGUE,
    Request,
    WorkerCrash,
    WorkerError,
    WorkerRefused,
    one_line,
)
from tools.frames import Channel
from tools.judging import Asked, Judgements
from tools.worker_client import ProcessWorker

log = logging.getLogger(__name__)
HEARTBEAT_S = 2.0
LOOK_S = 0.2
"""So often those who wait for clients look whether they are still wanted."""
PATIENCE_S = 30.0
"""A client that does not read for so long is dropped."""
GONE = (BrokenPipeError, ConnectionError, TimeoutError, EOFError)


@dataclass(frozen=True)
class Job:
    """A client's request, with the way back to it."""

    channel: Channel
    request: Request
    judged: queue.SimpleQueue[dict[str, Any]]
    """Where the client's answers to our questions for its judges come in."""


def serve(options: argparse.Namespace) -> int:
    """Serve the socket until SIGTERM or SIGINT; return the exit status."""
    path = Path(options.socket)
    worker = ProcessWorker(
        json.loads(options.subject) if options.subject else None,
        json.loads(options.reference) if options.reference else None,
        blobs=path.parent / "blobs",
        synthetic=Path(options.synthetic) if options.synthetic else None,
        catalogue=options.catalogue or [DEFAULT_CATALOGUE],
        folder=path.parent,
    )
    signal.signal(signal.SIGTERM, interrupt)
    try:
        # What is refused is refused before anybody can connect.
        _ = worker.catalogue
        with served(worker, path):
            log.warning("serving at %s", path)
            while True:
                time.sleep(HEARTBEAT_S)
    except KeyboardInterrupt:
        return 0
    except WorkerError as error:
        log.error("%s", error)
        return 2
    finally:
        worker.close()


@contextmanager
def served(worker: ProcessWorker, path: Path) -> Generator[None]:
    """Serve a worker at a socket from threads of this process while the block runs, and close it then.

    The worker is started when the block begins; a client that comes earlier waits for it, and gets to know
    if it was refused. Raises `WorkerRefused` where somebody else serves the path.
    """
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    greeting: Future[dict[str, Any]] = Future()
    stop = threading.Event()

    def work() -> None:
        frame: dict[str, Any] = {
            "kind": "crash",
            "message": "the worker was stopped",
            "traceback": "",
        }
        try:
            frame = greeting_of(worker)
        finally:
            greeting.set_result(frame)
        while (job := jobs.get()) is not None and not stop.is_set():
            answer(worker, job)

    answering = threading.Thread(target=work, daemon=True)
    with listen(path) as listener:
        accepting = threading.Thread(
            target=accept, args=(listener, jobs, greeting, stop), daemon=True
        )
        threads = (answering, accepting)
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            jobs.put(None)
            worker.cancel()
            if not greeting.done():
                # It may take minutes to load; what waits for it gets to know that it is gone.
                worker.close()
            for thread in threads:
                thread.join()
            worker.close()


def greeting_of(worker: ProcessWorker) -> dict[str, Any]:
    """Start a worker; return its first frame, or the one that says why there is none."""
    try:
        return {"kind": "catalogue", "catalogue": worker.catalogue.model_dump(mode="json")}
    except WorkerRefused as error:
        return {"kind": "refused", "reason": error.kind, "message": str(error)}
    except WorkerError as error:
        trace = error.trace if isinstance(error, WorkerCrash) else ""
        return {"kind": "crash", "message": str(error), "traceback": trace}


def interrupt(*_: object) -> NoReturn:
    """Stop as for Ctrl-C, so that the worker is closed and the socket removed."""
    raise KeyboardInterrupt


@contextmanager
def listen(path: Path) -> Generator[socket.socket]:
    """Listen at `path`, open to this user only; raise `WorkerRefused` when somebody else does."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        raise WorkerRefused("socket", f"a worker already serves {path}; stop it or use it")
    # Under its own name only when it listens: who sees a socket may connect.
    silent = path.with_name(f"{path.name}~")
    silent.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(str(silent))
        except OSError as error:
            raise WorkerRefused("socket", f"cannot listen at {path}: {error}") from None
        finally:
            os.umask(before)
        listener.listen()
        silent.replace(path)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def accept(
    listener: socket.socket,
    jobs: queue.SimpleQueue[Job | None],
    greeting: Future[dict[str, Any]],
    stop: threading.Event,
) -> None:
    """Greet each client and read its requests in a thread of its own, until `stop`."""
    listener.settimeout(LOOK_S)
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        descriptor = connection.detach()
        threading.Thread(
            target=read_client,
            args=(Channel(descriptor, descriptor), jobs, greeting),
            daemon=True,
        ).start()


def read_client(
    channel: Channel, jobs: queue.SimpleQueue[Job | None], greeting: Future[dict[str, Any]]
) -> None:
    """Queue a client's requests until it hangs up; a heartbeat goes out whenever it is quiet."""
    judged: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    try:
        channel.send(greeting.result(), timeout=PATIENCE_S)
        while True:
            try:
                frame = channel.receive(timeout=HEARTBEAT_S)
            except TimeoutError:
                channel.send({"kind": "heartbeat"}, timeout=PATIENCE_S)
                continue
            if frame.get("kind") == "judged":
                judged.put(frame)
            else:
                jobs.put(Job(channel, Request.model_validate(frame), judged))
    except GONE:
        return
    except ValueError as error:
        log.warning("a client was dropped, it sent what is no request: %s", one_line(error))
    finally:
        # Its requests that are still queued find a closed channel.
        channel.close()


def answer(worker: ProcessWorker, job: Job) -> None:
    """Run one request and send what came of it; a client that has hung up is passed over."""
    request, number = job.request, job.request.id

    def progress(fraction: float, note: str) -> None:
        with suppress(*GONE):
            job.channel.send(
                {"kind": "progress", "id": number, "fraction": fraction, "note": note},
                timeout=PATIENCE_S,
            )

    if job.channel.closed:
        return
    worker.blobs, worker.on_progress = Path(request.blobs), progress
    worker.judge = partial(judged_by, job) if request.judges else None
    before = worker.cpu_seconds
    try:
        experiment = worker.call(
            request.tool, request.arguments, request.seed, deadline_s=request.deadline
        )
        frame = {
            "kind": "response",
            "experiment": experiment.model_dump(mode="json"),
            "cpu": worker.cpu_seconds - before,
        }
    except WorkerError as error:
        trace = error.trace if isinstance(error, WorkerCrash) else ""
        frame = {"kind": "crash", "message": str(error), "traceback": trace}
    with suppress(*GONE):
        job.channel.send(frame | {"id": number}, timeout=PATIENCE_S)


def judged_by(job: Job, asked: Sequence[Asked]) -> Judgements:
    """Have the client's judges read outputs; the others wait for as long as that takes."""
    shown = [each.model_dump(mode="json") for each in asked]
    with suppress(*GONE):
        job.channel.send(
            {"kind": "judge", "id": job.request.id, "asked": shown}, timeout=PATIENCE_S
        )
        while not job.channel.closed:
            with suppress(queue.Empty):
                return Judgements.model_validate(job.judged.get(timeout=HEARTBEAT_S)["judgements"])
    # Nobody is there any more to read what comes of it; the tool comes to its end without labels.
    return Judgements(judges=("gone",), labels=((None,) * len(asked),))
