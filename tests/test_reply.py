"""The investigator's reply to its sceptic: bounded, under the same gates, and the same however often it is killed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agent import opening
from agent.briefing import briefing
from agent.budget import Budget
from agent.finding import findings
from agent.investigation import Investigation, Turn
from agent.language_model import LanguageModelInvestigator, conversation
from agent.loop import run, transcript
from agent.opening import open_run, resume_run
from agent.rendering import write_report
from agent.reply import LAST_TURN
from agent.scripted import ScriptedInvestigator
from agent.verify import verify
from tests.scripted_run import TABLE, case_of, hypotheses, prediction, worker_for
from tests.test_language_model import FakeClient, reply
from tests.test_sceptic import HARMLESS, ROLES, SAME_WORD, call, challenge
from tools.worker_client import Worker

LIMITS = {"registrations": 6}
KIN = {
    "name": "any word for an edition",
    "arm": {
        "name": "edition",
        "edits": [{"kind": "set_slot", "slot": "context", "values": ["One edition, then."]}],
    },
}
KINDRED = {"logit": 2.4, "phrase": "edition", "model": "subject"}
WEAKER = TABLE | {
    "behaviours": [
        TABLE["behaviours"][0] | {"effects": [*TABLE["behaviours"][0]["effects"], KINDRED]}
    ]
}
"""With it the word `edition` does what `version` does, but less: about six tenths of it."""
NEAR = [{"name": "as much", "predicts": [-0.05, 0.05]}]
SAID = [
    Turn(calls=tuple(hypotheses())),
    call("register_predictions", predictions=[prediction(per_cluster=16)]),
    call("confirm", registrations=["P1"]),
    call("submit_report", answer={"kind": "factor", "value": ["context"], "confidence": 0.9}),
]


def direct(rival: dict[str, Any]) -> Turn:
    """Return the turn that compares the finding's treatment with a rival."""
    changes = {"control": rival["arm"], "rivals": NEAR, "smallest_effect": 0.25, "per_cluster": 16}
    return call("register_predictions", predictions=[prediction(**changes)])


def answer(rival: dict[str, Any]) -> list[Turn]:
    """Return the turns of a reply that compares, confirms, and submits with less confidence."""
    given = {"kind": "factor", "value": ["context = version"], "confidence": 0.6}
    return [
        direct(rival),
        call("confirm", registrations=["P3"]),
        call("submit_report", answer=given, summary="It is less with an edition."),
    ]


def sceptic(rival: dict[str, Any]) -> list[Turn]:
    return [challenge(rival), call("confirm", registrations=["P2"]), call("rest_case")]


def worker(path: Path) -> Worker:
    return worker_for(path, table=WEAKER)


def drive(
    path: Path, rival: dict[str, Any], replied: list[Turn], said: list[Turn] = SAID, **limits: Any
) -> Investigation:
    case = case_of(limits=LIMITS | limits)
    investigation = open_run(path, case, worker(path), "scripted", 7, ROLES)
    go_on(investigation, rival, replied, said)
    return investigation


def go_on(
    investigation: Investigation,
    rival: dict[str, Any],
    replied: list[Turn],
    said: list[Turn] = SAID,
) -> None:
    first = ScriptedInvestigator([*said, *replied])
    second = ScriptedInvestigator(sceptic(rival), "sceptic")
    run(investigation, first, Budget(investigation.case.limits), second)
    investigation.folder.close()


def kinds(investigation: Investigation, kind: str) -> int:
    return sum(event.type == kind for event in investigation.folder.events)


def outcome(investigation: Investigation) -> Any:
    told = [(each.id, each.status, each.statement) for each in findings(investigation)]
    return told, investigation.submission, investigation.replied, investigation.counters


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Investigation]:
    path = tmp_path_factory.mktemp("run") / "run"
    return path, drive(path, KIN, answer(KIN))


def test_a_weaker_rival_is_answered_and_the_second_report_replaces_the_first(
    answered: tuple[Path, Investigation],
) -> None:
    path, found = answered
    assert [each.error for past in found.exchanges for each in past.results if each.error] == []
    statuses = {name: each.status for name, each in found.verdicts.items()}
    assert statuses == {"P1": "supported", "P2": "effect shown, cause open", "P3": "supported"}
    first = findings(found)[0]
    assert found.opened == ("P1",) and first.status == "supported"
    assert "any word for an edition, beyond which it is" in first.statement
    assert found.counters == ["P2"] and found.replied == "it submitted again"
    assert found.submission is not None and found.submission.answer.confidence == 0.6
    assert found.ended == "submitted" and kinds(found, "submission") == 2
    write_report(path)
    assert verify(path).faults == ()


def test_the_reply_is_told_what_the_sceptic_registered_and_what_would_answer_it(
    answered: tuple[Path, Investigation],
) -> None:
    _, found = answered
    (text,) = [each for past in found.exchanges for each in past.notices if "sceptic" in each]
    rest = found.exchanges[7]
    assert rest.notices == (text,) and rest.turn.speaker == "investigator"
    assert "P2: " in text and "One edition, then." in text and "P1 is no longer supported" in text
    assert "You have 6 turns to reply, out of your budget, and 4 registrations." in text
    needed = (found.verdicts["P1"].estimate or 0) / 3
    assert f"supported with an effect of {float(f'{needed:.4g}')} at least" in text


