"""Predictions in plain words: arms, edits, interventions, measures and sizes, the same for every finding.

No sentence of an investigator passes through here. Text that an edit inserts, and values of slots,
are quoted, cut short and made harmless.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agent.prediction import Prediction
from agent.safe_text import one_line
from agent.submission import Fix
from tools.measures import (
    AnswerMatch,
    JudgedMeasure,
    LogprobDifference,
    Measure,
    ProbeReading,
    RegularExpression,
    WordClassifier,
    WordCount,
    unit,
)
from tools.prompt import (
    AblateDirection,
    AddTurns,
    Arm,
    ChooseLevel,
    ForceStart,
    FormatNumbers,
    InsertText,
    Intervention,
    PatchFrom,
    ReplaceText,
    SetSlot,
    Steer,
    SwapSlots,
    Transform,
)

LISTED = 4
PLACES = {
    "before": "before the user's words",
    "after": "after the user's words",
    "system": "into the system turn",
}
STYLES = {
    "equal_decimals": "padding the numbers in {slots} with zeros to equal decimals",
    "one_more_zero": "padding the numbers in {slots} with one more zero",
    "words": "spelling out the numbers in {slots}",
}
MODELS = {"subject": "the subject", "reference": "the reference model"}
FACTORS = {"points": 100.0, "nats": 1.0, "words": 1.0}
MOST_DECIMALS = 4


def name(text: str) -> str:
    """Return a name or a value in backticks, harmless and short."""
    told = one_line(text, 60).replace("`", chr(0x2BC))
    # Two backticks with nothing between them would turn all that follows inside out.
    return f"`{told}`" if told else "an empty text"


def said(text: str, limit: int = 90) -> str:
    """Return words that an edit says, or judges are asked, in quotation marks, harmless and short."""
    return f"“{one_line(text, limit).replace('`', chr(0x2BC))}”"


def words(text: str) -> str:
    """Return somebody's words for a sentence of ours, harmless and without quotation marks."""
    return one_line(text, 120).replace("`", chr(0x2BC))


def listed(texts: Sequence[str], last: str = "or") -> str:
    """Return phrases as a list in words, at most four of them."""
    shown = list(texts[:LISTED])
    if len(texts) > LISTED:
        return f"{', '.join(shown)} {last} {len(texts) - LISTED} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"


def texts_of(texts: Sequence[str]) -> str:
    """Return one inserted text, or a sample of the paraphrases that templates take in turn."""
    if len(texts) == 1:
        return said(texts[0])
    return f"one of {len(texts)} paraphrases such as {said(texts[0])}"


def describe_edit(edit: Transform) -> str:
    """Return what an edit does, as "setting ...", "putting ..."."""
    match edit:
        case SetSlot():
            return f"setting {name(edit.slot)} to {listed([name(v) for v in edit.values])}"
        case ChooseLevel():
            return f"setting {name(edit.slot)} to level {name(edit.level)}"
        case SwapSlots():
            return describe_swap(edit)
        case InsertText():
            return f"putting {texts_of(edit.texts)} {PLACES[edit.where]}"
        case ReplaceText(new=""):
            return f"taking {said(edit.old)} out of the user's words"
        case ReplaceText():
            return f"replacing {said(edit.old)} by {said(edit.new)} in the user's words"
        case FormatNumbers():
            slots = listed([name(slot) for slot in edit.slots], "and")
            return STYLES[edit.style].format(slots=slots)
        case AddTurns():
            count = len(edit.turns)
            turns = "an earlier turn" if count == 1 else f"{count} earlier turns"
            return f"adding {turns} ({edit.turns[0].role}: {said(edit.turns[0].content)})"
        case ForceStart():
            return f"forcing the answer to begin with {said(edit.text)}"


def describe_swap(edit: SwapSlots) -> str:
    """Return what an exchange of two slots does."""
    first, second = map(name, edit.slots)
    if edit.condition == "always" or edit.anchor is None:
        return f"exchanging {first} and {second}"
    place = "first" if edit.condition == "put_first" else "last"
    return (
        f"putting the value of {name(edit.anchor)} {place} in reading order (exchanging {first} and {second} "
        "where needed)"
    )


def aspects(edit: Transform) -> tuple[str, ...]:
    """Return what an edit changes by the names that an answer gives it, beside those of its slots."""
    match edit:
        case SwapSlots():
            return ("order", edit.condition.removeprefix("put_"))
        case FormatNumbers():
            return ("digits", "length", "number format", edit.style.replace("_", " "))
        case _:
            return ()


def differing_edits(prediction: Prediction) -> list[Transform]:
    """Return the edits of the treatment that the control does not have."""
    control = prediction.control.edits if prediction.control else ()
    return [edit for edit in prediction.treatment.edits if edit not in control]


