"""What an investigator is examined in, a file for each task.

A module in this folder with a `TASK` is a task; nothing else has to be told of it. A task reads what was
handed in (`evals/bench/paper.py`) and returns a score, or None where it cannot be asked of this specimen.
It must not know which tools there are.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol

from evals.bench.paper import Paper
from evals.bench.records import Score


class Task(Protocol):
    """One way of asking what was understood."""

    name: str

    def score(self, paper: Paper) -> Score | None:
        """Return the score; None where the task is not for this specimen."""
        ...


def every_task() -> list[Task]:
    """Return the tasks of this folder, by name."""
    modules = [each.name for each in pkgutil.iter_modules(__path__, f"{__name__}.")]
    found: list[Task] = [importlib.import_module(name).TASK for name in modules]
    return sorted(found, key=lambda task: task.name)
