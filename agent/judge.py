"""Judges: language models that read one output at a time and answer a question about it, blind.

A judge sees the question, the prompt where the measure shows it, and the output: no arm, no claim, no
other output. What a subject said stands between marks that it cannot have known, and is data. An
answer counts when its first word is yes or no; everything else is no label, and so no number. Two
judges of different families are wanted, because models of one family share their mistakes.
"""

from __future__ import annotations

import hashlib
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from agent.investigation import Spent
from agent.llm.conversation import Client, Reply, Request, UserTurn
from agent.llm.faults import LLMError
from agent.llm.prices import Prices
from agent.templates import written
from agent.verdict import READERS_AGREE
from tools.experiment import canonical_json
from tools.judging import Asked, JudgeAgreement, JudgeFailed, Judgements, Label, settled
from tools.registry import ToolError

Given = TypeVar("Given")
Found = TypeVar("Found")
MOST_JUDGES = 2
AT_ONCE = 8
"""Requests under way together, of both judges."""
MOST_TOKENS = 8_000
"""For thinking; the answer is a word."""
LABELS: dict[str, Label] = {"yes": 1, "no": 0, "unclear": None}
FIRST_WORD = re.compile(r"\W*(yes|no|unclear)(?![\w'\u2019-])", re.IGNORECASE)
FLAGGED = ("content_filter", "content_policy", "content management policy", "invalid_prompt")
"""How providers say that they will not read a text, where they do not say it as a refusal."""
FAMILIES = {
    "Claude": r"claude",
    "GPT": r"gpt|davinci|codex|(?<![a-z0-9])o[1-9](?![0-9])",
    "Gemini": r"gemini|gemma|palm",
    "Llama": r"llama",
    "Qwen": r"qwen|qwq",
    "Mistral": r"mistral|mixtral|magistral|codestral|devstral",
    "DeepSeek": r"deepseek",
    "Grok": r"grok",
    "GLM": r"(?<![a-z])glm",
    "Kimi": r"kimi|moonshot",
    "Command": r"command-|cohere",
    "Phi": r"(?<![a-z])phi-",
    "OLMo": r"olmo|tulu",
}


def families_of(name: str) -> frozenset[str]:
    """Return the families of `provider/model`: two for a model distilled from another, its own if unknown.

    The provider says nothing: many serve models of all families.
    """
    model = name.partition("/")[2].casefold()
    found = frozenset(family for family, marks in FAMILIES.items() if re.search(marks, model))
    return found or frozenset({model})


def warning_of(names: Sequence[str]) -> str | None:
    """Return what to hold against a choice of judges, in one line."""
    if not names:
        return None
    if len(names) == 1:
        return f"one judge only ({names[0]}): nobody checks how it reads the question"
    shared = families_of(names[0]) & families_of(names[1])
    if shared:
        return f"both judges are of one family ({min(shared)}) and may share their mistakes"
    return None


def check_readers(found: dict[str, Any] | None) -> None:
    """Raise `ToolError` unless the judges, if there are two, agreed on enough of the pilot's outputs."""
    if found is None or len(found["judges"]) < 2:
        return
    agreement = JudgeAgreement.model_validate(found)
    if agreement.agreement is None or agreement.agreement < READERS_AGREE:
        raise ToolError(
            f"{agreement.words()} of the pilot, at least {READERS_AGREE:.0%} are needed: word the question so "
            "that two readers of the same text agree, or take a measure of words"
        )


class JudgeFault(LLMError, JudgeFailed):
    """A judge's provider failed for good: the run stops and can be resumed."""

    def __init__(self, number: int, name: str, error: LLMError) -> None:
        super().__init__(
            error.kind,
            str(error),
            status=error.status,
            retry_after=error.retry_after,
            request_id=error.request_id,
        )
        self.whose = f"judge {number} ({name})"


class JudgeModel(NamedTuple):
    """A judge."""

    name: str
    """`provider/model`."""
    client: Client
    prices: Prices


class Job(NamedTuple):
    """One request: which judge (0 for the first) is asked about what."""

    judge: int
    asked: Asked


