"""Models that Inspect reaches, asked by its mock provider: what goes to it, what comes back, what fails how."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest

from agent.investigation import ToolCall
from agent.llm.conversation import (
    AssistantTurn,
    Reply,
    Request,
    Sampling,
    ToolAnswer,
    ToolSpec,
    UserTurn,
)
from agent.llm.faults import LLMError
from agent.llm.providers import PROVIDERS, is_model, make_client

needs_inspect = pytest.mark.skipif(find_spec("inspect_ai") is None, reason="needs inspect-ai")
TOOL = ToolSpec(
    name="weigh",
    description="Weigh a thing.",
    parameters={
        "properties": {"thing": {"type": "string", "minLength": 1}, "times": {"type": "integer"}},
        "required": ["thing"],
        "type": "object",
    },
)


def test_a_model_of_inspects_is_a_model_but_no_subject() -> None:
    assert is_model("inspect/google/gemini") and not is_model("inspect/")
    assert not is_model("inspect/google/gemini", PROVIDERS)


def test_its_address_and_key_are_inspects_matter() -> None:
    for where in (("http://127.0.0.1:9", None), (None, "SOME_KEY")):
        with pytest.raises(LLMError, match="is told to Inspect") as caught:
            make_client("inspect/mockllm/model", *where)
        assert caught.value.kind == "invalid"


def test_without_inspect_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.llm.providers.find_spec", lambda name: None)
    with pytest.raises(LLMError, match=r"pip install -e '.\[inspect\]'"):
        make_client("inspect/mockllm/model")


@needs_inspect
def test_outside_an_evaluation_it_does_not_answer() -> None:
    with pytest.raises(LLMError, match="only inside `inspect eval`"):
        make_client("inspect/mockllm/model")


def asked(request: Request, answer: Any) -> tuple[Reply, list[dict[str, Any]]]:
    """Ask from a thread, as the task does; return the reply and what the provider was given.

    `answer` is what it gives, or raises.
    """
    import anyio
    from inspect_ai.model import get_model

    from agent.llm.inspect_model import InspectClient

    seen: list[dict[str, Any]] = []

    def provider(messages: Any, tools: Any, choice: Any, config: Any) -> Any:
        seen.append({"messages": messages, "tools": tools, "choice": choice, "config": config})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def in_thread() -> Reply:
        return InspectClient(get_model("mockllm/model", custom_outputs=provider)).generate(request)

    async def main() -> Reply:
        return await anyio.to_thread.run_sync(in_thread)

    return anyio.run(main), seen


def output(content: Any, calls: Any = None, stop: str = "stop", **more: Any) -> Any:
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    details = more.pop("stop_details", None)
    message = ChatMessageAssistant(content=content, tool_calls=calls, model="mock-1")
    choice = ChatCompletionChoice(message=message, stop_reason=stop, stop_details=details)
    usage = ModelUsage(
        input_tokens=100,
        output_tokens=20,
        total_tokens=165,
        input_tokens_cache_read=40,
        input_tokens_cache_write=5,
        reasoning_tokens=7,
    )
    return ModelOutput(model="mock-1", choices=[choice], usage=usage, response_id="r1", **more)


def request(*turns: Any, **more: Any) -> Request:
    return Request(
        model="mockllm/model", system="Be exact.", tools=(TOOL,), turns=turns, session="s", **more
    )


@needs_inspect
def test_what_was_said_goes_back_as_it_came_with_its_reasoning() -> None:
    from inspect_ai.model import ContentReasoning, ContentText
    from inspect_ai.tool import ToolCall as InspectCall

    content = [
        ContentReasoning(reasoning="Stones are heavy.", signature="sealed"),
        ContentText(text="I weigh it."),
    ]
    call = InspectCall(id="c1", function="weigh", arguments={"thing": "stone", "times": None})
    first, seen = asked(request(UserTurn(text="Go.")), output(content, [call], "tool_calls"))
    assert [(each.role, each.text) for each in seen[0]["messages"]] == [
        ("system", "Be exact."),
        ("user", "Go."),
    ]
    (tool,) = seen[0]["tools"]
    told = tool.parameters.model_dump(exclude_none=True)
    assert (tool.name, told["required"]) == ("weigh", ["thing"])
    assert told["properties"]["thing"] == {"type": "string", "minLength": 1}
    assert seen[0]["choice"] == "auto" and seen[0]["config"].max_tokens == 16_000
    assert first.turn.calls == (
        ToolCall(id="c1", name="weigh", arguments={"thing": "stone", "times": None}),
    )
    assert (first.turn.text, first.thinking) == ("I weigh it.", "Stones are heavy.")
    assert (first.stop, first.model, first.request_id) == ("tool_calls", "mock-1", "r1")
    spent = first.spent
    assert (spent.input_tokens, spent.cache_read_tokens, spent.cache_write_tokens) == (145, 40, 5)
    assert (spent.output_tokens, spent.reasoning_tokens) == (20, 7)

    # Through the log, as a resumed run has it.
    turn = AssistantTurn.model_validate_json(first.turn.model_dump_json())
    again = UserTurn(
        answers=(
            ToolAnswer(call="c1", name="weigh", text="3 kg"),
            ToolAnswer(call="c2", name="weigh", text="no such thing", is_error=True),
        ),
        text="And now?",
    )
    whole = request(UserTurn(text="Go."), turn, again, may_call=False)
    reply, after = asked(whole, output("3 kg."))
    messages = after[0]["messages"]
    assert messages[2].content == content and messages[2].tool_calls == [call]
    assert [each.id for each in messages[:2]] == [each.id for each in seen[0]["messages"]]
    assert [(each.role, each.tool_call_id, each.text) for each in messages[3:5]] == [
        ("tool", "c1", "3 kg"),
        ("tool", "c2", "no such thing"),
    ]
    assert messages[3].error is None and messages[4].error.message == "no such thing"
    assert (messages[5].role, messages[5].text) == ("user", "And now?")
    assert after[0]["choice"] == "none"
    assert reply.stop == "stop" and reply.turn.calls == ()


@needs_inspect
def test_a_turn_from_elsewhere_is_written_anew() -> None:
    call = ToolCall(id="c1", name="weigh", arguments={"thing": "stone"})
    turn = AssistantTurn(text="I weigh.", calls=(call,), api="openai.chat", said={"role": "x"})
    answer = UserTurn(answers=(ToolAnswer(call="c1", name="weigh", text="3 kg"),))
    _, seen = asked(request(UserTurn(text="Go."), turn, answer), output("Yes."))
    message = seen[0]["messages"][2]
    assert message.text == "I weigh." and message.tool_calls[0].arguments == {"thing": "stone"}


@needs_inspect
def test_faulty_calls_are_told_to_the_model_and_calls_of_a_cut_turn_do_not_go_back() -> None:
    from inspect_ai.tool import ToolCall as InspectCall

    calls = [
        InspectCall(id="c1", function="weigh", arguments={}, parse_error="no JSON:\n{thing"),
        InspectCall(id="c2", function="weigh", arguments={"thing": float("nan")}),
    ]
    go = request(UserTurn(text="Go."))
    reply, _ = asked(go, output("", calls, "tool_calls"))
    faults = [each.parse_error for each in reply.turn.calls]
    assert faults[0] == "no JSON: {thing" and "NaN" in (faults[1] or "")
    json.dumps(reply.turn.said, allow_nan=False)
    cut, _ = asked(go, output("I", calls[:1], "max_tokens"))
    assert cut.stop == "max_tokens" and cut.turn.calls == ()
    assert cut.turn.said["tool_calls"] is None


@needs_inspect
def test_refusals_and_a_full_window_are_outcomes() -> None:
    from inspect_ai.model import StopDetails

    go = request(UserTurn(text="Go."))
    why = StopDetails(category="cyber", explanation="No.")
    reply, _ = asked(go, output("I will not.", stop="content_filter", stop_details=why))
    assert (reply.stop, reply.detail, reply.refusal) == ("refusal", "cyber", "I will not.")
    full, _ = asked(go, output("too long", stop="model_length"))
    assert full.stop == "context_full"


class StatusError(Exception):
    def __init__(self, status_code: int, words: str) -> None:
        super().__init__(words)
        self.status_code = status_code


@needs_inspect
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StatusError(401, "who are you"), "auth"),
        (StatusError(400, "prompt is too long"), "context"),
        (StatusError(529, "overloaded"), "transient"),
        (StatusError(402, "pay"), "quota"),
        (ValueError("nonsense"), "invalid"),
    ],
)
def test_what_inspect_gives_up_on_is_told_by_kind(error: Exception, kind: str) -> None:
    with pytest.raises(LLMError) as caught:
        asked(request(UserTurn(text="Go.")), error)
    assert caught.value.kind == kind and type(error).__name__ in str(caught.value)


@needs_inspect
def test_a_limit_of_inspects_sample_stays_what_it_is() -> None:
    from inspect_ai.util import LimitExceededError

    with pytest.raises(LimitExceededError):
        asked(request(UserTurn(text="Go.")), LimitExceededError("token", value=2, limit=1))


@needs_inspect
def test_nothing_said_is_no_reply_and_a_subject_it_cannot_be() -> None:
    from inspect_ai.model import ModelOutput, ModelUsage

    with pytest.raises(LLMError, match="no answer: blocked"):
        asked(
            request(UserTurn(text="Go.")),
            ModelOutput(model="m", choices=[], usage=ModelUsage(), error="blocked"),
        )
    with pytest.raises(LLMError, match="cannot be a subject"):
        asked(request(UserTurn(text="Go."), sampling=Sampling(seed=1)), output("Yes."))
