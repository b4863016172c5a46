"""Any model that Inspect reaches, asked from inside `inspect eval`; Inspect alone retries.

Our loop is no coroutine: it runs in a thread of anyio, and each request goes back into the event loop, so that
Inspect logs it, counts it and holds it to its limits like a request of its own.
"""

# pyright: reportMissingImports=false
# inspect-ai is an extra, and large: this module is imported when a model is called `inspect/...`.

from __future__ import annotations

import json
from typing import Any

import tenacity
from anyio import from_thread
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    get_model,
    get_model_info,
)
from inspect_ai.tool import ToolCall as InspectCall
from inspect_ai.tool import ToolCallError, ToolInfo, ToolParams
from inspect_ai.util import LimitExceededError

from agent.investigation import Spent, ToolCall
from agent.llm.conversation import (
    Api,
    AssistantTurn,
    Reply,
    Request,
    StopReason,
    ToolSpec,
    UserTurn,
    parsed_call,
)
from agent.llm.faults import CannotDo, LLMError, kind_of
from agent.llm.openai_wire import mended

API: Api = "inspect"
STOPS: dict[str, StopReason] = {
    "max_tokens": "max_tokens",
    "model_length": "context_full",
    "content_filter": "refusal",
}


def evaluated_name() -> str:
    """Return what the model that Inspect evaluates is called here: `inspect/PROVIDER/MODEL`.

    Raises `ValueError` where Inspect evaluates none.
    """
    return f"inspect/{get_model()}"


def model_named(name: str) -> Any:
    """Return Inspect's model of that name; the one under evaluation has the settings of its command line.

    Raises `LLMError` for one that Inspect cannot reach.
    """
    try:
        evaluated = get_model()
    except ValueError:
        evaluated = None
    if evaluated is not None and str(evaluated) == name:
        return evaluated
    try:
        return get_model(name)
    except Exception as error:
        raise LLMError("invalid", f"Inspect has no model {name}: {error}") from error


class InspectClient:
    """A model of Inspect's."""

    def __init__(self, model: Any) -> None:
        """Take a `Model`; raise `LLMError` outside a thread that Inspect's event loop waits for."""
        try:
            from_thread.check_cancelled()
        except RuntimeError:
            raise LLMError(
                "invalid", "a model called inspect/... answers only inside `inspect eval`"
            ) from None
        self.model = model

    def generate(self, request: Request) -> Reply:
        """Send a request and wait for the whole response; raise `LLMError`, or what ends Inspect's sample."""
        if request.sampling is not None:
            raise CannotDo("a model called inspect/... cannot be a subject")
        return from_thread.run(self._asked, request)

    async def _asked(self, request: Request) -> Reply:
        try:
            output = await self.model.generate(
                messages_of(request),
                tools=[_tool(spec) for spec in request.tools],
                tool_choice="auto" if request.may_call else "none",
                config=GenerateConfig(max_tokens=request.max_output_tokens),
            )
        except LimitExceededError:
            raise
        except Exception as error:
            raise fault_of(error, self.model) from error
        return reply_of(output, request)

    def context_window(self, model: str) -> int | None:
        """Return what Inspect's table of models says."""
        info = get_model_info(self.model)
        return info.context_length if info is not None else None

    def close(self) -> None:
        """Do nothing: the model is Inspect's."""


def messages_of(request: Request) -> list[Any]:
    """Return the conversation as Inspect's messages; what Inspect's model said goes back as it came."""
    messages: list[Any] = [ChatMessageSystem(content=request.system)] if request.system else []
    for turn in request.turns:
        messages += _heard(turn) if isinstance(turn, UserTurn) else [_said_again(turn)]
    for place, message in enumerate(messages):
        if request.session and message.role != "assistant":
            # The same in every request, so that Inspect's log keeps a message once.
            message.id = f"{request.session}-{place}"
    return messages


def _heard(turn: UserTurn) -> list[Any]:
    messages: list[Any] = [
        ChatMessageTool(
            content=answer.text,
            tool_call_id=answer.call,
            function=answer.name,
            error=ToolCallError("unknown", answer.text) if answer.is_error else None,
        )
        for answer in turn.answers
    ]
    return messages + ([ChatMessageUser(content=turn.text)] if turn.text else [])


