"""What the levels of a factor do: effects against the first level, interactions, cell means, answers."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tools import statistics as stats
from tools.factors import Cell, Factor, base_cell, cell_name, contrast_cells, single, with_levels
from tools.measures import Measure
from tools.prompt import InsertText, SetSlot, Transform
from tools.registry import Record
from tools.scoring import cluster_means, mean, neither_share

SHOWN_CELLS = 24
EXAMPLES = 2
EXAMPLE_CHARACTERS = 120
CLEARLY = 3.0
"""Standard errors: the two furthest of several texts lie two apart by chance."""
Model = Literal["subject", "reference"]
Rows = list[dict[str, Any]]
Table = dict[str, Rows]
"""Cell -> its rows, in the order of the items."""


class ModelEffect(Record):
    """What a level does to one model, over templates."""

    effect: float | None
    """This level minus `against`, in the measure's units; more than the no-op's is worth a look."""
    interval: tuple[float, float] | None
    """95 % by t over templates; exploratory, not corrected for how many were looked at."""
    rate: float | None
    """Mean under this level."""
    against_rate: float | None = None
    """Mean of the same prompts under `against`."""
    neither: float | None = None
    """Share of answers under this level that name neither side of an `answer_match` with `against`."""


class TextRate(Record):
    """One text of a level and what the subject does under it."""

    text: str
    rate: float
    prompts: int


class Effect(Record):
    """The average marginal effect of one level, of both models side by side."""

    factor: str
    level: str
    against: str
    templates: int
    left_out: int = 0
    """Prompts that are the same under both levels (no such phrase, no swap needed): in neither arm."""
    subject: ModelEffect
    reference: ModelEffect | None = None
    difference: float | None = None
    """The subject's effect less the reference's, over the templates that both score."""
    difference_interval: tuple[float, float] | None = None
    texts: tuple[TextRate, ...] = ()
    """The texts of this level under which the subject does it least and most, where they differ by more than
    their prompts do: then the level's mean hides what matters. Texts go by template."""
    examples: tuple[str, ...] = ()
    """Answers of the subject under this level, those first that it hardly gives under `against`, each as "3x text"."""


class Interaction(Record):
    """How much more two factors do together than each adds alone, over templates."""

    levels: tuple[str, str]
    """The level of each factor, as `factor = level`; against their first levels."""
    model: Literal["subject", "reference"]
    interaction: float
    """The effect of the one with the other present, less its effect with the other absent."""
    interval: tuple[float, float] | None
    """95 % by t over templates; exploratory."""


class CellMean(Record):
    """One cell of a factorial: how often it happens there."""

    levels: str
    prompts: int
    subject: float | None
    """Mean over templates."""
    reference: float | None = None


