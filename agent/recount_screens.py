"""Screens and lenses counted again: what was told of words and tokens, from what was recorded of them.

Of a screen that is nearly all: its word contrasts, surprises and KL follow from texts and log-probabilities
that are stored whole. Of thousands of words by probability only the furthest are stored: each word that was
told has to be among them, with its numbers and in its order, and no other of them may stand out further.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median_low
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from agent.replay import first_difference
from tools.prompt import PromptItem
from tools.registry import Record
from tools.sampling import Prompts
from tools.scoring import items_from
from tools.screen_reading import SAME, ScreenArguments, TokenLevel, screen_reading
from tools.shift_counts import (
    ALPHA,
    MANY,
    SMALLEST_SHIFT,
    First,
    alpha_at,
    ground,
    lens_line,
    normal_limit,
    told,
)
from tools.token_screens import ScoredText
from tools.word_screens import distinct

PLACES = 2
"""Of a screen: at the first token of an answer, and along it."""
CLOSE = 2e-5
"""Numbers of a lens are stored with five digits behind the point."""
OUTLIER_CLOSE = 0.0051
P_CLOSE = SHIFT_CLOSE = 6e-5
"""What was told is rounded further."""
Told = Mapping[str, Any]


def recount_screen(seed: int, arguments: Told, result: Told, raw: Told) -> Iterator[str]:
    """Yield what a screen tells that does not follow from its answers and their log-probabilities."""
    args = ScreenArguments.model_validate(arguments)
    items = items_from(args.items)
    answers = {name: [row["outputs"] for row in rows] for name, rows in raw["arms"].items()}
    favoured = result["favoured"]
    tokens = None
    if favoured is not None:
        scored = [ScoredText.of_row(row, items) for row in raw["texts"]]
        floor = result["kl"]["floor"] if result["kl"] else 0.0
        unmoved = all(abs(row["shift"]) < SMALLEST_SHIFT for row in raw["words"])
        tokens = TokenLevel(scored, floor, favoured["standing_out"], unmoved)
    elif raw["texts"] or raw["words"]:
        yield "it tells nothing of the probabilities that it stored"
    for name, value in screen_reading(items, answers, tokens, seed, args.top).items():
        found = first_difference(result[name], as_json(value))
        if found is not None:
            yield f"{name} is not what comes from the raw data: {found}"
    if favoured is not None and result["summary"] != SAME:
        yield from recount_favoured(favoured, raw["words"], items)


def recount_favoured(
    favoured: Told, words: Sequence[Told], items: Sequence[PromptItem]
) -> Iterator[str]:
    """Yield what is told of words by probability and is not in the rows of the furthest ones."""
    rows = [
        Shifted(row["word"], row["place"], row["shift"], row["p"], row["outlier"]) for row in words
    ]
    reading = told(*(favoured[name] for name in ("standing_out", "above", "inside")))
    if favoured["reading"] != reading:
        yield f"favoured/reading is not that of its counts: {reading}"
    limits = Limits(favoured["outlier_by_chance"])
    yield from limits_fit("favoured", favoured, {"outlier_by_chance": (PLACES, ALPHA)})
    yield from counts_fit("favoured", favoured, rows, limits, items)
    yield from words_fit("favoured", favoured, rows, lambda each: each["place"], limits, items)


def recount_lens(arguments: Told, result: Told, raw: Told) -> Iterator[str]:
    """Yield what a lens tells that is not in its table of the furthest words."""
    items = items_of(arguments)
    cells = [tuple(cell) for cell in raw["cells"]]
    several = len(cells) > 1
    rows = [
        Shifted(
            word,
            cell,
            raw["shift"][c][w],
            raw["p"][c][w],
            raw["outlier"][c][w],
            raw["throughout"][w] if several else 0.0,
        )
        for c, cell in enumerate(cells)
        for w, word in enumerate(raw["words"])
    ]
    limits = Limits(
        result["outlier_by_chance"], result["throughout_by_chance"] if several else math.inf
    )
    moved = any(abs(row.shift) >= SMALLEST_SHIFT for row in rows)
    if moved:
        yield from line_fits(result, rows)
    alpha = alpha_at(len(cells))
    of = {"outlier_by_chance": (len(cells), alpha), "throughout_by_chance": (1, alpha)}
    yield from limits_fit("the lens", result, of)
    yield from counts_fit("the lens", result, rows, limits, items)
    yield from words_fit(
        "the lens", result, rows, lambda each: (each["layer"], each["position"]), limits, items
    )
    shown = [each for side in ("raised", "lowered", "candidates") for each in result[side]]
    steady = dict(zip(raw["words"], raw["throughout"], strict=True))
    for each in shown:
        if abs(each["throughout"] - steady.get(each["word"], math.inf)) > OUTLIER_CLOSE:
            yield f"the lens: throughout of {each['word']} is not as the raw data have it"
    if len(raw["words"]) == result["above"] + result["inside"]:
        yield from throughout_fits(steady, rows)
        if arguments.get("candidates"):
            yield from ranks_fit(result["candidates"], rows, cells, limits)


def line_fits(result: Told, rows: Sequence[Shifted]) -> Iterator[str]:
    """Yield the summary that a lens's words and counts come to, where it is told another."""
    ranks = [(each["word"], each["stands_out"]) for each in result["candidates"]]
    counts = told(*(result[name] for name in ("standing_out", "above", "inside")))
    raised, lowered = ([each["word"] for each in result[side]] for side in ("raised", "lowered"))
    why = ""
    if ranks and not ranks[0][1]:
        rank = result["candidates"][0]
        at_best = [
            row.outlier
            for row in rows
            if row.word == rank["word"] and row.agrees() and row.outlier > 0
        ]
        first = First(
            p=rank["p"],
            furthest=max(at_best, default=None),
            throughout=rank["throughout"],
            everywhere=all(each == 1 for ranks in rank["by_position"].values() for each in ranks),
        )
        limits = result["outlier_by_chance"], result["throughout_by_chance"]
        why = ground(first, result["clusters"], result["above"] + result["inside"], *limits)
    line = lens_line(counts, raised, lowered, ranks, why)
    if result["summary"] != line:
        yield f"summary is not that of its words and counts: {line}"


