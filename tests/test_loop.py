"""The loop drives whoever gives turns: mistakes come back in one line, and every run has an end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.briefing import briefing
from agent.budget import Budget
from agent.case import Case, CaseError
from agent.finding import findings
from agent.house_tools import HOUSE_TOOLS
from agent.investigation import Investigation, ToolCall, Transcript, Turn
from agent.language_model import written
from agent.loop import MOST_DRAWN, MOST_FAILED_TURNS, run
from agent.opening import open_run
from agent.scripted import ScriptedInvestigator
from tests.scripted_run import case_of, turns, worker_for
from tools.black_box import BLACK_BOX
from tools.worker_client import InProcessWorker


def said(*calls: tuple[str, dict[str, Any]], text: str = "") -> Turn:
    made = [
        ToolCall(id=str(k), name=name, arguments=given) for k, (name, given) in enumerate(calls)
    ]
    return Turn(text=text, calls=tuple(made))


END = said(("submit_report", {"answer": {"kind": "nothing", "confidence": 0.5}}))


def drive(path: Path, turns_: Sequence[Turn], case: Case | None = None) -> Investigation:
    case = case or case_of()
    base: Any = worker_for(path, reference=case.reference is not None)
    worker = InProcessWorker(base.subject, BLACK_BOX, path / "blobs")
    investigation = open_run(path, case, worker, "scripted", 7)
    run(investigation, ScriptedInvestigator(turns_), Budget(case.limits))
    return investigation


def errors(investigation: Investigation) -> list[str]:
    return [each.error or "" for past in investigation.exchanges for each in past.results]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("sample_respones", {}, "unknown tool 'sample_respones'; did you mean 'sample_responses'"),
        ("score_arms", {}, "unknown tool 'score_arms'"),
        ("registerprediction", {}, "did you mean 'register_predictions'"),
        ("sample_responses", {"items": []}, "items"),
        ("sample_responses", {"items": ["x"], "temperatur": 1}, "did you mean 'temperature'"),
        ("sample_responses", {"items": {"draw": {"template": 3}}}, "did you mean 'templates'"),
        (
            "sample_responses",
            {"items": {"draw": {"templates": -2, "per_template": -2}}},
            "whole numbers",
        ),
        ("sample_responses", {"items": {"draw": {"templates": MOST_DRAWN + 1}}}, "whole numbers"),
        ("sample_responses", {"items": {"draw": {"population": ["case"]}}}, "unknown population"),
        ("sample_responses", {"items": {"draw": 5}}, "draw: give"),
        ("note", {"text": float("nan")}, "no JSON object"),
        ("confirm", {"registrations": ["P1"]}, "none yet"),
    ],
)
def test_a_mistake_comes_back_in_one_line_and_the_run_goes_on(
    tmp_path: Path, name: str, arguments: dict[str, Any], told: str
) -> None:
    investigation = drive(tmp_path / "run", [said((name, arguments)), END])
    found = errors(investigation)
    assert told in found[0] and len(found[0].splitlines()) == 1
    assert found[1] == "" and investigation.ended == "submitted"


def test_an_error_lists_tools_in_their_order_whatever_process_words_it(tmp_path: Path) -> None:
    """A set's order is another in every process, and the run would not verify."""
    investigation = drive(tmp_path / "run", [said(("read_file", {})), END])
    listed = errors(investigation)[0].partition("known: ")[2].split(", ")
    house = [tool.name for tool in HOUSE_TOOLS]
    assert listed[-len(house) :] == house


def test_a_draw_in_a_list_stands_for_its_prompts(tmp_path: Path) -> None:
    draw = {"draw": {"templates": 3, "per_template": 2}}
    for number, given in enumerate((draw, [draw], [draw, "And you?"])):
        arguments = {"items": given, "samples": 1, "with_reference": False}
        investigation = drive(tmp_path / str(number), [said(("sample_responses", arguments)), END])
        result = investigation.exchanges[0].results[0].result
        assert result is not None, errors(investigation)
        assert result["prompts_asked"] == 6 + (number == 2)


def test_drawn_prompts_bring_the_levels_that_rates_are_told_by(tmp_path: Path) -> None:
    arguments = {"items": {"draw": {"templates": 12, "per_template": 12}}, "samples": 1}
    measure = case_of().model_dump(mode="json")["measure"]
    asked = said(("sample_responses", arguments | {"measure": measure}))
    result = drive(tmp_path / "run", [asked, END]).exchanges[0].results[0].result
    assert result is not None
    assert [each["group"] for each in result["by_level"]["context"]][0] == "version"
    assert {each["group"] for each in result["by_level"]["context"]} == {"plain", "version", "date"}
    assert sum(each["prompts"] for each in result["by_level"]["context"]) == 144
    assert "claim" not in result["by_level"]


def test_arguments_that_are_no_json_are_answered_not_executed(tmp_path: Path) -> None:
    broken = ToolCall(id="x", name="note", parse_error="Expecting value: line 1")
    investigation = drive(tmp_path / "run", [Turn(calls=(broken,)), END])
    assert "not a JSON object" in errors(investigation)[0] and investigation.notes == []