def _said_again(turn: AssistantTurn) -> Any:
    if turn.api == API and isinstance(turn.said, dict):
        return ChatMessageAssistant.model_validate(turn.said)
    calls = [
        InspectCall(id=call.id, function=call.name, arguments=call.arguments) for call in turn.calls
    ]
    return ChatMessageAssistant(content=turn.text, tool_calls=calls or None)


def _tool(spec: ToolSpec) -> Any:
    """Return a tool as Inspect has it; words of JSON schema that it lacks are left out, and checked by the tool."""
    return ToolInfo(
        name=spec.name,
        description=spec.description,
        parameters=ToolParams.model_validate({"type": "object", **spec.parameters}),
    )


def reply_of(output: Any, request: Request) -> Reply:
    """Return Inspect's output as a reply; raise `LLMError` for one that holds nothing."""
    if output.empty:
        raise LLMError("transient", f"no answer: {output.error or 'no reason given'}")
    choice, message = output.choices[0], output.choices[0].message
    stop = STOPS.get(choice.stop_reason, "tool_calls" if message.tool_calls else "stop")
    if stop != "tool_calls":
        # Calls that are not whole are never answered, so they may not go back.
        message = message.model_copy(update={"tool_calls": None})
    said = mended(message.model_dump(mode="json", exclude={"tool_calls": {"__all__": {"view"}}}))
    calls = _read_calls(message, said)
    details = choice.stop_details
    why = (details.category or details.explanation) if details is not None else None
    return Reply(
        turn=AssistantTurn(text=mended(message.text), calls=calls, api=API, said=said),
        stop=stop,
        detail=why or output.error or choice.stop_reason,
        refusal=mended(message.text) if stop == "refusal" else "",
        thinking=mended(_thinking(message)),
        spent=_spent(output.usage),
        model=output.model or request.model,
        request_id=output.response_id,
    )


def _read_calls(message: Any, said: dict[str, Any]) -> tuple[ToolCall, ...]:
    """Read the calls of a message; of arguments that are refused nothing goes back."""
    calls: list[ToolCall] = []
    # As the model gave them: in JSON what is no number has become null.
    for call, told in zip(message.tool_calls or (), said["tool_calls"] or (), strict=True):
        if call.parse_error:
            fault = " ".join(call.parse_error.split())[:500]
            calls.append(ToolCall(id=call.id, name=call.function, parse_error=fault))
            continue
        calls.append(parsed_call(call.id, call.function, json.dumps(call.arguments)))
        if calls[-1].parse_error:
            told["arguments"] = {}
    return tuple(calls)


def _thinking(message: Any) -> str:
    """Return the readable part of the reasoning."""
    parts = [] if isinstance(message.content, str) else message.content
    blocks = [part for part in parts if part.type == "reasoning"]
    return "\n".join(part.summary or ("" if part.redacted else part.reasoning) for part in blocks)


def _spent(usage: Any) -> Spent:
    """Return the usage; Inspect counts as input what came from no cache and went to none."""
    if usage is None:
        return Spent()
    read, written = usage.input_tokens_cache_read or 0, usage.input_tokens_cache_write or 0
    return Spent(
        input_tokens=usage.input_tokens + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens or 0,
    )


def fault_of(error: Exception, model: Any) -> LLMError:
    """Return what a provider of Inspect's failed with, once Inspect has given up."""
    if isinstance(error, tenacity.RetryError):
        inner = error.last_attempt.exception()
        error = inner if isinstance(inner, Exception) else error
    # Inspect's own error holds the whole request in its text.
    told = getattr(error, "provider_message", None) or str(error)
    words = f"{type(error).__name__}: {told}"
    known = (getattr(error, name, None) for name in ("status_code", "code"))
    status = next((each for each in known if isinstance(each, int)), None)
    kind = kind_of(status, words)
    if kind == "invalid" and model.api.should_retry(error):
        kind = "transient"
    return LLMError(kind, words, status=status)
