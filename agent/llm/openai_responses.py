"""OpenAI's Responses API, stateless: nothing is stored there, and every request holds the whole conversation."""

from __future__ import annotations

import json
from typing import Any

from agent.investigation import ToolCall
from agent.llm.conversation import (
    Api,
    AssistantTurn,
    Reply,
    Request,
    Sampling,
    StopReason,
    UserTurn,
    declined,
    parsed_call,
)
from agent.llm.faults import NO_FORCED_START, POLICY_CODES, CannotDo, PolicyRefusal, ended_early
from agent.llm.openai_wire import (
    OpenAIConnection,
    answer_text,
    asked,
    fault_of,
    mended,
    spent_of,
)

API: Api = "openai.responses"
OFF = {"effort": "none"}
LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")
FEWEST_TOKENS = 16
"""A smaller limit is refused; an answer may then be some tokens longer than was asked."""
STOPS: dict[str, StopReason] = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}


class ResponsesClient(OpenAIConnection):
    """OpenAI itself, or a server that has its Responses API."""

    def generate(self, request: Request) -> Reply:
        """Send a request and read the whole response; raise `LLMError`."""
        try:
            return self._response(request)
        except PolicyRefusal as refusal:
            return declined(str(refusal), request.model, refusal.request_id)

    def _response(self, request: Request) -> Reply:
        with asked(self.sdk.responses.create, _body(request)) as (events, request_id):
            for event in events:
                sort = event.pop("type", None)
                if sort == "error":
                    raise fault_of(event, request_id=request_id)
                if sort in LAST_EVENTS:
                    status = sort.removeprefix("response.")
                    response = {"status": status, **(event.get("response") or {})}
                    return _reply(response, request, request_id)
        raise ended_early(request_id)


def _body(request: Request) -> dict[str, Any]:
    """Return the request in the API's words; the input of the next one begins with this one's."""
    body: dict[str, Any] = {
        "model": request.model,
        "input": [item for turn in request.turns for item in _items(turn)],
        "max_output_tokens": max(request.max_output_tokens, FEWEST_TOKENS),
        "store": False,
        # Without it reasoning comes back as a bare name that the server has forgotten by then.
        "include": ["reasoning.encrypted_content"],
    }
    if request.system:
        body["instructions"] = request.system
    if request.session:
        body["prompt_cache_key"] = request.session
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": False,
            }
            for tool in request.tools
        ]
        body["tool_choice"] = "auto" if request.may_call else "none"
        body["parallel_tool_calls"] = True
    if request.sampling is not None:
        body |= _sampled(request.sampling)
    return body


def _sampled(wanted: Sampling) -> dict[str, Any]:
    """Return how the answer is drawn; reasoning models refuse a temperature, and nobody takes a seed."""
    if wanted.forced_start:
        raise CannotDo(NO_FORCED_START)
    more: dict[str, Any] = {}
    if wanted.temperature not in (None, 1):
        more["temperature"] = wanted.temperature
    if wanted.thinking is not None:
        more["reasoning"] = {"effort": "medium", "summary": "auto"} if wanted.thinking else OFF
    return more


def _items(turn: UserTurn | AssistantTurn) -> list[Any]:
    """Return a turn as input items; one that this API said goes back as it came."""
    if isinstance(turn, UserTurn):
        items: list[Any] = [
            {
                "type": "function_call_output",
                "call_id": answer.call,
                "output": answer_text(answer),
            }
            for answer in turn.answers
        ]
        return items + _words("user", turn.text)
    if turn.api == API and isinstance(turn.said, list):
        return list(turn.said)
    return _words("assistant", turn.text) + [
        {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(call.arguments, ensure_ascii=False),
        }
        for call in turn.calls
    ]


def _words(role: str, text: str) -> list[Any]:
    return [{"role": role, "content": text}] if text else []


def _reply(response: dict[str, Any], request: Request, request_id: str | None) -> Reply:
    """Return what a finished response says, or raise what it failed of."""
    output: list[dict[str, Any]] = mended(response.get("output") or [])
    calls = tuple(_call(item) for item in output if item.get("type") == "function_call")
    refusal = _parts(output, "message", "content", "refusal")
    stop, detail = _stop(response, bool(calls), refusal, request_id)
    whole = stop in ("stop", "tool_calls")
    text = _parts(output, "message", "content", "text")
    said = output if whole else _without_calls(output)
    return Reply(
        turn=AssistantTurn(text=text, calls=calls if whole else (), api=API, said=said),
        stop=stop,
        detail=detail,
        refusal=refusal,
        thinking=_parts(output, "reasoning", "summary", "text")
        or _parts(output, "reasoning", "content", "text"),
        spent=spent_of(response.get("usage"), "input", "output"),
        model=response.get("model") or request.model,
        request_id=request_id,
    )


def _stop(
    response: dict[str, Any], calls: bool, refusal: str, request_id: str | None
) -> tuple[StopReason, str]:
    """Return why a response ended and in whose words; raise if it failed."""
    if response.get("status") == "failed":
        error: dict[str, Any] = response.get("error") or {}
        if error.get("code") not in POLICY_CODES:
            raise fault_of(error, request_id=request_id)
        return "refusal", f"{error['code']}: {error.get('message') or ''}"
    if refusal:
        return "refusal", refusal
    if response.get("status") == "incomplete":
        reason = (response.get("incomplete_details") or {}).get("reason") or "incomplete"
        return STOPS.get(reason, "cut"), reason
    return ("tool_calls" if calls else "stop"), response.get("status") or ""


def _without_calls(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what of an unfinished turn may be sent back.

    Its calls get no answer, and the API refuses a call without one; it also refuses reasoning without
    the item that came of it.
    """
    ends = [number for number, item in enumerate(output, 1) if item.get("type") == "message"]
    kept = output[: ends[-1]] if ends else []
    return [item for item in kept if item.get("type") != "function_call"]


def _call(item: dict[str, Any]) -> ToolCall:
    identity, name, arguments = (item.get(key) or "" for key in ("call_id", "name", "arguments"))
    return parsed_call(identity, name, arguments or "{}")


def _parts(output: list[dict[str, Any]], sort: str, field: str, key: str) -> str:
    """Return the texts under `key` in the parts of all items of a sort; the items stay paragraphs."""
    texts = (
        "".join(part.get(key) or "" for part in item.get(field) or ())
        for item in output
        if item.get("type") == sort
    )
    return "\n\n".join(text for text in texts if text)
