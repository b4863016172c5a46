"""What tests of processes share: a table, a file of tools, and ways to watch a process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = str(Path(__file__).with_name("worker_tools.py"))
TABLE = """
[[behaviours]]
shown = ["yes"]
otherwise = ["no"]
"""


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_running(process: int) -> bool:
    """A zombie that nobody has collected does not count as running."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
