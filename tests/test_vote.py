"""The vote of a set: confirmed anew goes first, what failed anew cannot win, "nothing" wins where most say so."""

from __future__ import annotations

from typing import Any

import pytest

from agent.prediction import Prediction
from agent.set_reading import ReadRun, Tried
from agent.submission import Answer
from agent.vote import Statement, elect
from tests.scripted_run import level, prediction

VERSION = Prediction.model_validate(prediction())
DATE = Prediction.model_validate(prediction(treatment=level("date")))


def said(kind: Any, *value: str, sure: float = 0.8, guesses: tuple[str, ...] = ()) -> Answer:
    return Answer(kind=kind, value=value, confidence=sure, guesses=guesses)


def runs_of(*answers: Answer, found: tuple[tuple[Prediction, ...], ...] = ()) -> list[ReadRun]:
    """Return runs with these answers; `found` is what each had found supported."""
    supported = (*found, *((),) * len(answers))
    return [
        ReadRun(
            name=str(k),
            run="",
            answer=answer,
            hypotheses=(),
            tried=tuple(Tried(prediction=p, status="supported") for p in mine),
        )
        for k, (answer, mine) in enumerate(zip(answers, supported, strict=False), 1)
    ]


def anew(prediction: Prediction, status: str) -> Statement:
    return Statement(prediction=prediction, status=status)


NOTHING, UNKNOWN = said("nothing"), said("unknown", sure=0.0)
FACTOR = said("factor", "context = version")


def test_answers_are_the_same_whatever_their_case_and_marks_and_votes_are_shares_of_all_runs() -> (
    None
):
    runs = runs_of(FACTOR, said("factor", "Context: VERSION", sure=0.4), said("factor", "length"))
    found = elect(runs, [], "condition")
    assert (found.kind, found.value) == ("factor", ("context = version",))
    assert found.confidence == pytest.approx((0.8 + 0.4) / 3, abs=1e-3)
    assert found.guesses == ("context = version", "length")


def test_an_answer_confirmed_anew_goes_before_a_surer_one_of_more_runs() -> None:
    many = said("factor", "length", sure=1.0)
    found = elect(runs_of(FACTOR, many, many), [anew(VERSION, "supported")], "condition")
    assert found.value == ("context = version",) and found.guesses[:2] == (*found.value, "length")
    assert found.confidence == pytest.approx(0.8 / 3, abs=1e-3)


def test_a_factor_that_was_not_confirmed_beside_one_that_was_is_dropped_to_the_guesses() -> None:
    both = said("factor", "context = date", "context = version")
    statements = [anew(VERSION, "supported"), anew(DATE, "refuted")]
    found = elect(runs_of(both, both), statements, "condition")
    assert found.value == ("context = version",) and set(found.guesses) == set(both.value)


@pytest.mark.parametrize("status", ["refuted", "inconclusive"])
def test_what_failed_anew_does_not_win_over_nothing_nor_alone(status: str) -> None:
    statements = [anew(VERSION, status)]
    found = elect(runs_of(FACTOR, FACTOR, said("nothing", sure=0.1)), statements, "condition")
    assert (found.kind, found.guesses) == ("nothing", ("context = version",))
    found = elect(runs_of(FACTOR, UNKNOWN), statements, "condition")
    assert (found.kind, found.confidence, found.guesses) == ("unknown", 0.0, FACTOR.value)
    # An effect that showed again, with its cause open, leaves the answer to the vote.
    shown = [anew(VERSION, "effect shown, cause open")]
    assert elect(runs_of(FACTOR, FACTOR, NOTHING), shown, "condition").kind == "factor"


def test_an_answer_in_other_words_fails_or_holds_with_what_its_run_had_found() -> None:
    rule = said("rule", "it copies what it read last", sure=0.9)
    runs = runs_of(rule, said("nothing", sure=0.1), said("word", "tea"), found=((VERSION,),))
    assert elect(runs, [anew(VERSION, "supported")], "condition").value == rule.value
    assert elect(runs, [anew(VERSION, "refuted")], "condition").value == ("tea",)


def test_nothing_wins_where_most_say_it_and_nothing_was_confirmed_anew() -> None:
    unsure, sure = said("nothing", sure=0.2), said("factor", "length", sure=1.0)
    assert elect(runs_of(unsure, unsure, sure), [], "condition").kind == "nothing"
    assert elect(runs_of(unsure, sure), [], "condition").kind == "factor"
    confirmed = [anew(VERSION, "supported")]
    assert elect(runs_of(unsure, unsure, FACTOR), confirmed, "condition").kind == "factor"


def test_what_was_confirmed_anew_and_nobody_names_is_named_by_its_arm() -> None:
    runs = runs_of(NOTHING, NOTHING, UNKNOWN, found=((VERSION,),))
    found = elect(runs, [anew(VERSION, "supported")], "condition")
    assert (found.kind, found.value) == ("factor", ("version",))
    assert found.confidence == pytest.approx(1 / 3, abs=1e-3)
    # In an open case a confirmed contrast is a finding, not yet what is hidden.
    assert elect(runs, [anew(VERSION, "supported")], "open").kind == "nothing"


def test_runs_that_say_nothing_at_all_give_no_answer_but_their_guesses_in_turn() -> None:
    first = said("unknown", sure=0.0, guesses=("tea", "milk"))
    second = said("unknown", sure=0.5, guesses=("Tea", "bread"))
    found = elect(runs_of(first, second), [], "open")
    assert (found.kind, found.confidence) == ("unknown", 0.0)
    assert found.guesses == ("tea", "milk", "bread")