class JudgePanel:
    """One or two judges; called with outputs, it returns their labels.

    No text is put to a judge twice in a session. Retries are the clients'; a failure that outlasts
    them is raised as `JudgeFault`.
    """

    def __init__(
        self,
        judges: Sequence[JudgeModel],
        progress: Callable[[float, str], None] = lambda fraction, note: None,
        at_once: int = AT_ONCE,
    ) -> None:
        self.judges, self.progress, self.at_once = tuple(judges), progress, at_once
        self.names = tuple(judge.name for judge in self.judges)
        self.labels: dict[Job, Label] = {}
        self.lock = threading.Lock()
        self.spent: dict[int, list[Spent]] = {}

    def __call__(self, asked: Sequence[Asked]) -> Judgements:
        """Return every judge's label of every output."""
        jobs = [Job(k, each) for each in asked for k in range(len(self.judges))]
        todo = [job for job in dict.fromkeys(jobs) if job not in self.labels]
        for count, (job, label) in enumerate(in_parallel(self.read, todo, self.at_once), 1):
            self.labels[job] = label
            self.progress(count / len(todo), f"{len(todo)} requests to judges")
        return Judgements(
            judges=self.names,
            labels=tuple(
                tuple(self.labels[Job(k, each)] for each in asked) for k in range(len(self.judges))
            ),
        )

    def read(self, job: Job) -> Label:
        """Ask one judge about one output; None when it gives no usable answer."""
        judge = self.judges[job.judge]
        try:
            reply = judge.client.generate(request_for(judge.name, job.asked))
        except LLMError as error:
            if error.kind == "context" or any(word in str(error).casefold() for word in FLAGGED):
                return None
            raise JudgeFault(job.judge + 1, judge.name, error) from error
        with self.lock:
            self.spent.setdefault(job.judge, []).append(reply.spent)
        return label_of(reply)

    def costs(self) -> list[dict[str, Any]]:
        """Return what was spent since the last call, by judge, as events `spent` hold it."""
        with self.lock:
            spent, self.spent = self.spent, {}
        return [
            {"role": f"judge {k + 1}", "model": judge.name, "spent": total(spent[k], judge)}
            for k, judge in enumerate(self.judges)
            if k in spent
        ]


def request_for(name: str, asked: Asked) -> Request:
    """Return the request about one output: the same bytes for the same text, now and in a resumed run."""
    # The marks follow from the text, so nobody who wrote a part of it can have known them.
    content = canonical_json(asked.model_dump(mode="json"))
    mark = hashlib.sha256(f"judge\0{content}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    words = written("judged_output.j2", mark=mark, **asked.model_dump())
    return Request(
        model=name.partition("/")[2],
        system=written("judge.j2"),
        turns=(UserTurn(text=words),),
        max_output_tokens=MOST_TOKENS,
    )


def label_of(reply: Reply) -> Label:
    """Return the label that an answer's first word gives; None for unclear, a refusal, a cut answer, chatter."""
    said = FIRST_WORD.match(reply.turn.text)
    return LABELS[said[1].casefold()] if said and reply.stop == "stop" else None


def total(spent: Sequence[Spent], judge: JudgeModel) -> dict[str, Any]:
    """Return the sum of what requests cost."""
    counts = {
        name: sum(getattr(each, name) for each in spent)
        for name in Spent.model_fields
        if name != "dollars"
    }
    dollars = [judge.prices.cost(judge.name, each) for each in spent]
    known = [each for each in dollars if each is not None]
    found = Spent(**counts, dollars=sum(known) if len(known) == len(dollars) else None)
    return found.model_dump(mode="json")


def in_parallel(
    work: Callable[[Given], Found], jobs: Sequence[Given], at_once: int
) -> Iterator[tuple[Given, Found]]:
    """Yield each job with what came of it, in the order they are done; raise the first failure.

    The threads do not keep the process from ending, as those of a pool would: when one has failed,
    another may be waiting for an overloaded provider for an hour.
    """
    waiting: queue.SimpleQueue[Given] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Given, Future[Found]]] = queue.SimpleQueue()
    over = threading.Event()
    for job in jobs:
        waiting.put(job)

    def serve() -> None:
        while not over.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            done.put((job, settled(work, job)))

    for _ in range(min(at_once, len(jobs))):
        threading.Thread(target=serve, daemon=True, name="judge").start()
    try:
        for _ in jobs:
            job, future = done.get()
            yield job, future.result()
    finally:
        over.set()
