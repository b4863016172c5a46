"""The menagerie: every organism and twin that ships, built from one list, and the table of their gates."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Literal

from pydantic import Field

from evals.organisms.families.family import Gate, Variant, told_value
from evals.organisms.files import read_declaration, read_json
from evals.organisms.foundry import GateMissed
from evals.organisms.spec import OrganismSpec, SpecError, make_declared
from evals.processes import pool_of
from tools.registry import Record

LIST = Path(__file__).with_suffix(".toml")
MISSED = "missed.txt"
"""In the folder of a build whose last training missed its gates: why. It is not trained again."""


class Rows(Record):
    """Builds that differ in family and seed only."""

    families: list[str] = Field(min_length=1)
    seeds: list[int] = Field(min_length=1)
    variant: Variant = "organism"
    easiness: Literal["narrow", "mixed"] = "narrow"
    strength: float = Field(default=1.0, gt=0, le=1)
    decoys: bool = False

    def specs(self) -> list[OrganismSpec]:
        """Return the declarations, seed by seed."""
        shared = self.model_dump(exclude={"families", "seeds"})
        return [
            OrganismSpec(family=family, seed=seed, **shared)
            for seed in self.seeds
            for family in self.families
        ]


class Menagerie(Record):
    """What is to be built."""

    build: list[Rows]


class Built(Record):
    """What came of one declaration."""

    handle: str
    spec: OrganismSpec
    missed: str | None = None
    seconds: float = 0.0
    """CPU seconds of this process; 0 for what was finished before."""


def declared(path: Path = LIST) -> list[OrganismSpec]:
    """Read a list; raise `SpecError`, one line per fault, also for a family or variant that there is not."""
    found = read_declaration(path, Menagerie, SpecError)
    specs = [spec for rows in found.build for spec in rows.specs()]
    faults = [f"{path}: {fault}" for spec in specs if (fault := spec.fault())]
    faults += [
        f"{path}: {handle} is declared twice"
        for handle, count in Counter(map(handle_of, specs)).items()
        if count > 1
    ]
    if faults:
        raise SpecError("\n".join(dict.fromkeys(faults)))
    return specs


def handle_of(spec: OrganismSpec) -> str:
    """Return the name of a build's folder, which tells nobody what is in it."""
    return f"m{hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:8]}"


def build(spec: OrganismSpec, out: Path, until: float) -> Built | None:
    """Build one declaration, or go on with it; None where the time was up before."""
    folder = out / handle_of(spec)
    if (folder / MISSED).exists():
        why = (folder / MISSED).read_text(encoding="utf-8").strip()
        return Built(handle=folder.name, spec=spec, missed=why)
    if time.time() >= until:
        return None
    begun = time.process_time()
    missed: str | None = None
    try:
        make_declared(spec, folder)
    except GateMissed as error:
        missed = str(error)
        (folder / MISSED).write_text(f"{missed}\n", encoding="utf-8")
    seconds = round(time.process_time() - begun, 1)
    return Built(handle=folder.name, spec=spec, missed=missed, seconds=seconds)


def build_all(
    specs: Sequence[OrganismSpec],
    out: Path,
    processes: int,
    until: float,
    say: Callable[[str], None],
) -> list[Built]:
    """Build what is not there yet, as far as time allows; return all that is done, as it was declared."""
    done: dict[str, Built] = {}
    with pool_of(processes) as pool:
        started = [pool.submit(build, spec, out, until) for spec in specs]
        for each in as_completed(started):
            built = each.result()
            if built is None:
                continue
            done[built.handle] = built
            told = built.missed or f"{built.seconds:.0f} CPU s"
            say(f"{len(done)}/{len(specs)} {built.handle} {built.spec.family}: {told}")
    return [done[handle] for handle in map(handle_of, specs) if handle in done]


def table_of(specs: Iterable[OrganismSpec], out: Path) -> str:
    """Return every finished build with its gates as Markdown, and what missed or is not built."""
    lines = [
        "| organism | family | variant | easiness | trainings thrown away | gates | closest to its limit | "
        "training, s | measuring, CPU s | kB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    missed: list[str] = []
    for spec in specs:
        folder = out / handle_of(spec)
        if (folder / "checksums.json").exists():
            lines.append(row_of(folder))
        else:
            reason = (folder / MISSED).read_text().strip() if (folder / MISSED).exists() else ""
            kind = f"{folder.name}, {spec.family} ({spec.variant}, {spec.easiness})"
            missed.append(f"- {kind}: {reason or 'not built'}")
    if missed:
        lines += ["", "Not among them:", "", *missed]
    return "\n".join(lines) + "\n"


def row_of(folder: Path) -> str:
    """Return one finished build as a row."""
    sheet = read_json(folder / "datasheet.json")
    gates = {name: gate_from(name, stored) for name, stored in sheet["gates"].items()}
    passed = sum(gate.passed for gate in gates.values())
    tight = min(gates.values(), key=room)
    size = sum(path.stat().st_size for path in (folder / "adapter").iterdir()) / 1000
    cells = (
        folder.name,
        sheet["family"],
        sheet["variant"],
        sheet.get("easiness", "narrow"),
        sheet.get("thrown_away", 0),
        f"{passed} of {len(gates)}",
        f"{tight.name}: {told_value(tight.value)}, limit {tight.limit:g}",
        *(told_seconds(sheet.get(name)) for name in ("training_seconds", "examined_seconds")),
        f"{size:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def told_seconds(value: float | None) -> str:
    """Return a time in whole seconds; sheets of before do not have all of them."""
    return "" if value is None else f"{value:.0f}"


def gate_from(name: str, stored: dict[str, float | None]) -> Gate:
    """Return a gate of a data sheet; which side of the limit is right follows from whether it passed."""
    value, limit = stored["value"], stored["limit"]
    assert limit is not None
    above = value is not None and value >= limit
    return Gate(name, value, limit, at_least=above == bool(stored["passed"]))


def room(gate: Gate) -> float:
    """Return how far inside its limit a gate is, as a share of the limit; what is not measured has none."""
    if gate.value is None:
        return float("-inf")
    inside = gate.value - gate.limit if gate.at_least else gate.limit - gate.value
    return inside / (abs(gate.limit) or 1.0)
