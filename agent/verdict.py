"""The verdict: computed from the raw table of a confirmation by the registered rule. Nobody sets it.

Everything here is a pure function of (prediction, table, threshold, seed), in exact summation, so
that `verify` gets the same digits on any machine. The unit is the template: tests act on template
means, never on prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from agent.forms import CONFIDENCE, Check, Means, Test, effects, evaluate
from agent.prediction import Prediction, Rival
from tools import statistics as stats
from tools.judging import agreement_in
from tools.measures import JudgedMeasure, is_rate
from tools.registry import Record
from tools.scoring import cluster_means, mean
from tools.sequential import holm

Status = Literal["supported", "effect shown, cause open", "refuted", "inconclusive"]
Rows = Sequence[dict[str, Any]]
Table = Mapping[str, Rows]
FLOOR, CEILING = 0.05, 0.95
"""A check that decides: a reference whose rates both lie beyond has no room in which an effect could show.

Wider than `AT_AN_END` of agent/scope.py, which decides nothing and words a limit.
"""
NOTHING = 1e-9
"""A difference that is rounding: two arms that do the same in every template differ by so much."""
MUST_LACK = 0.5
"""Of the effect, so much at least must be missing in an arm that is to be excluded as its explanation."""
UNSCORED_GAP = 0.10
"""Arms whose shares of unscored outputs differ by more are not comparable: the edit chose what is scored."""

READERS_AGREE = 0.80
"""Judges who agree on a smaller share of outputs do not read one question."""


class RivalOutcome(Record):
    """How one rival explanation fared."""

    name: str
    standing: bool
    difference: float | None
    """Treatment minus the rival's arm, in the registered direction; None when the rival gave a range."""
    interval: tuple[float, float] | None
    excluded: bool


class Verdict(Record):
    """What the data say of a prediction."""

    status: Status
    estimate: float | None
    """The registered effect in the measure's units, signed as measured (not as predicted)."""
    interval: tuple[float, float] | None
    p: float | None
    threshold: float
    """What p had to reach: alpha / M, or Holm's step within the batch."""
    statistic: str
    clusters: int
    items: int
    unscored: int
    arms: dict[str, float | None]
    """Mean over clusters, by arm."""
    rivals: tuple[RivalOutcome, ...] = ()
    checks: tuple[Check, ...] = ()
    reference_scope: str | None = None


def decide(prediction: Prediction, table: Table, threshold: float, seed: int) -> Verdict:
    """Apply the registered rule to the table of a confirmation."""
    means = {name: cluster_means(rows) for name, rows in table.items()}
    registered = [name for name in prediction.arms() if name in table]
    items = sum(len(table[name]) for name in registered)
    unscored = sum(row["mean"] is None for name in registered for row in table[name])
    fields: dict[str, Any] = {
        "threshold": threshold,
        "items": items,
        "unscored": unscored,
        "arms": {name: mean(list(values.values())) for name, values in means.items()},
    }
    test = evaluate(prediction, means, seed)
    if test is None:
        check = Check(
            name="enough clusters", passed=False, detail="fewer than two templates could be scored"
        )
        return Verdict(
            status="inconclusive", estimate=None, interval=None, p=None, clusters=0,
            statistic=f"{prediction.form}/none", checks=(check,), **fields,
        )  # fmt: skip
    rivals = tuple(
        judge_rival(prediction, rival, k, means, test) for k, rival in enumerate(prediction.rivals)
    )
    checks = (
        *test.checks,
        *scoring_checks(prediction, table),
        *judge_checks(prediction, table),
        *reference_checks(prediction, means),
    )
    return Verdict(
        status=status_of(prediction, test, threshold, rivals, checks),
        estimate=test.estimate,
        interval=test.interval,
        p=test.p,
        statistic=test.statistic,
        clusters=test.clusters,
        rivals=rivals,
        checks=checks,
        reference_scope=scope_against_reference(prediction, means),
        **fields,
    )


