"""Anthropic's Messages protocol for the loopback server, with the refusals that keep tests honest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.llm_server import Error, Event, Reply

STOPS = {"max_tokens": "max_tokens", "content_filter": "refusal", "refusal": "refusal"}
VERSION = "2026-10-21"


class MessagesDialect:
    """`POST /v1/messages`, streamed."""

    path = "/v1/messages"
    ending = b""

    def fault(self, headers: Mapping[str, str], body: dict[str, Any]) -> Error | None:
        """Refuse what the API refuses; a signature whose prefix has changed above all."""
        told = next(self.faults(headers, body), None)
        if told is None:
            return None
        return Error(400, type="invalid_request_error", message=told)

    def faults(self, headers: Mapping[str, str], body: dict[str, Any]) -> Iterator[str]:
        """Yield what is wrong with a request."""
        if headers.get("anthropic-version") != VERSION:
            yield f"anthropic-version: {headers.get('anthropic-version')}"
        for name in ("temperature", "top_p", "top_k"):
            if name in body:
                yield f"{name}: not permitted"
        if body.get("tool_choice", {}).get("type") in ("any", "tool"):
            yield "tool_choice: forced tool use is not supported"
        if json.dumps(body).count('"cache_control"') > 4:
            yield "cache_control: at most 4"
        yield from self.misplaced(body["messages"])
        for number, message in enumerate(body["messages"]):
            for block in blocks_of(message):
                if block["type"] == "thinking" and block["signature"] != signature(body, number):
                    yield "The block is bound to a different conversation"

    def misplaced(self, messages: list[dict[str, Any]]) -> Iterator[str]:
        """Yield calls without results, results without calls, results behind words, an image in an error."""
        open_calls: set[str] = set()
        for message in messages:
            blocks = blocks_of(message)
            if not blocks:
                yield "messages: content is empty"
            results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            if set(results) != open_calls:
                yield f"tool_use ids {sorted(open_calls)} were answered by {results}"
            kinds = [block["type"] for block in blocks]
            if "tool_result" in kinds[kinds.index("text") :] if "text" in kinds else False:
                yield "tool_result blocks must come first"
            open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
        if open_calls:
            yield "the last tool_use has no result"

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """Return the events of an answer, its usage split as the API splits it."""
        usage = reply.usage
        read = {
            "input_tokens": usage.read - usage.cached - usage.stored,
            "cache_read_input_tokens": usage.cached,
            "cache_creation_input_tokens": usage.stored,
        }
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m-1",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**read, "output_tokens": 1},
        }
        found: list[Event] = [{"type": "message_start", "message": message}, {"type": "ping"}]
        for index, (block, deltas) in enumerate(content_of(reply, body)):
            found.append({"type": "content_block_start", "index": index, "content_block": block})
            found += [
                {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
            ]
            found.append({"type": "content_block_stop", "index": index})
        stop = STOPS.get(reply.stop) or ("tool_use" if reply.calls else "end_turn")
        ended: dict[str, Any] = {"stop_reason": stop, "stop_sequence": None}
        if stop == "refusal":
            ended["stop_details"] = {"type": "refusal", "category": reply.text or "cyber"}
        written = {
            "output_tokens": usage.written,
            "output_tokens_details": {"thinking_tokens": usage.reasoned},
        }
        return [
            *found,
            {"type": "message_delta", "delta": ended, "usage": written},
            {"type": "message_stop"},
        ]

    def frame(self, event: Event | str) -> bytes:
        """Return an event as it is on the wire; one without its name would be skipped in silence."""
        if isinstance(event, str):
            return f"data: {event}\n\n".encode()
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def error_body(self, error: Error) -> Event:
        """Return the JSON body of an error response."""
        told: dict[str, Any] = {"type": error.type or "api_error", "message": error.message}
        if error.code is not None:
            told["details"] = {"error_code": error.code}
        return {"type": "error", "error": told, "request_id": "req_1"}

    def error_event(self, error: Error) -> Event:
        """Return the event of an error in a stream."""
        return self.error_body(error)


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a message's content as blocks."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def signature(body: dict[str, Any], number: int) -> str:
    """Return what a thinking block of message `number` is bound to: everything that stands before it."""
    before = [body.get("system"), body.get("tools"), body["messages"][:number]]
    return hashlib.sha256(json.dumps(before).encode()).hexdigest()[:12]


def content_of(
    reply: Reply, body: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each content block as it starts, with its deltas."""
    if reply.reasoning:
        signed = signature(body, len(body["messages"]))
        yield (
            {"type": "thinking", "thinking": "", "signature": ""},
            [
                {"type": "thinking_delta", "thinking": reply.reasoning},
                {"type": "signature_delta", "signature": signed},
            ],
        )
    if reply.text and reply.stop != "refusal":
        half = len(reply.text) // 2
        parts = (reply.text[:half], reply.text[half:])
        yield (
            {"type": "text", "text": ""},
            [{"type": "text_delta", "text": part} for part in parts],
        )
    for call in reply.calls:
        third = len(call.arguments) // 3
        pieces = ("", call.arguments[:third], call.arguments[third:])
        yield (
            {"type": "tool_use", "id": call.id, "name": call.name, "input": {}},
            [{"type": "input_json_delta", "partial_json": piece} for piece in pieces],
        )