@dataclass(frozen=True)
class Grid:
    """The scored cells of a design, and what is read off them."""

    factors: tuple[Factor, ...]
    cells: tuple[Cell, ...]
    design: str
    models: tuple[Model, ...]
    table: Table
    measure: Measure
    seen: tuple[str, ...]
    """The fields of a row that the subject reads."""

    def rows(self, model: str, cell: Cell) -> Rows:
        """Return the rows of one cell."""
        return self.table[cell_name(model, cell)]

    def alone(self, k: int, level: int) -> Rows:
        """Return the subject's rows with only this level set."""
        base = base_cell(self.factors, self.design)
        return self.rows("subject", single(self.factors, base, k, level))

    def twin(self, k: int, level: int) -> int | None:
        """Return the first level before this one with the same prompts; None where it has prompts of its own."""
        here = self.alone(k, level)
        for other in range(level):
            if next(self.differing(here, self.alone(k, other)), None) is None:
                return other
        return None

    def treatments(self) -> list[tuple[int, int]]:
        """Return each (factor, level) that is compared with the first level of its factor."""
        return [
            (k, level)
            for k, factor in enumerate(self.factors)
            for level in range(1, len(factor.levels))
            if self.twin(k, level) is None
        ]

    def same(self) -> Iterator[str]:
        """Yield a line for every level that is another under a second name."""
        for k, factor in enumerate(self.factors[:-1]):
            for level in range(1, len(factor.levels)):
                twin = self.twin(k, level)
                if twin is not None:
                    names = factor.levels[level].name, factor.levels[twin].name
                    yield f"{factor.name}: {names[0]!r} gives the same prompts as {names[1]!r}"

    def differing(self, here: Rows, there: Rows) -> Iterator[int]:
        """Yield the places of the prompts that differ between two cells: the others were not treated."""
        for place, (one, other) in enumerate(zip(here, there, strict=True)):
            if any(one[field] != other[field] for field in self.seen):
                yield place

    def pairs(self, model: str, k: int, level: int) -> tuple[list[tuple[Rows, Rows]], int]:
        """Return the treated rows of each pair of cells at this level and at the first, and how many were left out."""
        found: list[tuple[Rows, Rows]] = []
        left = 0
        for cell, base in contrast_cells(self.factors, list(self.cells), self.design, k, level):
            here, there = self.rows(model, cell), self.rows(model, base)
            kept = list(self.differing(here, there))
            left = max(left, len(here) - len(kept))
            if kept:
                found.append((only(here, kept), only(there, kept)))
        return found, left

    def effect(self, k: int, level: int) -> Effect:
        """Return the effect of a level against the first of its factor, averaged over the other factors."""
        told: dict[str, ModelEffect] = {}
        values: dict[str, dict[str, float]] = {}
        for model in self.models:
            pairs, _ = self.pairs(model, k, level)
            here, there = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            values[model] = over_templates([(1, each) for each in here], [(-1, t) for t in there])
            means, base = (
                [value for each in side for value in cluster_means(each).values()]
                for side in (here, there)
            )
            effects = list(values[model].values())
            told[model] = ModelEffect(
                effect=mean(effects),
                interval=interval_of(effects),
                rate=mean(means),
                against_rate=mean(base),
                neither=neither_share(self.measure, [row for each in here for row in each]),
            )
        ours, theirs = values["subject"], values.get("reference", {})
        gaps = [ours[template] - theirs[template] for template in ours if template in theirs]
        factor = self.factors[k]
        pairs, left = self.pairs("subject", k, level)
        return Effect(
            factor=factor.name,
            level=factor.levels[level].name,
            against=factor.levels[0].name,
            templates=len(ours),
            left_out=left,
            subject=told["subject"],
            reference=told.get("reference"),
            difference=mean(gaps),
            difference_interval=interval_of(gaps),
            texts=unlike_texts(
                factor.levels[level].edits, [row for pair in pairs for row in pair[0]]
            ),
            examples=examples(pairs),
        )

    def cell_means(self) -> Iterator[CellMean]:
        """Yield how often it happens in each cell of a factorial, the highest first; of many, both ends."""
        full = [cell for cell in self.cells if cell[-1] is None and None not in cell[:-1]]
        if len(self.factors) < 3:
            return
        found: list[CellMean] = []
        for cell in full:
            means = {m: mean(list(cluster_means(self.rows(m, cell)).values())) for m in self.models}
            named = zip(self.factors, cell, strict=True)
            told = [f"{f.name} = {f.levels[level].name}" for f, level in named if level is not None]
            count = sum(row["mean"] is not None for row in self.rows("subject", cell))
            found.append(CellMean(levels=", ".join(told), prompts=count, **means))  # pyright: ignore[reportArgumentType]
        found.sort(key=lambda each: (each.subject is None, -(each.subject or 0.0)))
        half = SHOWN_CELLS // 2
        yield from found if len(found) <= SHOWN_CELLS else (*found[:half], *found[-half:])

    def interactions(self, model: Model) -> Iterator[Interaction]:
        """Yield, for every two levels of two factors, the difference of differences over the other factors.

        Only prompts that either factor changes alone can show what the two do together.
        """
        treated = [(k, level) for k, level in self.treatments() if k < len(self.factors) - 1]
        full = [cell for cell in self.cells if cell[-1] is None and None not in cell[:-1]]
        for (j, a), (k, b) in itertools.combinations(treated, 2):
            corners: list[list[Rows]] = []
            for cell in full:
                if j == k or (cell[j], cell[k]) != (a, b):
                    continue
                rows = [
                    self.rows(model, with_levels(cell, {j: x, k: y}))
                    for x, y in ((a, b), (a, 0), (0, b), (0, 0))
                ]
                kept = {*self.differing(rows[1], rows[3])} & {*self.differing(rows[2], rows[3])}
                if kept:
                    corners.append([only(each, sorted(kept)) for each in rows])
            groups = zip((1, -1, -1, 1), zip(*corners, strict=True), strict=False)
            signed = [[(sign, each) for each in group] for sign, group in groups]
            values = list(over_templates(*signed).values())
            if values:
                names = [
                    f"{self.factors[f].name} = {self.factors[f].levels[x].name}"
                    for f, x in ((j, a), (k, b))
                ]
                yield Interaction(
                    levels=(names[0], names[1]),
                    model=model,
                    interaction=math.fsum(values) / len(values),
                    interval=interval_of(values),
                )


