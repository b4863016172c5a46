"""What servers of OpenAI's protocols do that the protocols do not say, and the server of these tests itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from agent.investigation import Spent, ToolCall
from agent.llm.conversation import AssistantTurn, Request, ToolAnswer, UserTurn
from agent.llm.conversation import Reply as LLMReply
from agent.llm.faults import Kind, LLMError
from agent.llm.openai_chat import ChatClient
from agent.llm.openai_responses import ResponsesClient
from tests.llm_server import Broken, Call, Error, LLMServer, Raw, Reply, Step, forget_environment
from tests.openai_dialects import ChatDialect, ResponsesDialect, chat_chunk

OPENING = UserTurn(text="What is wrong with it?")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    with LLMServer(ChatDialect(), ResponsesDialect()) as running:
        yield running


@pytest.fixture
def chat(server: LLMServer) -> ChatClient:
    return ChatClient(base_url=f"{server.url}/v1", timeout=5.0)


@pytest.fixture
def responses(server: LLMServer) -> ResponsesClient:
    return ResponsesClient(base_url=f"{server.url}/v1", timeout=5.0)


def ask(
    server: LLMServer,
    client: ChatClient | ResponsesClient,
    step: Step,
    *turns: UserTurn | AssistantTurn,
) -> LLMReply:
    server.play(step)
    return client.generate(Request(model="m", system="", turns=turns or (OPENING,)))


def chunks(*deltas: dict[str, Any], finish: str = "stop") -> Raw:
    return Raw((*map(chat_chunk, deltas), chat_chunk({}, finish)))


def piece(arguments: str, **more: Any) -> dict[str, Any]:
    """Return a delta with a piece of a call of `look`, or of an unnamed one."""
    name = {"name": more.pop("name")} if "name" in more else {}
    return {"tool_calls": [{**more, "function": {**name, "arguments": arguments}}]}


WHOLE = [("a", {"layer": 1}), ("b", {"layer": 2})]
PIECES = {
    "numbered": [
        piece('{"layer"', index=0, id="a", name="look"),
        piece('{"layer"', index=1, id="b", name="look"),
        piece(": 1}", index=0),
        piece(": 2}", index=1),
    ],
    "without numbers": [
        piece('{"layer": ', index=None, id="a", name="look"),
        piece("1}", index=None),
        piece('{"layer": 2}', index=None, id="b", name="look"),
    ],
    "all of number 0": [
        piece('{"layer": 1}', index=0, id="a", name="look"),
        piece('{"layer": 2}', index=0, id="b", name="look"),
    ],
    "named in every piece": [
        piece('{"layer": ', index=0, id="a", name="look"),
        piece("1}", index=0, id="a", name="look"),
        piece('{"layer": ', id="b", name="look"),
        piece("2}", id="b", name="look"),
    ],
}


@pytest.mark.parametrize("form", PIECES)
@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_calls_are_put_together(
    server: LLMServer, chat: ChatClient, form: str, finish: str
) -> None:
    reply = ask(server, chat, chunks(*PIECES[form], finish=finish))
    assert [(call.id, call.arguments) for call in reply.turn.calls] == WHOLE
    assert {call.name for call in reply.turn.calls} == {"look"}
    assert reply.stop == "tool_calls"


@pytest.mark.parametrize("numbers", [(0, 1), (None, None)])
def test_calls_without_ids_get_the_same_ones_again_and_no_others(
    server: LLMServer, chat: ChatClient, numbers: tuple[int | None, ...]
) -> None:
    nameless = chunks(*(piece("{}", index=number, name="look") for number in numbers))
    first, again = (ask(server, chat, nameless).turn for _ in range(2))
    assert first == again
    answers = tuple(ToolAnswer(call=c.id, name=c.name, text="ok") for c in first.calls)
    later = ask(server, chat, nameless, OPENING, first, UserTurn(answers=answers)).turn
    assert len({call.id for call in (*first.calls, *later.calls)}) == 4


def test_no_arguments_at_all_are_an_empty_object(server: LLMServer, chat: ChatClient) -> None:
    turn = ask(server, chat, chunks(piece("", index=0, id="a", name="look"))).turn
    assert turn.calls == (ToolCall(id="a", name="look"),)
    assert turn.calls[0].parse_error is None
    answer = ToolAnswer(call="a", name="look", text="ok")
    ask(server, chat, Reply("Good."), OPENING, turn, UserTurn(answers=(answer,)))


def test_calls_without_words_go_back_without_content(server: LLMServer, chat: ChatClient) -> None:
    turn = ask(server, chat, Reply(calls=(Call("a", "look", "{}"),))).turn
    answer = ToolAnswer(call="a", name="look", text="ok")
    ask(server, chat, Reply("Good."), OPENING, turn, UserTurn(answers=(answer,)))
    assert server.requests[1].body["messages"][1]["content"] is None


def test_usage_may_be_missing(server: LLMServer, chat: ChatClient) -> None:
    assert ask(server, chat, chunks({"content": "Yes."})).spent == Spent()


TEXT = {"type": "reasoning.text", "index": 0}
SEALED = [{"type": "reasoning.encrypted", "index": 1, "data": data} for data in ("X", "Y")]


@pytest.mark.parametrize(
    ("deltas", "replayed"),
    [
        (
            [{"reasoning_content": "So "}, {"reasoning_content": "so."}],
            {"reasoning_content": "So so."},
        ),
        ([{"reasoning": "So "}, {"reasoning": "so."}], {"reasoning": "So so."}),
        (
            [
                {"reasoning_details": [{**TEXT, "text": "So ", "signature": None}]},
                {"reasoning_details": [{**TEXT, "text": "so."}]},
                {"reasoning_details": [{**TEXT, "signature": "signed"}]},
                {"reasoning_details": [{**TEXT, "text": "", "signature": None}]},
                {"reasoning_details": SEALED},
            ],
            {"reasoning_details": [{**TEXT, "text": "So so.", "signature": "signed"}, *SEALED]},
        ),
    ],
    ids=["reasoning_content", "reasoning", "reasoning_details"],
)
def test_reasoning_goes_back_under_the_key_it_came_under(
    server: LLMServer,
    chat: ChatClient,
    deltas: list[dict[str, Any]],
    replayed: dict[str, Any],
) -> None:
    reply = ask(server, chat, chunks(*deltas, {"content": "Yes."}))
    assert reply.thinking == "So so."
    ask(server, chat, Reply("Good."), OPENING, reply.turn, UserTurn(text="Sure?"))
    sent = server.requests[1].body["messages"][1]
    assert sent == {"role": "assistant", "content": "Yes.", **replayed}


def test_a_server_that_gives_up_is_worth_another_try(server: LLMServer, chat: ChatClient) -> None:
    with pytest.raises(LLMError) as caught:
        ask(server, chat, chunks({"content": "Half"}, finish="error"))
    assert caught.value.kind == "transient"


def test_a_character_cut_in_two_is_joined_and_half_a_one_replaced(
    server: LLMServer, chat: ChatClient, responses: ResponsesClient
) -> None:
    halves = chunks({"content": "a \ud83c"}, {"content": "\udf0a and \udf0a"})
    turn = ask(server, chat, halves).turn
    assert turn.text == "a 🌊 and \ufffd"
    ask(server, chat, Reply("Good."), OPENING, turn, UserTurn(text="Sure?"))
    assert ask(server, responses, Reply("half \ud83c")).turn.text == "half \ufffd"


def finished(status: str, **fields: Any) -> Raw:
    response = {"status": status, "output": [], "model": "m-1", **fields}
    return Raw(({"type": f"response.{status}", "response": response},))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "server_error", "message": "sorry"}, "transient"),
        ({"code": "rate_limit_exceeded", "message": "sorry"}, "transient"),
        ({"code": "image_too_large", "message": "sorry"}, "invalid"),
        (None, "transient"),
    ],
)
def test_a_failed_response_is_an_error(
    server: LLMServer, responses: ResponsesClient, error: dict[str, str] | None, kind: Kind
) -> None:
    with pytest.raises(LLMError) as caught:
        ask(server, responses, finished("failed", error=error))
    assert (caught.value.kind, caught.value.request_id) == (kind, "req_1")


def test_a_response_failed_over_a_policy_is_a_refusal(
    server: LLMServer, responses: ResponsesClient
) -> None:
    error = {"code": "bio_policy", "message": "not this"}
    reply = ask(server, responses, finished("failed", error=error))
    assert (reply.stop, reply.detail) == ("refusal", "bio_policy: not this")


def test_a_response_that_is_incomplete_for_any_other_reason_is_cut(
    server: LLMServer, responses: ResponsesClient
) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    words = {"type": "message", "role": "assistant", "content": []}
    details = {"reason": "steered"}
    step = finished("incomplete", incomplete_details=details, output=[call, words])
    reply = ask(server, responses, step)
    assert (reply.stop, reply.detail, reply.turn.calls) == ("cut", "steered", ())
    ask(server, responses, Reply("Good."), OPENING, reply.turn, UserTurn(text="Go on."))


def test_the_sdk_is_loaded_by_a_client_only() -> None:
    code = """
