"""The answer in three sentences: what the investigator answered, what was shown, how sure one may be."""

from __future__ import annotations

import re

from pydantic import Field

from agent.finding import Finding
from agent.investigation import Investigation
from agent.prediction import Prediction
from agent.scope import NO_REFERENCE
from agent.set_reading import place_of
from agent.submission import Answer
from agent.wording import aspects, capital, describe_fix, differing_edits, listed, name
from tools.measures import is_rate
from tools.prompt import ChooseLevel
from tools.registry import Record

KINDS = {
    "word": "the hidden word is {value}",
    "factor": "what makes the difference is {value}",
    "reading": "the model reads the prompt as {value}",
    "attribute": "what matters about the user is {value}",
    "persona": "the part that it plays is {value}",
    "fact": "what it holds true is {value}",
    "trigger": "the trigger is {value}",
    "rule": "the rule is {value}",
}
MODELS_IN_ORDER = ("subject", "reference")
SCOPES = {
    "inherited": ", which the reference does too",
    "added": ", which the reference does not do",
    "unknown": "",
}


class AnswerPart(Record):
    """The structured answer, and three sentences that code worded."""

    kind: str
    value: tuple[str, ...]
    confidence: float
    guesses: tuple[str, ...]
    refuted_guesses: dict[str, tuple[str, ...]] = {}
    """Guess -> the findings that speak against it; only where none is for it."""
    submitted: bool
    fix: str = ""
    """What is said to remove the behaviour, in words; what else it changes was not tested here."""
    layers: tuple[int, ...] = ()
    heads: tuple[str, ...] = Field(default=(), exclude_if=lambda heads: not heads)
    positions: tuple[int, ...] = Field(default=(), exclude_if=lambda positions: not positions)

    @property
    def places(self) -> str:
        """Return layers, heads and positions in words; empty where none was named."""
        named = {"layers": self.layers, "heads": self.heads, "positions": self.positions}
        return "; ".join(
            f"{kind} {', '.join(map(str, each))}" for kind, each in named.items() if each
        )

    """Layers that were named as the place of it."""
    supported_by: tuple[str, ...]
    """Findings with status "supported" whose contrast or measure names a value of the answer."""
    sentences: tuple[str, str, str]


def answer_part(investigation: Investigation, found: list[Finding]) -> AnswerPart:
    """Return the answer with its three sentences."""
    submission = investigation.submission
    answer = submission.answer if submission else Answer(kind="unknown", confidence=0.0)
    backing = naming(found, answer.value, "supported")
    opened = () if backing else naming(found, answer.value, "effect shown, cause open")
    return AnswerPart(
        kind=answer.kind,
        value=answer.value,
        confidence=answer.confidence,
        guesses=answer.guesses,
        refuted_guesses={
            guess: against for guess in answer.guesses if (against := refuting(found, guess))
        },
        fix=describe_fix(submission.fix) if submission and submission.fix else "",
        layers=submission.layers if submission else (),
        heads=tuple(each.name for each in submission.heads) if submission else (),
        positions=submission.positions if submission else (),
        submitted=submission is not None,
        supported_by=backing,
        sentences=(
            answered(investigation, answer, found),
            shown(investigation, found, backing, opened),
            how_sure(investigation, [] if opened else found),
        ),
    )


def refuting(found: list[Finding], guess: str) -> tuple[str, ...]:
    """Return the findings that tested a guess and refuted it; none while another finding stands for it."""
    named = [
        each for each in found if each.verdict is not None and names_any(each.prediction, (guess,))
    ]
    against = tuple(each.id for each in named if speaks_against(each))
    alive = ("supported", "effect shown, cause open")
    if any(each.decided in alive and not speaks_against(each) for each in named):
        return ()
    return against


def speaks_against(finding: Finding) -> bool:
    """Say whether a finding denies that what it compared matters: it was refuted, or shown to change nothing."""
    assert finding.prediction is not None
    if finding.prediction.form == "equivalence":
        return finding.decided == "supported"
    return finding.decided == "refuted"


