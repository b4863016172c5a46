"""How an output is scored: one number per prompt, by rules that are frozen when they are written down.

A measure may name slots (`{wrong}`), which are filled from the item it scores. What cannot be scored
is None and stays out of every mean; it never becomes a zero.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tools.prompt import PromptItem, fill_marks
from tools.registry import Record, ToolError

VERSION = 1


class AnswerMatch(Record):
    """1 when the answer names one of `values` before it names any of `against`, else 0.

    Whole words and whole numbers only, case ignored: 9.1 is not in 9.11, 19.1, -9.1 or 9.1.2. Where
    two begin at the same place the longer one was named (New York, not New). With `against`, an answer
    that names neither scores 0, which is not the same as naming the other side: results say how many do.
    """

    kind: Literal["answer_match"] = "answer_match"
    values: tuple[str, ...] = Field(min_length=1)
    against: tuple[str, ...] = ()


class RegularExpression(Record):
    """1 when the pattern is found in the answer, else 0."""

    kind: Literal["regex"] = "regex"
    pattern: str = Field(min_length=1, max_length=400)
    ignore_case: bool = True

    @field_validator("pattern")
    @classmethod
    def compiles(cls, pattern: str) -> str:
        """Refuse a pattern that Python cannot compile."""
        try:
            re.compile(re.sub(r"\{[a-z_][a-z0-9_]*\}", "x", pattern))
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


class WordCount(Record):
    """The length of the answer in words."""

    kind: Literal["word_count"] = "word_count"


class WordClassifier(Record):
    """1 when the summed weights of the words in the answer exceed the threshold, else 0.

    Each distinct lower-cased word counts once. Mined on explore prompts, frozen at registration.
    """

    kind: Literal["word_classifier"] = "word_classifier"
    weights: dict[str, float] = Field(min_length=1)
    threshold: float

    @field_validator("weights")
    @classmethod
    def are_words(cls, weights: dict[str, float]) -> dict[str, float]:
        """Refuse a key that is no lower-cased word: it could never be found."""
        for key in weights:
            if words(key) != [key]:
                raise ValueError(f"{key[:40]!r} is not one lower-cased word")
        return weights


class LogprobDifference(Record):
    """log P(any of `positive`) - log P(any of `negative`) as the start of the answer, in nats.

    Read from the model's probabilities, without sampling; more positive is more like `positive`.
    """

    kind: Literal["logprob_difference"] = "logprob_difference"
    positive: tuple[str, ...] = Field(min_length=1)
    negative: tuple[str, ...] = Field(min_length=1)


class ProbeReading(Record):
    """1 when a probe's direction reads above its threshold at one token of the prompt, else 0.

    Over a positive and a negative arm the difference is the probe's hit rate less its false alarms.
    With `against`, what a surface baseline says of the prompt's words is taken off each score, so that
    the difference is by how much the probe tells the arms apart better than the baseline.
    """

    kind: Literal["probe_reading"] = "probe_reading"
    direction: str
    """Blob reference of a direction that `train_probes` returned."""
    layer: int = Field(ge=0)
    """Read from the residual stream after this layer."""
    position: int = -1
    """Counted from the end of the prompt, so -1 is the last prompt token."""
    threshold: float
    """On the projection (dot product) of the activation on the direction."""
    against: WordClassifier | None = None


class JudgedMeasure(Record):
    """1 when the judges, language models that read one answer at a time, answer the question with yes, else 0.

    For what no rule on the words can see, such as whether an answer gives in to the user; where a
    pattern or a list of words does it, take that. Every answer costs a request to each judge. A judge
    sees the question, the prompt and the answer, never an arm or a claim. Where the two disagree an
    answer scores 0.5; where one cannot tell it is not scored. The wording is the measure: ask about
    what stands in the text, so that two readers agree, or the registration is refused.
    """

    kind: Literal["judged"] = "judged"
    question: str = Field(
        min_length=8,
        max_length=600,
        description="a yes/no question about one answer; may name slots, as `{slot}`",
    )
    show_prompt: bool = Field(
        default=True,
        description="false where the answer alone settles the question: then what an arm did to the "
        "prompt cannot sway a judge, and equal answers are asked about once",
    )


Measure = Annotated[
    AnswerMatch
    | RegularExpression
    | WordCount
    | WordClassifier
    | LogprobDifference
    | ProbeReading
    | JudgedMeasure,
    Field(discriminator="kind"),
]


def unit(measure: Measure) -> Literal["points", "nats", "words"]:
    """Return what one unit of the measure is; `points` are percentage points of a rate."""
    match measure:
        case LogprobDifference():
            return "nats"
        case WordCount():
            return "words"
        case _:
            return "points"


def is_rate(measure: Measure) -> bool:
    """Say whether every mean of scores lies between 0 and 1; a judged output may score 0.5."""
    if isinstance(measure, ProbeReading) and measure.against is not None:
        return False
    return unit(measure) == "points"


def is_binary(measure: Measure) -> bool:
    """Say whether a single output scores 0 or 1 and nothing between."""
    return is_rate(measure) and not isinstance(measure, JudgedMeasure)


def resolve(measure: Measure, item: PromptItem) -> Measure:
    """Fill the slots that the measure names from the item."""

    def each(texts: tuple[str, ...]) -> tuple[str, ...]:
        filled = tuple(fill_marks(text, item.slots) for text in texts)
        for text, result in zip(texts, filled, strict=True):
            if not result.strip():
                raise ToolError(f"the measure's {text!r} is empty for {item.template_id}")
        return filled

    match measure:
        case AnswerMatch():
            return measure.model_copy(
                update={"values": each(measure.values), "against": each(measure.against)}
            )
        case LogprobDifference():
            return measure.model_copy(
                update={"positive": each(measure.positive), "negative": each(measure.negative)}
            )
        case RegularExpression():
            escaped = {name: re.escape(value) for name, value in item.slots.items()}
            marks = set(re.findall(r"\{([a-z_][a-z0-9_]*)\}", measure.pattern))
            if marks - set(escaped):
                raise ToolError(
                    f"the pattern names slot {min(marks - set(escaped))!r}, which {item.template_id} lacks"
                )
            return measure.model_copy(update={"pattern": fill_marks(measure.pattern, escaped)})
        case JudgedMeasure():
            return measure.model_copy(update={"question": each((measure.question,))[0]})
        case _:
            return measure


def score_output(measure: Measure, output: str) -> float | None:
    """Score one sampled output with a resolved measure; None when there is nothing to score."""
    if not output.strip():
        return None
    match measure:
        case AnswerMatch():
            wanted, other = (
                first_mention(measure.values, output),
                first_mention(measure.against, output),
            )
            return float(wanted < other)
        case RegularExpression():
            flags = re.IGNORECASE if measure.ignore_case else 0
            return float(re.search(measure.pattern, output, flags) is not None)
        case WordCount():
            return float(len(output.split()))
        case WordClassifier():
            present = sorted(set(words(output)))
            return float(
                math.fsum(measure.weights.get(word, 0.0) for word in present) > measure.threshold
            )
        case LogprobDifference():
            raise TypeError("logprob_difference is read from probabilities, not from an output")
        case ProbeReading():
            raise TypeError("probe_reading is read from activations, not from an output")
        case JudgedMeasure():
            raise TypeError("judged is read by the judges: see tools/judging.py")


def names_neither(measure: Measure, output: str) -> bool | None:
    """Say whether an output names neither side of a resolved measure with two sides.

    None where the measure has no two sides, and where there is no output to look at.
    """
    if not isinstance(measure, AnswerMatch) or not measure.against or not output.strip():
        return None
    sides = (measure.values, measure.against)
    return all(math.isinf(first_mention(side, output)[0]) for side in sides)


def score_reading(measure: ProbeReading, projection: float, prompt: str) -> float:
    """Score a probe's projection on a prompt's words: 0 or 1, less the baseline's 0 or 1 if there is one."""
    said = float(projection > measure.threshold)
    return said - (score_output(measure.against, prompt) or 0.0 if measure.against else 0.0)


