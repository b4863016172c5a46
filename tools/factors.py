"""Factors, their levels, and the cells of a design that sets them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from pydantic import Field

from tools.neutral import of_length
from tools.prompt import (
    AddTurns,
    ForceStart,
    InsertText,
    PromptItem,
    ReplaceText,
    SetSlot,
    Transform,
)
from tools.registry import Record, ToolError

NO_OP = "no-op"
NO_OP_WORDS = 7
MOST_CELLS = 64
Cell = tuple[int | None, ...]
"""The level number of each factor; None leaves it as the prompts have it."""


class Level(Record):
    """One level of a factor: its name and the edits that make it; none leaves the prompt as it is."""

    name: str
    edits: tuple[Transform, ...] = ()


class Factor(Record):
    """Something about the prompt that can be set. Levels are compared with the one without edits, or the first."""

    name: str
    levels: tuple[Level, ...] = Field(min_length=2, max_length=12)


def with_no_op(factors: tuple[Factor, ...], items: Sequence[PromptItem] = ()) -> tuple[Factor, ...]:
    """Return the factors, levels without edits first, and the no-op behind them.

    Its sentences share no content word with the levels of the factors, nor with those that the items show.
    Raises `ToolError` for a name that is taken twice and for a factor that edits nothing.
    """
    no_op = no_op_factor([*level_texts(factors), *drawn_levels(items)])
    names = [factor.name for factor in (*factors, no_op)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ToolError(
            f"two factors are called {twice!r}; the no-op is added by itself, rename one"
        )
    idle = next((each.name for each in factors if not any(lv.edits for lv in each.levels)), None)
    if idle is not None:
        raise ToolError(
            f"no level of factor {idle!r} edits anything: give `edits` to every level but the one that the "
            "others are compared with"
        )
    return (*(plain_first(factor) for factor in factors), no_op)


def level_texts(factors: Iterable[Factor]) -> Iterator[str]:
    """Yield the texts that levels put into prompts."""
    for edit in (edit for factor in factors for level in factor.levels for edit in level.edits):
        match edit:
            case SetSlot(values=texts) | InsertText(texts=texts):
                yield from texts
            case ReplaceText(new=text) | ForceStart(text=text):
                yield text
            case AddTurns(turns=turns):
                yield from (turn.content for turn in turns)
            case _:
                continue


def drawn_levels(items: Iterable[PromptItem]) -> Iterator[str]:
    """Yield what stands in the factor slots of prompts that the harness drew."""
    for item in items:
        yield from (item.slots[slot] for slot in item.levels if slot in item.slots)


def plain_first(factor: Factor) -> Factor:
    """Return the factor with the levels that edit nothing in front: to leave a prompt alone is no treatment."""
    levels = sorted(factor.levels, key=lambda level: bool(level.edits))
    return factor.model_copy(update={"levels": tuple(levels)})


def no_op_factor(beside: Iterable[str]) -> Factor:
    """Return the factor that means nothing: a neutral sentence before the user's words."""
    edit = InsertText(where="before", texts=of_length("neutral", NO_OP_WORDS, beside))
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


def with_levels(cell: Cell, levels: dict[int, int]) -> Cell:
    """Return the cell with some factors at other levels."""
    return tuple(levels.get(place, level) for place, level in enumerate(cell))