def describe_intervention(intervention: Intervention) -> str:
    """Return what an intervention on activations does."""
    match intervention:
        case Steer():
            where = "" if intervention.positions == "all" else ", at the generated tokens only"
            return (
                f"adding {number(intervention.coefficient)} times the direction {name(intervention.direction[:12])} "
                f"to the residual stream after layer {intervention.layer}{where}"
            )
        case AblateDirection():
            layers = ", ".join(map(str, intervention.layers))
            where = f"after layers {layers}" if layers else "after every layer"
            return f"projecting the direction {name(intervention.direction[:12])} out of the residual stream {where}"
        case PatchFrom():
            place = "the last prompt token" if intervention.position == -1 else "prompt position "
            place += "" if intervention.position == -1 else str(intervention.position)
            source = listed([describe_edit(edit) for edit in intervention.source], "and")
            return (
                f"replacing the activations at {name(intervention.site)} of layer {intervention.layer}, {place}, "
                f"by those of the same prompt after {source}"
            )


def parts_of(arm: Arm) -> list[str]:
    """Return everything an arm does to prompt and activations."""
    parts = [describe_edit(edit) for edit in arm.edits]
    if arm.intervention is not None:
        parts.append(describe_intervention(arm.intervention))
    return parts


def describe_arm(arm: Arm) -> str:
    """Return an arm in words: what is done, in which model."""
    done = listed(parts_of(arm), "and") if parts_of(arm) else "the prompt as it is"
    return done if arm.model == "subject" else f"{done}, in the reference model"


def describe_fix(fix: Fix) -> str:
    """Return in words what a fix does to the subject."""
    parts = parts_of(fix.arm())
    if fix.weights is not None:
        places = [f"{name(each.part)} of layer {each.layer}" for each in fix.weights.matrices]
        parts.append(
            f"taking the direction {name(fix.weights.direction[:12])} out of the weights that write "
            f"{listed(places, 'and')}"
        )
    if fix.adapter_scale is not None:
        parts.append(f"scaling its adapter to {number(fix.adapter_scale)}")
    return listed(parts, "and")


def contrast(treatment: Arm, control: Arm | None) -> str:
    """Return treatment against control, leaving out what both have: "setting `a` to `b` rather than `c`"."""
    if control is None:
        return listed(parts_of(treatment), "and") or "the prompt as it is"
    shared = [part for part in parts_of(treatment) if part in parts_of(control)]
    wanted = [part for part in parts_of(treatment) if part not in shared]
    other = [part for part in parts_of(control) if part not in shared]
    if not wanted and not other and treatment.model != control.model:
        text = f"asking {MODELS[treatment.model]} rather than {MODELS[control.model]}"
    elif len(wanted) == len(other) == 1:
        text = alternatives(treatment, control, wanted[0], other[0])
    elif not other:
        text = (listed(wanted, "and") if wanted else "the prompt as it is") + (
            " rather than not" if wanted else ""
        )
    elif not wanted:
        text = f"leaving the prompt as it is rather than {listed(other, 'and')}"
    else:
        text = f"{listed(wanted, 'and')}, rather than {listed(other, 'and')},"
    return f"{text} (in both arms: {listed(shared, 'and')})" if shared else text


def alternatives(treatment: Arm, control: Arm, wanted: str, other: str) -> str:
    """Return one edit against another; where only the value differs, only the value is repeated."""
    ours = next((e for e in treatment.edits if describe_edit(e) == wanted), None)
    theirs = next((e for e in control.edits if describe_edit(e) == other), None)
    match (ours, theirs):
        case (ChooseLevel(), ChooseLevel()) if ours.slot == theirs.slot:
            return f"{wanted} rather than {name(theirs.level)}"
        case (SetSlot(), SetSlot()) if ours.slot == theirs.slot:
            return f"{wanted} rather than {listed([name(v) for v in theirs.values])}"
        case (InsertText(), InsertText()) if ours.where == theirs.where:
            return f"{wanted} rather than {texts_of(theirs.texts)}"
        case _:
            return f"{wanted} rather than {other}"


