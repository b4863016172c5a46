"""The sceptic: it may only challenge, what it finds changes the finding, and the log holds all of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.finding import findings
from agent.investigation import Investigation, ToolCall, Turn
from agent.language_model import LanguageModelInvestigator
from agent.loop import run, statements
from agent.opening import open_run, resume_run
from agent.prediction import Prediction
from agent.rendering import write_report
from agent.sceptic import contrast_of
from agent.scripted import ScriptedInvestigator
from agent.verify import verify
from tests.scripted_run import case_of, hypotheses, prediction, worker_for
from tests.test_language_model import FakeClient, reply

LIMITS = {"registrations": 4}
ROLES = {"roles": {"sceptic": "anthropic/model"}}
SAME_WORD = {
    "name": "the bare word does it",
    "arm": {
        "name": "bare word",
        "edits": [{"kind": "set_slot", "slot": "context", "values": ["One version, then."]}],
    },
}
HARMLESS = {
    "name": "any short sentence does it",
    "arm": {
        "name": "short sentence",
        "edits": [{"kind": "set_slot", "slot": "context", "values": ["So be it."]}],
    },
}


def call(tool: str, /, **arguments: Any) -> Turn:
    return Turn(calls=(ToolCall(id=tool, name=tool, arguments=arguments),))


def predicted(**changes: Any) -> dict[str, Any]:
    """Return the prediction with enough prompts a template for its power."""
    return prediction(per_cluster=8, **changes)


def investigator(**changes: Any) -> list[Turn]:
    """Return the turns of an investigator that has one finding supported and submits."""
    return [
        Turn(calls=tuple(hypotheses())),
        call("register_predictions", predictions=[predicted(**changes)]),
        call("confirm", registrations=["P1"]),
        call("submit_report", answer={"kind": "factor", "value": ["context"], "confidence": 0.9}),
    ]


def sceptic(rival: dict[str, Any], **changes: Any) -> list[Turn]:
    """Return the turns of a sceptic that tests one rival."""
    rivals = [*prediction()["rivals"], rival]
    return [
        call("register_predictions", predictions=[predicted(rivals=rivals, **changes)]),
        call("confirm", registrations=["P2"]),
        call("rest_case", why="nothing else comes to mind"),
    ]


def drive(
    path: Path, turns: list[Turn], said: list[Turn] | None = None, **limits: Any
) -> Investigation:
    case = case_of(limits=LIMITS | limits)
    investigation = open_run(path, case, worker_for(path), "scripted", 7, ROLES)
    second = ScriptedInvestigator(turns, "sceptic")
    first = ScriptedInvestigator(investigator() if said is None else said)
    run(investigation, first, Budget(case.limits), second)
    investigation.folder.close()
    return investigation


def errors(investigation: Investigation) -> list[str]:
    return [each.error or "" for past in investigation.exchanges for each in past.results]


def test_a_rival_that_does_the_same_opens_the_cause_of_a_supported_finding(tmp_path: Path) -> None:
    run_of = drive(tmp_path, sceptic(SAME_WORD))
    assert run_of.verdicts["P1"].status == "supported"
    assert run_of.verdicts["P2"].status == "effect shown, cause open"
    first, second = findings(run_of)
    assert first.status == second.status == "effect shown, cause open"
    assert first.decided == "supported" and first.level is None
    assert "the bare word does it (P2)" in first.statement and "P2" in " ".join(first.limits)
    assert run_of.rested == "it rested its case" and run_of.ended == "submitted"


def test_a_finding_that_stands_the_challenge_stays_supported(tmp_path: Path) -> None:
    run_of = drive(tmp_path, sceptic(HARMLESS))
    first, second = findings(run_of)
    assert first.status == second.status == "supported"
    assert "tested again by the sceptic as P2: supported" in first.limits


def test_what_a_sceptic_is_shown_of_a_claim_can_be_copied_into_a_registration(
    tmp_path: Path,
) -> None:
    run_of = drive(tmp_path, [])
    (shown,) = statements(run_of)
    assert Prediction.model_validate(shown["prediction"]) == run_of.registrations["P1"].prediction


def test_the_log_with_a_sceptic_verifies_and_renders(tmp_path: Path) -> None:
    drive(tmp_path, sceptic(SAME_WORD))
    write_report(tmp_path)
    assert verify(tmp_path).faults == ()
    assert "counter-experiment" in (tmp_path / "report" / "report.html").read_text()


def challenge(rival: dict[str, Any], of: str = "P1") -> Turn:
    return call("register_predictions", challenge={"of": of, "rivals": [rival]})


def test_a_challenge_in_a_line_is_the_full_registration_with_another_rival(tmp_path: Path) -> None:
    short = [challenge(SAME_WORD), *sceptic(SAME_WORD)[1:]]
    run_of, whole = drive(tmp_path / "short", short), drive(tmp_path / "full", sceptic(SAME_WORD))
    assert not any(errors(run_of))
    one, other = run_of.registrations["P2"], whole.registrations["P2"]
    assert one.alpha == other.alpha and contrast_of(one.prediction) == contrast_of(other.prediction)
    first, second = one.prediction, run_of.registrations["P1"].prediction
    assert (first.population, first.clusters) == (second.population, second.clusters)
    assert {r.name for r in first.rivals} == {r.name for r in other.prediction.rivals}
    assert [f.status for f in findings(run_of)] == [f.status for f in findings(whole)]


def test_an_investigator_opens_its_own_finding_with_a_challenge(tmp_path: Path) -> None:
    said = investigator()
    said.insert(1, challenge(SAME_WORD))
    said[4:4] = [challenge(SAME_WORD, "P9"), challenge(prediction()["rivals"][0])]
    said[6:6] = [challenge(SAME_WORD), call("confirm", registrations=["P2"])]
    run_of = drive(tmp_path / "run", [call("rest_case")], said, registrations=6)
    told = [each for each in errors(run_of) if each]
    assert len(told) == 3 and "unknown registration 'P1'" in told[0]
    assert "unknown registration 'P9'; " in told[1]
    assert told[2] == "challenge: names no rival that P1 was not tested against already"
    assert run_of.counters == [] and list(run_of.registrations) == ["P1", "P2"]
    first, _ = findings(run_of)
    assert (first.decided, first.status) == ("supported", "effect shown, cause open")
    assert "tested again as P2: effect shown, cause open" in first.limits
    write_report(tmp_path / "run")
    assert verify(tmp_path / "run").faults == ()


def test_a_registration_of_nothing_is_told(tmp_path: Path) -> None:
    said = [call("register_predictions"), investigator()[-1]]
    run_of = drive(tmp_path, [], said)
    assert "give `predictions`, or a `challenge`" in errors(run_of)[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"smallest_effect": 0.5}, "challenges nothing"),
        ({"direction": "less"}, "challenges nothing"),
        ({"rivals": prediction()["rivals"]}, "names no rival"),
    ],
)
def test_a_sceptic_registers_nothing_but_counter_experiments(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    fields = {"rivals": [*prediction()["rivals"], SAME_WORD]} | changes
    turns = [
        call("register_predictions", predictions=[predicted(**fields)]),
        call("note", text="I would rather say so."),
        call("submit_report", answer={"kind": "nothing"}),
        call("rest_case"),
    ]
    run_of = drive(tmp_path, turns)
    told = errors(run_of)
    assert any(words in each for each in told)
    assert sum("unknown tool" in each for each in told) == 2
    assert list(run_of.registrations) == ["P1"] and run_of.notes == []
    assert run_of.submission is not None and run_of.submission.answer.kind == "factor"


def test_some_registrations_are_kept_for_the_sceptic(tmp_path: Path) -> None:
    three = [predicted(), predicted(smallest_effect=0.31), predicted(smallest_effect=0.32)]
    said = investigator()
    said.insert(1, call("register_predictions", predictions=three))
    run_of = drive(tmp_path, [call("rest_case")], said)
    assert any("3 registrations asked, 2 left of 4" in each for each in errors(run_of))


@pytest.mark.parametrize("smallest", [0.95])
def test_without_a_supported_finding_the_sceptic_is_not_asked(
    tmp_path: Path, smallest: float
) -> None:
    run_of = drive(tmp_path, sceptic(SAME_WORD), investigator(smallest_effect=smallest))
    assert run_of.verdicts["P1"].status != "supported"
    assert run_of.rested is None and len(run_of.exchanges) == 4


def test_a_budget_that_is_used_up_ends_the_challenge_and_not_the_report(tmp_path: Path) -> None:
    run_of = drive(tmp_path, sceptic(SAME_WORD), steps=5)
    assert run_of.rested == "budget used up: steps" and run_of.ended == "submitted"
    assert findings(run_of)[0].status == "supported"
    assert verify(tmp_path).faults == ()


def test_killed_at_every_record_the_challenge_comes_to_the_same(tmp_path: Path) -> None:
    whole = drive(tmp_path / "whole", sceptic(SAME_WORD))
    expected = [(each.id, each.status, each.statement) for each in findings(whole)]
    lines = (tmp_path / "whole" / "events.jsonl").read_text().splitlines(keepends=True)
    started = next(k for k, line in enumerate(lines) if '"type":"submission"' in line)
    for kept in range(started, len(lines)):
        path = tmp_path / str(kept)
        shutil.copytree(tmp_path / "whole", path)
        (path / "events.jsonl").write_text("".join(lines[:kept]))
        again = resume_run(path, worker_for(path))
        second = ScriptedInvestigator(sceptic(SAME_WORD), "sceptic")
        run(again, ScriptedInvestigator(investigator()), Budget(again.case.limits), second)
        again.folder.close()
        assert [(each.id, each.status, each.statement) for each in findings(again)] == expected
        assert len(again.counters) == 1


def test_a_model_as_sceptic_is_shown_the_claims_and_only_its_own_tools(tmp_path: Path) -> None:
    client = FakeClient([reply(turn) for turn in sceptic(SAME_WORD)])
    case = case_of(limits=LIMITS)
    investigation = open_run(tmp_path, case, worker_for(tmp_path), "scripted", 7, ROLES)
    model = LanguageModelInvestigator("anthropic/model", client)
    run(investigation, ScriptedInvestigator(investigator()), Budget(case.limits), model)
    investigation.folder.close()
    assert findings(investigation)[0].status == "effect shown, cause open"
    first, *later = client.requests
    opening = first.turns[0].text
    assert "What was supported" in opening and '"id": "P1"' in opening
    assert "version lists make it say yes" in opening
    names = {tool.name for tool in first.tools}
    assert "rest_case" in names and not {"submit_report", "note", "write_prompts"} & names
    assert "sceptical reviewer" in first.system
    for each in later:
        assert each.turns[0] == first.turns[0] and each.system == first.system