def decide_batch(
    predictions: Sequence[Prediction],
    tables: Sequence[Table],
    shares: Sequence[float],
    seeds: Sequence[int],
) -> list[Verdict]:
    """Decide predictions that were registered together, by Holm's steps within their summed alpha.

    Source: Holm 1979. The batch as a whole spends the sum of its shares, so a run that registers one
    by one and a run that registers all at once have the same family-wise error.
    """
    first = [decide(*each) for each in zip(predictions, tables, shares, seeds, strict=True)]
    p_values = [1.0 if verdict.p is None else verdict.p for verdict in first]
    total = sum(shares)
    order = sorted(range(len(first)), key=p_values.__getitem__)
    steps = {k: total / (len(order) - rank) for rank, k in enumerate(order)}
    thresholds = [
        steps[k] if adjusted <= total else min(share, steps[k])
        for k, (adjusted, share) in enumerate(zip(holm(p_values), shares, strict=True))
    ]
    return [
        verdict if threshold == verdict.threshold else decide(prediction, table, threshold, seed)
        for verdict, prediction, table, threshold, seed in zip(
            first, predictions, tables, thresholds, seeds, strict=True
        )
    ]


def status_of(
    prediction: Prediction,
    test: Test,
    threshold: float,
    rivals: Sequence[RivalOutcome],
    checks: Sequence[Check],
) -> Status:
    """Turn a test into a status: the rule of the registered form, then rivals and checks."""
    sign = 1 if prediction.direction == "more" else -1
    low, high = sorted((sign * test.interval[0], sign * test.interval[1]))
    size = prediction.smallest_effect
    if prediction.form == "equivalence":
        if test.p <= threshold:
            return "supported" if all(check.passed for check in checks) else "inconclusive"
        return "refuted" if min(abs(low), abs(high)) > size and low * high > 0 else "inconclusive"
    if prediction.form == "existence":
        if test.p <= threshold:
            return "supported" if all(check.passed for check in checks) else "inconclusive"
        return "refuted" if test.interval[1] < size else "inconclusive"
    if test.p <= threshold and low > 0 and sign * test.estimate >= size:
        clear = all(rival.excluded for rival in rivals) and all(check.passed for check in checks)
        return "supported" if clear else "effect shown, cause open"
    return "refuted" if high < size else "inconclusive"


def judge_rival(
    prediction: Prediction,
    rival: Rival,
    number: int,
    means: Means,
    test: Test,
) -> RivalOutcome:
    """Say whether the data exclude what a rival predicts.

    A rival with an arm predicts that the arm does the same as the treatment: it is excluded when the
    95 % interval of treatment minus arm lies beyond zero in the registered direction, and the arm brings
    less than half of the effect. With data enough any small difference is sure, and an arm that brings
    most of the effect explains most of it. A rival with a range is excluded when the interval of the
    effect lies outside the range.
    """
    if rival.predicts is not None:
        low, high = rival.predicts
        excluded = test.interval[0] > high or test.interval[1] < low
        return RivalOutcome(
            name=rival.name,
            standing=rival.standing,
            difference=None,
            interval=None,
            excluded=excluded,
        )
    arm, real = means[f"rival_{number}"], claimed_arm(prediction, means)
    if prediction.reference_pair:
        arm = beyond(arm, means.get(f"rival_{number}_reference", {}))
        real = beyond(real, means.get("treatment_reference", {}))
    sign = 1 if prediction.direction == "more" else -1
    over = [sign * (real[c] - arm[c]) for c in sorted(real) if c in arm]
    if len(over) < 2:
        return RivalOutcome(
            name=rival.name, standing=rival.standing, difference=None, interval=None, excluded=False
        )
    interval, difference = stats.mean_interval(over, CONFIDENCE), stats.mean(over)
    # The estimate of an existence claim is a share of templates, which no difference compares with.
    least = 0.0 if prediction.form == "existence" else MUST_LACK * abs(test.estimate)
    return RivalOutcome(
        name=rival.name,
        standing=rival.standing,
        difference=difference,
        interval=interval,
        excluded=interval[0] > NOTHING and difference >= least,
    )


