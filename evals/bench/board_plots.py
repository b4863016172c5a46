"""The plots of the leaderboard: figures with their intervals, and stated confidence against outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from agent.plots import Row, Stated, calibration, row_plot, scaled
from agent.safe_text import one_line
from agent.wording import number
from evals.bench.comparisons import Comparison
from evals.bench.intervals import Estimate
from evals.bench.standings import Bin

LABEL = 34
"""Characters of a name that fit beside a plot; the whole name stands in the table."""


def estimates(figures: Sequence[tuple[str, Estimate]], title: str) -> Markup:
    """Return shares in percent with their intervals, one line each; those without a value are left out."""
    rows = [
        Row(
            one_line(name, LABEL),
            "treatment",
            100 * figure.value,
            scaled(figure.interval, 100),
            rival=False,
        )
        for name, figure in figures
        if figure.value is not None
    ]
    return drawn(rows, "percent", title)


def differences(comparisons: Sequence[Comparison], title: str) -> Markup:
    """Return paired differences in points with their intervals; right of zero the first is better."""
    rows = [
        Row(
            f"{one_line(each.first, 16)} - {one_line(each.second, 16)}",
            "treatment" if each.verdict == "shown" else "control",
            100 * each.difference,
            scaled(each.interval, 100),
            rival=False,
        )
        for each in comparisons
        if each.difference is not None
    ]
    return drawn(rows, "points", title)


def drawn(rows: Sequence[Row], unit: str, title: str) -> Markup:
    """Return the plot of some rows, or nothing where there are none."""
    return row_plot(rows, unit, one_line(title, 120), described(rows)) if rows else Markup("")


def described(rows: Sequence[Row]) -> str:
    """Return what a plot shows for those who do not see it."""
    return "; ".join(
        f"{row.label}: {number(row.estimate)}"
        + (f" ({number(row.interval[0])} to {number(row.interval[1])})" if row.interval else "")
        for row in rows
    )


def confidence(bins: Sequence[Bin], title: str) -> Markup:
    """Return how often answers were right against how sure they were; on the diagonal the two agree."""
    points = [
        Stated(100 * each.stated, 100 * each.right.value, scaled(each.right.interval, 100))
        for each in bins
        if each.right.value is not None
    ]
    words = "confidence stated, % (upward: answers that were right, %)"
    return calibration(points, title, words)
