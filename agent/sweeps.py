"""Sweeps in short: what a search over layers and positions, or over doses, found, as a page draws it.

They are exploration: the place that stands out was picked after the data, and no test of a
registration rests on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter

from agent.finding import Finding
from agent.investigation import ExperimentEntry, Investigation
from agent.wording import FACTORS
from tools.measures import Measure, unit
from tools.prompt import PatchFrom
from tools.registry import Record

SWEEPING = ("patch_activations", "train_probes", "steer")
MOST_DRAWN = 12
"""Sweeps that a report draws; all of them are in the evidence pages of `naturalist review`."""
MOST_CELLS = 3000
CHANCE = 0.5
"""The AUROC of a probe that reads nothing."""
MEASURE: TypeAdapter[Measure] = TypeAdapter(Measure)
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""Somebody else's tool, or a log of somebody else's, may store anything under the names that are read here."""
Cells = tuple[tuple[float | None, ...], ...]


class Grid(Record):
    """What was found at each site and position; None where there is no value."""

    unit: Literal["nats", "AUROC"]
    """`nats` that swapping the activation moves towards the other prompt's answer, mean of both ways; `AUROC` of the
    better probe on held-out folds."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Cells
    middle: float
    """The value of a place that holds nothing."""
    full: float
    """The distance from the middle that has the full colour: the whole difference between the two versions of the
    prompts, or a perfect reading."""


class Point(Record):
    """What one signed dose of a direction does, with its 95 % interval over templates."""

    dose: float
    change: float
    interval: tuple[float, float] | None


class Curve(Record):
    """What steering by a direction does over doses, in the unit of the page, beside placebo directions."""

    unit: str
    points: tuple[Point, ...]
    middle: float
    """The dose that the placebos had."""
    placebos: dict[str, tuple[float, float]]
    """Kind of placebo -> between these lie 95 % of what its directions do at that dose."""


class Sweep(Record):
    """One experiment that searched, with what it found."""

    experiment: int
    tool: str
    reading: str
    direction: str = ""
    """Blob of the direction that came of it or was steered by."""
    grid: Grid | None = None
    curve: Curve | None = None


def grid_of(table: Any) -> Grid | None:
    """Return the raw data of a patching or probe sweep as a grid; None for anything else."""
    try:
        if isinstance(table, dict) and {"sites", "positions", "effects"} <= table.keys():
            return patched(table)
        if isinstance(table, dict) and table.keys() == {"sweep", "test"}:
            return probed(table["sweep"])
    except UNREADABLE:
        return None
    return None


def patched(table: Mapping[str, Any]) -> Grid | None:
    """Return the means over pairs of what swapping both ways does."""
    ways = [table["effects"][name] for name in ("denoising", "noising")]
    values = tuple(
        tuple(
            mean_of([pair[s][p] for way in ways for pair in way])
            for p in range(len(table["positions"]))
        )
        for s in range(len(table["sites"]))
    )
    levels = table.get("levels") or {}
    ends = [mean_of(levels.get(name, ())) or 0.0 for name in ("clean", "corrupted")]
    rows = tuple(f"layer {layer} {kind}" for layer, kind in table["sites"])
    return filled("nats", rows, table["positions"], values, abs(ends[0] - ends[1]))


def probed(places: Sequence[Mapping[str, Any]]) -> Grid | None:
    """Return the better method's AUROC at every layer and position."""
    layers = sorted({place["layer"] for place in places})
    positions = sorted({place["position"] for place in places})
    best: dict[tuple[int, int], float] = {}
    for place in places:
        key = (place["layer"], place["position"])
        best[key] = max(best.get(key, 0.0), place["auroc"])
    values = tuple(tuple(best.get((layer, p)) for p in positions) for layer in layers)
    rows = tuple(f"layer {layer}" for layer in layers)
    return filled("AUROC", rows, positions, values, 1 - CHANCE, CHANCE)


