"""From a name like `anthropic/claude-opus-5-5` to a client; SDKs are imported only here and below."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from agent.llm.breaker import breaker_of
from agent.llm.conversation import Client
from agent.llm.faults import LLMError
from agent.llm.keys import Owner, address_of, check_address, named_key
from agent.llm.retrying import BUDGET_S, RetryingClient, Say

PROVIDERS = ("anthropic", "openai", "openai-chat")
INSPECT = "inspect"
"""Stands before the name of any model that Inspect reaches; such a model answers only inside `inspect eval`."""
OWNERS: dict[str, Owner] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "openai-chat": "openai",
}


def is_model(name: str, providers: Sequence[str] = (*PROVIDERS, INSPECT)) -> bool:
    """Say whether a name is that of a language model rather than a program."""
    provider, slash, model = name.partition("/")
    return provider in providers and bool(slash) and bool(model)


def address_for(name: str, base_url: str | None) -> str:
    """Return where requests to `provider/model` go."""
    return address_of(OWNERS[name.partition("/")[0]], base_url)


def make_client(
    name: str,
    base_url: str | None = None,
    key_env: str | None = None,
    *,
    say: Say = lambda text: None,
    sleep: Callable[[float], None] = time.sleep,
    budget_s: float = BUDGET_S,
    whose: str | None = None,
) -> Client:
    """Return a client that retries, for the provider of `name`; raise `LLMError` without credentials.

    Keys and, where none is given, base URLs come from the environment; `key_env` names the variable of
    a server's own key. `sleep` waits between tries, for `budget_s` in all; `whose` is said of failures, as
    in `RetryingClient`. Inspect retries by itself.
    """
    provider, _, model = name.partition("/")
    if provider == INSPECT:
        return inspect_client(model, base_url, key_env)
    check_address(base_url)
    key = named_key(OWNERS[provider], base_url, key_env)
    inner, breaker = MAKERS[provider](key, base_url), breaker_of(provider, base_url)
    return RetryingClient(inner, budget_s, say=say, sleep=sleep, breaker=breaker, whose=whose)


def anthropic_client(key: str | None, base_url: str | None) -> Client:
    """Return a client of the Messages API."""
    from agent.llm.anthropic_messages import AnthropicClient

    return AnthropicClient(key, base_url)


def responses_client(key: str | None, base_url: str | None) -> Client:
    """Return a client of OpenAI's Responses API."""
    from agent.llm.openai_responses import ResponsesClient

    return ResponsesClient(key, base_url)


def chat_client(key: str | None, base_url: str | None) -> Client:
    """Return a client of the Chat Completions protocol."""
    from agent.llm.openai_chat import ChatClient

    return ChatClient(key, base_url)


def inspect_client(model: str, base_url: str | None, key_env: str | None) -> Client:
    """Return a client of a model of Inspect's; raise `LLMError` where there is none."""
    if base_url is not None or key_env is not None:
        raise LLMError(
            "invalid", "where a model called inspect/... is, and its key, is told to Inspect"
        )
    if find_spec("inspect_ai") is None:
        raise LLMError("invalid", "inspect-ai is not installed; run: pip install -e '.[inspect]'")
    from agent.llm.inspect_model import InspectClient, model_named

    return InspectClient(model_named(model))


MAKERS: dict[str, Callable[[str | None, str | None], Client]] = {
    "anthropic": anthropic_client,
    "openai": responses_client,
    "openai-chat": chat_client,
}
