"""Runs as the review page has them open: read from the log once, and again when the log is another one."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from agent.opening import read_run
from agent.rendering import as_json
from agent.report import build_report
from agent.review.comparison import side_of
from agent.run_folder import RunError
from agent.verify import UNUSABLE

MOST_OPEN = 64
"""Runs that are kept open; a report is small beside the log that it was built from."""


class Opened:
    """A run's report, and what a comparison with another run needs."""

    def __init__(self, path: Path) -> None:
        investigation = read_run(path)
        self.report = build_report(investigation)
        self.digest = hashlib.sha256(as_json(self.report).encode()).hexdigest()
        """SHA-256 of report.json."""
        self.side = side_of(investigation, self.report.findings)


@lru_cache(maxsize=MOST_OPEN)
def opened_as(path: Path, size: int, changed: int) -> Opened:
    """Open a run as it is at that size and time."""
    return Opened(path)


def opened(path: Path) -> Opened:
    """Open a run, or return it as it was opened before if its log is still the same.

    Raises `RunError` for one that cannot be read, in one line.
    """
    try:
        seen = (path / "events.jsonl").stat()
        return opened_as(path, seen.st_size, seen.st_mtime_ns)
    except (OSError, *UNUSABLE) as error:
        raise RunError(f"{error}"[:500] or type(error).__name__) from None
