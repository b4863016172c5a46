"""A thought that was taken apart: its picture, in the report and beside the evidence, and its numbers counted again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agent.investigation import Investigation
from agent.opening import read_run
from agent.rendering import write_report
from agent.report import build_report
from agent.thought_plot import thought_map
from agent.thoughts import DrawnThoughts, DrawnTrace, thoughts_of
from agent.verify import verify
from tests.planted_thoughts import QUESTION, planner
from tests.scripted_run import case_of, make_run
from tests.test_language_model import END, call
from tools.black_box import BLACK_BOX
from tools.experiment import canonical_json
from tools.worker_client import InProcessWorker

COLOUR = {"kind": "answer_match", "values": ["red", "blue", "green"]}
ASKED = {"items": [QUESTION], "measure": COLOUR, "resamples": 20, "max_new_tokens": 120}
HARM = "</text><script>alert(1)</script> \u202e&"
SENTENCES: list[dict[str, Any]] = [
    {"text": HARM, "importance": 0.6, "interval": [0.4, 0.8], "p": 0.002, "no_op": -0.05},
    {"text": "A filler. " * 20, "importance": 0.1, "interval": [-0.1, 0.3], "p": 0.7, "no_op": 0.0},
    {"text": "Bound to come.", "importance": None, "interval": None, "p": None, "no_op": 0.0},
]  # fmt: skip
THOUGHTS: dict[str, Any] = {
    "distance": "total_variation",
    "band": 0.3,
    "traces": [
        {
            "trace": "own-001-t1",
            "sentences": [
                {"number": k, "of": 3, "kept": 40, "redrawn": 20, **each}
                for k, each in enumerate(SENTENCES, 1)
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def thinking_run(tmp_path_factory: pytest.TempPathFactory) -> Investigation:
    path = tmp_path_factory.mktemp("runs") / "thinking"
    worker = InProcessWorker(planner(1), BLACK_BOX, path / "blobs")
    said = [call("thought_anchors", **ASKED), END]
    # What it says of anything else, so that the behaviour happens.
    measure = {"kind": "regex", "pattern": "do not know"}
    return make_run(path, said, case=case_of(reference=False, measure=measure), worker=worker)


def drawn(**changes: Any) -> str:
    found = DrawnThoughts.model_validate(THOUGHTS | changes)
    return thought_map(found.traces[0], found.band, found.distance)


def test_a_sentence_stands_where_its_importance_is_and_out_of_the_band_in_colour() -> None:
    picture = drawn()
    kinds = re.findall(
        r'<circle cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+" class="mark (\w+)"', picture
    )
    assert [kind for _, _, kind in kinds] == ["treatment", "control", "beaten", "control"]
    (_, first), (_, second) = [(float(x), float(y)) for x, y, kind in kinds if kind != "control"]
    assert first < second
    band = re.search(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)" [^>]*class="noise"', picture)
    assert band is not None
    end = float(band[1]) + float(band[2])
    places = {kind: float(x) for x, _, kind in kinds}
    assert places["beaten"] < end < places["treatment"]
    assert "drawn otherwise too seldom" in picture and picture.count('class="bar ') == 2
    assert "the largest is 0.6 at sentence 1" in picture


def test_what_a_subject_says_is_text_in_the_picture() -> None:
    picture = drawn()
    assert "<script" not in picture and "\u202e" not in picture
    assert "&lt;/text&gt;&lt;script&gt;" in picture and "⟨U+202E⟩" in picture


def test_nothing_known_is_no_picture_and_other_data_are_no_thoughts() -> None:
    empty = DrawnTrace.model_validate(
        {"trace": "t", "sentences": [THOUGHTS["traces"][0]["sentences"][2]]}
    )
    assert thought_map(empty, None, "kl") == ""
    assert thoughts_of({"arms": {}}) is None and thoughts_of([1]) is None
    with pytest.raises(ValueError, match="band"):
        thoughts_of({"thoughts": {"distance": "kl", "traces": []}})


def test_the_report_shows_the_thought_and_verify_counts_it_again(
    thinking_run: Investigation,
) -> None:
    path = thinking_run.folder.path
    pages = write_report(path)
    html = (pages / "report.html").read_text(encoding="utf-8")
    number = next(e.number for e in thinking_run.experiments if e.tool == "thought_anchors")
    assert f'hangs (<a href="#exp-{number}">' in html and 'class="noise"' in html
    assert html.count('class="mark treatment"') >= 1
    (part,) = build_report(read_run(path)).thoughts
    (trace,) = part.traces
    plan = max(trace.sentences, key=lambda each: each.importance or 0)
    assert plan.text.startswith("I will go for") and "one trace" in part.notes[0]
    assert f"sentence {plan.number} of 5: " in (pages / "report.md").read_text(encoding="utf-8")
    assert verify(path).ok


def changed(raw: dict[str, Any], what: str) -> dict[str, Any]:
    raw = json.loads(json.dumps(raw))
    cut = raw["arms"]["cuts"][1]
    match what:
        case "prompt":
            cut["prompt"]["prefill"] += " Well."
        case "reply":
            cut["replies"][0] = cut["replies"][0].replace("</think>", "</think> Or")
        case "rows":
            raw["arms"]["cuts"].pop()
        case "sentence":
            raw["thoughts"]["traces"][0]["sentences"][0]["importance"] = 0.9
        case _:
            word = next(each for each in ("Red", "Blue", "Green") if each not in cut["outputs"][0])
            for name in ("replies", "outputs"):
                old = cut[name][0]
                cut[name][0] = re.sub(r"(Red|Blue|Green)\.$", f"{word}.", old)
    return raw


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("prompt", "not the prompt that was asked"),
        ("reply", "not those of its replies"),
        ("rows", "not those of its traces"),
        ("sentence", "not those of the raw table"),
        ("answer", "not those of the raw table"),
    ],
)
def test_a_changed_thought_is_found(
    thinking_run: Investigation, monkeypatch: pytest.MonkeyPatch, what: str, told: str
) -> None:
    entry = next(e for e in thinking_run.experiments if e.tool == "thought_anchors")
    result = thinking_run.experiment(entry.number).result
    assert result is not None
    honest = thinking_run.folder.blobs.get(result["raw"])
    raw = changed(json.loads(honest), what)
    path = thinking_run.folder.blobs.path(result["raw"])
    try:
        path.write_bytes(canonical_json(raw).encode())
        # As if whoever changed it had made all digests agree.
        monkeypatch.setattr("tools.blobs.BlobStore.get", lambda self, name: self.path(name).read_bytes())  # pyright: ignore[reportUnknownLambdaType]  # fmt: skip
        faults = [each.what for each in verify(thinking_run.folder.path).faults]
    finally:
        path.write_bytes(honest)
    assert any(told in fault for fault in faults), faults
