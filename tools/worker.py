"""The process that holds the subject: `python -m tools.worker`.

It takes (tool, arguments, seed), returns an experiment, and keeps nothing but weights and caches.
Its first frame is the catalogue, or a refusal. The parent stops it at a deadline, so a tool may
hang; its stdout and stderr belong to libraries, so a library may print.

Frames to the worker: {id, tool, arguments, seed, deadline, blobs, judges}.
Frames from it: {kind: catalogue | refused | progress | heartbeat | judge | response | crash, ...}.
A `judge` frame asks whoever sent the request to have outputs judged; {kind: judged, ...} answers it.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from tools.blobs import BlobStore
from tools.boundary import (
    DEFAULT_CATALOGUE,
    Request,
    call_tool,
    catalogue_of,
    is_poisoned,
    load_tools,
    one_line,
    resource_fault,
)
from tools.experiment import Context
from tools.faults import SubjectRefused
from tools.frames import Channel
from tools.judging import Asked, Judgements
from tools.registry import Tool, ToolError, describe_faults

log = logging.getLogger(__name__)
HEARTBEAT_S = 2.0
PROGRESS_EVERY_S = 0.1
POISONED = 70
"""Exit status after an accelerator fault that only a new process gets rid of."""


class Inbox:
    """Frames that have come in: requests, and labels for the request that is under way."""

    def __init__(self) -> None:
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.judged: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def put(self, frame: dict[str, Any]) -> None:
        """Keep a frame for whoever waits for its kind."""
        (self.judged if frame.get("kind") == "judged" else self.requests).put(frame)


class Watchdog:
    """Ends the process when a tool has run for too long; time that judges take does not count.

    Python's own watchdog needs no interpreter lock: it writes where a hung tool stands into the log,
    and ends the process even when its parent is gone and cannot.
    """

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.start()

    def start(self) -> None:
        """Count on from what is left."""
        self.started = time.monotonic()
        faulthandler.dump_traceback_later(max(self.left, 0.001), exit=True)

    def stop(self) -> None:
        """Count no longer."""
        faulthandler.cancel_dump_traceback_later()
        self.left -= time.monotonic() - self.started

    @contextmanager
    def suspended(self) -> Generator[None]:
        """Do not count meanwhile."""
        self.stop()
        yield
        self.start()


class Judging:
    """Has outputs judged by whoever sent the request: the language models are on that side."""

    def __init__(self, channel: Channel, number: int, inbox: Inbox, watchdog: Watchdog) -> None:
        self.channel, self.number, self.inbox, self.watchdog = channel, number, inbox, watchdog

    def __call__(self, asked: Sequence[Asked]) -> Judgements:
        """Send the outputs and wait for the labels, for as long as it takes."""
        shown = [each.model_dump(mode="json") for each in asked]
        with self.watchdog.suspended():
            self.channel.send({"kind": "judge", "id": self.number, "asked": shown})
            frame = self.inbox.judged.get()
        return Judgements.model_validate(frame["judgements"])


class Service:
    """The subject and its tools behind one channel."""

    def __init__(self, channel: Channel, subject: Any, tools: tuple[Tool, ...], code: str) -> None:
        self.channel, self.subject, self.tools, self.code = channel, subject, tools, code

    def run(self, inbox: Inbox) -> NoReturn:
        """Answer requests in order of arrival, for ever: the end of the input ends the process."""
        while True:
            request = Request.model_validate(inbox.requests.get())
            watchdog = Watchdog(request.deadline)
            try:
                self.answer(request, Judging(self.channel, request.id, inbox, watchdog))
            finally:
                watchdog.stop()

    def answer(self, request: Request, judging: Judging) -> None:
        """Run one request; send its experiment, or a crash frame with the traceback."""
        number, name, before = request.id, request.tool, time.process_time()
        context = Context(
            seed=request.seed,
            blobs=BlobStore(Path(request.blobs)),
            progress=Progress(self.channel, number),
            judge=judging if request.judges else None,
        )
        try:
            experiment = call_tool(self.tools, name, self.subject, request.arguments, context)
            experiment = experiment.model_copy(update={"code": self.code})
            self.channel.send(
                {
                    "kind": "response",
                    "id": number,
                    "experiment": experiment.model_dump(mode="json"),
                    "cpu": time.process_time() - before,
                }
            )
        except BrokenPipeError:
            raise
        except Exception as error:
            log.exception("tool %s failed", name)
            if is_poisoned(error):
                os._exit(POISONED)
            self.channel.send(
                {
                    "kind": "crash",
                    "id": number,
                    "message": f"tool {name}: {type(error).__name__}: {one_line(error)}",
                    "traceback": traceback.format_exc(),
                }
            )


class Progress:
    """Reports a call's progress, at most ten times a second."""

    def __init__(self, channel: Channel, number: int) -> None:
        self.channel, self.number, self.last = channel, number, 0.0

    def __call__(self, fraction: float, note: str) -> None:
        """Send the share done (0 to 1) and a word on what is being done."""
        now = time.monotonic()
        if now - self.last < PROGRESS_EVERY_S:
            return
        self.last = now
        self.channel.send(
            {"kind": "progress", "id": self.number, "fraction": float(fraction), "note": note}
        )


