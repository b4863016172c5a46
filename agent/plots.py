"""The plots of a report as inline SVG: no script, no style attribute, colours by class from the page.

Every plot carries its title and a description for those who do not see it; the numbers stand in a
table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from agent.finding import Finding
from agent.report import ArmEvidence, Evidence
from agent.safe_text import one_line
from agent.wording import FACTORS, capital, number
from tools import statistics as stats

WIDTH = 760
LABELS = 250
RIGHT = 24
ROW = 26
TOP = 16
MOST_TEMPLATES = 40


@dataclass(frozen=True)
class Axis:
    """A linear scale from data to pixels with round ticks."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, zero: bool = True) -> Axis:
        """Return an axis that holds the values (and zero), widened to round ticks."""
        low, high = min([*values, 0.0] if zero else values), max([*values, 0.0] if zero else values)
        if high - low < 1e-9:
            low, high = low - 1, high + 1
        step = tick_step(high - low)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step, start, end)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Return round values along the axis."""
        step = tick_step(self.high - self.low)
        count = round((self.high - self.low) / step)
        return [self.low + k * step for k in range(count + 1)]


def tick_step(width: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that cuts a width into four to ten parts."""
    power = 10 ** math.floor(math.log10(width / 4))
    return next(power * factor for factor in (1, 2, 5, 10) if width / (power * factor) <= 8)


def text(x: float, y: float, words: str, kind: str = "label", anchor: str = "start") -> Markup:
    """Return a text element."""
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        round(x, 1), round(y, 1), kind, anchor, one_line(words, 60)
    )


def line(ends: tuple[float, float, float, float], kind: str) -> Markup:
    """Return a line element from (x1, y1) to (x2, y2)."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(*ends, kind)


def dot(x: float, y: float, kind: str, radius: float = 4.5) -> Markup:
    """Return a dot."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(x, y, radius, kind)


def picture(height: float, title: str, description: str, parts: Sequence[Markup]) -> Markup:
    """Return a whole plot with what a screen reader says of it."""
    body = Markup("").join(parts)
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}</svg>"
    ).format(WIDTH, round(height), f"{title}. {description}", title, body)


def grid(axis: Axis, bottom: float, unit: str) -> list[Markup]:
    """Return the ticks of a horizontal axis, the zero line marked."""
    parts: list[Markup] = []
    for tick in axis.ticks():
        kind = "zero" if abs(tick) < 1e-9 else "tick"
        parts.append(line((axis.at(tick), TOP - 4, axis.at(tick), bottom), kind))
        parts.append(text(axis.at(tick), bottom + 16, number(tick), "axis", "middle"))
    middle = (axis.start + axis.end) / 2
    parts.append(text(middle, bottom + 34, unit, "axis", "middle"))
    return parts


def class_of(status: str) -> str:
    """Return the CSS class of a status."""
    return "s-" + "-".join(status.replace("(", "").replace(")", "").replace(",", "").split())


@dataclass(frozen=True)
class Row:
    """One line of a forest plot."""

    label: str
    kind: str
    estimate: float
    interval: tuple[float, float] | None
    rival: bool


def forest(findings: Sequence[Finding], unit: str) -> Markup:
    """Return effects with intervals for the findings in one unit, their rivals beneath them.

    A rival's line is treatment minus rival in the registered direction: it must lie right of zero.
    """
    rows = [row for each in findings for row in rows_of(each)]
    if not rows:
        return Markup("")
    shown = "; ".join(f"{row.label}: {number(row.estimate)}" for row in rows if not row.rival)
    return row_plot(rows, unit, f"Effects in {unit} with 95 % intervals", shown)


