"""A word to a running investigation: a side file that the loop reads before each turn.

A word is advice. The investigator reads it as a notice, it stands in the log with the turn that it came
before, and it changes nothing else: no status, no registration, no prompt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from agent.investigation import Exchange
from agent.opening import opened_event
from agent.run_folder import RunError, RunFolder
from tools.registry import Record

FILE = "words.jsonl"
LONGEST = 2000
SAID = "A word from the researcher: "
DEAF = ("systematic", "scripted", "aggregator")
"""Investigators that are programs and read no notice."""


class Word(Record):
    """What somebody said, and when."""

    text: str
    at: str
    """ISO 8601, UTC."""


class WordsAside:
    """The words in the side file of a run, in the order they were said."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def since(self, heard: int) -> list[Word]:
        """Return the words after the first `heard`; a line that is not whole yet waits, one of no word is left out."""
        try:
            content = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        lines = content[: content.rfind("\n") + 1].split("\n")
        return [word for word in map(read_word, lines) if word is not None][heard:]


def read_word(line: str) -> Word | None:
    """Return the word that a line holds, if it holds one: the file is anybody's, and must not stop a run."""
    try:
        return Word.model_validate_json(line)
    except ValidationError:
        return None


def say_to(folder: Path, text: str) -> Word:
    """Leave a word for the run; raises `RunError` where nobody will read it."""
    log = RunFolder(folder)
    opened = opened_event(log)
    if any(event.type == "run_ended" for event in log.events):
        raise RunError(
            f"{folder}: the investigation is over; `naturalist report {folder}` shows it"
        )
    who = str(opened.get("investigator", ""))
    if not hears(who):
        raise RunError(f"{folder}: the investigator is {who!r}, a program that reads no words")
    text = " ".join(text.split())
    if not 0 < len(text) <= LONGEST:
        raise RunError(f"a word has 1 to {LONGEST} characters, this one has {len(text)}")
    word = Word(text=text, at=datetime.now(UTC).isoformat(timespec="seconds"))
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(folder / FILE, flags, 0o644)
    except OSError as error:
        raise RunError(f"{folder / FILE} cannot be written: {error.strerror}") from None
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        # One write of one line: two speakers do not mix, and a torn line costs itself only.
        line = b"\n" * torn + json.dumps(word.model_dump()).encode() + b"\n"
        if os.write(handle, line) != len(line):
            raise RunError(
                f"{folder / FILE}: the word could not be written whole; is the disk full?"
            )
    finally:
        os.close(handle)
    return word


def hears(investigator: str) -> bool:
    """Say whether an investigator reads what is said to it."""
    return investigator.partition(":")[0] not in DEAF


def notice_of(word: Word) -> str:
    """Return a word as the investigator reads it."""
    return f"{SAID}{word.text}"


def words_heard(exchanges: Sequence[Exchange]) -> tuple[str, ...]:
    """Return every word of a run with the turn that it came before, for the report."""
    return tuple(
        f"before turn {number}: {notice.removeprefix(SAID)}"
        for number, exchange in enumerate(exchanges, 1)
        for notice in exchange.notices
        if notice.startswith(SAID)
    )
