"""Does an exam whose pool is killed come to the table of one that is not? `python -m evals.bench.kill_trial`.

Sittings before tables (the suite `drill`) are run one after the other, and once more by a pool that is killed
with SIGKILL at random moments and started again until all are there. Every sitting must be complete, none be
sat twice, and both tables the same but for what it cost.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agent.run_folder import RunFolder
from evals.bench.drivers import ROOT, left
from evals.bench.plan import Wanted, plan_exam, read_plan, write_plan
from evals.bench.records import Cost, Plan, SittingResult
from evals.bench.scores import score
from evals.bench.sitting import read_results
from evals.bench.suites import DRILLS

WHO = ("systematic", "black-box", "screens-only", "cheater")
SECRET = "kill trial"
SHORTEST = 0.1
"""Seconds that a pool has at least."""
LOOK_S = 0.05
STARTING = 0.2
"""The share of kills whose moment is counted from the start of the pool, and not from that of its first sitting."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial; 1 when anything is missing, twice, or another."""
    parser = argparse.ArgumentParser(prog="python -m evals.bench.kill_trial", description=__doc__)
    parser.add_argument("--cells", type=int, default=200, help="sittings")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2, help="of the pool that is killed")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--out", type=Path, required=True, help="where both exams are left")
    given = parser.parse_args(arguments)
    whole, killed = given.out / "whole", given.out / "killed"
    plan = planned(whole, given.cells)
    begun = time.monotonic()
    started(whole, 1).wait()
    seconds = time.monotonic() - begun
    told = [f"unkilled, one after the other: {seconds / given.cells:.2f} s a sitting"]
    planned(killed, given.cells)
    rng, fell = random.Random(given.seed), 0
    most = max(2 * seconds / given.processes / (given.kills + 1), 2 * SHORTEST)
    while left(killed, plan):
        moment = rng.uniform(SHORTEST, most) if fell < given.kills else None
        # Some fall while they are still starting, and before they have begun anything.
        sitting = rng.random() > STARTING
        if not killed_after(killed, given.processes, moment, sitting=sitting):
            # It has come to its own end, whatever is left.
            break
        fell += 1
    told.append(f"killed {fell} times")
    faults = [*faults_of(killed, plan), *differences(whole, killed)]
    sys.stdout.write(
        "\n".join([*told, *(faults or ["all complete, none twice, the same table"]), ""])
    )
    return 1 if faults else 0


def planned(out: Path, cells: int) -> Plan:
    """Plan so many sittings, the same in every folder."""
    rounds = -(-cells // (len(WHO) * sum(DRILLS)))
    plan = plan_exam(
        "drill", out, Wanted(everything=WHO, seeds=rounds, null_runs=rounds * DRILLS[1]), SECRET
    )
    return write_plan(out, plan.model_copy(update={"sittings": plan.sittings[:cells]}))


def started(out: Path, processes: int) -> subprocess.Popen[bytes]:
    """Start a pool on what is left of the exam in `out`; what it says goes into a file beside it."""
    command = [sys.executable, str(ROOT / "naturalist.py"), "bench", "run", "drill"]
    with (out / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [*command, "--out", str(out), "--processes", str(processes)], stderr=said
        )


def killed_after(out: Path, processes: int, seconds: float | None, *, sitting: bool) -> bool:
    """Start a pool and kill it, and nothing that it started, after so long; say whether it fell.

    With `sitting` the time counts from when its first sitting has begun.
    """
    before = time.time()
    pool = started(out, processes)
    while sitting and pool.poll() is None and not begun_since(out, before):
        time.sleep(LOOK_S)
    try:
        pool.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        pool.send_signal(signal.SIGKILL)
        pool.wait()
        return True
    return False


def begun_since(out: Path, moment: float) -> bool:
    """Say whether a sitting has begun or gone on since a moment, in seconds since the epoch."""
    logs = (out / "sittings").glob("*/events.jsonl")
    return any(log.stat().st_mtime >= moment for log in logs)


def faults_of(out: Path, plan: Plan) -> list[str]:
    """Return what is missing and what was done twice."""
    faults = [f"{each.name}: no result" for each in left(out, plan)]
    done = Counter(
        line.split()[1].rstrip(":")
        for line in (out / "said.txt").read_text(encoding="utf-8").splitlines()
        if line.endswith(": done")
    )
    faults += [f"{name}: done {count} times" for name, count in done.items() if count > 1]
    for result in read_results(out):
        if result.error is not None or result.run is None:
            faults.append(f"{result.sitting.name}: {result.error}")
            continue
        with RunFolder(out / result.run) as folder:
            kinds = Counter(event.type for event in folder.events)
        if (kinds["run_opened"], kinds["run_ended"]) != (1, 1):
            faults.append(f"{result.sitting.name}: opened or ended more than once")
    return faults


def differences(whole: Path, killed: Path) -> list[str]:
    """Return the sittings that came to another result, and whether the tables differ."""
    one, other = (costless(out) for out in (whole, killed))
    faults = [
        f"{name}: another result"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
    plan = read_plan(whole)
    tables = [score(plan, each.values()) for each in (one, other)]
    return [*faults, *([] if tables[0] == tables[1] else ["another table"])]


def costless(out: Path) -> dict[str, SittingResult]:
    """Return an exam's results without their cost: what a killed sitting took was spent before the kill."""
    return {
        each.sitting.name: each.model_copy(update={"cost": Cost()}) for each in read_results(out)
    }


if __name__ == "__main__":
    sys.exit(main())
