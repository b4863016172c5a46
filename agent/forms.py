"""The registrable forms, evaluated on cluster means: estimate, interval, p and the form's own checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.prediction import Prediction
from tools import statistics as stats
from tools.measures import is_rate
from tools.registry import Record
from tools.scoring import mean

CONFIDENCE = 0.95
Means = Mapping[str, Mapping[str, float]]
"""Arm -> template -> mean of its items."""


class Check(Record):
    """A condition beside the test, with what was seen."""

    name: str
    passed: bool
    detail: str


class Test(Record):
    """One registered form, evaluated: before the threshold and the rivals."""

    statistic: str
    estimate: float
    interval: tuple[float, float]
    p: float
    clusters: int
    checks: tuple[Check, ...] = ()


def evaluate(prediction: Prediction, means: Means, seed: int) -> Test | None:
    """Evaluate the registered form on cluster means; None with fewer than two clusters."""
    forms: dict[str, Callable[..., Test | None]] = {
        "difference": difference_test,
        "skill": difference_test,
        "equivalence": equivalence_test,
        "rank": rank_test,
        "localisation": rank_test,
        "trend": trend_test,
        "existence": existence_test,
    }
    return forms[prediction.form](prediction, means, seed)


def effects(prediction: Prediction, means: Means, arm: str = "treatment") -> dict[str, float]:
    """Return the effect of an arm per cluster: arm - control, less the same on the reference if paired."""
    control = means.get("control", {})
    found: dict[str, float] = {}
    for cluster, value in means.get(arm, {}).items():
        if prediction.control is None:
            found[cluster] = value
        elif cluster in control:
            found[cluster] = value - control[cluster]
    if prediction.reference_pair and arm == "treatment":
        base = means.get("treatment_reference", {})
        base_control = means.get("control_reference", {})
        found = {
            cluster: value - (base[cluster] - base_control.get(cluster, 0.0))
            for cluster, value in found.items()
            if cluster in base and (prediction.control is None or cluster in base_control)
        }
    return {cluster: found[cluster] for cluster in sorted(found)}


def difference_test(prediction: Prediction, means: Means, seed: int) -> Test | None:
    """Sign-flip permutation of the cluster differences, in the registered direction."""
    values = list(effects(prediction, means).values())
    if len(values) < 2:
        return None
    alternative = "greater" if prediction.direction == "more" else "less"
    return Test(
        statistic=f"sign_flip/{stats.VERSIONS['sign_flip']}",
        estimate=mean(values) or 0.0,
        interval=stats.mean_interval(values, CONFIDENCE),
        p=stats.sign_flip_p(values, alternative, seed),
        clusters=len(values),
    )


def equivalence_test(prediction: Prediction, means: Means, seed: int) -> Test | None:
    """Two one-sided tests inside the registered margin."""
    values = list(effects(prediction, means).values())
    if len(values) < 2:
        return None
    return Test(
        statistic=f"tost/{stats.VERSIONS['tost']}",
        estimate=mean(values) or 0.0,
        interval=stats.mean_interval(values, CONFIDENCE),
        p=stats.tost_p(values, prediction.smallest_effect, bound=largest_effect(prediction)),
        clusters=len(values),
    )


def largest_effect(prediction: Prediction) -> float | None:
    """Return what an effect cannot exceed: 1 for rates, 2 for their differences against a reference."""
    if not is_rate(prediction.measure):
        return None
    return 2.0 if prediction.reference_pair else 1.0


def rank_test(prediction: Prediction, means: Means, seed: int) -> Test | None:
    """Rank of the treatment's mean effect among matched placebos; the effect is over their mean.

    The interval is over clusters, of treatment minus the mean of the placebos.
    """
    real = effects(prediction, means)
    names = [name for name in means if name.startswith("placebo_")]
    placebo = {name: effects(prediction, means, name) for name in names}
    shared = [cluster for cluster in real if all(cluster in values for values in placebo.values())]
    if len(shared) < 2:
        return None
    sign = 1 if prediction.direction == "more" else -1
    over = [real[c] - (mean([values[c] for values in placebo.values()]) or 0.0) for c in shared]
    totals = [sign * (mean([values[c] for c in shared]) or 0.0) for values in placebo.values()]
    return Test(
        statistic=f"rank/{stats.VERSIONS['rank']}",
        estimate=mean(over) or 0.0,
        interval=stats.mean_interval(over, CONFIDENCE),
        p=stats.rank_p(sign * (mean([real[c] for c in shared]) or 0.0), totals, "greater"),
        clusters=len(shared),
    )


def trend_test(prediction: Prediction, means: Means, seed: int) -> Test | None:
    """Sign-flip of the per-cluster slopes over the doses; the effect is slope x range of doses."""
    doses = [step.dose for step in prediction.doses]
    arms = [means.get(f"dose_{k}", {}) for k in range(len(doses))]
    shared = sorted(cluster for cluster in arms[0] if all(cluster in arm for arm in arms))
    if len(shared) < 2:
        return None
    width = max(doses) - min(doses)
    rows = [[arm[cluster] for arm in arms] for cluster in shared]
    slopes = [width * stats.trend_slope(doses, row) for row in rows]
    alternative = "greater" if prediction.direction == "more" else "less"
    sign = 1 if prediction.direction == "more" else -1
    levels = [mean([arm[cluster] for cluster in shared]) or 0.0 for arm in arms]
    ordered = [level for _, level in sorted(zip(doses, levels, strict=True))]
    steps = [sign * (after - before) for before, after in zip(ordered, ordered[1:], strict=False)]
    slack = 0.25 * prediction.smallest_effect
    return Test(
        statistic=f"trend/{stats.VERSIONS['trend']}",
        estimate=mean(slopes) or 0.0,
        interval=stats.mean_interval(slopes, CONFIDENCE),
        p=stats.trend_p(doses, rows, alternative, seed=seed),
        clusters=len(shared),
        checks=(
            Check(
                name="dose-response is monotone",
                passed=all(step >= -slack for step in steps),
                detail=", ".join(f"{level:.3f}" for level in ordered),
            ),
        ),
    )


def existence_test(prediction: Prediction, means: Means, seed: int) -> Test | None:
    """Exact binomial: in more than the registered share of templates it happens at least once."""
    values = means.get("treatment", {})
    if len(values) < 2:
        return None
    shown = sum(value > 0 for value in values.values())
    return Test(
        statistic=f"existence/{stats.VERSIONS['existence']}",
        estimate=shown / len(values),
        interval=stats.clopper_pearson_interval(shown, len(values), CONFIDENCE),
        p=stats.existence_p(shown, len(values), prediction.smallest_effect),
        clusters=len(values),
    )
