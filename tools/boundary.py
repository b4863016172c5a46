"""Where a tool meets the outside: the catalogue it is announced by, and what each fault becomes.

The investigator's mistakes and the limits of the machine become an experiment with an error. Every
other exception is a fault of ours and passes through, so that it is heard of.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import importlib.util
import json
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from tools.experiment import ROOM, Context, Experiment, canonical_json, code_digest, run_experiment
from tools.faults import ResourceFault
from tools.registry import Record, Tool, ToolError

DEFAULT_CATALOGUE = "tools.catalogue:TOOLS"
OWN_MODULE = "tools_from_"
"""What the name of a module begins with that was read from a file."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class WorkerError(Exception):
    """The worker cannot do its work; one line for the user."""


class WorkerRefused(WorkerError):
    """The subject or the catalogue was refused before anything ran."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        """`subject`, `resources` or `catalogue`."""


class WorkerCrash(WorkerError):
    """A fault of ours inside a tool or the worker; the traceback is in the worker's log."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


class Catalogue(Record):
    """What a worker offers: said once, before the first call."""

    tools: tuple[dict[str, Any], ...]
    """Name, description, JSON schema of the arguments, for_investigator."""
    code: str
    """SHA-256 over the sources of the tools, a researcher's own tools included."""
    models: dict[str, str]
    """SHA-256 digests of `subject` and, where there is one, `reference`."""
    facts: dict[str, Any]
    """n_layers, d_model, vocab_size (0 for a black box), has_reference, chat, and what else is known."""
    machine: dict[str, str] = {}
    """What decides how numbers are rounded: where it is the same, outputs are the same. Empty where nobody
    can know, behind an API, and in runs from before this was recorded."""


class Request(Record):
    """One call, as it travels to a worker."""

    id: int
    tool: str
    arguments: dict[str, Any]
    seed: int
    deadline: float = Field(gt=0)
    """Seconds from when the tool starts."""
    blobs: str
    """The folder of the run's blobs: a shared worker serves many runs."""
    judges: bool = False
    """Whether whoever asks can have outputs judged, by frames of kind `judge` and `judged`."""


def catalogue_of(tools: Iterable[Tool], subject: Any, code: str) -> Catalogue:
    """Describe the tools and the subject behind them."""
    return Catalogue(
        tools=tuple(entry_of(tool) for tool in tools),
        code=code,
        models=dict(subject.digests),
        facts=dict(subject.facts),
        machine=dict(getattr(subject, "machine", {})),
    )


def entry_of(tool: Tool) -> dict[str, Any]:
    """Return a tool's entry; one from a file of the researcher's says so."""
    own = tool.function.__module__.startswith(OWN_MODULE)
    return tool.entry() | ({"own": True} if own else {})


def load_tools(references: Sequence[str]) -> tuple[tuple[Tool, ...], str]:
    """Import the tools named by `module:TUPLE` or `FILE.py[:TUPLE]`; return them and their code digest.

    TUPLE is TOOLS where it is left out. Raises `ToolError` for a reference without tools and for two
    tools of one name. The digest covers the tools room and each module outside it that was named.
    """
    found: list[Tool] = []
    outside: list[bytes] = []
    for reference in references:
        module, name = load_module(reference)
        listed: object = getattr(module, name, None)
        if not isinstance(listed, tuple | list) or not all(isinstance(t, Tool) for t in listed):
            raise ToolError(f"{reference}: {name} is no tuple of tools")
        found.extend(listed)
        source = Path(module.__file__ or "")
        if source.parent != ROOM:
            outside.append(source.read_bytes())
    names = [tool.name for tool in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ToolError(f"two tools are called {twice[0]!r}; rename one")
    digest = code_digest()
    for source in outside:
        digest = hashlib.sha256(digest.encode() + hashlib.sha256(source).digest()).hexdigest()
    return tuple(found), digest


def load_module(reference: str) -> tuple[ModuleType, str]:
    """Import the module of a reference; return it with the name of the tuple wanted from it."""
    path, _, name = reference.rpartition(":")
    if not path:
        path, name = reference, "TOOLS"
    if not path.endswith(".py"):
        if not all(part.isidentifier() for part in path.split(".")):
            raise ToolError(f"{path!r} is no Python module; give FILE.py or the name of a module")
        return importlib.import_module(path), name
    if not Path(path).is_file():
        raise ToolError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(f"{OWN_MODULE}{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise ToolError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    # Annotations are looked up through sys.modules when a tool is made.
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ToolError(
            f"{path} cannot be imported: {type(error).__name__}: {one_line(error)}{line_in(path, error)}"
        ) from error
    return module, name


def line_in(path: str, error: BaseException) -> str:
    """Return where in a file an exception was raised, in brackets; nothing where that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = Path(path).resolve()
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == own]
    return f" (line {lines[-1]})" if lines else ""


def call_tool(
    tools: Iterable[Tool], name: str, subject: Any, arguments: Mapping[str, Any], context: Context
) -> Experiment:
    """Run a tool here; mistakes and the machine's limits become an experiment with an error."""
    started = time.monotonic()
    try:
        return run_experiment(tools, name, subject, arguments, context)
    except (ResourceFault, MemoryError, OSError, RuntimeError) as error:
        line = resource_fault(error)
        if line is None:
            raise
        return Experiment(
            tool=name,
            arguments=dict(arguments),
            seed=context.seed,
            models=dict(subject.digests),
            code=code_digest(),
            error=line,
            error_kind="resources",
            seconds=time.monotonic() - started,
        )


def resource_fault(error: BaseException) -> str | None:
    """Return one line if the error is a limit of the machine or numbers that overflowed, else None.

    Out of memory counts when it got this far: the subject has halved its batch down to one by then.
    """
    if isinstance(error, ResourceFault):
        return one_line(error)
    if is_out_of_memory(error):
        return "out of memory; ask for fewer or shorter prompts, layers or samples"
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return "no space left on the disk for the results; free some and resume"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an allocation failed, on the host or on an accelerator."""
    # That module imports torch; where torch's own errors occur it is there already.
    batching = sys.modules.get("tools.batching")
    if batching is None:
        return isinstance(error, MemoryError)
    return batching.is_out_of_memory(error)


def is_poisoned(error: BaseException) -> bool:
    """Say whether the accelerator's context is dead: every later call would fail until a restart."""
    torch_error = getattr(sys.modules.get("torch"), "AcceleratorError", None)
    if torch_error is not None and isinstance(error, torch_error):
        return True
    return isinstance(error, RuntimeError) and str(error).startswith("CUDA error")


def one_line(text: object) -> str:
    """Return a text, or an error's message, on one line, cut at 300 characters."""
    return " ".join(str(text).split())[:300]


def plain_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON gives them back; raise `ToolError` for what JSON in UTF-8 cannot hold."""
    try:
        return json.loads(canonical_json(dict(arguments)).encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise ToolError(f"the arguments are no JSON object: {one_line(error)}") from None
