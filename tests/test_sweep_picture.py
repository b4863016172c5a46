"""The picture of a sweep: where the effect is the cell is red, against it blue, and nothing is white."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from agent.doors import sweep_picture as picture
from agent.doors.sweep_picture import CELL, DOWN, GREY, MARGIN, ROW, TITLE, UP, sweep_picture

TABLE: dict[str, Any] = {
    "sites": [[0, "resid_post"], [1, "mlp_out"]],
    "positions": [-3, -2, -1],
    "effects": {
        "denoising": [[[1.0, 0.0, None], [0.5, -1.0, 0.0]], [[3.0, 0.0, None], [0.5, -3.0, 0.0]]],
        "noising": [[[2.0, 0.0, None], [0.5, -2.0, 0.0]], [[2.0, 0.0, None], [0.5, -2.0, 0.0]]],
    },
}


def colour(image: Image.Image, row: int, column: int) -> Any:
    return image.getpixel((MARGIN + CELL * column + CELL // 2, TITLE + ROW * row + ROW // 2))


def test_every_cell_has_the_colour_of_its_mean() -> None:
    content = sweep_picture(TABLE)
    assert content is not None
    image = Image.open(io.BytesIO(content))
    assert colour(image, 0, 0) == UP and colour(image, 1, 1) == DOWN
    assert colour(image, 0, 1) == colour(image, 1, 2) == (255, 255, 255)
    assert colour(image, 0, 2) == GREY
    weak = colour(image, 1, 0)
    assert UP[1] < weak[1] < 255 and weak[0] > weak[1]


def test_no_sweep_and_no_pillow_give_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep_picture({"arms": {}}) is None
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    assert sweep_picture(TABLE) is None
