"""Edits of many arms as few edits of one batch: each arm's act on its own rows and no others.

A hundred placebo directions differ in nothing but a vector. Run one by one they would cost a hundred
small batches; joined they are one edit with a vector for each row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tools.architecture import Site
from tools.edits import Edit, Operation


def joined(arms: Sequence[tuple[Sequence[Edit], int]]) -> list[Edit]:
    """Return the edits of arms, given with their numbers of rows, that are laid one behind the other.

    Edits that come at the same turn in their arms, at one site and alike in operation and positions,
    become one; those of one arm keep their order.
    """
    groups: dict[tuple[int, Site, Operation, str], list[tuple[Edit, list[int]]]] = {}
    first = 0
    for edits, count in arms:
        for turn, edit in enumerate(edits):
            rows = [first + row for row in (range(count) if edit.rows is None else edit.rows)]
            kind = edit.positions if isinstance(edit.positions, str) else "by row"
            groups.setdefault((turn, edit.site, edit.operation, kind), []).append((edit, rows))
        first += count
    return [merged(groups[key]) for key in sorted(groups, key=lambda key: key[0])]


def merged(group: Sequence[tuple[Edit, list[int]]]) -> Edit:
    """Return one edit that does on each row what the edit of its arm does."""
    first = group[0][0]
    positions = first.positions
    if not isinstance(positions, str):
        positions = [
            at
            for edit, rows in group
            if not isinstance(edit.positions, str)
            for at in by_row(edit.positions, len(rows))
        ]
    return Edit(
        first.site,
        first.operation,
        torch.cat([vectors(edit, len(rows)) for edit, rows in group]),
        torch.cat([coefficients(edit, len(rows)) for edit, rows in group]),
        positions,
        [row for _, rows in group for row in rows],
    )


def vectors(edit: Edit, count: int) -> Tensor:
    """Return an edit's vector for each of its rows."""
    return edit.vector if edit.vector.dim() == 2 else edit.vector.expand(count, -1)


def coefficients(edit: Edit, count: int) -> Tensor:
    """Return an edit's coefficient for each of its rows."""
    given = torch.as_tensor(edit.coefficient, dtype=torch.float32)
    return given if given.dim() else given.expand(count)


def by_row(positions: int | Sequence[int], count: int) -> list[int]:
    """Return a position for each row, of one for all or one for each."""
    return [positions] * count if isinstance(positions, int) else list(positions)
