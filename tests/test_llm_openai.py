"""Both OpenAI adapters, the real SDK and real sockets; only the answers are made up."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.investigation import Spent, ToolCall
from agent.llm.conversation import AssistantTurn, Request, ToolAnswer, ToolSpec, UserTurn
from agent.llm.conversation import Reply as LLMReply
from agent.llm.faults import Kind, LLMError
from agent.llm.openai_chat import ChatClient
from agent.llm.openai_responses import ResponsesClient
from tests.llm_server import (
    Broken,
    Call,
    Drop,
    Error,
    LLMServer,
    Raw,
    Reply,
    Step,
    Usage,
    forget_environment,
)
from tests.openai_dialects import ChatDialect, ResponsesDialect

LOOK = ToolSpec(name="look", description="Look at a layer.", parameters={"type": "object"})
OPENING = UserTurn(text="What is wrong with it?")
AskedClient = ChatClient | ResponsesClient


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    with LLMServer(ChatDialect(), ResponsesDialect()) as running:
        yield running


@pytest.fixture(params=[ChatClient, ResponsesClient])
def client(request: pytest.FixtureRequest, server: LLMServer) -> Iterator[AskedClient]:
    made = request.param(api_key="test", base_url=f"{server.url}/v1", timeout=5.0)
    yield made
    made.close()


@pytest.fixture
def chat(server: LLMServer) -> Iterator[ChatClient]:
    made = ChatClient(base_url=f"{server.url}/v1", timeout=5.0)
    yield made
    made.close()


@pytest.fixture
def responses(server: LLMServer) -> Iterator[ResponsesClient]:
    made = ResponsesClient(api_key="test", base_url=f"{server.url}/v1", timeout=5.0)
    yield made
    made.close()


def request_of(*turns: UserTurn | AssistantTurn, **changes: Any) -> Request:
    settings: dict[str, Any] = {
        "model": "m",
        "system": "You investigate.",
        "tools": (LOOK,),
        **changes,
    }
    return Request(turns=turns or (OPENING,), **settings)


def said_so_far(server: LLMServer, number: int) -> list[Any]:
    body = server.requests[number].body
    return body["input"] if "input" in body else body["messages"]


def ask(server: LLMServer, client: AskedClient, step: Step) -> LLMReply:
    server.play(step)
    return client.generate(request_of())


def failure(server: LLMServer, client: AskedClient, step: Step) -> LLMError:
    """Return the error of one attempt, and see that it was one."""
    server.play(step)
    with pytest.raises(LLMError) as caught:
        client.generate(request_of())
    assert len(server.requests) == 1
    assert server.requests[0].headers["x-stainless-retry-count"] == "0"
    assert "\n" not in str(caught.value)
    return caught.value


def answered(reply: LLMReply, text: str = "") -> tuple[UserTurn | AssistantTurn, ...]:
    """Return the conversation after `reply` to the opening, with every call answered."""
    results = tuple(ToolAnswer(call=c.id, name=c.name, text="ok") for c in reply.turn.calls)
    return (OPENING, reply.turn, UserTurn(answers=results, text=text))


def test_a_turn_with_calls_is_read_whole(server: LLMServer, client: AskedClient) -> None:
    calls = (Call("c1", "look", '{"layer": 3}'), Call("c2", "look", '{"word": "naïve 🌊"}'))
    usage = Usage(read=100, cached=60, stored=30, written=40, reasoned=25)
    reply = ask(server, client, Reply("Let me look.", calls, "Which layer?", usage))
    assert reply.turn.text == "Let me look."
    assert reply.turn.calls == (
        ToolCall(id="c1", name="look", arguments={"layer": 3}),
        ToolCall(id="c2", name="look", arguments={"word": "naïve 🌊"}),
    )
    assert (reply.stop, reply.thinking, reply.model) == ("tool_calls", "Which layer?", "m-1")
    assert reply.request_id == "req_1"
    assert reply.spent == Spent(
        input_tokens=100,
        cache_read_tokens=60,
        cache_write_tokens=30,
        output_tokens=40,
        reasoning_tokens=25,
    )


def test_a_conversation_only_grows(server: LLMServer, client: AskedClient) -> None:
    step = Reply("Two looks.", (Call("c1", "look", "{}"), Call("c2", "look", "{}")), "Hm.")
    server.play(step, Reply("Nothing is."))
    first = client.generate(request_of())
    kept = AssistantTurn.model_validate_json(first.turn.model_dump_json())
    results = (
        ToolAnswer(call="c1", name="look", text="fine"),
        ToolAnswer(call="c2", name="look", text="no such layer", is_error=True),
    )
    last = client.generate(
        request_of(OPENING, kept, UserTurn(answers=results, text="3 left"), may_call=False)
    )
    assert (last.stop, last.turn.text, last.turn.calls) == ("stop", "Nothing is.", ())
    before, after = (json.dumps(said_so_far(server, number)) for number in (0, 1))
    assert after.startswith(before[:-1])
    new = said_so_far(server, 1)[len(said_so_far(server, 0)) :]
    if isinstance(client, ChatClient):
        assert new[0]["reasoning_content"] == "Hm."
        assert [item["content"] for item in new[1:]] == ["fine", "ERROR: no such layer", "3 left"]
    else:
        assert new[:4] == ResponsesDialect().output(step, server.requests[0].body)
        assert [item["output"] for item in new[4:6]] == ["fine", "ERROR: no such layer"]
        assert new[6:] == [{"role": "user", "content": "3 left"}]
    bodies = [recorded.body for recorded in server.requests]
    assert bodies[0]["tools"] == bodies[1]["tools"]
    assert [body["tool_choice"] for body in bodies] == ["auto", "none"]
    assert {r.headers["x-stainless-retry-count"] for r in server.requests} == {"0"}


def test_a_request_asks_for_what_it_should(server: LLMServer, responses: ResponsesClient) -> None:
    server.play(Reply("Yes."))
    responses.generate(request_of(session="run 7", max_output_tokens=99))
    assert server.requests[0].body == {
        "model": "m",
        "instructions": "You investigate.",
        "input": [{"role": "user", "content": OPENING.text}],
        "tools": [{"type": "function", **LOOK.model_dump(), "strict": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": 99,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "run 7",
        "stream": True,
    }


def test_openai_itself_and_other_servers_name_the_limit_differently(
    server: LLMServer, chat: ChatClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)  # so that the loopback server is OpenAI, too
    openai = ChatClient(api_key="test", base_url="http://api.openai.com/v1")
    server.play(Reply("Yes."), Reply("Yes."))
    for client in (chat, openai):
        client.generate(request_of(session="run 7", max_output_tokens=99))
    other, official = (recorded.body for recorded in server.requests)
    assert other == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "You investigate."},
            {"role": "user", "content": OPENING.text},
        ],
        "tools": [{"type": "function", "function": LOOK.model_dump()}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_tokens": 99,
        "stream_options": {"include_usage": True},
        "stream": True,
    }
    del other["max_tokens"]
    assert official == {**other, "max_completion_tokens": 99, "prompt_cache_key": "run 7"}


def test_without_tools_nothing_is_said_of_them(server: LLMServer, client: AskedClient) -> None:
    server.play(Reply("Yes."))
    assert client.generate(request_of(tools=(), system="")).turn.text == "Yes."
    unsaid = {"tools", "tool_choice", "parallel_tool_calls", "instructions"}
    assert not unsaid & set(server.requests[0].body)


def test_a_turn_from_another_api_is_written_anew(server: LLMServer, client: AskedClient) -> None:
    call = ToolCall(id="toolu_1", name="look", arguments={"layer": 3})
    thought = {"type": "thinking", "signature": "bound"}
    foreign = AssistantTurn(text="I look.", calls=(call,), api="anthropic.messages", said=[thought])
    result = ToolAnswer(call="toolu_1", name="look", text="fine")
    server.play(Reply("So."), Reply("So."))
    for turn in (foreign, foreign.model_copy(update={"said": thought})):
        client.generate(request_of(OPENING, turn, UserTurn(answers=(result,))))
        sent = json.dumps(said_so_far(server, -1))
        assert "I look." in sent and json.dumps('{"layer": 3}') in sent and "toolu_1" in sent
        assert "bound" not in sent


BILLING = "Rate limit reached. Visit platform.openai.com/account/billing to add a payment method."
TOO_LARGE = "Request too large for m on tokens per min (TPM): Limit 10000, Requested 12000."
STATUSES: list[tuple[Error, Kind]] = [
    (Error(401, "invalid_api_key"), "auth"),
    (Error(403), "auth"),
    (Error(402), "quota"),
    (Error(429, "insufficient_quota", "insufficient_quota"), "quota"),
    (Error(429), "rate"),
    (Error(429, "rate_limit_exceeded", "requests", BILLING), "rate"),
    (Error(429, "rate_limit_exceeded", "tokens", TOO_LARGE), "context"),
    (Error(400, "context_length_exceeded", "invalid_request_error"), "context"),
    (Error(400, 400, "BadRequestError", "maximum context length is 8192 tokens"), "context"),
    (Error(400, None, "invalid_request_error", "no such field"), "invalid"),
    (Error(404, "model_not_found"), "invalid"),
    (Error(408), "transient"),
    (Error(409), "transient"),
    (Error(500, html="<html>\n<h1>oops</h1></html>"), "transient"),
    (Error(503, headers={"x-should-retry": "true"}), "transient"),
    (Error(529), "transient"),
    (Error(502, html="<html>\n" + "bad gateway " * 999), "transient"),
]


def label(value: object) -> str:
    return str(value)[:60]


@pytest.mark.parametrize(("error", "kind"), STATUSES, ids=label)
def test_an_error_response(
    server: LLMServer, client: AskedClient, error: Error, kind: Kind
) -> None:
    caught = failure(server, client, error)
    assert (caught.kind, caught.status, caught.request_id) == (kind, error.status, "req_1")
    assert len(str(caught)) < 600
    if error.html is None:
        assert error.message in str(caught)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "3600"}, 3600), ({"retry-after-ms": "1500"}, 1.5), ({}, None)],
)
def test_the_wait_a_server_asks_for_is_told_and_not_waited(
    server: LLMServer, client: AskedClient, headers: dict[str, str], seconds: float | None
) -> None:
    assert failure(server, client, Error(429, headers=headers)).retry_after == seconds


IN_STREAM: list[tuple[Error, Kind]] = [
    (Error(code="server_error", message="please retry"), "transient"),
    (Error(code="rate_limit_exceeded", message=BILLING), "transient"),
    (Error(code="insufficient_quota", message="you spent it"), "quota"),
    (Error(code="context_length_exceeded", message="too long"), "context"),
    (Error(code="unsupported_value", message="no"), "invalid"),
    (Error(message="the runner stopped"), "transient"),
    (Error(code=502, message="upstream"), "transient"),
    (Error(code=429, message="upstream"), "rate"),
]


@pytest.mark.parametrize(("error", "kind"), IN_STREAM, ids=label)
def test_an_error_in_a_stream(
    server: LLMServer, client: AskedClient, error: Error, kind: Kind
) -> None:
    caught = failure(server, client, Broken(error))
    assert (caught.kind, caught.request_id) == (kind, "req_1")
    assert error.message in str(caught)


BREAKS: list[tuple[Step, str]] = [
    (Drop(), "disconnected"),
    (Broken("cut"), "peer closed"),
    (Broken("cut", after=0), "peer closed"),
    (Broken("end"), "the stream ended early"),
    (Broken("end", after=0), "the stream ended early"),
    (Raw(("{half an eve",)), "JSONDecodeError"),
    (Raw(("[1]",)), "no JSON object"),
    # The SDK reads the body of an error outside of what it wraps.
    (Error(500, headers={"content-length": "9999"}), "peer closed"),
]


@pytest.mark.parametrize(("step", "words"), BREAKS, ids=label)
def test_a_broken_answer_is_worth_another_try(
    server: LLMServer, client: AskedClient, step: Step, words: str
) -> None:
    caught = failure(server, client, step)
    assert caught.kind == "transient"
    assert words in str(caught)


@pytest.mark.parametrize("adapter", [ChatClient, ResponsesClient])
def test_a_silent_server_is_left(server: LLMServer, adapter: type[AskedClient]) -> None:
    client = adapter(api_key="test", base_url=f"{server.url}/v1", timeout=0.2)
    caught = failure(server, client, Broken("stall"))
    assert caught.kind == "transient"
    assert "timed out" in str(caught)


@pytest.mark.parametrize("adapter", [ChatClient, ResponsesClient])
def test_a_trickling_server_is_left_at_the_deadline(
    server: LLMServer, adapter: type[AskedClient]
) -> None:
    clock: Callable[[], float] = itertools.count(0, 100).__next__
    address = f"{server.url}/v1"
    client = adapter(api_key="test", base_url=address, timeout=5.0, clock=clock, deadline=1800)
    caught = failure(server, client, Broken("trickle"))
    assert caught.kind == "transient"
    assert "no whole answer within 1800 s" in str(caught)


@pytest.mark.parametrize("adapter", [ChatClient, ResponsesClient])
@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("http://127.0.0.1:9/v1", "transient"),
        ("127.0.0.1:9/v1", "invalid"),
        ("http://host:port/v1", "invalid"),
    ],
)
def test_an_address_where_nobody_answers(
    adapter: type[AskedClient], address: str, kind: Kind, server: LLMServer
) -> None:
    with pytest.raises(LLMError) as caught:
        adapter(api_key="test", base_url=address).generate(request_of())
    assert caught.value.kind == kind


@pytest.mark.parametrize("adapter", [ChatClient, ResponsesClient])
def test_a_missing_key_is_told_with_its_name(
    server: LLMServer, adapter: type[AskedClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LLMError, match="OPENAI_API_KEY") as caught:
        adapter()
    assert caught.value.kind == "auth"
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    server.play(Reply("Yes."))
    adapter(base_url=f"{server.url}/v1").generate(request_of())
    assert server.requests[0].headers["authorization"] == "Bearer from the environment"


@pytest.mark.parametrize("text", ["", "Partly"])
def test_a_turn_cut_at_its_limit_calls_nothing_and_can_go_on(
    server: LLMServer, client: AskedClient, text: str
) -> None:
    half = Call("c1", "look", '{"layer": 3}')
    reply = ask(server, client, Reply(text, (half,), "Hm.", stop="max_tokens"))
    assert (reply.stop, reply.turn.text, reply.turn.calls) == ("max_tokens", text, ())
    assert reply.detail in ("length", "max_output_tokens")
    server.play(Reply("Done."))
    assert client.generate(request_of(*answered(reply, "Be brief."))).turn.text == "Done."
    assert ("Partly" in server.requests[1].text) == bool(text)


@pytest.mark.parametrize("stop", ["content_filter", "refusal"])
def test_a_refusal_is_an_outcome(server: LLMServer, client: AskedClient, stop: Any) -> None:
    reply = ask(server, client, Reply("I will not.", (Call("c1", "look", "{}"),), stop=stop))
    assert (reply.stop, reply.turn.calls) == ("refusal", ())
    assert reply.detail == ("I will not." if stop == "refusal" else "content_filter")


BAD = [
    '{"layer": ',
    "[1]",
    "null",
    '{"layer": NaN}',
    '{"word": "\\ud83d"}',
    "[" * 2_000,
    "x" * 999,
]


@pytest.mark.parametrize("arguments", BAD, ids=label)
def test_arguments_that_are_no_object_are_told_and_can_go_on(
    server: LLMServer, client: AskedClient, arguments: str
) -> None:
    reply = ask(server, client, Reply(calls=(Call("c1", "look", arguments),)))
    (call,) = reply.turn.calls
    assert (call.id, call.name, call.arguments, reply.stop) == ("c1", "look", {}, "tool_calls")
    assert call.parse_error and ascii(arguments[:200])[:-1] in call.parse_error
    assert len(call.parse_error) < 400
    server.play(Reply("Again."))
    assert client.generate(request_of(*answered(reply))).turn.text == "Again."
    sent = "{}" if isinstance(client, ChatClient) else arguments
    assert f'"arguments":{json.dumps(sent)}' in server.requests[1].text
