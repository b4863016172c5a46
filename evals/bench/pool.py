"""The local pool: sittings side by side on this machine, forked, with a worker that those of a specimen share.

Starting Python, importing and loading a model take longer than many a sitting. So a process that has imported
everything is forked for each, and the sittings before one specimen are done together, with one worker that serves
a socket: one sitting at a time for each worker, or several where there are fewer workers than processes, as when
a device has room for one model and investigators wait for their providers. What a tool returns depends on its
arguments and its seed and on nothing that was asked before, so the results are those of workers of their own.

A sitting that another pool is at is waited for. One whose process died is started again.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

from agent.case import Case
from agent.engines import api_name
from agent.session import start_worker
from evals.bench.drivers import left, taken, words_of
from evals.bench.forked import run_sitting
from evals.bench.records import Plan, ReferenceTrack, Sitting
from evals.bench.sitting import canary, result_path
from evals.bench.suites import SuiteError, case_of, is_ready, sibling_of
from tools.faults import SubjectRefused
from tools.worker_client import ProcessWorker, environment
from tools.worker_socket import served

TRIES = 3
"""A sitting whose process died, for whatever reason, is started so often in all."""
TOGETHER = 24
"""So many sittings share a worker; then it is the next specimen's turn, so that no core is left alone at the end."""
LOOK_S = 0.5
"""So often a sitting that another pool is at is looked after."""
FORKING = multiprocessing.get_context("forkserver")
Say = Callable[[str], None]


class Exam(NamedTuple):
    """What a pool works off, and how."""

    out: Path
    plan: Plan
    until: float = float("inf")
    """Nothing new is begun after that, in seconds since the epoch."""
    options: tuple[str, ...] = ()
    """Of every sitting's command."""
    say: Say = lambda _: None


class Room:
    """One specimen, what is to be sat before it, and the worker that these sittings share."""

    def __init__(self, exam: Exam, waiting: Sequence[Sitting]) -> None:
        self.exam, self.waiting = exam, list(waiting)
        self.under_way = 0
        self.furnished = False
        self.socket: Path | None = None
        self.furniture = ExitStack()

    @property
    def done_with(self) -> bool:
        """Say whether nothing waits and nobody sits."""
        return not self.waiting and not self.under_way

    def places(self, most: int) -> int:
        """Furnish the room if that can be; return how many may sit at once: one until the specimen is built."""
        plan, sitting = self.exam.plan, self.waiting[0]
        specimen = plan.specimen(sitting.specimen)
        if not self.furnished:
            if not is_ready(specimen, plan.secret):
                return 1
            self.furnished = True
            # What is refused here is refused to every sitting, which says so itself.
            with suppress(SubjectRefused, SuiteError):
                sibling = sibling_of(specimen, plan.specimens)
                self.furnish(case_of(specimen, sitting.reference, sibling))
        return most

    def furnish(self, case: Case) -> None:
        """Serve a worker that holds a case's models; those behind an API are reached by each sitting."""
        if api_name(case.subject) is not None:
            return
        worker = start_worker(case, self.exam.out / "workers" / self.waiting[0].specimen)
        if isinstance(worker, ProcessWorker):
            # A socket's path has to be short.
            place = self.furniture.enter_context(tempfile.TemporaryDirectory(prefix="naturalist-"))
            self.socket = Path(place) / "socket"
            self.furniture.enter_context(served(worker, self.socket))

    def next(self) -> Sitting | None:
        """Take the next sitting that nobody is at."""
        for sitting in self.waiting:
            with taken(self.exam.out, sitting) as free:
                if free:
                    self.waiting.remove(sitting)
                    return sitting
        return None


class Seat(NamedTuple):
    """A sitting under way."""

    sitting: Sitting
    room: Room
    process: ForkServerProcess
    log: Path


