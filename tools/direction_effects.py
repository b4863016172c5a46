"""Where a direction comes from, which placebos it is compared with, and what is kept of their runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tools.blobs import BlobStore
from tools.directions import (
    concept_differences,
    covariance_matched,
    difference_of_means,
    isotropic,
    residuals,
    seeded,
    shuffled_differences,
)
from tools.edits import load_direction, save_direction
from tools.effects import PlaceboKind
from tools.experiment import canonical_json
from tools.labels import Labelled, LabelledPrompts, labelled
from tools.neutral import sentences
from tools.prompt import Prompt, PromptItem, SetSlot, user_prompt
from tools.registry import ToolError
from tools.subject import SubjectModel

ROUNDING = 1e-6
"""A difference of so small a share of the activations is none."""


class DirectionSource(LabelledPrompts):
    """A stored direction, or labelled prompts whose difference of means it is."""

    direction: str | None = Field(
        default=None,
        description="blob reference of a stored direction; default: difference of means of labelled prompts",
    )
    layer: int = Field(ge=0, description="the layer it is read from and added to (resid_post)")
    position: int = Field(
        default=-1, lt=0, description="where activations are read, from the end of the prompt"
    )
    other_directions: tuple[str, ...] = Field(
        default=(), max_length=200, description="blob references of directions of other concepts"
    )


@dataclass(frozen=True)
class Source:
    """A direction with what its placebos are made from."""

    direction: Tensor
    reference: str
    prompts: list[Labelled]
    """Empty when the direction was given without labelled prompts."""
    hidden: Tensor
    """Activations at the direction's layer and position: of those prompts, or of the items."""
    labels: Tensor
    others: Tensor
    """Directions of other concepts, of the same norm."""

    @property
    def norm(self) -> float:
        """The length of the direction."""
        return float(self.direction.norm())

    @property
    def typical_norm(self) -> float:
        """The median length of the activations at the direction's layer and position."""
        return float(self.hidden.norm(dim=1).median())

    def times(self, doses: Sequence[float]) -> Tensor:
        """Return the direction at each dose, [dose, d_model]."""
        return torch.tensor(doses)[:, None] * self.direction


def source_of(
    model: SubjectModel, args: DirectionSource, items: Sequence[PromptItem], blobs: BlobStore
) -> Source:
    """Make or load the direction; raise `ToolError` when there is nothing to make it from, or it is zero."""
    if not args.is_given and args.direction is None:
        raise ToolError("give a `direction`, or labelled prompts that it is made from")
    prompts = labelled(args) if args.is_given else []
    hidden = residuals(
        model, prompts or [Labelled(item, False) for item in items], args.layer, args.position
    )
    labels = torch.tensor([each.label for each in prompts] or [False] * len(items))
    if args.direction is not None:
        direction = load_direction(blobs, args.direction, model.d_model)
    else:
        direction = difference_of_means(hidden, labels)
    norm = float(direction.norm())
    if norm <= ROUNDING * float(hidden.norm(dim=1).median()):
        raise ToolError(
            "the direction is zero: the two groups do not differ at this layer and position"
        )
    slot = args.label.slot if isinstance(args.label, SetSlot) else None
    given = [load_direction(blobs, each, model.d_model) for each in args.other_directions]
    scaled = [norm * each / each.norm() for each in given]
    own, _ = concept_differences(hidden, prompts, norm, slot)
    return Source(
        direction=direction,
        reference=args.direction or save_direction(blobs, direction),
        prompts=prompts,
        hidden=hidden,
        labels=labels,
        others=torch.cat([torch.stack(scaled), own]) if scaled else own,
    )


def placebo_sets(source: Source, count: int, seed: int) -> dict[PlaceboKind, Tensor]:
    """Return the placebo directions of each kind that can be had, [direction, d_model]."""
    generator = seeded(seed)
    found: dict[PlaceboKind, Tensor] = {
        "isotropic": isotropic(source.norm, len(source.direction), count, generator),
        "covariance": covariance_matched(
            source.hidden, source.labels, source.norm, count, generator
        ),
    }
    if source.prompts:
        found["shuffled"] = shuffled_differences(source.hidden, source.labels, count, generator)
    if len(source.others):
        found["concept"] = source.others
    return found


def neutral_prompts() -> list[Prompt]:
    """Return prompts on which an intervention should change nothing."""
    return [user_prompt(text) for text in (*sentences("neutral"), *sentences("off_topic"))]


def stored(
    blobs: BlobStore,
    items: Sequence[PromptItem],
    plain: Tensor,
    runs: Mapping[str, Tensor],
    **beside: Any,
) -> str:
    """Store every item's measure under every direction, and what else a result rests on; NaN becomes null."""
    table = {"plain": plain[None], **runs}
    return blobs.put(
        canonical_json(
            {
                "items": [
                    {"id": item.id, "template_id": item.template_id, "slots": item.slots}
                    for item in items
                ],
                "runs": {name: rows_of(values) for name, values in table.items()},
                **beside,
            }
        ).encode()
    )


def rows_of(values: Tensor) -> list[list[float | None]]:
    """Return values [run, item] as JSON holds them."""
    return [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
