"""OpenAI's two protocols for the loopback server: what they send, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from tests.llm_server import Error, Event, Reply, Usage


class _OpenAI:
    """What OpenAI's two protocols share; `fault` is what makes a test of a request's form honest."""

    def fault(self, headers: Mapping[str, str], body: dict[str, Any]) -> Error | None:
        if not headers.get("authorization", "").startswith("Bearer "):
            return Error(401, "invalid_api_key")
        message = next(chain(self.shared_faults(body), self.faults(body)), None)
        return Error(400, type="invalid_request_error", message=message) if message else None

    def shared_faults(self, body: dict[str, Any]) -> Iterator[str]:
        if "temperature" in body:
            yield "Unsupported parameter: 'temperature'"
        if body.get("stream") is not True:
            yield "this server only streams"
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in body and not body.get("tools"):
                yield f"'{name}' is only allowed when 'tools' are specified"

    def faults(self, body: dict[str, Any]) -> Iterator[str]:
        raise NotImplementedError

    def error_body(self, error: Error) -> Event:
        told = {"message": error.message, "type": error.type, "param": None, "code": error.code}
        return {"error": told}


class ChatDialect(_OpenAI):
    """Chat Completions."""

    path = "/v1/chat/completions"
    ending = b"data: [DONE]\n\n"

    def faults(self, body: dict[str, Any]) -> Iterator[str]:
        waiting: list[str] = []
        messages: list[Event] = [*body["messages"], {"role": "end"}]
        for message in messages:
            if message["role"] == "tool":
                if message["tool_call_id"] not in waiting:
                    yield "a 'tool' message must answer a preceding 'tool_calls'"
                waiting = [name for name in waiting if name != message["tool_call_id"]]
                continue
            if waiting:
                yield f"tool_call_ids without a response: {waiting}"
            calls: list[Event] = message.get("tool_calls") or []
            waiting = [call["id"] for call in calls]
            for call in calls:
                # The chat templates of open models index into them.
                if not _is_object(call["function"]["arguments"]):
                    yield "Can only get item pairs from a mapping."
            if message["role"] == "assistant" and not calls and message.get("content") is None:
                yield "an assistant message needs content or tool_calls"

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        deltas: list[Event] = [{"role": "assistant", "content": ""}]
        if reply.reasoning:
            deltas.append({"reasoning_content": reply.reasoning})
        words = "refusal" if reply.stop == "refusal" else "content"
        deltas += [{words: piece} for piece in _pieces(reply.text)]
        for index, call in enumerate(reply.calls):
            named = {"id": call.id, "type": "function", "function": {"name": call.name}}
            deltas.append({"tool_calls": [{"index": index, **named}]})
            for piece in _pieces(call.arguments):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        ends = {"max_tokens": "length", "content_filter": "content_filter", "refusal": "stop"}
        finish = ends.get(reply.stop, "tool_calls" if reply.calls else "stop")
        chunks = [chat_chunk(delta) for delta in deltas] + [chat_chunk({}, finish)]
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append({**chat_chunk({}), "choices": [], "usage": self._usage(reply.usage)})
        return chunks

    def _usage(self, usage: Usage) -> Event:
        return {
            "prompt_tokens": usage.read,
            "prompt_tokens_details": {
                "cached_tokens": usage.cached,
                "cache_write_tokens": usage.stored,
            },
            "completion_tokens": usage.written,
            "completion_tokens_details": {"reasoning_tokens": usage.reasoned},
        }

    def frame(self, event: Event | str) -> bytes:
        return f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()

    def error_event(self, error: Error) -> Event:
        return self.error_body(error)


class VllmDialect(ChatDialect):
    """Chat Completions as vLLM has it: it takes sampling parameters, and an answer's forced beginning."""

    def shared_faults(self, body: dict[str, Any]) -> Iterator[str]:
        plain = {name: value for name, value in body.items() if name != "temperature"}
        yield from super().shared_faults(plain)
        continued = body["messages"][-1]["role"] == "assistant"
        if continued != body.get("continue_final_message", False):
            yield "continue_final_message goes with a trailing assistant message, and only with one"
        if continued and body.get("add_generation_prompt", True):
            yield "Cannot set both `continue_final_message` and `add_generation_prompt`"


