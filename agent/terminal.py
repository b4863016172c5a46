"""The only place that writes to a terminal: data on stdout, talk on stderr, exit codes.

Faults become one clear line and a documented exit code; only faults of ours keep their traceback.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Generator
from typing import Any, NoReturn

import typer

from agent.safe_text import safe_text

OK, OURS, USAGE, VERIFY_FAILED, CONFIGURATION, RESOURCES, LOCKED, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    130,
)
EXIT_CODES = """Exit codes: 0 ok, 1 a fault of ours, 2 wrong usage or input, 3 verification failed,
4 key, model or configuration, 5 resources (disk, memory, a provider that fails),
6 the run is locked, 130 interrupted."""


def say(text: str) -> None:
    """Write a line of talk to stderr, harmless whatever it holds."""
    typer.echo(safe_text(text), err=True)


def put(text: str) -> None:
    """Write data to stdout, harmless whatever it holds."""
    typer.echo(safe_text(text))


def put_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True, sort_keys=True))


def fail(code: int, text: str) -> NoReturn:
    """Say why and leave with a documented code."""
    say(f"naturalist: {text}")
    raise typer.Exit(code)


@contextlib.contextmanager
def faults_told(run: str | None = None) -> Generator[None]:
    """Turn the faults of users and of the world into one line and an exit code."""
    from agent.case import CaseError
    from agent.llm.faults import LLMError
    from agent.run_folder import RunDamaged, RunError, RunLocked
    from tools.boundary import WorkerCrash, WorkerError, WorkerRefused
    from tools.registry import ToolError

    again = f" What was done is kept; go on with: naturalist resume {run}" if run else ""
    expected: dict[type[BaseException], tuple[int, str]] = {
        CaseError: (USAGE, ""),
        ToolError: (USAGE, ""),
        RunLocked: (LOCKED, "; wait for it, or stop that process"),
        RunDamaged: (VERIFY_FAILED, "; `naturalist verify` says what is still readable"),
        RunError: (USAGE, ""),
        WorkerError: (OURS, f".{again}"),
    }
    try:
        yield
    except WorkerRefused as error:
        codes = {"resources": RESOURCES, "catalogue": USAGE}
        fail(codes.get(error.kind, CONFIGURATION), str(error))
    except tuple(expected) as error:
        if isinstance(error, WorkerCrash) and error.trace:
            sys.stderr.write(safe_text(error.trace) + "\n")
        code, advice = next(expected[kind] for kind in expected if isinstance(error, kind))
        fail(code, f"{error}{advice}")
    except LLMError as error:
        wrong = error.kind in ("auth", "invalid")
        fail(CONFIGURATION if wrong else RESOURCES, f"{error.whose}: {error}.{again}")
    except KeyboardInterrupt:
        fail(INTERRUPTED, f"interrupted.{again}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fail(RESOURCES, f"no space left on the disk.{again or ' Free some and try again.'}")
        raise


class Progress:
    """A progress line on stderr while a tool works; silent when stderr is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.active = not quiet and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, fraction: float, note: str) -> None:
        """Show the share done (0 to 1) and what is being done."""
        if not self.active:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TimeElapsedColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=1.0)
            self._bar.start()
        self._bar.update(self._task, completed=fraction, description=safe_text(note)[:60])

    def close(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class Steps:
    """Progress through several calls of a tool, as one line that goes from the first to the last."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.done, self.count, self.name = 0, 1, ""

    def begin(self, done: int, count: int, name: str) -> None:
        """Go on to a step: so many of so many are done."""
        self.done, self.count, self.name = done, count, name
        self(0.0, "")

    def __call__(self, fraction: float, note: str) -> None:
        """Show the share of this step that is done (0 to 1)."""
        text = f"{self.done + 1} of {self.count}: {self.name} {note}"
        self.progress((self.done + fraction) / self.count, text)

    def close(self) -> None:
        """Take the line away, until the next step."""
        self.progress.close()
