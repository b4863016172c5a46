"""Activation patching at many sites and positions at once.

Below the patched site a patched run is the corrupted run, so nothing below it is computed again: the
corrupted prompt goes up the layers as one row, and at each site the patched rows join the batch, as
copies with one activation of the clean run written in. The model makes its mask and its rotary tables
for one row and they hold for all, so that this is right for sliding windows too.

Source: Meng et al. 2022, arXiv:2202.05262; Heimersheim & Nanda 2024, arXiv:2404.15255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tools.architecture import KINDS, Anatomy, Site, first_tensor
from tools.edits import Stage, positions_by_prompt, reach
from tools.generation import Passage, checked, finite
from tools.registry import ToolError
from tools.subject import SubjectModel


@dataclass(frozen=True)
class PatchSweep:
    """Log-probabilities in nats of the wanted next tokens; their differences are logit differences."""

    clean: Tensor
    """[pair, token]"""
    corrupt: Tensor
    """[pair, token]"""
    patched: Tensor
    """[pair, site, position, token]: the corrupted run with one activation of the clean run."""


class Patch(NamedTuple):
    """One row of a sweep: the clean run's activation at a site, for one column of the prompt."""

    site: Site
    column: int
    value: Tensor


def patch_sweep(
    model: SubjectModel,
    clean: Sequence[list[int]],
    corrupt: Sequence[list[int]],
    sites: Sequence[Site],
    positions: Sequence[int] | Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],
) -> PatchSweep:
    """Patch activations of the clean prompts (token ids) into the corrupted ones, one at a time.

    Positions are as in `SubjectModel.capture` and mean the same place in both prompts of a pair;
    `tokens` are the ids wanted for each pair, equally many. Swap clean and corrupt for the other
    direction (noising instead of denoising).
    """
    check_pairs(model, clean, corrupt, sites, tokens)
    places = positions_by_prompt(positions, [len(ids) for ids in corrupt])
    positions_by_prompt(positions, [len(ids) for ids in clean])
    sources = clean_runs(model, clean, sites, places)
    # In the order in which the model reaches them, so that a batch shares what lies below its first.
    order = sorted(range(len(sites)), key=lambda number: rank(sites[number]))
    corrupted: list[Tensor] = []
    patched: list[Tensor] = []
    for ids, (values, _), columns in zip(corrupt, sources, places, strict=True):
        patches = [
            Patch(sites[number], column % len(ids), values[number, place])
            for number in order
            for place, column in enumerate(columns)
        ]
        bare, rows = patched_runs(model, ids, patches)
        by_site = torch.stack(rows).unflatten(0, (len(sites), len(columns)))
        corrupted.append(bare)
        patched.append(by_site[torch.tensor(order).argsort()])
    wanted = torch.tensor([list(each) for each in tokens])
    spread = wanted[:, None, None].expand(-1, len(sites), len(places[0]), -1)
    return PatchSweep(
        clean=torch.stack([found for _, found in sources]).gather(-1, wanted),
        corrupt=torch.stack(corrupted).gather(-1, wanted),
        patched=torch.stack(patched).gather(-1, spread),
    )


def check_pairs(
    model: SubjectModel,
    clean: Sequence[list[int]],
    corrupt: Sequence[list[int]],
    sites: Sequence[Site],
    tokens: Sequence[Sequence[int]],
) -> None:
    """Raise `ToolError` for pairs, sites or tokens that do not fit each other and the model."""
    if not clean or not sites or not len(clean) == len(corrupt) == len(tokens):
        raise ToolError("patching needs sites, and as many clean as corrupted prompts and answers")
    if len({len(each) for each in tokens}) != 1 or not tokens[0]:
        raise ToolError("give the same number of answer tokens for each pair")
    if not all(0 <= token < model.vocab_size for each in tokens for token in each):
        raise ToolError(f"an answer token lies outside the {model.vocab_size} of the vocabulary")
    for site in sites:
        model.weights.anatomy.validate(site)
    model.check_length(max(map(len, [*clean, *corrupt])))


def rank(site: Site) -> tuple[int, int]:
    """Return where in the order of execution a site stands."""
    return site.layer, KINDS.index(site.kind)


