"""Does a killed investigation come to what an unkilled one does? `python -m evals.kill_trial`.

An investigation is run whole, and again under `kill -9` at random moments, resumed after each. Both
must leave the same events in the same order, times and process ids aside: no completed experiment
lost, no prompts drawn twice, the same findings.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "evals" / "cases" / "number_comparison.toml"
TIMES = ("seconds", "minutes", "at")
UNCOMPARED = ("run_resumed", "clock", "run_opened")
SHORTEST = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial; 1 when a killed run came to something else."""
    parser = argparse.ArgumentParser(prog="python -m evals.kill_trial", description=__doc__)
    parser.add_argument("--case", type=Path, default=DEMO)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--each", type=int, default=4, help="kills a run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are left")
    given = parser.parse_args(arguments)
    rng = random.Random(given.seed)
    begun = time.monotonic()
    whole, _ = investigated(given.case, given.out / "whole", given.seed, [])
    seconds = time.monotonic() - begun
    wanted, spent, same = outcome(whole), 0, True
    while spent < given.kills:
        # A killed run starts its worker again, so that the moments spread over all of a run.
        number = min(given.each, given.kills - spent)
        moments = [rng.uniform(SHORTEST, 2 * seconds / (number + 1)) for _ in range(number)]
        path, fell = investigated(given.case, given.out / f"killed-{spent}", given.seed, moments)
        spent += max(1, len(fell))
        agrees = outcome(path) == wanted
        same = same and agrees
        told = "the same" if agrees else "SOMETHING ELSE"
        sys.stdout.write(f"killed {len(fell)} times, after events {fell}: {told}\n")
        sys.stdout.flush()
    return 0 if same else 1


def investigated(
    case: Path, runs: Path, seed: int, moments: Sequence[float]
) -> tuple[Path, list[int]]:
    """Investigate to the end, killed after each of the given seconds; return the run and its kills.

    A kill is given as the number of events that were in the log.
    """
    command = ["investigate", str(case), "--seed", str(seed), "--runs", str(runs)]
    fell: list[int] = []
    for moment in [*moments, None]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "naturalist.py"), *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, told = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            found = logged(runs)
            if found:
                command = ["resume", str(found[0])]
                fell.append(found[0].joinpath("events.jsonl").read_bytes().count(b"\n"))
            continue
        if process.returncode != 0:
            raise RuntimeError(f"exit {process.returncode}: {told.decode(errors='replace')[-800:]}")
        break
    return logged(runs)[0], fell


def logged(runs: Path) -> list[Path]:
    """Return the runs in a folder that have begun to write their log."""
    return [log.parent for log in runs.glob("*/events.jsonl") if log.stat().st_size]


def outcome(path: Path) -> list[Any]:
    """Return what a run came to: its events and experiments in order, times and resumptions aside."""
    folder = RunFolder(path)
    found: list[Any] = []
    for event in folder.events:
        if event.type in UNCOMPARED:
            continue
        data = {name: value for name, value in event.data.items() if name not in TIMES}
        if event.type == "experiment":
            done = folder.get_json(data.pop("blob"))
            data["content"] = {name: value for name, value in done.items() if name not in TIMES}
        found.append([event.type, data])
    folder.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
