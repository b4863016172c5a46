"""Claude, over the Messages API: raw stream events, adaptive thinking, prompt caching for an hour.

The SDK's own retries are off (`agent.llm.retrying` is the one layer), and its stream helper is not used:
it hides malformed tool arguments, and completes truncated ones to something that looks valid.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agent.investigation import Spent, ToolCall
from agent.llm.conversation import (
    AssistantTurn,
    Reply,
    Request,
    Sampling,
    StopReason,
    UserTurn,
    declined,
    parsed_call,
)
from agent.llm.deadline import deadline_hooks
from agent.llm.faults import (
    NO_FORCED_START,
    CannotDo,
    LLMError,
    PolicyRefusal,
    ended_early,
    kind_of,
    seconds_of,
)
from agent.llm.keys import may_have_key, usual_key

STOPS: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "context_full",
    "pause_turn": "pause",
    "refusal": "refusal",
}
CACHE = {"type": "ephemeral", "ttl": "1h"}
"""Tools on a model may run longer than the five minutes of the default."""
WITHOUT_ADAPTIVE = re.compile(r"claude-(3|2|instant|opus-4-[0-5]|sonnet-4-[0-5]|haiku-4-[0-5])")
"""Models from before adaptive thinking, where the provider does not tell."""
ADAPTIVE = {"type": "adaptive", "display": "summarized"}
BLOCKED = "content filtering policy"
"""How the provider says in a 400 that it keeps an answer to itself."""


class AnthropicClient:
    """The Messages API."""

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 600.0,
        deadline: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` seconds may pass between two chunks, `deadline` seconds for a whole response.

        Without a key the SDK looks for credentials itself, but only where they may be sent.
        """
        import anthropic
        import httpx2

        self.sdk, self.http = anthropic, httpx2
        self.models: dict[str, Any] = {}
        stranger = not may_have_key("anthropic", base_url)
        key = api_key or usual_key("anthropic", base_url) or ("none" if stranger else None)
        try:
            self.client = anthropic.Anthropic(
                api_key=key,
                base_url=base_url,
                max_retries=0,
                http_client=anthropic.DefaultHttpxClient(
                    event_hooks=deadline_hooks(clock, deadline)
                ),
                timeout=httpx2.Timeout(timeout, connect=10.0),
            )
        except anthropic.AnthropicError as error:
            raise no_key(str(error)) from None
        given = (self.client.api_key, self.client.auth_token, self.client.credentials)
        if not any(given):
            # The SDK would say so at the first request, when minutes of work are done.
            raise no_key("")

    def generate(self, request: Request) -> Reply:
        """Send a request and read the whole response; raise `LLMError`."""
        try:
            stream = self.client.messages.create(**self.body(request), stream=True)
            with stream:
                return read_stream(stream, stream.response.headers.get("request-id"))
        except LLMError:
            raise
        except TypeError as error:
            # How the SDK says that it has found no credentials.
            if "authentication" in str(error):
                raise no_key(str(error)) from None
            raise
        except (self.sdk.APIError, self.http.HTTPError) as error:
            told = self.told(error)
            if isinstance(told, PolicyRefusal):
                return declined(str(told), request.model, told.request_id)
            raise told from None

    def body(self, request: Request) -> dict[str, Any]:
        """Return the parameters of the call. A turn's bytes depend on that turn alone."""
        # Writing to the cache costs: not for a request that no other one begins with.
        cached = {"cache_control": CACHE} if request.session else {}
        body: dict[str, Any] = {"model": request.model, "max_tokens": request.max_output_tokens}
        if request.system:
            body["system"] = [{"type": "text", "text": request.system, **cached}]
        body["messages"] = [message_of(turn) for turn in request.turns]
        body |= cached
        if request.tools:
            body["tools"] = [
                {"name": t.name, "description": t.description, "input_schema": t.parameters}
                for t in request.tools
            ]
            body["tool_choice"] = {"type": "auto" if request.may_call else "none"}
        if request.sampling is not None:
            add_sampling(body, request.sampling)
        elif self.thinks(request.model):
            body["thinking"] = ADAPTIVE
        return body

    def told(self, error: Any) -> LLMError:
        """Return an error of the SDK or of the connection as ours."""
        if not isinstance(error, self.sdk.APIStatusError):
            return LLMError("transient", f"{type(error).__name__}: {error}"[:300])
        words = f"{error.type} {error.error_code} {error.api_message or error}"
        if error.status_code in (200, 400) and BLOCKED in words.casefold():
            return PolicyRefusal("invalid", words, request_id=error.request_id)
        return LLMError(
            kind_of(error.status_code, words),
            f"{error.status_code} {error.type or ''}: {error.api_message or error}"[:500],
            status=error.status_code,
            retry_after=seconds_of(dict(error.response.headers)),
            request_id=error.request_id,
        )

    def about(self, model: str) -> Any:
        """Return what the provider says of a model, asked once; None where it does not say."""
        if model not in self.models:
            try:
                self.models[model] = self.client.models.retrieve(model)
            except (self.sdk.APIError, self.http.HTTPError, TypeError):
                self.models[model] = None
        return self.models[model]

    def thinks(self, model: str) -> bool:
        """Say whether adaptive thinking can be asked of a model."""
        capabilities = getattr(self.about(model), "capabilities", None)
        types = getattr(getattr(capabilities, "thinking", None), "types", None)
        adaptive = getattr(types, "adaptive", None)
        if adaptive is not None:
            return bool(getattr(adaptive, "supported", adaptive))
        return WITHOUT_ADAPTIVE.match(model) is None

    def context_window(self, model: str) -> int | None:
        """Return the input tokens a model takes, as the provider says."""
        found = getattr(self.about(model), "max_input_tokens", None)
        return int(found) if found else None

    def close(self) -> None:
        """Close connections."""
        self.client.close()


