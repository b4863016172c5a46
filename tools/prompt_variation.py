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
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from tools import statistics as stats
from tools.experiment import Context, canonical_json
from tools.judging import JudgedResult, judge_table
from tools.measures import Measure
from tools.neutral import of_length
from tools.prompt import Arm, InsertText, PromptItem, Transform
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

NO_OP = "no-op"
MOST_CELLS = 64


class Level(Record):
    """One level of a factor: its name and the edits that make it; none leaves the prompt as it is."""

    name: str
    edits: tuple[Transform, ...] = ()


class Factor(Record):
    """Something about the prompt that can be set. The first level is what the others are compared with."""

    name: str
    levels: tuple[Level, ...] = Field(min_length=2, max_length=12)


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


class Effect(Record):
    """The average marginal effect of one level against the first, over templates."""

    factor: str
    level: str
    against: str
    model: Literal["subject", "reference"]
    effect: float | None
    """Level minus first level, in the measure's units; more than the no-op's is worth a look."""
    interval: tuple[float, float] | None
    """95 % by t over templates; exploratory, not corrected for how many were looked at."""
    templates: int
    rate: float | None
    """Mean under this level."""
    left_out: int = 0
    """Prompts that are the same under both levels (no such phrase, no swap needed): in neither arm."""
    neither: float | None = None
    """Share of answers under this level that name neither side of an `answer_match` with `against`."""


class Interaction(Record):
    """How much more two factors do together than each adds alone, over templates."""

    levels: tuple[str, str]
    """The level of each factor, as `factor = level`; against their first levels."""
    model: Literal["subject", "reference"]
    interaction: float
    """The effect of the one with the other present, less its effect with the other absent."""
    interval: tuple[float, float] | None
    """95 % by t over templates; exploratory."""


class VariationResult(JudgedResult):
    """Effects, the largest first; every output is in `raw`."""

    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...] = ()
    """Of a factorial design, the largest first."""
    base_rate: dict[str, float | None]
    """Model -> mean on the prompts as they are, or, in a factorial, with every factor at its first level."""
    no_op: dict[str, float | None]
    """Model -> effect of the neutral sentence: the size of an effect that means nothing."""
    neither: dict[str, float] = {}
    """Model -> share of answers to the base prompts that name neither side; they score 0 too."""
    raw: str


SHOWN_INTERACTIONS = 12
Cell = tuple[int | None, ...]
"""The level number of each factor; None leaves it as the prompts have it."""
Model = Literal["subject", "reference"]
Rows = list[dict[str, Any]]
Table = dict[str, Rows]
"""Cell -> its rows, in the order of the items."""


@tool
def vary_prompts(subject: Any, args: VariationArguments, context: Context) -> VariationResult:
    """Vary parts of the prompts and measure how the behaviour changes: the first causal test.

    Give each candidate cause as a factor with at least two levels; give texts in three or more
    paraphrases, because a single wording is a confounder. The items need the slots that your edits
    name. Effects come with an interval over templates and beside the effect of a no-op edit; prompts
    that an edit leaves as they are count in neither arm (`left_out`). Use
    "factorial" on the few survivors to see whether one factor acts only together with another.
    """
    factors = with_no_op(args.factors)
    cells = plan_cells(factors, args.design)
    items = list(items_from(args.items))
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

    def pairs_of(k: int, level: int) -> list[tuple[Cell, Cell]]:
        return contrast_cells(factors, cells, args.design, k, level)

    effects = [
        effect
        for model in models
        for effect in marginal_effects(model, factors, pairs_of, table, args.measure)
    ]
    base = {model: table[cell_name(model, base_cell(factors, args.design))] for model in models}
    neither = {model: neither_share(args.measure, rows) for model, rows in base.items()}
    # Cells in which two factors are set exist in a factorial only.
    found = [each for model in models for each in interactions(model, factors, cells, table)]
    return VariationResult(
        interactions=tuple(
            sorted(found, key=lambda each: -abs(each.interaction))[:SHOWN_INTERACTIONS]
        ),
        effects=tuple(
            sorted(
                (e for e in effects if e.factor != NO_OP),
                key=lambda e: (e.model != "subject", -abs(e.effect or 0)),
            )
        ),
        base_rate={model: mean(list(cluster_means(rows).values())) for model, rows in base.items()},
        neither={model: share for model, share in neither.items() if share is not None},
        no_op={e.model: e.effect for e in effects if e.factor == NO_OP},
        raw=context.blobs.put(canonical_json({"arms": table}).encode()),
        agreement=agreement,
    )