def filled(
    kind: Literal["nats", "AUROC"],
    rows: tuple[str, ...],
    positions: Sequence[int],
    values: Cells,
    full: float,
    middle: float = 0.0,
) -> Grid | None:
    """Return a grid that holds a value; its full colour is never less than its largest one."""
    away = [abs(value - middle) for row in values for value in row if value is not None]
    if not away or len(rows) * len(positions) > MOST_CELLS:
        return None
    columns = tuple(str(position) for position in positions)
    full = max(full, *away) or 1.0
    return Grid(unit=kind, rows=rows, columns=columns, values=values, middle=middle, full=full)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is there; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def curve_of(arguments: Any, result: Any) -> Curve | None:
    """Return what a call of `steer` found over its doses; None for anything else."""
    try:
        kind = unit(MEASURE.validate_python(arguments["measure"]))
        factor = FACTORS[kind]
        points = tuple(
            Point(
                dose=each["dose"],
                change=factor * each["change"]["mean"],
                interval=scaled(each["change"]["interval"], factor),
            )
            for each in result["doses"]
        )
        above = [point.dose for point in points if point.dose > 0]
        bands = {each["kind"]: each["middle_95"] for each in result["bands"]}
        placebos = {name: (factor * low, factor * high) for name, (low, high) in bands.items()}
        return Curve(unit=kind, points=points, middle=above[len(above) // 2], placebos=placebos)
    except UNREADABLE:
        return None


def scaled(interval: Sequence[float] | None, factor: float) -> tuple[float, float] | None:
    """Return a stored interval in the unit of the page."""
    return None if interval is None else (factor * interval[0], factor * interval[1])


def read_sweep(number: int, experiment: Mapping[str, Any], table: Any) -> Sweep | None:
    """Return a stored experiment with its raw data as a sweep; None for one that can be drawn in no way."""
    result = experiment.get("result")
    grid, curve = grid_of(table), curve_of(experiment.get("arguments"), result)
    if not isinstance(result, dict) or (grid is None and curve is None):
        return None
    return Sweep(
        experiment=number,
        tool=str(experiment.get("tool", "")),
        reading=str(result.get("reading", "")),
        direction=str(result.get("direction", "")),
        grid=grid,
        curve=curve,
    )


def sweep_of(investigation: Investigation, entry: ExperimentEntry) -> Sweep | None:
    """Return an experiment as a sweep; None for one that searched nothing or failed."""
    if entry.tool not in SWEEPING or entry.failed:
        return None
    done = investigation.experiment(entry.number).model_dump(mode="json")
    raw = done["result"].get("raw")
    needed = entry.tool != "steer" and isinstance(raw, str)
    table = investigation.folder.get_json(raw) if needed else None
    return read_sweep(entry.number, done, table)


def sweeps_of(
    investigation: Investigation, found: Sequence[Finding]
) -> tuple[tuple[Sweep, ...], int]:
    """Return the sweeps that a report draws, in their order, and how many it leaves out.

    What a finding rests on or cites comes before the others.
    """
    every = [
        sweep
        for entry in investigation.experiments
        if (sweep := sweep_of(investigation, entry)) is not None
    ]
    behind = [sweep for sweep in every if any(is_behind(sweep, each) for each in found)]
    others = [sweep for sweep in every if sweep not in behind]
    kept = [*behind, *others][:MOST_DRAWN]
    return tuple(sorted(kept, key=lambda each: each.experiment)), len(every) - len(kept)


def is_behind(sweep: Sweep, finding: Finding) -> bool:
    """Say whether a finding cites a sweep, or tests the direction or the place that came of it."""
    prose, anchor = finding.interpretation, f"exp-{sweep.experiment}"
    if prose is not None and any(segment.anchor == anchor for segment in prose.segments):
        return True
    if finding.prediction is None:
        return False
    tested = finding.prediction.treatment.intervention
    if isinstance(tested, PatchFrom):
        place = (f"layer {tested.layer} {tested.site}", str(tested.position))
        return sweep.grid is not None and in_grid(sweep.grid, *place)
    used = {getattr(part, "direction", "") for part in (tested, finding.prediction.measure)}
    return bool(sweep.direction) and sweep.direction in used


def in_grid(grid: Grid, row: str, column: str) -> bool:
    """Say whether a grid has a place."""
    return row in grid.rows and column in grid.columns
