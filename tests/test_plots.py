"""Plots show what is in the data, at the place where it is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agent.plots import TOP, WIDTH, Axis, calibration, layer_map
from tools import statistics as stats

SWEEP: dict[str, Any] = {
    "sites": [[0, "resid_post"], [1, "mlp_out"]],
    "positions": [-2, -1],
    "effects": {
        "denoising": [[[0.5, None], [0.0, -4.0]]],
        "noising": [[[1.5, None], [0.0, -2.0]]],
    },
}


def test_confidence_stands_against_how_often_it_was_right() -> None:
    sure = [(0.9, True)] * 6 + [(0.9, False)] * 4
    drawn = calibration([*sure, (0.1, False), (1.0, True)])
    across, upward = Axis(0, 100, 70, WIDTH - 24), Axis(0, 100, 300, TOP)
    dots = [
        (float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    ]
    assert dots == [
        (across.at(10), upward.at(0)),
        (across.at(100 * 10.0 / 11), upward.at(100 * 7 / 11)),
    ]
    low, high = stats.clopper_pearson_interval(7, 11)
    assert f'y1="{upward.at(100 * low)}"' in drawn and f'y2="{upward.at(100 * high)}"' in drawn
    assert "right in 7 of 11" in drawn and "right in 0 of 1" in drawn


def test_nothing_to_draw_is_no_plot() -> None:
    assert calibration([]) == ""
    assert layer_map(SWEEP | {"effects": {"denoising": [], "noising": []}}) == ""


def test_a_sweep_is_darkest_where_the_effect_is_and_says_where() -> None:
    drawn = layer_map(SWEEP)
    cells = re.findall(r'class="cell (\w+)" fill-opacity="([\d.]+)"', drawn)
    assert cells == [("up", "0.333"), ("void", "0.0"), ("down", "0.0"), ("down", "1.0")]
    assert "the largest is -3 nats at layer 1 mlp_out, position -1" in drawn
    assert ">layer 0 resid_post<" in drawn


@pytest.mark.parametrize("confidence", [0.0, 0.2, 0.999, 1.0])
def test_every_confidence_has_a_bin(confidence: float) -> None:
    assert calibration([(confidence, True)]).count("<circle") == 1