def row_plot(rows: Sequence[Row], unit: str, title: str, description: str) -> Markup:
    """Return one line for each row: its estimate and its interval on one axis that holds zero."""
    bounds = [b for row in rows for b in (row.interval or ())] + [row.estimate for row in rows]
    axis = Axis.over(bounds, LABELS, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    parts = grid(axis, bottom, unit)
    for place, row in enumerate(rows):
        y = TOP + ROW * (place + 0.5)
        parts.append(
            text(14 if row.rival else 0, y + 4, row.label, "rival" if row.rival else "label")
        )
        if row.interval is not None:
            ends = (axis.at(row.interval[0]), y, axis.at(row.interval[1]), y)
            parts.append(line(ends, f"bar {row.kind}"))
        parts.append(dot(axis.at(row.estimate), y, f"mark {row.kind}", 3.5 if row.rival else 5.5))
    return picture(bottom + 42, title, description, parts)


def rows_of(finding: Finding) -> list[Row]:
    """Return the lines of one finding: its effect, and one for every rival that has an arm."""
    verdict = finding.verdict
    if verdict is None or verdict.estimate is None or finding.unit is None:
        return []
    factor = FACTORS[finding.unit]  # points are shown as 0 to 100
    rows = [
        Row(
            f"{finding.id}  {finding.status}",
            class_of(finding.status),
            factor * verdict.estimate,
            scaled(verdict.interval, factor),
            rival=False,
        )
    ]
    if verdict.status not in ("supported", "effect shown, cause open"):
        return rows
    for rival in verdict.rivals:
        if rival.difference is not None:
            kind = "beaten" if rival.excluded else "alive"
            over = scaled(rival.interval, factor)
            rows.append(
                Row(f"over {rival.name}", kind, factor * rival.difference, over, rival=True)
            )
    return rows


def scaled(interval: tuple[float, float] | None, factor: float) -> tuple[float, float] | None:
    """Return an interval in the unit of the page."""
    return None if interval is None else (factor * interval[0], factor * interval[1])


def template_dots(evidence: Evidence, unit: str) -> Markup:
    """Return treatment against control for every template, the largest difference first."""
    arms = {arm.name: arm for arm in evidence.arms}
    if "treatment" not in arms:
        return Markup("")
    treatment = arms["treatment"].templates
    control = arms["control"].templates if "control" in arms else {}
    factor = FACTORS[unit]

    def gap(template: str) -> float:
        return treatment[template] - control.get(template, 0.0)

    names = sorted(treatment, key=lambda template: (-gap(template), template))[:MOST_TEMPLATES]
    values = [*treatment.values(), *control.values()]
    axis = Axis.over([factor * value for value in values], LABELS - 100, WIDTH - RIGHT)
    step = 18
    bottom = TOP + step * len(names)
    parts = grid(
        axis, bottom, f"mean of the template's prompts, {'%' if unit == 'points' else unit}"
    )
    for place, name in enumerate(names):
        y = TOP + step * (place + 0.5)
        x = axis.at(factor * treatment[name])
        parts.append(text(0, y + 4, name, "rival"))
        if name in control:
            x_control = axis.at(factor * control[name])
            parts += [line((x_control, y, x, y), "gap"), dot(x_control, y, "mark control", 4)]
        parts.append(dot(x, y, "mark treatment", 4))
    left = len(treatment) - len(names)
    note = f"{len(names)} templates" + (f", {left} more not drawn" if left else "")
    return picture(bottom + 42, "Treatment and control by template", note, parts)


def dose_response(evidence: Evidence, doses: Sequence[float], unit: str) -> Markup:
    """Return the mean over templates at each dose with its 95 % interval, and one line per template."""
    arms = {arm.name: arm for arm in evidence.arms}
    steps = sorted((dose, arms[f"dose_{k}"]) for k, dose in enumerate(doses) if f"dose_{k}" in arms)
    steps = [(dose, arm) for dose, arm in steps if len(arm.templates) > 1]
    if len(steps) < 2:
        return Markup("")
    factor = FACTORS[unit]
    across = Axis.over([dose for dose, _ in steps], 70, WIDTH - RIGHT, zero=False)
    values = [factor * value for _, arm in steps for value in arm.templates.values()]
    bottom = 280.0
    upward = Axis.over(values, bottom, TOP)
    parts = [
        text(across.at(tick), bottom + 16, number(tick), "axis", "middle")
        for tick in across.ticks()
    ]
    for tick in upward.ticks():
        parts.append(line((70, upward.at(tick), WIDTH - RIGHT, upward.at(tick)), "tick"))
        parts.append(text(62, upward.at(tick) + 4, number(tick), "axis", "end"))
    parts += template_lines(steps, across, upward, factor)
    for dose, arm in steps:
        low, high = stats.mean_interval(list(arm.templates.values()))
        x = across.at(dose)
        parts.append(
            line((x, upward.at(factor * low), x, upward.at(factor * high)), "bar treatment")
        )
        parts.append(dot(x, upward.at(factor * (arm.mean or 0.0)), "mark treatment", 5.5))
    parts.append(
        text(
            (70 + WIDTH) / 2,
            bottom + 36,
            f"dose (vertical: {'%' if unit == 'points' else unit})",
            "axis",
            "middle",
        )
    )
    seen = "; ".join(f"dose {number(d)}: {number(factor * (arm.mean or 0))}" for d, arm in steps)
    return picture(bottom + 44, "Dose-response", seen, parts)


def template_lines(
    steps: Sequence[tuple[float, ArmEvidence]], across: Axis, upward: Axis, factor: float
) -> list[Markup]:
    """Return one thin line over the doses for every template."""
    lines: list[Markup] = []
    for name in sorted(set.intersection(*(set(arm.templates) for _, arm in steps))):
        points = " ".join(
            f"{across.at(dose)},{upward.at(factor * arm.templates[name])}" for dose, arm in steps
        )
        lines.append(Markup('<polyline points="{}" class="thread"/>').format(escape(points)))
    return lines


def is_sweep(table: Any) -> bool:
    """Say whether raw data are those of a patching sweep."""
    return isinstance(table, dict) and {"sites", "positions", "effects"} <= table.keys()


def means_of(table: dict[str, Any]) -> list[list[float | None]]:
    """Return, for each site and position, the mean over pairs of what swapping both ways does."""
    ways = [table["effects"][name] for name in ("denoising", "noising")]
    return [
        [
            mean_of([pair[s][p] for way in ways for pair in way])
            for p in range(len(table["positions"]))
        ]
        for s in range(len(table["sites"]))
    ]


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is there; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def layer_map(table: dict[str, Any]) -> Markup:
    """Return a patching sweep as a map: sites by layer down, positions across, mean effects in nats.

    The darker a cell, the larger its effect beside the largest of the sweep; a ring has no value.
    """
    grid = means_of(table)
    sites = [f"layer {layer} {kind}" for layer, kind in table["sites"]]
    places = [str(position) for position in table["positions"]]
    known = [
        (abs(x), x, r, c) for r, row in enumerate(grid) for c, x in enumerate(row) if x is not None
    ]
    if not known:
        return Markup("")
    largest, strongest, row_of, column_of = max(known)
    step, high = (WIDTH - RIGHT - LABELS) / len(places), 20
    parts = [
        text(LABELS + step * (k + 0.5), TOP + high * len(grid) + 16, name, "axis", "middle")
        for k, name in enumerate(places)
        if k % (1 + len(places) // 24) == 0
    ]
    for r, row in enumerate(grid):
        top = TOP + high * r
        parts.append(text(0, top + 14, sites[r], "rival"))
        for c, value in enumerate(row):
            share = abs(value) / largest if value is not None and largest else 0.0
            kind = "void" if value is None else "up" if value > 0 else "down"
            parts.append(
                Markup(
                    '<rect x="{}" y="{}" width="{}" height="{}" class="cell {}" fill-opacity="{}"/>'
                ).format(
                    round(LABELS + step * c, 1),
                    top,
                    round(step - 2, 1),
                    high - 2,
                    kind,
                    round(share, 3),
                )
            )
    bottom = TOP + high * len(grid)
    parts.append(
        text((LABELS + WIDTH) / 2, bottom + 34, "position, -1 is the last token", "axis", "middle")
    )
    seen = (
        f"{len(sites)} sites by {len(places)} positions; the largest is {number(strongest)} nats "
        f"at {sites[row_of]}, position {places[column_of]}"
    )
    return picture(
        bottom + 42, "Effect of swapping activations, by layer and position", seen, parts
    )


def caption(unit: str) -> str:
    """Return what the unit of a forest plot is."""
    words = {
        "points": "percentage points of a rate",
        "nats": "nats of log-probability",
        "words": "words of length",
    }
    return capital(words[unit])
