"""How often a secret is read off the activations, by family, variant and easiness: a table from the data sheets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from errno import ENOENT
from pathlib import Path
from typing import Any

from tools import statistics as stats
from tools.locator import read_json

READERS = ("decoder", "lens")
COLUMNS = (
    "family",
    "variant",
    "easiness",
    "builds",
    "decoder first",
    "lens first, at the same layer",
)


def rank_by(reader: str, inside: Mapping[str, Any]) -> int | None:
    """Return the secret's rank by a reader at the layer that was chosen on the base; None where it does not read."""
    decoder = inside.get("decoder")
    if decoder is None or inside.get(reader) is None:
        return None
    if reader == "lens":
        return int(inside["lens"]["rank"][decoder["chosen"]])
    chosen = next(each for each in decoder["layers"] if each["layer"] == decoder["chosen"])
    return int(chosen["organism"]["rank"]) if chosen["told"]["rank"] == 1 else None


def secret_table(sheets: Iterable[Mapping[str, Any]]) -> str:
    """Return the table: of the builds of a kind, how many have their secret at rank 1, with its exact interval.

    Of a twin it is the secret that was drawn and not planted. A build of which a reader says nothing counts
    for neither side.
    """
    kinds: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for sheet in sheets:
        if sheet.get("inside"):
            kind = (sheet["family"], sheet["variant"], sheet.get("easiness", "narrow"))
            kinds.setdefault(kind, []).append(sheet["inside"])
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for kind, found in sorted(kinds.items()):
        cells = [*kind, str(len(found))]
        for reader in READERS:
            ranks = [rank for each in found if (rank := rank_by(reader, each)) is not None]
            cells.append(share_told(sum(rank == 1 for rank in ranks), len(ranks)))
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def share_told(right: int, n: int) -> str:
    """Return a count with its exact 95 % interval."""
    if not n:
        return "-"
    low, high = stats.clopper_pearson_interval(right, n)
    return f"{right} of {n} [{low:.2f}, {high:.2f}]"


def table_of(folder: Path) -> str:
    """Return the table of all builds below a folder; raise `FileNotFoundError` where there is none."""
    found = sorted(folder.glob("*/datasheet.json"))
    if not found:
        raise FileNotFoundError(ENOENT, "no data sheet is there", str(folder / "*/datasheet.json"))
    return secret_table(read_json(path, str(path.parent)) for path in found)
