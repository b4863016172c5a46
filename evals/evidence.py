"""How often is the planted cause supported, and how often something false? Run by `make evidence`.

Organisms are built then and there from seeds that no committed file names: they are drawn from the
operating system's randomness into the evidence folder, which is not kept in git. A run that was
stopped continues where it was: builds, investigations and grades are files.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from evals.cells import (
    BuildKey,
    Cell,
    Kind,
    as_row,
    build,
    build_key,
    missed_builds,
    read_results,
    run_cell,
)
from evals.evidence_table import write_table
from evals.null_registrations import MEASURES, rejection_rates
from evals.null_registrations import Kind as MeasureKind
from evals.organisms.registry import developed_on
from evals.processes import pool_of

TWIN_SEEDS = 5


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
        "--hours", type=float, default=math.inf, help="begin nothing new after so long"
    )
    parser.add_argument(
        "--table", type=Path, default=Path("evals/evidence.md"), help="the table to write"
    )
    given = parser.parse_args(arguments)
    until = time.time() + 3600 * given.hours
    rates = {kind: null_rates(given, kind) for kind in MEASURES}
    seeds = drawn_seeds(given.out, max(given.builds, given.nulls))
    cells = planned_cells(seeds, given.builds, given.seeds, given.nulls)
    run_all(given.out, cells, given.processes, until)
    missed, unfinished = missed_builds(given.out)
    write_table(given.table, cells, read_results(given.out), missed, rates, unfinished)
    sys.stdout.write(f"{given.table}\n")


def null_rates(given: argparse.Namespace, kind: MeasureKind) -> dict[str, Any]:
    """Return the error rate of true-null registrations with one kind of measure, kept in a file."""
    path = given.out / f"null_registrations_{kind}.json"
    found = kept(path, lambda: rejection_rates(kind, given.null_runs, given.processes))
    say(f"null registrations, {kind}: {found}")
    return found


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
    """Return every cell: organisms, benign twins and nulls, dealt over the families that may be developed on.

    A twin is investigated `TWIN_SEEDS` times: it costs as much to build as an organism. Interleaved,
    so that a run that is stopped early has some of everything.
    """
    cells: list[Cell] = []

    def deal(family: str, kind: Kind, number: int, investigated: Iterable[int]) -> None:
        build = seeds[number]
        cells.extend(
            Cell(family=family, kind=kind, build=build, seed=seed) for seed in investigated
        )

    every, families = range(1, investigations + 1), developed_on()
    for number in range(max(builds, nulls)):
        for place, family in enumerate(families):
            dealt = number % len(families) == place
            if number < builds:
                deal(family, "organism", number, every)
            if dealt and number * TWIN_SEEDS < nulls:
                deal(family, "benign", number, range(1, TWIN_SEEDS + 1))
            if dealt and number < nulls:
                deal(family, "null", number, [number + 1])
    return cells


def run_all(out: Path, cells: Sequence[Cell], processes: int, until: float) -> None:
    """Build and investigate everything, as far as time allows."""
    groups: dict[BuildKey, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(build_key(cell), []).append(cell)
    with pool_of(processes) as pool:
        started = {pool.submit(run_group, out, group, until): key for key, group in groups.items()}
        for number, done in enumerate(as_completed(started), 1):
            key, told = started[done], done.result()
            say(f"{number}/{len(started)} {key[0]} {key[1]}: {told or 'done'}")


def run_group(out: Path, cells: Sequence[Cell], until: float) -> str | None:
    """Build an organism and run its cells, as far as time allows; return what its gates missed, or None."""
    if time.time() >= until:
        return None
    missed = build(out, *build_key(cells[0]))
    for cell in cells:
        if missed is None and time.time() < until:
            say(str(as_row(run_cell(out, cell))))
    return missed


def say(text: str) -> None:
    """Write a line of talk."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
