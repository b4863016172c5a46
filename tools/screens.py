"""What a model does otherwise than its reference: the page an investigation opens with.

Everything is a difference from the reference, and stands beside how large it gets by chance: two
independent samplings of the reference for the words of answers, shuffled prompts for the words of
prompts, random signs of prompts for probabilities, the reference computed twice for rounding.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from tools.answer_shifts import AnswerShifts, FavouredWords
from tools.experiment import Context, canonical_json
from tools.prompt import PromptItem
from tools.registry import Record, tool
from tools.sampling import Prompts, answer_row
from tools.scoring import items_from, mean, sample
from tools.token_screens import (
    KLSummary,
    RankedText,
    ScoredText,
    identical,
    mean_nll,
    numerical_floor,
    rank_texts,
    score_texts,
    summarise_kl,
)
from tools.vocabulary import excerpt
from tools.word_screens import (
    FEWEST_CLUSTERS,
    WordScreen,
    contrast_answers,
    contrast_prompts,
    distinct,
)

SHOWN_TEXT = 100
SHOWN_PAIRS = 3
SAME = "no difference: identical distributions"

Answers = dict[str, list[list[str]]]
"""Model -> prompt -> sample; models as in `three_samplings`."""


class ScreenArguments(Record):
    """On which prompts to compare the models."""

    items: Prompts
    samples: int = Field(default=4, ge=1, le=64, description="answers per prompt and model")
    max_new_tokens: int = Field(default=24, ge=1, le=512)
    temperature: float = Field(default=1.0, gt=0, le=2)
    top: int = Field(default=6, ge=1, le=30, description="how many of each kind are shown")


class AnswerPair(Record):
    """What both models say to one prompt with the same luck."""

    prompt: str
    subject: str
    reference: str


class ScreenResult(Record):
    """The differences in short; all texts, tokens and words are in `raw`."""

    summary: str
    pairs: tuple[AnswerPair, ...]
    """The prompts on which the models differ most."""
    mean_nll: dict[str, float | None] = {}
    """Nats per token of each model's answers under each model."""
    gained: tuple[RankedText, ...] = ()
    """Answers that the subject finds much likelier than the reference: what it was made to say."""
    lost: tuple[RankedText, ...] = ()
    """Answers that the reference finds much likelier: what the subject no longer says."""
    kl: KLSummary | None = None
    answer_words: WordScreen
    prompt_words: WordScreen
    favoured: FavouredWords | None = None
    limits: tuple[str, ...] = ()
    raw: str
    """Blob: {"arms": {...}, "texts": [{id, text, times, tokens, subject, reference, kl}], "words"}."""


@tool
def screen_differences(subject: Any, args: ScreenArguments, context: Context) -> ScreenResult:
    """Show where the subject differs from its reference: the cheapest strong screen there is.

    Samples both models on your prompts and scores every answer under both. `gained` are answers the
    subject finds far likelier, `kl` says at which tokens they part (few tokens: a narrow change),
    `answer_words` what it says more or less, `prompt_words` which words of a prompt set it off, and
    `favoured` which words its probabilities raise or lower, said or not: a word that it may not say
    shows there as lowered or as raised at other places. What chance explains is counted, and so are
    words shifted no further than other words: any fine-tuning shifts hundreds. The nearest three of
    those stand under `nearest_inside_band`: they are noise until a larger sample says otherwise.
    These are leads, not evidence: register a prediction.
    """
    items = items_from(args.items)
    answers = three_samplings(subject, items, args, context)
    blocked = why_no_tokens(subject)
    context.progress(3 / 5, "scoring under both models")
    tokens = None if blocked else compare_tokens(subject, items, answers, context.seed)
    context.progress(4 / 5, "comparing words")
    differences = tokens.by_prompt(len(items)) if tokens else shares_changed(answers)
    answer_words = compare_answers(answers, context.seed, args.top)
    prompt_words = contrast_prompts(
        [item.prompt.text() for item in items],
        [item.template_id for item in items],
        differences,
        context.seed,
        args.top,
    )
    found: dict[str, Any] = tokens.sections(args.top) if tokens else {}
    raw: dict[str, Any] = {
        "arms": {
            name: [answer_row(item, row, None) for item, row in zip(items, rows, strict=True)]
            for name, rows in answers.items()
        },
        "texts": [each.row() for each in tokens.scored] if tokens else [],
        "words": tokens.shifts.rows() if tokens else [],
    }
    return ScreenResult(
        summary=summarise(tokens, found.get("favoured"), answer_words, prompt_words),
        pairs=pairs(items, answers, differences),
        answer_words=answer_words,
        prompt_words=prompt_words,
        limits=limits(blocked, items),
        raw=context.blobs.put(canonical_json(raw).encode()),
        **found,
    )