def interval_of(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval by t over templates; None of fewer than two."""
    return stats.mean_interval(values, 0.95) if len(values) > 1 else None


def examples(pairs: Sequence[tuple[Rows, Rows]]) -> tuple[str, ...]:
    """Return the answers that set a level apart: those hardly given at the other first, then the commonest."""
    here, there = (
        Counter(
            text.strip() for pair in pairs for row in pair[side] for text in row.get("outputs", ())
        )
        for side in (0, 1)
    )
    ranked = sorted(here, key=lambda text: (there[text] - here[text], text))
    return tuple(f"{here[text]}x {text[:EXAMPLE_CHARACTERS]}" for text in ranked[:EXAMPLES])


def unlike_texts(edits: Sequence[Transform], rows: Rows) -> tuple[TextRate, ...]:
    """Return the texts with the lowest and the highest mean; none unless they differ clearly.

    Clearly: by `CLEARLY` standard errors, as far as prompts under the same text differ. A text that only one
    prompt has says nothing of itself.
    """
    groups: dict[str, list[float]] = {}
    for row in rows:
        text = text_of(edits, row)
        if text is not None and row["mean"] is not None:
            groups.setdefault(text, []).append(row["mean"])
    groups = {text: values for text, values in groups.items() if len(values) > 1}
    if len(groups) < 2:
        return ()
    centres = {text: stats.mean(values) for text, values in groups.items()}
    low, high = min(centres, key=centres.__getitem__), max(centres, key=centres.__getitem__)
    squares = [(v - centres[text]) ** 2 for text, values in groups.items() for v in values]
    within = math.fsum(squares) / (len(squares) - len(groups))
    error = math.sqrt(within * (1 / len(groups[low]) + 1 / len(groups[high])))
    if centres[high] - centres[low] <= CLEARLY * error:
        return ()
    return tuple(
        TextRate(text=text[:EXAMPLE_CHARACTERS], rate=centres[text], prompts=len(groups[text]))
        for text in (low, high)
    )


def text_of(edits: Sequence[Transform], row: dict[str, Any]) -> str | None:
    """Return which of a level's texts a row was given; None where the level has one text, or none."""
    for edit in edits:
        match edit:
            case SetSlot(slot=slot, values=[_, _, *_]):
                return row["slots"].get(slot)
            case InsertText(texts=[_, _, *_] as texts):
                said = "\n".join(turn["content"] for turn in row["prompt"]["messages"])
                return max((text for text in texts if text in said), key=len, default=None)
            case _:
                continue
    return None


def only(rows: Rows, places: Iterable[int]) -> Rows:
    """Return the rows at some places."""
    return [rows[place] for place in places]


def over_templates(*signed: Sequence[tuple[int, Rows]]) -> dict[str, float]:
    """Return, for every template that all cells score, the sum of the groups' signed means."""
    groups = [[(sign, cluster_means(rows)) for sign, rows in group] for group in signed if group]
    every = [means for group in groups for _, means in group]
    return {
        template: math.fsum(
            mean([sign * means[template] for sign, means in group]) or 0.0 for group in groups
        )
        for template in (every[0] if every else ())
        if all(template in means for means in every)
    }