class Pool:
    """The sittings that are left, in rooms, and those under way."""

    def __init__(self, exam: Exam) -> None:
        self.exam = exam
        waiting = left(exam.out, exam.plan)
        self.total, self.ended, self.failed = len(waiting), 0, 0
        self.chunks = deque(together(waiting))
        self.rooms: list[Room] = []
        self.seats: list[Seat] = []
        self.tries: Counter[str] = Counter()

    def run(self, processes: int, workers: int) -> int:
        """Run everything, so many sittings and workers at a time; return how many came to no result."""
        try:
            while self.chunks or self.rooms:
                while self.chunks and len(self.rooms) < workers:
                    self.rooms.append(Room(self.exam, self.chunks.popleft()))
                for room in self.rooms:
                    self.fill(room, processes, -(-processes // len(self.rooms)))
                # Without anybody seated this waits: all that is left is being sat elsewhere.
                ready = wait([seat.process.sentinel for seat in self.seats], LOOK_S)
                for seat in [each for each in self.seats if each.process.sentinel in ready]:
                    self.seats.remove(seat)
                    self.leave(seat)
                for room in [each for each in self.rooms if each.done_with]:
                    self.rooms.remove(room)
                    room.furniture.close()
        finally:
            for room in self.rooms:
                room.furniture.close()
        return self.failed

    def fill(self, room: Room, processes: int, most: int) -> None:
        """Let as many sit in a room as there are places, seats and time for."""
        if time.time() >= self.exam.until:
            for sitting in room.waiting:
                self.end(sitting, "not begun: the time was up")
            room.waiting.clear()
        while room.waiting and len(self.seats) < processes and room.under_way < room.places(most):
            sitting = room.next()
            if sitting is None:
                return
            if result_path(self.exam.out, sitting).exists():
                self.end(sitting)
                continue
            self.seats.append(self.seated(sitting, room))
            room.under_way += 1

    def seated(self, sitting: Sitting, room: Room) -> Seat:
        """Start a sitting in a process of its own."""
        self.tries[sitting.name] += 1
        log = self.exam.out / "logs" / f"{sitting.name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        worker = ("--worker", str(room.socket)) if room.socket else ()
        words = words_of(self.exam.out, sitting, (*self.exam.options, *worker))
        process = FORKING.Process(target=run_sitting, args=(words, log))
        process.start()
        return Seat(sitting, room, process, log)

    def leave(self, seat: Seat) -> None:
        """See what a process that has ended came to; start its sitting again if it died."""
        seat.process.join()
        seat.room.under_way -= 1
        code, name = seat.process.exitcode, seat.sitting.name
        seat.process.close()
        if result_path(self.exam.out, seat.sitting).exists():
            self.end(seat.sitting)
        elif code == 0:
            # Somebody else took it first.
            self.tries[name] -= 1
            seat.room.waiting.append(seat.sitting)
        elif self.tries[name] < TRIES:
            seat.room.waiting.insert(0, seat.sitting)
        else:
            self.end(seat.sitting, f"exit {code}; see {seat.log}")

    def end(self, sitting: Sitting, failure: str | None = None) -> None:
        """Say what a sitting came to."""
        self.ended += 1
        self.failed += failure is not None
        self.exam.say(f"{self.ended}/{self.total} {sitting.name}: {failure or 'done'}")


def together(waiting: Iterable[Sitting]) -> list[list[Sitting]]:
    """Return sittings that can share a worker, in chunks, in the order of each chunk's first."""
    chunks: list[list[Sitting]] = []
    last: dict[tuple[str, ReferenceTrack], list[Sitting]] = {}
    for sitting in waiting:
        key = (sitting.specimen, sitting.reference)
        if key not in last or len(last[key]) == TOGETHER:
            last[key] = []
            chunks.append(last[key])
        last[key].append(sitting)
    return chunks


def run_here(exam: Exam, processes: int, workers: int | None = None) -> int:
    """Run what is left of an exam here; return how many sittings came to no result.

    `workers` of them at most hold models at a time, by default as many as there are processes.
    """
    FORKING.set_forkserver_preload(["__main__", run_sitting.__module__])
    with surroundings(), canary():
        return Pool(exam).run(processes, min(workers or processes, processes))


@contextmanager
def surroundings() -> Generator[None]:
    """Give what is started meanwhile the environment of a worker, and one thread unless told otherwise."""
    before = dict(os.environ)
    # Two processes that share two cores stall with two threads each; and a folder called `tools` where the user
    # happens to stand is not ours.
    os.environ.update({"OMP_NUM_THREADS": "1", **environment(), "PYTHONSAFEPATH": "1"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
