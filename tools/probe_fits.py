"""Linear probes in closed form: one solve gives the fit for hundreds of labellings at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from tools import statistics as stats
from tools.discrimination import auroc

Method = Literal["ridge", "difference_of_means"]
METHODS: tuple[Method, ...] = ("ridge", "difference_of_means")
PENALTY = 0.1
"""Of the mean eigenvalue of the kernel: nearly interpolating where there are more features than prompts."""


def probe_scores(train: Tensor, labels: Tensor, test: Tensor, method: Method) -> Tensor:
    """Fit on `train` [n, d] for each column of `labels` [n, k]; return scores [m, k] on `test` [m, d]."""
    weights, standard = dual(train, labels, method)
    return standard(test) @ (standard(train).T @ weights)


def probe_direction(train: Tensor, labels: Tensor, method: Method) -> tuple[Tensor, float]:
    """Fit one labelling [n]; return the direction [d] in the space of the activations, and a threshold.

    The direction is as long as the two groups lie apart along it, so that adding it once to a negative
    makes a typical positive. The threshold on the dot product is halfway between the groups' means.
    """
    precise = train.double()
    if method == "ridge":
        weights, standard = dual(train, labels[:, None], method)
        direction = (standard(train).T @ weights)[:, 0] / moments(precise)[1]
    else:
        direction = precise[labels].mean(0) - precise[~labels].mean(0)
    unit = direction / direction.norm().clamp(min=1e-12)
    along = precise @ unit
    gap = along[labels].mean() - along[~labels].mean()
    middle = (along[labels].mean() + along[~labels].mean()) / 2
    return (unit * gap).float(), float(middle * gap)


def dual(
    train: Tensor, labels: Tensor, method: Method
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the weight of each training prompt [n, k], and the map from activations to features."""
    centre, spread = moments(train.double())
    if method == "difference_of_means":
        sides = labels.double()
        positive = sides.sum(0).clamp(min=1)
        negative = (len(sides) - sides.sum(0)).clamp(min=1)
        return sides / positive - (1 - sides) / negative, lambda x: x.double() - centre

    def standard(x: Tensor) -> Tensor:
        return (x.double() - centre) / spread

    features = standard(train)
    kernel = features @ features.T
    ridge = PENALTY * kernel.diagonal().mean().clamp(min=1e-12)
    wanted = 2 * labels.double() - 1
    system = kernel + ridge * torch.eye(len(kernel), dtype=kernel.dtype)
    return torch.linalg.solve(system, wanted - wanted.mean(0)), standard


def moments(train: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each feature; infinite for one that never varies."""
    spread = train.std(0)
    floor = 1e-6 * spread.max()
    return train.mean(0), torch.where(spread > floor, spread, torch.inf)


def auroc_columns(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the AUROC of each column of scores [m, k] for labels [m, k]; 0.5 where one label is missing."""
    columns = scores.T.contiguous()
    ordered = columns.sort(1).values
    below = torch.searchsorted(ordered, columns, right=False)
    within = torch.searchsorted(ordered, columns, right=True)
    ranks = (below + within + 1).double() / 2
    sides = labels.T.double()
    positive = sides.sum(1)
    negative = sides.shape[1] - positive
    excess = (ranks * sides).sum(1) - positive * (positive + 1) / 2
    return torch.where(positive * negative > 0, excess / (positive * negative).clamp(min=1), 0.5)


def held_out_auroc(
    hidden: Tensor, labels: Tensor, folds: Sequence[tuple[list[int], list[int]]], method: Method
) -> Tensor:
    """Return the AUROC of each labelling [n, k] on held-out folds, averaged by their informative pairs."""
    total = torch.zeros(labels.shape[1], dtype=torch.float64)
    pairs = torch.zeros_like(total)
    for learnt, tried in folds:
        scores = probe_scores(hidden[learnt], labels[learnt], hidden[tried], method)
        sides = labels[tried].double()
        weight = sides.sum(0) * (len(tried) - sides.sum(0))
        total += weight * auroc_columns(scores, labels[tried])
        pairs += weight
    return torch.where(pairs > 0, total / pairs.clamp(min=1), 0.5)


def jackknife(
    statistic: Callable[[list[int]], float], clusters: Sequence[str]
) -> tuple[float, tuple[float, float] | None]:
    """Return a statistic over all places, and its 95 % interval from leaving out each cluster in turn.

    Source: Efron & Stein 1981, Ann. Statist. 9; pseudo-values with t quantiles (Tukey).
    """
    every = list(range(len(clusters)))
    whole = statistic(every)
    names = sorted(set(clusters))
    if len(names) < 3:
        return whole, None
    without = [statistic([k for k in every if clusters[k] != name]) for name in names]
    count = len(names)
    pseudo = [count * whole - (count - 1) * each for each in without]
    low, high = stats.mean_interval(pseudo)
    half = (high - low) / 2
    return whole, (whole - half, whole + half)


def auroc_of(labels: Sequence[bool], scores: Sequence[float], places: Sequence[int]) -> float:
    """Return the AUROC over some places; 0.5 where one label is missing."""
    chosen = [labels[k] for k in places]
    if all(chosen) or not any(chosen):
        return 0.5
    return auroc(chosen, [scores[k] for k in places])