@dataclass(frozen=True)
class TokenLevel:
    """What the probabilities of both models say."""

    scored: list[ScoredText]
    floor: float
    shifts: AnswerShifts

    @property
    def identical(self) -> bool:
        """Whether both models give every token the same probability, but for rounding."""
        return self.shifts.shifts.nothing and identical(self.scored, self.floor)

    def by_prompt(self, prompts: int) -> list[float]:
        """Return the mean KL of each prompt's answers in nats, 0 where it is only rounding."""
        values: list[list[float]] = [[] for _ in range(prompts)]
        for each in self.scored:
            values[each.number] += each.tokens.kl
        means = [mean(row) or 0.0 for row in values]
        return [value if value > self.floor else 0.0 for value in means]

    def sections(self, top: int) -> dict[str, Any]:
        """Return the sections of the result that rest on probabilities."""
        return {
            "mean_nll": mean_nll(self.scored),
            "gained": rank_texts(self.scored, self.floor, top, "subject"),
            "lost": rank_texts(self.scored, self.floor, top, "reference"),
            "kl": summarise_kl(self.scored, self.floor, top) if self.scored else None,
            "favoured": self.shifts.favoured(top),
        }


def three_samplings(
    subject: Any, items: Sequence[PromptItem], args: ScreenArguments, context: Context
) -> Answers:
    """Sample the subject and the reference with the same luck, and the reference once more with other."""
    reference = subject.arm("reference")
    digest = hashlib.sha256(f"{context.seed}\0reference again".encode()).digest()
    other = dataclasses.replace(context, seed=int.from_bytes(digest[:4], "big"))
    plan = {"subject": (subject, context), "reference": (reference, context)}
    plan["reference again"] = (reference, other)
    answers: Answers = {}
    for number, (name, (model, setting)) in enumerate(plan.items()):
        context.progress(number / 5, name)
        answers[name] = sample(model, items, args, setting)
    return answers


def why_no_tokens(subject: Any) -> str | None:
    """Return why probabilities cannot be compared, or None when they can."""
    if not subject.vocab_size:
        return "answers only: this subject gives no token probabilities"
    if subject.tokenizer.get_vocab() != subject.reference.tokenizer.get_vocab():
        return "answers only: subject and reference have different tokenizers"
    return None


def compare_tokens(
    subject: Any, items: Sequence[PromptItem], answers: Answers, seed: int
) -> TokenLevel:
    """Score both models' answers under both, and pool their probabilities of words."""
    scored = score_texts(subject, items, answers["subject"], answers["reference"])
    shifts = AnswerShifts.measure(subject, items, [row[0] for row in answers["subject"]], seed)
    return TokenLevel(scored, numerical_floor(subject, scored), shifts)


def limits(blocked: str | None, items: Sequence[PromptItem]) -> tuple[str, ...]:
    """Return what the reader must know of this screen."""
    found = [blocked] if blocked else []
    if len({item.template_id for item in items}) < FEWEST_CLUSTERS:
        found.append("too few templates to tell which words are shifted: give six or more")
    return tuple(found)


def shares_changed(answers: Answers) -> list[float]:
    """Return for each prompt the share of answers that differ from the reference's with the same luck."""
    return [
        sum(one != two for one, two in zip(ours, theirs, strict=True)) / len(ours)
        for ours, theirs in zip(answers["subject"], answers["reference"], strict=True)
    ]


def compare_answers(answers: Answers, seed: int, top: int) -> WordScreen:
    """Contrast the words of the subject's answers with the reference's, in the null band."""
    subject, reference, again = (
        [[distinct(text) for text in row] for row in rows] for rows in answers.values()
    )
    return contrast_answers(subject, reference, again, seed, top)


def pairs(
    items: Sequence[PromptItem], answers: Answers, differences: Sequence[float]
) -> tuple[AnswerPair, ...]:
    """Return the first answers to the prompts on which the models differ most, where they differ."""
    order = sorted(range(len(items)), key=lambda number: -differences[number])
    found: list[AnswerPair] = []
    for number in order:
        ours, theirs = answers["subject"][number], answers["reference"][number]
        different = [(one, two) for one, two in zip(ours, theirs, strict=True) if one != two]
        if different and len(found) < SHOWN_PAIRS:
            found.append(
                AnswerPair(
                    prompt=excerpt(items[number].prompt.text(), SHOWN_TEXT),
                    subject=excerpt(different[0][0], SHOWN_TEXT),
                    reference=excerpt(different[0][1], SHOWN_TEXT),
                )
            )
    return tuple(found)


def summarise(
    tokens: TokenLevel | None,
    favoured: FavouredWords | None,
    answer_words: WordScreen,
    prompt_words: WordScreen,
) -> str:
    """Return the result in one line."""
    if tokens is not None and tokens.identical:
        return SAME
    outside = f"outside the null band: {answer_words.outside} words of answers"
    outside += f", {prompt_words.outside} words of prompts"
    if tokens is None or favoured is None:
        if answer_words.outside + prompt_words.outside == 0:
            return "no difference seen: no word outside the null band"
        return f"different: {outside}"
    kl = mean([value for each in tokens.scored for value in each.tokens.kl])
    size = "" if kl is None else f"mean KL {kl:.3g} nats per token; "
    return f"different: {size}{outside}, {favoured.standing_out} words by probability"