def add_sampling(body: dict[str, Any], wanted: Sampling) -> None:
    """Add how the answer is drawn; the API has no seed, and refuses any temperature but its own."""
    if wanted.thinking is not None:
        body["thinking"] = ADAPTIVE if wanted.thinking else {"type": "disabled"}
    if wanted.temperature not in (None, 1):
        # The SDK has no word for it; the API's own refusal is told.
        body["extra_body"] = {"temperature": wanted.temperature}
    if wanted.forced_start:
        if WITHOUT_ADAPTIVE.match(body["model"]) is None:
            raise CannotDo(NO_FORCED_START)
        start = {"type": "text", "text": wanted.forced_start}
        body["messages"].append({"role": "assistant", "content": [start]})


def no_key(words: str) -> LLMError:
    """Return the error for missing credentials."""
    told = f" ({words[:120]})" if words else ""
    return LLMError("auth", f"no credentials for Anthropic: set ANTHROPIC_API_KEY{told}")


def message_of(turn: UserTurn | AssistantTurn) -> dict[str, Any]:
    """Return a turn as a message; results of calls stand before words, as the API wants it."""
    if isinstance(turn, AssistantTurn):
        if turn.api == "anthropic.messages":
            return {"role": "assistant", "content": turn.said}
        blocks: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
        blocks += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
            for call in turn.calls
        ]
        return {"role": "assistant", "content": blocks}
    content: list[dict[str, Any]] = [
        {
            "type": "tool_result",
            "tool_use_id": answer.call,
            "content": answer.text,
            **({"is_error": True} if answer.is_error else {}),
        }
        for answer in turn.answers
    ]
    if turn.text:
        content.append({"type": "text", "text": turn.text})
    return {"role": "user", "content": content}


