"""A patching sweep as a picture: layers and sites down, positions across, for MCP clients that show images."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import Any

from agent.plots import is_sweep, means_of

CELL, MARGIN, ROW, TITLE = 26, 110, 16, 24
"""Pixels: a cell's width, the room for names of rows, a row's height, the line above."""
UP, DOWN = (178, 24, 43), (33, 102, 172)
"""Red carries the clean answer, blue pushes away from it; white is nothing, grey has no value."""
GREY = (200, 200, 200)
Colour = tuple[int, int, int]


def sweep_picture(table: dict[str, Any]) -> bytes | None:
    """Return a PNG of the mean of both directions over pairs, in nats; None without Pillow or a sweep."""
    if find_spec("PIL") is None or not is_sweep(table):
        return None
    from PIL import Image, ImageDraw

    grid = means_of(table)
    largest = max((abs(x) for row in grid for x in row if x is not None), default=0.0)
    size = (MARGIN + CELL * len(table["positions"]), TITLE + ROW * (len(grid) + 1))
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    pen.text((4, 4), f"swap, mean of both ways; +-{largest:.3g} nats", fill="black")
    for k, (site, row) in enumerate(zip(table["sites"], grid, strict=True)):
        top = TITLE + ROW * k
        pen.text((4, top + 2), " ".join(map(str, reversed(site))), fill="black")
        for j, value in enumerate(row):
            left = MARGIN + CELL * j
            box = (left, top, left + CELL - 2, top + ROW - 2)
            pen.rectangle(box, fill=colour_of(value, largest))
    for j, position in enumerate(table["positions"]):
        pen.text((MARGIN + CELL * j + 2, TITLE + ROW * len(grid)), str(position), fill="black")
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def colour_of(value: float | None, largest: float) -> Colour:
    """Return the colour of a cell; full colour is the largest effect of the sweep."""
    if value is None:
        return GREY
    share = abs(value) / largest if largest else 0.0
    end = UP if value > 0 else DOWN
    red, green, blue = (round(255 + share * (each - 255)) for each in end)
    return red, green, blue