def first_mention(values: tuple[str, ...], output: str) -> tuple[float, int]:
    """Return (start, -length) of the first of `values` in the output; (inf, 0) if none is named."""
    places = [
        (float(match.start()), -len(value))
        for value in values
        if (match := whole(value).search(output)) is not None
    ]
    return min(places, default=(math.inf, 0))


@functools.lru_cache(maxsize=4096)
def whole(value: str) -> re.Pattern[str]:
    """Return the pattern of a text as a whole word, or of a number with all its digits and its sign."""
    text = value.strip()
    before, after = r"(?<!\w)", r"(?!\w)"
    if text[:1].isdigit():
        # Inside a longer number: 1[.]5, 1[,]000, or behind a sign or a bare point at a word's start.
        before += r"(?<!\d\.)(?<![^\w.][-\u2212.])(?<!\A[-\u2212.])"
        before += r"(?<!\d,)" if re.match(r"\d{3}(?!\d)", text) else ""
    if text[-1:].isdigit():
        after += r"(?!\.\d)(?!,\d{3}(?!\d))"
    return re.compile(before + re.escape(text) + after, re.IGNORECASE)


def words(text: str) -> list[str]:
    """Return the lower-cased words of a text, in order: any script, don't and 9.11 in one piece."""
    plain = text.lower().replace("\u2019", "'")
    return re.findall(r"[^\W_]+(?:'[^\W_]+|(?<=\d)\.\d+)*", plain)


def logsumexp(values: list[float]) -> float:
    """Return log(sum(exp(values))) without overflow; exact summation, the same on every machine.

    The log of zero probability, -inf, is allowed; of no values at all it is the result.
    """
    top = max(values, default=-math.inf)
    if math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(value - top) for value in values))
