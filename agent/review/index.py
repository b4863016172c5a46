"""A search index over a folder of runs: `index.sqlite`, rebuildable at any time and never authoritative.

It is filled from where the logs have grown since it last looked, by byte offset, so that following a
live run costs what was added. Verdicts are never read from it: it says where in a log something stands.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from agent.review.following import ROOM, Follower, forget, part, transaction
from agent.run_folder import SET_PLAN, Event, is_written, read_line
from agent.safe_text import safe_text
from tools.registry import Record

VERSION = 1
PAGE = 25
WORDS = re.compile(r'"([^"]*)"|(\S+)')
MOST_WORDS = 16
SCHEMA = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT UNIQUE, start INTEGER, size INTEGER, changed INTEGER,
  events INTEGER, last TEXT, words INTEGER, facts TEXT, findings TEXT, stale INTEGER, fault TEXT);
CREATE TABLE events (run INTEGER, seq INTEGER, kind TEXT, start INTEGER, length INTEGER,
  PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE INDEX events_by_kind ON events (run, kind, seq);
CREATE VIRTUAL TABLE words USING fts5(text, title UNINDEXED, place UNINDEXED, prefix = '3 4');
"""


class Entry(Record):
    """One run as the list shows it."""

    key: str
    """What a page is called by: a digest of the folder's name, so that no path is in an address."""
    name: str
    number: int
    events: int
    facts: dict[str, Any]
    findings: tuple[dict[str, str], ...]
    """Id, status and statement of each."""
    fault: str | None
    live: bool

    @property
    def ended(self) -> bool:
        """Say whether the run came to its end, so that its findings stand."""
        return self.facts.get("ended") is not None and self.fault is None


class Hit(Record):
    """One place where the words were found."""

    key: str
    run: str
    title: str
    place: str
    """`event/SEQ`, or `row/EXPERIMENT/ARM/ROW` for a raw output."""
    pieces: tuple[str, ...]
    """The words around it; every second piece is what was looked for."""


