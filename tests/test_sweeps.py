"""A report draws what was searched: with the finding that rests on it, and apart where none does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agent.opening import read_run
from agent.rendering import render_html, render_markdown
from agent.report import Report, build_report
from agent.rerun import rerun
from agent.sweeps import curve_of, is_behind
from tests.scripted_run import TABLE, make_run, turns
from tools.experiment import Context, canonical_json
from tools.registry import Record, tool
from tools.scoring import score_arms
from tools.synthetic import SyntheticSubject
from tools.worker_client import InProcessWorker

MEASURE = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}
STEERED: dict[str, Any] = {
    "reading": "controls the measure (exploratory)",
    "direction": "ab" * 32,
    "doses": [
        {"dose": dose, "change": {"mean": dose / 10, "interval": None, "templates": 1}}
        for dose in (-1.0, -0.5, 0.5, 1.0)
    ],
    "bands": [{"kind": "isotropic", "middle_95": [-0.02, 0.03]}],
}


GRID: dict[str, Any] = {
    "sites": [[0, "resid_post"], [1, "resid_post"]],
    "positions": [-2, -1],
    "effects": {name: [[[0.1, 0.2], [0.3, 2.0]]] for name in ("denoising", "noising")},
    "levels": {"clean": [2.0], "corrupted": [0.0]},
}


class Nothing(Record):
    """No arguments."""


class Found(Record):
    """A sweep."""

    reading: str
    raw: str


@tool
def patch_activations(subject: Any, args: Nothing, context: Context) -> Found:
    """Store a small sweep, as patching does."""
    return Found(
        reading="carries <b>the</b> difference",
        raw=context.blobs.put(canonical_json(GRID).encode()),
    )


def searching(path: Path) -> InProcessWorker:
    """Return a worker that can search, with its blobs in a run."""
    subject = SyntheticSubject.from_table(TABLE | {"reference": True})
    return InProcessWorker(subject, [score_arms, patch_activations], path / "blobs")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    said = turns(interpretations={"P1": "It lies in a late layer [exp:2]."})
    look = (
        said[0]
        .calls[0]
        .model_copy(update={"id": "p", "name": "patch_activations", "arguments": {}})
    )
    said[0] = said[0].model_copy(update={"calls": (*said[0].calls, look, look)})
    make_run(path, said, worker=searching(path))
    return path


@pytest.fixture(scope="module")
def report(path: Path) -> Report:
    return build_report(read_run(path))


def test_a_cited_sweep_stands_with_its_finding_and_another_one_apart(report: Report) -> None:
    numbers = [each.experiment for each in report.sweeps]
    page = render_html(report)
    maps = [found.start() for found in re.finditer('aria-label="Map of exp:', page)]
    assert len(maps) == len(numbers) == 2
    finding, apart = page.index('<article id="P1"'), page.index("What was searched")
    assert finding < maps[0] < page.index('id="not-shown"') < apart < maps[1]
    assert "carries &lt;b&gt;the&lt;/b&gt; difference" in page
    assert "layer 1 resid\\_post, position -1" in render_markdown(report)


def test_only_what_is_cited_is_behind_a_finding(report: Report) -> None:
    first, second = report.sweeps
    (p1, p2, *_) = report.findings
    assert [is_behind(each, p1) for each in (first, second)].count(True) == 1
    assert not is_behind(first, p2) and not is_behind(second, p2)


def test_doses_are_read_in_the_unit_of_the_page_or_not_at_all() -> None:
    curve = curve_of({"measure": MEASURE}, STEERED)
    assert curve is not None and curve.unit == "points" and curve.middle == 1.0
    assert [point.change for point in curve.points] == [-10, -5, 5, 10]
    assert curve.placebos == {"isotropic": (-2, 3)}
    assert curve_of({"measure": MEASURE}, STEERED | {"doses": []}) is None
    assert curve_of({}, STEERED) is None and curve_of({"measure": MEASURE}, None) is None


def test_another_grid_behind_the_same_words_is_seen_when_run_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rerun(path, searching(path)).identical
    monkeypatch.setitem(GRID, "levels", {"clean": [3.0], "corrupted": [0.0]})
    found = {each.experiment: each for each in rerun(path, searching(path)).agreements}
    assert [n for n, each in found.items() if not each.same_raw] == [2, 3]
    assert not found[2].agrees and found[2].differing == ("/raw/levels/clean/0",)
    assert "OTHER RAW DATA" in found[2].line()
