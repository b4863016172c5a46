"""Plots show what is in the data, at the place where it is."""

from __future__ import annotations

import re
from typing import Any

from agent.plots import layer_map

SWEEP: dict[str, Any] = {
    "sites": [[0, "resid_post"], [1, "mlp_out"]],
    "positions": [-2, -1],
    "effects": {
        "denoising": [[[0.5, None], [0.0, -4.0]]],
        "noising": [[[1.5, None], [0.0, -2.0]]],
    },
}


def test_nothing_to_draw_is_no_plot() -> None:
    assert layer_map(SWEEP | {"effects": {"denoising": [], "noising": []}}) == ""


def test_a_sweep_is_darkest_where_the_effect_is_and_says_where() -> None:
    drawn = layer_map(SWEEP)
    cells = re.findall(r'class="cell (\w+)" fill-opacity="([\d.]+)"', drawn)
    assert cells == [("up", "0.333"), ("void", "0.0"), ("down", "0.0"), ("down", "1.0")]
    assert "the largest is -3 nats at layer 1 mlp_out, position -1" in drawn
    assert ">layer 0 resid_post<" in drawn
