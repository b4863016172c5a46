"""Searches counted again: what a tool told of a sweep, from the raw grid that it stored.

The raw numbers come from activations, so only `rerun` can tell whether they are the model's. That what
was told, and what a page draws, are of one piece needs no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tools import statistics as stats
from tools.discrimination import auroc
from tools.scoring import cluster_means

CHANCE = 0.5
CLOSE = 1e-6
"""What a tool computes in tensors and what is computed here may differ by so much."""


def recount_sweep(tool: str, result: Mapping[str, Any], table: Any) -> Iterator[str]:
    """Yield where the result of a sweep does not follow from its raw data; nothing for other tools."""
    check = CHECKS.get(tool)
    if check is None:
        return
    for what, told, found in check(result, table):
        if not math.isclose(told, found, rel_tol=CLOSE, abs_tol=CLOSE):
            yield f"{what} is told as {told:.6g} and comes to {found:.6g} from the raw data"


Checked = Iterator[tuple[str, float, float]]
"""(what, as it was told, as it comes out)"""


def patching(result: Mapping[str, Any], table: Mapping[str, Any]) -> Checked:
    """Yield the total, and every told cell: its share, and that no position of its row has a larger one."""
    items, levels = table["items"], table["levels"]
    total = over_templates(
        items, [a - b for a, b in zip(levels["clean"], levels["corrupted"], strict=True)]
    )
    yield "the total", result["total"]["mean"], total
    shares = shares_of(table, total)
    for cell in result["cells"]:
        row = shares[cell["layer"], cell["site"]]
        place = f"the share at layer {cell['layer']} {cell['site']}, position {cell['position']}"
        yield place, cell["share"], row[cell["position"]] or 0.0
        largest = max(each for each in row.values() if each is not None)
        yield f"the largest share beside {place}", cell["share"], largest


def shares_of(
    table: Mapping[str, Any], total: float
) -> dict[tuple[int, str], dict[int, float | None]]:
    """Return, for each layer and site, the share of the total that every position carries."""
    ways = [table["effects"][name] for name in ("denoising", "noising")]
    found: dict[tuple[int, str], dict[int, float | None]] = {}
    for s, (layer, kind) in enumerate(table["sites"]):
        row = found.setdefault((layer, kind), {})
        for p, position in enumerate(table["positions"]):
            pairs = list(zip(*([pair[s][p] for pair in way] for way in ways), strict=True))
            both = [None if None in pair else sum(pair) / 2 / total for pair in pairs]
            scored = any(each is not None for each in both)
            row[position] = over_templates(table["items"], both) if scored else None
    return found


def probing(result: Mapping[str, Any], table: Mapping[str, Any]) -> Checked:
    """Yield the chosen place, the best of every layer, and the AUROC on the test prompts."""
    best: dict[int, float] = {}
    for place in table["sweep"]:
        best[place["layer"]] = max(best.get(place["layer"], 0.0), place["auroc"])
    yield "the AUROC of the chosen place", result["chosen"]["auroc"], max(best.values())
    for place in result["by_layer"]:
        yield f"the AUROC of layer {place['layer']}", place["auroc"], best[place["layer"]]
    labels, scores = ([row[key] for row in table["test"]] for key in ("label", "score"))
    both = any(labels) and not all(labels)
    test = auroc(labels, scores) if both else CHANCE
    yield "the AUROC on the test prompts", result["test_auroc"], test


def steering(result: Mapping[str, Any], table: Mapping[str, Any]) -> Checked:
    """Yield the change at every dose."""
    (plain,) = table["runs"]["plain"]
    for dose, row in zip(result["doses"], table["runs"]["steered"], strict=True):
        changes = [
            None if a is None or b is None else a - b for a, b in zip(row, plain, strict=True)
        ]
        mean = over_templates(table["items"], changes)
        yield f"the change at dose {dose['dose']}", dose["change"]["mean"], mean


def over_templates(items: Sequence[Mapping[str, Any]], values: Sequence[float | None]) -> float:
    """Return the mean over templates of a value for each item; None has none."""
    rows = [
        {"template_id": item["template_id"], "mean": value}
        for item, value in zip(items, values, strict=True)
    ]
    return stats.mean(list(cluster_means(rows).values()))


CHECKS: dict[str, Callable[[Mapping[str, Any], Any], Checked]] = {
    "patch_activations": patching,
    "train_probes": probing,
    "steer": steering,
}
