"""Responses on file, by the request that they answered: a conversation played again without a provider."""

from __future__ import annotations

import threading
from pathlib import Path

from agent.llm.conversation import Client, Reply, Request
from agent.llm.faults import LLMError
from tools.registry import Record

WRITING = threading.Lock()
"""Judges answer several requests at a time, and may share a file with the investigator."""


class Entry(Record):
    """One line of a cassette."""

    key: str
    reply: Reply


class CassetteClient:
    """Answers from a JSONL file; what is not in it goes to `inner` and is kept, or is an error."""

    def __init__(self, path: Path, inner: Client | None = None) -> None:
        self.path, self.inner = path, inner
        self.replies: dict[str, Reply] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = Entry.model_validate_json(line)
                self.replies[entry.key] = entry.reply

    def generate(self, request: Request) -> Reply:
        """Return the recorded reply to exactly this request; raise `LLMError` when there is none."""
        key = request.key()
        if key in self.replies:
            return self.replies[key]
        if self.inner is None:
            raise LLMError("invalid", f"{self.path} holds no reply to this request ({key[:12]})")
        reply = self.inner.generate(request)
        with WRITING, self.path.open("a", encoding="utf-8") as file:
            file.write(Entry(key=key, reply=reply).model_dump_json() + "\n")
        self.replies[key] = reply
        return reply

    def context_window(self, model: str) -> int | None:
        """Return what the inner client says; a cassette knows no window."""
        return self.inner.context_window(model) if self.inner else None

    def close(self) -> None:
        """Close the inner client."""
        if self.inner:
            self.inner.close()
