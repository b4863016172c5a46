"""What an intervention did, beside what placebos did: numbers without tensors, for tools and for `verify`."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from tools import statistics as stats
from tools.registry import Record, ToolError
from tools.scoring import cluster_means

LEVEL = 0.05
"""Exploratory: a screen for what is worth a registration, not a verdict."""
HARMLESS_KL = 0.1
"""KL in nats per neutral token up to which a push counts as doing nothing else (Arditi et al. 2024)."""
ENOUGH_CONCEPTS = 20
"""Directions of other concepts that a direction has to be compared with before it is said to control."""
PlaceboKind = Literal["isotropic", "covariance", "shuffled", "concept"]
Row = Sequence[float]
"""A value for each item; NaN where it could not be scored."""
Placebos = Mapping[PlaceboKind, Sequence[Row]]
"""Kind -> a row for each direction."""


class Guard(Record):
    """A control, and whether it was passed."""

    name: str
    passed: bool


class Effect(Record):
    """A mean over templates with its 95 % interval (t over template means; None with one template)."""

    mean: float
    interval: tuple[float, float] | None
    templates: int

    @property
    def is_clear(self) -> bool:
        """Say whether the interval leaves out zero."""
        return self.interval is not None and self.interval[0] * self.interval[1] > 0

    @property
    def holds_zero(self) -> bool:
        """Say whether the interval holds zero."""
        return self.interval is None or self.interval[0] <= 0 <= self.interval[1]


class Band(Record):
    """What placebo directions of one kind do, and where the effect ranks among them."""

    kind: PlaceboKind
    directions: int
    p: float
    """(1 + placebos that do as much) / (1 + placebos): of either sign when steering, in loss when ablating."""
    middle_95: tuple[float, float]
    """Between these lie 95 % of the placebos' effects."""


class DoseEffect(Record):
    """What one signed dose does to the measure, and to neutral text."""

    dose: float
    change: Effect
    """Steered less unsteered, in the measure's units."""
    kl_neutral: float


def template_means(templates: Sequence[str], values: Row) -> dict[str, float]:
    """Return the mean per template of a value per item; NaN values are left out."""
    rows = [
        {"template_id": template, "mean": None if math.isnan(value) else value}
        for template, value in zip(templates, values, strict=True)
    ]
    return cluster_means(rows)


def effect_of(templates: Sequence[str], values: Row) -> Effect:
    """Return the mean over templates of a value per item; `ToolError` when no item could be scored."""
    means = list(template_means(templates, values).values())
    if not means:
        raise ToolError("no prompt could be scored with this measure")
    interval = stats.mean_interval(means) if len(means) > 1 else None
    return Effect(mean=stats.mean(means), interval=interval, templates=len(means))


def band(
    kind: PlaceboKind,
    effect: Effect,
    templates: Sequence[str],
    rows: Sequence[Row],
    alternative: stats.Alternative,
) -> Band:
    """Rank an effect among those of placebo directions, given as [direction][item]."""
    by_template = [list(template_means(templates, row).values()) for row in rows]
    means = [stats.mean(found) for found in by_template if found]
    if not means:
        raise ToolError("no prompt could be scored under the placebo directions")
    ordered = sorted(means)
    cut = int(0.025 * len(ordered))
    return Band(
        kind=kind,
        directions=len(means),
        p=stats.rank_p(effect.mean, means, alternative),
        middle_95=(ordered[cut], ordered[-1 - cut]),
    )


def share_of_items(values: Row, others: Sequence[Row] | None, effect: Effect) -> float | None:
    """Return the share of items on which the effect exceeds the best of the others [direction][item]."""
    if others is None:
        return None
    turn = math.copysign(1.0, effect.mean)
    # No comparison with NaN holds: what could not be scored counts as not ahead.
    ahead = [
        all(turn * value > abs(other) for other in column)
        for value, column in zip(values, zip(*others, strict=True), strict=True)
    ]
    return sum(ahead) / len(ahead)


def band_guards(bands: Sequence[Band]) -> tuple[Guard, ...]:
    """Return whether the effect beats each kind of placebo, and whether enough concepts were at hand."""
    concepts = next((each.directions for each in bands if each.kind == "concept"), 0)
    return (
        *(
            Guard(name=f"beats {each.kind} directions", passed=each.p <= LEVEL)
            for each in bands
            if each.kind != "concept"
        ),
        Guard(
            name=f"compared with {ENOUGH_CONCEPTS} other concepts (there are {concepts})",
            passed=concepts >= ENOUGH_CONCEPTS,
        ),
    )


def graded(guards: Sequence[Guard], bands: Sequence[Band], effect: Effect, strongest: str) -> str:
    """Return the strongest words that the guards allow; all of them are exploratory."""
    if all(guard.passed for guard in guards) and effect.is_clear:
        return f"{strongest} (exploratory)"
    if effect.is_clear and all(each.p <= LEVEL for each in bands if each.kind != "concept"):
        failed = ", ".join(guard.name for guard in guards if not guard.passed)
        return f"moves the measure (exploratory); not passed: {failed}"
    return "does no more than placebo directions"


