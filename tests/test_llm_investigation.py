"""Whole investigations over each wire protocol come to what the same script comes to without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.investigation import Investigation, Turn
from agent.language_model import LanguageModelInvestigator
from agent.llm.anthropic_messages import AnthropicClient
from agent.llm.cassette import CassetteClient
from agent.llm.conversation import Client
from agent.llm.faults import LLMError
from agent.llm.openai_chat import ChatClient
from agent.llm.openai_responses import ResponsesClient
from agent.llm.retrying import RetryingClient
from agent.loop import run
from agent.opening import open_run, resume_run
from agent.rendering import write_report
from agent.verify import verify
from tests.anthropic_dialect import MessagesDialect
from tests.llm_server import Broken, Call, Error, LLMServer, Reply, Step, forget_environment
from tests.openai_dialects import ChatDialect, ResponsesDialect
from tests.scripted_run import case_of, make_run, turns, worker_for
from tools.black_box import BLACK_BOX
from tools.worker_client import InProcessWorker

Make = Callable[[str], Client]
PROTOCOLS: dict[str, Make] = {
    "anthropic/claude-opus-5-5": lambda url: AnthropicClient("test", url, timeout=5.0),
    "openai/gpt-6-sol": lambda url: ResponsesClient("test", f"{url}/v1", timeout=5.0),
    "openai-chat/local": lambda url: ChatClient("test", f"{url}/v1", timeout=5.0),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    with LLMServer(MessagesDialect(), ChatDialect(), ResponsesDialect()) as running:
        yield running


def as_reply(turn: Turn) -> Reply:
    calls = tuple(Call(call.id, call.name, json.dumps(call.arguments)) for call in turn.calls)
    return Reply(turn.text, calls, "I think.")


def worker_at(path: Path) -> InProcessWorker:
    base: Any = worker_for(path)
    return InProcessWorker(base.subject, BLACK_BOX, path / "blobs")


def drive(investigation: Investigation, name: str, client: Client) -> None:
    model = LanguageModelInvestigator(name, client)
    try:
        run(investigation, model, Budget(investigation.case.limits))
    finally:
        investigation.folder.close()


def told(path: Path) -> dict[str, Any]:
    """Return what a report says, but for what differs from run to run: names, times, draws."""
    write_report(path)
    report = json.loads((path / "report" / "report.json").read_text(encoding="utf-8"))
    findings = [
        {key: each[key] for key in ("id", "status", "statement")} for each in report["findings"]
    ]
    return {"answer": report["answer"]["sentences"], "findings": findings}


def shapes(content: dict[str, Any]) -> Any:
    """Return a report with its numbers struck out: two runs draw different confirmation prompts."""
    return "".join("#" if sign.isdigit() else sign for sign in json.dumps(content)).replace(
        "##", "#"
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_protocol_comes_to_what_the_script_comes_to(
    tmp_path: Path, server: LLMServer, name: str
) -> None:
    busy: list[Step] = [Error(529, type="overloaded_error"), Broken("cut"), Error(503)]
    replies = [as_reply(turn) for turn in turns()]
    server.play(busy[0], replies[0], *busy[1:], *replies[1:])
    path = tmp_path / "run"
    investigation = open_run(path, case_of(), worker_at(path), name, 7)
    client = RetryingClient(PROTOCOLS[name](server.url), sleep=lambda seconds: None)
    drive(investigation, name, client)
    client.close()
    assert investigation.ended == "submitted"
    assert len(server.requests) == len(turns()) + len(busy), "each failure is one more request"
    assert all(r.headers["x-stainless-retry-count"] == "0" for r in server.requests)
    plain = make_run(tmp_path / "script", worker=worker_at(tmp_path / "script"))
    assert plain.ended == "submitted"
    found, expected = told(path), told(tmp_path / "script")
    assert [f["status"] for f in found["findings"]] == [f["status"] for f in expected["findings"]]
    assert shapes(found) == shapes(expected)
    assert verify(path).faults == ()


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("stopped", [1, 3])
def test_a_run_that_a_provider_stopped_goes_on_where_it_was(
    tmp_path: Path, server: LLMServer, name: str, stopped: int
) -> None:
    replies = [as_reply(turn) for turn in turns()]
    server.play(*replies[:stopped], Error(402, type="billing_error", message="credit is used up"))
    path = tmp_path / "run"
    investigation = open_run(path, case_of(), worker_at(path), name, 7)
    with pytest.raises(LLMError) as caught:
        drive(investigation, name, RetryingClient(PROTOCOLS[name](server.url)))
    assert caught.value.kind in ("quota", "invalid")
    before = server.requests[-1].body
    server.play(*replies[stopped:])
    drive(resume_run(path, worker_at(path)), name, PROTOCOLS[name](server.url))
    after = server.requests[-len(replies) + stopped].body
    assert after == before, "the request after the stop is the one that failed, byte for byte"
    assert verify(path).faults == ()


def test_a_cassette_plays_an_investigation_again_without_a_provider(
    tmp_path: Path, server: LLMServer
) -> None:
    name = "anthropic/claude-opus-5-5"
    server.play(*[as_reply(turn) for turn in turns()])
    cassette = tmp_path / "cassette.jsonl"
    path = tmp_path / "first"
    investigation = open_run(path, case_of(), worker_at(path), name, 7)
    drive(investigation, name, CassetteClient(cassette, PROTOCOLS[name](server.url)))
    assert len(server.requests) == len(turns()) == len(cassette.read_text().splitlines())
    path_again = tmp_path / "again"
    again = open_run(path_again, case_of(), worker_at(path_again), name, 7)
    drive(again, name, CassetteClient(cassette))
    assert len(server.requests) == len(turns()) and again.ended == "submitted"
    assert told(tmp_path / "again") == told(path)
