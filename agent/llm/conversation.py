"""What is said to an investigating model and by it, in no provider's words.

A conversation only ever grows: providers bind a model's reasoning to the exact text before it, so a
turn that was said is sent back as it came (`AssistantTurn.said`), byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Protocol

from pydantic import Field

from agent.investigation import Spent, ToolCall
from tools.experiment import canonical_json
from tools.registry import Record

Api = Literal["anthropic.messages", "openai.responses", "openai.chat", "inspect"]
StopReason = Literal["stop", "tool_calls", "max_tokens", "context_full", "refusal", "pause", "cut"]
"""Why a turn ended. `context_full`: the window is used up; `pause`: send back unchanged and go on;
`cut`: the stream ended early, nothing in the turn may be executed."""


class ToolSpec(Record):
    """A tool as a model sees it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of the arguments."""


class ToolAnswer(Record):
    """The result of one call, as text."""

    call: str
    name: str
    text: str
    is_error: bool = False


class UserTurn(Record):
    """What the model reads next: the results of all calls of its last turn, then words."""

    role: Literal["user"] = "user"
    answers: tuple[ToolAnswer, ...] = ()
    text: str = ""


class AssistantTurn(Record):
    """What the model said; `said` is the provider's own form of it, kept verbatim."""

    role: Literal["assistant"] = "assistant"
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    api: Api | None = None
    said: Any = None
    """Sent back to the same API as it is; a turn from elsewhere is written anew from text and calls."""


class Sampling(Record):
    """How an answer is drawn; None leaves it to the provider. Only subjects are asked like this."""

    temperature: float | None = Field(default=None, ge=0)
    seed: int | None = Field(default=None, ge=0)
    """Left out where a protocol has no seed."""
    thinking: bool | None = None
    forced_start: str = ""
    """Words that the answer is made to begin with; they are not part of the reply."""


class Request(Record):
    """One request: the whole conversation so far."""

    model: str
    system: str
    tools: tuple[ToolSpec, ...] = ()
    turns: tuple[UserTurn | AssistantTurn, ...] = Field(min_length=1)
    may_call: bool = True
    """False: answer in words; the tools stay listed, since taking them away would change the prefix."""
    max_output_tokens: int = Field(default=16_000, ge=1)
    session: str = ""
    """Names the conversation to the provider's cache; empty for a request that stands alone."""
    sampling: Sampling | None = None

    def key(self) -> str:
        """Return the SHA-256 of the request in canonical form; the session's name does not count."""
        # Without sampling the key is what it was before there was any, for cassettes on file.
        unsaid = {"session"} if self.sampling else {"session", "sampling"}
        content = self.model_dump(mode="json", exclude=unsaid)
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()


class Reply(Record):
    """One response."""

    turn: AssistantTurn
    stop: StopReason
    detail: str = ""
    """The provider's own reason, the category of a refusal."""
    refusal: str = ""
    """The model's own words of refusal, where the protocol keeps them apart from the text."""
    thinking: str = ""
    """The readable part of its reasoning, for the transcript; never sent back from here."""
    spent: Spent
    model: str
    request_id: str | None = None


def declined(why: str, model: str, request_id: str | None) -> Reply:
    """Return the reply of a provider that will not answer a request at all."""
    return Reply(
        turn=AssistantTurn(),
        stop="refusal",
        detail=why,
        spent=Spent(),
        model=model,
        request_id=request_id,
    )


class Client(Protocol):
    """One provider's API. A call is one attempt: retries belong to `agent.llm.retrying` alone."""

    def generate(self, request: Request) -> Reply:
        """Send a request and read the whole response; raise `LLMError`."""
        ...

    def context_window(self, model: str) -> int | None:
        """Return how many tokens input and output may have together, or None where nobody knows."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


MOST_ARGUMENTS = 200_000
"""Characters; a longer call is answered and not executed."""
MOST_DEPTH = 40


def parsed_call(identity: str, name: str, raw: str) -> ToolCall:
    """Return a call from its raw arguments; a fault in them is noted for the model to read."""

    def refused(why: str) -> ToolCall:
        return ToolCall(id=identity, name=name, parse_error=f"{why}: {raw[:300]!a}")

    if len(raw) > MOST_ARGUMENTS:
        digest = hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return refused(f"{len(raw)} characters (sha256 {digest}...) are more than {MOST_ARGUMENTS}")
    try:
        arguments = json.loads(raw, parse_constant=no_number)
        json.dumps(arguments, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return refused(str(error))
    if not isinstance(arguments, dict):
        return refused("not an object")
    if deeper_than(arguments, MOST_DEPTH):
        return refused(f"nested more than {MOST_DEPTH} deep")
    return ToolCall(id=identity, name=name, arguments=arguments)


def deeper_than(value: Any, depth: int) -> bool:
    """Say whether lists and objects are nested more than `depth` deep."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(deeper_than(each, depth - 1) for each in inner)


def no_number(name: str) -> float:
    """Refuse NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{name} is no JSON number")
