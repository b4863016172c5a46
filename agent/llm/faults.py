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


class LLMError(Exception):
    """A request that failed, in one line."""

    who = "the investigating model"

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
