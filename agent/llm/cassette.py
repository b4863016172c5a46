"""Responses on file, by the request that they answered: a conversation played again without a provider."""

from __future__ import annotations

import hashlib
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

from agent.investigation import NOTHING_SPENT
from agent.llm.conversation import Client, Reply, Request
from agent.llm.faults import LLMError
from tools.registry import Record, ToolError

BEGINS = b'{"key":'
"""What every line of a cassette begins with."""
WRITING = threading.Lock()
"""Judges answer several requests at a time, and may share a file with the investigator."""


class Entry(Record):
    """One line of a cassette."""

    key: str
    reply: Reply
    scope: str = ""
    """Who was asked, where one file holds the replies of several: part of the key."""


class CassetteClient:
    """Answers from a JSONL file; what is not in it goes to `inner` and is kept, or is an error.

    Any number of threads may ask; the same request is sent once, and the others wait for its reply.
    """

    def __init__(self, path: Path, inner: Client | None = None, scope: str = "") -> None:
        """`scope` tells apart who was asked: the same request to another subject is another one."""
        self.path, self.inner, self.scope = path, inner, scope
        self.lock = threading.Lock()
        self.replies: dict[str, Future[Reply]] = {}
        self.spent = NOTHING_SPENT
        """What all replies on file in this scope cost when they were asked for."""
        for entry in read_entries(path):
            if entry.scope == scope:
                self.replies[entry.key] = future = Future()
                future.set_result(entry.reply)
                self.spent = self.spent.plus(entry.reply.spent)

    def generate(self, request: Request) -> Reply:
        """Return the recorded reply to exactly this request; raise `LLMError` when there is none."""
        key = request.key()
        if self.scope:
            key = hashlib.sha256(f"{self.scope}\0{key}".encode()).hexdigest()
        with self.lock:
            future = self.replies.get(key)
            asks = future is None
            if future is None:
                future = self.replies[key] = Future()
        if asks:
            self.ask(key, request, future)
        return future.result()

    def ask(self, key: str, request: Request, future: Future[Reply]) -> None:
        """Ask the inner client and keep its reply; a failure is forgotten, so that it can be tried again."""
        try:
            if self.inner is None:
                raise LLMError(
                    "invalid", f"{self.path} holds no reply to this request ({key[:12]})"
                )
            reply = self.inner.generate(request)
            self.keep(Entry(key=key, reply=reply, scope=self.scope))
            future.set_result(reply)
        finally:
            if not future.done():
                with self.lock:
                    del self.replies[key]
                # Others may wait for the same reply.
                future.set_exception(sys.exception() or LLMError("transient", "given up"))

    def keep(self, entry: Entry) -> None:
        """Write an entry to the file, and count what it cost."""
        line = entry.model_dump_json(exclude=None if self.scope else {"scope"}) + "\n"
        with WRITING, self.path.open("a", encoding="utf-8") as file:
            file.write(line)
        with self.lock:
            self.spent = self.spent.plus(entry.reply.spent)

    def context_window(self, model: str) -> int | None:
        """Return what the inner client says; a cassette knows no window."""
        return self.inner.context_window(model) if self.inner else None

    def close(self) -> None:
        """Close the inner client."""
        if self.inner:
            self.inner.close()


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a cassette; a last line that was cut off in the middle is taken away.

    Raises `ToolError` for a file that is none, and leaves that as it is.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    tail = content[whole:]
    entries: list[Entry] = []
    try:
        for line in content[:whole].split(b"\n")[:-1]:
            entries.append(Entry.model_validate_json(line))
        if tail[: len(BEGINS)] != BEGINS[: len(tail)]:
            raise ValueError
    except ValueError:
        raise ToolError(
            f"{path}: line {len(entries) + 1} is no reply on file; give a cassette, or a new name for one"
        ) from None
    if tail:
        # A process killed while it wrote: the next line must not be joined to this one.
        with path.open("r+b") as file:
            file.truncate(whole)
    return entries