def with_no_op(factors: tuple[Factor, ...]) -> tuple[Factor, ...]:
    """Return the factors and the no-op behind them; `ToolError` for a name that is taken twice."""
    names = [factor.name for factor in (*factors, no_op_factor())]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ToolError(
            f"two factors are called {twice!r}; the no-op is added by itself, rename one"
        )
    return (*factors, no_op_factor())


def no_op_factor() -> Factor:
    """Return the factor that means nothing: a neutral sentence before the user's words."""
    edit = InsertText(where="before", texts=of_length("neutral", 7))
    return Factor(name=NO_OP, levels=(Level(name="absent"), Level(name="present", edits=(edit,))))


def base_cell(factors: tuple[Factor, ...], design: str) -> Cell:
    """Return the cell that effects start from: prompts as they are, or every factor at its first level."""
    if design == "one_at_a_time":
        return tuple(None for _ in factors)
    return (*(0 for _ in factors[:-1]), None)


def single(factors: tuple[Factor, ...], base: Cell, k: int, level: int) -> Cell:
    """Return the base cell with one factor set; a level without edits is the base itself."""
    if base[k] is None and not factors[k].levels[level].edits:
        return base
    return (*base[:k], level, *base[k + 1 :])


def plan_cells(factors: tuple[Factor, ...], design: str) -> list[Cell]:
    """Return the cells to run; raise `ToolError` when a factorial has too many. The last factor is the no-op."""
    base = base_cell(factors, design)
    sizes = [len(factor.levels) for factor in factors]
    if design == "one_at_a_time":
        every = [
            single(factors, base, k, level) for k, size in enumerate(sizes) for level in range(size)
        ]
        return list(dict.fromkeys([base, *every]))
    full: list[Cell] = [
        (*cell, None) for cell in itertools.product(*(range(size) for size in sizes[:-1]))
    ]
    if len(full) > MOST_CELLS:
        raise ToolError(
            f"a factorial of these factors has {len(full)} cells, at most {MOST_CELLS}; drop factors"
        )
    return [*full, single(factors, base, len(factors) - 1, 1)]


def edits_of(factors: tuple[Factor, ...], cell: Cell) -> tuple[Transform, ...]:
    """Return the edits of every factor that the cell sets, in the order of the factors."""
    chosen = [
        factor.levels[level]
        for factor, level in zip(factors, cell, strict=True)
        if level is not None
    ]
    return tuple(edit for level in chosen for edit in level.edits)


def cell_name(model: str, cell: Cell) -> str:
    """Return the name under which a cell's rows are stored."""
    return f"{model}/{'-'.join('x' if level is None else str(level) for level in cell)}"


def contrast_cells(
    factors: tuple[Factor, ...], cells: list[Cell], design: str, k: int, level: int
) -> list[tuple[Cell, Cell]]:
    """Return the pairs of cells that differ only in factor k: at `level`, and at its first level."""
    base = base_cell(factors, design)
    if design == "one_at_a_time" or factors[k].name == NO_OP:
        return [(single(factors, base, k, level), single(factors, base, k, 0))]
    return [
        (cell, (*cell[:k], 0, *cell[k + 1 :]))
        for cell in cells
        if cell[k] == level and cell[-1] is None
    ]


