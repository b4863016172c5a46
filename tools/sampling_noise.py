"""Sampling noise that belongs to a row, not to a batch.

A token is drawn as argmax(logits / temperature + Gumbel noise), which samples the softmax exactly.
The noise of a row is a SplitMix64 stream that starts at SHA-256(seed, key, sample), one word per
token id and step: whatever rows share the batch, on whatever device, the row meets the same noise.
Two arms that share a key share their noise, so a difference between them is the models', not luck's.

Source: Steele, Lea & Flood 2014 (SplitMix64); Gumbel-max: Maddison et al. 2014, arXiv:1411.0030.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

INCREMENT = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def signed(word: int) -> int:
    """Return a 64-bit word as the two's complement number that torch stores."""
    word %= 1 << 64
    return word - (1 << 64) if word >= 1 << 63 else word


def stream_start(seed: int, key: str, sample: int) -> int:
    """Return where the stream of one row starts."""
    text = f"{seed}\0{key}\0{sample}".encode()
    return signed(int.from_bytes(hashlib.sha256(text).digest()[:8], "little"))


class GumbelNoise:
    """The noise of all rows of a batch, step by step."""

    def __init__(self, starts: Sequence[int], vocabulary: int, device: torch.device) -> None:
        self.starts = torch.tensor(list(starts), dtype=torch.int64, device=device)[:, None]
        self.vocabulary = vocabulary
        self.offsets = torch.arange(1, vocabulary + 1, device=device) * signed(INCREMENT)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self.starts = self.starts[rows]

    def at(self, step: int) -> Tensor:
        """Return standard Gumbel noise of shape [rows, vocabulary], the same however it is batched."""
        words = self.offsets + (self.starts + signed(INCREMENT * step * self.vocabulary))
        for shift, factor in ((30, FIRST), (27, SECOND)):
            words ^= (words >> shift).bitwise_and_((1 << (64 - shift)) - 1)
            words *= signed(factor)
        words ^= (words >> 31).bitwise_and_((1 << 33) - 1)
        # 63 bits as a float keep 24 significant ones near zero too, where the largest noise comes from.
        uniform = words.bitwise_and_((1 << 63) - 1).to(torch.float32).mul_(2.0**-63)
        uniform.clamp_(2.0**-64, 1 - 2.0**-24)
        return uniform.neg_().log1p_().neg_().log_().neg_()
