"""How the index of a folder of runs follows one log: from the byte where it stopped, in one transaction.

What is kept of an event is where it stands, the words in it, and what a list of runs shows.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.review.indexed_words import (
    MOST_ROWS,
    event_title,
    event_words,
    experiment_words,
    raw_arms,
    row_words,
)
from agent.review.opened import opened
from agent.run_folder import Event, RunDamaged, RunError, read_on
from agent.verify import UNUSABLE
from tools.blobs import BlobStore
from tools.registry import ToolError

ROOM = 2**40
"""Row numbers of the words that belong to one run."""
FINDING_EVENTS = {"registration", "verdict", "note", "submission", "replication"}
"""Events after which the findings of a run may be others."""


class Follower:
    """Brings what the index holds of one run up to its log."""

    def __init__(self, base: sqlite3.Connection, name: str, path: Path) -> None:
        self.base, self.name, self.path = base, name, path
        self.log = path / "events.jsonl"
        self.blobs = BlobStore(path / "blobs")
        self.base.execute(
            "INSERT OR IGNORE INTO runs VALUES (NULL, ?, 0, -1, 0, 0, '', 0, '{}', '[]', 0, NULL)",
            (name,),
        )
        row = self.base.execute("SELECT * FROM runs WHERE name = ?", (name,)).fetchone()
        self.number, _, self.start, self.size, self.changed, self.events, self.last = row[:7]
        self.words, self.facts, self.findings = row[7], json.loads(row[8]), row[9]
        self.stale, self.fault = bool(row[10]), row[11]

    def follow(self) -> None:
        """Read on from where the index stopped, or from the beginning if the log is another one."""
        seen = self.log.stat()
        if (seen.st_size, seen.st_mtime_ns) == (self.size, self.changed):
            return
        with transaction(self.base):
            if not self._continues(seen.st_size):
                forget(self.base, self.number)
                self.start = self.events = self.words = 0
                self.facts, self.last, self.findings = {}, "", "[]"
                self.stale, self.fault = False, None
            before = -1
            while self.fault is None and before != self.start:
                before = self.start
                self._read()
            self.size, self.changed = seen.st_size, seen.st_mtime_ns
            if self.stale and self.fault is None:
                self._find()
            self._write()

    def _continues(self, size: int) -> bool:
        """Say whether the log still holds what was indexed, as far as its last line says."""
        if self.fault is not None or size == self.size:
            return False
        row = self.base.execute(
            "SELECT start, length FROM events WHERE run = ? AND seq = ?",
            (self.number, self.events - 1),
        ).fetchone()
        if row is None:
            return self.events == 0
        with self.log.open("rb") as log:
            return hashlib.sha256(part(log, *row)).hexdigest() == self.last

    def _read(self) -> None:
        places: list[tuple[Any, ...]] = []
        try:
            for event, end in read_on(self.log, self.start):
                if event.seq != self.events:
                    raise RunDamaged(f"event {self.events} is missing")
                places.append(
                    (self.number, event.seq, event.type, self.start, end - self.start - 1)
                )
                self._take(event)
                self.start, self.events = end, self.events + 1
                self.last = event
        except (RunDamaged, *UNUSABLE) as error:
            self.fault = f"{error}"[:500] or type(error).__name__
        if isinstance(self.last, Event):
            self.last = hashlib.sha256(self.last.line().encode()).hexdigest()
        self.base.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", places)

    def _take(self, event: Event) -> None:
        kind, data = event.type, event.data
        note_fact(self.facts, kind, data)
        self.stale = self.stale or kind in FINDING_EVENTS
        title = event_title(kind, data)
        self._add(title, f"event/{event.seq}", event_words(kind, data))
        if kind == "experiment":
            try:
                self._take_experiment(event, title)
            except (ToolError, ValueError, KeyError, TypeError):
                self._add(title, f"event/{event.seq}", "(its data cannot be read)")

    def _take_experiment(self, event: Event, title: str) -> None:
        stored = json.loads(self.blobs.get(event.data["blob"]))
        self._add(title, f"event/{event.seq}", experiment_words(stored))
        raw = (stored.get("result") or {}).get("raw")
        if not isinstance(raw, str):
            return
        count = 0
        for arm, rows in raw_arms(json.loads(self.blobs.get(raw))).items():
            for row_number, row in enumerate(rows[: MOST_ROWS - count]):
                place = f"row/{event.data['number']}/{arm}/{row_number}"
                self._add(f"exp:{event.data['number']} {arm}, raw output", place, row_words(row))
                count += 1

    def _add(self, title: str, place: str, words: str) -> None:
        if words:
            number = self.number * ROOM + self.words
            self.words += 1
            self.base.execute(
                "INSERT INTO words (rowid, text, title, place) VALUES (?, ?, ?, ?)",
                (number, words, title, place),
            )

    def _find(self) -> None:
        try:
            found = opened(self.path).report.findings
        except RunError as error:
            self.fault = str(error)
            return
        self.stale = False
        self.findings = json.dumps(
            [{"id": f.id, "status": f.status, "statement": f.statement} for f in found]
        )

    def _write(self) -> None:
        self.base.execute(
            "UPDATE runs SET start = ?, size = ?, changed = ?, events = ?, last = ?, words = ?, facts = ?, "
            "findings = ?, stale = ?, fault = ? WHERE id = ?",
            (
                *(self.start, self.size, self.changed, self.events, self.last, self.words),
                *(json.dumps(self.facts), self.findings, self.stale, self.fault, self.number),
            ),
        )


def note_fact(facts: dict[str, Any], kind: str, data: dict[str, Any]) -> None:
    """Count an event, and keep of it what a list of runs shows."""
    counts = facts.setdefault("counts", {})
    counts[kind] = counts.get(kind, 0) + 1
    match kind:
        case "run_opened":
            facts |= {
                "case": data["case"]["name"],
                "question": data["case"]["behaviour"],
                "investigator": data["investigator"],
                "seed": data["seed"],
                "opened": data["versions"].get("at", ""),
            }
        case "clock":
            facts["minutes"], facts["limit"] = data["minutes"], data.get("limit")
        case "experiment":
            facts["failed"] = facts.get("failed", 0) + bool(data.get("failed"))
            facts["last"] = f"exp:{data['number']} {data['tool']}"
        case "turn":
            facts["last"] = ", ".join(call["name"] for call in data.get("calls", ())) or "a turn"
        case "run_ended":
            facts["ended"] = data["reason"]
        case _:
            pass


def forget(base: sqlite3.Connection, number: int) -> None:
    """Drop what is held of a run."""
    base.execute("DELETE FROM events WHERE run = ?", (number,))
    base.execute(
        "DELETE FROM words WHERE rowid BETWEEN ? AND ?", (number * ROOM, (number + 1) * ROOM - 1)
    )


def part(log: Any, start: int, length: int) -> bytes:
    """Return some bytes of an open file."""
    log.seek(start)
    return log.read(length)


@contextmanager
def transaction(base: sqlite3.Connection) -> Generator[None]:
    """Do all of it or nothing."""
    base.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        base.execute("ROLLBACK")
        raise
    base.execute("COMMIT")
