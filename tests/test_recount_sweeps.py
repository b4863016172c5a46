"""What is told of a sweep follows from its raw data, or is a fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agent.recount_sweeps import recount_sweep

ITEMS = [{"id": f"i{k}", "template_id": f"t{k // 2}"} for k in range(4)]
PATCHED: dict[str, Any] = {
    "items": ITEMS,
    "sites": [[0, "resid_post"], [1, "resid_post"]],
    "positions": [-2, -1],
    "levels": {"clean": [3.0, 3.0, 5.0, 5.0], "corrupted": [1.0, 1.0, 1.0, 1.0]},
    "effects": {
        name: [[[0.0, 0.3], [None, 1.5 + k]] for k in range(4)] for name in ("denoising", "noising")
    },
}
CELLS = [
    {"layer": 1, "site": "resid_post", "position": -1, "share": 1.0},
    {"layer": 0, "site": "resid_post", "position": -1, "share": 0.1},
]
PROBED: dict[str, Any] = {
    "sweep": [{"layer": 0, "auroc": 0.6}, {"layer": 1, "auroc": 0.9}, {"layer": 1, "auroc": 0.7}],
    "test": [{"label": k > 1, "score": score} for k, score in enumerate((0.1, 0.5, 0.5, 0.9))],
}
HONEST: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "patch_activations": ({"total": {"mean": 3.0}, "cells": CELLS}, PATCHED),
    "train_probes": (
        {
            "chosen": {"auroc": 0.9},
            "by_layer": [{"layer": 0, "auroc": 0.6}, {"layer": 1, "auroc": 0.9}],
            "test_auroc": 0.875,
        },
        PROBED,
    ),
}


def change(place: Callable[[Any, Any], Any], key: Any, value: Any) -> Callable[[Any, Any], None]:
    """Return what sets a value in a result or its raw data."""

    def apply(result: Any, table: Any) -> None:
        place(result, table)[key] = value

    return apply


FORGERIES = (
    ("patch_activations", change(lambda r, t: r["total"], "mean", 3.2)),
    ("patch_activations", change(lambda r, t: r["cells"][0], "share", 0.8)),
    ("patch_activations", change(lambda r, t: t["effects"]["noising"][0][0], 1, 0.9)),
    # A place that was not told, made to stand out on the map.
    ("patch_activations", change(lambda r, t: t["effects"]["denoising"][1][0], 0, 9.0)),
    ("train_probes", change(lambda r, t: r, "test_auroc", 0.99)),
    ("train_probes", change(lambda r, t: t["sweep"][2], "auroc", 0.95)),
    ("train_probes", change(lambda r, t: r["by_layer"][0], "auroc", 0.8)),
)


@pytest.mark.parametrize("tool", HONEST)
def test_what_follows_is_no_fault(tool: str) -> None:
    assert list(recount_sweep(tool, {}, *HONEST[tool])) == []


@pytest.mark.parametrize("forgery", range(len(FORGERIES)))
def test_what_does_not_follow_is_one(forgery: int) -> None:
    tool, forge = FORGERIES[forgery]
    result, table = copy.deepcopy(HONEST[tool])
    forge(result, table)
    assert any("from the raw data" in each for each in recount_sweep(tool, {}, result, table))


def test_other_tools_are_left_alone() -> None:
    assert list(recount_sweep("sample_responses", {}, {}, {})) == []