def throughout_fits(steady: Mapping[str, float], rows: Sequence[Shifted]) -> Iterator[str]:
    """Yield words whose z over all places is not that of their mean z; the table holds all words."""
    by_word: dict[str, list[float]] = {}
    for row in rows:
        by_word.setdefault(row.word, []).append(row.outlier)
    means = {word: math.fsum(values) / len(values) for word, values in by_word.items()}
    # As in tools/word_shifts.py: of an even number of words the lower of the two middle ones.
    middle = median_low(means.values())
    spread = max(
        1.4826 * median_low(abs(value - middle) for value in means.values()), SMALLEST_SHIFT / 2
    )
    for word, value in means.items():
        if abs((value - middle) / spread - steady[word]) > CLOSE * (2 + abs(steady[word])) / spread:
            yield f"the lens: throughout of {word} is not that of its z's"


def recount_difference(result: Told, raw: Told) -> Iterator[str]:
    """Yield what a difference lens tells that is not in its table of the furthest words."""
    best: list[tuple[float, int]] = []
    for place in range(len(raw["words"])):
        column = [row[place] for row in raw["outlier"]]
        best.append((max(column), raw["layers"][column.index(max(column))]))
    limit = result["outlier_by_chance"]
    for each, word, (outlier, layer) in zip(result["words"], raw["words"], best, strict=False):
        if each["word"] != word or abs(each["outlier"] - outlier) > OUTLIER_CLOSE:
            yield f"{each['word']} at {each['outlier']} is not the next word of the raw data: {word} at {outlier}"
        elif each["layer"] != layer and outlier - at(raw, word, each["layer"]) > CLOSE:
            yield f"{word} stands out most at layer {layer}, told is layer {each['layer']}"
    surely = sum(outlier > limit + CLOSE for outlier, _ in best)
    perhaps = sum(outlier > limit - CLOSE for outlier, _ in best)
    stored_all = perhaps < len(best)
    if result["standing_out"] < surely or (stored_all and result["standing_out"] > perhaps):
        yield f"standing_out is told as {result['standing_out']} and comes to {surely} from the raw data"
    named = ", ".join(each["word"] for each in result["words"] if each["outlier"] > limit)
    wanted = f"{result['standing_out']} words stand out of the difference: {named}"
    if result["standing_out"] and result["summary"] != wanted:
        yield f"summary is not that of its words: {wanted}"


