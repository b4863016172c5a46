"""Chat Completions, the protocol of most servers: vLLM, Ollama, llama.cpp, OpenRouter, and OpenAI's older models."""

from __future__ import annotations

import json
from dataclasses import dataclass
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
from agent.llm.faults import NO_FORCED_START, CannotDo, LLMError, PolicyRefusal, ended_early
from agent.llm.openai_wire import (
    OpenAIConnection,
    answer_text,
    asked,
    mended,
    spent_of,
)

API: Api = "openai.chat"
REASONING = ("reasoning_content", "reasoning")
"""Where servers put readable reasoning; `reasoning_details` is OpenRouter's list of blocks."""
GROWING = ("text", "summary")
"""Fields of such a block that arrive in pieces; encrypted `data` comes whole."""
STOPS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "refusal"}
BROKEN = ("error", "abort")
"""How a server says that it gave up in the middle."""


class ChatClient(OpenAIConnection):
    """Any server that has Chat Completions."""

    def generate(self, request: Request) -> Reply:
        """Send a request and read the whole response; raise `LLMError`."""
        answer = _Answer()
        body = _body(request, official=self.official)
        try:
            with asked(self.sdk.chat.completions.create, body) as (chunks, request_id):
                for chunk in chunks:
                    answer.add(chunk)
        except PolicyRefusal as refusal:
            return declined(str(refusal), request.model, refusal.request_id)
        return answer.reply(request, request_id)


def _body(request: Request, *, official: bool) -> dict[str, Any]:
    """Return the request in the protocol's words; the next one's messages begin with this one's."""
    messages = [message for turn in request.turns for message in _messages(turn)]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    # OpenAI refuses the older name for its reasoning models, many other servers know no other.
    limit = "max_completion_tokens" if official else "max_tokens"
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        limit: request.max_output_tokens,
        "stream_options": {"include_usage": True},
    }
    if official and request.session:
        body["prompt_cache_key"] = request.session
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in request.tools
        ]
        body["tool_choice"] = "auto" if request.may_call else "none"
        body["parallel_tool_calls"] = True
    if request.sampling is not None:
        (_sampled_officially if official else _sampled)(body, request.sampling)
    return body


def _sampled(body: dict[str, Any], wanted: Sampling) -> None:
    """Add how the answer is drawn, in the words of vLLM, which other servers share or pass over."""
    if wanted.temperature is not None:
        body["temperature"] = wanted.temperature
    if wanted.seed is not None:
        body["seed"] = wanted.seed
    more: dict[str, Any] = {}
    if wanted.thinking is not None:
        more["chat_template_kwargs"] = {"enable_thinking": wanted.thinking}
    if wanted.forced_start:
        body["messages"].append({"role": "assistant", "content": wanted.forced_start})
        more |= {"continue_final_message": True, "add_generation_prompt": False}
    if more:
        body["extra_body"] = more


def _sampled_officially(body: dict[str, Any], wanted: Sampling) -> None:
    """Add how the answer is drawn by OpenAI, whose reasoning models refuse most of it."""
    if wanted.forced_start:
        raise CannotDo(NO_FORCED_START)
    if wanted.temperature not in (None, 1):
        body["temperature"] = wanted.temperature
    if wanted.thinking is not None:
        body["reasoning_effort"] = "medium" if wanted.thinking else "none"


def _messages(turn: UserTurn | AssistantTurn) -> list[Any]:
    """Return a turn as messages; one that this protocol said goes back as it came."""
    if isinstance(turn, UserTurn):
        messages: list[Any] = [
            {"role": "tool", "tool_call_id": answer.call, "content": answer_text(answer)}
            for answer in turn.answers
        ]
        return messages + ([{"role": "user", "content": turn.text}] if turn.text else [])
    if turn.api == API and isinstance(turn.said, dict):
        return [turn.said]
    pieces = [
        _Piece(call.id, call.name, json.dumps(call.arguments, ensure_ascii=False))
        for call in turn.calls
    ]
    return [_message(turn.text, pieces)]


