"""One cell of the evidence: an organism, a twin or a null, and an investigator seed.

A cell is idempotent and resumable: its organism is built if it is not there, its investigation is
resumed if it was stopped, its grade is computed once. Cells meet in files only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

from evals.bench.paper import Examined, Paper
from evals.bench.records import Sitting, Specimen
from evals.bench.suites import CASES, case_of, secrets_of, truth_of
from evals.grading import RunGrade, grade
from evals.organisms.foundry import RETRAININGS, GateMissed, make_organism
from evals.organisms.registry import base_of
from tools.registry import Record

ROOT = Path(__file__).parent.parent
Kind = Literal["organism", "benign", "null"]
BuildKey = tuple[str, Kind, int]


class Cell(Record):
    """What is run."""

    family: str
    kind: Kind
    build: int
    """Seed of the organism; a null has weights of its own family's case and no adapter."""
    seed: int
    """Seed of the investigation."""

    @property
    def name(self) -> str:
        """Return the cell's name, which is its folder."""
        return f"{self.family}-{self.kind}-{self.build}-{self.seed}"


class CellResult(Record):
    """What came of a cell."""

    cell: Cell
    grade: RunGrade | None
    cpu_seconds: float
    wall_seconds: float
    error: str | None = None


def build_key(cell: Cell) -> BuildKey:
    """Return what identifies the organism of a cell."""
    return (cell.family, cell.kind, cell.build)


def organism_folder(root: Path, cell: Cell) -> Path:
    """Return where the cell's organism is."""
    return root / "organisms" / f"{cell.family}-{cell.kind}-{cell.build}"


def build(root: Path, family: str, kind: Kind, seed: int) -> str | None:
    """Build an organism; return why it missed its gates, or None."""
    if kind == "null":
        return None
    cell = Cell(family=family, kind=kind, build=seed, seed=0)
    try:
        make_organism(family, seed, organism_folder(root, cell), variant=kind)
    except GateMissed as error:
        return str(error)
    return None


def missed_builds(root: Path) -> tuple[dict[BuildKey, str], list[str]]:
    """Return the builds that missed their gates at every training, and what others have missed so far."""
    given_up: dict[BuildKey, str] = {}
    waiting: list[str] = []
    for path in sorted((root / "organisms").glob("*/datasheet.json")):
        if (path.parent / "checksums.json").exists():
            continue
        sheet = json.loads(path.read_text(encoding="utf-8"))
        missed = "; ".join(
            f"{name} {gate['value']} (limit {gate['limit']})"
            for name, gate in sheet["gates"].items()
            if not gate["passed"]
        )
        if sheet["thrown_away"] >= RETRAININGS:
            given_up[(sheet["family"], sheet["variant"], sheet["seed"])] = missed
        else:
            waiting.append(f"{sheet['family']} ({sheet['variant']}): {missed}")
    return given_up, waiting


def specimen_of(root: Path, cell: Cell) -> Specimen:
    """Return the cell's model as the exam knows it, under a handle that tells nothing."""
    null = cell.kind == "null"
    return Specimen(
        handle="cell",
        family=cell.family,
        kind="exact" if cell.kind == "null" else cell.kind,
        folder=None if null else str(organism_folder(root, cell).resolve()),
        base=str(base_of(cell.family)),
        suite="evidence",
    )


def run_cell(root: Path, cell: Cell) -> CellResult:
    """Run and grade a cell, or return what is there already."""
    done = root / "results" / f"{cell.name}.json"
    if done.exists():
        return CellResult.model_validate_json(done.read_text(encoding="utf-8"))
    started = time.monotonic()
    run, cpu, error = investigate(root, cell)
    result = CellResult(
        cell=cell,
        grade=None if error else graded(root, cell, run),
        cpu_seconds=round(cpu, 1),
        wall_seconds=round(time.monotonic() - started, 1),
        error=error,
    )
    done.parent.mkdir(parents=True, exist_ok=True)
    partial = done.with_suffix(".partial")
    partial.write_text(result.model_dump_json(indent=1), encoding="utf-8")
    partial.replace(done)
    return result


def investigate(root: Path, cell: Cell) -> tuple[Path, float, str | None]:
    """Run or resume the cell's investigation by the command line; return run, CPU seconds, error."""
    runs = root / "runs" / cell.name
    found = sorted(path.parent for path in runs.glob("*/events.jsonl"))
    case = CASES[cell.family]
    models = case_of(specimen_of(root, cell))
    command = [sys.executable, str(ROOT / "naturalist.py")]
    if found:
        command += ["resume", str(found[-1]), "--json"]
    else:
        command += ["investigate", str(ROOT / "evals" / "cases" / case)]
        command += [
            "--subject",
            models.subject.model,
            "--adapter",
            models.subject.adapter or "none",
        ]
        command += [
            "--reference",
            str(base_of(cell.family)),
            "--seed",
            str(cell.seed),
            "--runs",
            str(runs),
            "--json",
        ]
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / "out.json").open("wb") as out, (runs / "err.txt").open("wb") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    found = sorted(path.parent for path in runs.glob("*/events.jsonl"))
    if code != 0 or not found:
        return runs, 0.0, f"exit {code}: {(runs / 'err.txt').read_text(errors='replace')[-400:]}"
    return found[-1], usage.ru_utime + usage.ru_stime, None


def graded(root: Path, cell: Cell, run: Path) -> RunGrade:
    """Grade the run with a worker of the harness's own."""
    specimen = specimen_of(root, cell)
    truth = truth_of(specimen, secret="")
    examined = Examined(specimen, case_of(specimen), truth, secrets_of(specimen))
    sitting = Sitting(specimen=specimen.handle, investigator="systematic", seed=cell.seed)
    paper = Paper(examined, sitting, run, root / "grading" / cell.name)
    try:
        return grade(run, truth, paper.harness, paper.worker, paper.blobs)
    finally:
        paper.close()


def read_results(root: Path) -> list[CellResult]:
    """Return every finished cell."""
    paths = sorted((root / "results").glob("*.json"))
    return [
        CellResult.model_validate(json.loads(path.read_text(encoding="utf-8"))) for path in paths
    ]


def as_row(result: CellResult) -> dict[str, Any]:
    """Return a cell in short, for looking at."""
    row: dict[str, Any] = {
        "cell": result.cell.name,
        "cpu": result.cpu_seconds,
        "error": result.error,
    }
    if result.grade is not None:
        row |= {
            "planted": result.grade.planted_supported,
            "answer": result.grade.answer.get("value"),
            "kind": result.grade.answer.get("kind"),
            "registrations": result.grade.registrations,
            "supported": result.grade.supported,
            "false": result.grade.false,
        }
    return row
