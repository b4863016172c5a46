"""Which words the subject's probabilities raise or lower against the reference's where it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tools.divergence import completion_logprobs
from tools.prompt import PromptItem
from tools.shift_counts import ShiftCounts, WordShift
from tools.vocabulary import Words, single_token_words
from tools.word_screens import distinct
from tools.word_shifts import Shifts, by_cluster, consistent_shifts, relative

ALONG = 8
"""Tokens of an answer along which probabilities are pooled."""
PLACES = ("first answer token", "along the answer")
RAW_WORDS = 300


class FavouredWord(WordShift):
    """A word that the subject's probabilities raise or lower, at the place where that is clearest."""

    place: str


class FavouredWords(ShiftCounts):
    """Words whose probability is shifted alike over prompts and unlike other words'."""

    reading: str
    """How many words stand out, in a line."""
    raised: tuple[FavouredWord, ...]
    lowered: tuple[FavouredWord, ...]
    nearest_inside_band: tuple[FavouredWord, ...] = ()
    """Those that come nearest to standing out and do not: no finding."""


@dataclass(frozen=True)
class AnswerShifts:
    """The shift of every word at every place, tested over the templates of the prompts."""

    words: Words
    shifts: Shifts
    clusters: int
    in_prompts: frozenset[str]

    @classmethod
    def measure(
        cls, subject: Any, items: Sequence[PromptItem], texts: Sequence[str], seed: int
    ) -> AnswerShifts:
        """Read both models along one answer to each prompt."""
        words = single_token_words(subject.tokenizer)
        clusters = [item.template_id for item in items]
        values = by_cluster(answer_shifts(subject, items, texts, words), clusters)
        in_prompts = frozenset[str]().union(*(distinct(item.prompt.text()) for item in items))
        return cls(words, consistent_shifts(values, seed), len(set(clusters)), in_prompts)

    def favoured(self, top: int) -> FavouredWords:
        """Return the words that stand out, the furthest first."""
        found = self.shifts.clearest(top)
        return FavouredWords(
            reading=found.told(),
            raised=tuple(self.word(*each) for each in found.raised),
            lowered=tuple(self.word(*each) for each in found.lowered),
            nearest_inside_band=tuple(self.word(*each) for each in found.nearest),
            above=found.above,
            inside=found.inside,
            standing_out=found.standing_out,
            outlier_by_chance=self.shifts.outlier_by_chance,
            clusters=self.clusters,
        )

    def word(self, number: int, place: int) -> FavouredWord:
        """Return one word at one place."""
        text = self.words.texts[number]
        shift = self.shifts.word(place, number, text, text in self.in_prompts)
        return FavouredWord(**shift.model_dump(), place=PLACES[place])

    def rows(self, top: int) -> list[dict[str, Any]]:
        """Return the most shifted words at all places, above the band or not, and those shown, in raw form."""
        order = self.shifts.score.abs().amax(0).argsort(descending=True)[:RAW_WORDS].tolist()
        numbers = dict.fromkeys([*order, *self.shifts.clearest(top).words])
        return [
            self.word(number, place).model_dump(mode="json")
            for number in numbers
            for place in range(len(PLACES))
        ]


def answer_shifts(
    subject: Any, items: Sequence[PromptItem], texts: Sequence[str], words: Words
) -> Tensor:
    """Return log P under the subject less under the reference [place, prompt, word], in nats.

    The places are those of `PLACES`. An answer of one token counts as no shift along the answer.
    """
    models = (subject, subject.reference)
    heads = [model.encode_all([item.prompt for item in items]) for model in models]
    # The last token of a tail is not read, so any one stands for an answer that ended at once.
    tails = [
        subject.encoder.continue_with(item.prompt, head, text)[:ALONG] if text else [0]
        for item, head, text in zip(items, heads[0], texts, strict=True)
    ]

    def compare(batch: Sequence[int]) -> list[Tensor]:
        ends = [tails[number] for number in batch]
        ours, theirs = (
            completion_logprobs(model, [head[number] for number in batch], ends)
            for model, head in zip(models, heads, strict=True)
        )
        return [places(one, two) for one, two in zip(ours, theirs, strict=True)]

    def places(ours: Tensor, theirs: Tensor) -> Tensor:
        shift = relative((words.logprobs(ours) - words.logprobs(theirs).to(ours.device)).cpu())
        later = shift[1:].mean(0) if len(shift) > 1 else torch.zeros_like(shift[0])
        return torch.stack([shift[0], later])

    rows = range(len(items))
    found = subject.batches.by_length(rows, lambda n: len(heads[0][n]) + len(tails[n]), compare)
    return torch.stack(found, dim=1)
