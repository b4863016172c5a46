"""Calls to a worker in another process, which may refuse, hang, die or come back changed."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from tools.boundary import Catalogue, Request, WorkerCrash, WorkerRefused, one_line, plain_json
from tools.experiment import Experiment
from tools.frames import Channel
from tools.judging import Asked, Judge, Judgements, settled
from tools.registry import ToolError

log = logging.getLogger(__name__)
DEADLINE_S = 900.0
START_S = 900.0
"""How long loading the weights may take."""
GRACE_S = 1.0
"""The worker ends itself at its deadline and writes down where it hung; so much later we end it."""
SILENCE_S = 10.0
"""Without a heartbeat for so long, the log says that the worker is stuck."""
LOOK_S = 0.1
"""While judges are at work, so often we look whether they are done."""
OnProgress = Callable[[float, str], None]


class Lost(Exception):
    """The worker is gone; one line on how."""


class Overdue(Exception):
    """The call ran past its deadline; one line on how far it got."""


class Cancelled(Exception):
    """Whoever asked for the call no longer wants it; one line on how far it got."""


class Call:
    """One call under way: its request and what has been heard of it."""

    def __init__(self, tool: str, arguments: dict[str, Any], seed: int) -> None:
        self.tool, self.arguments, self.seed = tool, arguments, seed
        self.started = self.heard = time.monotonic()
        self.progress = ""
        self.judging = 0.0
        """Seconds that judges took in this attempt; they do not count towards the deadline."""
        self.warned = self.cancelled = False

    def silent(self) -> float:
        """Return for how many seconds nothing was heard; the first long silence is logged."""
        silent = time.monotonic() - self.heard
        if silent > SILENCE_S and not self.warned:
            self.warned = True
            log.warning("%s: no heartbeat from the worker for %.0f s", self.tool, silent)
        return silent

    def failed(
        self,
        catalogue: Catalogue,
        kind: Literal["investigator", "resources", "deadline", "worker_lost", "cancelled"],
        line: str,
    ) -> Experiment:
        """Return the experiment of a call that came to nothing."""
        return Experiment(
            tool=self.tool,
            arguments=self.arguments,
            seed=self.seed,
            models=catalogue.models,
            code=catalogue.code,
            error=line,
            error_kind=kind,
            seconds=time.monotonic() - self.started,
        )


class RemoteWorker:
    """What workers over a pipe and over a socket have in common; they differ in how they connect."""

    def __init__(self, blobs: Path, on_progress: OnProgress | None) -> None:
        self.blobs = blobs.resolve()
        self.on_progress = on_progress
        self.judge: Judge | None = None
        self.number = 0
        self.cpu_seconds = 0.0
        """What calls took in the worker's process; starting it is not counted."""
        self.turn = threading.RLock()
        self.under_way: Call | None = None
        self.channel: Channel | None = None
        self.known: Catalogue | None = None

    def connect(self) -> Channel:
        """Return a fresh connection, whose first frame tells the catalogue."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Drop the connection and what we started behind it; harmless without one."""
        raise NotImplementedError

    def check_alive(self, silent: float) -> None:
        """Raise `EOFError` if nobody can answer any more; `silent` is for how long nobody has."""
        raise NotImplementedError

    def ending(self) -> str:
        """Return how the worker came to its end, as far as one can tell."""
        return "hung up"

    def patience(self, deadline_s: float) -> float:
        """Return how many seconds to wait for a call before stopping the worker."""
        return deadline_s

    def log_hint(self) -> str:
        """Return where to read more, as the last words of an error."""
        return ""

    @property
    def catalogue(self) -> Catalogue:
        """What the worker said when it started; starts it if it has not been."""
        if self.known is None:
            self.open()
        return self.catalogue_said()

    def open(self) -> Channel:
        """Return the connection, made and greeted if there is none.

        Raises `WorkerRefused` and `WorkerCrash`, also for a worker that offers other tools or models
        than it did before it was started again.
        """
        if self.channel is not None:
            return self.channel
        channel = self.channel = self.connect()
        try:
            try:
                catalogue = self.greeting(channel)
            except EOFError:
                how = self.ending()
                raise WorkerCrash(f"the worker {how} while starting{self.log_hint()}") from None
            if self.known not in (None, catalogue):
                raise WorkerCrash(
                    "the worker was started again and now has other models, tools or code: files changed "
                    "meanwhile; put them back and resume, or start a new run"
                )
        except BaseException:
            self.disconnect()
            raise
        self.known = catalogue
        return channel

    def greeting(self, channel: Channel) -> Catalogue:
        """Wait for the catalogue; raise what came in its place."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                frame = channel.receive(timeout=1.0)
            except TimeoutError:
                self.check_alive(0.0)
                continue
            match frame["kind"]:
                case "catalogue":
                    return Catalogue.model_validate(frame["catalogue"])
                case "refused":
                    raise WorkerRefused(frame["reason"], frame["message"])
                case "crash":
                    self.crash(frame)
                case _:
                    continue
        raise WorkerCrash(f"the worker was not ready after {START_S:.0f} s{self.log_hint()}")

    def crash(self, frame: Mapping[str, Any]) -> NoReturn:
        """Raise the fault of ours that the worker reports."""
        raise WorkerCrash(f"{frame['message']}{self.log_hint()}", frame["traceback"])

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = DEADLINE_S
    ) -> Experiment:
        """Run one tool. A worker that dies is started again and asked again, once.

        A tool's faults are inside the experiment. Loading the weights does not count towards
        `deadline_s`, and a second try has its own; calls from several threads take turns. Raises
        `WorkerCrash` and `WorkerRefused`.
        """
        with self.turn:
            return self.call_in_turn(tool, arguments, seed, deadline_s)

    def call_in_turn(
        self, tool: str, arguments: Mapping[str, Any], seed: int, deadline_s: float
    ) -> Experiment:
        """Run one tool while no other call is under way."""
        try:
            call = self.under_way = Call(tool, plain_json(arguments), seed)
        except ToolError as error:
            return Call(tool, {}, seed).failed(self.catalogue, "investigator", str(error))
        lost = ""
        for _ in range(2):
            try:
                return self.attempt(call, deadline_s)
            except Overdue as error:
                return call.failed(self.catalogue_said(), "deadline", str(error))
            except Cancelled as error:
                return call.failed(self.catalogue_said(), "cancelled", str(error))
            except Lost as error:
                log.warning("%s: %s%s", tool, error, self.log_hint())
                lost = str(error)
        line = f"{lost} during {tool}, and again when it was tried once more"
        return call.failed(self.catalogue_said(), "worker_lost", line)

    def cancel(self) -> None:
        """Give up the call under way, from another thread: its experiment says that it was cancelled."""
        call = self.under_way
        if call is not None:
            call.cancelled = True

    def catalogue_said(self) -> Catalogue:
        """Return the catalogue without starting a worker that was just stopped."""
        assert self.known is not None
        return self.known

    def attempt(self, call: Call, deadline_s: float) -> Experiment:
        """Send the request and wait for its end; raise `Lost` or `Overdue` with the worker stopped."""
        channel = self.open()
        self.number += 1
        request = Request(
            id=self.number,
            tool=call.tool,
            arguments=call.arguments,
            seed=call.seed,
            deadline=deadline_s,
            blobs=str(self.blobs),
            judges=self.judge is not None,
        )
        call.heard, call.judging = time.monotonic(), 0.0
        until = call.heard + self.patience(deadline_s)
        try:
            channel.send(request.model_dump(), timeout=deadline_s)
            return self.wait(channel, call, until + GRACE_S)
        except (EOFError, BrokenPipeError, ConnectionError):
            how = self.ending()
            self.disconnect()
            if time.monotonic() < until + call.judging:
                raise Lost(f"the worker {how}") from None
        except TimeoutError:
            self.disconnect()
        except WorkerCrash:
            raise
        except BaseException:
            # Interrupted: its answer would be taken for the next call's.
            self.disconnect()
            raise
        raise Overdue(
            f"{call.tool} ran past its deadline of {deadline_s:g} s and was stopped{call.progress}; "
            "ask for less at a time"
        )

    def wait(self, channel: Channel, call: Call, until: float) -> Experiment:
        """Wait for the response to the last request; raise `TimeoutError` past `until`."""
        for frame in self.frames(channel, call, until):
            call.heard = time.monotonic()
            if frame.get("id") != self.number:
                continue
            match frame["kind"]:
                case "response":
                    self.cpu_seconds += frame["cpu"]
                    return Experiment.model_validate(frame["experiment"])
                case "crash":
                    self.crash(frame)
                case "progress":
                    self.progress(call, frame["fraction"], frame["note"])
                case "judge":
                    self.have_judged(channel, call, frame["asked"])
                case _:
                    continue
        raise TimeoutError

    def have_judged(self, channel: Channel, call: Call, shown: list[dict[str, Any]]) -> None:
        """Ask the judges and send their labels; look after the worker meanwhile.

        Whatever the judges raise passes through: a provider that fails ends the call.
        """
        assert self.judge is not None
        started = time.monotonic()
        asked = [Asked.model_validate(each) for each in shown]
        said: queue.SimpleQueue[Future[Judgements]] = queue.SimpleQueue()
        judge = self.judge
        threading.Thread(target=lambda: said.put(settled(judge, asked)), daemon=True).start()
        try:
            while said.empty():
                # Heartbeats have to be read, or the server of a shared worker would drop us.
                try:
                    channel.receive(timeout=LOOK_S)
                    call.heard = time.monotonic()
                except TimeoutError:
                    self.check_alive(call.silent())
        finally:
            call.judging += time.monotonic() - started
        labels = said.get().result().model_dump(mode="json")
        channel.send({"kind": "judged", "id": self.number, "judgements": labels})

    def progress(self, call: Call, fraction: float, note: str) -> None:
        """Remember how far the call is and pass it on."""
        call.progress = f" (at {fraction:.0%}: {one_line(note)[:80]})"
        if self.on_progress is not None:
            self.on_progress(fraction, note)

    def frames(self, channel: Channel, call: Call, until: float) -> Iterator[dict[str, Any]]:
        """Yield frames as they come, until `until`; look after the worker in between."""
        while (left := until + call.judging - time.monotonic()) > 0:
            if call.cancelled:
                raise Cancelled(f"{call.tool} was cancelled by whoever asked for it{call.progress}")
            try:
                yield channel.receive(timeout=min(0.5, left))
            except TimeoutError:
                self.check_alive(call.silent())

    def close(self) -> None:
        """Stop the worker, or leave the shared one."""
        self.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
