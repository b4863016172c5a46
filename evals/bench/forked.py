"""A sitting in a process that was forked with everything imported; see `evals/bench/pool.py`.

It runs the command of any sitting, `naturalist bench sitting`. What this module imports, a fork has already;
none of it may load torch, whose threads a fork would not have.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from agent import rendering, systematic
from evals.bench import baselines, cheater, elicitation, sitting
from evals.bench.tasks import every_task

FRONT_DOOR: Any = import_module("naturalist")
"""By name: it imports this room."""
IMPORTED = (rendering, systematic, baselines, cheater, elicitation, sitting, every_task())


def run_sitting(words: Sequence[str], log: Path) -> None:
    """Run `naturalist` with these words, its talk in `log`; ends with the process that asked for the fork."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.exit(FRONT_DOOR.app(list(words), standalone_mode=False))


def end_with_parent() -> None:
    """End this process when the pool is gone, whatever it was killed by: a pool that is stopped has stopped."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
