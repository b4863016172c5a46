"""What a fault of a user or of the world is told as: one line (what, why, what to do) and an exit code."""

from __future__ import annotations

import errno
from typing import NamedTuple

from agent.case import CaseError
from agent.exit_codes import (
    CONFIGURATION,
    INTERRUPTED,
    LOCKED,
    OURS,
    RESOURCES,
    USAGE,
    VERIFY_FAILED,
)
from agent.llm.faults import LLMError
from agent.run_folder import RunDamaged, RunError, RunLocked
from tools.boundary import WorkerCrash, WorkerError, WorkerRefused
from tools.faults import SubjectRefused
from tools.registry import ToolError

FULL = (errno.ENOSPC, errno.EDQUOT)
PATHS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)
"""What is wrong with a path that was given, or with what lies there."""


class Told(NamedTuple):
    """How a fault is told."""

    code: int
    line: str
    trace: str = ""


EXPECTED: dict[type[BaseException], tuple[int, str]] = {
    CaseError: (USAGE, ""),
    ToolError: (USAGE, ""),
    RunLocked: (LOCKED, "; wait for it, or stop that process"),
    RunDamaged: (VERIFY_FAILED, "; `naturalist verify` says what is still readable"),
    RunError: (USAGE, ""),
    SubjectRefused: (CONFIGURATION, ""),
}
REFUSED = {"resources": RESOURCES, "catalogue": USAGE}


def told(error: BaseException, run: str | None) -> Told | None:
    """Return how a fault is told, None for one of ours; `run` is what a user can go on with."""
    again = f" What was done is kept; go on with: naturalist resume {run}" if run else ""
    match error:
        case WorkerRefused():
            return Told(REFUSED.get(error.kind, CONFIGURATION), str(error))
        case WorkerError():
            trace = error.trace if isinstance(error, WorkerCrash) else ""
            return Told(OURS, f"{error}.{again}", trace)
        case LLMError():
            wrong = error.kind in ("auth", "invalid")
            return Told(CONFIGURATION if wrong else RESOURCES, f"{error.whose}: {error}.{again}")
        case KeyboardInterrupt():
            return Told(INTERRUPTED, f"interrupted.{again}")
        case OSError():
            return told_of_system(error, again)
        case RuntimeError() if str(error).startswith("Symlink loop"):
            # How `Path.resolve` says it before Python 3.13.
            return Told(USAGE, f"{error}; give another path, or put right what is there.{again}")
        case _:
            kinds = [kind for kind in EXPECTED if isinstance(error, kind)]
            if not kinds:
                return None
            code, advice = EXPECTED[kinds[0]]
            return Told(code, f"{error}{advice}")


def told_of_system(error: OSError, again: str) -> Told | None:
    """Return how a full disk or a path that cannot be used is told."""
    if error.errno in FULL:
        return Told(RESOURCES, f"no space left on the disk.{again or ' Free some and try again.'}")
    if error.errno in PATHS and error.filename is not None:
        why = str(error.strerror).lower()
        return Told(
            USAGE, f"{error.filename}: {why}; give another path, or put right what is there.{again}"
        )
    return None
