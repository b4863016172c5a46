"""The plots of a report as inline SVG: no script, no style attribute, colours by class from the page.

Every plot carries its title and a description for those who do not see it; the numbers stand in a
table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from agent.finding import Finding
from agent.safe_text import one_line
from agent.shown_evidence import ArmEvidence, Evidence
from agent.wording import FACTORS, capital, number
from tools import statistics as stats

WIDTH = 760
LABELS = 290
LONGEST_LABEL = 44
"""Characters of a row's name that fit beside the plot; the whole name stands in a table."""
NAMES = 150
RIGHT = 24
ROW = 26
TOP = 16
LEFT, BOTTOM = 70, 280.0
"""Where the axes of a plot that is read from left to right begin."""
SIDE = 240
"""Of a square plot."""
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
            text(
                14 if row.rival else 0,
                y + 4,
                one_line(row.label, LONGEST_LABEL),
                "rival" if row.rival else "label",
            )
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
    axis = Axis.over([factor * value for value in values], NAMES, WIDTH - RIGHT)
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
    across = Axis.over([dose for dose, _ in steps], LEFT, WIDTH - RIGHT, zero=False)
    values = [factor * value for _, arm in steps for value in arm.templates.values()]
    upward = Axis.over(values, BOTTOM, TOP)
    parts = upright(across, upward, f"dose (vertical: {'%' if unit == 'points' else unit})")
    parts += template_lines(steps, across, upward, factor)
    for dose, arm in steps:
        low, high = stats.mean_interval(list(arm.templates.values()))
        ends = (factor * low, factor * high)
        parts += pillar(across.at(dose), upward, factor * (arm.mean or 0.0), ends)
    seen = "; ".join(f"dose {number(d)}: {number(factor * (arm.mean or 0))}" for d, arm in steps)
    return picture(BOTTOM + 44, "Dose-response", seen, parts)


def upright(across: Axis, upward: Axis, words: str) -> list[Markup]:
    """Return the ticks of a plot that is read from left to right, zero marked, with words beneath it."""
    bottom = upward.start
    parts = [
        text(across.at(tick), bottom + 16, number(tick), "axis", "middle")
        for tick in across.ticks()
    ]
    for tick in upward.ticks():
        kind = "zero" if abs(tick) < 1e-9 else "tick"
        parts.append(line((across.start, upward.at(tick), across.end, upward.at(tick)), kind))
        parts.append(text(across.start - 8, upward.at(tick) + 4, number(tick), "axis", "end"))
    middle = (across.start + across.end) / 2
    parts.append(text(middle, bottom + 36, words, "axis", "middle"))
    return parts


def pillar(
    x: float, upward: Axis, value: float, interval: tuple[float, float] | None
) -> list[Markup]:
    """Return a value with its interval, upright."""
    bar = []
    if interval is not None:
        ends = (x, upward.at(interval[0]), x, upward.at(interval[1]))
        bar = [line(ends, "bar treatment")]
    return [*bar, dot(x, upward.at(value), "mark treatment", 5.5)]


@dataclass(frozen=True)
class Stated:
    """Statements made with about the same confidence, and how many of them held, in percent."""

    confidence: float
    held: float
    interval: tuple[float, float] | None


def calibration(points: Sequence[Stated], title: str, words: str) -> Markup:
    """Return how much of what was stated held, against how sure it was; on the diagonal the two agree."""
    across, upward = Axis(0, 100, LEFT, LEFT + SIDE), Axis(0, 100, TOP + SIDE, TOP)
    parts = [line((LEFT, TOP + SIDE, LEFT + SIDE, TOP), "zero")]
    for tick in (0, 50, 100):
        parts.append(text(across.at(tick), TOP + SIDE + 16, str(tick), "axis", "middle"))
        parts.append(text(LEFT - 8, upward.at(tick) + 4, str(tick), "axis", "end"))
        parts.append(line((LEFT, upward.at(tick), LEFT + SIDE, upward.at(tick)), "tick"))
    for each in points:
        parts += pillar(across.at(each.confidence), upward, each.held, each.interval)
    told = [f"stated {number(p.confidence)} %: {number(p.held)} %" for p in points]
    parts.append(text(LEFT, TOP + SIDE + 34, words, "axis"))
    return picture(TOP + SIDE + 44, one_line(title, 120), "; ".join(told), parts)


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


def caption(unit: str) -> str:
    """Return what the unit of a forest plot is."""
    words = {
        "points": "percentage points of a rate",
        "nats": "nats of log-probability",
        "words": "words of length",
    }
    return capital(words[unit])
