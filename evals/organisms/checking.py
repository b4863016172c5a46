"""A finished organism checked again: are its files those that were packed, do its gates still hold?"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from evals.organisms.families.family import Gate, told_value
from evals.organisms.foundry import examine, file_digest, with_adapter
from evals.organisms.gates.health import again
from evals.organisms.registry import FAMILIES, base_of, load_truth
from tools.faults import SubjectRefused
from tools.locator import SUBJECT, read_json
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
    Raises `SubjectRefused` for lists that cannot be read.
    """
    torch.set_num_threads(threads)
    listed = read_json(folder / "checksums.json", str(folder)).get("files")
    if not isinstance(listed, dict):
        raise SubjectRefused(f"{folder}: checksums.json lists no files; it is damaged")
    found = [check_file(folder, name, digest) for name, digest in sorted(listed.items())]
    sheet = read_json(folder / "datasheet.json", str(folder))
    if (folder / SUBJECT).is_file():
        # Nothing was trained: its truth is its prompt, and there is nothing to measure.
        return found
    if sheet.get("family") not in FAMILIES or not {"base", "gates"} <= sheet.keys():
        raise SubjectRefused(f"{folder}: its datasheet.json is of no organism of ours")
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
                as_recorded=is_close(stored, gate.value),
                told=f"{told_value(gate.value)} {around(gate)}({limit}; recorded {stored})",
            )
        )
    return found


def is_close(stored: float | None, measured: float | None) -> bool:
    """Say whether a gate comes out as it was recorded."""
    if stored is None or measured is None:
        return stored is measured
    return abs(stored - measured) <= CLOSE


def around(gate: Gate) -> str:
    """Return the interval of a gate and the items it is from, where it has them."""
    if gate.interval is None or gate.n is None:
        return ""
    return f"[{gate.interval[0]:.3f}, {gate.interval[1]:.3f}], n = {gate.n:.0f} "


def check_file(folder: Path, name: str, digest: str) -> Checked:
    """Say whether a file is there and is the one that was packed."""
    path = folder / name
    same = path.is_file() and file_digest(path) == digest
    told = "as packed" if same else "changed" if path.is_file() else "missing"
    return Checked(name=name, passed=same, as_recorded=same, told=told)


def asked_again(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the outcomes that a data sheet keeps of a few items of each kind, and those of the same items now."""
    torch.set_num_threads(1)
    sheet = json.loads((folder / "datasheet.json").read_text(encoding="utf-8"))
    truth = load_truth(folder)
    maker = FAMILIES[truth.family]
    speaker = with_adapter(base_of(sheet["family"]), folder / "adapter")
    return sheet["again"], again(speaker, maker, truth)