class Block:
    """A content block while it is streamed."""

    def __init__(self, started: Any) -> None:
        self.content: dict[str, Any] = started.to_dict(mode="json")
        self.arguments: list[str] = []

    def add(self, delta: Any) -> None:
        """Append one delta."""
        match delta.type:
            case "text_delta":
                self.content["text"] = self.content.get("text", "") + delta.text
            case "thinking_delta":
                self.content["thinking"] = self.content.get("thinking", "") + delta.thinking
            case "signature_delta":
                self.content["signature"] = self.content.get("signature", "") + delta.signature
            case "input_json_delta":
                self.arguments.append(delta.partial_json)
            case _:
                # Citations and whatever comes later: not text of ours, and never asked for.
                pass

    def call(self) -> ToolCall:
        """Return the finished call; what the API is shown of it again is always an object."""
        call = parsed_call(
            self.content["id"], self.content["name"], "".join(self.arguments) or "{}"
        )
        self.content["input"] = call.arguments
        return call


def read_stream(events: Iterator[Any], request_id: str | None) -> Reply:
    """Return the response that raw events add up to; raise `LLMError` when they end too early."""
    blocks: dict[int, Block] = {}
    usage: dict[str, Any] = {}
    model = raw_stop = detail = ""
    ended = False
    for event in events:
        match event.type:
            case "message_start":
                model = event.message.model
                usage |= told_usage(event.message.usage)
            case "content_block_start":
                blocks[event.index] = Block(event.content_block)
            case "content_block_delta":
                blocks[event.index].add(event.delta)
            case "message_delta":
                raw_stop = event.delta.stop_reason or ""
                detail = category_of(event.delta)
                usage |= told_usage(event.usage)
            case "message_stop":
                ended = True
            case _:
                pass
    if not ended or not raw_stop:
        raise ended_early(request_id)
    ordered = [blocks[index] for index in sorted(blocks)]
    return reply_of(ordered, raw_stop, detail, spent_of(usage), model, request_id)


def reply_of(
    blocks: Sequence[Block],
    raw_stop: str,
    detail: str,
    spent: Spent,
    model: str,
    request_id: str | None,
) -> Reply:
    """Return a finished response. Of a truncated one no call is kept, not even to be sent back."""
    stop = STOPS.get(raw_stop, "cut")
    uses = [block for block in blocks if block.content["type"] == "tool_use"]
    whole = stop in ("tool_calls", "stop", "pause")
    calls = tuple(block.call() for block in uses) if whole else ()
    kept = [block.content for block in blocks if whole or block not in uses]
    text = "".join(block["text"] for block in kept if block["type"] == "text")
    if not any(block["type"] in ("text", "tool_use") for block in kept):
        kept.append({"type": "text", "text": f"({raw_stop})"})
    turn = AssistantTurn(text=text, calls=calls, api="anthropic.messages", said=kept)
    thinking = "\n".join(b.get("thinking", "") for b in kept if b["type"] == "thinking")
    return Reply(
        turn=turn,
        stop=stop,
        detail=detail or raw_stop,
        thinking=thinking,
        spent=spent,
        model=model,
        request_id=request_id,
    )


def category_of(delta: Any) -> str:
    """Return the category of a refusal, if one is given."""
    details = getattr(delta, "stop_details", None)
    return str(getattr(details, "category", None) or "") if details is not None else ""


def told_usage(usage: Any) -> dict[str, Any]:
    """Return the counts that a usage record names; later ones are cumulative and overwrite."""
    return {name: value for name, value in usage.to_dict().items() if value is not None}


def spent_of(usage: dict[str, Any]) -> Spent:
    """Return the usage counted our way: here the provider leaves cached tokens out of the input."""
    read = int(usage.get("cache_read_input_tokens", 0))
    written = int(usage.get("cache_creation_input_tokens", 0))
    details = usage.get("output_tokens_details") or {}
    return Spent(
        input_tokens=int(usage.get("input_tokens", 0)) + read + written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=int(usage.get("output_tokens", 0)),
        reasoning_tokens=int(details.get("thinking_tokens") or 0),
    )