def marginal_effects(
    model: Model,
    factors: tuple[Factor, ...],
    pairs_of: Callable[[int, int], list[tuple[Cell, Cell]]],
    table: Table,
    measure: Measure,
) -> list[Effect]:
    """Return the effect of each level against the first of its factor, averaged over the other factors."""
    found: list[Effect] = []
    for k, factor in enumerate(factors):
        for level in range(1, len(factor.levels)):
            rows = [
                (table[cell_name(model, cell)], table[cell_name(model, base)])
                for cell, base in pairs_of(k, level)
            ]
            touched = [[*differing(here, there)] for here, there in rows]
            here = [only(pair[0], kept) for pair, kept in zip(rows, touched, strict=True) if kept]
            there = [only(pair[1], kept) for pair, kept in zip(rows, touched, strict=True) if kept]
            values = list(over_templates([(1, each) for each in here], [(-1, t) for t in there]))
            means = [value for each in here for value in cluster_means(each).values()]
            found.append(
                Effect(
                    factor=factor.name,
                    level=factor.levels[level].name,
                    against=factor.levels[0].name,
                    model=model,
                    effect=mean(values),
                    interval=stats.mean_interval(values, 0.95) if len(values) > 1 else None,
                    templates=len(values),
                    rate=mean(means),
                    left_out=max(
                        len(pair[0]) - len(kept) for pair, kept in zip(rows, touched, strict=True)
                    ),
                    neither=neither_share(measure, [row for each in here for row in each]),
                )
            )
    return found


def differing(here: Rows, there: Rows) -> Iterator[int]:
    """Yield the places of the prompts that differ between two cells: the others were not treated."""
    for place, (one, other) in enumerate(zip(here, there, strict=True)):
        if one["prompt"] != other["prompt"]:
            yield place


def only(rows: Rows, places: Iterable[int]) -> Rows:
    """Return the rows at some places."""
    return [rows[place] for place in places]


def over_templates(*signed: Sequence[tuple[int, Rows]]) -> Iterator[float]:
    """Yield, for every template that all cells score, the sum of the groups' signed means."""
    groups = [[(sign, cluster_means(rows)) for sign, rows in group] for group in signed if group]
    every = [means for group in groups for _, means in group]
    for template in every[0] if every else ():
        if all(template in means for means in every):
            yield math.fsum(
                mean([sign * means[template] for sign, means in group]) or 0.0 for group in groups
            )


def interactions(
    model: Model, factors: tuple[Factor, ...], cells: list[Cell], table: Table
) -> list[Interaction]:
    """Return, for every two levels of two factors, the difference of differences over the other factors.

    Only prompts that either factor changes alone can show what the two do together.
    """
    full = [cell for cell in cells if cell[-1] is None and None not in cell[:-1]]
    found: list[Interaction] = []
    for j, k in itertools.combinations(range(len(factors) - 1), 2):
        for a, b in itertools.product(
            range(1, len(factors[j].levels)), range(1, len(factors[k].levels))
        ):
            corners: list[list[Rows]] = []
            for cell in full:
                if (cell[j], cell[k]) != (a, b):
                    continue
                rows = [
                    table[cell_name(model, with_levels(cell, {j: x, k: y}))]
                    for x, y in ((a, b), (a, 0), (0, b), (0, 0))
                ]
                kept = sorted({*differing(rows[1], rows[3])} & {*differing(rows[2], rows[3])})
                if kept:
                    corners.append([only(each, kept) for each in rows])
            groups = zip((1, -1, -1, 1), zip(*corners, strict=True), strict=False)
            values = list(over_templates(*[[(sign, each) for each in g] for sign, g in groups]))
            if values:
                found.append(
                    Interaction(
                        levels=(
                            f"{factors[j].name} = {factors[j].levels[a].name}",
                            f"{factors[k].name} = {factors[k].levels[b].name}",
                        ),
                        model=model,
                        interaction=math.fsum(values) / len(values),
                        interval=stats.mean_interval(values, 0.95) if len(values) > 1 else None,
                    )
                )
    return found


def with_levels(cell: Cell, levels: dict[int, int]) -> Cell:
    """Return the cell with some factors at other levels."""
    return tuple(levels.get(place, level) for place, level in enumerate(cell))


def from_own_items(items: list[PromptItem]) -> Callable[[str, str, PromptItem], str]:
    """Return a chooser for `choose_level` edits, which only the harness can fill."""

    def choose(slot: str, level: str, item: PromptItem) -> str:
        raise ToolError(
            f"choose_level {slot} = {level}: these prompts come without the case's levels; use set_slot with texts"
        )

    return choose