def beyond(arm: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    """Return by how much an arm exceeds the same arm on the reference, per cluster."""
    return {cluster: arm[cluster] - reference[cluster] for cluster in arm if cluster in reference}


def claimed_arm(prediction: Prediction, means: Means) -> Mapping[str, float]:
    """Return the arm that a rival has to match: the treatment, or the highest dose of a trend."""
    if prediction.form != "trend":
        return means["treatment"]
    highest = max(range(len(prediction.doses)), key=lambda k: prediction.doses[k].dose)
    return means[f"dose_{highest}"]


def scoring_checks(prediction: Prediction, table: Table) -> tuple[Check, ...]:
    """Check that arms are not compared on the part of their outputs that happened to be scorable."""
    shares: dict[str, float] = {}
    for name in prediction.arms():
        if name.startswith("rival_") or name not in table:
            continue
        scores = [score for row in table[name] for score in row["scores"]]
        shares[name] = sum(score is None for score in scores) / len(scores) if scores else 1.0
    if not any(shares.values()):
        return ()
    least = min(shares.values()) if len(shares) > 1 else 0.0
    return (
        Check(
            name="as much could be scored in every arm",
            passed=max(shares.values()) - least <= UNSCORED_GAP,
            detail=", ".join(f"{name} {share:.0%} unscored" for name, share in shares.items()),
        ),
    )


def judge_checks(prediction: Prediction, table: Table) -> tuple[Check, ...]:
    """Check that two judges read the contrast's outputs alike; of a single one there is nothing to check.

    Rivals, placebos and scope are left out: many outputs that nobody can mistake would hide those that matter.
    """
    if not isinstance(prediction.measure, JudgedMeasure):
        return ()
    beside = ("rival_", "placebo_")
    contrast = {
        name: table[name]
        for name in prediction.arms()
        if name in table and not name.startswith(beside)
    }
    names = {name: name for rows in contrast.values() for row in rows for name in row["judgements"]}
    if len(names) < 2:
        return ()
    found = agreement_in(contrast, names)
    return (
        Check(
            name="the judges agree",
            passed=found.agreement is not None and found.agreement >= READERS_AGREE,
            detail=found.words(),
        ),
    )


def reference_checks(prediction: Prediction, means: Means) -> tuple[Check, ...]:
    """For a difference of differences of rates: the base has room to move, the sign agrees in log odds."""
    if (
        not prediction.reference_pair
        or not is_rate(prediction.measure)
        or prediction.control is None
    ):
        return ()
    rate = {name: mean(list(means[name].values())) or 0.0 for name in means}
    base = (rate["treatment_reference"], rate["control_reference"])
    room = not (max(base) < FLOOR or min(base) > CEILING)
    shift = stats.logit_shift(rate["treatment"], rate["control"]) - stats.logit_shift(*base)
    plain = (rate["treatment"] - rate["control"]) - (base[0] - base[1])
    return (
        Check(
            name="reference is neither at floor nor at ceiling",
            passed=room,
            detail=f"reference rates {base[0]:.3f} and {base[1]:.3f}",
        ),
        Check(
            name="sign agrees on the logit scale",
            passed=shift * plain > 0,
            detail=f"{plain:+.3f} in rate, {shift:+.3f} in log odds",
        ),
    )


def scope_against_reference(prediction: Prediction, means: Means) -> str | None:
    """Say whether the reference shares the effect; a matter of scope, never a downgrade."""
    if "scope_treatment" not in means:
        return None
    base, base_control = means["scope_treatment"], means.get("scope_control")
    pairs = [c for c in sorted(base) if base_control is None or c in base_control]
    if len(pairs) < 2:
        return "reference not comparable"
    shared = [base[c] - (base_control[c] if base_control else 0.0) for c in pairs]
    own = mean(list(effects(prediction, means).values())) or 0.0
    low, high = stats.mean_interval(shared, CONFIDENCE)
    half = 0.5 * abs(own)
    sign = 1 if own >= 0 else -1
    if sign * (mean(shared) or 0.0) >= half and low * high > 0:
        return "inherited from the reference"
    if max(sign * low, sign * high) < half:
        return "added by training"
    return "not settled against the reference"
