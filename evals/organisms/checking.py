"""A finished organism checked again: are its files those that were packed, do its gates still hold?"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from evals.organisms.families import FAMILIES, base_of, load_truth
from evals.organisms.foundry import examine, file_digest
from tools.locator import SUBJECT
from tools.registry import Record

CLOSE = 0.02
"""A gate measured again may differ by so much: another processor rounds a near-tie of a draw otherwise."""


class Checked(Record):
    """One thing that was looked at."""

    name: str
    passed: bool
    as_recorded: bool
    """What was measured is what the data sheet says."""
    told: str


def check_organism(folder: Path, base: Path | None = None, threads: int = 1) -> list[Checked]:
    """Return the outcome for every file and every gate; the gates are measured on the packed files.

    One thread by default, as builds are measured: another number of them adds up in another order.
    """
    torch.set_num_threads(threads)
    listed = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))["files"]
    found = [check_file(folder, name, digest) for name, digest in sorted(listed.items())]
    sheet = json.loads((folder / "datasheet.json").read_text(encoding="utf-8"))
    if (folder / SUBJECT).is_file():
        # Nothing was trained: its truth is its prompt, and there is nothing to measure.
        return found
    base = base or base_of(sheet["family"])
    same = file_digest(base / "model.safetensors") == sheet["base"]
    found.append(
        Checked(
            name="base",
            passed=same,
            as_recorded=same,
            told="the one it was trained on" if same else "not the one it was trained on",
        )
    )
    if not all(each.passed for each in found):
        return found
    truth = load_truth(folder)
    gates, _ = examine(FAMILIES[truth.family], truth, base, folder / "adapter")
    for gate in gates:
        stored = sheet["gates"].get(gate.name, {}).get("value")
        limit = f"{'at least' if gate.at_least else 'at most'} {gate.limit:g}"
        found.append(
            Checked(
                name=gate.name,
                passed=gate.passed,
                as_recorded=stored is not None and abs(stored - gate.value) <= CLOSE,
                told=f"{gate.value:.4f} ({limit}; recorded {stored})",
            )
        )
    return found


def check_file(folder: Path, name: str, digest: str) -> Checked:
    """Say whether a file is there and is the one that was packed."""
    path = folder / name
    same = path.is_file() and file_digest(path) == digest
    told = "as packed" if same else "changed" if path.is_file() else "missing"
    return Checked(name=name, passed=same, as_recorded=same, told=told)