def beat(channel: Channel, parent: int) -> None:
    """Send heartbeats; end the process when its parent is gone."""
    while os.getppid() == parent:
        try:
            channel.send({"kind": "heartbeat"})
        except BrokenPipeError:
            break
        time.sleep(HEARTBEAT_S)
    os._exit(0)


def read_frames(channel: Channel, inbox: Inbox) -> None:
    """Queue what comes in; the end of the input ends the process, also in the middle of a tool."""
    while True:
        try:
            inbox.put(channel.receive())
        except EOFError:
            os._exit(0)


def load_subject(options: argparse.Namespace) -> Any:
    """Return the subject that the options name; raise `SubjectRefused` or `ToolError` when it may not be used."""
    if options.synthetic is not None:
        from tools.synthetic import SyntheticSubject

        return SyntheticSubject.load(Path(options.synthetic))
    locator = read_locator("subject", options.subject)
    reference = options.reference and read_locator("reference", options.reference)
    from tools.subject import SubjectModel

    return SubjectModel.load(locator, reference)


def read_locator(name: str, text: str) -> Any:
    """Return the model locator in a JSON text; raise `SubjectRefused` for what is none."""
    from tools.locator import ModelLocator

    try:
        return ModelLocator.model_validate_json(text)
    except ValidationError as error:
        raise SubjectRefused("; ".join(describe_faults(name, ModelLocator, error))) from None


def start(channel: Channel, options: argparse.Namespace) -> Service | None:
    """Load everything and send the catalogue; on a refusal send that and return None."""
    kind = "catalogue"
    try:
        tools, code = load_tools(options.catalogue or [DEFAULT_CATALOGUE])
        kind = "subject"
        subject = load_subject(options)
        catalogue = catalogue_of(tools, subject, code)
    except (ToolError, SubjectRefused) as error:
        channel.send({"kind": "refused", "reason": kind, "message": one_line(error)})
        return None
    except Exception as error:
        log.exception("could not start")
        line = resource_fault(error)
        if line is not None:
            channel.send({"kind": "refused", "reason": "resources", "message": one_line(error)})
        else:
            message = f"{kind}: {type(error).__name__}: {one_line(error)}"
            frame = {"kind": "crash", "message": message, "traceback": traceback.format_exc()}
            channel.send(frame)
        return None
    channel.send({"kind": "catalogue", "catalogue": catalogue.model_dump(mode="json")})
    return Service(channel, subject, tools, code)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m tools.worker", description=__doc__)
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--subject", help="model locator, JSON")
    subject.add_argument("--synthetic", metavar="FILE", help="table of a synthetic subject, TOML")
    parser.add_argument("--reference", help="model locator of the reference, JSON")
    parser.add_argument(
        "--catalogue",
        action="append",
        metavar="MODULE:TUPLE",
        help=f"tools to offer, also FILE.py; may be repeated; default {DEFAULT_CATALOGUE}",
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--frames", nargs=2, type=int, metavar=("IN", "OUT"), help="descriptors")
    way.add_argument("--socket", metavar="PATH", help="serve any number of clients, until stopped")
    parser.add_argument("--log", metavar="FILE", help="with --socket: where the subject's log goes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the input closes; the exit status is 2 after a refusal."""
    options = parse(arguments)
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    if options.socket is not None:
        from tools.worker_socket import serve

        return serve(options)
    faulthandler.enable()
    channel = Channel(*options.frames)
    inbox = Inbox()
    # Before the weights are loaded: a parent that dies meanwhile takes the worker with it.
    threading.Thread(target=read_frames, args=(channel, inbox), daemon=True).start()
    threading.Thread(target=beat, args=(channel, os.getppid()), daemon=True).start()
    service = start(channel, options)
    if service is None:
        return 2
    try:
        service.run(inbox)
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
