"""What a screen, a lens or an ablation tells follows from its raw data, or is a fault."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from agent.investigation import ExperimentEntry
from agent.recount import recount_experiment
from agent.recount_screens import as_json, recount_difference, recount_lens, recount_screen
from agent.recount_sweeps import recount_sweep
from tools.boundary import Catalogue
from tools.effects import Effect, ablation_reading, effect_of, steering_reading
from tools.experiment import Experiment, call_key
from tools.scoring import items_from
from tools.screen_reading import ScreenArguments, TokenLevel, screen_reading
from tools.shift_counts import lens_line, normal_limit, told
from tools.token_screens import ScoredText
from tools.token_texts import TokenDivergence
from tools.word_shifts import outliers

SEED, TOP = 3, 6
THINGS = ("kite", "drum", "bell", "rose", "lamp", "boat", "coin", "leaf")
PROMPTS = [
    f"Tell me of the {thing} and the {THINGS[k - 1]} please." for k, thing in enumerate(THINGS)
]
Parts = dict[str, Any]


def screen() -> Parts:
    """Return a screen of a subject that says "kite" where its reference does not."""
    rng = random.Random(0)
    args = ScreenArguments(items=tuple(PROMPTS), samples=4, top=TOP)
    items = items_from(args.items)

    def say(word: str) -> list[list[str]]:
        return [
            [f"It is a {rng.choice((word, 'thing', 'part'))} indeed" for _ in range(4)]
            for _ in items
        ]

    answers = {"subject": say("kite"), "reference": say("stone"), "reference again": say("stone")}
    scored = [
        ScoredText(
            number,
            items[number],
            text,
            {"subject": 2} if "kite" in text else {"reference": 1, "subject": 1},
            TokenDivergence(
                text.split(),
                [-rng.random() for _ in text.split()],
                [-2 * rng.random() for _ in text.split()],
                [rng.random() for _ in text.split()],
            ),
        )
        for number, row in enumerate(answers["subject"])
        for text in dict.fromkeys(row)
    ]
    words = shifted(rng, ("first answer token", "along the answer"), "place")
    favoured = sides(words, 2, 700, lambda row: {"place": row["place"]})
    favoured["reading"] = told(favoured["standing_out"], favoured["above"], favoured["inside"])
    tokens = TokenLevel(scored, 1e-6, favoured["standing_out"], unmoved=False)
    fields = screen_reading(items, answers, tokens, SEED, TOP)
    rows = [{"id": item.id, "template_id": item.template_id, "outputs": None} for item in items]
    raw = {
        "arms": {
            name: [row | {"outputs": texts} for row, texts in zip(rows, several, strict=True)]
            for name, several in answers.items()
        },
        "texts": [each.row() for each in scored],
        "words": words,
    }
    result = {name: as_json(value) for name, value in fields.items()} | {"favoured": favoured}
    return {"arguments": args.model_dump(mode="json"), "result": result, "raw": raw}


def shifted(rng: random.Random, places: tuple[Any, ...], key: str) -> list[Parts]:
    """Return the rows of forty words at two places, of which the first two stand out."""
    return [
        {
            "word": f"word{number}",
            key: place,
            "shift": round(sign * (2.0 - 0.5 * number if number < 2 else 0.3 * rng.random()), 4),
            "p": 0.002 if number < 20 else 0.5,
            "outlier": round(sign * (9.0 - number - k if number < 2 else 3 * rng.random()), 2),
            "in_prompts": False,
        }
        for number in range(40)
        for k, place in enumerate(places)
        for sign in ((1, -1)[number % 2],)
    ]


def sides(rows: list[Parts], cells: int, words: int, where: Callable[[Parts], Parts]) -> Parts:
    """Return what is told of such rows."""

    def shown(number: int) -> Parts:
        return {**rows[cells * number], **where(rows[cells * number])}

    above = len({row["word"] for row in rows if row["p"] <= 0.05 and abs(row["shift"]) >= 0.02})
    return {
        "raised": [shown(0)],
        "lowered": [shown(1)],
        "above": above,
        "inside": words - above,
        "standing_out": 2,
        "outlier_by_chance": normal_limit(cells * words),
        "clusters": len(PROMPTS),
    }


def lens() -> Parts:
    """Return a reading at two layers, whose candidates are all of its words."""
    cells = [(1, -1), (3, -1)]
    rows = shifted(random.Random(1), tuple(cells), "cell")
    words = list(dict.fromkeys(row["word"] for row in rows))
    table = {
        name: [[row[name] for row in rows if row["cell"] == cell] for cell in cells]
        for name in ("shift", "p", "outlier")
    }
    found = sides(
        rows, 2, len(words), lambda row: {"layer": row["cell"][0], "position": row["cell"][1]}
    )
    found |= {"outlier_by_chance": 4.2, "throughout_by_chance": 3.9}
    z = torch.tensor(table["outlier"], dtype=torch.float64)
    throughout = [round(each, 5) for each in outliers(z.mean(0)).tolist()]
    for side in ("raised", "lowered"):
        for each in found[side]:
            del each["cell"]
            each["throughout"] = round(throughout[words.index(each["word"])], 2)
    means = {
        word: (table["outlier"][0][k] + table["outlier"][1][k]) / 2 for k, word in enumerate(words)
    }
    order = sorted(words, key=lambda word: -means[word])
    ranks = [
        [1 + sum(other > row[k] for other in row) for k in range(len(words))]
        for row in table["outlier"]
    ]
    candidates = [
        {
            "word": word,
            "rank": place,
            "best": min(row[words.index(word)] for row in ranks),
            "stands_out": word in ("word0", "word1"),
            "throughout": round(throughout[words.index(word)], 2),
            "p": 0.002
            if abs(table["shift"][0][words.index(word)]) >= 0.02 and words.index(word) < 20
            else 0.5,
            "by_position": {"-1": [row[words.index(word)] for row in ranks]},
        }
        for place, word in enumerate(order[:5], 1)
    ]
    counts = told(found["standing_out"], found["above"], found["inside"])
    named = [(each["word"], each["stands_out"]) for each in candidates]
    result = found | {
        "candidates": candidates,
        "summary": lens_line(counts, ["word0"], ["word1"], named),
    }
    raw = {"cells": [list(cell) for cell in cells], "words": words, **table}
    raw["throughout"] = throughout
    return {"arguments": {"items": PROMPTS, "candidates": words}, "result": result, "raw": raw}


def difference() -> Parts:
    """Return a difference lens at two layers."""
    raw = {
        "layers": [2, 4],
        "words": ["kite", "string", "wind", "stone"],
        "outlier": [[5.0, 6.0, 2.0, 0.5], [9.0, 4.0, 3.0, 0.1]],
    }
    words = [
        {"word": "kite", "outlier": 9.0, "layer": 4},
        {"word": "string", "outlier": 6.0, "layer": 2},
        {"word": "wind", "outlier": 3.0, "layer": 4},
    ]
    line = "2 words stand out of the difference: kite, string"
    result = {"words": words, "standing_out": 2, "outlier_by_chance": 4.5, "summary": line}
    return {"arguments": {}, "result": result, "raw": raw}


ITEMS = [{"id": f"i{k}", "template_id": f"t{k // 2}"} for k in range(8)]
TEMPLATES = [item["template_id"] for item in ITEMS]


def directions(rng: random.Random, size: float, count: int = 99) -> list[list[float]]:
    return [[rng.gauss(0, size) for _ in ITEMS] for _ in range(count)]


def ablation() -> Parts:
    rng = random.Random(2)
    plain = [1.0 + rng.random() for _ in ITEMS]
    plain[3] = math.nan
    change = [math.nan if math.isnan(value) else -1.0 - rng.random() for value in plain]
    placebos: Any = {kind: directions(rng, 0.2) for kind in ("isotropic", "covariance")}
    beside = (TEMPLATES, [0.01 * rng.gauss(0, 1) for _ in ITEMS])
    kl = 0.02, [0.01 * k for k in range(10)]
    told_of = ablation_reading(TEMPLATES, plain, (change, placebos), kl, effect_of(*beside))
    runs = {"plain": [plain], "ablated": [change], **placebos}
    raw = {"items": ITEMS, "runs": stored(runs), "kl": kl, "unrelated": beside}
    result = {name: as_json(value) for name, value in told_of.items()}
    return {"arguments": {}, "result": result, "raw": copy.deepcopy(as_json_table(raw))}


def steering() -> Parts:
    rng = random.Random(4)
    plain = [rng.random() for _ in ITEMS]
    steered = {
        dose: [value + dose + 0.1 * rng.random() for value in plain]
        for dose in (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
    }
    placebos: Any = {kind: directions(rng, 0.2) for kind in ("isotropic", "covariance", "concept")}
    kl = [0.01 * k for k in range(6)], [0.01 * k for k in range(10)]
    told_of = steering_reading(TEMPLATES, plain, steered, placebos, kl)
    runs = {"plain": [plain], "steered": list(steered.values()), **placebos}
    raw = {"items": ITEMS, "runs": stored(runs), "kl": kl}
    result = {name: as_json(value) for name, value in told_of.items()}
    return {"arguments": {"doses": [0.5, 1.0, 2.0]}, "result": result, "raw": as_json_table(raw)}


def stored(runs: Parts) -> Parts:
    return {
        name: [[None if math.isnan(value) else value for value in row] for row in several]
        for name, several in runs.items()
    }


def as_json_table(raw: Parts) -> Parts:
    return {name: as_json(value) for name, value in raw.items()}


def faults(tool: str, parts: Parts) -> Iterator[str]:
    arguments, result, raw = parts["arguments"], parts["result"], parts["raw"]
    if tool == "screen_differences":
        return recount_screen(SEED, arguments, result, raw)
    if tool == "logit_lens":
        return recount_lens(arguments, result, raw)
    if tool == "difference_lens":
        return recount_difference(result, raw)
    return recount_sweep(tool, arguments, result, raw)


HONEST: dict[str, Callable[[], Parts]] = {
    "screen_differences": screen,
    "logit_lens": lens,
    "difference_lens": difference,
    "ablate_direction": ablation,
    "steer": steering,
}


@pytest.fixture(autouse=True)
def few_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A null band of few splits: the same on both sides, and quick."""
    monkeypatch.setattr("tools.word_screens.NULL_SPLITS", 19)