def test_five_bad_turns_in_a_row_end_the_run_and_a_good_one_starts_the_count_anew(
    tmp_path: Path,
) -> None:
    bad, good = said(("nothing_such", {})), said(("note", {"text": "x"}))
    investigation = drive(tmp_path / "a", [bad] * 20)
    assert investigation.ended == "5 turns in a row without a valid call"
    # The turn after that is the last: what is known by then can be handed in.
    assert len(investigation.exchanges) == MOST_FAILED_TURNS + 1
    assert (
        investigation.submission is not None and investigation.submission.answer.kind == "unknown"
    )
    handed_in = drive(tmp_path / "e", [*[bad] * 5, END])
    assert handed_in.ended == "submitted" and handed_in.submission is not None
    assert handed_in.submission.answer.kind == "nothing"
    late = drive(tmp_path / "f", [*[bad] * 5, good, END])
    assert late.ended == "5 turns in a row without a valid call" and late.notes == []
    assert "only submit_report is left" in errors(late)[-1]
    investigation = drive(tmp_path / "b", [*[bad] * 4, good, *[bad] * 4, END])
    assert investigation.ended == "submitted"
    # A turn of talk alone is no valid call; one good call among bad ones is.
    assert (
        drive(tmp_path / "c", [Turn(text="hm")] * 9).ended
        == "5 turns in a row without a valid call"
    )
    mixed = said(("nothing_such", {}), ("note", {"text": "x"}))
    assert drive(tmp_path / "d", [*[mixed] * 6, END]).ended == "submitted"


def test_an_early_report_is_a_report(tmp_path: Path) -> None:
    investigation = drive(tmp_path / "run", [END])
    assert investigation.ended == "submitted" and len(investigation.exchanges) == 1
    assert list(findings(investigation)) == []


class Watching(ScriptedInvestigator):
    """Keeps what it was shown."""

    seen: list[Transcript]

    def next_turn(self, transcript: Transcript) -> Turn:
        self.seen = [*getattr(self, "seen", []), transcript]
        return super().next_turn(transcript)


@pytest.mark.parametrize("last", [said(("note", {"text": "late"})), END])
def test_a_used_up_budget_leaves_one_turn_that_can_only_submit(tmp_path: Path, last: Turn) -> None:
    case = case_of(limits={"steps": 2})
    path = tmp_path / "run"
    investigation = open_run(path, case, worker_for(path), "scripted", 7)
    watching = Watching(
        [said(("note", {"text": "early"})), said(("note", {"text": "early"})), last]
    )
    ended = run(investigation, watching, Budget(case.limits))
    assert [transcript.final for transcript in watching.seen] == [False, False, True]
    assert any("can only submit_report" in notice for notice in watching.seen[2].notices)
    assert [note["text"] for note in investigation.notes] == ["early", "early"]
    assert investigation.submission is not None
    if last is END:
        assert ended == "submitted" and investigation.submission.answer.kind == "nothing"
    else:
        assert ended == "budget used up: steps" == investigation.ended
        assert "only submit_report is left" in errors(investigation)[-1]


def test_a_typed_number_that_no_log_holds_is_flagged_and_a_false_quotation_breaks(
    tmp_path: Path,
) -> None:
    every = turns(
        summary='It says yes in P1/nowhere of cases and "Never did it say this" [exp:1].',
        interpretations={"P1": "The effect is P1/estimatee, as exp:99/result shows."},
    )
    investigation = drive(tmp_path / "run", every)
    (first, *_) = findings(investigation)
    assert first.id == "P1" and first.status == "citation broken" and first.faults
    honest = drive(tmp_path / "honest", turns())
    assert findings(honest)[0].status == "supported"


def test_the_briefing_holds_no_unseen_prompt_no_secret_and_no_place(tmp_path: Path) -> None:
    investigation = drive(tmp_path / "run", [END])
    told = json.dumps(briefing(investigation))
    population = investigation.populations["case"]
    for pool in ("confirm", "reserve"):
        for name in population.pools[pool].templates:
            assert (
                json.dumps(population.templates[name].text)[1:-1] not in told and name not in told
            )
        for value in population.pools[pool].slots["claim"].values:
            assert value not in told
    assert investigation.run_secret not in told
    assert "/secret/place" not in told and "a hidden word" not in told
    # Four registrations at 0.05 in all: what a rank needs is said before anybody makes placebos.
    said_first = written("briefing.j2", **briefing(investigation))
    assert "each has alpha 0.0125, with which a `rank` or `localisation` needs 79 placebos" in (
        said_first
    )


def test_the_same_call_at_another_turn_is_another_draw(tmp_path: Path) -> None:
    ask = said(("sample_responses", {"items": {"draw": {"templates": 4, "per_template": 1}}}))
    investigation = drive(tmp_path / "run", [ask, ask, END])
    shown = [past.results[0].result for past in investigation.exchanges[:2]]
    assert shown[0] is not None and shown[1] is not None
    assert shown[0]["experiment"] != shown[1]["experiment"]
    assert shown[0]["prompts"] != shown[1]["prompts"]
    allowed = investigation.populations["case"].pools["explore"].templates
    items = investigation.experiment(2).arguments["items"]
    assert {item["template_id"] for item in items} <= set(allowed)


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "is not JSON"), ('[{"txt": "hi"}]', "did you mean 'text'"), ('["hi"]', "script")],
)
def test_a_script_that_cannot_be_read_is_told(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(content)
    with pytest.raises(CaseError, match=told):
        ScriptedInvestigator.load(path)
    with pytest.raises(CaseError, match="cannot be read"):
        ScriptedInvestigator.load(tmp_path / "none.json")
