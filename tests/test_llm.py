"""Between the loop and the providers: retries, cassettes, prices, names, and arguments as they come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent.cast import Provider, client_for
from agent.investigation import Spent
from agent.llm.cassette import CassetteClient
from agent.llm.conversation import (
    MOST_ARGUMENTS,
    AssistantTurn,
    Reply,
    Request,
    UserTurn,
    parsed_call,
)
from agent.llm.faults import Kind, LLMError, kind_of, seconds_of
from agent.llm.prices import Prices
from agent.llm.providers import is_model, make_client
from agent.llm.retrying import RetryingClient
from naturalist import app
from tools.registry import ToolError


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Flaky:
    """Fails as long as it is told to."""

    def __init__(self, fails: Callable[[], LLMError | None]) -> None:
        self.fails, self.attempts = fails, 0

    def generate(self, request: Request) -> Reply:
        self.attempts += 1
        error = self.fails()
        if error is not None:
            raise error
        return said("yes")

    def context_window(self, model: str) -> int | None:
        return 5

    def close(self) -> None:
        pass


def said(text: str) -> Reply:
    turn = AssistantTurn(text=text, api="openai.chat", said={"content": text})
    return Reply(turn=turn, stop="stop", spent=Spent(input_tokens=3), model="m")


def request(text: str = "hello", **changes: object) -> Request:
    fields = {"model": "m", "system": "s", "turns": (UserTurn(text=text),), **changes}
    return Request.model_validate(fields)


def test_twenty_minutes_of_overload_lose_nothing() -> None:
    clock = Clock()
    busy = LLMError("transient", "529 overloaded")
    inner = Flaky(lambda: busy if clock.now < 1200 else None)
    client = RetryingClient(inner, clock=clock, sleep=clock.sleep)
    assert client.generate(request()).turn.text == "yes"
    assert 1200 <= clock.now <= 1200 + 61 and max(clock.slept) <= 61
    assert inner.attempts == len(clock.slept) + 1


def test_the_budget_of_time_ends_the_tries_with_the_last_error() -> None:
    clock = Clock()
    inner = Flaky(lambda: LLMError("rate", f"429 at {clock.now:.0f}"))
    told: list[str] = []
    client = RetryingClient(inner, 600, clock, clock.sleep, told.append)
    with pytest.raises(LLMError, match="429 at"):
        client.generate(request())
    assert 530 < clock.now <= 600
    assert len(told) == len(clock.slept) and "trying again in" in told[0]


def test_the_budget_of_time_is_an_hour_unless_the_command_line_says_otherwise() -> None:
    for provider, seconds in ((Provider(), 3600.0), (Provider(retry_minutes=5), 300.0)):
        client = client_for("openai-chat/m", "http://127.0.0.1:9/v1", None, provider)
        assert isinstance(client, RetryingClient) and client.budget_s == seconds
    for command in ("investigate", "resume"):
        said = CliRunner().invoke(app, [command, "--retry-minutes", "-1", "x"])
        assert said.exit_code == 2 and "--retry-minutes" in said.output


@pytest.mark.parametrize("kind", ["auth", "quota", "invalid", "context"])
def test_what_waiting_does_not_mend_is_tried_once(kind: Kind) -> None:
    clock = Clock()
    inner = Flaky(lambda: LLMError(kind, "no"))
    with pytest.raises(LLMError):
        RetryingClient(inner, clock=clock, sleep=clock.sleep).generate(request())
    assert inner.attempts == 1 and clock.slept == []


def test_the_wait_that_a_provider_asks_for_is_kept_or_ends_the_run_at_once() -> None:
    clock = Clock()
    inner = Flaky(lambda: LLMError("rate", "429", retry_after=200) if clock.now < 100 else None)
    RetryingClient(inner, clock=clock, sleep=clock.sleep).generate(request())
    assert clock.slept == [200]
    clock = Clock()
    inner = Flaky(lambda: LLMError("rate", "429", retry_after=4000))
    with pytest.raises(LLMError):
        RetryingClient(inner, clock=clock, sleep=clock.sleep).generate(request())
    assert inner.attempts == 1 and clock.slept == []


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (529, "overloaded_error", "transient"),
        (500, "api_error", "transient"),
        (408, "", "transient"),
        (429, "rate_limit_error: slow down", "rate"),
        (429, "insufficient_quota", "quota"),
        (429, "contract_spend_limit_reached", "quota"),
        (402, "payment", "quota"),
        (401, "bad key", "auth"),
        (403, "", "auth"),
        (400, "prompt is too long: 210000 tokens", "context"),
        (400, "This model's maximum context length is 4096", "context"),
        (400, "temperature: not permitted", "invalid"),
        (404, "no such model", "invalid"),
        (200, "overloaded_error", "transient"),
        (None, "server_error", "transient"),
        (None, "something odd", "invalid"),
    ],
)
def test_failures_are_told_apart(status: int | None, words: str, kind: Kind) -> None:
    assert kind_of(status, words) == kind


def test_waits_are_read_in_all_three_forms() -> None:
    assert seconds_of({"retry-after-ms": "1500"}) == 1.5
    assert seconds_of({"retry-after": "7"}) == 7
    assert seconds_of({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}) > 1e8  # pyright: ignore[reportOptionalOperand]
    assert seconds_of({"retry-after": "soon"}) is None and seconds_of({}) is None


def test_a_cassette_answers_the_same_request_and_no_other(tmp_path: Path) -> None:
    inner = Flaky(lambda: None)
    path = tmp_path / "cassette.jsonl"
    recording = CassetteClient(path, inner)
    first = recording.generate(request("a", session="one"))
    assert recording.generate(request("a", session="two")) == first and inner.attempts == 1
    replaying = CassetteClient(path)
    assert replaying.generate(request("a")) == first
    for other in (request("b"), request("a", system="t"), request("a", may_call=False)):
        with pytest.raises(LLMError, match="no reply to this request"):
            replaying.generate(other)


def test_prices_count_cached_tokens_apart(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('["openai-chat/local"]\ninput = 1.0\noutput = 2.0\ncache_read = 0.1\n')
    spent = Spent(input_tokens=1_000_000, cache_read_tokens=500_000, output_tokens=1_000_000)
    prices = Prices.load(path)
    assert prices.cost("openai-chat/local", spent) == pytest.approx(0.5 + 0.05 + 2.0)
    assert prices.cost("openai-chat/other", spent) is None
    assert prices.cost("anthropic/no-such-model", spent) is None
    known = prices.cost("anthropic/claude-opus-5-5", Spent(input_tokens=10_000, output_tokens=100))
    assert known == pytest.approx(10_000 * 4e-6 + 100 * 20e-6)
    path.write_text('["x"]\ninput = -1\n')
    with pytest.raises(ToolError, match="input"):
        Prices.load(path)


def test_models_are_known_by_their_provider() -> None:
    assert is_model("anthropic/claude-opus-5-5") and is_model("openai-chat/org/name")
    assert not is_model("systematic") and not is_model("anthropic/") and not is_model("x/y")


def test_missing_credentials_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(LLMError, match="ANTHROPIC_API_KEY") as caught:
        make_client("anthropic/claude-opus-5-5", "http://127.0.0.1:9")
    assert caught.value.kind == "auth" and "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_arguments_that_are_no_object_are_a_fault_for_the_model_to_read(raw: str) -> None:
    call = parsed_call("id", "tool", raw)
    try:
        value = json.loads(raw)
        fine = isinstance(value, dict)
    except ValueError:
        fine = False
    assert (call.parse_error is None) == fine or "NaN" in raw or "Infinity" in raw
    call.model_dump_json()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ('{"layer": 3, "x": [1,', "Expecting value"),
        ("[1]", "not an object"),
        ('{"x": NaN}', "NaN is no JSON number"),
        ('{"x": "\\ud800"}', "surrogates not allowed"),
        ('{"x": "' + "a" * MOST_ARGUMENTS + '"}', "sha256"),
        ("[" * 100_000, ""),
    ],
)
def test_hostile_arguments_are_refused_and_can_be_logged(raw: str, told: str) -> None:
    call = parsed_call("id", "tool", raw)
    assert told in (call.parse_error or "") and call.arguments == {}
    assert len(call.model_dump_json().encode()) < 3000
