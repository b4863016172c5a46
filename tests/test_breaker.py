"""Parallel runs leave a failing provider alone together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.llm.breaker import LONGEST_S, CircuitBreaker, breaker_of
from agent.llm.faults import LLMError
from agent.llm.retrying import RetryingClient
from tests.test_llm import Clock, Flaky, request


def overloaded(until: Clock, end: float) -> Flaky:
    return Flaky(lambda: LLMError("transient", "529") if until.now < end else None)


def test_another_run_waits_before_it_asks_a_provider_that_has_just_failed(tmp_path: Path) -> None:
    clock = Clock()
    breakers = [CircuitBreaker(tmp_path / "shared" / "failing", now=clock) for _ in range(2)]
    told: list[str] = []
    provider = Flaky(lambda: LLMError("rate", "429", retry_after=30))
    first = RetryingClient(provider, 20, clock=clock, sleep=clock.sleep, breaker=breakers[0])
    # Its budget is too short to wait for: it ends at once, and nobody was kept away.
    with pytest.raises(LLMError):
        first.generate(request())
    assert breakers[1].pause() == 0
    breakers[0].failed(30)
    other = overloaded(clock, 0)
    second = RetryingClient(
        other, 100, clock=clock, sleep=clock.sleep, say=told.append, breaker=breakers[1]
    )
    second.generate(request())
    assert clock.slept == [pytest.approx(30)] and other.attempts == 1
    assert "fails another run" in told[0]
    assert breakers[0].pause() == 0, "it answered: everybody may ask again"


def test_one_that_retries_keeps_the_others_away_for_as_long_as_it_waits(tmp_path: Path) -> None:
    clock = Clock()
    breaker = CircuitBreaker(tmp_path / "failing", now=clock)
    seen: list[float] = []

    def sleep(seconds: float) -> None:
        seen.append(breaker.pause() - seconds)
        clock.sleep(seconds)

    client = RetryingClient(overloaded(clock, 40), 100, clock=clock, sleep=sleep, breaker=breaker)
    client.generate(request())
    assert seen and all(abs(gap) < 0.01 for gap in seen), "no wait is added to its own"


def test_a_pause_has_an_end_whatever_the_file_says(tmp_path: Path) -> None:
    breaker = CircuitBreaker(tmp_path / "failing")
    breaker.failed(10_000)
    assert 0 < breaker.pause() <= LONGEST_S
    os.utime(breaker.path, (4e9, 4e9))
    assert breaker.pause() <= LONGEST_S
    breaker.succeeded()
    breaker.succeeded()
    assert breaker.pause() == 0
    closed = CircuitBreaker(Path("/proc/no such folder/failing"))
    closed.failed(5)
    assert closed.pause() == 0


def test_providers_and_addresses_fail_apart() -> None:
    paths = {
        breaker_of(provider, address).path
        for provider in ("anthropic", "openai")
        for address in (None, "http://127.0.0.1:1/v1")
    }
    assert len(paths) == 4


def test_a_mark_that_cannot_be_written_or_removed_harms_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    breaker = CircuitBreaker(tmp_path / "file" / "failing")
    breaker.failed(30)
    breaker.succeeded()
    assert breaker.pause() == 0
