"""One batch on its way through the model: read the prompts once, then go on token by token.

Plain calls of the Hugging Face model with a growing key-value cache. The same loop runs bare and
inside a trace, so that sampling with an intervention differs from plain sampling by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tools.edits import Stage, Visitor
from tools.faults import NonFinite
from tools.sampling_noise import GumbelNoise


def left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids and mask [batch, width]; the pad id is 0 and never seen."""
    width = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, width - len(row) :] = torch.tensor(row)
        mask[number, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


def checked(logits: Tensor) -> Tensor:
    """Return logits as float32; raise `NonFinite` when a row holds NaN or infinity."""
    logits = logits.float()
    if not torch.isfinite(logits.amax(-1)).all():
        raise NonFinite("the logits hold NaN or infinity")
    return logits


def finite(captured: list[Tensor]) -> list[Tensor]:
    """Return captured activations; raise `NonFinite` when any holds NaN or infinity."""
    if not all(torch.isfinite(tensor).all() for tensor in captured):
        raise NonFinite("the captured activations hold NaN or infinity")
    return captured


class Passage:
    """Rows of prompts with their cache. Forward passes go through `network`, traced or not."""

    def __init__(self, network: Any, device: torch.device, visitor: Visitor | None = None) -> None:
        self.network = network
        self.device = device
        self.visitor = visitor
        self.cache: Any = None
        self.mask: Tensor | None = None
        self.stage: Stage | None = None
        self.position: Tensor = torch.empty(0)

    def read(
        self, prompts: Sequence[Sequence[int]], rows: Sequence[int], *, keep: int = 1, cache: bool
    ) -> Tensor:
        """Read whole prompts; return their last `keep` logits [batch, keep, d_vocab]."""
        ids, mask = left_padded(prompts, self.device)
        lengths = mask.sum(-1)
        self.mask = None if bool(mask.all()) else mask
        self.position = lengths
        numbers = torch.tensor(list(rows), device=self.device)
        self._announce(Stage("prompt", numbers, lengths, ids.shape[1]))
        self.cache = DynamicCache(config=self.network.config) if cache else None
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return self._forward(ids, positions, keep)

    def select(self, index: Tensor) -> None:
        """Go on with these rows, each as often as it is named."""
        assert self.stage is not None
        self.cache.reorder_cache(index)
        self.mask = None if self.mask is None else self.mask[index]
        self.position = self.position[index]
        stage = self.stage
        self._announce(Stage(stage.phase, stage.rows[index], stage.lengths[index], stage.width))

    def extend(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        """Append tokens [batch, n], padded on the right where `real` is 0; return their logits."""
        assert self.stage is not None
        if self.stage.phase == "prompt":
            stage = self.stage
            self._announce(Stage("generated", stage.rows, stage.lengths, stage.width))
        if self.mask is None and real is not None and not bool(real.all()):
            self.mask = torch.ones(len(tokens), self.cache.get_seq_length(), device=self.device)
        if self.mask is not None:
            more = torch.ones_like(tokens) if real is None else real
            self.mask = torch.cat([self.mask, more.to(self.mask.dtype)], dim=1)
        count = tokens.shape[1]
        positions = self.position[:, None] + torch.arange(count, device=self.device)
        self.position = self.position + count
        return self._forward(tokens, positions, count)

    def _announce(self, stage: Stage) -> None:
        self.stage = stage
        if self.visitor is not None:
            self.visitor.stage = stage

    def _forward(self, ids: Tensor, positions: Tensor, keep: int) -> Tensor:
        return self.network(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=self.cache is not None,
            logits_to_keep=keep,
        ).logits


Choose = Callable[[int, Sequence[int], Tensor], Tensor]
"""(step, numbers of the rows that go on, their scores [row, d_vocab]) -> a token for each."""


def highest(step: int, alive: Sequence[int], scores: Tensor) -> Tensor:
    """Choose the token with the highest score: a draw, when noise has been added."""
    return scores.argmax(-1)


def sample_tokens(
    passage: Passage,
    logits: Tensor,
    noise: GumbelNoise | None,
    *,
    temperature: float,
    max_new_tokens: int,
    stops: frozenset[int],
    choose: Choose = highest,
) -> list[tuple[list[int], bool]]:
    """Return for each row its new tokens, without the stop token, and whether it reached one.

    Without noise the likeliest token is taken. Rows that have ended leave the batch. `choose` stands
    in for the draw where given texts are followed.
    """
    found: list[list[int]] = [[] for _ in range(len(logits))]
    ended = [False] * len(logits)
    alive = list(range(len(logits)))
    for step in range(max_new_tokens):
        scores = checked(logits[:, -1])
        if noise is not None:
            scores = noise.at(step).add_(scores, alpha=1 / temperature)
        tokens = choose(step, alive, scores)
        staying: list[int] = []
        for place, token in enumerate(tokens.tolist()):
            if token in stops:
                ended[alive[place]] = True
            else:
                found[alive[place]].append(token)
                staying.append(place)
        if not staying or step + 1 == max_new_tokens:
            break
        if len(staying) < len(alive):
            index = torch.tensor(staying, device=tokens.device)
            passage.select(index)
            tokens = tokens[index]
            alive = [alive[place] for place in staying]
            if noise is not None:
                noise.keep(index)
        logits = passage.extend(tokens[:, None])
    return list(zip(found, ended, strict=True))


def token_scores(
    passage: Passage, logits: Tensor, origin: Sequence[int], wanted: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Return log P of each token of `wanted`, which row k continues from prompt `origin[k]`.

    `logits` [prompt, 1, d_vocab] are those behind the prompts. The cache must have been kept if a
    continuation has more than one token.
    """
    first = checked(logits[:, -1]).log_softmax(-1)
    scores = [[float(first[row, tokens[0]])] for row, tokens in zip(origin, wanted, strict=True)]
    longer = [number for number, tokens in enumerate(wanted) if len(tokens) > 1]
    if not longer:
        return scores
    width = max(len(wanted[number]) for number in longer) - 1
    tokens = torch.zeros(len(longer), width + 1, dtype=torch.int64)
    real = torch.zeros(len(longer), width, dtype=torch.int64)
    for place, number in enumerate(longer):
        tokens[place, : len(wanted[number])] = torch.tensor(wanted[number])
        real[place, : len(wanted[number]) - 1] = 1
    tokens, real = tokens.to(passage.device), real.to(passage.device)
    passage.select(torch.tensor([origin[number] for number in longer], device=passage.device))
    following = checked(passage.extend(tokens[:, :-1], real)).log_softmax(-1)
    picked = following.gather(-1, tokens[:, 1:, None])[..., 0].tolist()
    for place, number in enumerate(longer):
        scores[number] += picked[place][: len(wanted[number]) - 1]
    return scores