def at(raw: Told, word: str, layer: int) -> float:
    """Return the z of a word at a layer; of a layer that was not read, minus infinity."""
    if layer not in raw["layers"]:
        return -math.inf
    return raw["outlier"][raw["layers"].index(layer)][raw["words"].index(word)]


class Limits(NamedTuple):
    """Beyond which z a word stands out: at some place, and over all places together."""

    alone: float
    throughout: float = math.inf


class Shifted(NamedTuple):
    """A word in one cell, as it is stored."""

    word: str
    place: Any
    shift: float
    p: float
    outlier: float
    throughout: float = 0.0

    def is_above(self) -> bool:
        """Say whether it is above the null band."""
        return self.p <= ALPHA and abs(self.shift) >= SMALLEST_SHIFT

    def agrees(self) -> bool:
        """Say whether it is above the null band on the side on which it lies among the words."""
        return self.is_above() and self.outlier * self.shift > 0

    def stands_out(self, limits: Limits, slack: float) -> bool:
        """Say whether this place makes its word stand out, each limit being so much further away."""
        alone = abs(self.outlier) > limits.alone + slack
        steady = self.outlier * self.throughout > 0
        steady = steady and abs(self.throughout) > limits.throughout + slack
        return self.agrees() and (alone or steady)


def standing(rows: Sequence[Shifted], limits: Limits, slack: float) -> set[str]:
    """Return the words that stand out at one of their places or more."""
    return {row.word for row in rows if row.stands_out(limits, slack)}


def limits_fit(what: str, result: Told, of: Mapping[str, tuple[int, float]]) -> Iterator[str]:
    """Yield limits that are not those of so many z's at an error rate; of few words they are simulated, not counted."""
    words = result["above"] + result["inside"]
    for name, (count, alpha) in of.items():
        right = normal_limit(count * words, alpha)
        if words >= MANY and abs(result[name] - right) > OUTLIER_CLOSE:
            yield f"{what}: {name} is told as {result[name]}, of {words} words it is {right}"


def counts_fit(
    what: str, result: Told, rows: Sequence[Shifted], limits: Limits, items: Sequence[PromptItem]
) -> Iterator[str]:
    """Yield counts that cannot be those of a table of which these rows are the furthest."""
    words = result["above"] + result["inside"]
    stored = len({row.word for row in rows})
    if words < stored:
        yield f"{what}: {words} words are counted and {stored} stored"
    clusters = len({item.template_id for item in items})
    if result["clusters"] != clusters:
        yield f"{what}: clusters is told as {result['clusters']}, the prompts have {clusters}"
    # Nearer to a limit than rounding a word may be on either side of it.
    above = {row.word for row in rows if row.is_above()}
    sure = standing(rows, limits, OUTLIER_CLOSE)
    at_most = standing(rows, limits, -OUTLIER_CLOSE)
    if result["above"] < len(above) or (words == stored and result["above"] > len(above)):
        yield f"{what}: above is told as {result['above']}, the raw data hold {len(above)}"
    told_out = result["standing_out"]
    if told_out < len(sure) or (words == stored and told_out > len(at_most)):
        yield f"{what}: standing_out is told as {told_out}, the raw data hold {len(sure)}"


def words_fit(
    what: str,
    result: Told,
    rows: Sequence[Shifted],
    place: Any,
    limits: Limits,
    items: Sequence[PromptItem],
) -> Iterator[str]:
    """Yield told words that are not as they are stored, or that others should have been told before."""
    stored = {(row.word, row.place): row for row in rows}
    said = frozenset[str]().union(*(distinct(item.prompt.text()) for item in items))
    perhaps = standing(rows, limits, -OUTLIER_CLOSE)
    for side, sign in (("raised", 1), ("lowered", -1), ("nearest_inside_band", 0)):
        listed: Sequence[Told] = result.get(side, ())
        for each in listed:
            row = stored.get((each["word"], place(each)))
            if (
                row is None
                or not as_stored(each, row)
                or each["in_prompts"] != (each["word"] in said)
            ):
                yield f"{what}: {each['word']} under {side} is not as the raw data have it"
            elif sign and not (row.word in perhaps and row.agrees() and row.outlier * sign > 0):
                yield f"{what}: {each['word']} does not stand out as {side}"
        if sign:
            yield from order_fits(f"{what}: {side}", listed, rows, limits, sign)


