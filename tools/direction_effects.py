"""Where a direction comes from, which placebos it is compared with, and how far an effect stands out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from tools import statistics as stats
from tools.blobs import BlobStore
from tools.directions import (
    PlaceboKind,
    concept_differences,
    covariance_matched,
    difference_of_means,
    isotropic,
    residuals,
    seeded,
    shuffled_differences,
)
from tools.edits import load_direction, save_direction
from tools.experiment import canonical_json
from tools.labels import Labelled, LabelledPrompts, labelled
from tools.neutral import sentences
from tools.prompt import Prompt, PromptItem, SetSlot, user_prompt
from tools.registry import Record, ToolError
from tools.scoring import cluster_means
from tools.subject import SubjectModel

ROUNDING = 1e-6
"""A difference of so small a share of the activations is none."""


class Guard(Record):
    """A control, and whether it was passed."""

    name: str
    passed: bool


class Effect(Record):
    """A mean over templates with its 95 % interval (t over template means; None with one template)."""

    mean: float
    interval: tuple[float, float] | None
    templates: int

    @property
    def is_clear(self) -> bool:
        """Say whether the interval leaves out zero."""
        return self.interval is not None and self.interval[0] * self.interval[1] > 0

    @property
    def holds_zero(self) -> bool:
        """Say whether the interval holds zero."""
        return self.interval is None or self.interval[0] <= 0 <= self.interval[1]


class Band(Record):
    """What placebo directions of one kind do, and where the effect ranks among them."""

    kind: PlaceboKind
    directions: int
    p: float
    """(1 + placebos that do as much) / (1 + placebos): of either sign when steering, in loss when ablating."""
    middle_95: tuple[float, float]
    """Between these lie 95 % of the placebos' effects."""


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


def template_means(items: Sequence[PromptItem], values: Tensor) -> dict[str, float]:
    """Return the mean per template of a value per item; NaN values are left out."""
    rows = [
        {"template_id": item.template_id, "mean": None if math.isnan(value) else value}
        for item, value in zip(items, values.tolist(), strict=True)
    ]
    return cluster_means(rows)


def effect_of(items: Sequence[PromptItem], values: Tensor) -> Effect:
    """Return the mean over templates of a value per item; `ToolError` when no item could be scored."""
    means = list(template_means(items, values).values())
    if not means:
        raise ToolError("no prompt could be scored with this measure")
    interval = stats.mean_interval(means) if len(means) > 1 else None
    return Effect(mean=stats.mean(means), interval=interval, templates=len(means))


def band(
    kind: PlaceboKind,
    effect: Effect,
    items: Sequence[PromptItem],
    values: Tensor,
    alternative: stats.Alternative,
) -> Band:
    """Rank an effect among those of placebo directions, given as [direction, item]."""
    by_template = [list(template_means(items, row).values()) for row in values]
    means = [stats.mean(found) for found in by_template if found]
    if not means:
        raise ToolError("no prompt could be scored under the placebo directions")
    ordered = sorted(means)
    cut = int(0.025 * len(ordered))
    return Band(
        kind=kind,
        directions=len(means),
        p=stats.rank_p(effect.mean, means, alternative),
        middle_95=(ordered[cut], ordered[-1 - cut]),
    )


def share_of_items(values: Tensor, others: Tensor | None, effect: Effect) -> float | None:
    """Return the share of items on which the effect exceeds the best of the others [direction, item]."""
    if others is None:
        return None
    turn = math.copysign(1.0, effect.mean)
    return float((turn * values > others.abs().amax(0)).double().mean())


def neutral_prompts() -> list[Prompt]:
    """Return prompts on which an intervention should change nothing."""
    return [user_prompt(text) for text in (*sentences("neutral"), *sentences("off_topic"))]


def stored(
    blobs: BlobStore, items: Sequence[PromptItem], plain: Tensor, runs: Mapping[str, Tensor]
) -> str:
    """Store every item's measure under every direction; NaN becomes null."""
    table = {"plain": plain[None], **runs}
    return blobs.put(
        canonical_json(
            {
                "items": [
                    {"id": item.id, "template_id": item.template_id, "slots": item.slots}
                    for item in items
                ],
                "runs": {
                    name: [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
                    for name, values in table.items()
                },
            }
        ).encode()
    )
