"""Where an interpretation says other than the verdict above it: no effect, an effect, its sign, its cause.

Code reads a few forms of words: a denial, a hedge, "raises", "more", and the answers that a measure tells apart.
What it does not recognise it says nothing of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.plain_words import DENIED_AFTER, clauses, denies, has, stem, stems, telling
from agent.prediction import Prediction
from agent.verdict import Verdict
from agent.wording import differing_edits
from agent.wording import name as in_ticks
from agent.wording import said as quoted
from tools.measures import AnswerMatch, LogprobDifference, Measure, words
from tools.prompt import ChooseLevel, SetSlot, SwapSlots, Transform

SaidAt = Mapping[str, Sequence[str]]
"""Level -> stems that only its values have."""
NEGATIONS = ("no", "not", "none", "nothing", "never", "without")

ABSENCE = re.compile(
    r"(?<![.,;:] )\b(not|no|none|nothing|nor|neither|never|cannot|hardly|barely|scarcely|little|small\w*|slight\w*|"
    r"minor|weak\w*|at most|only|below|less than|same|alike|equal\w*|as (often|much)|unchanged|unaffected|"
    r"independent\w*|irrelevant|indifferent|refuted|excluded|ruled out|fails?|failed|absent|"
    r"like|indistinguishable|insensitive|harmless)\b|n't\b"
)
"""What any reading of a refuted prediction, or of an equivalence, has to hold; ", not X" is a contrast of two names."""
HEDGE = re.compile(
    r"\b(not (yet |been )?(settled|clear|decided|certain|known|enough)|no claim|nothing (here )?says|cannot|"
    r"un(settled|clear|decided|certain|known)|inconclusive|open|may|might|could|perhaps|possibl[ye]|whether|"
    r"(does|do|did) not show|not shown|suggests?|points? to|seems?|if anything|too (little|few)|weak|"
    r"probabl[ye]|likely|more (data|prompts|templates))\b"
)
"""What leaves something open."""
NO_EFFECT = re.compile(
    r"\b(no|without|hardly any) (effect|influence|difference|role|part)\b|"
    r"\b(does|do|did) not (matter|depend|change|affect)\b|"
    r"\b(does|do|did|changes?) nothing\b|\birrelevant\b|\bindependent of\b"
)
CAUSES = re.compile(
    r"\b(because|causes?|caused|due to|driven by|drives|explains|responsible for|decides|alone)\b"
)
COMPARES = re.compile(r"\b(than|rather than|against|instead of|unlike)\b")
UP = re.compile(r"\b(more|oftener|rais(es?|ed|ing)|increas(es?|ed|ing)|higher|rises?)\b")
DOWN = re.compile(
    r"\b(less|lower(s|ed|ing)?|reduc(es?|ed|ing)|decreas(es?|ed|ing)|fewer|seldom|rarely|hardly|drops?|falls?)\b"
)
ORDERED = (
    r"(?:\b(?:orders?|ordered|told|tells|asked|asks|instructed|instructions?|commands?) (?:it )?(?:to |for )?|"
    r"(?<!it )(?<!model )(?<!subject )\b(?:says?|said) )"
)
"""Before an answer: somebody else's words, not the model's."""
MILD = re.compile(
    r"\b(still|even|also|too|sometimes|often|usually|mostly|mainly|half|partly|at times)\b"
)
"""How often something happens, which is not said to be more or less than elsewhere."""
ERRORS = ("wrong", "error", "false", "incorrect")
ENDINGS = r"(?:s|es|ing|ed|ping|ped)?"


@dataclass(frozen=True)
class Shown:
    """What a verdict shows, and the words that its contrast goes by."""

    kind: str
    """"effect", "opened" (its cause), "none", "small" (an effect, smaller than asked), "open" or "" (untested)."""
    sign: int = 0
    """Of an effect that was shown; 0 where none was, or where there is no such sign."""
    effect: str = ""
    """The effect in words."""
    treatment: tuple[str, ...] = ()
    """Stems that name what was done in the treatment and not in the control."""
    control: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    """Stems of the slots that differ."""
    measure: Measure | None = None


def against(text: str, shown: Shown, *, linked: bool) -> Iterator[str]:
    """Yield a sentence for each way in which a text contradicts a verdict; `linked`: it refers to another finding."""
    if not any(telling(word) for word in words(text)) and (linked or not shown.treatment):
        return
    lower = text.lower().replace("\u2019", "'")
    if shown.kind == "none" and not ABSENCE.search(lower):
        yield "It nowhere says that no effect was shown, which is what the data say."
    if shown.kind == "small" and not ABSENCE.search(lower):
        yield "It nowhere says that the effect was smaller than asked, which is what the data say."
    if shown.kind == "open" and not HEDGE.search(lower):
        yield "It says flatly what the verdict leaves unsettled."
    if shown.kind == "opened" and (cause := cause_in(text)):
        yield f"It speaks of a cause ({in_ticks(cause)}), which the verdict leaves open."
    if shown.kind in ("effect", "opened"):
        for clause in clauses(text):
            ours = who(clause, shown, 0) == 1 or has(stems([clause]), shown.factors)
            if NO_EFFECT.search(clause) and ours:
                yield f"It denies an effect ({quoted(clause)}), which the data show: {shown.effect}."
                return
    if shown.sign and (clause := other_way(text, shown)):
        yield f"It seems to read the effect the other way round ({quoted(clause)}): seen was {shown.effect}."


def cause_in(text: str) -> str | None:
    """Return the first word for a cause that is neither denied nor left open in its clause."""
    for clause in clauses(text):
        found = CAUSES.search(clause)
        if found and not denies(clause, found[0]) and not HEDGE.search(clause):
            return found[0]
    return None


def other_way(text: str, shown: Shown) -> str | None:
    """Return the first sentence that gives an effect the other sign, if all that can be read is plain."""
    for sentence in re.split(r"(?<=[.!?;])\s", text):
        before = 0
        for clause in clauses(sentence):
            arm = who(clause, shown, before)
            before = arm or before
            if arm * way(clause, shown.measure) * shown.sign < 0:
                return sentence.strip()
    return None


def who(clause: str, shown: Shown, before: int) -> int:
    """Return 1 where a clause speaks of the treatment, -1 of the control, `before` where of neither, 0 of both."""
    compared = COMPARES.search(clause)
    head = clause[: compared.start()] if compared else clause
    for part, sign in ((head, 1), (clause[len(head) :], -1)):
        found = stems([part])
        ours, theirs = has(found, shown.treatment), has(found, shown.control)
        if ours or theirs:
            return sign * (ours - theirs)
    return before


def way(clause: str, measure: Measure | None) -> int:
    """Return 1 where a clause says that the measure goes up, -1 for down, 0 where it is denied or not plain."""
    if DENIED_AFTER.search(clause) or re.search(r"n't\b|\bcannot\b", clause):
        return 0
    first, second = sides(measure)
    up, down = bool(UP.search(clause)), bool(DOWN.search(clause))
    ours, theirs = names_side(clause, first), names_side(clause, second)
    if (up or down) and not (ours or theirs):
        ours, theirs = names_rate(clause, first, second)
    if ours == theirs or (up and down) or not (up or down or not MILD.search(clause)):
        return 0
    return (1 if ours else -1) * (-1 if down else 1)


def names_rate(clause: str, first: Sequence[str], second: Sequence[str]) -> tuple[bool, bool]:
    """Return whether a clause speaks of the rate of what is counted for, or against; errors have to be either."""
    if re.search(r"\berrors?\b", clause):
        return any(e in each for each in first for e in ERRORS), any(
            e in each for each in second for e in ERRORS
        )
    return bool(re.search(r"\b(the|its|this) rates?\b", clause)), False


def sides(measure: Measure | None) -> tuple[Sequence[str], Sequence[str]]:
    """Return what a measure counts for and against."""
    match measure:
        case AnswerMatch():
            return measure.values, measure.against
        case LogprobDifference():
            return measure.positive, measure.negative
        case _:
            return (), ()


def names_side(clause: str, side: Sequence[str]) -> bool:
    """Say whether a clause says that one of some answers comes; what is ordered or asked for does not count."""
    for value in side:
        first, *rest = words(value) or [""]
        if not first or "{" in value or first in ("no", "not", "i"):
            continue
        form = rf"\b{' '.join([re.escape(first) + ENDINGS, *map(re.escape, rest)])}\b"
        if re.search(form, re.sub(ORDERED + form, " ", clause)):
            return True
    return False


def shown_by(
    prediction: Prediction,
    verdict: Verdict | None,
    said_at: SaidAt,
    *,
    status: str,
    effect: str,
    smaller: bool,
) -> Shown:
    """Return what a verdict shows.

    `status` is what became of it, `effect` its size in words, `smaller` whether it is an effect smaller than
    asked; `said_at` are the words of each level.
    """
    if verdict is None or verdict.estimate is None or verdict.interval is None:
        return Shown("")
    signed = prediction.form in ("difference", "trend", "rank", "localisation")
    low, high = verdict.interval
    apart = signed and not prediction.reference_pair and not low <= 0 <= high
    edits = differing_edits(prediction)
    control = prediction.control.edits if prediction.control else ()
    others = [each for each in control if each not in prediction.treatment.edits]
    ours, theirs = (
        {stems([name]).strip() for edit in each for name in names_of_edit(edit, said_at)}
        for each in (edits, others)
    )
    neither = {"", *(stem(word) for word in NEGATIONS)}
    return Shown(
        kind=kind_of(prediction, status, apart=apart, smaller=smaller),
        sign=(1 if verdict.estimate > 0 else -1) if apart else 0,
        effect=effect,
        treatment=tuple(sorted(ours - theirs - neither)),
        control=tuple(sorted(theirs - ours - neither)),
        factors=tuple(
            stem(edit.slot)
            for edit in edits
            if isinstance(edit, ChooseLevel | SetSlot) and telling(edit.slot)
        ),
        measure=prediction.measure,
    )


def kind_of(prediction: Prediction, status: str, *, apart: bool, smaller: bool) -> str:
    """Return the kind of what was shown."""
    match status:
        case "supported":
            return "none" if prediction.form == "equivalence" else "effect"
        case "effect shown, cause open":
            return "opened"
        case "inconclusive":
            return "open"
        case "refuted" if smaller:
            return "small"
        case "refuted" if prediction.form not in ("equivalence", "existence") and not apart:
            return "none"
        case _:
            return ""


def names_of_edit(edit: Transform, said_at: SaidAt) -> Sequence[str]:
    """Return the names that a reading has for what an edit sets."""
    match edit:
        case ChooseLevel():
            return (edit.level, *said_at.get(edit.level, ()))
        case SetSlot():
            return edit.values
        case SwapSlots():
            return (edit.condition.removeprefix("put_"),)
        case _:
            return ()