def as_stored(each: Told, row: Shifted) -> bool:
    """Say whether a told word has the numbers of its row, but for rounding."""
    pairs = (
        (each["shift"], row.shift, SHIFT_CLOSE),
        (each["p"], row.p, P_CLOSE),
        (each["outlier"], row.outlier, OUTLIER_CLOSE),
    )
    return all(abs(one - other) <= close for one, other, close in pairs)


def order_fits(
    what: str, listed: Sequence[Told], rows: Sequence[Shifted], limits: Limits, sign: int
) -> Iterator[str]:
    """Yield where the furthest words of one side are not told first, each at its clearest place."""
    furthest: dict[str, Shifted] = {}
    surely = standing(rows, limits, OUTLIER_CLOSE)
    for row in sorted(rows, key=lambda row: -abs(row.outlier)):
        if row.word in surely and row.agrees():
            furthest.setdefault(row.word, row)
    sizes = [abs(each["outlier"]) for each in listed]
    if any(after > before + OUTLIER_CLOSE for before, after in zip(sizes, sizes[1:], strict=False)):
        yield f"{what} is not told in its order"
    for each in listed:
        best = furthest.get(each["word"])
        if best is not None and abs(best.outlier) > abs(each["outlier"]) + OUTLIER_CLOSE:
            yield f"{what}: {each['word']} is clearest elsewhere, with {best.outlier:.2f}"
    names = {each["word"] for each in listed}
    left = [row for row in furthest.values() if row.outlier * sign > 0 and row.word not in names]
    last = min(sizes, default=0.0)
    if left and abs(left[0].outlier) > last + OUTLIER_CLOSE:
        yield f"{what} leaves out {left[0].word} with {left[0].outlier:.2f}"


def ranks_fit(
    candidates: Sequence[Told], rows: Sequence[Shifted], cells: Sequence[Any], limits: Limits
) -> Iterator[str]:
    """Yield candidates whose ranks do not come from the table, which holds all of them."""
    tables = {cell: {row.word: row.outlier for row in rows if row.place == cell} for cell in cells}
    words = list(next(iter(tables.values())))
    means = {
        word: math.fsum(table[word] for table in tables.values()) / len(tables) for word in words
    }
    positions = list(dict.fromkeys(position for _, position in cells))
    for each in candidates:
        word = each["word"]
        own = [row for row in rows if row.word == word]
        told_at = [
            (cell, rank)
            for position in positions
            for cell, rank in zip(
                [cell for cell in cells if cell[1] == position],
                each["by_position"][f"{position:+d}"],
                strict=True,
            )
        ]
        fits = own and may_rank(means, word, each["rank"])
        fits = fits and all(may_rank(tables[cell], word, rank) for cell, rank in told_at)
        fits = fits and each["best"] == min(rank for _, rank in told_at)
        moved = [row.p for row in own if abs(row.shift) >= SMALLEST_SHIFT]
        fits = fits and abs(each["p"] - min(moved, default=1.0)) <= P_CLOSE
        sure, perhaps = (bool(standing(own, limits, k * OUTLIER_CLOSE)) for k in (1, -1))
        if not fits or each["stands_out"] not in (sure, perhaps):
            yield f"the candidate {word} is not ranked as the raw data have it"


def may_rank(values: Mapping[str, float], word: str, rank: int) -> bool:
    """Say whether a word can have a rank, 1 the highest, among values that were rounded."""
    own = values[word]
    above = sum(value > own + CLOSE for value in values.values())
    up_to = sum(value >= own - CLOSE for value in values.values())
    return above < rank <= up_to


def items_of(arguments: Told) -> tuple[PromptItem, ...]:
    """Return the prompts that a tool was given."""
    return items_from(TypeAdapter(Prompts).validate_python(arguments["items"]))


def as_json(value: Any) -> Any:
    """Return records as JSON holds them."""
    if isinstance(value, Record):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | list):
        return [as_json(each) for each in value]
    return value
