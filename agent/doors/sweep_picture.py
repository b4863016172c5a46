"""A sweep as a picture: layers and sites down, positions across, for MCP clients that show images."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import Any

from agent.sweeps import grid_of
from agent.wording import number

CELL, MARGIN, ROW, TITLE = 26, 110, 16, 24
"""Pixels: a cell's width, the room for names of rows, a row's height, the line above."""
UP, DOWN = (178, 24, 43), (33, 102, 172)
"""Red carries the clean answer or can be read, blue is the opposite; white is nothing, grey has no value."""
GREY = (200, 200, 200)
Colour = tuple[int, int, int]


def sweep_picture(table: dict[str, Any]) -> bytes | None:
    """Return a PNG of what was found at each place; None without Pillow or a sweep."""
    grid = grid_of(table)
    if find_spec("PIL") is None or grid is None:
        return None
    from PIL import Image, ImageDraw

    size = (MARGIN + CELL * len(grid.columns), TITLE + ROW * (len(grid.rows) + 1))
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    span = f"{number(grid.middle)} +- {number(grid.full)} {grid.unit}"
    pen.text((4, 4), f"white to full colour: {span}", fill="black")
    for k, (site, row) in enumerate(zip(grid.rows, grid.values, strict=True)):
        top = TITLE + ROW * k
        pen.text((4, top + 2), site, fill="black")
        for j, value in enumerate(row):
            left = MARGIN + CELL * j
            box = (left, top, left + CELL - 2, top + ROW - 2)
            pen.rectangle(
                box, fill=colour_of(None if value is None else (value - grid.middle) / grid.full)
            )
    for j, position in enumerate(grid.columns):
        pen.text((MARGIN + CELL * j + 2, TITLE + ROW * len(grid.rows)), position, fill="black")
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def colour_of(share: float | None) -> Colour:
    """Return the colour of a cell by its signed share of what has the full colour."""
    if share is None:
        return GREY
    end = UP if share > 0 else DOWN
    red, green, blue = (round(255 + abs(share) * (each - 255)) for each in end)
    return red, green, blue
