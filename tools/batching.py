"""How many rows go through a model at once: as many as fit, found by failing, remembered for good."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from tools.faults import OutOfMemory

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], list[Result]]


SMALL = 100 * 2**20
"""Bytes of weights up to which a step costs more in calls than in arithmetic."""


def rows_at_once(network: torch.nn.Module) -> int:
    """Return how many rows to try first: more for a small model, whose steps are mostly overhead."""
    held = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    return 128 if held <= SMALL else 32


class Batches:
    """Runs items in batches of at most `size`, which is halved whenever memory runs out."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, items: Sequence[Item], work: Work[Item, Result]) -> list[Result]:
        """Return the results of all items in order; `OutOfMemory` when one alone does not fit."""
        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            found = None
            try:
                found = work(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the except block: inside it the traceback still holds the tensors.
            if found is None:
                self._halve(len(batch))
            else:
                results += found
        return results

    def by_length(
        self, rows: Sequence[Item], length: Callable[[Item], int], work: Work[Item, Result]
    ) -> list[Result]:
        """Run rows of similar length together, longest first; results in the order of the rows."""
        order = sorted(range(len(rows)), key=lambda number: -length(rows[number]))
        found = self.run([rows[number] for number in order], work)
        return [result for _, result in sorted(zip(order, found, strict=True), key=lambda x: x[0])]

    def _halve(self, rows: int) -> None:
        if rows == 1:
            raise OutOfMemory("out of memory: one row alone does not fit")
        self.size = rows // 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is a failed allocation, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text or "out of memory" in text
    )