def is_monotone(doses: Sequence[DoseEffect]) -> bool:
    """Say whether the change goes one way from the lowest dose to the highest, but for 5 % of its range."""
    levels = [dose.change.mean for dose in doses if dose.dose < 0] + [0.0]
    levels += [dose.change.mean for dose in doses if dose.dose > 0]
    turn = 1 if levels[-1] >= levels[0] else -1
    slack = 0.05 * (max(levels) - min(levels))
    steps = zip(levels, levels[1:], strict=False)
    return all(turn * (after - before) >= -slack for before, after in steps)


def opposite(doses: Sequence[DoseEffect], middle: float) -> bool:
    """Say whether the middle dose and its opposite move the measure in opposite ways."""
    change = {dose.dose: dose.change.mean for dose in doses}
    return change[middle] * change[-middle] < 0


def neutral_kept(kl: float, placebos: float) -> Guard:
    """Return whether neutral text is left alone: a little KL, or no more than placebos bring."""
    return Guard(name="neutral text is kept", passed=kl <= max(HARMLESS_KL, placebos))


def steering_reading(
    templates: Sequence[str],
    plain_row: Row,
    steered: Mapping[float, Row],
    placebos: Placebos,
    kl: tuple[Sequence[float], Sequence[float]],
) -> dict[str, Any]:
    """Return what the runs of `steer` say, as fields of its result.

    `steered` goes by signed dose, the lowest first; of a placebo direction a row is half the difference
    between the middle dose and its opposite. `kl` is that on neutral text: of each dose, and of random
    directions.
    """
    positive = [dose for dose in steered if dose > 0]
    middle = positive[len(positive) // 2]
    both = zip(steered[middle], steered[-middle], strict=True)
    odd = [(up - down) / 2 for up, down in both]
    effect = effect_of(templates, odd)
    bands = bands_of(effect, templates, placebos, "two-sided")
    changes = [
        effect_of(templates, [a - b for a, b in zip(row, plain_row, strict=True)])
        for row in steered.values()
    ]
    doses = tuple(
        DoseEffect(dose=dose, change=change, kl_neutral=value)
        for dose, change, value in zip(steered, changes, kl[0], strict=True)
    )
    ahead = share_of_items(odd, placebos.get("concept"), effect)
    of_placebos = plain.median_low(kl[1])
    of_middle = kl[0][list(steered).index(middle)]
    guards = (
        *band_guards(bands),
        Guard(name="more at higher doses", passed=is_monotone(doses)),
        Guard(name="opposite signs do the opposite", passed=opposite(doses, middle)),
        Guard(name="does more than other concepts on most prompts", passed=(ahead or 0.0) > 0.5),
        neutral_kept(of_middle, of_placebos),
    )
    return {
        "reading": graded(guards, bands, effect, "controls the measure"),
        "effect": effect,
        "doses": doses,
        "bands": bands,
        "anti_steered": sum(value * effect.mean < 0 for value in odd) / len(odd),
        "ahead_of_concepts": ahead,
        "kl_placebos": of_placebos,
        "guards": guards,
    }


def ablation_reading(
    templates: Sequence[str],
    plain_row: Row,
    changes: tuple[Row, Placebos],
    kl: tuple[float, Sequence[float]],
    unrelated: Effect | None,
) -> dict[str, Any]:
    """Return what the runs of `ablate_direction` say, as fields of its result.

    `changes` are ablated less plain: of the direction, and of placebo directions. `kl` likewise, on neutral
    text.
    """
    change, placebos = changes
    effect = effect_of(templates, change)
    bands = bands_of(effect, templates, placebos, "less")
    of_placebos = plain.median_low(kl[1])
    kept = (
        []
        if unrelated is None
        else [Guard(name="unrelated skill is kept", passed=unrelated.holds_zero)]
    )
    guards = (*band_guards(bands), neutral_kept(kl[0], of_placebos), *kept)
    return {
        "reading": graded(guards, bands, effect, "contributes to the measure"),
        "before": effect_of(templates, plain_row).mean,
        "effect": effect,
        "bands": bands,
        "kl_neutral": kl[0],
        "kl_placebos": of_placebos,
        "unrelated": unrelated,
        "guards": guards,
    }


def bands_of(
    effect: Effect, templates: Sequence[str], placebos: Placebos, alternative: stats.Alternative
) -> tuple[Band, ...]:
    """Return the band of each kind of placebo that there is, always in the same order."""
    return tuple(
        band(kind, effect, templates, placebos[kind], alternative)
        for kind in get_args(PlaceboKind)
        if kind in placebos
    )
