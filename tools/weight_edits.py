"""Changes of weights that a fix may ask for, as records: a direction that some matrices no longer write.

A direction taken out of what a matrix writes is the same whether the matrix was changed for good or its output
is projected each time, so nothing has to be loaded anew.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tools.registry import Record


class Matrices(Record):
    """The matrices through which one half of a layer writes to the residual stream."""

    layer: int = Field(ge=0)
    part: Literal["attn_out", "mlp_out"]
    """`attn_out`: the attention's; `mlp_out`: the feed-forward half's."""


class WeightEdit(Record):
    """Take a direction out of weights: the matrices named no longer write it to the residual stream."""

    direction: str
    """Blob reference of a direction that a tool returned."""
    matrices: tuple[Matrices, ...] = Field(min_length=1, max_length=256)
