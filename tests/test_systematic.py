"""The floor: it finds a planted cause, and where nothing is planted it supports nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.investigation import CallResult, Investigation, Transcript, Turn
from agent.loop import run, transcript
from agent.opening import open_run
from agent.plan_turns import register_and_confirm
from agent.systematic import SystematicInvestigator
from tests.synthetic_cases import number_case, number_run
from tests.test_candidates import WORDS
from tools.black_box import BLACK_BOX
from tools.screens import screen_differences
from tools.synthetic import SyntheticSubject
from tools.worker_client import InProcessWorker


def investigated(investigation: Investigation) -> Investigation:
    limits = investigation.case.limits
    assert run(investigation, SystematicInvestigator(), Budget(limits)) == "submitted"
    assert not [
        each.error for past in investigation.exchanges for each in past.results if each.error
    ]
    return investigation


def supported(investigation: Investigation) -> list[str]:
    return [
        investigation.registrations[name].prediction.treatment.name
        for name, verdict in investigation.verdicts.items()
        if verdict.status == "supported"
    ]


@pytest.mark.parametrize("cause", ["context = version", "order: `wrong` last"])
def test_a_planted_cause_is_found_and_named(tmp_path: Path, cause: str) -> None:
    investigation = investigated(number_run(tmp_path / "run", cause, seed=3))
    assert supported(investigation) == [cause]
    assert investigation.submission is not None
    answer = investigation.submission.answer
    assert (answer.kind, answer.value, answer.guesses[0]) == ("factor", (cause,), cause)
    # It proposed the null beside its causes, and registered in one batch.
    assert any(each.family == "same as the reference" for each in investigation.hypotheses.values())
    assert {each.batch for each in investigation.registrations.values()} == {"B1"}


@pytest.mark.parametrize("seed", range(4))
def test_where_nothing_is_planted_nothing_is_supported(tmp_path: Path, seed: int) -> None:
    investigation = investigated(number_run(tmp_path / "run", "nothing", seed))
    assert supported(investigation) == []
    assert investigation.submission is not None
    assert investigation.submission.answer.kind == "nothing"
    assert len(investigation.verdicts) == 3


def test_its_next_turn_follows_from_the_transcript_alone(tmp_path: Path) -> None:
    investigation = investigated(number_run(tmp_path / "run", "context = version"))
    budget = Budget(investigation.case.limits)
    shown = transcript(investigation, budget, final=False)
    for said in range(len(investigation.exchanges)):
        part = shown.model_copy(update={"exchanges": shown.exchanges[:said]})
        assert SystematicInvestigator().next_turn(part) == investigation.exchanges[said].turn


def test_a_used_up_budget_is_handed_in(tmp_path: Path) -> None:
    investigation = number_run(tmp_path / "run", "context = version", limits={"steps": 2})
    assert (
        run(investigation, SystematicInvestigator(), Budget(investigation.case.limits))
        == "submitted"
    )
    assert investigation.submission is not None
    assert investigation.submission.summary == "The budget was used up."


WITH_SCREEN = (*BLACK_BOX, screen_differences)


def open_case(
    folder: Path,
    planted: str | None,
    behaviours: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> Investigation:
    openings = (
        "Is it",
        "Do you mean",
        "Could it be",
        "I guess",
        "Tell me whether it is",
        "Perhaps it is",
    )
    endings = (
        "the {word}?",
        "some kind of {word}, then?",
        "a {word} and no other thing?",
        "called {word} at all?",
        "just {word}, really?",
    )
    effects = [{"phrase": planted, "logit": 9.0, "model": "subject"}] if planted else []
    table = {
        "behaviours": behaviours
        or [{"shown": ["Yes."], "otherwise": ["No."], "logit": -4.0, "effects": effects}]
    }
    fields: dict[str, Any] = {
        "kind": "open",
        "measure": {"kind": "answer_match", "values": ["yes"], "against": ["no"]},
        "templates": [
            {"text": f"{opening} {ending}"} for opening in openings for ending in endings
        ],
        "slots": {
            "word": {"values": [*WORDS, *(f"{word}s" for word in WORDS)], "candidates": True}
        },
        "fillings": [],
    }
    case = number_case(**(fields | changes))
    worker = InProcessWorker(SyntheticSubject.from_table(table), WITH_SCREEN, folder / "blobs")
    return open_run(folder, case, worker, "systematic", 2)


def test_a_hidden_constant_is_found_among_the_candidates(tmp_path: Path) -> None:
    investigation = investigated(open_case(tmp_path / "run", "candle"))
    assert supported(investigation) == ["candle"]
    assert investigation.submission is not None
    assert investigation.submission.answer.kind == "word"
    assert investigation.submission.answer.value == ("candle",)


def test_an_open_case_without_a_constant_names_none(tmp_path: Path) -> None:
    investigation = investigated(open_case(tmp_path / "run", None))
    assert supported(investigation) == []
    assert investigation.submission is not None and investigation.submission.answer.value == ()


def test_a_word_of_the_screens_becomes_a_registered_measure_and_no_secret(tmp_path: Path) -> None:
    effects = [{"regex": "[a-z]", "logit": 9.0, "model": "subject"}]
    behaviours = [
        {"shown": ["Surely no."], "otherwise": ["No."], "logit": -6.0, "effects": effects}
    ]
    investigation = investigated(open_case(tmp_path / "run", None, behaviours=behaviours))
    assert supported(investigation) == ["says 'surely'"]
    found = next(k for k, v in investigation.verdicts.items() if v.status == "supported")
    registered = investigation.registrations[found].prediction
    assert registered.question == "reference" and registered.control is not None
    assert registered.control.model == "reference"
    assert (investigation.verdicts[found].estimate or 0) > 0.8
    handed = investigation.submission
    assert (
        handed is not None and handed.answer.value == () and f"{found}/estimate" in handed.summary
    )


def test_an_open_case_that_it_cannot_work_on_ends_honestly(tmp_path: Path) -> None:
    slots = {"word": {"values": list(WORDS)}}
    investigation = investigated(open_case(tmp_path / "run", None, slots=slots))
    assert investigation.registrations == {}
    assert (
        investigation.submission is not None and investigation.submission.answer.kind == "unknown"
    )


def test_it_stops_where_its_plan_ends(tmp_path: Path) -> None:
    investigation = investigated(
        open_case(tmp_path / "run", None, slots={"word": {"values": list(WORDS)}})
    )
    shown: Transcript = transcript(investigation, Budget(investigation.case.limits), final=False)
    turn = SystematicInvestigator().next_turn(shown)
    assert turn.calls[0].name == "submit_report"


def wish(size: float) -> dict[str, Any]:
    return {"measure": {"kind": "regex", "pattern": "yes"}, "smallest_effect": size}


def test_only_the_prediction_without_power_asks_for_a_larger_effect() -> None:
    plan = register_and_confirm([wish(0.4), wish(0.6)], ["H1", "H2"])

    def asked(turn: Turn) -> list[tuple[str, float]]:
        found = turn.calls[0].arguments["predictions"]
        return [(each["hypothesis"], each["smallest_effect"]) for each in found]

    def refused(error: str) -> list[CallResult]:
        return [CallResult(call="call", name="register_predictions", error=error)]

    assert asked(next(plan)) == [("H1", 0.4), ("H2", 0.6)]
    way_out = "a way out: clusters 20 and per_cluster 4 would have power 0.86"
    weak = refused(f"prediction 2: power 0.40 at the smallest effect\nprediction 2: {way_out}")
    assert asked(plan.send(weak)) == [("H1", 0.4), ("H2", 0.9)]
    # A rate cannot move by 1.2, so the second is left out and the first goes on alone.
    assert asked(plan.send(weak)) == [("H1", 0.4)]
    registered = CallResult(call="call", name="register", result={"registrations": [{"id": "P1"}]})
    assert plan.send([registered]).calls[0].arguments == {"registrations": ["P1"]}
    verdicts = CallResult(call="call", name="confirm", result={"verdicts": {"P1": {"p": 0.001}}})
    with pytest.raises(StopIteration) as ended:
        plan.send([verdicts])
    assert ended.value.value == {0: ("P1", {"p": 0.001})}


def test_a_prediction_refused_for_anything_else_is_not_asked_again() -> None:
    plan = register_and_confirm([wish(0.4), wish(0.6)], ["H1", "H2"])
    next(plan)
    strange = CallResult(
        call="call", name="register_predictions", error="prediction 1: power 0.4\nprediction 2: no"
    )
    with pytest.raises(StopIteration) as ended:
        plan.send([strange])
    assert ended.value.value == {}
