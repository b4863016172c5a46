"""A language model as investigator: what it is shown, that it is never shown it otherwise, what it may do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from agent.budget import Budget
from agent.finding import findings
from agent.investigation import Investigation, Spent, ToolCall, Turn
from agent.language_model import (
    CALL_TOOL,
    LISTED,
    MOST_SHOWN,
    LanguageModelInvestigator,
    conversation,
    cut_to_size,
    ledger,
    listed_tools,
    shown,
)
from agent.llm.conversation import (
    AssistantTurn,
    Reply,
    Request,
    StopReason,
    UserTurn,
)
from agent.llm.faults import LLMError
from agent.loop import run
from agent.opening import open_run, resume_run
from agent.scripted import ScriptedInvestigator
from agent.templates import written
from agent.tool_schemas import readable, references
from evals.kill_trial import outcome
from tests.scripted_run import case_of, turns, worker_for
from tools.black_box import BLACK_BOX
from tools.catalogue import TOOLS
from tools.worker_client import InProcessWorker

NAME = "anthropic/model"
Answer = Reply | LLMError


def reply(turn: Turn, stop: StopReason | None = None, spent: Spent | None = None) -> Reply:
    """Return what a provider would say for a scripted turn, with a native form of its own."""
    said = [{"native": turn.text, "n": [call.name for call in turn.calls]}]
    return Reply(
        turn=AssistantTurn(text=turn.text, calls=turn.calls, api="anthropic.messages", said=said),
        stop=stop or ("tool_calls" if turn.calls else "stop"),
        spent=spent or Spent(input_tokens=1000, output_tokens=100),
        model="model",
    )


class FakeClient:
    """Gives replies from a list and keeps what it was asked."""

    def __init__(self, replies: Sequence[Answer], window: int | None = None) -> None:
        self.replies, self.window = list(replies), window
        self.requests: list[Request] = []

    def generate(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = self.replies[len(self.requests) - 1]
        if isinstance(answer, LLMError):
            raise answer
        return answer

    def context_window(self, model: str) -> int | None:
        return self.window

    def close(self) -> None:
        pass


def drive(
    path: Path, replies: Sequence[Answer], window: int | None = None, **limits: Any
) -> tuple[Investigation, FakeClient]:
    client = FakeClient(replies, window)
    case = case_of(limits={"registrations": 4, **limits})
    base: Any = worker_for(path)
    worker = InProcessWorker(base.subject, BLACK_BOX, path / "blobs")
    investigation = open_run(path, case, worker, NAME, 7)
    try:
        run(investigation, LanguageModelInvestigator(NAME, client), Budget(case.limits))
    finally:
        investigation.folder.close()
    return investigation, client


def call(tool: str, /, **arguments: Any) -> Turn:
    return Turn(calls=(ToolCall(id=f"id-{tool}", name=tool, arguments=arguments),))


END = call("submit_report", answer={"kind": "nothing", "confidence": 0.5})


def test_a_run_over_a_model_comes_to_what_the_script_comes_to(tmp_path: Path) -> None:
    scripted = turns()
    through, _ = drive(tmp_path / "model", [reply(turn) for turn in scripted])
    base: Any = worker_for(tmp_path / "script")
    worker = InProcessWorker(base.subject, BLACK_BOX, tmp_path / "script" / "blobs")
    plain = open_run(tmp_path / "script", case_of(), worker, "scripted", 7)
    run(plain, ScriptedInvestigator(scripted), Budget(plain.case.limits))
    assert through.ended == plain.ended == "submitted"
    assert [f.statement for f in findings(through)] == [f.statement for f in findings(plain)]
    assert [f.status for f in findings(through)] == [f.status for f in findings(plain)]
    assert len(findings(through)) >= 2


def test_what_was_shown_is_never_shown_otherwise(tmp_path: Path) -> None:
    _, client = drive(tmp_path / "run", [reply(turn) for turn in turns()])
    for earlier, later in zip(client.requests, client.requests[1:], strict=False):
        assert later.turns[: len(earlier.turns)] == earlier.turns
        assert (later.system, later.tools, later.session) == (
            earlier.system,
            earlier.tools,
            earlier.session,
        )
    last = client.requests[-1].turns
    native = [turn.said for turn in last if isinstance(turn, AssistantTurn)]
    assert native == [reply(turn).turn.said for turn in turns()[:-1]]
    for said, heard in zip(last[1::2], last[2::2], strict=True):
        assert isinstance(said, AssistantTurn) and isinstance(heard, UserTurn)
        assert [each.id for each in said.calls] == [each.call for each in heard.answers]


def test_a_resumed_run_asks_with_the_same_bytes(tmp_path: Path) -> None:
    replies: list[Answer] = [reply(turn) for turn in turns()]
    stopped = [*replies[:2], LLMError("quota", "spend limit reached")]
    with pytest.raises(LLMError, match="spend limit"):
        drive(tmp_path / "run", stopped)
    base: Any = worker_for(tmp_path / "run")
    worker = InProcessWorker(base.subject, BLACK_BOX, tmp_path / "run" / "blobs")
    investigation = resume_run(tmp_path / "run", worker)
    client = FakeClient(replies[2:])
    run(investigation, LanguageModelInvestigator(NAME, client), Budget(investigation.case.limits))
    assert investigation.ended == "submitted"
    _, unbroken = drive(tmp_path / "other", replies)
    first, same = client.requests[0], unbroken.requests[2]
    assert (first.system, first.tools) == (same.system, same.tools)
    assert first.turns[0] == same.turns[0]
    assert [type(turn) for turn in first.turns] == [type(turn) for turn in same.turns]


def test_the_listed_tools_are_at_most_twelve_and_all_there(tmp_path: Path) -> None:
    _, client = drive(tmp_path / "run", [reply(END)])
    names = [spec.name for spec in client.requests[0].tools]
    assert len(names) <= 12 and len(set(names)) == len(names)
    assert set(names) - {CALL_TOOL.name} <= set(LISTED)
    house = {"propose_hypothesis", "register_predictions", "confirm", "note", "submit_report"}
    assert house | {"sample_responses", "vary_prompts"} <= set(names)


def test_a_tool_of_the_researchers_own_is_listed_too() -> None:
    entry = {"name": "count_words", "description": "Count.", "schema": {}, "own": True}
    told = {"tools": [entry, {**entry, "name": "hidden", "own": False}], "roles": {}, "judges": 0}
    assert [spec.name for spec in listed_tools(told, "investigator")[0]] == [
        "count_words",
        "call_tool",
    ]
    assert [spec.name for spec in listed_tools(told, "sceptic")[0]] == ["call_tool"]


def test_schemas_allow_a_draw_and_drop_what_nobody_writes() -> None:
    for tool in TOOLS:
        schema = readable(tool.entry()["schema"])
        text = json.dumps(schema)
        assert "PromptItem" not in text or not tool.for_investigator
        assert set(schema.get("$defs", {})) == set(references(schema)) | set(
            name for inner in schema.get("$defs", {}).values() for name in references(inner)
        )
        if "items" in tool.arguments.model_fields:
            field = schema["properties"]["items"]
            first, own = field["anyOf"]
            assert first["required"] == ["draw"] and own["type"] == "array"
            assert {"type": "string"} in own["items"]["anyOf"]


def test_a_tool_that_is_not_listed_is_found_and_called(tmp_path: Path) -> None:
    wanted = call("call_tool", name="sample_responses", arguments={"items": ["Hello"]})
    wrong = call("call_tool", name=5)
    found = call("find_tool", words="ranking of many candidates")
    shown_whole = call("find_tool", words="rank_candidates")
    replies = [reply(each) for each in (found, wanted, wrong, shown_whole, END)]
    investigation, client = drive(tmp_path / "run", replies)
    results = [each for past in investigation.exchanges for each in past.results]
    assert results[0].result is not None
    # A search lists tools in a line each; only the exact name brings the arguments.
    assert results[0].result["tool"] is None
    assert results[0].result["tools"][0].startswith("rank_candidates: ")
    assert "sample_responses: " in str(results[0].result["tools"])
    assert results[3].result is not None and results[3].result["tools"] == []
    assert "values" in results[3].result["tool"]["arguments"]["properties"]
    assert "Measure, one of:" in results[3].result["tool"]["records"]
    assert results[1].name == "sample_responses" and results[1].error is None
    assert "`name`" in (results[2].error or "")
    assert isinstance(client.requests[2].turns[-1], UserTurn)
    assert client.requests[2].turns[-1].answers[0].call == "id-call_tool"


@pytest.mark.parametrize("stop", ["max_tokens", "cut"])
def test_nothing_of_a_turn_that_is_not_whole_is_executed(tmp_path: Path, stop: StopReason) -> None:
    replies = [reply(call("note", text="half"), stop), reply(END)]
    investigation, client = drive(tmp_path / "run", replies)
    assert investigation.notes == [] and investigation.exchanges[0].turn.calls == ()
    heard = client.requests[1].turns[-1]
    assert isinstance(heard, UserTurn) and "cut off" in heard.text and heard.answers == ()


def test_words_alone_are_answered_with_a_nudge(tmp_path: Path) -> None:
    investigation, client = drive(tmp_path / "run", [reply(Turn(text="I am done.")), reply(END)])
    heard = client.requests[1].turns[-1]
    assert isinstance(heard, UserTurn) and "submit_report" in heard.text
    assert investigation.ended == "submitted"


def test_a_refusal_ends_the_run_with_its_category(tmp_path: Path) -> None:
    refused = reply(Turn(), "refusal").model_copy(update={"detail": "frontier_llm"})
    investigation, client = drive(tmp_path / "run", [refused, refused])
    assert investigation.ended == "the investigator's provider refused: frontier_llm"
    assert investigation.submission is not None
    assert investigation.submission.answer.kind == "unknown"
    # It was asked once more, and both requests were paid for.
    spent = investigation.exchanges[0].turn.spent
    assert len(client.requests) == 2 and spent is not None and spent.requests == 2


def test_a_refusal_is_met_once_with_a_new_conversation(tmp_path: Path) -> None:
    note = call("note", text="a word that sets a filter off")
    replies = [reply(note), reply(Turn(), "refusal"), reply(END)]
    investigation, client = drive(tmp_path / "run", replies)
    assert investigation.ended == "submitted"
    assert [past.turn.fresh for past in investigation.exchanges] == [False, True]
    assert len(client.requests) == 3 and len(client.requests[2].turns) == 1
    opening = client.requests[2].turns[0]
    assert isinstance(opening, UserTurn) and "goes on from an earlier one" in opening.text


def test_a_full_window_begins_a_new_conversation_with_the_ledger(tmp_path: Path) -> None:
    scripted = turns()
    replies = [reply(turn) for turn in scripted]
    large = Spent(input_tokens=7900, output_tokens=200)
    replies[2] = reply(scripted[2], spent=large)
    investigation, client = drive(tmp_path / "run", replies, window=10_000)
    assert [past.turn.fresh for past in investigation.exchanges][:5] == [
        number == 3 for number in range(5)
    ][: len(investigation.exchanges)]
    opening = client.requests[3].turns
    assert len(opening) == 1 and isinstance(opening[0], UserTurn)
    assert "goes on from an earlier one" in opening[0].text and "P1" in opening[0].text
    first = client.requests[0].turns[0]
    assert isinstance(first, UserTurn) and opening[0].text.startswith(first.text[:200])
    assert client.requests[3].tools == client.requests[0].tools
    if len(client.requests) > 4:
        assert client.requests[4].turns[:1] == opening
    assert investigation.ended == "submitted"


@pytest.mark.parametrize("how", ["error", "stop"])
def test_an_overflow_is_met_once_with_a_new_conversation(tmp_path: Path, how: str) -> None:
    note = call("note", text="seen")
    full: Answer = (
        LLMError("context", "prompt is too long")
        if how == "error"
        else reply(Turn(), "context_full")
    )
    investigation, client = drive(tmp_path / "run", [reply(note), full, reply(END)])
    assert [past.turn.fresh for past in investigation.exchanges] == [False, True]
    assert len(client.requests[2].turns) == 1
    with pytest.raises(LLMError, match="too long"):
        drive(tmp_path / "at once", [LLMError("context", "prompt is too long")])


@pytest.mark.parametrize(("limit", "value"), [("tokens", 2000), ("dollars", 0.001)])
def test_a_budget_of_a_model_warns_then_ends_with_a_report(
    tmp_path: Path, limit: str, value: float
) -> None:
    client = FakeClient([reply(call("note", text=str(k))) for k in range(9)])
    path = tmp_path / "run"
    case = case_of(limits={"registrations": 4, limit: value})
    base: Any = worker_for(path)
    worker = InProcessWorker(base.subject, BLACK_BOX, path / "blobs")
    investigation = open_run(path, case, worker, "anthropic/claude-opus-5-5", 7)
    model = LanguageModelInvestigator("anthropic/claude-opus-5-5", client)
    run(investigation, model, Budget(case.limits))
    assert investigation.ended == f"budget used up: {limit}"
    assert investigation.submission is not None
    told = client.requests[-1].turns[-1]
    assert isinstance(told, UserTurn) and "only submit_report" in told.text
    assert 2 <= len(client.requests) <= 3


def test_long_results_keep_head_and_tail_and_numbers_are_short() -> None:
    text = "a" * MOST_SHOWN + "end"
    assert cut_to_size(text[:MOST_SHOWN]) == text[:MOST_SHOWN]
    cut = cut_to_size(text)
    assert len(cut) < MOST_SHOWN + 100 and cut.startswith("aaa") and cut.endswith("end")
    assert "characters left out" in cut
    assert (
        shown({"p": 1 / 3, "n": [12345, 1e-9, True]}) == '{"p": 0.3333, "n": [12345, 1e-09, true]}'
    )


def test_the_ledger_holds_registrations_with_their_verdicts(tmp_path: Path) -> None:
    investigation, _ = drive(tmp_path / "run", [reply(turn) for turn in turns()])
    kept = ledger(investigation.exchanges)
    stated = {each["id"]: each["verdict"] for each in kept["registrations"]}
    assert set(stated) == set(investigation.registrations)
    for name, verdict in investigation.verdicts.items():
        assert stated[name]["status"] == verdict.status
    assert len(kept["hypotheses"]) == len(investigation.hypotheses)


def test_a_conversation_is_a_function_of_the_transcript(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watching(LanguageModelInvestigator):
        def next_turn(self, transcript: Any) -> Turn:
            seen.append((transcript, conversation(transcript, fresh=False)))
            return super().next_turn(transcript)

    client = FakeClient([reply(turn) for turn in turns()])
    base: Any = worker_for(tmp_path / "run")
    worker = InProcessWorker(base.subject, BLACK_BOX, tmp_path / "run" / "blobs")
    investigation = open_run(tmp_path / "run", case_of(), worker, NAME, 7)
    run(investigation, Watching(NAME, client), Budget(investigation.case.limits))
    for transcript, before in seen:
        stored = type(transcript).model_validate_json(transcript.model_dump_json())
        assert conversation(stored, fresh=False) == before
        assert "/secret/place" not in json.dumps([turn.model_dump() for turn in before])


def by_length(replies: Sequence[Reply]) -> type[FakeClient]:
    """Return a client that answers by how much has been said, so that it can take over anywhere."""

    class Remembering(FakeClient):
        def generate(self, request: Request) -> Reply:
            self.requests.append(request)
            return replies[sum(isinstance(turn, AssistantTurn) for turn in request.turns)]

    return Remembering


def test_killed_at_any_record_it_asks_the_same_and_comes_to_the_same(tmp_path: Path) -> None:
    replies = [reply(turn) for turn in turns()]
    whole, _ = drive(tmp_path / "whole", replies)
    expected = outcome(tmp_path / "whole")
    lines = (tmp_path / "whole" / "events.jsonl").read_bytes().splitlines(keepends=True)
    asked: dict[int, Request] = {}
    for kept in range(1, len(lines)):
        path = tmp_path / f"killed-{kept}"
        shutil.copytree(tmp_path / "whole", path)
        (path / "events.jsonl").write_bytes(b"".join(lines[:kept]))
        base: Any = worker_for(path)
        worker = InProcessWorker(base.subject, BLACK_BOX, path / "blobs")
        investigation = resume_run(path, worker)
        client = by_length(replies)([])
        model = LanguageModelInvestigator(NAME, client)
        run(investigation, model, Budget(investigation.case.limits))
        investigation.folder.close()
        assert outcome(path) == expected, kept
        for request in client.requests:
            said = sum(isinstance(turn, AssistantTurn) for turn in request.turns)
            assert asked.setdefault(said, request) == request, kept
        shutil.rmtree(path)
    assert len(asked) == len(replies) and whole.ended == "submitted"


def test_a_name_that_a_prompt_lacks_is_a_fault() -> None:
    rest: dict[str, Any] = {"roles": {}, "tools": [], "records": "", "alike": None}
    assert "beside a reference model" in written("investigator.j2", has_reference=True, **rest)
    assert "beside a reference model" not in written("investigator.j2", has_reference=False, **rest)
    with pytest.raises(UndefinedError):
        written("investigator.j2")


def test_without_judges_no_tool_offers_a_judged_measure(tmp_path: Path) -> None:
    _, client = drive(tmp_path / "run", [reply(END)])
    assert '"judged"' not in client.requests[0].system
    assert '"answer_match"' in client.requests[0].system
    schema = next(tool for tool in BLACK_BOX if tool.name == "vary_prompts").entry()["schema"]
    assert "JudgedMeasure" in json.dumps(readable(schema))
    left = readable(schema, ("JudgedMeasure",))
    offered = [each["$ref"] for each in left["properties"]["measure"]["oneOf"]]
    assert "#/$defs/JudgedMeasure" not in offered and len(offered) > 4
    assert all(name in left["$defs"] for name in references(left))
