"""Interventions: where a difference sits, what a direction controls, what a behaviour loses without it.

Three experiments, each with the controls without which it shows nothing:

patch_activations   moves single activations between two versions of a prompt, both ways
steer               adds a direction, beside directions that are known to mean something else
ablate_direction    takes a direction out of natural inputs, beside others taken out likewise

What they find is exploratory. Patching says where, steering says "controls", ablation "contributes";
only a registered prediction on unseen prompts makes a finding of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator
from torch import Tensor

from tools.architecture import Site
from tools.declared_edits import ablation_sites
from tools.directed_runs import Asking, DirectedRuns
from tools.direction_effects import (
    DirectionSource,
    neutral_prompts,
    placebo_sets,
    rows_of,
    source_of,
    stored,
)
from tools.effects import (
    LEVEL,
    Band,
    DoseEffect,
    Effect,
    Guard,
    PlaceboKind,
    ablation_reading,
    effect_of,
    steering_reading,
)
from tools.experiment import Context
from tools.measures import LogprobDifference, Measure
from tools.patching import PairArguments, PatchedCell, grid_of, pairs_of, ranked_cells
from tools.registry import Record, tool
from tools.sampling import Prompts
from tools.scoring import items_from
from tools.subject import SubjectModel

ANOTHER = "another clean prompt does not do the same"
KL_PLACEBOS = 10


class PatchingArguments(PairArguments):
    """Which pairs of prompts, what is measured, and where."""

    measure: LogprobDifference = Field(
        description="answers are filled from the clean prompt's slots and compared at the first token where "
        "they part; what all begin with is put behind the prompt, and positions count from its end"
    )
    layers: tuple[int, ...] = Field(default=(), description="default: all")
    sites: tuple[Literal["resid_pre", "resid_post", "attn_out", "mlp_out"], ...] = Field(
        default=("resid_post",), min_length=1
    )
    positions: tuple[int, ...] = Field(
        default=(),
        description="from the end of the prompt, -1 the last token; default: from the first token that differs",
    )

    @field_validator("positions")
    @classmethod
    def from_the_end(cls, positions: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse positions that are not counted from the end."""
        if any(position >= 0 for position in positions):
            raise ValueError("count positions from the end of the prompt: -1 is the last token")
        return positions


class PatchingResult(Record):
    """The strongest position of each layer and site, the strongest first; the whole grid is in `raw`."""

    reading: str
    clean: float
    """Mean measure of the clean prompts over templates."""
    corrupted: float
    total: Effect
    """Clean less corrupted, in nats; cells are shares of it."""
    cells: tuple[PatchedCell, ...]
    pairs: int
    notes: tuple[str, ...]
    guards: tuple[Guard, ...]
    raw: str


class SteeringArguments(DirectionSource):
    """Which direction, on which prompts, and how far."""

    items: Prompts
    measure: Measure
    doses: tuple[float, ...] = Field(
        default=(0.5, 1.0, 2.0),
        min_length=3,
        max_length=8,
        description="multiples of the direction's own length, each run with both signs; placebos get the middle one",
    )
    placebos: int = Field(default=99, ge=99, le=999, description="random directions of each kind")
    samples: int = Field(default=1, ge=1, le=16)
    max_new_tokens: int = Field(default=16, ge=1, le=256)

    @field_validator("doses")
    @classmethod
    def are_positive(cls, doses: tuple[float, ...]) -> tuple[float, ...]:
        """Sort the doses and refuse a dose of zero, a negative one, and one given twice."""
        if min(doses) <= 0 or len(set(doses)) < len(doses):
            raise ValueError("doses are positive and different; each is run with both signs")
        return tuple(sorted(doses))