def names_any(prediction: Prediction | None, values: tuple[str, ...]) -> bool:
    """Say whether what a prediction compares, or its measure, names one of the values in whole words.

    A value such as `slot = level` counts when both are named. Of a level that lowers what is measured the one that it
    was compared with may be named as well: under that one it happens more often.
    """
    if prediction is None:
        return False
    differing = differing_edits(prediction)
    if prediction.control is not None and prediction.direction == "less":
        slots = {edit.slot for edit in differing if isinstance(edit, ChooseLevel)}
        control = prediction.control.edits
        differing += [e for e in control if isinstance(e, ChooseLevel) and e.slot in slots]
    text = " ".join(
        [
            *(edit.model_dump_json() for edit in differing),
            *(aspect for edit in differing for aspect in aspects(edit)),
            prediction.measure.model_dump_json(),
        ]
    )
    wanted = [[part for part in re.split(r"[=:`]", value) if part.strip()] for value in values]
    return any(parts and all(has_words(text, part.strip()) for part in parts) for parts in wanted)


def has_words(text: str, words: str) -> bool:
    """Say whether a text has these words, whole and in any case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def naming(found: list[Finding], values: tuple[str, ...], status: str) -> tuple[str, ...]:
    """Return the findings of a status that name one of the values and do not deny that it matters."""
    return tuple(
        each.id
        for each in found
        if each.status == status and names_any(each.prediction, values) and not speaks_against(each)
    )


def answered(investigation: Investigation, answer: Answer, found: list[Finding]) -> str:
    """Return the first sentence: the investigator's answer, and what stands behind each value of it."""
    place = place_of(investigation)
    voted = place is not None and place.whose == "aggregation"
    sure = f"its {'share of the vote' if voted else 'confidence'}: {100 * answer.confidence:.0f} %"
    if answer.kind == "unknown" or investigation.submission is None:
        return "The investigator gave no answer."
    if answer.kind == "nothing":
        seen = how_often(investigation)
        return f"The investigator's answer is that nothing unusual is there ({sure}){seen}."
    value = listed([name(each) for each in answer.value], "and") if answer.value else "not named"
    told = KINDS[answer.kind].format(value=value) + SCOPES[answer.scope]
    said = f"The investigator's answer is that {told} ({sure})"
    stands = {each: behind(found, each) for each in answer.value}
    if len({kind for kind, _ in stands.values()}) > 1:
        single = [f"{name(each)} {own_words(*stands[each])}" for each in answer.value]
        return f"{said}: {'; '.join(single)}."
    kind = next((kind for kind, _ in stands.values()), "unnamed")
    ids = tuple(each.id for each in found if any(each.id in own for _, own in stands.values()))
    return f"{said}, {shared_words(kind, ids)}."


def behind(found: list[Finding], value: str) -> tuple[str, tuple[str, ...]]:
    """Return how one value of the answer stands, and by which findings."""
    for kind in ("supported", "effect shown, cause open"):
        if ids := naming(found, (value,), kind):
            return kind, ids
    against = refuting(found, value)
    return ("refuted", against) if against else ("unnamed", ())


def own_words(kind: str, ids: tuple[str, ...]) -> str:
    """Return how one value stands, beside others that stand otherwise."""
    who = listed(ids, "and") if ids else ""
    return {
        "supported": f"is supported by {who}",
        "effect shown, cause open": f"has an effect whose cause is open ({who})",
        "refuted": f"is refuted by {who}",
        "unnamed": "is supported by no finding",
    }[kind]


def shared_words(kind: str, ids: tuple[str, ...]) -> str:
    """Return how all values stand, where they stand alike."""
    who = listed(ids, "and") if ids else ""
    return {
        "supported": f"which {who} {'supports' if len(ids) == 1 else 'support'}",
        "effect shown, cause open": f"for which an effect was shown, its cause open ({who})",
        "refuted": f"which {who} {'refutes' if len(ids) == 1 else 'refute'}",
        "unnamed": "which no supported finding names",
    }[kind]


