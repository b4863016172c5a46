"""What can go wrong with a provider, by what can be done about it."""

from __future__ import annotations

from typing import Literal

Kind = Literal["transient", "rate", "auth", "quota", "context", "invalid"]
"""`transient` and `rate` are worth another try; `quota` is a spend or usage limit that waiting does not
lift; `context`: the conversation is longer than the model's window; `invalid`: the request is wrong."""
RETRIED: frozenset[Kind] = frozenset({"transient", "rate"})

QUOTA_WORDS = ("quota", "spend", "billing", "credit", "budget", "insufficient_funds")
CONTEXT_WORDS = (
    "prompt is too long",
    "context length",
    "context_length",
    "context window",
    "maximum context",
    "context size",
    "context_size",
    "maximum model length",
    "too many tokens",
    "input is too long",
)
TRANSIENT_TYPES = (
    "overloaded",
    "api_error",
    "server_error",
    "internal",
    "timeout",
    "unavailable",
    "rate_limit",
)


POLICY_CODES = (
    "invalid_prompt",
    "bio_policy",
    "misalignment_policy_violation",
    "content_policy_violation",
    "content_filter",
)
"""Codes of OpenAI and of gateways under which a request fails because the provider will not answer."""
NO_FORCED_START = (
    "behind this API an answer cannot be made to begin with given words: ask for them in the user's "
    "turn, or serve an open model with vLLM"
)
TOO_LARGE = "request too large"
"""How OpenAI's 429 begins when one request alone is above the limit of tokens a minute."""


class LLMError(Exception):
    """A request that failed, in one line."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(" ".join(message.split())[:500])
        self.kind: Kind = kind
        self.status = status
        self.retry_after = retry_after
        """Seconds to wait, if the provider named them."""
        self.request_id = request_id
        self.whose = "the investigating model"
        """Whose provider failed, in words for a terminal."""


class PolicyRefusal(LLMError):
    """The provider will not answer this request: an outcome, which adapters return as a reply."""


class CannotDo(LLMError):
    """The protocol has no words for what a request asks; nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid", message)


def ended_early(request_id: str | None) -> LLMError:
    """Return the error of a stream without its last event: the SDKs end silently then."""
    return LLMError("transient", "the stream ended early", request_id=request_id)


def kind_of(status: int | None, words: str) -> Kind:
    """Classify a failure by its HTTP status, or its lack, and by the words of type, code and message.

    A stream may fail under status 200: then the words alone decide.
    """
    lowered = words.casefold()
    if status in (401, 403):
        return "auth"
    if status in (None, 200, 429) and TOO_LARGE in lowered:
        # No wait makes it smaller; only a shorter conversation goes through.
        return "context"
    if status == 402 or (status == 429 and any(word in lowered for word in QUOTA_WORDS)):
        return "quota"
    if any(word in lowered for word in CONTEXT_WORDS) and status in (None, 200, 400, 413, 422, 500):
        return "context"
    if status == 429:
        return "rate"
    if status in (408, 409) or (status is not None and status >= 500):
        return "transient"
    if status in (None, 200):
        if any(word in lowered for word in QUOTA_WORDS):
            return "quota"
        return "transient" if any(word in lowered for word in TRANSIENT_TYPES) else "invalid"
    return "invalid"


def seconds_of(headers: dict[str, str]) -> float | None:
    """Return the wait that response headers ask for: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    from email.utils import parsedate_to_datetime
    from time import time

    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time())
        except (TypeError, ValueError):
            return None