class RunIndex:
    """The runs in one folder, or one run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "index.sqlite"
        try:
            self._prepare()
        except (sqlite3.OperationalError, OSError):
            # A folder that can only be read gets its index elsewhere.
            self.file = Path(tempfile.mkdtemp(prefix="naturalist-")) / "index.sqlite"
            self._prepare()

    def _prepare(self) -> None:
        try:
            with self._open() as base:
                version = base.execute("PRAGMA user_version").fetchone()[0]
                if version == VERSION:
                    return
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            pass
        for path in self.root.glob(f"{self.file.name}*") if self.file.parent == self.root else ():
            path.unlink()
        with self._open() as base:
            base.execute("PRAGMA journal_mode = WAL")
            base.executescript(SCHEMA)
            base.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=30, isolation_level=None)) as base:
            base.execute("PRAGMA synchronous = OFF")
            yield base

    def folders(self) -> dict[str, Path]:
        """Return the run folders by name, those of a set as SET/RUN; links are not followed."""
        if (self.root / "events.jsonl").is_file():
            return {self.root.resolve().name: self.root}
        inside = [path for path in sorted(self.root.iterdir()) if not path.is_symlink()]
        sets = [path for path in inside if (path / SET_PLAN).is_file()]
        inside += [path for each in sets for path in sorted(each.iterdir())]
        named = {path.relative_to(self.root).as_posix(): path for path in inside}
        return {
            name: path
            for name, path in named.items()
            if not path.is_symlink()
            and (path / "events.jsonl").is_file()
            and not (path / "events.jsonl").is_symlink()
            and name.isprintable()
        }

    def refresh(self) -> None:
        """Take in what the logs have grown by; forget runs that are gone."""
        there = self.folders()
        with self._open() as base:
            known = dict(base.execute("SELECT name, id FROM runs"))
            for name in set(known) - set(there):
                with transaction(base):
                    forget(base, known[name])
                    base.execute("DELETE FROM runs WHERE id = ?", (known[name],))
            for name, path in there.items():
                Follower(base, name, path).follow()

    def runs(self) -> list[Entry]:
        """Return every run that was read, the one that was opened last first."""
        there = self.folders()
        with self._open() as base:
            rows = base.execute(
                "SELECT id, name, events, facts, findings, fault FROM runs WHERE changed > 0"
            ).fetchall()
        found = [entry_of(row, is_written(there[row[1]])) for row in rows if row[1] in there]
        # A name need not begin with a date.
        return sorted(found, key=lambda e: (e.facts.get("opened", ""), e.name), reverse=True)

    def entry(self, key: str) -> tuple[Entry, Path] | None:
        """Return a run by its key, with its folder."""
        for name, path in self.folders().items():
            if key_of(name) != key:
                continue
            with self._open() as base:
                row = base.execute(
                    "SELECT id, name, events, facts, findings, fault FROM runs "
                    "WHERE name = ? AND changed > 0",
                    (name,),
                ).fetchone()
            return (entry_of(row, is_written(path)), path) if row else None
        return None

    def search(
        self, query: str, run: int | None = None, page: int = 1, *, kind: str = ""
    ) -> tuple[list[Hit], bool]:
        """Return one page of places that hold all the words, the latest first, and whether there are more.

        `kind` looks in the log's events only (`event`) or in raw outputs only (`row`).
        """
        wanted = match_of(query)
        if not wanted:
            return [], False
        low, high = (0, 2**62) if run is None else (run * ROOM, (run + 1) * ROOM - 1)
        with self._open() as base:
            names = dict(base.execute("SELECT id, name FROM runs"))
            found = base.execute(
                "SELECT rowid, title, place, snippet(words, 0, char(2), char(3), '…', 28) FROM words "
                "WHERE words MATCH ? AND rowid BETWEEN ? AND ? AND place LIKE ? ORDER BY rowid DESC LIMIT ? OFFSET ?",
                (wanted, low, high, f"{kind}%", PAGE + 1, (page - 1) * PAGE),
            ).fetchall()
        hits = [
            Hit(
                key=key_of(names[number // ROOM]),
                run=names[number // ROOM],
                title=title,
                place=place,
                pieces=tuple(re.split("[\x02\x03]", snippet)),
            )
            for number, title, place, snippet in found[:PAGE]
            if number // ROOM in names
        ]
        return hits, len(found) > PAGE

    def events(
        self,
        entry: Entry,
        path: Path,
        start: int,
        count: int,
        kinds: tuple[str, ...] = (),
        *,
        skip: int = 0,
    ) -> list[Event]:
        """Return `count` events from sequence number `start` on, read from the log; of some kinds only."""
        chosen = f"AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        with self._open() as base:
            places = base.execute(
                f"SELECT start, length FROM events WHERE run = ? AND seq >= ? {chosen} ORDER BY seq LIMIT ? OFFSET ?",
                (entry.number, start, *kinds, count, skip),
            ).fetchall()
        with (path / "events.jsonl").open("rb") as log:
            return [read_line(part(log, *place)) for place in places]


def entry_of(row: tuple[Any, ...], live: bool) -> Entry:
    """Read one row of the table of runs."""
    number, name, events, facts, found, fault = row
    return Entry(
        key=key_of(name),
        name=name,
        number=number,
        events=events,
        facts=json.loads(facts),
        findings=tuple(json.loads(found)),
        fault=fault,
        live=live,
    )


def key_of(name: str) -> str:
    """Return what a run is called in addresses."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def match_of(query: str) -> str:
    """Return a query of words, "phrases" and beginn* in the index's own syntax, in which they are only that."""
    found = [phrase or word for phrase, word in WORDS.findall(safe_text(query))]
    wanted = [text for text in found if re.search(r"\w", text)][:MOST_WORDS]
    return " ".join(
        '"' + text.rstrip("*").replace('"', '""') + '"' + ("*" if text.endswith("*") else "")
        for text in wanted
    )