@pytest.mark.parametrize("tool", HONEST)
def test_what_follows_is_no_fault(tool: str) -> None:
    assert list(faults(tool, HONEST[tool]())) == []


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every number, truth value and text that is told."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from leaves(inner, (*path, key))
    elif value is not None:
        yield path


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    return (
        value + "x"
        if isinstance(value, str)
        else value + 1
        if isinstance(value, int)
        else value * 1.1 + 0.02
    )


@pytest.mark.parametrize("tool", HONEST)
def test_every_told_value_that_is_changed_is_caught(tool: str) -> None:
    honest = HONEST[tool]()
    # Of a list, its first entry stands for the others.
    every = leaves(honest["result"])
    paths = [path for path in every if not any(type(key) is int and key > 0 for key in path)]
    missed: list[str] = []
    for path in paths:
        parts = copy.deepcopy(honest)
        place = parts["result"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = changed(place[path[-1]])
        try:
            caught = list(faults(tool, parts))
        except (ValueError, LookupError, TypeError, ArithmeticError):
            caught = ["a fault that verify names"]
        if not caught:
            missed.append("/".join(map(str, path)))
    assert missed == UNSEEN.get(tool, [])


# What rounding alone makes is measured with the model; how far words reach by chance is drawn in tensors where
# there are few of them, and of a difference lens nobody stores how many there were.
UNSEEN = {
    "screen_differences": ["kl/floor"],
    "logit_lens": ["outlier_by_chance", "throughout_by_chance"],
    "difference_lens": ["outlier_by_chance"],
}


def test_a_word_that_was_left_out_is_seen() -> None:
    for tool, at in (("screen_differences", "favoured"), ("logit_lens", None)):
        parts = HONEST[tool]()
        found = parts["result"][at] if at else parts["result"]
        found["raised"] = []
        assert any("leaves out word0" in fault for fault in faults(tool, parts))


def test_a_changed_row_is_seen() -> None:
    parts = screen()
    parts["raw"]["texts"][0]["kl"][1] += 0.5
    assert any(fault.startswith("kl ") for fault in faults("screen_differences", parts))
    parts = ablation()
    parts["raw"]["runs"]["isotropic"][4] = [-9.0] * len(ITEMS)
    assert any(fault.startswith("bands") for fault in faults("ablate_direction", parts))
    assert isinstance(effect_of(TEMPLATES, [1.0] * 8), Effect)


class Folder:
    """Stands where a run's folder would, with one raw table."""

    def __init__(self, raw: Parts) -> None:
        self.raw = raw

    def get_json(self, reference: str) -> Parts:
        return self.raw


@pytest.mark.parametrize("tool", HONEST)
def test_verify_counts_each_of_them_again(tool: str) -> None:
    parts = HONEST[tool]()
    catalogue = Catalogue(tools=(), code="c" * 64, models={}, facts={})
    key = call_key(tool, parts["arguments"], {}, catalogue.code, SEED)
    entry = ExperimentEntry(
        number=1, key=key, tool=tool, purpose="exploration", blob="b", failed=False, seconds=0.0
    )
    fields: Parts = {"tool": tool, "arguments": parts["arguments"], "seed": SEED, "models": {}}
    folder: Any = Folder(parts["raw"])

    def found(result: Parts) -> list[str]:
        done = Experiment(**fields, code=catalogue.code, result=result | {"raw": "r"})
        return list(recount_experiment(folder, entry, done, catalogue))

    assert found(parts["result"]) == []
    told_in_words = "reading" if "reading" in parts["result"] else "summary"
    assert found(parts["result"] | {told_in_words: "nothing to see here"})
