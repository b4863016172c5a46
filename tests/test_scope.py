"""What a finding is said of, and what is held against it, follow from the case and the raw outputs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.case import Case
from agent.prediction import Prediction
from agent.rendering import render_html
from agent.report import build_report
from agent.scope import reference_words, sides_limit, untested_levels
from agent.verdict import RivalOutcome, Verdict
from tests.scripted_run import TABLE, case_of, level, make_run, prediction, worker_for
from tests.test_finding import registered
from tests.test_report import Outline

EVERY = ("plain", "version", "date", "list", "map")


def test_answers_that_take_no_side_are_held_against_an_effect() -> None:
    def rows(neither: int) -> list[dict[str, Any]]:
        texts = ["maybe"] * neither + ["no"] * (50 - neither)
        return [{"template_id": "t", "slots": {}, "outputs": [text]} for text in texts]

    found = sides_limit(registered(), {"treatment": rows(2), "control": rows(12)})
    assert found[0].startswith(
        "24 % of control answers and 4 % of treatment answers name neither side"
    )
    assert sides_limit(registered(), {"treatment": rows(8), "control": rows(12)}) == ()
    assert sides_limit(registered(), {"treatment": rows(8)}) == ()
    one_sided = registered(measure={"kind": "answer_match", "values": ["no"]})
    assert sides_limit(one_sided, {"treatment": rows(0), "control": rows(50)}) == ()


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({}, "the same model with the adapter off and without its hidden system prompt"),
        ({"adapter": "a", "system": "x"}, "the same model again"),
        ({"adapter": "b", "system": "x"}, "the same model with another adapter"),
        ({"adapter": "a", "system": "y"}, "the same model with another hidden system prompt"),
        ({"adapter": "a", "system": "x", "revision": "r"}, "the same model at another checkpoint"),
        ({"model": "/secret/n"}, "another model, or another checkpoint, than the subject"),
    ],
)
def test_the_reference_is_told_in_generic_words(reference: dict[str, Any], words: str) -> None:
    subject = {"model": "/secret/m", "adapter": "a", "system": "x"}
    case = case_of().model_dump(mode="json")
    case |= {"subject": subject, "reference": {"model": "/secret/m"} | reference}
    found = reference_words(Case.model_validate(case))
    assert found is not None and found.startswith(words) and "secret" not in found


def test_arms_that_differ_in_taking_no_side_are_a_limit(tmp_path: Path) -> None:
    plain = TABLE["behaviours"][0] | {"otherwise": ["Who knows?"]}
    worker = worker_for(tmp_path / "run", table=TABLE | {"behaviours": [plain]})
    made = build_report(make_run(tmp_path / "run", worker=worker))
    (limit,) = [each for each in made.findings[0].limits if "neither side" in each]
    assert re.match(r"\d\d % of control answers and \d+ % of treatment answers name", limit)
    assert not [each for each in made.findings[1].limits if "neither side" in each]
    assert "% of answers" in "".join(Outline(render_html(made)).text)


def told(status: str, excluded: bool, **more: Any) -> str:
    """Return the sentence of a finding whose rivals are `date` (excluded or not) and `list` (not excluded)."""
    rivals = [
        {"name": "dates do it", "arm": level("date")},
        {"name": "lists do it", "arm": level("list")},
        {"name": "nothing is left", "predicts": [0.0, 0.1]},
    ]
    wanted = Prediction.model_validate(prediction(rivals=rivals))
    outcomes = [
        RivalOutcome(name=name, standing=False, difference=0.5, interval=(0.4, 0.6), excluded=fell)
        for name, fell in (("date", excluded), ("list", False), ("nothing", True))
    ]
    verdict = Verdict.model_construct(status=status, rivals=tuple(outcomes))  # pyright: ignore[reportArgumentType]
    registration: Any = SimpleNamespace(id="P1", prediction=wanted)
    investigation: Any = SimpleNamespace(
        populations={"case": SimpleNamespace(levels=lambda slot: EVERY)},
        registrations={"P1": registration} | more,
        verdicts={name: verdict for name in ("P1", *more)},
    )
    return untested_levels(investigation, registration)


@pytest.mark.parametrize(
    ("status", "excluded", "words"),
    [
        ("supported", True, "excluded as rivals: `date`; not tested as causes: `list`, `map`."),
        ("effect shown, cause open", True, "excluded as rivals: `date`; not tested as causes: `list`, `map`."),
        ("supported", False, "tested as a cause: `version`; not tested as causes: `date`, `list`, `map`."),
        # Without an effect there was nothing that a rival could have explained.
        ("refuted", True, "tested as a cause: `version`; not tested as causes: `date`, `list`, `map`."),
    ],
)  # fmt: skip
def test_a_level_that_was_excluded_as_a_rival_is_not_called_untested(
    status: str, excluded: bool, words: str
) -> None:
    assert told(status, excluded).endswith(words)


def test_what_fell_as_a_rival_of_another_measure_fell_for_that_measure_only() -> None:
    measure = {"kind": "regex", "pattern": "no"}
    other = prediction(rivals=[{"name": "map", "arm": level("map")}])
    same = {"P2": SimpleNamespace(id="P2", prediction=Prediction.model_validate(three(other)))}
    assert "excluded as rivals: `date`, `map`; not" in told("supported", True, **same)
    unlike = three(other) | {"measure": measure}
    another = {"P2": SimpleNamespace(id="P2", prediction=Prediction.model_validate(unlike))}
    assert "excluded as rivals: `date`; not" in told("supported", True, **another)


def three(wanted: dict[str, Any]) -> dict[str, Any]:
    """Return a prediction with two rivals more, so that it has as many as its verdict."""
    beside = [{"name": each, "predicts": [0.0, 0.1]} for each in ("one", "two")]
    return wanted | {"rivals": [*wanted["rivals"], *beside]}
