"""Maps of a model's layers and positions, and curves over doses: what was explored, as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from agent.plots import (
    BOTTOM,
    LEFT,
    NAMES,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    line,
    picture,
    pillar,
    text,
    upright,
)
from agent.sweeps import CHANCE, Curve, Grid
from agent.wording import number

CELL, WIDEST = 20, 80
MOST_NAMES = 24
MOST_TOLD = 600
"""Cells that say their value when pointed at; more of them would make a page large."""


def layer_map(grid: Grid) -> Markup:
    """Return a grid as a map: sites by layer down, positions across; a cell with a dashed edge has no value.

    Full colour is `grid.full` away from `grid.middle`, red above it and blue below.
    """
    step = min(WIDEST, (WIDTH - RIGHT - NAMES) / len(grid.columns))
    bottom = TOP + CELL * len(grid.rows)
    parts = [
        text(NAMES + step * (k + 0.5), bottom + 16, name, "axis", "middle")
        for k, name in enumerate(grid.columns)
        if k % (1 + len(grid.columns) // MOST_NAMES) == 0
    ]
    parts += [
        text(0, TOP + CELL * r + 14, name, "rival")
        for r, name in enumerate(grid.rows)
        if r % (1 + len(grid.rows) // (2 * MOST_NAMES)) == 0
    ]
    parts += cells(grid, step)
    middle = NAMES + step * len(grid.columns) / 2
    parts.append(text(middle, bottom + 34, "position, -1 is the last token", "axis", "middle"))
    titles = {
        "nats": "Effect of swapping activations, by layer and position",
        "AUROC": "What a linear probe reads, by layer and position",
    }
    return picture(bottom + 42, titles[grid.unit], described(grid), parts)


def cells(grid: Grid, step: float) -> Iterator[Markup]:
    """Yield the cells, each with its place and value for those who point at it."""
    told = len(grid.rows) * len(grid.columns) <= MOST_TOLD
    for r, row in enumerate(grid.values):
        for c, value in enumerate(row):
            away = 0.0 if value is None else value - grid.middle
            kind = "void" if value is None else "up" if away > 0 else "down"
            said = "no value" if value is None else f"{number(value)} {grid.unit}"
            place = f"{grid.rows[r]}, position {grid.columns[c]}: {said}"
            yield Markup(
                '<rect x="{}" y="{}" width="{}" height="{}" class="cell {}" fill-opacity="{}">{}</rect>'
            ).format(
                round(NAMES + step * c, 1),
                TOP + CELL * r,
                round(step - 2, 1),
                CELL - 2,
                kind,
                round(abs(away) / grid.full, 3),
                Markup("<title>{}</title>").format(place) if told else "",
            )


def described(grid: Grid) -> str:
    """Return the size of a grid and its strongest place, in words."""
    known = [
        (abs(value - grid.middle), value, r, c)
        for r, row in enumerate(grid.values)
        for c, value in enumerate(row)
        if value is not None
    ]
    _, strongest, r, c = max(known)
    what = "furthest from chance" if grid.middle == CHANCE else "largest"
    return (
        f"{len(grid.rows)} sites by {len(grid.columns)} positions; the {what} is {number(strongest)} {grid.unit} at "
        f"{grid.rows[r]}, position {grid.columns[c]}"
    )


def map_words(grid: Grid) -> str:
    """Return how a map is to be read, and its strongest place."""
    seen = described(grid)
    if grid.unit == "AUROC":
        return (
            "AUROC of the better linear probe on held-out folds: no colour is chance (0.5), full red reads without "
            f"fault, blue is worse than chance. {seen[:1].upper()}{seen[1:]}."
        )
    return (
        "Mean effect of swapping activations both ways: red carries the clean answer, blue pushes away from it, full "
        f"colour is {number(grid.full)} nats; a dashed cell has no value. {seen[:1].upper()}{seen[1:]}."
    )


def steering_curve(curve: Curve) -> Markup:
    """Return the change at each signed dose with its 95 % interval; beside the middle one, what placebos do."""
    doses = [0.0, *(point.dose for point in curve.points)]
    values = [point.change for point in curve.points]
    values += [bound for point in curve.points for bound in point.interval or ()]
    values += [bound for band in curve.placebos.values() for bound in band]
    across, upward = Axis.over(doses, LEFT, WIDTH - RIGHT), Axis.over(values, BOTTOM, TOP)
    parts = upright(across, upward, f"dose (vertical: change in {curve.unit})")
    ordered = sorted([(point.dose, point.change) for point in curve.points] + [(0.0, 0.0)])
    ends = " ".join(f"{across.at(dose)},{upward.at(change)}" for dose, change in ordered)
    parts.append(Markup('<polyline points="{}" class="thread"/>').format(ends))
    for point in curve.points:
        parts += pillar(across.at(point.dose), upward, point.change, point.interval)
    for place, (low, high) in enumerate(curve.placebos.values(), 1):
        x = across.at(curve.middle) + 7 * place
        parts.append(line((x, upward.at(low), x, upward.at(high)), "bar placebo"))
    return picture(BOTTOM + 44, "Steering by dose", curve_points(curve), parts)


def curve_points(curve: Curve) -> str:
    """Return the change at every dose in words."""
    seen = "; ".join(f"{number(p.dose)}: {number(p.change)}" for p in curve.points)
    return f"Change in {curve.unit} by dose: {seen}"


def curve_words(curve: Curve) -> str:
    """Return how a curve is to be read."""
    kinds = ", ".join(curve.placebos)
    beside = (
        f"; the grey bars beside dose {number(curve.middle)} hold 95 % of what placebo directions of its length do "
        f"at it, half the difference of both signs (from left to right: {kinds})"
        if kinds
        else ""
    )
    return f"Steered less unsteered at each signed dose, with its 95 % interval over templates{beside}."