def clean_runs(
    model: SubjectModel,
    prompts: Sequence[list[int]],
    sites: Sequence[Site],
    places: Sequence[list[int]],
) -> list[tuple[Tensor, Tensor]]:
    """Return for each prompt its activations [site, position, d_model] and next-token log-probs."""

    def work(batch: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        interventions = model.interventions((), sites)
        interventions.positions = torch.tensor([places[p] for p in batch])

        def read(passage: Passage) -> Tensor:
            logits = passage.read([prompts[p] for p in batch], batch, cache=False)
            return checked(logits[:, -1]).log_softmax(-1).cpu()

        logprobs = model.run(read, interventions)
        values = torch.stack([interventions.captured[site] for site in sites], dim=1)
        return list(zip(finite(list(values)), logprobs, strict=True))

    return model.batches.by_length(range(len(prompts)), lambda p: len(prompts[p]), work)


def patched_runs(
    model: SubjectModel, ids: list[int], patches: Sequence[Patch]
) -> tuple[Tensor, list[Tensor]]:
    """Return next-token log-probs of a prompt as it is, and under each of the patches by itself."""
    bare: list[Tensor] = []

    def work(batch: Sequence[Patch]) -> list[Tensor]:
        def read(passage: Passage) -> Tensor:
            logits = passage.read([ids], [0], cache=False)
            return checked(logits[:, -1]).log_softmax(-1).cpu()

        found = model.run(read, JoiningRows(model.weights.anatomy, model.weights.envoy, batch))
        bare.append(found[0])
        return list(found[1:])

    rows = model.batches.run(patches, work)
    return bare[0], rows


class JoiningRows:
    """What a trace does in a sweep: row 0 is the corrupted run, patched copies of it join on the way."""

    def __init__(self, anatomy: Anatomy, envoy: Any, patches: Sequence[Patch]) -> None:
        self.stage: Stage | None = None
        self.anatomy = anatomy
        self.envoy = envoy
        self.groups: dict[Site, list[Patch]] = {}
        for patch in patches:
            self.groups.setdefault(patch.site, []).append(patch)
        self.layers = sorted({site.layer for site in self.groups})

    def __bool__(self) -> bool:
        return bool(self.groups)

    def visit(self) -> None:
        """Take the forward pass through every site. Called in the body of a trace."""
        for layer in self.layers:
            block = reach(self.envoy, f"{self.anatomy.layers_path}.{layer}")
            pre, *inner, post = (self.groups.get(Site(layer, kind), []) for kind in KINDS)
            if pre or any(inner):
                rows = block.input
                size = len(rows)
                # What is patched inside the layer joins before it, as copies still unchanged.
                block.input = torch.cat([joined(rows, pre), copies(rows, sum(map(len, inner)))])
                begin = size + len(pre)
                for kind, group in zip(KINDS[1:3], inner, strict=True):
                    if group:
                        path, _ = self.anatomy.part(Site(layer, kind))
                        write(first_tensor(reach(self.envoy, path).output), begin, group)
                        begin += len(group)
            if post:
                output = block.output
                grown = joined(first_tensor(output), post)
                block.output = (grown, *output[1:]) if isinstance(output, tuple) else grown


def copies(hidden: Tensor, count: int) -> Tensor:
    """Return copies of row 0 of hidden states [batch, pos, d_model]."""
    return hidden[:1].repeat(count, 1, 1)


def joined(hidden: Tensor, patches: Sequence[Patch]) -> Tensor:
    """Return the rows with one patched copy of row 0 behind them for each patch."""
    grown = torch.cat([hidden, copies(hidden, len(patches))])
    write(grown, len(hidden), patches)
    return grown


def write(hidden: Tensor, begin: int, patches: Sequence[Patch]) -> None:
    """Write the patches, one a row from row `begin` on, in place."""
    if not patches:
        return
    rows = torch.arange(begin, begin + len(patches), device=hidden.device)
    columns = torch.tensor([patch.column for patch in patches], device=hidden.device)
    values = torch.stack([patch.value for patch in patches])
    hidden[rows, columns] = values.to(hidden.device, hidden.dtype)
