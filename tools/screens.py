"""What a model does otherwise than its reference: the page an investigation opens with.

Everything is a difference from the reference, and stands beside how large it gets by chance: two
independent samplings of the reference for the words of answers, shuffled prompts for the words of
prompts, random signs of prompts for probabilities, the reference computed twice for rounding.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from tools.answer_shifts import AnswerShifts, FavouredWords
from tools.experiment import Context, canonical_json
from tools.prompt import PromptItem
from tools.registry import Record, tool
from tools.sampling import answer_row
from tools.scoring import items_from, sample
from tools.screen_reading import (
    SAME,
    AnswerPair,
    Answers,
    ScreenArguments,
    TokenLevel,
    screen_reading,
)
from tools.token_screens import KLSummary, RankedText, numerical_floor, score_texts
from tools.word_screens import FEWEST_CLUSTERS, WordScreen

__all__ = ["SAME", "ScreenArguments", "ScreenResult", "screen_differences"]


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
    tokens, shifts = None, None
    if not blocked:
        tokens, shifts = compare_tokens(subject, items, answers, context.seed)
    context.progress(4 / 5, "comparing words")
    raw: dict[str, Any] = {
        "arms": {
            name: [answer_row(item, list(row), None) for item, row in zip(items, rows, strict=True)]
            for name, rows in answers.items()
        },
        "texts": [each.row() for each in tokens.scored] if tokens else [],
        "words": shifts.rows(args.top) if shifts else [],
    }
    return ScreenResult(
        **screen_reading(items, answers, tokens, context.seed, args.top),
        favoured=shifts.favoured(args.top) if shifts else None,
        limits=limits(blocked, items),
        raw=context.blobs.put(canonical_json(raw).encode()),
    )


def three_samplings(
    subject: Any, items: Sequence[PromptItem], args: ScreenArguments, context: Context
) -> Answers:
    """Sample the subject and the reference with the same luck, and the reference once more with other."""
    reference = subject.arm("reference")
    digest = hashlib.sha256(f"{context.seed}\0reference again".encode()).digest()
    other = dataclasses.replace(context, seed=int.from_bytes(digest[:4], "big"))
    plan = {"subject": (subject, context), "reference": (reference, context)}
    plan["reference again"] = (reference, other)
    answers: dict[str, list[list[str]]] = {}
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
) -> tuple[TokenLevel, AnswerShifts]:
    """Score both models' answers under both, and pool their probabilities of words."""
    scored = score_texts(subject, items, answers["subject"], answers["reference"])
    shifts = AnswerShifts.measure(subject, items, [row[0] for row in answers["subject"]], seed)
    standing_out = shifts.shifts.clearest(0).standing_out
    floor = numerical_floor(subject, scored)
    return TokenLevel(scored, floor, standing_out, shifts.shifts.nothing), shifts


def limits(blocked: str | None, items: Sequence[PromptItem]) -> tuple[str, ...]:
    """Return what the reader must know of this screen."""
    found = [blocked] if blocked else []
    if len({item.template_id for item in items}) < FEWEST_CLUSTERS:
        found.append("too few templates to tell which words are shifted: give six or more")
    return tuple(found)
