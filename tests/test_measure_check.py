"""Step 0: a behaviour that does not happen stops the run cheaply; what was not seen is not denied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.investigation import Transcript, Turn
from agent.loop import run
from agent.measure_check import SHOWN, check_measure
from agent.opening import open_run
from tests.scripted_run import TABLE, case_of, worker_for


class Never:
    """Must not be asked."""

    name = "never"

    def next_turn(self, transcript: Transcript) -> Turn:
        raise AssertionError("the run should have stopped")


def table(**behaviour: Any) -> dict[str, Any]:
    plain = {"shown": ["Yes."], "otherwise": ["No."], "effects": []}
    return TABLE | {"behaviours": [plain | behaviour]}


def opened(path: Path, behaviour: dict[str, Any], **changes: Any) -> Any:
    return open_run(
        path, case_of(**changes), worker_for(path, table=table(**behaviour)), "never", 1
    )


def test_what_does_not_happen_ends_the_run_after_one_experiment(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run", {"logit": -30.0})
    assert run(investigation, Never(), Budget(investigation.case.limits)) == (
        "the behaviour did not happen"
    )
    assert len(investigation.experiments) == 1 and investigation.exchanges == []
    assert investigation.step_zero is not None and investigation.step_zero["happens"] is False
    assert (
        investigation.submission is not None and investigation.submission.answer.kind == "unknown"
    )
    # Opened again, it is over and stays so.
    assert run(investigation, Never(), Budget(investigation.case.limits)).startswith(
        "the behaviour"
    )
    assert len(investigation.experiments) == 1


def test_answers_that_take_no_side_are_told(tmp_path: Path) -> None:
    found = check_measure(opened(tmp_path / "run", {"logit": 0.0, "otherwise": ["Who knows?"]}))
    subject = found["rates"]["subject"]
    assert 0.3 < subject["neither"] < 0.7
    assert subject["neither"] + subject["mean"] == pytest.approx(1.0, abs=1e-9)
    sided = check_measure(opened(tmp_path / "other", {"logit": 0.0}))
    assert sided["rates"]["subject"]["neither"] == 0.0


def test_rates_come_with_interval_and_labelled_outputs(tmp_path: Path) -> None:
    found = check_measure(opened(tmp_path / "run", {"logit": 0.0}))
    assert found["happens"] is True and set(found["rates"]) == {"subject", "reference"}
    subject = found["rates"]["subject"]
    assert subject["interval"][0] < subject["mean"] < subject["interval"][1]
    assert subject["templates"] == 12 and subject["items"] == 72 and subject["unscored"] == 0
    assert len(found["labelled"]) == SHOWN
    assert {(each["output"], each["label"]) for each in found["labelled"]} == {
        ("Yes.", 1),
        ("No.", 0),
    }


@pytest.mark.parametrize(("logit", "expected"), [(30.0, True), (-30.0, False)])
def test_one_prompt_can_show_a_behaviour(tmp_path: Path, logit: float, expected: bool) -> None:
    changes = {"templates": [], "slots": {}, "prompts": ["Is it so?"]}
    found = check_measure(opened(tmp_path / "run", {"logit": logit}, **changes))
    assert found["rates"]["subject"]["interval"] is None
    assert found["happens"] is expected


def test_what_could_not_be_scored_is_not_said_to_be_absent(tmp_path: Path) -> None:
    found = check_measure(opened(tmp_path / "run", {"shown": [" "], "otherwise": [" "]}))
    assert found["happens"] is None
    assert found["rates"]["subject"]["unscored"] == 72


def test_a_failed_step_is_kept_with_its_error(tmp_path: Path) -> None:
    measure = {"kind": "answer_match", "values": ["{gone}"]}
    found = check_measure(opened(tmp_path / "run", {}, measure=measure))
    assert found["happens"] is None and "gone" in found["error"]


def test_an_open_case_is_not_given_up_for_a_low_rate(tmp_path: Path) -> None:
    """One candidate of a hundred may show what is hidden; the rate over all of them is near zero."""
    found = check_measure(opened(tmp_path / "run", {"logit": -30.0}, kind="open"))
    assert found["rates"]["subject"]["mean"] == 0 and found["happens"] is None
