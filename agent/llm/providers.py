"""From a name like `anthropic/claude-opus-5-5` to a client; SDKs are imported only here and below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.llm.cassette import CassetteClient
from agent.llm.conversation import Client
from agent.llm.retrying import RetryingClient, Say

PROVIDERS = ("anthropic", "openai", "openai-chat")


def is_model(name: str) -> bool:
    """Say whether a name is that of a language model rather than a program."""
    provider, slash, model = name.partition("/")
    return provider in PROVIDERS and bool(slash) and bool(model)


def make_client(
    name: str,
    base_url: str | None = None,
    cassette: Path | None = None,
    say: Say = lambda text: None,
) -> Client:
    """Return a client that retries, for the provider of `name`; raise `LLMError` without credentials.

    Keys and, where none is given, base URLs come from the environment, as the SDKs read them.
    """
    client: Client = RetryingClient(MAKERS[name.partition("/")[0]](base_url), say=say)
    return CassetteClient(cassette, client) if cassette else client


def anthropic_client(base_url: str | None) -> Client:
    """Return a client of the Messages API."""
    from agent.llm.anthropic_messages import AnthropicClient

    return AnthropicClient(base_url=base_url)


def responses_client(base_url: str | None) -> Client:
    """Return a client of OpenAI's Responses API."""
    from agent.llm.openai_responses import ResponsesClient

    return ResponsesClient(base_url=base_url)


def chat_client(base_url: str | None) -> Client:
    """Return a client of the Chat Completions protocol."""
    from agent.llm.openai_chat import ChatClient

    return ChatClient(base_url=base_url)


MAKERS: dict[str, Callable[[str | None], Client]] = {
    "anthropic": anthropic_client,
    "openai": responses_client,
    "openai-chat": chat_client,
}
