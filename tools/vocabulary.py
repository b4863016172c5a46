"""The words that a tokenizer has as single tokens."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tools.registry import ToolError

WORD = re.compile(r"[^\W\d_]{2,}(?:['\u2019][^\W\d_]+)?")
# Byte-level BPE and SentencePiece write the space before a word into its token.
SPACE_MARKS = ("\u0120", "\u2581")
CHUNK_ROWS = 64


@dataclass(frozen=True)
class Words:
    """Words, each with the tokens that begin it: with and without a space, in either case."""

    texts: tuple[str, ...]
    """Lower-cased."""
    ids: Tensor
    """[word, variant] token ids; -1 where a word has fewer variants."""

    def logprobs(self, logits: Tensor) -> Tensor:
        """Return log P(word) [row, word] in nats of logits [row, d_vocab], variants summed."""
        return torch.cat([self._logprobs(part) for part in logits.split(CHUNK_ROWS)])

    def _logprobs(self, logits: Tensor) -> Tensor:
        ids = self.ids.to(logits.device)
        found = logits.float().log_softmax(-1)[:, ids.clamp(min=0)]
        return found.masked_fill(ids < 0, -torch.inf).logsumexp(-1)


@functools.lru_cache(maxsize=4)
def single_token_words(tokenizer: Any) -> Words:
    """Return every word of two letters or more that is one token; pieces of words are left out."""
    variants: dict[str, list[int]] = {}
    opening: set[str] = set()
    special = set(tokenizer.all_special_ids)
    tokens: list[str] = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    marked = any(token.startswith(SPACE_MARKS) for token in tokens)
    for number, token in enumerate(tokens):
        text = "" if number in special else tokenizer.decode([number]).strip()
        if not WORD.fullmatch(text):
            continue
        variants.setdefault(text.lower(), []).append(number)
        if not marked or token.startswith(SPACE_MARKS):
            opening.add(text.lower())
    # Without a form that follows a space, "ing" is the end of a word and no word.
    return make_words({word: ids for word, ids in variants.items() if word in opening})


def candidate_words(tokenizer: Any, candidates: tuple[str, ...]) -> Words:
    """Return the given words; one that is several tokens is known by its first.

    Raises `ToolError` for two candidates that begin with the same tokens: a lens cannot tell them apart.
    """
    known = single_token_words(tokenizer)
    places = {word: number for number, word in enumerate(known.texts)}
    variants: dict[str, list[int]] = {}
    for word in dict.fromkeys(text.strip().lower() for text in candidates):
        if not word:
            raise ToolError("a candidate is empty")
        if word in places:
            ids = [int(number) for number in known.ids[places[word]] if number >= 0]
        else:
            ids = [int(tokenizer(f" {word}", add_special_tokens=False).input_ids[0])]
        twin = next((other for other, taken in variants.items() if set(ids) & set(taken)), None)
        if twin is not None:
            raise ToolError(f"candidates {twin!r} and {word!r} begin with the same token; drop one")
        variants[word] = ids
    return make_words(variants)


def make_words(variants: dict[str, list[int]]) -> Words:
    """Return words from their token ids; raise `ToolError` when there are none."""
    if not variants:
        raise ToolError("this tokenizer has no word as a single token; give candidates")
    width = max(map(len, variants.values()))
    rows = [ids + [-1] * (width - len(ids)) for ids in variants.values()]
    return Words(tuple(variants), torch.tensor(rows))