def describe_measure(measure: Measure) -> str:
    """Return what a measure measures, as a noun phrase: "how often the answer names `x`"."""
    match measure:
        case AnswerMatch():
            values = listed([name(v) for v in measure.values])
            if not measure.against:
                return f"how often the answer names {values}"
            return f"how often the answer names {values} before {listed([name(v) for v in measure.against])}"
        case RegularExpression():
            return f"how often the answer matches the pattern {name(measure.pattern)}"
        case WordCount():
            return "the length of the answer"
        case WordClassifier():
            heavy = sorted(measure.weights, key=lambda w: (-measure.weights[w], w))
            return f"how often the answer is told by its words (such as {listed([name(w) for w in heavy], 'and')})"
        case JudgedMeasure():
            return f"how often judges say yes to {said(measure.question, 240)}"
        case LogprobDifference():
            positive = listed([name(v) for v in measure.positive])
            negative = listed([name(v) for v in measure.negative])
            return f"the log-probability of {positive} over {negative} as the start of the answer"
        case ProbeReading():
            than = ", less how often the prompt's words alone say so" if measure.against else ""
            return f"how often the probe {name(measure.direction[:12])} reads above its threshold{than}"


def number(value: float) -> str:
    """Return a number with three significant digits and no exponent where one can do without."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
        text = f"{value:.{digits}f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3g}"


def size(value: float, measure: Measure, *, signed: bool = False) -> str:
    """Return an effect without its unit: points for rates, nats or words otherwise."""
    if unit(measure) == "nats":
        text = nats(value)
    else:
        scaled = FACTORS[unit(measure)] * value
        small = abs(scaled) < 0.995 and unit(measure) != "points"
        digits = 2 if small else 0 if abs(scaled) >= 9.95 else 1
        text = f"{scaled:+.{digits}f}"
        text = "0" if float(text) == 0 else text
    return text if signed or text[0] not in "+" else text[1:]


def nats(value: float) -> str:
    """Return a number of nats with its sign: two decimals below 10, and two digits of what is smaller than 0.1."""
    if abs(value) >= 9.995:
        return f"{value:+.0f}"
    small = MOST_DECIMALS if value == 0 else 1 - math.floor(math.log10(abs(value)))
    text = f"{value:+.{min(max(small, 2), MOST_DECIMALS)}f}"
    return "0" if float(text) == 0 else text


def with_unit(value: float, measure: Measure, *, signed: bool = False) -> str:
    """Return an effect with its unit."""
    return f"{size(value, measure, signed=signed)} {unit(measure)}"


def interval_words(interval: tuple[float, float] | None, measure: Measure) -> str:
    """Return an interval as "80 to 91"; that of a rate ends where rates and their differences do."""
    if interval is None:
        return "none"
    most = 1.0 if unit(measure) == "points" else math.inf
    return " to ".join(size(min(max(bound, -most), most), measure) for bound in interval)


def p_value(p: float | None) -> str:
    """Return a p-value or a threshold, with two significant digits."""
    if p is None:
        return "none"
    return "below 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def predicted(prediction: Prediction) -> str:
    """Return what was registered, as a clause: "setting ... raises ... by at least 10 points"."""
    return where(prediction) + foretold(prediction)


def where(prediction: Prediction) -> str:
    """Return on which templates a statement holds, as its beginning: "on templates that show `a`, "; empty for all."""
    choice = prediction.templates
    if choice is None:
        return ""
    parts = (
        [f"show {listed([name(slot) for slot in choice.showing], 'and')}"] if choice.showing else []
    )
    parts += (
        [f"do not show {listed([name(slot) for slot in choice.hiding])}"] if choice.hiding else []
    )
    return f"on templates that {' and '.join(parts)}, "


def foretold(prediction: Prediction) -> str:
    """Return what was registered, without the templates it was registered for."""
    what, least = (
        describe_measure(prediction.measure),
        with_unit(prediction.smallest_effect, prediction.measure),
    )
    verb = "raises" if prediction.direction == "more" else "lowers"
    edits = contrast(prediction.treatment, prediction.control)
    match prediction.form:
        case "equivalence":
            return f"{edits} changes {what} by less than {least} either way"
        case "existence":
            share = f"{100 * prediction.smallest_effect:.0f} %"
            return (
                f"with {edits}, it happens at least once in more than {share} of templates ({what})"
            )
        case "trend":
            return f"{trend_words(prediction)} {verb} {what} by at least {least}"
        case "rank" | "localisation":
            count = len(prediction.placebos)
            return f"{edits} {verb} {what} more than each of {count} matched placebos do, by at least {least}"
        case "difference" | "skill":
            pair = (
                ", beyond what it does in the reference model" if prediction.reference_pair else ""
            )
            return f"{edits} {verb} {what} by at least {least}{pair}"


def trend_words(prediction: Prediction) -> str:
    """Return the doses of a trend in words."""
    doses = sorted(prediction.doses, key=lambda dose: dose.dose)
    low, high = doses[0], doses[-1]
    return (
        f"going over {len(doses)} steps from {describe_arm(low.arm)} (dose {number(low.dose)}) "
        f"to {describe_arm(high.arm)} (dose {number(high.dose)})"
    )
