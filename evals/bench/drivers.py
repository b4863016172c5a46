"""Who runs the sittings of a plan: processes of this machine, or a cluster.

A sitting is a command, idempotent and resumable, so a driver has little to do: start what has no result, and
start again what fell. Two that start the same sitting do no harm to the result, which is written as a whole;
a lock keeps them from doing the work twice.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from evals.bench.records import Plan, Sitting
from evals.bench.sitting import result_path

ROOT = Path(__file__).parent.parent.parent
TRIES = 3
"""A sitting whose process died, for whatever reason, is started so often in all."""


def command_of(out: Path, sitting: Sitting, options: Sequence[str] = ()) -> list[str]:
    """Return the command that runs one sitting."""
    front_door = str(ROOT / "naturalist.py")
    return [sys.executable, front_door, "bench", "sitting", str(out), sitting.name, *options]


def left(out: Path, plan: Plan) -> list[Sitting]:
    """Return the sittings that have no result yet."""
    done = {path.stem for path in (out / "results").glob("*.json")}
    return [sitting for sitting in plan.sittings if sitting.name not in done]


@contextmanager
def taken(out: Path, sitting: Sitting) -> Generator[bool]:
    """Hold the sitting's lock; gives False where somebody else does."""
    path = out / "locks" / f"{sitting.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def run_here(
    out: Path,
    plan: Plan,
    processes: int,
    *,
    until: float = float("inf"),
    options: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Run what is left with so many processes side by side; return how many came to no result.

    Nothing new is begun after `until` (seconds since the epoch).
    """
    waiting = left(out, plan)
    failed = 0
    with ThreadPoolExecutor(max(1, processes)) as pool:
        started = {pool.submit(in_process, out, each, until, options): each for each in waiting}
        for number, finished in enumerate(as_completed(started), 1):
            told = finished.result()
            failed += told is not None
            say(f"{number}/{len(waiting)} {started[finished].name}: {told or 'done'}")
    return failed


def in_process(out: Path, sitting: Sitting, until: float, options: Sequence[str]) -> str | None:
    """Run one sitting in a process of its own, again if it died; return why there is no result, or None."""
    told = "not begun: the time was up"
    log = out / "logs" / f"{sitting.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        if time.time() >= until:
            break
        with log.open("ab") as file:
            process = subprocess.run(
                command_of(out, sitting, options),
                stdout=file,
                stderr=subprocess.STDOUT,
                # Two processes that share two cores stall with two threads each.
                env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
                check=False,
            )
        if result_path(out, sitting).exists():
            return None
        told = f"exit {process.returncode}; see {log}"
    return told


def submit(
    out: Path,
    plan: Plan,
    cluster: str | None,
    parameters: dict[str, object],
    options: Sequence[str] = (),
) -> list[str]:
    """Hand what is left to SLURM through submitit, one job each; return the jobs' ids.

    `cluster` is submitit's: None finds SLURM, `local` runs here. Needs the extra `slurm`. Raises
    `ImportError` without it.
    """
    import submitit

    executor = submitit.AutoExecutor(folder=str(out / "jobs"), cluster=cluster)
    executor.update_parameters(name="naturalist", **parameters)
    waiting = left(out, plan)
    with executor.batch():
        jobs = [
            executor.submit(
                # A command and no pickled function: a job may start after the code has changed.
                submitit.helpers.CommandFunction(command_of(out, sitting, options), verbose=False)
            )
            for sitting in waiting
        ]
    return [str(job.job_id) for job in jobs]