def test_a_rival_as_strong_keeps_the_cause_open_whatever_is_replied(tmp_path: Path) -> None:
    found = drive(tmp_path, SAME_WORD, answer(SAME_WORD))
    assert found.verdicts["P3"].status != "supported"
    assert findings(found)[0].status == "effect shown, cause open"
    assert verify(tmp_path).faults == ()


def test_killed_at_every_record_the_reply_comes_to_the_same(
    tmp_path: Path, answered: tuple[Path, Investigation]
) -> None:
    whole, found = answered
    expected = outcome(found)
    lines = (whole / "events.jsonl").read_text().splitlines(keepends=True)
    started = next(k for k, line in enumerate(lines) if '"type":"rested"' in line)
    for kept in range(started, len(lines)):
        path = tmp_path / str(kept)
        shutil.copytree(whole, path)
        shutil.rmtree(path / "report", ignore_errors=True)
        (path / "events.jsonl").write_text("".join(lines[:kept]))
        again = resume_run(path, worker(path))
        go_on(again, KIN, answer(KIN))
        assert outcome(again) == expected
        assert kinds(again, "submission") == 2 and kinds(again, "replied") == 1
        assert [each.notices for each in again.exchanges] == [e.notices for e in found.exchanges]
        if any(f'"type":"{kind}"' in lines[kept - 1] for kind in ("registration", "submission")):
            assert verify(path).faults == ()


def test_the_turns_of_a_reply_are_counted_and_its_end_leaves_the_first_report(
    tmp_path: Path,
) -> None:
    found = drive(tmp_path, KIN, [call("note", text=f"thought {k}") for k in range(9)])
    assert found.replied == "it had 6 turns" and len(found.notes) == 6
    assert LAST_TURN in found.exchanges[-1].notices
    assert found.submission is not None and found.submission.answer.confidence == 0.9
    assert findings(found)[0].status == "effect shown, cause open"
    assert verify(tmp_path).faults == ()


def test_a_reply_ends_with_the_budget_and_with_a_turn_that_calls_nothing(tmp_path: Path) -> None:
    short = drive(tmp_path / "short", KIN, answer(KIN), steps=8)
    assert (short.replied, short.ended) == ("budget used up: steps", "submitted")
    silent = drive(tmp_path / "silent", KIN, [])
    assert silent.replied == "it called no tool" and kinds(silent, "submission") == 1
    for path in ("short", "silent"):
        assert verify(tmp_path / path).faults == ()


def test_where_nothing_was_opened_there_is_no_reply(tmp_path: Path) -> None:
    found = drive(tmp_path, HARMLESS, answer(KIN))
    assert found.rested is not None and found.opened == () and found.replied is None
    assert len(found.exchanges) == 7


def test_a_run_that_was_opened_without_replies_plays_again_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "REPLY_TURNS", 0)
    found = drive(tmp_path, KIN, answer(KIN))
    monkeypatch.undo()
    assert found.replied is None and len(found.exchanges) == 7
    assert verify(tmp_path).faults == ()


def test_registrations_are_kept_for_the_reply(tmp_path: Path) -> None:
    wishes = [prediction(per_cluster=16, smallest_effect=0.3 + k / 100) for k in range(4)]
    said = [SAID[0], call("register_predictions", predictions=wishes), *SAID[1:]]
    found = drive(tmp_path, HARMLESS, [], said)
    (told,) = [each.error for past in found.exchanges for each in past.results if each.error]
    assert told.startswith("4 registrations asked, 3 left of 6")
    assert (
        briefing(found)["registrations"] == 3 and briefing(found, "sceptic")["registrations"] == 4
    )


def test_a_model_that_replies_goes_on_in_its_conversation(tmp_path: Path) -> None:
    client = FakeClient([reply(turn) for turn in [*SAID, *answer(KIN)]])
    case = case_of(limits=LIMITS)
    investigation = open_run(tmp_path, case, worker(tmp_path), "anthropic/model", 7, ROLES)
    second = ScriptedInvestigator(sceptic(KIN), "sceptic")
    model = LanguageModelInvestigator("anthropic/model", client)
    run(investigation, model, Budget(case.limits), second)
    investigation.folder.close()
    assert investigation.replied == "it submitted again" and len(client.requests) == 7
    for before, after in zip(client.requests, client.requests[1:], strict=False):
        assert after.turns[: len(before.turns)] == before.turns and after.system == before.system
    told = client.requests[4].turns[-1].text
    assert "A sceptic has tested your report" in told
    assert "up to 6 turns more" in client.requests[0].system
    # A new conversation in the middle of the reply still knows what it replies to.
    shown = transcript(investigation, Budget(case.limits), "reply", final=False)
    assert told in conversation(shown, fresh=True)[0].text