class SteeringResult(Record):
    """What the direction does to the measure, beside what other directions do."""

    reading: str
    direction: str
    """Blob reference, for `steer` interventions, `ablate_direction` and registered predictions."""
    layer: int
    norm: float
    relative_norm: float
    """Norm over the median norm of the residual stream at that layer."""
    effect: Effect
    """Half the difference between the middle dose and its opposite, in the measure's units."""
    doses: tuple[DoseEffect, ...]
    bands: tuple[Band, ...]
    """Placebo directions at the same dose; p is the two-sided rank of the effect among them."""
    anti_steered: float
    """Share of prompts that move against the mean effect."""
    ahead_of_concepts: float | None
    """Share of prompts on which it does more than the best of the other concepts."""
    kl_placebos: float
    """Median KL on neutral prompts of random directions at the middle dose."""
    guards: tuple[Guard, ...]
    raw: str


class AblationArguments(DirectionSource):
    """Which direction to take out, on which natural inputs, and what should stay."""

    items: Prompts
    measure: Measure
    layers: tuple[int, ...] = Field(
        default=(),
        description="take it out after these layers; default: wherever it is written",
    )
    unrelated_items: Prompts | None = Field(
        default=None, description="prompts of an unrelated skill that should be kept"
    )
    unrelated_measure: Measure | None = Field(
        default=None, description="the measure of the unrelated skill"
    )
    placebos: int = Field(default=99, ge=99, le=999, description="random directions of each kind")
    samples: int = Field(default=1, ge=1, le=16)
    max_new_tokens: int = Field(default=16, ge=1, le=256)


class AblationResult(Record):
    """What the behaviour loses without the direction, beside what it loses without others."""

    reading: str
    direction: str
    before: float
    """Mean measure of the prompts as they are, over templates."""
    effect: Effect
    """Ablated less plain, in the measure's units."""
    bands: tuple[Band, ...]
    """Placebo directions taken out likewise; p is the rank of the loss among theirs."""
    kl_neutral: float
    kl_placebos: float
    unrelated: Effect | None
    guards: tuple[Guard, ...]
    raw: str


@tool
def patch_activations(
    subject: SubjectModel, args: PatchingArguments, context: Context
) -> PatchingResult:
    """Find where in the model the difference between two versions of a prompt is carried.

    Give clean and corrupted prompts as edits of the same items, or as two lists of pairs, that differ
    in one respect and swap the answer. Every activation of one version is put into the other, layer
    by layer and position by position. Denoising (clean into corrupted) finds what suffices, noising
    (corrupted into clean) what is needed: a place that carries the difference does both. The control
    takes the activation from another clean prompt and should do nothing.
    """
    pairs = pairs_of(subject, args)
    grid = grid_of(subject, args, pairs, context)
    total = grid.total()
    cells = ranked_cells(grid, context.seed)
    best = cells[0]
    guards = (
        Guard(name="clean and corrupted differ", passed=total.is_clear),
        Guard(name="both directions agree", passed=min(best.denoising, best.noising) > 0.5 * best.share),
        Guard(name=ANOTHER, passed=abs(best.control) < 0.5 * best.share),
        Guard(name="stands out of the whole sweep", passed=best.p <= LEVEL),
    )  # fmt: skip
    return PatchingResult(
        reading=place_reading(guards, best),
        clean=grid.level("clean"),
        corrupted=grid.level("corrupted"),
        total=total,
        cells=cells,
        pairs=len(pairs),
        notes=grid.notes,
        guards=guards,
        raw=grid.store(context.blobs),
    )


def place_reading(guards: Sequence[Guard], best: PatchedCell) -> str:
    """Return what a sweep says of its best place, by the guards that it passed."""
    missed = [guard.name for guard in guards if not guard.passed]
    if not missed:
        return "carries the difference here (exploratory)"
    if missed == [ANOTHER]:
        return (
            f"the first place carries {best.share:.2f} of the difference, and an activation of another clean prompt "
            f"{best.control:.2f} of it: in part what clean prompts share, such as an order or a length (exploratory)"
        )
    return "no place stands out"


