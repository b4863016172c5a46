"""A subject behind an API: sampled through the same methods as a local model, and never looked into.

Sample k of key K under seed S is asked for with a seed that only (S, K, k) determine, so that the arms
of a contrast share it where the server honours seeds. In a scripted environment an answer is a whole
rollout. What the investigator asked and the API refuses is a `ToolError`; any other failure of the
provider ends the sitting, and what was answered until then is on file.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

from agent.engines import api_name, engine_of
from agent.environment import Environment, call_shown, result_shown, words_shown
from agent.investigation import ToolCall
from agent.llm.conversation import (
    AssistantTurn,
    Client,
    Reply,
    Request,
    Sampling,
    ToolAnswer,
    ToolSpec,
    UserTurn,
)
from agent.llm.faults import CannotDo, LLMError
from agent.population import stable_number
from tools.experiment import canonical_json
from tools.locator import ModelLocator
from tools.prompt import Message, Prompt, behind_system
from tools.registry import ToolError, unknown
from tools.synthetic import WHITE_BOX

ModelName = Literal["subject", "reference"]
Value = TypeVar("Value")
LARGEST_SEED = 2**31
"""Servers keep seeds in 32 bits with a sign."""
MOST_PAUSES = 4
ASKERS_FAULT = (400, 413, 422)
"""Under these the request itself is refused; under another the address or the model's name is wrong."""
NO_LOGPROBS = (
    "behind an API the probabilities of given answers cannot be read: sample answers, and score them "
    "with answer_match or regex"
)
OTHER_TURNS = {
    "user": "behind an API only the assistant's turn can be sampled: leave continue_as out, or ask \"What "
    'will the user say next?"',
    "raw": "behind an API there is no raw text without a chat template: give the text as a user's turn",
}


class Generation(NamedTuple):
    """One sampled answer, with the fields of the local model's own record."""

    text: str
    tokens: int
    finished: bool


