"""The Anthropic adapter, the real SDK and real sockets; only the answers are made up."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.investigation import Spent, ToolCall
from agent.llm.anthropic_messages import AnthropicClient
from agent.llm.conversation import AssistantTurn, Request, ToolAnswer, ToolSpec, UserTurn
from agent.llm.conversation import Reply as LLMReply
from agent.llm.faults import Kind, LLMError
from tests.anthropic_dialect import MessagesDialect
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

LOOK = ToolSpec(name="look", description="Look at a layer.", parameters={"type": "object"})
OPENING = UserTurn(text="What is wrong with it?")
CALLS = (Call("c1", "look", '{"layer": 3}'), Call("c2", "look", '{"word": "naïve 🌊"}'))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    with LLMServer(MessagesDialect()) as running:
        yield running


@pytest.fixture
def client(server: LLMServer) -> Iterator[AnthropicClient]:
    made = AnthropicClient(api_key="test", base_url=server.url, timeout=5.0)
    yield made
    made.close()


def request_of(*turns: UserTurn | AssistantTurn, **changes: Any) -> Request:
    settings: dict[str, Any] = {
        "model": "claude-opus-5-5",
        "system": "You investigate.",
        "tools": (LOOK,),
        "session": "run 7",
        **changes,
    }
    return Request(turns=turns or (OPENING,), **settings)


def ask(server: LLMServer, client: AnthropicClient, step: Step) -> LLMReply:
    server.play(step)
    return client.generate(request_of())


def failure(server: LLMServer, client: AnthropicClient, step: Step) -> LLMError:
    server.play(step)
    with pytest.raises(LLMError) as caught:
        client.generate(request_of())
    assert len(server.requests) == 1, "there is one layer of retries, and it is not here"
    assert server.requests[0].headers["x-stainless-retry-count"] == "0"
    assert "\n" not in str(caught.value)
    return caught.value


def answered(reply: LLMReply, text: str = "") -> tuple[UserTurn | AssistantTurn, ...]:
    results = tuple(
        ToolAnswer(call=c.id, name=c.name, text="ok", is_error=c.parse_error is not None)
        for c in reply.turn.calls
    )
    return (OPENING, reply.turn, UserTurn(answers=results, text=text))


def test_a_turn_with_calls_is_read_whole(server: LLMServer, client: AnthropicClient) -> None:
    usage = Usage(read=100, cached=60, stored=30, written=40, reasoned=25)
    reply = ask(server, client, Reply("Let me look.", CALLS, "Which layer?", usage))
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


def test_a_request_that_stands_alone_is_not_written_to_the_cache(
    server: LLMServer, client: AnthropicClient
) -> None:
    server.play(Reply("Yes."))
    client.generate(request_of(session=""))
    assert "cache_control" not in server.requests[0].text


def test_the_prefix_is_the_same_bytes_from_turn_to_turn(
    server: LLMServer, client: AnthropicClient
) -> None:
    server.play(Reply("Look.", CALLS, "think"), Reply("Again.", CALLS, "more"), Reply("Done."))
    first = client.generate(request_of())
    turns = answered(first, "budget 80 %")
    second = client.generate(request_of(*turns))
    client.generate(request_of(*turns, *answered(second)[1:]))
    texts = [request.text for request in server.requests]
    bodies = [request.body for request in server.requests]
    for earlier, later in zip(bodies, bodies[1:], strict=False):
        assert later["messages"][: len(earlier["messages"])] == earlier["messages"]
        assert (later["system"], later["tools"]) == (earlier["system"], earlier["tools"])
    messages = [text[text.index('"messages"') :].split("]}]")[0] for text in texts]
    assert messages[1].startswith(messages[0][:40]) and len(messages[1]) > len(messages[0])
    assert bodies[0]["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert bodies[0]["cache_control"]["ttl"] == "1h"
    # The server refuses a thinking block behind a changed prefix: the three answers are the proof.
    assert len(bodies) == 3


def test_a_changed_prefix_is_refused_by_the_server(
    server: LLMServer, client: AnthropicClient
) -> None:
    server.play(Reply("Look.", CALLS, "think"), Reply("never"))
    turns = answered(client.generate(request_of()))
    with pytest.raises(LLMError, match="bound to a different conversation"):
        client.generate(request_of(UserTurn(text="Something else."), *turns[1:]))


def test_results_stand_first_and_errors_are_marked(
    server: LLMServer, client: AnthropicClient
) -> None:
    server.play(Reply("", (Call("c1", "look", '{"layer": 3'), CALLS[1])), Reply("Done."))
    first = client.generate(request_of())
    assert "Expecting" in (first.turn.calls[0].parse_error or "")
    client.generate(request_of(*answered(first, "and now?")))
    content = server.requests[1].body["messages"][-1]["content"]
    assert [block["type"] for block in content] == ["tool_result", "tool_result", "text"]
    assert content[0]["is_error"] is True and "is_error" not in content[1]
    assert server.requests[1].body["messages"][1]["content"][0]["input"] == {}


def test_a_turn_from_elsewhere_is_written_anew(server: LLMServer, client: AnthropicClient) -> None:
    server.play(Reply("Done."))
    call = ToolCall(id="x", name="look", arguments={"layer": 1})
    other = AssistantTurn(text="Hm.", calls=(call,), api="openai.chat", said={"role": "assistant"})
    heard = UserTurn(answers=(ToolAnswer(call="x", name="look", text="ok"),))
    client.generate(request_of(OPENING, other, heard))
    assert server.requests[0].body["messages"][1]["content"] == [
        {"type": "text", "text": "Hm."},
        {"type": "tool_use", "id": "x", "name": "look", "input": {"layer": 1}},
    ]


def test_nothing_truncated_is_kept_as_a_call(server: LLMServer, client: AnthropicClient) -> None:
    cut = Reply("I", (Call("c1", "look", '{"layer": 3, "x": [1,'),), "hm", stop="max_tokens")
    server.play(cut, Reply("Done."))
    reply = client.generate(request_of())
    assert (reply.stop, reply.turn.calls) == ("max_tokens", ())
    client.generate(request_of(OPENING, reply.turn, UserTurn(text="You were cut off.")))
    kinds = [block["type"] for block in server.requests[1].body["messages"][1]["content"]]
    assert kinds == ["thinking", "text"]


def test_a_turn_of_nothing_but_a_truncated_call_can_be_sent_back(
    server: LLMServer, client: AnthropicClient
) -> None:
    server.play(Reply("", CALLS, stop="max_tokens"), Reply("Done."))
    reply = client.generate(request_of())
    client.generate(request_of(OPENING, reply.turn, UserTurn(text="You were cut off.")))
    assert server.requests[1].body["messages"][1]["content"]


def test_a_refusal_has_its_category(server: LLMServer, client: AnthropicClient) -> None:
    reply = ask(server, client, Reply("frontier_llm", stop="refusal"))
    assert (reply.stop, reply.detail, reply.turn.calls) == ("refusal", "frontier_llm", ())


def test_tools_stay_listed_when_no_call_may_be_made(
    server: LLMServer, client: AnthropicClient
) -> None:
    server.play(Reply("In words."))
    client.generate(request_of(may_call=False))
    body = server.requests[0].body
    assert body["tool_choice"] == {"type": "none"} and len(body["tools"]) == 1


@pytest.mark.parametrize(
    ("model", "thinks"),
    [("claude-opus-5-5", True), ("claude-sonnet-4-6", True), ("claude-haiku-4-5", False)],
)
def test_thinking_is_asked_of_models_that_can(
    server: LLMServer, client: AnthropicClient, model: str, thinks: bool
) -> None:
    server.play(Reply("Yes."))
    client.generate(request_of(model=model))
    wanted = {"type": "adaptive", "display": "summarized"}
    assert server.requests[0].body.get("thinking") == (wanted if thinks else None)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Error(529, type="overloaded_error"), "transient"),
        (Error(500), "transient"),
        (Error(503, html="<html>bad gateway</html>"), "transient"),
        (Error(502, html="<html>\n<body>bad gateway</body></html>"), "transient"),
        (Error(429, type="rate_limit_error", headers={"retry-after": "7"}), "rate"),
        (Error(429, type="rate_limit_error", code="contract_spend_limit_reached"), "quota"),
        (Error(402, type="billing_error"), "quota"),
        (Error(401, type="authentication_error"), "auth"),
        (Error(403, type="permission_error"), "auth"),
        (Error(400, type="invalid_request_error", message="prompt is too long: 9 > 8"), "context"),
        (Error(404, type="not_found_error", message="model: m"), "invalid"),
        (Error(413, type="request_too_large"), "invalid"),
        (Drop(), "transient"),
        (Broken("cut"), "transient"),
        (Broken("end"), "transient"),
        (Broken("end", after=0), "transient"),
        (Broken("end", after=9), "transient"),
        (Broken(Error(200, type="overloaded_error", message="Overloaded")), "transient"),
        (Broken(Error(200, type="api_error", message="Internal")), "transient"),
    ],
    ids=str,
)
def test_every_fault_ends_as_it_should(
    server: LLMServer, client: AnthropicClient, step: Step, kind: Kind
) -> None:
    error = failure(server, client, step)
    assert error.kind == kind
    if isinstance(step, Error) and step.headers:
        assert error.retry_after == 7


def test_a_silent_server_is_left(server: LLMServer) -> None:
    client = AnthropicClient(api_key="test", base_url=server.url, timeout=0.2)
    caught = failure(server, client, Broken("stall"))
    assert caught.kind == "transient" and "timed out" in str(caught)
    client.close()


@pytest.mark.parametrize("step", [Broken("trickle"), Raw(({"type": "ping"},) * 50)], ids=str)
def test_a_stream_that_never_ends_is_left_at_the_deadline(server: LLMServer, step: Step) -> None:
    clock: Callable[[], float] = itertools.count(0, 100).__next__
    address = server.url
    client = AnthropicClient("test", address, timeout=5.0, deadline=1800, clock=clock)
    caught = failure(server, client, step)
    # Comments keep a stream alive as well as events do, and make none.
    assert caught.kind == "transient" and "no whole answer within 1800 s" in str(caught)
    client.close()


def test_an_answer_that_is_blocked_is_a_refusal(server: LLMServer, client: AnthropicClient) -> None:
    blocked = "Output blocked by content filtering policy"
    reply = ask(server, client, Error(400, type="invalid_request_error", message=blocked))
    assert (reply.stop, reply.turn.text) == ("refusal", "") and blocked in reply.detail


def test_a_long_wait_is_told_and_not_slept(server: LLMServer, client: AnthropicClient) -> None:
    error = failure(server, client, Error(429, headers={"retry-after": "3600"}))
    assert error.retry_after == 3600 and error.kind == "rate" and error.status == 429


def test_the_key_goes_out_and_into_no_error(server: LLMServer, client: AnthropicClient) -> None:
    secret = "sk-ant-very-secret"
    other = AnthropicClient(api_key=secret, base_url=server.url, timeout=5.0)
    error = failure(server, other, Error(401, type="authentication_error", message="invalid key"))
    assert secret in json.dumps(server.requests[0].headers) and secret not in str(error)
    other.close()
