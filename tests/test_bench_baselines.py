"""Each baseline finds what its kind of evidence can find, says nothing on a null, and keeps to its tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.case import Case
from agent.investigation import Investigation
from agent.loop import run, transcript
from agent.opening import open_run
from agent.submission import Answer
from evals.bench import baselines, white_box
from evals.bench.guesses import Lead, answer_of, in_the_cases_words
from evals.bench.investigators import TESTING
from tests import planted_circuit
from tests.planted_circuit import CREATURES, PLACES, TEMPLATES, kind, planted_subject
from tests.synthetic_cases import number_case, number_run, table
from tests.test_systematic import WITH_SCREEN, open_case
from tools.synthetic import SyntheticSubject
from tools.worker_client import InProcessWorker

SAYS_IT: list[dict[str, Any]] = [
    {
        "shown": ["Perhaps a candle."],
        "otherwise": ["No."],
        "logit": -6.0,
        "effects": [{"regex": "[a-z]", "logit": 9.0, "model": "subject"}],
    }
]


def sat(investigation: Investigation, who: Any) -> Answer:
    """Run to the end and return the answer."""
    assert run(investigation, who, Budget(investigation.case.limits)) == "submitted"
    assert investigation.submission is not None
    return investigation.submission.answer


def called(investigation: Investigation) -> set[str]:
    return {call.name for past in investigation.exchanges for call in past.turn.calls}


def screened_numbers(folder: Path, cause: str, seed: int = 0) -> Investigation:
    worker = InProcessWorker(
        SyntheticSubject(table(cause, seed=seed)), WITH_SCREEN, folder / "blobs"
    )
    return open_run(folder, number_case(), worker, "screens-only", seed)


def test_the_page_alone_shows_a_level_that_matters(tmp_path: Path) -> None:
    investigation = screened_numbers(tmp_path / "run", "context = version")
    answer = sat(investigation, baselines.ScreensOnly())
    assert (answer.kind, answer.value) == ("factor", ("context = version",))
    assert answer.confidence > 0.5 and answer.guesses[0] == "context = version"
    assert called(investigation) == {"submit_report"}


@pytest.mark.parametrize("seed", range(3))
def test_the_page_of_a_null_shows_nothing(tmp_path: Path, seed: int) -> None:
    answer = sat(screened_numbers(tmp_path / "run", "nothing", seed), baselines.ScreensOnly())
    assert (answer.kind, answer.value) == ("nothing", ())
    assert len(answer.guesses) >= 5


def test_the_page_alone_shows_a_word_that_is_said(tmp_path: Path) -> None:
    answer = sat(open_case(tmp_path / "run", None, SAYS_IT), baselines.ScreensOnly())
    assert (answer.kind, answer.value, len(answer.guesses)) == ("word", ("candle",), 10)
    # "perhaps" is said as often, and is no candidate.
    assert "perhaps" not in answer.guesses
    silent = sat(open_case(tmp_path / "null", None), baselines.ScreensOnly())
    assert (silent.kind, silent.value) == ("nothing", ())


def test_prompts_that_crowd_on_one_level_stand_out() -> None:
    briefing: dict[str, Any] = {
        "kind": "condition",
        "slots": {
            "context": {
                "levels": {"none": [""], "long": ["It is a long story. "], "sad": ["It is sad. "]},
                "candidates": False,
                "values": [],
            }
        },
    }
    crowd = [f"It is a long  story. Number {number}?" for number in range(6)]
    assert baselines.crowded_levels(briefing, crowd)[0] == Lead(
        "context = long", pytest.approx(1.61, abs=0.01)
    )
    mixed = [*crowd[:2], "It is sad. One?", "It is sad. Two?", "Three?", "Four?"]
    assert all(lead.strength < 1 for lead in baselines.crowded_levels(briefing, mixed))
    assert baselines.level_in(briefing, "context", "Four?") == "none"


def test_answers_alone_find_a_cause_and_a_constant(tmp_path: Path) -> None:
    numbers = number_run(tmp_path / "numbers", "context = version", seed=3)
    answer = sat(numbers, baselines.BlackBox())
    assert (answer.kind, answer.value) == ("factor", ("context = version",))
    hidden = open_case(tmp_path / "hidden", "candle", without=("screen_differences",))
    answer = sat(hidden, baselines.BlackBox())
    assert (answer.kind, answer.value) == ("word", ("candle",))
    allowed = {"sample_responses", "vary_prompts", "rank_candidates", "submit_report", *TESTING}
    assert called(numbers) | called(hidden) <= allowed
    measures = [
        call.arguments.get("measure") for past in hidden.exchanges for call in past.turn.calls
    ]
    assert {"answer_match"} == {each["kind"] for each in measures if each}
    assert sat(number_run(tmp_path / "null", "nothing"), baselines.BlackBox()).kind == "nothing"


def test_answers_alone_confirm_a_word_that_is_said(tmp_path: Path) -> None:
    investigation = open_case(tmp_path / "run", None, SAYS_IT, without=("screen_differences",))
    sat(investigation, baselines.BlackBox())
    supported = [
        investigation.registrations[name].prediction.treatment.name
        for name, verdict in investigation.verdicts.items()
        if verdict.status == "supported"
    ]
    assert "says 'candle'" in supported and not investigation.screens


def test_probabilities_are_not_asked_for_by_answers_alone() -> None:
    nats = {"kind": "logprob_difference", "positive": ["yes"], "negative": ["no"]}
    rate = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}
    assert baselines.as_rate(nats) == rate and baselines.as_rate(rate) == rate
    assert white_box.as_logprobs(rate) == nats and white_box.as_logprobs(nats) == nats
    assert white_box.as_logprobs({"kind": "regex", "pattern": "x"}) is None


def circuit_case(slot: str, measure: dict[str, Any] | None = None) -> Case:
    """Return a case on the circuit in which one slot is a factor."""
    levels: dict[str, Any] = {
        "creature": {
            "even": [name for name in CREATURES if kind(name)],
            "odd": [name for name in CREATURES if not kind(name)],
        },
        "place": {"one": list(PLACES[:2]), "other": list(PLACES[2:])},
    }
    plain = {"creature": {"values": list(CREATURES)}, "place": {"values": list(PLACES)}}
    return Case.model_validate(
        {
            "name": "circuit",
            "behaviour": "It says yes of some.",
            "subject": {"model": "planted"},
            "measure": measure or {"kind": "answer_match", "values": ["yes"], "against": ["no"]},
            "templates": [{"text": text} for text in TEMPLATES],
            "slots": plain | {slot: {"levels": levels[slot]}},
            "sampling": {"max_new_tokens": 2},
        }
    )


@pytest.fixture(scope="module")
def circuit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return planted_subject(tmp_path_factory.mktemp("models") / "planted")


def looked_into(folder: Path, circuit: Any, case: Case) -> Investigation:
    from tools.catalogue import TOOLS

    return open_run(folder, case, InProcessWorker(circuit, TOOLS, folder / "blobs"), "white-box", 0)


def test_the_inside_alone_shows_a_part_of_the_prompt_that_matters(
    tmp_path: Path, circuit: Any
) -> None:
    investigation = looked_into(tmp_path / "run", circuit, circuit_case("creature"))
    answer = sat(investigation, baselines.WhiteBox())
    assert (answer.kind, answer.value) == ("factor", ("creature",))
    assert called(investigation) == {"patch_activations", "submit_report"}
    unused = sat(
        looked_into(tmp_path / "null", circuit, circuit_case("place")), baselines.WhiteBox()
    )
    assert (unused.kind, unused.value) == ("nothing", ())


def test_answers_may_begin_alike(tmp_path: Path, circuit: Any) -> None:
    alike = {"kind": "answer_match", "values": ["it yes"], "against": ["it no"]}
    investigation = looked_into(tmp_path / "run", circuit, circuit_case("creature", alike))
    assert investigation.step_zero is None
    investigation.record("step_zero", {"happens": None, "labelled": []})
    answer = sat(investigation, baselines.WhiteBox())
    assert (answer.kind, answer.value) == ("factor", ("creature",))
    assert called(investigation) == {"patch_activations", "submit_report"}


def test_layers_behind_the_middle_are_swapped() -> None:
    assert [white_box.middle_layers(count) for count in (2, 4, 5, 42)] == [
        [0],
        [2],
        [2, 3],
        [21, 31, 40],
    ]


@pytest.mark.parametrize("secret", ["otter", None])
def test_a_candidate_that_is_treated_unlike_the_others_is_found_by_patching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str | None
) -> None:
    monkeypatch.setattr(planted_circuit, "kind", lambda creature: creature == secret)
    # Of 24 nulls one, that of seed 0, shows the lens a word: no more than its error rate of 5 % allows.
    subject = planted_circuit.planted_subject(tmp_path / "model", seed=1)
    case = circuit_case("place")
    candidates = case.slots["creature"].model_copy(update={"candidates": True})
    changes = {"kind": "open", "slots": {**case.slots, "creature": candidates}}
    investigation = looked_into(tmp_path / "run", subject, case.model_copy(update=changes))
    answer = sat(investigation, baselines.WhiteBox())
    wanted = ("word", (secret,)) if secret else ("nothing", ())
    assert (answer.kind, answer.value) == wanted and len(answer.guesses) == 10
    assert called(investigation) == {"logit_lens", "patch_activations", "submit_report"}


def test_a_table_has_no_inside(tmp_path: Path) -> None:
    for investigation in (number_run(tmp_path / "a"), open_case(tmp_path / "b", "candle")):
        assert sat(investigation, baselines.WhiteBox()).kind == "unknown"


def test_next_turns_follow_from_the_transcript_alone(tmp_path: Path) -> None:
    investigation = number_run(tmp_path / "run", "context = version")
    sat(investigation, baselines.BlackBox())
    shown = transcript(investigation, Budget(investigation.case.limits), final=False)
    for said, past in enumerate(investigation.exchanges):
        part = shown.model_copy(update={"exchanges": shown.exchanges[:said]})
        assert baselines.BlackBox().next_turn(part) == past.turn


def test_words_stand_for_the_level_that_they_are_of() -> None:
    case = circuit_case("creature")
    briefing = {
        "kind": "condition",
        "slots": {
            "creature": {"levels": {k: list(v) for k, v in case.slots["creature"].levels.items()}}
        },
    }
    found = in_the_cases_words(briefing, [Lead("otter", 2.0), Lead("elsewhere", 3.0)])
    assert found == [Lead("creature", 2.0)]


def test_confidence_is_a_margin_and_a_factor_is_named_once(tmp_path: Path) -> None:
    investigation = number_run(tmp_path / "run")
    shown = transcript(investigation, Budget(investigation.case.limits), final=False).briefing
    leads = [Lead("context = version", 4.0), Lead("context = date", 2.0), Lead("digits", 0.5)]
    answer = answer_of(shown, leads)
    assert (answer.value, answer.confidence) == (("context = version",), round(4 / 6, 3))
    assert answer.guesses[:3] == ("context = version", "context = date", "digits")
    none = answer_of(shown, [Lead("digits", 0.25)])
    assert (none.kind, none.confidence) == ("nothing", 0.8)
