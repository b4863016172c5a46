"""What OpenAI's two protocols share: the connection, how a failure is told, usage."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.investigation import Spent
from agent.llm.conversation import ToolAnswer
from agent.llm.deadline import deadline_hooks
from agent.llm.faults import (
    POLICY_CODES,
    TOO_LARGE,
    LLMError,
    PolicyRefusal,
    kind_of,
    seconds_of,
)
from agent.llm.keys import address_of, is_own, usual_key

if TYPE_CHECKING:
    import openai

CONNECT_SECONDS = 10.0


class OpenAIConnection:
    """The SDK's client under this project's rules: no retries of its own, and an end to every attempt."""

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
        deadline: float = 1800.0,
    ) -> None:
        """Open no connection yet; raise `LLMError` without a key.

        Args:
            api_key: OPENAI_API_KEY by default, where that may be sent; a server of one's own may need none.
            base_url: with its `/v1`; OPENAI_BASE_URL or OpenAI itself by default.
            timeout: the longest silence of the server, in seconds.
            clock: the deadline's clock, in seconds.
            deadline: the longest time of one attempt, however steadily its bytes arrive.
        """
        self.address = address_of("openai", base_url)
        key = api_key or usual_key("openai", base_url) or ("none" if not self.official else None)
        if key is None:
            raise LLMError(
                "auth", "no API key for OpenAI: set the environment variable OPENAI_API_KEY"
            )
        # Imported here: it takes seconds, and most commands talk to no model.
        import httpx2
        import openai

        with translated():
            self.sdk = openai.OpenAI(
                api_key=key,
                base_url=self.address,
                timeout=httpx2.Timeout(timeout, connect=CONNECT_SECONDS),
                max_retries=0,
                http_client=openai.DefaultHttpxClient(event_hooks=deadline_hooks(clock, deadline)),
            )

    @property
    def official(self) -> bool:
        """Whether this is OpenAI itself and not a server that speaks its protocol."""
        return is_own("openai", self.address)

    def context_window(self, model: str) -> int | None:
        """Return None: neither protocol tells."""
        return None

    def close(self) -> None:
        """Close connections."""
        self.sdk.close()


@contextmanager
def asked(
    create: Callable[..., openai.Stream[Any]], body: dict[str, Any]
) -> Generator[tuple[Iterator[dict[str, Any]], str | None]]:
    """Send a request; give the events of its answer as they come and the provider's name for it."""
    with translated():
        stream = create(**body, stream=True)
    with stream:
        request_id = stream.response.headers.get("x-request-id")
        yield _told(stream, request_id), request_id


def _told(stream: openai.Stream[Any], request_id: str | None) -> Iterator[dict[str, Any]]:
    """Read events as plain JSON: servers leave out fields that the SDK's types require."""
    with translated(request_id):
        for event in stream:
            if not hasattr(event, "to_dict"):
                raise LLMError("transient", "the stream holds an event that is no JSON object")
            yield event.to_dict(warnings=False)


@contextmanager
def translated(request_id: str | None = None) -> Generator[None]:
    """Turn every failure of the SDK and of the HTTP library beneath it into an `LLMError`."""
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise fault_of(
            error.body or error.message,
            status=error.status_code,
            retry_after=seconds_of(dict(error.response.headers)),
            request_id=error.request_id,
        ) from error
    except openai.APIConnectionError as error:
        cause = error.__cause__
        # An address without its http:// fails the same way, but no other try mends it.
        kind = "invalid" if isinstance(cause, httpx2.UnsupportedProtocol) else "transient"
        words = f"{error.message} {cause or ''}"
        raise LLMError(kind, words, request_id=request_id) from error
    except openai.APIError as error:
        raise fault_of(error.body or error.message, request_id=request_id) from error
    except (openai.OpenAIError, httpx2.InvalidURL) as error:
        raise LLMError("invalid", str(error), request_id=request_id) from error
    except (
        httpx2.HTTPError,
        httpx2.StreamError,
        json.JSONDecodeError,
        UnicodeDecodeError,
    ) as error:
        words = f"{type(error).__name__}: {error}"
        raise LLMError("transient", words, request_id=request_id) from error


def fault_of(
    reported: object,
    *,
    status: int | None = None,
    retry_after: float | None = None,
    request_id: str | None = None,
) -> LLMError:
    """Return the error that a server reported: as {"type", "code", "message"}, or as some text.

    A stream fails under status 200, and then some servers give the status as the code.
    """
    about = reported if isinstance(reported, dict) else {}
    code, sort = str(about.get("code") or ""), str(about.get("type") or "")
    message = str(about.get("message") or about.get("detail") or reported or "no reason given")
    if status is None and code.isdigit() and 400 <= int(code) < 600:
        status = int(code)
    words = f"{sort} {code} {message}"
    if "rate_limit" in code and TOO_LARGE not in message.casefold():
        words = code  # the message of a mere rate limit advertises the billing page
    elif not sort and not code:
        words += " server_error"  # it broke off and cannot say why
    place = f"HTTP {status}" if status else "in the stream"
    name = f" {code or sort}" if code or sort else ""
    if code in POLICY_CODES and status in (None, 400):
        return PolicyRefusal("invalid", f"{code}: {message}", status=status, request_id=request_id)
    return LLMError(
        kind_of(status, words),
        f"{place}{name}: {message}",
        status=status,
        retry_after=retry_after,
        request_id=request_id,
    )


def mended(said: Any) -> Any:
    """Return a JSON value without halves of characters, which no file and no request can hold.

    A server written in JavaScript may cut a character in two; where both halves came they are joined.
    """
    text = json.dumps(said, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def answer_text(answer: ToolAnswer) -> str:
    """Return the text of an answer; neither protocol has another place to say that it is an error."""
    return f"ERROR: {answer.text}" if answer.is_error else answer.text


def spent_of(usage: dict[str, Any] | None, read: str, written: str) -> Spent:
    """Read a usage record, whose fields begin with `read` and `written`; a server may send none."""
    usage = usage or {}
    before = usage.get(f"{read}_tokens_details") or {}
    after = usage.get(f"{written}_tokens_details") or {}
    return Spent(
        input_tokens=usage.get(f"{read}_tokens") or 0,
        cache_read_tokens=before.get("cached_tokens") or 0,
        cache_write_tokens=before.get("cache_write_tokens") or 0,
        output_tokens=usage.get(f"{written}_tokens") or 0,
        reasoning_tokens=after.get("reasoning_tokens") or 0,
    )