class Halt:
    """The waits between tries of all requests under way, which end together when one failed for good."""

    def __init__(self) -> None:
        self.set = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Wait; raise `LLMError` when the others have given up meanwhile."""
        if self.set.wait(seconds):
            raise LLMError("transient", "given up, because another request failed")


@dataclass(frozen=True)
class Job:
    """One sample to be asked for."""

    system: str
    turns: tuple[UserTurn | AssistantTurn, ...]
    sampling: Sampling
    most_tokens: int
    environment: Environment | None


class ApiSubject:
    """A model behind an API, with the methods of a subject that black-box tools use."""

    n_layers = d_model = vocab_size = 0

    def __init__(
        self,
        locator: ModelLocator,
        client: Client,
        environment: Environment | None = None,
        halt: Halt | None = None,
        name: ModelName = "subject",
    ) -> None:
        self.locator, self.client, self.environment = locator, client, environment
        self.halt, self.name = halt or Halt(), name
        self.model = (api_name(locator) or "").partition("/")[2]
        self.digest = digest_of(locator, environment)
        self.reference: ApiSubject | None = None
        self.slots: Sequence[Mapping[str, str]] = ()

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of what `subject` and `reference` are asked as."""
        found = {self.name: self.digest}
        return found | ({"reference": self.reference.digest} if self.reference else {})

    @property
    def facts(self) -> dict[str, Any]:
        """What an investigator may know about the model."""
        return {
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "vocab_size": self.vocab_size,
            "has_reference": self.reference is not None,
            "chat": True,
            "weights": "behind an API: nobody can check that they stay the same, only the name and settings",
            "thinking": {None: "as the provider has it", True: "on", False: "off"}[
                self.locator.thinking
            ],
        }

    def arm(self, name: ModelName) -> ApiSubject:
        """Return the subject or its reference; raise `ToolError` when there is no reference."""
        if name == self.name:
            return self
        if self.reference is None:
            raise ToolError("there is no reference model; compare prompts of the subject instead")
        return self.reference

    def scripted(self, slots: Sequence[Mapping[str, str]]) -> ApiSubject:
        """Return this subject for prompts with these slots, which fill its environment's script."""
        found = copy.copy(self)
        found.slots = slots
        return found

    def generate(
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[str],
        *,
        seed: int,
        samples: int = 1,
        max_new_tokens: int = 32,
        temperature: float = 1.0,
        edits: Sequence[object] = (),
    ) -> list[list[Generation]]:
        """Return `samples` answers to each prompt, many requests at once, in the order of the prompts.

        Raises `ToolError` before anything is sent for what no API can do, and `LLMError` when the
        provider fails for good.
        """
        if not prompts:
            raise ToolError("no prompts were given")
        if edits:
            self.refuse()
        jobs: list[list[Job]] = []
        for number, (prompt, key) in enumerate(zip(prompts, keys, strict=True)):
            system, turns = self.opening(prompt)
            script = self.environment and self.environment.filled(
                self.slots[number] if self.slots else {}
            )
            row: list[Job] = []
            for sample in range(samples):
                sampling = Sampling(
                    temperature=temperature,
                    seed=stable_number(seed, key, sample) % LARGEST_SEED,
                    thinking=self.locator.thinking,
                    forced_start=prompt.prefill,
                )
                row.append(Job(system, turns, sampling, max_new_tokens, script))
            jobs.append(row)
        # The arms of a contrast may share a prompt, and then share its answers as they do in a local model.
        marks = [[mark_of(job) for job in row] for row in jobs]
        distinct = dict(zip(chain(*marks), chain(*jobs), strict=True))
        found = self.in_parallel([partial(self.rollout, job) for job in distinct.values()])
        answers = dict(zip(distinct, found, strict=True))
        return [[answers[mark] for mark in row] for row in marks]

    def opening(self, prompt: Prompt) -> tuple[str, tuple[UserTurn | AssistantTurn, ...]]:
        """Return system prompt and turns of a prompt; raise `ToolError` for what is no conversation."""
        if prompt.continue_as != "assistant":
            raise ToolError(OTHER_TURNS[prompt.continue_as])
        rest = list(behind_system(self.locator.system, prompt.messages))
        first = rest.pop(0).content if rest and rest[0].role == "system" else ""
        if any(turn.role == "system" for turn in rest):
            raise ToolError("behind an API the system turn stands first, and there is only one")
        if not rest or not (rest[-1].role == "user" or rest[-1].calls):
            raise ToolError(
                "behind an API an answer follows a user's turn: end the conversation with one"
            )
        named = {call.name for turn in rest for call in turn.calls}
        known = {tool.name for tool in self.environment.tools} if self.environment else set[str]()
        if named - known:
            raise ToolError(
                unknown("tool in an earlier turn", min(named - known), [*sorted(known)])
            )
        return first, tuple(api_turns(rest))

    def in_parallel(self, tasks: Sequence[Callable[[], Value]]) -> list[Value]:
        """Run tasks, so many at a time, and return what they return, in order.

        The first failure ends those that have not begun and those that wait for another try; what is
        under way is still received and kept, since it is paid for.
        """
        self.halt.set.clear()
        with ThreadPoolExecutor(self.locator.parallel) as pool:
            futures = [pool.submit(task) for task in tasks]
            try:
                done, left = wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                self.halt.set.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            failed = next((each for each in done if each.exception() is not None), None)
            if failed is not None:
                self.halt.set.set()
                for each in left:
                    each.cancel()
                failed.result()
            return [each.result() for each in futures]

    def rollout(self, job: Job) -> Generation:
        """Ask until the subject answers in words; return all it said and did as one text."""
        script = job.environment
        tools = script_tools(script)
        turns, tokens = list(job.turns), 0
        parts: list[str] = []
        sampling = job.sampling
        for _ in range(script.max_steps if script else MOST_PAUSES):
            request = Request(
                model=self.model,
                system=job.system,
                tools=tools,
                turns=tuple(turns),
                max_output_tokens=job.most_tokens,
                sampling=sampling,
            )
            reply = self.ask(request)
            tokens += reply.spent.output_tokens
            parts.append(reply.turn.text or reply.refusal)
            turns.append(behind_start(reply.turn, sampling.forced_start))
            sampling = sampling.model_copy(update={"forced_start": ""})
            if reply.stop == "pause":
                continue
            if script is None or not reply.turn.calls:
                done = reply.stop in ("stop", "tool_calls", "refusal")
                return Generation(joined(parts, script), tokens, done)
            answers = [answer_of(script, call) for call in reply.turn.calls]
            for call, answer in zip(reply.turn.calls, answers, strict=True):
                given = None if call.parse_error is not None else call.arguments
                parts += [Quoted(call_shown(call.name, given)), Quoted(result_shown(answer.text))]
            turns.append(UserTurn(answers=tuple(answers)))
        return Generation(joined(parts, script), tokens, finished=False)

    def ask(self, request: Request) -> Reply:
        """Send one request; raise `ToolError` for what the investigator asked and the API refuses."""
        try:
            return self.client.generate(request)
        except LLMError as error:
            if is_askers_fault(error):
                raise ToolError(
                    f"the subject's API refuses this: {self.masked(str(error))}"
                ) from None
            error.whose = "the subject"
            raise

    def masked(self, text: str) -> str:
        """Return a provider's words without the model's name and address, which no investigator sees."""
        for secret in (self.model, *engine_of(self.locator)):
            text = text.replace(secret, "...") if secret else text
        return text

    def continuation_logprobs(self, *_: object, **__: object) -> NoReturn:
        """Refuse: no API gives the probabilities of answers that it did not sample."""
        raise ToolError(NO_LOGPROBS)

    def refuse(self, *_: object, **__: object) -> NoReturn:
        """Refuse to be looked into."""
        raise ToolError(WHITE_BOX)

    encode = capture = next_token_logprobs = token_logprobs = lens = edits_for = refuse
    tokenizer = property(refuse)


