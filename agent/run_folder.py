"""The only code that knows the files of a run: `events.jsonl`, `blobs/`, `manifest.json`, `run.lock`.

The event log is authoritative. Every line is `{"seq", "type", "data", "prev", "crc"}` in canonical
JSON: `prev` is the SHA-256 of the line before, `crc` the CRC-32 of the line without it. One writer,
by flock. Blobs are written before the event that names them. On opening, a torn tail is cut off and
kept aside; damage before the tail is refused, because nothing after it could be trusted.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import json
import os
import re
import socket
import time
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.blobs import BlobStore
from tools.experiment import canonical_json
from tools.registry import Record

SET_PLAN = "set.json"
"""The file that makes a folder a set of runs, each in a folder of its own."""
FORMAT = 1
GENESIS = "0" * 64
GLANCES = 3
"""Tries to take a lock that may be held by somebody who only looks."""
SECRETS = re.compile(r"(sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|AIza[0-9A-Za-z_-]{30,})")


class RunError(Exception):
    """A run folder that cannot be used as asked; the message says what to do."""


class RunLocked(RunError):
    """Another process is writing to this run."""


class RunDamaged(RunError):
    """The log is damaged before its tail."""


class Event(Record):
    """One line of the log."""

    seq: int
    type: str
    data: dict[str, Any]
    prev: str

    def line(self) -> str:
        """Return the line as it stands in the file, without the newline."""
        body = canonical_json(self.model_dump())
        return f'{body[:-1]},"crc":{zlib.crc32(body.encode())}}}'


def read_line(line: bytes) -> Event:
    """Read one line; raise `ValueError` if it is torn, its checksum does not fit or it ends in something else."""
    body, mark, crc = line.rpartition(b',"crc":')
    if not mark or crc != b"%d}" % zlib.crc32(body + b"}"):
        raise ValueError("the checksum does not fit")
    return Event.model_validate(json.loads(body + b"}"))


@contextmanager
def no_collection() -> Generator[None]:
    """Look for no garbage while a log is read: it makes millions of objects, all of them kept.

    Going through them again and again would take more time than reading them.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def read_events(path: Path) -> tuple[list[Event], bytes]:
    """Return the events and the torn bytes after them; raise `RunDamaged` for damage before the tail.

    A last line that does not parse is a torn tail even if it ends in a newline only when nothing
    follows it; a broken chain or checksum with further events behind it is damage.
    """
    content = path.read_bytes()
    events: list[Event] = []
    previous, offset = GENESIS, 0
    while offset < len(content):
        end = content.find(b"\n", offset)
        line = content[offset : end if end >= 0 else len(content)]
        try:
            if end < 0:
                raise ValueError("no newline")
            event = read_line(line)
        except ValueError as error:
            if end < 0 or end == len(content) - 1:
                return events, content[offset:]
            raise RunDamaged(
                f"{path.name}: event {len(events)} is damaged ({error}), and events follow it"
            ) from None
        if event.seq != len(events) or event.prev != previous:
            raise RunDamaged(f"{path.name}: event {len(events)} does not continue the chain")
        events.append(event)
        previous = hashlib.sha256(line).hexdigest()
        offset = end + 1
    return events, b""


def read_on(path: Path, offset: int, most: int = 2**26) -> Iterator[tuple[Event, int]]:
    """Yield events from a byte offset on, each with the offset behind it, from `most` bytes or so.

    For those who follow a log while it grows: a line that is not finished yet is left for later, and
    the chain is not followed. Raises `RunDamaged` for a finished line that cannot be read.
    """
    with path.open("rb") as file:
        file.seek(offset)
        taken = 0
        for line in file:
            if not line.endswith(b"\n") or taken >= most:
                return
            try:
                event = read_line(line[:-1])
            except ValueError as error:
                raise RunDamaged(f"{path.name}: damaged at byte {offset} ({error})") from None
            taken += len(line)
            offset += len(line)
            yield event, offset


