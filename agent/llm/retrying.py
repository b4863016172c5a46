"""The one layer of retries: waits as long as the provider asks, within a budget of wall-clock time."""

from __future__ import annotations

import time
from collections.abc import Callable

import tenacity

from agent.llm.breaker import CircuitBreaker
from agent.llm.conversation import Client, Reply, Request
from agent.llm.faults import RETRIED, LLMError

BUDGET_S = 3600.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
Say = Callable[[str], None]


class RetryingClient:
    """A client whose transient failures are tried again.

    Quota, credentials and wrong requests are never retried. A wait longer than what is left of the
    budget ends the request at once: the run is kept, and can be resumed when the wait is over.
    """

    def __init__(
        self,
        inner: Client,
        budget_s: float = BUDGET_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Say = lambda text: None,
        breaker: CircuitBreaker | None = None,
        whose: str | None = None,
    ) -> None:
        """`whose` provider fails is told to users; the investigator's by default."""
        self.inner, self.budget_s = inner, budget_s
        self.clock, self.sleep, self.say = clock, sleep, say
        self.breaker, self.whose = breaker, whose

    def generate(self, request: Request) -> Reply:
        """Send a request until it succeeds, or until its time is used up; raise the last `LLMError`."""
        end = self.clock() + self.budget_s
        backoff = tenacity.wait_exponential_jitter(FIRST_WAIT_S, LONGEST_WAIT_S)

        def wait(state: tenacity.RetryCallState) -> float:
            asked = failure(state).retry_after
            return backoff(state) if asked is None else asked

        def late(state: tenacity.RetryCallState) -> bool:
            # `upcoming_sleep` is what `wait` gave for this failure.
            return self.clock() + state.upcoming_sleep > end

        def tell(state: tenacity.RetryCallState) -> None:
            if self.breaker is not None:
                self.breaker.failed(state.upcoming_sleep)
            self.say(f"{failure(state)}; trying again in {state.upcoming_sleep:.0f} s")

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_another_try),
            wait=wait,
            stop=late,
            sleep=self.sleep,
            before_sleep=tell,
            reraise=True,
        )
        self._wait_for_others(end)
        return attempts(self._tried, request)

    def _wait_for_others(self, end: float) -> None:
        """Leave a provider alone that has just failed another run, once for each request."""
        pause = min(self.breaker.pause(), end - self.clock()) if self.breaker else 0.0
        if pause > 0:
            self.say(f"the provider fails another run; asking it in {pause:.0f} s")
            self.sleep(pause)

    def _tried(self, request: Request) -> Reply:
        try:
            reply = self.inner.generate(request)
        except LLMError as error:
            error.whose = self.whose or error.whose
            raise
        if self.breaker is not None:
            self.breaker.succeeded()
        return reply

    def context_window(self, model: str) -> int | None:
        """Return what the inner client says."""
        return self.inner.context_window(model)

    def close(self) -> None:
        """Close the inner client."""
        self.inner.close()


def worth_another_try(error: BaseException) -> bool:
    """Say whether waiting may help."""
    return isinstance(error, LLMError) and error.kind in RETRIED


def failure(state: tenacity.RetryCallState) -> LLMError:
    """Return the failure of the last attempt."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, LLMError)
    return error
