"""A provider's own key goes to that provider, to this machine, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agent.llm.anthropic_messages import AnthropicClient
from agent.llm.conversation import Client, Request, UserTurn
from agent.llm.faults import LLMError
from agent.llm.keys import may_have_key, named_key
from agent.llm.openai_chat import ChatClient
from agent.llm.openai_responses import ResponsesClient
from agent.llm.providers import make_client
from tests.anthropic_dialect import MessagesDialect
from tests.llm_server import LLMServer, Reply, forget_environment
from tests.openai_dialects import ChatDialect, ResponsesDialect

SECRET = "sk-the-users-own-key"
FOREIGN = "http://models.example.net"
CLIENTS: dict[str, Callable[[str | None], Client]] = {
    "anthropic": lambda url: AnthropicClient(base_url=url, timeout=5.0),
    "openai": lambda url: ResponsesClient(base_url=url and f"{url}/v1", timeout=5.0),
    "openai-chat": lambda url: ChatClient(base_url=url and f"{url}/v1", timeout=5.0),
}
REQUEST = Request(model="m", system="s", turns=(UserTurn(text="Hello"),))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    """Stand in the way to every host, with the user's keys in the environment."""
    forget_environment(monkeypatch)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    with LLMServer(MessagesDialect(), ChatDialect(), ResponsesDialect()) as running:
        monkeypatch.setenv("HTTP_PROXY", running.url)
        running.play(Reply("Yes."))
        yield running


def sent_to(server: LLMServer, client: Client) -> str:
    client.generate(REQUEST)
    client.close()
    return str(server.requests[-1].headers)


@pytest.mark.parametrize("provider", CLIENTS)
def test_a_strangers_server_never_sees_the_key(server: LLMServer, provider: str) -> None:
    headers = sent_to(server, CLIENTS[provider](FOREIGN))
    assert SECRET not in headers and "Bearer none" in headers


@pytest.mark.parametrize("provider", CLIENTS)
def test_this_machine_sees_it(server: LLMServer, provider: str) -> None:
    assert SECRET in sent_to(server, CLIENTS[provider](server.url))


@pytest.mark.parametrize("provider", CLIENTS)
def test_the_address_beside_the_key_in_the_environment_sees_it(
    server: LLMServer, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", FOREIGN)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{FOREIGN}/v1")
    assert SECRET in sent_to(server, CLIENTS[provider](None))


@pytest.mark.parametrize("provider", CLIENTS)
def test_a_servers_own_key_comes_from_a_named_variable(
    server: LLMServer, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = FOREIGN if provider == "anthropic" else f"{FOREIGN}/v1"
    monkeypatch.setenv("THAT_SERVERS_KEY", "its-own-key")
    headers = sent_to(server, make_client(f"{provider}/m", url, "THAT_SERVERS_KEY"))
    assert "its-own-key" in headers and SECRET not in headers
    with pytest.raises(LLMError, match="NOT_SET is not set") as caught:
        make_client(f"{provider}/m", url, "NOT_SET")
    assert caught.value.kind == "auth"
    for usual in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        with pytest.raises(LLMError, match="is not sent to http://models.example.net"):
            make_client(f"{provider}/m", url, usual)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        (None, True),
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("http://api.openai.com/v1", False),
        ("https://api.openai.com.evil.net/v1", False),
        ("https://evilapi.openai.com.net/v1", False),
        ("https://api.openai.com@evil.net/v1", False),
        ("https://evil.net/api.openai.com", False),
        ("https://evil.net\\\\@api.openai.com/v1", False),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2:8000", True),
        ("http://[::1]:8000", True),
        ("http://127.0.0.1.evil.net", False),
        ("http://[bad", False),
        ("http://10.0.0.7:8000/v1", False),
    ],
)
def test_addresses_are_told_apart(
    address: str | None, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_environment(monkeypatch)
    assert may_have_key("openai", address) is allowed


def test_one_providers_key_is_not_named_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert named_key("openai", None, "OPENAI_API_KEY") == SECRET
    with pytest.raises(LLMError, match="OPENAI_API_KEY is not sent"):
        named_key("anthropic", None, "OPENAI_API_KEY")
    assert named_key("openai", "https://x.net", None) is None
