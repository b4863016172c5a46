"""Plots show what is in the data, at the place where it is."""

from __future__ import annotations

import re
from typing import Any

from agent.plots import Stated, calibration
from agent.sweep_plots import layer_map, map_words, steering_curve
from agent.sweeps import Curve, Grid, Point, grid_of

SWEEP: dict[str, Any] = {
    "sites": [[0, "resid_post"], [1, "mlp_out"]],
    "positions": [-2, -1],
    "effects": {
        "denoising": [[[0.5, None], [0.0, -4.0]]],
        "noising": [[[1.5, None], [0.0, -2.0]]],
    },
}
PROBES = [
    {"layer": layer, "position": position, "method": method, "auroc": auroc, "p": 0.5}
    for layer, position, method, auroc in (
        (0, -1, "ridge", 0.5),
        (0, -1, "difference_of_means", 0.4),
        (3, -1, "ridge", 0.6),
        (3, -1, "difference_of_means", 1.0),
        (3, -2, "ridge", 0.25),
    )
]


def grid(table: Any) -> Grid:
    found = grid_of(table)
    assert found is not None
    return found


def cells(drawn: str) -> list[tuple[str, str]]:
    return re.findall(r'class="cell (\w+)" fill-opacity="([\d.]+)"', drawn)


def test_nothing_to_draw_is_no_grid() -> None:
    assert grid_of(SWEEP | {"effects": {"denoising": [], "noising": []}}) is None
    assert grid_of({"arms": {}}) is None and grid_of(None) is None


def test_what_only_looks_like_a_sweep_is_no_grid() -> None:
    assert grid_of(SWEEP | {"sites": "x"}) is None
    assert grid_of(SWEEP | {"effects": {"denoising": 3, "noising": [[["a"]]]}}) is None
    assert grid_of({"sweep": [{"layer": []}], "test": []}) is None


def test_a_sweep_is_darkest_where_the_effect_is_and_says_where() -> None:
    drawn = layer_map(grid(SWEEP))
    assert cells(drawn) == [("up", "0.333"), ("void", "0.0"), ("down", "0.0"), ("down", "1.0")]
    assert "the largest is -3 nats at layer 1 mlp_out, position -1" in drawn
    assert ">layer 0 resid_post<" in drawn
    assert "<title>layer 0 resid_post, position -2: 1 nats</title>" in drawn


def test_full_colour_is_the_whole_difference_and_not_the_largest_noise() -> None:
    wide = SWEEP | {"levels": {"clean": [5.0], "corrupted": [-1.0]}}
    assert cells(layer_map(grid(wide))) == [
        ("up", "0.167"),
        ("void", "0.0"),
        ("down", "0.0"),
        ("down", "0.5"),
    ]
    assert "full colour is 6 nats" in map_words(grid(wide))


def test_a_probe_sweep_is_white_at_chance_and_shows_the_better_probe() -> None:
    drawn = layer_map(grid({"sweep": PROBES, "test": []}))
    assert cells(drawn) == [("void", "0.0"), ("down", "0.0"), ("down", "0.5"), ("up", "1.0")]
    assert "furthest from chance is 1 AUROC at layer 3, position -1" in drawn


def test_steering_is_drawn_with_its_placebos() -> None:
    points = tuple(
        Point(dose=dose, change=10 * dose, interval=(10 * dose - 2, 10 * dose + 2))
        for dose in (-2.0, -1.0, 1.0, 2.0)
    )
    placebos = {"isotropic": (-3.0, 3.0), "concept": (-4.0, 4.0)}
    drawn = steering_curve(Curve(unit="points", points=points, middle=1.0, placebos=placebos))
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    assert len(heights) == 4 and heights == sorted(heights, reverse=True)
    assert drawn.count('class="bar placebo"') == 2 and drawn.count('class="bar treatment"') == 4
    assert "Change in points by dose: -2: -20; -1: -10; 1: 10; 2: 20" in drawn


def test_what_was_stated_stands_against_what_held() -> None:
    drawn = calibration([Stated(20, 20, None), Stated(80, 40, (10, 70))], "Sure", "words")
    places = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    (x, y), (across, upward) = [(float(a) - 70, 256 - float(b)) for a, b in places]
    assert (x, y) == (48, 48) and (across, upward) == (192, 96)
    assert "stated 80 %: 40 %" in drawn and drawn.count("bar treatment") == 1
