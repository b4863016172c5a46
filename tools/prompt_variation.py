"""Prompt variation as a causal test: factors x levels x paraphrases, average marginal effects.

Each factor is an editable part of the prompt with two or more levels; each level is a list of edits.
The effect of a level is its mean difference from the factor's first level, over templates, with the
other factors as the prompts have them (one at a time) or averaged over (factorial). A no-op factor
(a neutral sentence) is always added: an effect no larger than the no-op's is wording, not cause.
A prompt that a level's edits leave as it is was not treated; it stays out of that level's contrast.

Source: the design of Rajamanoharan and Nanda 2025 (self-preservation or instruction ambiguity).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from tools.experiment import Context, canonical_json
from tools.factors import (
    NO_OP,
    Factor,
    base_cell,
    cell_name,
    edits_of,
    level_texts,
    plan_cells,
    with_no_op,
)
from tools.judging import JudgedResult, judge_table
from tools.level_effects import CellMean, Effect, Grid, Interaction, Model, Table
from tools.measures import Measure
from tools.own_templates import filled_by
from tools.prompt import Arm, PromptItem
from tools.registry import Record, ToolError, tool
from tools.sampling import Prompts
from tools.scoring import (
    ScoringArguments,
    cluster_means,
    items_from,
    mean,
    neither_share,
    score_arm,
    transformed,
)

SHOWN_INTERACTIONS = 12
SHOWN_EXAMPLES = 12
"""So many of the largest effects come with answers."""


class VariationArguments(Record):
    """What to vary and what to measure."""

    items: Prompts
    factors: tuple[Factor, ...] = Field(min_length=1, max_length=24)
    measure: Measure
    design: Literal["one_at_a_time", "factorial"] = "one_at_a_time"
    with_reference: bool = Field(
        default=True, description="also run the reference model, if there is one"
    )
    samples: int = Field(default=1, ge=1, le=64)
    max_new_tokens: int = Field(default=24, ge=1, le=2048)
    temperature: float = Field(default=1.0, ge=0, le=2)


class VariationResult(JudgedResult):
    """Effects, the subject's largest first; every output is in `raw`."""

    effects: tuple[Effect, ...]
    same: tuple[str, ...] = ()
    """Levels whose prompts are all the same as those of another level: they are no effects of their own."""
    cells: tuple[CellMean, ...] = ()
    """Of a factorial of two factors or more, the subject's highest first; of many, both ends."""
    interactions: tuple[Interaction, ...] = ()
    """Of a factorial design, the largest first."""
    base_rate: dict[str, float | None]
    """Model -> mean on the prompts as they are, or, in a factorial, with every factor at its first level."""
    no_op: dict[str, float | None]
    """Model -> effect of the neutral sentence: the size of an effect that means nothing."""
    no_op_text: str
    """The neutral sentence of the first template; the others have others."""
    neither: dict[str, float] = {}
    """Model -> share of answers to the base prompts that name neither side; they score 0 too."""
    raw: str


@tool
def vary_prompts(subject: Any, args: VariationArguments, context: Context) -> VariationResult:
    """Vary parts of the prompts and measure how the behaviour changes: the first causal test.

    Give each candidate cause as a factor with at least two levels; give texts in three or more
    paraphrases, because a single wording is a confounder. The items need the slots that your edits
    name: in prompts of your own write {slot}, and let every level of that factor set it. Effects
    come with an interval over templates, with the reference's beside them, and beside the effect of
    a no-op edit; prompts that an edit leaves as they are count in neither arm (`left_out`). Use
    "factorial" on the few survivors to see whether one factor acts only together with another: it
    also gives the mean of every cell.
    """
    items = filled_by(args.factors, items_from(args.items), "vary_prompts")
    factors = with_no_op(args.factors, items)
    cells = plan_cells(factors, args.design)
    choose = from_own_items(items)
    models: list[Model] = ["subject"]
    if args.with_reference and subject.reference is not None:
        models.append("reference")
    scoring = ScoringArguments.model_construct(
        measure=args.measure,
        arms={},
        samples=args.samples,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
    )
    table: Table = {}
    for number, (model, cell) in enumerate(itertools.product(models, cells)):
        context.progress(number / (len(models) * len(cells)), model)
        edits = edits_of(factors, cell)
        arm = Arm(name=cell_name(model, cell), model=model, edits=tuple(edits))
        table[arm.name] = score_arm(subject, scoring, transformed(arm, items, choose), context)
    agreement = judge_table(table, args.measure, context.judge, context.seed)

    # What a scripted environment says is part of what the subject reads.
    seen = ("prompt", "slots") if getattr(subject, "environment", None) else ("prompt",)
    grid = Grid(factors, tuple(cells), args.design, tuple(models), table, args.measure, seen)
    every = [grid.effect(k, level) for k, level in grid.treatments()]
    effects = sorted(
        (each for each in every if each.factor != NO_OP),
        key=lambda each: -abs(each.subject.effect or 0),
    )
    base = {model: grid.rows(model, base_cell(factors, args.design)) for model in models}
    neither = {model: neither_share(args.measure, rows) for model, rows in base.items()}
    # Cells in which two factors are set exist in a factorial only.
    found = [each for model in models for each in grid.interactions(model)]
    return VariationResult(
        interactions=tuple(
            sorted(found, key=lambda each: -abs(each.interaction))[:SHOWN_INTERACTIONS]
        ),
        effects=tuple(
            each.model_copy(update={"examples": ()}) if number >= SHOWN_EXAMPLES else each
            for number, each in enumerate(effects)
        ),
        same=tuple(grid.same()),
        cells=tuple(grid.cell_means()),
        base_rate={model: mean(list(cluster_means(rows).values())) for model, rows in base.items()},
        neither={model: share for model, share in neither.items() if share is not None},
        no_op={
            model: effect.effect
            for each in every
            for model in models
            if each.factor == NO_OP and (effect := getattr(each, model)) is not None
        },
        no_op_text=next(level_texts(factors[-1:])),
        raw=context.blobs.put(canonical_json({"arms": table}).encode()),
        agreement=agreement,
    )


def from_own_items(items: list[PromptItem]) -> Callable[[str, str, PromptItem], str]:
    """Return a chooser for `choose_level` edits, which only the harness can fill."""

    def choose(slot: str, level: str, item: PromptItem) -> str:
        raise ToolError(
            f"choose_level {slot} = {level}: these prompts come without the case's levels; use set_slot with texts"
        )

    return choose
