"""Directions in the residual stream, and the placebo directions that a real one has to beat.

A direction of the right size does something almost wherever it points. So none is reported without
others: random ones, random ones that vary as the activations do, what the same recipe gives for
shuffled labels, and directions of other concepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from tools.architecture import Site
from tools.edits import load_direction, save_direction
from tools.experiment import Context
from tools.labels import Labelled, LabelledPrompts, labelled
from tools.registry import Record, ToolError, tool

CONCEPTS = 40
"""At most so many directions of other concepts are taken from the prompts' own slots."""
CONCEPT_ITEMS = 3


def difference_of_means(hidden: Tensor, labels: Tensor) -> Tensor:
    """Return mean(positive) - mean(negative) of activations [item, d_model]; labels are bool [item].

    Source: Marks & Tegmark 2023, arXiv:2310.06824; Panickssery et al. 2023, arXiv:2312.06681.
    """
    return hidden[labels].mean(0) - hidden[~labels].mean(0)


def isotropic(norm: float, d_model: int, count: int, generator: torch.Generator) -> Tensor:
    """Return random directions [count, d_model] of one norm, every direction being as likely."""
    drawn = torch.randn(count, d_model, generator=generator)
    return norm * drawn / drawn.norm(dim=1, keepdim=True)


def covariance_matched(
    hidden: Tensor, labels: Tensor, norm: float, count: int, generator: torch.Generator
) -> Tensor:
    """Return random directions of one norm that vary as the activations do within the two groups.

    Drawn from a normal distribution with the covariance within groups, so that the difference
    between the groups, which is what the real direction claims, is not among what they are made of.
    """
    within = hidden.clone()
    for side in (labels, ~labels):
        within[side] -= hidden[side].mean(0)
    drawn = torch.randn(count, len(hidden), generator=generator) @ within
    sizes = drawn.norm(dim=1, keepdim=True)
    if not sizes.gt(0).all():
        raise ToolError(
            "the activations do not vary within the groups; give more different prompts"
        )
    return norm * drawn / sizes


def shuffled_differences(
    hidden: Tensor, labels: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Return differences of means for shuffled labels, at their own norms: the recipe without a concept.

    Not scaled up: with its own norm a shuffled difference is exchangeable with the real one if the
    labels mean nothing, so that the rank among them is an exact test.
    """
    order = torch.rand(count, len(labels), generator=generator).argsort(1)
    sides = labels[order].float()
    counts = sides.sum(1, keepdim=True)
    return (sides / counts - (1 - sides) / (len(labels) - counts)) @ hidden


def concept_differences(
    hidden: Tensor, prompts: Sequence[Labelled], norm: float, except_slot: str | None
) -> tuple[Tensor, list[str]]:
    """Return directions of one norm of other concepts, each a value of a slot against the rest, with names.

    Values come from the slots of the prompts themselves, the most frequent first, but for the slot
    that decides the label and those that always go with it.
    """
    labels = [each.label for each in prompts]
    counts: dict[tuple[str, str], list[bool]] = {}
    slots = sorted({slot for each in prompts for slot in each.item.slots} - {except_slot})
    for slot in slots:
        for value in sorted({each.item.slots.get(slot, "") for each in prompts} - {""}):
            counts[slot, value] = [each.item.slots.get(slot) == value for each in prompts]
    other = {
        key: member
        for key, member in counts.items()
        if CONCEPT_ITEMS <= sum(member) <= len(member) - CONCEPT_ITEMS
        and len({label for label, inside in zip(labels, member, strict=True) if inside}) == 2
    }
    chosen = sorted(other, key=lambda key: (-sum(other[key]), key))[:CONCEPTS]
    found = [difference_of_means(hidden, torch.tensor(other[key])) for key in chosen]
    kept = [k for k, direction in enumerate(found) if float(direction.norm()) > 0]
    names = [" = ".join(chosen[k]) for k in kept]
    if not kept:
        return torch.zeros(0, hidden.shape[1]), []
    stacked = torch.stack([found[k] for k in kept])
    return norm * stacked / stacked.norm(dim=1, keepdim=True), names


def seeded(seed: int) -> torch.Generator:
    """Return the generator of a call; the same seed gives the same directions on any machine."""
    return torch.Generator().manual_seed(seed % 2**63)


def residuals(model: Any, prompts: Sequence[Labelled], layer: int, position: int) -> Tensor:
    """Return the residual stream [prompt, d_model] after a layer at one position of each prompt."""
    texts = [each.item.prompt for each in prompts]
    return model.capture(texts, [Site(layer)], [position])[0, :, 0]


class PlaceboArguments(LabelledPrompts):
    """What the placebos have to match."""

    direction: str | None = Field(
        default=None,
        description="blob reference whose norm they get; default: difference of means",
    )
    layer: int = Field(ge=0, description="the layer of the direction")
    position: int = Field(
        default=-1, lt=0, description="where activations are read, from the end of the prompt"
    )
    kind: Literal["isotropic", "covariance"] = "covariance"
    count: int = Field(
        default=160,
        ge=1,
        le=2000,
        description="a rank among K placebos can reach p = 1 / (K + 1): 160 for alpha 0.05 / 8",
    )


class PlaceboResult(Record):
    """The direction and its placebos, to be named by the arms of a `rank` prediction."""

    direction: str
    layer: int
    norm: float
    placebos: tuple[str, ...]
    """Blob references, one direction each, of the norm of `direction`."""
    smallest_p: float


@tool
def placebo_directions(subject: Any, args: PlaceboArguments, context: Context) -> PlaceboResult:
    """Store a direction and matched random directions, for a registered prediction of form `rank`.

    The treatment arm steers or ablates `direction`, each placebo arm the same with one of `placebos`
    and everything else equal. Without `direction` the difference of means of the labelled prompts is
    stored too. "covariance" placebos vary as the activations do and are the harder ones to beat.
    """
    if not args.is_given:
        raise ToolError(
            "placebo_directions: give labelled prompts, which the placebos are made from"
        )
    prompts = labelled(args)
    labels = torch.tensor([each.label for each in prompts])
    hidden = residuals(subject, prompts, args.layer, args.position)
    if args.direction is None:
        direction = difference_of_means(hidden, labels)
    else:
        direction = load_direction(context.blobs, args.direction, subject.d_model)
    norm, generator = float(direction.norm()), seeded(context.seed)
    if args.kind == "isotropic":
        drawn = isotropic(norm, subject.d_model, args.count, generator)
    else:
        drawn = covariance_matched(hidden, labels, norm, args.count, generator)
    return PlaceboResult(
        direction=save_direction(context.blobs, direction),
        layer=args.layer,
        norm=norm,
        placebos=tuple(save_direction(context.blobs, each) for each in drawn),
        smallest_p=1 / (1 + args.count),
    )