@tool
def steer(subject: SubjectModel, args: SteeringArguments, context: Context) -> SteeringResult:
    """Add a direction to the residual stream and see what it does to the measure.

    The direction is the difference of means of labelled prompts, or a stored one. It has to do more
    than random directions of its length, than what its recipe gives for shuffled labels, and than
    directions of other concepts, with both signs and more at higher doses. Use a logprob_difference
    measure where you can: one forward pass, no sampling. Steering alone shows that a direction
    controls the answer, never that the model uses it; ablate it on natural inputs for that.
    """
    items = items_from(args.items)
    source = source_of(subject, args, items, context.blobs)
    site = Site(args.layer)
    asking = Asking(args.measure, args.samples, args.max_new_tokens)
    runs = DirectedRuns(subject, items, asking, context, "add", [site])
    plain = runs.plain()
    signed = sorted([*args.doses, *(-dose for dose in args.doses)])
    steered = runs.scores(source.times(signed))
    middle = args.doses[len(args.doses) // 2]
    placebos = placebo_sets(source, args.placebos, context.seed)
    halves: dict[PlaceboKind, Tensor] = {
        kind: (runs.scores(middle * each) - runs.scores(-middle * each)) / 2
        for kind, each in placebos.items()
    }
    neutral = neutral_prompts()
    divergences = runs.neutral_divergence(source.times(signed), neutral).tolist()
    random = runs.neutral_divergence(middle * placebos["isotropic"][:KL_PLACEBOS], neutral)
    kl = (divergences, random.tolist())
    return SteeringResult(
        **steering_reading(
            [item.template_id for item in items],
            plain.tolist(),
            dict(zip(signed, steered.tolist(), strict=True)),
            {kind: values.tolist() for kind, values in halves.items()},
            kl,
        ),
        direction=source.reference,
        layer=args.layer,
        norm=source.norm,
        relative_norm=source.norm / source.typical_norm,
        raw=stored(context.blobs, items, plain, {"steered": steered, **halves}, kl=kl),
    )


@tool
def ablate_direction(
    subject: SubjectModel, args: AblationArguments, context: Context
) -> AblationResult:
    """Take a direction out of the residual stream on natural inputs and see what the measure loses.

    Choose items that show the behaviour and a measure of which more is more of it. It has to lose
    more than it does without random directions, without those that vary as the activations do, and
    without those of other concepts; neutral text and, if you give one, an unrelated skill have to
    stay. A direction that passes contributes to the behaviour; one that steers and does not pass is a
    handle and not a part of the mechanism.
    """
    items = items_from(args.items)
    source = source_of(subject, args, items, context.blobs)
    sites = ablation_sites(subject.weights.anatomy, args.layers)
    asking = Asking(args.measure, args.samples, args.max_new_tokens)
    runs = DirectedRuns(subject, items, asking, context, "project_out", sites)
    plain, taken_out = runs.plain(), source.times([1.0])
    ablated = runs.scores(taken_out)
    placebos = placebo_sets(source, args.placebos, context.seed)
    changes: dict[PlaceboKind, Tensor] = {
        kind: runs.scores(each) - plain for kind, each in placebos.items()
    }
    neutral = neutral_prompts()
    random = runs.neutral_divergence(placebos["isotropic"][:KL_PLACEBOS], neutral)
    kl = (float(runs.neutral_divergence(taken_out, neutral)[0]), random.tolist())
    unrelated = None
    if args.unrelated_items is not None and args.unrelated_measure is not None:
        others = items_from(args.unrelated_items)
        beside = Asking(args.unrelated_measure, args.samples, args.max_new_tokens)
        kept = DirectedRuns(subject, others, beside, context, "project_out", sites)
        change = kept.scores(taken_out)[0] - kept.plain()
        unrelated = ([item.template_id for item in others], change)
    change = ablated - plain
    return AblationResult(
        **ablation_reading(
            [item.template_id for item in items],
            plain.tolist(),
            (change[0].tolist(), {kind: values.tolist() for kind, values in changes.items()}),
            kl,
            effect_of(unrelated[0], unrelated[1].tolist()) if unrelated else None,
        ),
        direction=source.reference,
        raw=stored(
            context.blobs,
            items,
            plain,
            {"ablated": change, **changes},
            kl=kl,
            unrelated=(unrelated[0], *rows_of(unrelated[1][None])) if unrelated else None,
        ),
    )
