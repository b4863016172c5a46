"""How often is the planted cause supported, and how often something false? Run by `make evidence`.

Organisms are built then and there from seeds that no committed file names: they are drawn from the
operating system's randomness into the evidence folder, which is not kept in git. A run that was
stopped continues where it was: builds, investigations and grades are files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from evals.cells import CASES, Cell, CellResult, Kind, as_row, build, read_results, run_cell
from evals.evidence_table import write_table
from evals.null_registrations import rejection_rates

FAMILIES = tuple(CASES)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, investigate, grade, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m evals.evidence", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("evidence"), help="where everything is kept"
    )
    parser.add_argument("--builds", type=int, default=10, help="organisms a family")
    parser.add_argument("--seeds", type=int, default=2, help="investigations an organism")
    parser.add_argument(
        "--nulls", type=int, default=30, help="runs on exact nulls, and as many on benign twins"
    )
    parser.add_argument(
        "--null-runs", type=int, default=2000, help="runs of true-null registrations"
    )
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2)))
    parser.add_argument(
        "--table", type=Path, default=Path("evals/evidence.md"), help="the table to write"
    )
    given = parser.parse_args(arguments)
    seeds = drawn_seeds(given.out, max(given.builds, given.nulls))
    cells = planned_cells(seeds, given.builds, given.seeds, given.nulls)
    missed = build_all(given.out, cells, given.processes)
    run_all(given.out, [cell for cell in cells if build_key(cell) not in missed], given.processes)
    rates = kept(
        given.out / "null_registrations.json",
        lambda: rejection_rates(given.null_runs, given.processes),
    )
    results = read_results(given.out)
    write_table(given.table, results, missed, rates)
    sys.stdout.write(f"{given.table}\n")


def drawn_seeds(out: Path, count: int) -> list[int]:
    """Return the secret build seeds of this evidence folder, drawn once."""
    stored: list[int] = kept(out / "seeds.json", list)
    while len(stored) < count:
        stored.append(secrets.randbelow(2**31))
    (out / "seeds.json").write_text(json.dumps(stored), encoding="utf-8")
    return stored


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return what the file holds, or make it and write it."""
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    value = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return value


def planned_cells(seeds: Sequence[int], builds: int, investigations: int, nulls: int) -> list[Cell]:
    """Return every cell: organisms, benign twins and nulls, dealt over the families.

    A twin is investigated as often as an organism. Interleaved, so that a run that is stopped early has
    some of everything.
    """
    cells: list[Cell] = []

    def deal(family: str, kind: Kind, number: int, investigated: Iterable[int]) -> None:
        build = seeds[number]
        cells.extend(
            Cell(family=family, kind=kind, build=build, seed=seed) for seed in investigated
        )

    every = range(1, investigations + 1)
    for number in range(max(builds, nulls)):
        for place, family in enumerate(FAMILIES):
            dealt = number % len(FAMILIES) == place
            if number < builds:
                deal(family, "organism", number, every)
            if dealt and number * investigations < nulls:
                deal(family, "benign", number, every)
            if dealt and number < nulls:
                deal(family, "null", number, [number + 1])
    return cells


def build_key(cell: Cell) -> tuple[str, Kind, int]:
    """Return what identifies the organism of a cell."""
    return (cell.family, cell.kind, cell.build)


def build_all(out: Path, cells: Sequence[Cell], processes: int) -> dict[tuple[str, Kind, int], str]:
    """Build every organism; return those that missed their gates, with what they missed."""
    wanted = list(dict.fromkeys(build_key(cell) for cell in cells if cell.kind != "null"))
    missed: dict[tuple[str, Kind, int], str] = {}
    with pool_of(processes) as pool:
        started = {pool.submit(build, out, *key): key for key in wanted}
        for done in as_completed(started):
            told = done.result()
            say(f"build {started[done]}: {told or 'ok'}")
            if told is not None:
                missed[started[done]] = told
    return missed


def run_all(out: Path, cells: Sequence[Cell], processes: int) -> list[CellResult]:
    """Run and grade every cell."""
    results: list[CellResult] = []
    with pool_of(processes) as pool:
        started = [pool.submit(run_cell, out, cell) for cell in cells]
        for done in as_completed(started):
            results.append(done.result())
            say(f"{len(results)}/{len(cells)} {as_row(results[-1])}")
    return results


def pool_of(processes: int) -> ProcessPoolExecutor:
    """Return fresh processes of one thread each: two that share two cores stall with two threads each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


def say(text: str) -> None:
    """Write a line of talk."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
