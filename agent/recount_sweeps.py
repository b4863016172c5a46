"""Searches counted again: what a tool told of a sweep, from the raw grid that it stored.

The raw numbers come from activations, so only `rerun` can tell whether they are the model's. That what
was told, and what a page draws, are of one piece needs no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent.recount_screens import as_json
from agent.replay import first_difference
from tools import statistics as stats
from tools.discrimination import auroc
from tools.effects import Effect, ablation_reading, effect_of, steering_reading
from tools.scoring import cluster_means

CHANCE = 0.5
CLOSE = 1e-6
"""What a tool computes in tensors and what is computed here may differ by so much."""
Told = Mapping[str, Any]


def recount_sweep(tool: str, arguments: Told, result: Told, table: Any) -> Iterator[str]:
    """Yield where the result of a sweep does not follow from its raw data; nothing for other tools."""
    for what, told, found in CHECKS.get(tool, nothing)(result, table):
        if not math.isclose(told, found, rel_tol=CLOSE, abs_tol=CLOSE):
            yield f"{what} is told as {told:.6g} and comes to {found:.6g} from the raw data"
    for name, value in READ_OFF.get(tool, no_fields)(arguments, result, table).items():
        found = first_difference(result[name], as_json(value))
        if found is not None:
            yield f"{name} is not what comes from the raw data: {found}"


def nothing(result: Told, table: Any) -> Checked:
    """Yield nothing."""
    yield from ()


def no_fields(arguments: Told, result: Told, table: Any) -> dict[str, Any]:
    """Return no field."""
    return {}


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


def steered(arguments: Told, result: Told, table: Told) -> dict[str, Any]:
    """Return what the runs of `steer` say again."""
    runs, templates = rows(table)
    (plain_row,) = runs.pop("plain")
    signed = [each["dose"] for each in result["doses"]]
    asked = arguments.get("doses")
    if asked is not None and signed != sorted([*asked, *(-dose for dose in asked)]):
        return {"doses": sorted([*asked, *(-dose for dose in asked)])}
    # Runs from before neutral text was kept in the raw data tell its KL themselves.
    told = [each["kl_neutral"] for each in result["doses"]], [result["kl_placebos"]]
    by_dose = dict(zip(signed, runs.pop("steered"), strict=True))
    placebos: Any = runs
    return steering_reading(templates, plain_row, by_dose, placebos, table.get("kl", told))


def ablated(arguments: Told, result: Told, table: Told) -> dict[str, Any]:
    """Return what the runs of `ablate_direction` say again."""
    runs, templates = rows(table)
    (plain_row,), (change,) = runs.pop("plain"), runs.pop("ablated")
    told = result["kl_neutral"], [result["kl_placebos"]]
    beside = table["unrelated"] if "unrelated" in table else result["unrelated"]
    if isinstance(beside, list):
        unrelated = effect_of(beside[0], numbers(beside[1]))
    else:
        unrelated = Effect.model_validate(beside) if beside is not None else None
    placebos: Any = runs
    return ablation_reading(
        templates, plain_row, (change, placebos), table.get("kl", told), unrelated
    )


def rows(table: Told) -> tuple[dict[str, list[list[float]]], list[str]]:
    """Return the runs of a raw table, and the template of each of its items."""
    runs = {name: [numbers(row) for row in several] for name, several in table["runs"].items()}
    return runs, [item["template_id"] for item in table["items"]]


def numbers(row: Sequence[float | None]) -> list[float]:
    """Return a row of measures; NaN where one could not be scored."""
    return [math.nan if value is None else value for value in row]


def over_templates(items: Sequence[Mapping[str, Any]], values: Sequence[float | None]) -> float:
    """Return the mean over templates of a value for each item; None has none."""
    rows = [
        {"template_id": item["template_id"], "mean": value}
        for item, value in zip(items, values, strict=True)
    ]
    return stats.mean(list(cluster_means(rows).values()))


CHECKS: dict[str, Callable[[Told, Any], Checked]] = {
    "patch_activations": patching,
    "train_probes": probing,
}
READ_OFF: dict[str, Callable[[Told, Told, Any], dict[str, Any]]] = {
    "steer": steered,
    "ablate_direction": ablated,
}
