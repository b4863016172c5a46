"""Who runs the sittings of a plan: the local pool (`evals/bench/pool.py`), or a cluster.

A sitting is a command, idempotent and resumable, so a driver has little to do: start what has no result, and
start again what fell. Two that start the same sitting do no harm to the result, which is written as a whole;
a lock keeps them from doing the work twice.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evals.bench.records import Plan, Sitting

ROOT = Path(__file__).parent.parent.parent


def command_of(out: Path, sitting: Sitting, options: Sequence[str] = ()) -> list[str]:
    """Return the command that runs one sitting."""
    return [sys.executable, str(ROOT / "naturalist.py"), *words_of(out, sitting, options)]


def words_of(out: Path, sitting: Sitting, options: Sequence[str] = ()) -> list[str]:
    """Return the words for `naturalist` that run one sitting."""
    return ["bench", "sitting", str(out), sitting.name, *options]


def left(out: Path, plan: Plan) -> list[Sitting]:
    """Return the sittings that have no result yet."""
    done = {path.stem for path in (out / "results").glob("*.json")}
    return [sitting for sitting in plan.sittings if sitting.name not in done]


@contextmanager
def taken(out: Path, sitting: Sitting, *, wait: bool = False) -> Generator[bool]:
    """Hold the sitting's lock; where somebody else does, gives False, or waits for them."""
    path = out / "locks" / f"{sitting.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield False
            return
        yield True


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