def chat_chunk(delta: Event, finish: str | None = None) -> Event:
    """Return a chunk of Chat Completions."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chat_1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice]}


class ResponsesDialect(_OpenAI):
    """The Responses API."""

    path = "/v1/responses"
    ending = b""

    def faults(self, body: dict[str, Any]) -> Iterator[str]:
        items = body["input"]
        if not items or body.get("store") is not False:
            yield "this server stores nothing"
        called = [item["call_id"] for item in items if item.get("type") == "function_call"]
        answered = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
        for name in called:
            if name not in answered:
                yield f"No tool output found for function call {name}."
        for name in answered:
            if name not in called:
                yield f"No tool call found for function call output with call_id {name}."
        for item, following in zip(items, [*items[1:], {}], strict=True):
            if item.get("type") == "reasoning":
                if not item.get("encrypted_content"):
                    yield f"Item with id '{item['id']}' not found. Items are not persisted."
                if following.get("type") not in ("reasoning", "message", "function_call"):
                    yield f"Item '{item['id']}' was provided without its required following item."

    def output(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """Return the items of an answer; their ids differ from turn to turn."""
        turn, items = len(body["input"]), []
        whole = "incomplete" if reply.stop in ("max_tokens", "content_filter") else "completed"
        if reply.reasoning:
            summary = [{"type": "summary_text", "text": reply.reasoning}]
            items.append({"id": f"rs_{turn}", "type": "reasoning", "summary": summary})
            if "reasoning.encrypted_content" in body.get("include", ()):
                items[-1]["encrypted_content"] = f"sealed {turn}"
        if reply.text:
            part = {"type": "output_text", "annotations": [], "text": reply.text}
            if reply.stop == "refusal":
                part = {"type": "refusal", "refusal": reply.text}
            message = {"type": "message", "role": "assistant", "status": whole, "content": [part]}
            items.append({"id": f"msg_{turn}", **message, "field_of_tomorrow": None})
        for number, call in enumerate(reply.calls):
            named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
            items.append({"id": f"fc_{turn}_{number}", "type": "function_call", **named})
        return items

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        items = self.output(reply, body)
        reasons = {"max_tokens": "max_output_tokens", "content_filter": "content_filter"}
        reason = reasons.get(reply.stop)
        status = "incomplete" if reason else "completed"
        last: Event = {"id": "resp_1", "model": "m-1", "status": status, "output": items}
        last["incomplete_details"] = {"reason": reason} if reason else None
        last["usage"] = self._usage(reply.usage)
        events: list[Event] = [{"type": "response.created", "response": {"output": []}}]
        for index, item in enumerate(items):
            for step in ("added", "done"):
                events.append(
                    {"type": f"response.output_item.{step}", "output_index": index, "item": item}
                )
        events.append({"type": f"response.{status}", "response": last})
        return [{**event, "sequence_number": number} for number, event in enumerate(events)]

    def _usage(self, usage: Usage) -> Event:
        return {
            "input_tokens": usage.read,
            "input_tokens_details": {
                "cached_tokens": usage.cached,
                "cache_write_tokens": usage.stored,
            },
            "output_tokens": usage.written,
            "output_tokens_details": {"reasoning_tokens": usage.reasoned},
        }

    def frame(self, event: Event | str) -> bytes:
        if isinstance(event, str):
            return f"event: response.created\ndata: {event}\n\n".encode()
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def error_event(self, error: Error) -> Event:
        return {"type": "error", "code": error.code, "message": error.message, "param": None}


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _pieces(text: str) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]
