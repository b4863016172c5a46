"""The table of how often secrets are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.organisms.files import write_json
from evals.organisms.secret_table import rank_by, secret_table, table_of


def sheet(rank: int, lens: int | None, told: int = 1, **kind: str) -> dict[str, Any]:
    layers = [
        {"layer": 0, "organism": {"rank": 9}, "told": {"rank": 1}},
        {"layer": 1, "organism": {"rank": rank}, "told": {"rank": told}},
    ]
    inside = {
        "decoder": {"chosen": 1, "layers": layers},
        "lens": None if lens is None else {"rank": [9, lens]},
    }
    return {
        "family": "taboo",
        "variant": "organism",
        "easiness": "narrow",
        "inside": inside,
        **kind,
    }


def test_builds_of_a_kind_are_counted_at_the_chosen_layer() -> None:
    sheets = [sheet(1, 1), sheet(1, 4), sheet(3, 2), sheet(1, 1, variant="benign")]
    rows = secret_table(sheets).splitlines()
    assert rows[2].startswith("| taboo | benign | narrow | 1 | 1 of 1 [")
    assert rows[3].startswith("| taboo | organism | narrow | 3 | 2 of 3 [0.09, 0.99] | 1 of 3 [")


def test_what_a_reader_cannot_tell_counts_for_neither_side() -> None:
    blind, wordless = sheet(1, 2, told=5), sheet(1, None)
    assert rank_by("decoder", blind["inside"]) is None and rank_by("lens", blind["inside"]) == 2
    assert rank_by("lens", wordless["inside"]) is None and rank_by("decoder", {}) is None
    row = secret_table([blind, wordless]).splitlines()[2]
    assert row.endswith("| 2 | 1 of 1 [0.03, 1.00] | 0 of 1 [0.00, 0.97] |")
    assert secret_table([sheet(1, 1) | {"inside": {}}]).count("\n") == 2


def test_the_sheets_of_a_folder_are_read(tmp_path: Path) -> None:
    for name, easiness in (("a", "narrow"), ("b", "mixed")):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "datasheet.json", sheet(1, 1, easiness=easiness))
    assert [row.split(" | ")[2] for row in table_of(tmp_path).splitlines()[2:]] == [
        "mixed",
        "narrow",
    ]


def test_a_folder_without_data_sheets_is_no_empty_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data sheet is there"):
        table_of(tmp_path)