def api_turns(messages: Sequence[Message]) -> Iterator[UserTurn | AssistantTurn]:
    """Yield the turns of a conversation; results of earlier calls come before the next words of the user."""
    answers: tuple[ToolAnswer, ...] = ()
    made = 0
    for message in messages:
        if message.role == "user":
            yield UserTurn(answers=answers, text=message.content)
            answers = ()
            continue
        if answers:
            yield UserTurn(answers=answers)
        # Nine letters and digits: some servers take no other id.
        ids = [f"call{made + k:05d}" for k in range(len(message.calls))]
        made += len(ids)
        named = list(zip(ids, message.calls, strict=True))
        calls = tuple(ToolCall(id=i, name=c.name, arguments=c.arguments) for i, c in named)
        answers = tuple(ToolAnswer(call=i, name=c.name, text=c.result) for i, c in named)
        yield AssistantTurn(text=message.content, calls=calls)
    if answers:
        yield UserTurn(answers=answers)


class Quoted(str):
    """A part of a rollout that is not the subject's words."""

    __slots__ = ()


def joined(parts: Sequence[str], script: Environment | None) -> str:
    """Return the parts of a rollout as one text; without an environment it is the plain answer."""
    if script is None:
        return "".join(parts)
    lines = [part if isinstance(part, Quoted) else words_shown(part) for part in parts]
    return "\n".join(line for line in lines if line)


def script_tools(script: Environment | None) -> tuple[ToolSpec, ...]:
    """Return the tools of a script as a provider lists them."""
    return tuple(
        ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters)
        for tool in (script.tools if script else ())
    )


def answer_of(script: Environment, call: ToolCall) -> ToolAnswer:
    """Return what the script says to a call."""
    if call.parse_error is not None:
        text, wrong = f"the arguments are no JSON object: {call.parse_error}", True
    else:
        text, wrong = script.answer(call.name, call.arguments)
    return ToolAnswer(call=call.id, name=call.name, text=text, is_error=wrong)


def behind_start(turn: AssistantTurn, start: str) -> AssistantTurn:
    """Return a turn with the words it was made to begin with, which the provider's own form lacks."""
    return AssistantTurn(text=start + turn.text, calls=turn.calls) if start else turn


def is_askers_fault(error: LLMError) -> bool:
    """Say whether a failure is of the request, so that another one may succeed."""
    if isinstance(error, CannotDo) or error.kind == "context":
        return True
    in_stream = error.status is None and error.request_id is not None
    return error.kind == "invalid" and (error.status in ASKERS_FAULT or in_stream)


def mark_of(job: Job) -> str:
    """Return the mark of a job: the same mark, the same answer."""
    script = job.environment.model_dump(mode="json") if job.environment else None
    turns = [turn.model_dump(mode="json") for turn in job.turns]
    content = [job.system, turns, job.sampling.model_dump(mode="json"), job.most_tokens, script]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def digest_of(locator: ModelLocator, environment: Environment | None) -> str:
    """Return the SHA-256 of all that decides what is asked: weights cannot be checked behind an API."""
    content = {
        "model": api_name(locator),
        "engine": engine_of(locator),
        "system": locator.system,
        "thinking": locator.thinking,
        "environment": environment.model_dump(mode="json") if environment else None,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()
