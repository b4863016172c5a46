"""What a verdict says in words: the statement of a finding, which code alone writes."""

from __future__ import annotations

from collections.abc import Sequence

from agent.counters import Counter
from agent.prediction import Prediction
from agent.verdict import Verdict
from agent.wording import (
    MODELS,
    capital,
    contrast,
    describe_arm,
    describe_measure,
    interval_words,
    listed,
    p_value,
    predicted,
    trend_words,
    where,
    with_unit,
    words,
)


def effect_words(prediction: Prediction, verdict: Verdict) -> str:
    """Return the effect with unit; an existence claim is a share of templates."""
    assert verdict.estimate is not None
    if prediction.form == "existence":
        return f"{100 * verdict.estimate:.0f} % of templates"
    return with_unit(verdict.estimate, prediction.measure, signed=True)


def bounds(prediction: Prediction, verdict: Verdict) -> str:
    """Return the 95 % interval in words."""
    if prediction.form == "existence" and verdict.interval is not None:
        return " to ".join(f"{100 * bound:.0f}" for bound in verdict.interval) + " %"
    return interval_words(verdict.interval, prediction.measure)


def numbers_of(prediction: Prediction, verdict: Verdict) -> str:
    """Return interval, n, p and threshold, as they stand in brackets."""
    arms = sum(name in prediction.arms() for name in verdict.arms) or 1
    return (
        f"95 % interval {bounds(prediction, verdict)}; {verdict.clusters} unseen templates, "
        f"{verdict.items // arms} prompts per arm; p = {p_value(verdict.p)}, needed {p_value(verdict.threshold)}"
    ).replace("p = below", "p below")


def statement_of(
    prediction: Prediction,
    verdict: Verdict | None,
    counters: Sequence[Counter] = (),
) -> str:
    """Return the registered statement: what the data say of the prediction, worded by code.

    `counters` are later tests of the same contrast; one in which a rival survives may open the cause.
    """
    if verdict is None:
        return f"Predicted and not tested: {predicted(prediction)}."
    if verdict.estimate is None:
        return (
            f"Predicted that {predicted(prediction)}. Too little could be scored to say anything."
        )
    numbers, place = numbers_of(prediction, verdict), where(prediction)
    if verdict.status in ("refuted", "inconclusive"):
        seen = effect_words(prediction, verdict)
        end = "refuted" if verdict.status == "refuted" else "not settled either way"
        if smaller_than_asked(prediction, verdict):
            least = with_unit(prediction.smallest_effect, prediction.measure)
            end = f"smaller than asked: an effect in the predicted direction, but less than {least}"
        return f"Predicted that {predicted(prediction)}. Seen was {seen} ({numbers}): {end}."
    if verdict.status == "supported":
        opened = [each for each in counters if each.opens]
        if opened:
            names = "; ".join(f"{survivors(each.verdict)} ({each.id})" for each in opened)
            return (
                f"{capital(place + open_statement(prediction, verdict))} ({numbers}). "
                f"The cause is open after a counter-experiment: {names}."
            )
        failed = [each.id for each in counters if each.verdict.status == "refuted"]
        tail = (
            f" The same contrast was refuted when it was tested again ({failed[0]})."
            if failed
            else ""
        )
        beaten = "".join(beaten_words(prediction, each) for each in counters)
        return (
            f"{capital(place + effect_statement(prediction, verdict))} ({numbers}).{beaten}{tail}"
        )
    return (
        f"{capital(place + open_statement(prediction, verdict))} ({numbers}). "
        f"The cause is open: {survivors(verdict)}."
    )


def beaten_words(prediction: Prediction, counter: Counter) -> str:
    """Return what a rival takes from an effect whose cause it does not open."""
    if not counter.beaten:
        return ""
    over = [
        f"{words(each.rival)}, beyond which it is {with_unit(abs(each.over), prediction.measure)} ({each.by})"
        for each in counter.beaten
    ]
    return f" Part of it comes also with {listed(over, 'and')}: not excluded in {counter.id}, and beaten directly."


