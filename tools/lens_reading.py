"""What a lens reads at the places of some prompts, and its words by plain probability.

Source: Cywinski et al. 2025, arXiv:2505.14352 (probabilities averaged over the tokens of the answer,
the token that stands there left out).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tools.registry import Record
from tools.vocabulary import Words
from tools.word_shifts import relative


@dataclass(frozen=True)
class Reading:
    """Word log-probabilities of a set of prompts."""

    logprobs: Tensor
    """[place, layer, row, word] in nats."""
    there: Tensor
    """[place, row]: false where an answer ended before the place."""
    tokens: Tensor
    """[place, row]: the id of the token that stands there."""

    @functools.cached_property
    def values(self) -> Tensor:
        """The log-probabilities less that of the typical word of the same row."""
        return relative(self.logprobs)

    def probabilities(self, words: Words) -> Tensor:
        """Return mean probabilities [layer, word] over rows and places.

        A word counts as zero where it stands itself: shallow layers read out what they were given.
        """
        said = (words.ids[None, None] == self.tokens[:, :, None, None]).any(-1)
        kept = (self.there[:, :, None] & ~said)[:, None]
        total = (self.logprobs.exp() * kept).sum((0, 2))
        return total / self.there.sum().clamp(min=1)


class LikelyWord(Record):
    """A word by its mean probability over prompts and places, with no baseline taken off."""

    word: str
    layer: int
    probability: float
    reference: float | None = None
    """The same under the reference, on the same texts."""


def likely_words(
    words: Words, layers: Sequence[int], ours: Reading, theirs: Reading | None, count: int
) -> tuple[LikelyWord, ...]:
    """Return the likeliest words of each layer, the likeliest first."""
    here = ours.probabilities(words)
    there = theirs.probabilities(words) if theirs is not None else None
    found: list[LikelyWord] = []
    for row, layer in enumerate(layers):
        for number in here[row].argsort(descending=True, stable=True)[:count].tolist():
            found.append(
                LikelyWord(
                    word=words.texts[number],
                    layer=layer,
                    probability=float(f"{float(here[row, number]):.4g}"),
                    reference=None if there is None else float(f"{float(there[row, number]):.4g}"),
                )
            )
    return tuple(found)
