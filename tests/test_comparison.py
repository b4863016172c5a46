"""Two runs are compared by what they asked, and every difference is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.review.comparison import compare, differences, lines_of
from agent.review.opened import Opened
from naturalist import app
from tests.scripted_run import case_of, level, make_run, prediction, turns


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    make_run(root / "one")
    make_run(root / "same")
    said = turns()
    register = said[1].calls[0].model_copy(
        update={
            "arguments": {
                "predictions": [
                    prediction(hypothesis="H3", smallest_effect=0.4, treatment=renamed(level("version"))),
                    prediction(treatment=level("version"), control=level("date"), rivals=[
                        {"name": "plain does the same", "arm": level("plain")}
                    ]),
                ]
            }
        }
    )  # fmt: skip
    said[1] = said[1].model_copy(update={"calls": (register,)})
    make_run(root / "other", said, case=case_of(behaviour="Another question?"))
    return root


def renamed(arm: dict[str, object]) -> dict[str, object]:
    return {**arm, "name": "called otherwise"}


def test_a_run_and_its_repetition_are_the_same(runs: Path) -> None:
    found = compare(Opened(runs / "one").side, Opened(runs / "same").side)
    assert found.case == found.models == found.code == found.other == ()
    assert [each.agrees for each in found.questions] == [True, True, True]
    assert found.questions[0].change == "0 points"
    assert found.summary().startswith(
        "3 questions were registered in both, 3 of them with the same"
    )


def test_questions_are_matched_by_what_they_compare(runs: Path) -> None:
    found = compare(Opened(runs / "one").side, Opened(runs / "other").side)
    assert [(d.what, d.second) for d in found.case] == [("behaviour", "Another question?")]
    first = next(q for q in found.questions if q.first and q.first.id == "P1")
    assert first.second is not None and first.second.id == "P1" and first.agrees
    assert [(d.what, d.first, d.second) for d in first.registration] == [
        ("smallest_effect", "0.3", "0.4")
    ]
    alone = [q for q in found.questions if q.agrees is None]
    assert {(q.first.id if q.first else None, q.second.id if q.second else None) for q in alone} == {
        ("P2", None), (None, "P2"),
    }  # fmt: skip
    assert all(q.change == "" for q in alone)


def test_what_differs_is_named_down_to_the_value() -> None:
    one = {"a": {"b": 1, "c": [1, 2]}, "d": None, "f": 0.123456}
    two = {"a": {"b": 1, "c": [1, 3]}, "e": "x", "f": 0.5}
    found = [(d.what, d.first, d.second) for d in differences(one, two)]
    assert found == [("a / c", "[1,2]", "[1,3]"), ("f", "0.1235", "0.5"), ("e", "none", "x")]


def test_the_command_prints_text_and_json(runs: Path) -> None:
    out = CliRunner().invoke(app, ["diff", str(runs / "one"), str(runs / "other")])
    assert out.exit_code == 0 and "case: 1 differences" in out.stdout
    assert "registered with smallest_effect: 0.3  |  0.4" in out.stdout
    assert "    other: not registered" in out.stdout
    told = CliRunner().invoke(app, ["diff", str(runs / "one"), str(runs / "other"), "--json"])
    content = json.loads(told.stdout)
    assert content["runs"] == ["one", "other"]
    assert content["questions"][0]["first"]["status"] == "supported"
    wrong = CliRunner().invoke(app, ["diff", str(runs / "one"), str(runs / "none")])
    assert wrong.exit_code == 2 and len(wrong.stderr.splitlines()) == 1


def test_nothing_of_where_the_models_are_is_told(runs: Path) -> None:
    told = "\n".join(lines_of(compare(Opened(runs / "one").side, Opened(runs / "other").side)))
    assert "/secret/place" not in told and "a hidden word" not in told
