"""One tool call, complete: what was asked, what came of it, and what is needed to do it again."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tools.blobs import BlobStore
from tools.judging import Judge
from tools.registry import Record, Tool, ToolError, find_tool

ROOM = Path(__file__).parent


@dataclass(frozen=True)
class Context:
    """What a tool call gets beside its subject and arguments."""

    seed: int
    """All randomness of the call comes from this number."""
    blobs: BlobStore
    """Where tensors and tables go; a result names them by hash."""
    progress: Callable[[float, str], None] = lambda fraction, note: None
    """Called with the share done (0 to 1) and a word on what is being done."""
    judge: Judge | None = None
    """Has outputs read by judges; None where there are none."""


class Experiment(Record):
    """A tool call with its result or its error."""

    tool: str
    arguments: dict[str, Any]
    seed: int
    models: dict[str, str]
    """SHA-256 digests of the weights behind `subject` and `reference`."""
    code: str
    """SHA-256 over the sources of the tools room."""
    result: dict[str, Any] | None = None
    error: str | None = None
    error_kind: (
        Literal["investigator", "resources", "deadline", "worker_lost", "cancelled"] | None
    ) = None
    seconds: float = 0.0


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def call_key(
    tool: str, arguments: Mapping[str, Any], models: Mapping[str, str], code: str, seed: int
) -> str:
    """Return the idempotency key of a call: the same key, the same experiment."""
    return hashlib.sha256(
        canonical_json([tool, arguments, models, code, seed]).encode()
    ).hexdigest()


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 over the sources of the tools room, by file name."""
    total = hashlib.sha256()
    for path in sorted(ROOM.glob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def run_experiment(
    tools: Iterable[Tool], name: str, subject: Any, arguments: Mapping[str, Any], context: Context
) -> Experiment:
    """Run a tool in this process. The investigator's mistakes become an experiment with an error."""
    started = time.monotonic()
    fields: dict[str, Any] = {
        "tool": name,
        "arguments": dict(arguments),
        "seed": context.seed,
        "models": dict(subject.digests),
        "code": code_digest(),
    }
    try:
        result = find_tool(tools, name)(subject, arguments, context).model_dump(mode="json")
    except ToolError as error:
        seconds = time.monotonic() - started
        return Experiment(**fields, error=str(error), error_kind="investigator", seconds=seconds)
    return Experiment(**fields, result=result, seconds=time.monotonic() - started)