def smaller_than_asked(prediction: Prediction, verdict: Verdict) -> bool:
    """Say whether a refuted prediction was one of size only: the interval excludes 0 in its direction."""
    if verdict.status != "refuted" or verdict.interval is None:
        return False
    if prediction.form in ("equivalence", "existence"):
        return False
    low, high = verdict.interval
    return low > 0 if prediction.direction == "more" else high < 0


def effect_statement(prediction: Prediction, verdict: Verdict) -> str:
    """Return a supported effect as a clause with its size."""
    assert verdict.estimate is not None
    what = describe_measure(prediction.measure)
    verb = "raises" if verdict.estimate > 0 else "lowers"
    by = with_unit(abs(verdict.estimate), prediction.measure)
    edits = contrast(prediction.treatment, prediction.control)
    match prediction.form:
        case "equivalence":
            margin = with_unit(prediction.smallest_effect, prediction.measure)
            seen = with_unit(verdict.estimate, prediction.measure, signed=True)
            control = prediction.control
            if control is not None and prediction.treatment.model != control.model:
                return (
                    f"{what} differs by less than {margin} either way between {models(prediction)}"
                ).replace(" than for ", " and ") + f": seen was {seen}"
            return f"{edits} changes {what} by less than {margin} either way: seen was {seen}"
        case "existence":
            share = f"{100 * verdict.estimate:.0f} %"
            return f"with {edits}, it happens at least once in {share} of templates ({what})"
        case "trend":
            return f"{trend_words(prediction)} {verb} {what} by {by}"
        case "rank" | "localisation":
            placebos = len(prediction.placebos)
            return f"{edits} {verb} {what} by {by} beyond the mean of {placebos} matched placebos"
        case "difference" | "skill":
            pass
    control = prediction.control
    if control is not None and prediction.treatment.model != control.model:
        return f"{what} is {higher(verdict.estimate)} by {by} for {models(prediction)}"
    pair = " beyond what it does in the reference model" if prediction.reference_pair else ""
    return f"{edits} {verb} {what} by {by}{pair}"


def open_statement(prediction: Prediction, verdict: Verdict) -> str:
    """Return an effect whose cause is open, in words that name no cause."""
    assert verdict.estimate is not None
    by = with_unit(abs(verdict.estimate), prediction.measure)
    what = describe_measure(prediction.measure)
    control = prediction.control
    if control is not None and prediction.treatment.model != control.model:
        under = f"for {models(prediction)}"
    elif prediction.form == "trend":
        under = f"when {trend_words(prediction)}"
    else:
        under = f"when {contrast(prediction.treatment, control)}"
    return f"{what} was {higher(verdict.estimate)} by {by} {under}"


def higher(estimate: float) -> str:
    """Return the direction of a comparison."""
    return "higher" if estimate > 0 else "lower"


def models(prediction: Prediction) -> str:
    """Return a contrast of models in words."""
    assert prediction.control is not None
    text = f"{MODELS[prediction.treatment.model]} than for {MODELS[prediction.control.model]}"
    same = prediction.treatment.edits == prediction.control.edits
    if same and prediction.treatment.edits:
        return f"{text}, after {describe_arm(prediction.treatment.model_copy(update={'model': 'subject'}))}"
    return text if same else f"{text}, with {contrast(prediction.treatment, prediction.control)}"


def survivors(verdict: Verdict) -> str:
    """Return what stands between an effect and its cause."""
    alive = [words(rival.name) for rival in verdict.rivals if not rival.excluded]
    failed = [
        words(f"{check.name} ({check.detail})") for check in verdict.checks if not check.passed
    ]
    parts = [f"not excluded is {listed(alive, 'and')}"] if alive else []
    parts += [f"a check failed: {listed(failed, 'and')}"] if failed else []
    return "; ".join(parts) or "a control failed"
