"""Distances between answers: by hand, beside chance, and what stands out of many where nothing is."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tools.anchor_effects import (
    FEWEST,
    Contrast,
    contrast,
    distances,
    family_p,
    jackknife_variance,
    mean_of,
    over_traces,
)


def counts(*values: float) -> np.ndarray:
    return np.array(values, float)


def answers(rate: float, size: int, luck: random.Random) -> list[str]:
    return ["yes" if luck.random() < rate else "no" for _ in range(size)]


def test_distances_are_those_of_the_definition() -> None:
    here, there = counts(3, 1, 0), counts(1, 1, 2)
    assert distances(here, there, "total_variation") == pytest.approx((0.5 + 0 + 0.5) / 2)
    p, q = (3.5 / 5.5, 1.5 / 5.5, 0.5 / 5.5), (1.5 / 5.5, 1.5 / 5.5, 2.5 / 5.5)
    by_hand = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert distances(here, there, "kl") == pytest.approx(by_hand)


@pytest.mark.parametrize("kind", ["total_variation", "kl"])
def test_the_jackknife_leaves_each_answer_out(kind: str) -> None:
    here, there = counts(7, 3, 2), counts(2, 9, 0)
    for side, mine in enumerate((here, there)):
        every = [k for k, count in enumerate(mine) for _ in range(int(count))]
        left = [mine - np.eye(3)[k] for k in every]
        values = [
            float(distances(*((each, there) if side == 0 else (here, each)), kind))  # pyright: ignore[reportArgumentType]
            for each in left
        ]
        centre = sum(values) / len(values)
        expected = (len(values) - 1) / len(values) * sum((v - centre) ** 2 for v in values)
        assert jackknife_variance([here, there], side, kind) == pytest.approx(expected)  # pyright: ignore[reportArgumentType]


def test_too_few_answers_say_nothing() -> None:
    few, enough = ["a"] * (FEWEST - 1), ["b"] * FEWEST
    assert contrast(few, enough, "kl", "s") is None and contrast(enough, few, "kl", "s") is None
    assert contrast(enough, enough, "kl", "s") is not None


def test_a_contrast_is_the_same_for_the_same_seed_only() -> None:
    here, there = ["a"] * 9 + ["b"] * 6, ["a"] * 5 + ["b"] * 15
    first, same, other = (contrast(here, there, "total_variation", seed) for seed in "112")
    assert first is not None and same is not None and other is not None
    assert (first.exchanged == same.exchanged).all()
    assert (first.exchanged != other.exchanged).any()
    assert first.importance == pytest.approx(other.importance, abs=0.05)


@pytest.mark.parametrize(
    ("rates", "true"), [((0.5, 0.5), 0.0), ((0.9, 0.9), 0.0), ((0.95, 0.2), 0.75)]
)
def test_importance_is_right_on_average_and_its_interval_holds_it(
    rates: tuple[float, float], true: float
) -> None:
    luck = random.Random(4)
    found: list[Contrast] = []
    for k in range(60):
        drawn = contrast(
            answers(rates[0], 20, luck), answers(rates[1], 40, luck), "total_variation", f"{k}"
        )
        assert drawn is not None
        found.append(drawn)
    assert mean_of(found).importance == pytest.approx(true, abs=0.05)
    held = sum(low <= true <= high for low, high in (each.interval() for each in found))
    assert held >= 52


def test_where_nothing_matters_something_stands_out_once_in_twenty() -> None:
    luck = random.Random(5)
    hits = 0

    def drawn(size: int) -> list[str]:
        # Of three answers: with two, ties make it rarer than it may be.
        return ["abc"[luck.randrange(3)] for _ in range(size)]

    for k in range(60):
        several = [contrast(drawn(16), drawn(40), "total_variation", f"{k}/{j}") for j in range(4)]
        ps, band = family_p([each for each in several if each is not None])
        hits += min(ps) <= 0.05
        largest = max(each.importance for each in several if each is not None)
        assert (largest > band) == (min(ps) <= 0.05), "the band and p say the same"
    assert 1 <= hits <= 7


def test_intervals_are_over_traces_where_there_are_several() -> None:
    same = ["a"] * 12
    one = contrast(["a"] * 10 + ["b"] * 4, same, "total_variation", "x")
    two = contrast(["b"] * 14, same, "total_variation", "y")
    assert one is not None and two is not None and two.importance > one.importance
    assert over_traces([one]) == (one.interval(), "resamples")
    assert one.interval()[1] <= 1 and two.interval()[1] == 1
    (low, high), over = over_traces([one, two])
    assert over == "traces" and high == 1
    # t with one degree of freedom: 12.706 standard errors.
    middle = (one.importance + two.importance) / 2
    assert low == pytest.approx(middle - 12.706 * (two.importance - one.importance) / 2, rel=1e-3)
