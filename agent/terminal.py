"""The only place that writes to a terminal: data on stdout, talk on stderr, exit codes.

Faults become one clear line and a documented exit code; only faults of ours keep their traceback.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Generator
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from agent.exit_codes import (
    CONFIGURATION,
    EXIT_CODES,
    INTERRUPTED,
    LOCKED,
    OK,
    OURS,
    RESOURCES,
    USAGE,
    VERIFY_FAILED,
)
from agent.safe_text import safe_text

__all__ = [
    "CONFIGURATION",
    "EXIT_CODES",
    "INTERRUPTED",
    "LOCKED",
    "OK",
    "OURS",
    "RESOURCES",
    "USAGE",
    "VERIFY_FAILED",
    "Progress",
    "ToldGroup",
    "fail",
    "faults_told",
    "put",
    "put_json",
    "say",
]


def say(text: str) -> None:
    """Write a line of talk to stderr, harmless whatever it holds."""
    typer.echo(safe_text(text), err=True)


def put(text: str) -> None:
    """Write data to stdout, harmless whatever it holds."""
    put_line(safe_text(text))


def put_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    put_line(json.dumps(value, indent=2, ensure_ascii=True, sort_keys=True))


def put_line(line: str) -> None:
    """Write to stdout, in ASCII where it takes nothing else.

    Once its reader has gone (`| head -1`) nothing more is written, and no command fails.
    """
    try:
        typer.echo(line)
    except UnicodeEncodeError:
        put_line(line.encode("ascii", "backslashreplace").decode())
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def fail(code: int, text: str) -> NoReturn:
    """Say why and leave with a documented code."""
    say(f"naturalist: {text}")
    raise typer.Exit(code)


@contextlib.contextmanager
def faults_told(run: str | None = None) -> Generator[None]:
    """Turn the faults of users and of the world into one line and an exit code.

    The command line stands in one of these as a whole; a command needs its own where there is a `run` that
    can be resumed.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, TyperException):
        raise
    except (Exception, KeyboardInterrupt) as error:
        # What is known of faults is imported when there is one: `--help` waits for nothing.
        from agent.told_faults import told

        found = told(error, run)
        if found is None:
            raise
        if found.trace:
            sys.stderr.write(safe_text(found.trace) + "\n")
        fail(found.code, found.line)


class ToldGroup(TyperGroup):
    """The command line as a whole: a fault in any command is told."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with faults_told():
            return super().invoke(ctx)


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