def is_written(path: Path) -> bool:
    """Say whether a process holds the lock of the run at `path`."""
    try:
        lock = os.open(path / "run.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


class RunFolder:
    """A run on disk, open for reading or, while it holds the lock, for appending."""

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self.log = path / "events.jsonl"
        self.blobs = BlobStore(path / "blobs")
        self._lock: int | None = None
        self._file: Any = None
        if not self.log.exists() and (path / SET_PLAN).exists():
            raise RunError(
                f"{path} is a set of runs; name one of them, such as {path / 'aggregate'}"
            )
        if not self.log.exists():
            raise RunError(f"{path} is not a run folder (no events.jsonl); see `naturalist --help`")
        if write:
            self._take_lock()
        self.events, torn = read_events(self.log)
        self._previous = (
            hashlib.sha256(self.events[-1].line().encode()).hexdigest() if self.events else GENESIS
        )
        if write:
            if torn:
                self._cut(torn)
            self._file = self.log.open("ab")

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make a new run folder and take its lock; raise `RunError` if there is one already."""
        path.mkdir(parents=True, exist_ok=True)
        log = path / "events.jsonl"
        if log.exists():
            raise RunError(f"{path} already holds a run; resume it with `naturalist resume {path}`")
        log.touch()
        sync_folder(path)
        return cls(path, write=True)

    def append(self, kind: str, data: dict[str, Any], *, sync: bool = False) -> Event:
        """Append an event and flush it; with `sync`, return only when it is on the disk."""
        if self._file is None:
            raise RunError(f"{self.path} is open for reading only")
        event = Event(seq=len(self.events), type=kind, data=redact(data), prev=self._previous)
        line = event.line().encode()
        # What is applied now has to be what a resumed run reads back, down to the order of keys.
        event = read_line(line)
        self._file.write(line + b"\n")
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())
        self.events.append(event)
        self._previous = hashlib.sha256(line).hexdigest()
        return event

    def of_type(self, *kinds: str) -> Iterator[Event]:
        """Yield the events of the given types in order."""
        return (event for event in self.events if event.type in kinds)

    def put_json(self, value: object) -> str:
        """Store a JSON value as a blob and return its reference."""
        return self.blobs.put(canonical_json(value).encode())

    def get_json(self, reference: str) -> Any:
        """Return the JSON value behind a blob reference."""
        return json.loads(self.blobs.get(reference))

    def close(self) -> None:
        """Close the log and release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _take_lock(self) -> None:
        lock = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            lock_soon(lock)
        except OSError:
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip()
            os.close(lock)
            raise RunLocked(f"{self.path} is being written by another process ({holder})") from None
        os.truncate(lock, 0)
        os.pwrite(
            lock, f"pid {os.getpid()} on {socket.gethostname()} since {time.ctime()}".encode(), 0
        )
        self._lock = lock

    def _cut(self, torn: bytes) -> None:
        """Cut the torn tail off the log and keep its bytes in a side file."""
        aside = self.path / f"events.torn.{len(self.events)}.{hashlib.sha256(torn).hexdigest()[:8]}"
        aside.write_bytes(torn)
        os.truncate(self.log, self.log.stat().st_size - len(torn))


def lock_soon(lock: int) -> None:
    """Take a lock; raise `OSError` if it is held. Whoever only looks (`is_written`) has it for an instant."""
    for _ in range(GLANCES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            time.sleep(0.01)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def redact(value: Any) -> Any:
    """Replace API keys by a mark, in every string of a JSON value."""
    match value:
        case str():
            return SECRETS.sub("[redacted key]", value)
        case dict():
            return {key: redact(inner) for key, inner in value.items()}
        case list() | tuple():
            return [redact(inner) for inner in value]
        case _:
            return value


def sync_folder(path: Path) -> None:
    """Make a new entry of a folder survive a power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
