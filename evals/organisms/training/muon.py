"""Muon: momentum whose updates are made orthogonal, in the precision of the training."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, distributed

from evals.organisms.training.precision import training_precision

COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""The quintic of Jordan et al. 2024 (kellerjordan.github.io/posts/muon): steep at zero, near one elsewhere."""
ITERATIONS = 5
MATCHED = 0.2
"""The root mean square of AdamW's updates, to which these are scaled (Liu et al. 2025, "Muon is scalable for
LLM training", section 2.2): one rate then serves both."""


def orthogonal(matrix: Tensor) -> Tensor:
    """Return the matrix with its singular values pushed towards one (Newton-Schulz)."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if tall else matrix
    found = found / found.norm().clamp(min=1e-7)
    with training_precision():
        for _ in range(ITERATIONS):
            gram = found @ found.T
            found = torch.addmm(
                found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a
            )
    return (found.T if tall else found).float()


class Muon(torch.optim.Optimizer):
    """Muon for matrices, over several processes that hold equal gradients and share the work.

    torch's own multiplies in bfloat16 everywhere, which a processor without it emulates, twenty times slower.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.rank, self.workers = rank, workers

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take a step along the orthogonal momentum (Nesterov's)."""
        assert closure is None
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            updates: list[Tensor] = []
            for index, parameter in enumerate(held):
                gradient = parameter.grad
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(gradient, 1 - group["momentum"])
                ahead = gradient.lerp(state["momentum"], group["momentum"])
                own = index % self.workers == self.rank
                updates.append(orthogonal(ahead) if own else torch.zeros_like(parameter))
            for parameter, update in zip(held, self._gathered(updates), strict=True):
                scale = MATCHED * max(parameter.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * scale)

    def _gathered(self, updates: list[Tensor]) -> list[Tensor]:
        """Return everybody's updates; those of others are zero here."""
        if self.workers == 1:
            return updates
        flat = torch.cat([update.flatten() for update in updates])
        distributed.all_reduce(flat)
        parts = flat.split([update.numel() for update in updates])
        return [part.view_as(update) for part, update in zip(parts, updates, strict=True)]