@dataclass
class _Piece:
    """A call, as far as it has arrived."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    index: int | None = None


def _message(text: str, calls: list[_Piece], **more: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, **more}
    if calls:
        message["content"] = text or None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    return message


class _Answer:
    """What the chunks of one answer add up to."""

    def __init__(self) -> None:
        self.text = self.refusal = self.finish = self.model = ""
        self.reasoning: dict[str, str] = {}
        self.details: list[dict[str, Any]] = []
        self.calls: list[_Piece] = []
        self.usage: dict[str, Any] | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Add a chunk; the last one has usage and no choices."""
        self.usage = chunk.get("usage") or self.usage
        self.model = chunk.get("model") or self.model
        for choice in chunk.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish
            delta: dict[str, Any] = choice.get("delta") or {}
            self.text += delta.get("content") or ""
            self.refusal += delta.get("refusal") or ""
            for key in REASONING:
                if delta.get(key):
                    self.reasoning[key] = self.reasoning.get(key, "") + delta[key]
            for detail in delta.get("reasoning_details") or ():
                self._add_detail(detail)
            for piece in delta.get("tool_calls") or ():
                self._add_piece(piece)

    def _add_detail(self, detail: dict[str, Any]) -> None:
        """Add to the last block if it is the same one: blocks go back as they would have come whole."""
        last = self.details[-1] if self.details else {}
        if "data" in detail or any(last.get(key) != detail.get(key) for key in ("type", "index")):
            self.details.append(dict(detail))
            return
        for key, value in detail.items():
            if key in GROWING:
                last[key] = (last.get(key) or "") + (value or "")
            elif value is not None:
                last[key] = value

    def _add_piece(self, piece: dict[str, Any]) -> None:
        function: dict[str, Any] = piece.get("function") or {}
        identity, name = piece.get("id") or "", function.get("name") or ""
        call = self._open_call(piece.get("index"), identity, name)
        # Some servers repeat both in every piece.
        call.id, call.name = call.id or identity, call.name or name
        call.arguments += function.get("arguments") or ""

    def _open_call(self, index: int | None, identity: str, name: str) -> _Piece:
        """Return the call that a piece belongs to; some servers number no call, or all of them 0."""
        same = [call for call in self.calls if call.index == index][-1:]
        for call in same:
            other = identity and call.id and identity != call.id
            unnumbered = index is None and name and not (identity and identity == call.id)
            if not other and not unnumbered:
                return call
        self.calls.append(_Piece(index=index))
        return self.calls[-1]

    def reply(self, request: Request, request_id: str | None) -> Reply:
        """Return the whole answer; raise `LLMError` if it is not whole."""
        if not self.finish:
            raise ended_early(request_id)
        if self.finish in BROKEN:
            words = f"the server gave up in the middle: {self.finish}"
            raise LLMError("transient", words, request_id=request_id)
        stop = STOPS.get(self.finish, "tool_calls" if self.calls else "stop")
        if self.refusal:
            stop = "refusal"
        said = self._said(request, with_calls=stop == "tool_calls")
        calls = _read_calls(said)
        text = said["content"] or ""
        return Reply(
            turn=AssistantTurn(text=text, calls=calls, api=API, said=said),
            stop=stop,
            detail=mended(self.refusal) or self.finish,
            refusal=mended(self.refusal),
            thinking=self._thinking(said),
            spent=spent_of(self.usage, "prompt", "completion"),
            model=self.model or request.model,
            request_id=request_id,
        )

    def _said(self, request: Request, *, with_calls: bool) -> dict[str, Any]:
        """Return the message to send back: without calls that are not whole, as nothing answers them."""
        for number, call in enumerate(self.calls):
            # A place in the conversation, so that the same conversation gives the same name.
            call.id = call.id or f"call_{len(request.turns)}_{number}"
        more: dict[str, Any] = dict(self.reasoning)
        if self.details:
            more["reasoning_details"] = self.details
        return mended(_message(self.text, self.calls if with_calls else [], **more))

    def _thinking(self, said: dict[str, Any]) -> str:
        written = [said[key] for key in REASONING if said.get(key)]
        blocks = [
            block.get("text") or block.get("summary") or ""
            for block in said.get("reasoning_details") or ()
        ]
        return written[0] if written else "".join(blocks)


def _read_calls(said: dict[str, Any]) -> tuple[ToolCall, ...]:
    """Read the calls of a message, and put `{}` for arguments that crash a server's chat template."""
    calls: list[ToolCall] = []
    for item in said.get("tool_calls") or ():
        function = item["function"]
        # No text at all is what some servers send for a tool without arguments.
        if not function["arguments"].strip():
            function["arguments"] = "{}"
        calls.append(parsed_call(item["id"], function["name"], function["arguments"]))
        if calls[-1].parse_error:
            function["arguments"] = "{}"
    return tuple(calls)
