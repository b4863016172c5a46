"""Prompts run under many directions, one for each run, and what a measure makes of every run.

All runs share batches. Where the measure is read from single tokens, a prompt is encoded once, and
under an added direction it goes up the layers as one row, which the runs leave at the layer where
their direction is added: below it they are the plain run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tools.architecture import Site, first_tensor
from tools.edits import Edit, Stage, reach
from tools.experiment import Context
from tools.generation import Passage, checked
from tools.measures import JudgedMeasure, LogprobDifference, Measure, resolve
from tools.prompt import Prompt, PromptItem
from tools.registry import ToolError
from tools.scoring import score_items
from tools.subject import SubjectModel

RUNS_AT_ONCE = 1024


@dataclass(frozen=True)
class Asking:
    """How an item is scored; the fields that `score_items` wants."""

    measure: Measure
    samples: int = 1
    max_new_tokens: int = 24
    temperature: float = 1.0


def answer_tokens(
    model: SubjectModel, items: Sequence[PromptItem], measure: LogprobDifference
) -> list[list[list[int]]]:
    """Return the token ids of each item's answers, the positive ones first."""
    found: list[list[list[int]]] = []
    for item in items:
        wanted: Any = resolve(measure, item)
        ids = model.encode(item.prompt)
        texts = [*wanted.positive, *wanted.negative]
        found.append([model.encoder.continue_with(item.prompt, ids, text) for text in texts])
    return found


def difference(logprobs: Tensor, positive: int) -> Tensor:
    """Return log P(any of the first `positive` answers) - log P(any other), over the last dimension."""
    precise = logprobs.double()
    return precise[..., :positive].logsumexp(-1) - precise[..., positive:].logsumexp(-1)


class DirectedRuns:
    """Items under one kind of write at some sites, at all positions of the prompt and the answer."""

    def __init__(
        self,
        model: SubjectModel,
        items: Sequence[PromptItem],
        asking: Asking,
        context: Context,
        operation: Literal["add", "project_out"],
        sites: Sequence[Site],
    ) -> None:
        if isinstance(asking.measure, JudgedMeasure):
            raise ToolError(
                "a judged measure would be asked about every prompt under every direction: take a measure of "
                "words or of log-probabilities here"
            )
        self.model, self.items, self.asking, self.context = model, list(items), asking, context
        self.operation: Literal["add", "project_out"] = operation
        self.sites = list(sites)
        for site in sites:
            model.weights.anatomy.validate(site)
        self.prompts = [model.encode(item.prompt) for item in items]
        self.tokens: Tensor | None = None
        if isinstance(asking.measure, LogprobDifference):
            answers = answer_tokens(model, items, asking.measure)
            if all(len(ids) == 1 for each in answers for ids in each):
                self.tokens = torch.tensor([[ids for (ids,) in each] for each in answers])

    def plain(self) -> Tensor:
        """Return the measure of each item without any direction, [item]; NaN where it cannot be scored."""
        if self.tokens is not None:
            found = self.model.batches.by_length(
                range(len(self.items)), lambda item: len(self.prompts[item]), self._read
            )
            return self._difference(torch.stack(found))
        rows = score_items(self.model, self.items, self.asking, self.context)
        return torch.tensor([scored(row) for row in rows], dtype=torch.float64)

    def scores(self, vectors: Tensor) -> Tensor:
        """Return the measure [run, item] under each of the vectors [run, d_model].

        A vector is added as it is, length and sign included; what is projected out is its line.
        """
        found: list[Tensor] = []
        if self.tokens is None:
            step = max(1, RUNS_AT_ONCE // len(self.items))
            for first in range(0, len(vectors), step):
                self.context.progress(first / len(vectors), f"{len(vectors)} directions")
                found.append(self._sampled(vectors[first : first + step]))
            return torch.cat(found)
        for item in range(len(self.items)):
            self.context.progress(item / len(self.items), f"{len(vectors)} directions")
            found.append(torch.stack(self._one_item(item, vectors)))
        return self._difference(torch.stack(found)).T

    def neutral_divergence(self, vectors: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        """Return KL(plain || directed) of the next token in nats, mean over prompts, for each vector."""
        plain = self.model.next_token_logprobs(prompts)
        found: list[Tensor] = []
        for vector in vectors:
            edits = [Edit(site, self.operation, vector) for site in self.sites]
            directed = self.model.next_token_logprobs(prompts, edits)
            found.append((plain.exp() * (plain - directed)).sum(-1).clamp(min=0).mean())
        return torch.stack(found)

    def _read(self, batch: Sequence[int]) -> list[Tensor]:
        """Return the log-probabilities of the answers of some items, run as they are."""
        assert self.tokens is not None

        def read(passage: Passage) -> Tensor:
            logits = passage.read([self.prompts[item] for item in batch], batch, cache=False)
            return checked(logits[:, -1]).log_softmax(-1).cpu()

        return list(
            self.model.run(read, self.model.interventions(())).gather(-1, self.tokens[list(batch)])
        )

    def _one_item(self, item: int, vectors: Tensor) -> list[Tensor]:
        """Return the log-probabilities of one item's answers under each vector."""
        assert self.tokens is not None
        ids, wanted, model = self.prompts[item], self.tokens[item], self.model
        leaves = self.operation == "add" and [site.kind for site in self.sites] == ["resid_post"]

        def work(batch: Sequence[Tensor]) -> list[Tensor]:
            given = torch.stack(list(batch))
            edits = [Edit(site, self.operation, given) for site in self.sites]
            visitor = Leaving(model, self.sites[0], given) if leaves else model.interventions(edits)
            copies = 1 if leaves else len(batch)

            def read(passage: Passage) -> Tensor:
                logits = passage.read([ids] * copies, range(copies), cache=False)
                return checked(logits[-len(batch) :, -1]).log_softmax(-1)[:, wanted].cpu()

            return list(model.run(read, visitor))

        return model.batches.run(list(vectors), work)

    def _difference(self, logprobs: Tensor) -> Tensor:
        assert isinstance(self.asking.measure, LogprobDifference)
        return difference(logprobs, len(self.asking.measure.positive))

    def _sampled(self, vectors: Tensor) -> Tensor:
        count = len(self.items)
        given = vectors.repeat_interleave(count, 0)
        edits = [Edit(site, self.operation, given) for site in self.sites]
        items = self.items * len(vectors)
        rows = score_items(self.model, items, self.asking, self.context, edits)
        values = torch.tensor([scored(row) for row in rows], dtype=torch.float64)
        return values.unflatten(0, (-1, count))


class Leaving:
    """What a trace does when runs leave a prompt's only row after a layer, each with its own vector."""

    def __init__(self, model: SubjectModel, site: Site, vectors: Tensor) -> None:
        anatomy = model.weights.anatomy
        anatomy.validate(site)
        self.stage: Stage | None = None
        self.block: Any = reach(model.weights.envoy, anatomy.part(site)[0])
        self.vectors = vectors

    def __bool__(self) -> bool:
        return True

    def visit(self) -> None:
        """Put the rows with their vectors behind the plain one. Called in the body of a trace."""
        output = self.block.output
        plain = first_tensor(output)
        moved = plain + self.vectors.to(plain.device, plain.dtype)[:, None]
        rows = torch.cat([plain, moved])
        self.block.output = (rows, *output[1:]) if isinstance(output, tuple) else rows


def scored(row: dict[str, Any]) -> float:
    """Return a row's score, NaN where there was nothing to score."""
    return float("nan") if row["mean"] is None else row["mean"]