import sys, agent.llm.openai_chat, agent.llm.openai_responses
sys.exit("openai" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


CALLING = AssistantTurn(calls=(ToolCall(id="c1", name="look"),))
ANSWER = ToolAnswer(call="c1", name="look", text="ok")
UNSENDABLE: dict[str, tuple[UserTurn | AssistantTurn, ...]] = {
    "a call without an answer": (OPENING, CALLING, UserTurn(text="Go on.")),
    "an answer without a call": (OPENING, UserTurn(answers=(ANSWER,))),
}


@pytest.mark.parametrize("turns", UNSENDABLE.values(), ids=UNSENDABLE)
@pytest.mark.parametrize("adapter", [ChatClient, ResponsesClient])
def test_this_server_refuses_what_providers_refuse(
    server: LLMServer,
    adapter: type[ChatClient | ResponsesClient],
    turns: tuple[UserTurn | AssistantTurn, ...],
) -> None:
    client = adapter(api_key="test", base_url=f"{server.url}/v1")
    with pytest.raises(LLMError, match="c1|preceding") as caught:
        ask(server, client, Reply("Fine."), *turns)
    assert (caught.value.kind, caught.value.status) == ("invalid", 400)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (ChatDialect(), {"messages": [], "stream": True, "temperature": 0}),
        (ChatDialect(), {"messages": [{"role": "assistant", "content": None}], "stream": True}),
        (ResponsesDialect(), {"input": [{}], "stream": True, "store": False, "temperature": 0}),
        (ResponsesDialect(), {"input": [{}], "stream": True}),
        (
            ResponsesDialect(),
            {
                "input": [{"type": "reasoning", "id": "rs", "encrypted_content": "X"}],
                "stream": True,
                "store": False,
            },
        ),
    ],
)
def test_this_server_refuses_bodies_that_providers_refuse(
    dialect: ChatDialect | ResponsesDialect, body: dict[str, Any]
) -> None:
    fault = dialect.fault({"authorization": "Bearer test"}, body)
    assert fault is not None and fault.status == 400


def test_calls_in_a_script_are_told_apart(server: LLMServer, responses: ResponsesClient) -> None:
    step = Reply(calls=(Call("c1", "look", "{}"), Call("c2", "look", "{}")))
    assert [call.id for call in ask(server, responses, step).turn.calls] == ["c1", "c2"]


POLICIES = ["invalid_prompt", "content_policy_violation", "content_filter"]


@pytest.mark.parametrize("adapter", [ChatClient, ResponsesClient])
@pytest.mark.parametrize("code", POLICIES)
@pytest.mark.parametrize("in_stream", [False, True])
def test_a_refusal_by_policy_is_an_outcome_too(
    server: LLMServer, adapter: type[ChatClient | ResponsesClient], code: str, in_stream: bool
) -> None:
    error = Error(400, code, "invalid_request_error", "flagged as against our policy")
    client = adapter(base_url=f"{server.url}/v1", timeout=5.0)
    reply = ask(server, client, Broken(error) if in_stream else error)
    assert (reply.stop, reply.turn.text, reply.turn.calls) == ("refusal", "", ())
    assert reply.detail == f"{code}: flagged as against our policy"
