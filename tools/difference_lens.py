"""The activation-difference lens: what fine-tuning added to the first tokens of any text, read as words.

The mean over unrelated texts of (subject - reference) activations, at each of the first positions of a
text, goes through the final norm and the unembedding. A narrow fine-tune leaves a constant there, which
reads as its topic. A word stands out when it is further from the typical word than chance puts any of
as many words.

Source: Minder et al. 2025, arXiv:2510.13900 (layer half-way, first five tokens, unrelated texts).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from tools.architecture import Site
from tools.direction_effects import ROUNDING
from tools.experiment import Context, canonical_json
from tools.neutral import sentences
from tools.prompt import Prompt
from tools.registry import Record, ToolError, tool
from tools.vocabulary import Words, candidate_words, single_token_words
from tools.word_shifts import outlier_by_chance, outliers, relative

RAW_WORDS = 300
KINDS: tuple[Literal["neutral", "off_topic"], ...] = ("neutral", "off_topic")


class DifferenceArguments(Record):
    """Where to read, on which texts, and among which words."""

    layers: tuple[int, ...] = Field(
        default=(), max_length=200, description="read after these layers; default: the middle one"
    )
    positions: tuple[int, ...] = Field(
        default=(0, 1, 2, 3, 4),
        min_length=1,
        max_length=64,
        description="tokens counted from the beginning of a text: 0 is the first",
    )
    texts: tuple[str, ...] = Field(
        default=(),
        max_length=2000,
        description="texts that have nothing to do with the behaviour, read as they are, without a chat "
        "template; default: sixteen neutral sentences",
    )
    candidates: tuple[str, ...] = Field(
        default=(), max_length=2000, description="rank these words only"
    )
    top: int = Field(default=10, ge=1, le=50, description="how many words are shown")

    @field_validator("positions")
    @classmethod
    def from_the_beginning(cls, positions: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse positions that are not counted from the beginning, or are given twice."""
        if min(positions) < 0 or len(set(positions)) < len(positions):
            raise ValueError("count different positions from the beginning: 0 is the first token")
        return positions


class DifferenceWord(Record):
    """A word that the mean difference reads as."""

    word: str
    outlier: float
    """Robust z of its log-probability among all words, mean over positions; the best layer's."""
    layer: int
    probability: float
    """Mean over positions at that layer."""


class DifferenceResult(Record):
    """The words that the difference stands for, the furthest out first; more of them are in `raw`."""

    summary: str
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    texts: int
    """Those long enough for every position."""
    words: tuple[DifferenceWord, ...]
    standing_out: int
    """Words beyond `outlier_by_chance`. Where it is 0 the difference reads as nothing."""
    outlier_by_chance: float
    relative_norm: tuple[float, ...]
    """Per layer: length of the mean difference over that of the reference's activations, mean over positions."""
    raw: str
    """Blob: {"layers", "words", "outlier": [layer][word]}."""


@tool
def difference_lens(subject: Any, args: DifferenceArguments, context: Context) -> DifferenceResult:
    """Read as words what the subject's activations have more than the reference's on unrelated texts.

    The quickest look at what a model was fine-tuned on: no prompt about the behaviour is needed. It
    reads the topic of the training, not what was learned, and words nobody trained for where the
    training was broad. Compare with `logit_lens` on prompts of the case before you believe it.
    """
    if not subject.vocab_size:
        raise ToolError("difference_lens: this subject cannot be looked into; use sample_responses")
    reference = subject.arm("reference")
    if unlike(subject, reference):
        raise ToolError("difference_lens: the reference has another tokenizer or another width")
    layers = tuple(sorted(set(args.layers))) or (subject.n_layers // 2,)
    words = (
        candidate_words(subject.tokenizer, args.candidates)
        if args.candidates
        else single_token_words(subject.tokenizer)
    )
    prompts = long_enough(subject, args)
    sites = [Site(layer) for layer in layers]
    ours = subject.capture(prompts, sites, args.positions)
    context.progress(0.5, "reference")
    theirs = reference.capture(prompts, sites, args.positions)
    difference = (ours - theirs).mean(1)
    size = (difference.norm(dim=-1) / theirs.norm(dim=-1).mean(1)).mean(-1)
    logprobs = words.logprobs(subject.lens(difference.flatten(0, 1)))
    table = outliers(relative(logprobs).unflatten(0, difference.shape[:2]).mean(1))
    table = table * (size > ROUNDING)[:, None]
    probability = logprobs.exp().unflatten(0, difference.shape[:2]).mean(1)
    limit = outlier_by_chance(table.numel())
    best, place = table.max(0)
    order = best.argsort(descending=True, stable=True).tolist()
    found = tuple(
        DifferenceWord(
            word=words.texts[number],
            outlier=round(float(best[number]), 2),
            layer=layers[int(place[number])],
            probability=float(f"{float(probability[place[number], number]):.4g}"),
        )
        for number in order[: args.top]
        if best[number] > 0
    )
    beyond = int((best > limit).sum())
    return DifferenceResult(
        summary=summarise(found, beyond, limit),
        layers=layers,
        positions=args.positions,
        texts=len(prompts),
        words=found,
        standing_out=beyond,
        outlier_by_chance=limit,
        relative_norm=tuple(float(f"{value:.4g}") for value in size.tolist()),
        raw=context.blobs.put(raw_table(words, layers, table, order).encode()),
    )


def unlike(subject: Any, reference: Any) -> bool:
    """Say whether activations of the two cannot be subtracted."""
    ours, theirs = subject.tokenizer.get_vocab(), reference.tokenizer.get_vocab()
    return subject.d_model != reference.d_model or ours != theirs


def long_enough(subject: Any, args: DifferenceArguments) -> list[Prompt]:
    """Return the texts that have every position; `ToolError` where fewer than two do."""
    texts = args.texts or tuple(text for kind in KINDS for text in sentences(kind))
    prompts = [Prompt(messages=(), prefill=text, continue_as="raw") for text in texts]
    kept = [each for each in prompts if len(subject.encode(each)) > max(args.positions)]
    if len(kept) < 2:
        raise ToolError(
            f"difference_lens: {len(kept)} texts have a token {max(args.positions)}; two or more must"
        )
    return kept


def summarise(found: Sequence[DifferenceWord], beyond: int, limit: float) -> str:
    """Return the result in one line."""
    if not found:
        return "no difference: the activations are the same"
    if not beyond:
        return "the difference reads as no word in particular"
    named = ", ".join(each.word for each in found if each.outlier > limit)
    return f"{beyond} words stand out of the difference: {named}"


def raw_table(words: Words, layers: Sequence[int], table: Tensor, order: Sequence[int]) -> str:
    """Return the words furthest out, with their z at every layer, as JSON."""
    kept = torch.tensor(order[:RAW_WORDS])
    return canonical_json(
        {
            "layers": list(layers),
            "words": [words.texts[number] for number in kept.tolist()],
            "outlier": [[round(value, 4) for value in row] for row in table[:, kept].tolist()],
        }
    )