def how_often(investigation: Investigation) -> str:
    """Return in how many answers it was seen before anything was varied: "nothing" may be said of what does happen."""
    zero, measure = investigation.step_zero, investigation.case.measure
    if zero is None or measure is None or not is_rate(measure) or not zero.get("rates"):
        return ""
    means = {model: rate["mean"] for model, rate in zero["rates"].items()}
    told = [
        f"{100 * means[model]:.0f} % of the {model}'s answers"
        for model in MODELS_IN_ORDER
        if means.get(model)
    ]
    return f": what was asked about was seen in {listed(told, 'and')}" if told else ""


def shown(
    investigation: Investigation,
    found: list[Finding],
    backing: tuple[str, ...],
    opened: tuple[str, ...],
) -> str:
    """Return the second sentence: the strongest thing that was shown, of what backs the answer if anything does.

    `opened` are the findings that name it and leave its cause open, where none supports it.
    """
    zero = investigation.step_zero
    if zero is not None and zero["happens"] is False:
        rate = zero["rates"]["subject"]
        return (
            f"The behaviour was hardly seen: {100 * (rate['mean'] or 0):.0f} % of {rate['items']} prompts, so "
            "nothing was tested."
        )
    supported = sorted(
        (each for each in found if each.status == "supported"),
        key=lambda each: (each.id in backing, not in_activations(each), strength(each)),
        reverse=True,
    )
    effects = [each for each in found if each.status == "effect shown, cause open"]
    if opened:
        first = next(each for each in effects if each.id in opened)
        beside = listed([each.id for each in supported], "and") if supported else ""
        tail = f" Supported beside it, and not naming the answer: {beside}." if beside else ""
        return f"An effect was shown but not its cause ({first.id}): {first.statement}{tail}"
    if supported:
        more = len(supported) - 1
        tail = f" ({more} more below)" if more else ""
        first = supported[0]
        beside = f" {first.untested_levels}" if first.untested_levels else ""
        return (
            f"{first.id}, confirmed on prompts it was not found on{tail}: {first.statement}{beside}"
        )
    if effects:
        return f"An effect was shown but not its cause ({effects[0].id}): {effects[0].statement}"
    tested = [each for each in found if each.verdict is not None]
    if tested:
        smaller = [each.id for each in tested if each.smaller_than_asked]
        but = f"; {listed(smaller, 'and')}: an effect, but smaller than asked" if smaller else ""
        return f"Of {len(tested)} tested predictions none was supported{but}."
    return "No prediction was tested, so nothing here is more than an observation."


def in_activations(finding: Finding) -> bool:
    """Say whether a finding is about an intervention: a direction's name tells a first reader nothing."""
    assert finding.prediction is not None
    return finding.prediction.treatment.intervention is not None


def strength(finding: Finding) -> float:
    """Return the size of an effect in units of its smallest effect of interest."""
    assert finding.verdict is not None and finding.prediction is not None
    return abs(finding.verdict.estimate or 0.0) / finding.prediction.smallest_effect


def how_sure(investigation: Investigation, found: list[Finding]) -> str:
    """Return the third sentence: what was excluded, what it generalises to, how many tests were run."""
    limits = investigation.case.limits
    before = investigation.earlier.words(limits)
    tests = (
        f"{len(investigation.verdicts)} of {len(investigation.registrations)} registered predictions were tested, "
        f"with at most {100 * investigation.alpha:.3g} % chance of any false alarm over up to "
        f"{limits.registrations} tests"
    )
    after = f" {before}" if before else ""
    supported = [each for each in found if each.status == "supported"]
    if not supported:
        return capital(f"{tests}.{after}")
    rivals = {c.name for each in supported for c in each.controls if "rival" in c.kind and c.passed}
    scope = list(dict.fromkeys(words for each in supported for words in each.scope))
    without = [words for words in scope if words != NO_REFERENCE]
    text = f"It was shown {'; '.join(without)}"
    text += ", without a reference model to compare with" if NO_REFERENCE in scope else ""
    count = (
        "1 other explanation was" if len(rivals) == 1 else f"{len(rivals)} other explanations were"
    )
    excluded = f"; {count} tested and excluded" if rivals else ""
    return f"{text}{excluded}; {tests}.{after}"
