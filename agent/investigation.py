"""The state of one investigation, rebuilt from its log: whatever is not an event did not happen.

Every change of state is an event that is appended first and applied second, by the same code that
applies it when the log is read back. So a run that was killed anywhere resumes with what it had:
an experiment whose key is in the log is not run again, a draw is not made twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

from agent.case import Case
from agent.earlier_runs import EarlierRuns
from agent.population import Population, fresh_population, population_of, stable_number
from agent.prediction import Hypothesis, Registration
from agent.run_folder import RunFolder
from agent.submission import Submission
from agent.verdict import Verdict
from tools.experiment import Experiment, call_key
from tools.prompt import Template
from tools.registry import Record
from tools.worker_client import Worker

Purpose = Literal["step 0", "screen", "exploration", "pilot", "confirmation"]
Speaker = Literal["investigator", "sceptic"]
Part = Literal["investigator", "sceptic", "reply"]
"""Of a run: what the investigator does until it submits, the sceptic, and the investigator's reply."""


ANSWERED = ("turn", "call_result")
"""Events after which no call is half done."""


class ToolCall(Record):
    """One call of an investigator, with the arguments as it gave them."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    parse_error: str | None = None
    """Set when the arguments were no JSON object; the call is then answered, not executed."""


class Spent(Record):
    """What a language model's turn cost, counted alike for all providers."""

    input_tokens: int = 0
    """With those read from a cache or written to one."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    """With reasoning."""
    reasoning_tokens: int = 0
    requests: int = 1
    dollars: float | None = None
    """None where the model has no known price."""

    def plus(self, other: Spent, times: int = 1) -> Spent:
        """Return what two costs come to, the other `times` over; without dollars, which are priced anew."""
        counts = [name for name in Spent.model_fields if name != "dollars"]
        return Spent(**{k: getattr(self, k) + times * getattr(other, k) for k in counts})


NOTHING_SPENT = Spent(requests=0)


@runtime_checkable
class PaidWorker(Protocol):
    """A worker whose subject costs tokens."""

    def spent(self) -> dict[str, Spent]:
        """Return what each model has cost in all sessions of the run, by `provider/model`."""
        ...

    def dollars(self, model: str, spent: Spent) -> float | None:
        """Return the dollars of so many tokens, or None where no price is known."""
        ...


class Turn(Record):
    """What an investigator says: text and tool calls."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    said: dict[str, Any] | None = None
    """A language model's turn as its provider gave it: {"api", "content"}; sent back byte for byte."""
    thinking: str = ""
    """The readable part of a model's reasoning; for people, never sent back."""
    spent: Spent | None = None
    refusal: str | None = None
    """Why the model's provider would not answer; ends the run."""
    cut: str | None = None
    """Why the turn is not whole; its calls, if it had any, were left out."""
    fresh: bool = False
    """This turn was the first of a new conversation: the window of the last one was nearly full."""
    speaker: Speaker = "investigator"
    """Whose turn it is: a sceptic speaks after the investigator has submitted."""


class CallResult(Record):
    """What a call came to: a result, or an error the investigator can act on."""

    call: str
    name: str
    result: dict[str, Any] | None = None
    error: str | None = None


class Exchange(Record):
    """One turn with its results so far."""

    turn: Turn
    results: tuple[CallResult, ...] = ()
    limit: str | None = None
    """The limit that was used up before this turn, which can then only submit."""
    notices: tuple[str, ...] = ()
    """What the harness said just before this turn."""


class ExperimentEntry(Record):
    """Where an experiment stands in the log and what it was for."""

    number: int
    key: str
    tool: str
    purpose: Purpose
    blob: str
    """The complete `Experiment` as a blob."""
    failed: bool = False
    seconds: float = 0.0


class Transcript(Record):
    """What an investigator sees: the briefing, everything said and done so far, and what is left."""

    briefing: dict[str, Any]
    exchanges: tuple[Exchange, ...]
    notices: tuple[str, ...] = ()
    final: bool = False
    """True when the budget is used up: this turn can only submit."""
    speaker: Speaker = "investigator"
    challenged: tuple[dict[str, Any], ...] = ()
    """For a sceptic: the supported statements, each with its registered prediction."""
    before: tuple[Exchange, ...] = ()
    """For a sceptic: what the investigator said and did."""
    reply_from: int | None = None
    """In a reply: how many exchanges came before it."""


class Writer(Protocol):
    """Who writes fresh prompts without having seen a hypothesis."""

    def write(self, view: dict[str, Any], count: int) -> tuple[list[Template], Spent | None]:
        """Return up to `count` templates for a case that is shown by `view`, and what they cost."""
        ...


class Words(Protocol):
    """Where words to a running investigation come from."""

    def since(self, heard: int) -> list[Any]:
        """Return the words after the first `heard`."""
        ...


class Investigation:
    """Case, log, worker, and everything that has happened so far."""

    def __init__(self, folder: RunFolder, worker: Worker) -> None:
        self.folder, self.worker = folder, worker
        opened = next(folder.of_type("run_opened")).data
        self._open(opened)
        self.populations: dict[str, Population] = {"case": population_of(self.case, self.seed)}
        self.exchanges: list[Exchange] = []
        self.experiments: list[ExperimentEntry] = []
        self.hypotheses: dict[str, Hypothesis] = {}
        self.registrations: dict[str, Registration] = {}
        self.draws: dict[str, dict[str, Any]] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.confirmations: dict[str, int] = {}
        """Registration -> number of the experiment its verdict was computed from."""
        self.minutes = 0.0
        self.limit: str | None = None
        self.notices: tuple[str, ...] = ()
        self.unfinished: dict[str, list[dict[str, Any]]] = {}
        """What the log held behind its last turn or result when it was opened: after a kill in the middle
        of a call, what that call has done already and must not do again."""
        self.notes: list[dict[str, Any]] = []
        self.step_zero: dict[str, Any] | None = None
        self.screens: list[dict[str, Any]] = []
        self.submission: Submission | None = None
        self.counters: list[str] = []
        """Registrations of the sceptic: those made after the report was submitted, and before it rested."""
        self.rested: str | None = None
        """Why the sceptic stopped, once it has."""
        self.rested_at: int | None = None
        """How many exchanges there were then."""
        self.opened: tuple[str, ...] = ()
        """The findings that it had opened again by then, where the investigator may reply."""
        self.replied: str | None = None
        """Why the investigator's reply ended, once it has."""
        self.ended: str | None = None
        for event in folder.events:
            self.apply(event.type, event.data)
            if event.type not in ANSWERED:
                self.unfinished.setdefault(event.type, []).append(event.data)

    def _open(self, opened: dict[str, Any]) -> None:
        """Take what the first event says, which nothing changes."""
        self.case = Case.model_validate(opened["case"])
        self.run_secret: str = opened["run_secret"]
        self.seed: int = opened["seed"]
        self.investigator: str = opened["investigator"]
        self.roles: dict[str, str] = opened.get("roles", {})
        """Who else takes part: role -> name of a model."""
        self.reply_turns: int = opened.get("reply_turns", 0)
        """How many turns the investigator has after its sceptic."""
        self.writer: Writer | None = None
        """Set by whoever drives the run, like the worker; nothing of it is in the log."""
        self.judges: tuple[str, ...] = tuple(opened.get("judges", ()))
        """The models that read outputs for judged measures, as `provider/model`."""
        self.words: Words | None = None
        """Set by whoever drives the run; what was heard stands in the log as notices."""
        self.heard = 0
        """How many words the turns so far came after."""
        self.costs: Callable[[], list[dict[str, Any]]] = list
        """Gives what judges cost since it was last called."""
        self.place: dict[str, Any] | None = opened.get("place")
        """Where the run stands in a set of independent ones; see `agent/set_reading.py`."""
        self.earlier = EarlierRuns.model_validate(opened.get("earlier") or {})
        self.alpha = self.earlier.left(self.case.limits)
        """The error rate of all registrations of this run together."""

    def record(self, kind: str, data: dict[str, Any], *, sync: bool = False) -> None:
        """Append an event and apply it."""
        event = self.folder.append(kind, data, sync=sync)
        self.apply(event.type, event.data)

    def apply(self, kind: str, data: dict[str, Any]) -> None:
        """Change the state by one event; kinds without a handler change nothing."""
        handler = getattr(self, f"_apply_{kind}", None)
        if handler is not None:
            handler(data)
        if kind in ANSWERED:
            self.unfinished = {}

    def _apply_turn(self, data: dict[str, Any]) -> None:
        turn = Turn.model_validate(data)
        self.exchanges.append(Exchange(turn=turn, limit=self.limit, notices=self.notices))

    def _apply_call_result(self, data: dict[str, Any]) -> None:
        last = self.exchanges[-1]
        results = (*last.results, CallResult.model_validate(data))
        self.exchanges[-1] = last.model_copy(update={"results": results})

    def _apply_experiment(self, data: dict[str, Any]) -> None:
        self.experiments.append(ExperimentEntry.model_validate(data))

    def _apply_hypothesis(self, data: dict[str, Any]) -> None:
        self.hypotheses[data["id"]] = Hypothesis.model_validate(data)

    def _apply_registration(self, data: dict[str, Any]) -> None:
        self.registrations[data["id"]] = Registration.model_validate(data)
        if self.submission is not None and self.rested is None:
            self.counters.append(data["id"])

    def _apply_population(self, data: dict[str, Any]) -> None:
        templates = [Template.model_validate(each) for each in data["templates"]]
        self.populations[data["id"]] = fresh_population(
            data["id"], templates, self.populations["case"], self.seed
        )

    def _apply_rested(self, data: dict[str, Any]) -> None:
        self.rested, self.rested_at = data["why"], len(self.exchanges)
        self.opened = tuple(data.get("opened", ()))

    def _apply_replied(self, data: dict[str, Any]) -> None:
        self.replied = data["why"]

    def _apply_draw(self, data: dict[str, Any]) -> None:
        self.draws[data["registration"]] = data

    def _apply_verdict(self, data: dict[str, Any]) -> None:
        self.verdicts[data["registration"]] = Verdict.model_validate(data["verdict"])
        self.confirmations[data["registration"]] = data["experiment"]

    def _apply_note(self, data: dict[str, Any]) -> None:
        self.notes.append(data)

    def _apply_step_zero(self, data: dict[str, Any]) -> None:
        self.step_zero = data

    def _apply_screen(self, data: dict[str, Any]) -> None:
        self.screens.append(data)

    def _apply_clock(self, data: dict[str, Any]) -> None:
        self.minutes, self.limit = data["minutes"], data.get("limit")
        self.notices = tuple(data.get("notices", ()))
        self.heard = data.get("heard", self.heard)

    def _apply_submission(self, data: dict[str, Any]) -> None:
        self.submission = Submission.model_validate(data)

    def _apply_run_ended(self, data: dict[str, Any]) -> None:
        self.ended = data["reason"]

    def offered(self) -> list[dict[str, Any]]:
        """Return the entries of the tools that the investigator may call on the subject."""
        return [
            entry
            for entry in self.worker.catalogue.tools
            if entry["for_investigator"] and entry["name"] not in self.case.without
        ]

    def experiment(self, number: int) -> Experiment:
        """Return a stored experiment by its number, 1 for the first."""
        return Experiment.model_validate(self.folder.get_json(self.experiments[number - 1].blob))

    def run_experiment(
        self, tool: str, arguments: dict[str, Any], purpose: Purpose, seed: int
    ) -> tuple[int, Experiment]:
        """Run a tool on the worker and log it; an experiment with the same key is not run again."""
        catalogue = self.worker.catalogue
        key = call_key(tool, arguments, catalogue.models, catalogue.code, seed)
        for entry in self.experiments:
            if entry.key == key:
                return entry.number, self.experiment(entry.number)
        try:
            done = self.worker.call(tool, arguments, seed)
        finally:
            # Also of an experiment that came to nothing: it was paid for.
            for cost in self.costs():
                self.folder.append("spent", cost)
            self.record_spent()
        entry = ExperimentEntry(
            number=len(self.experiments) + 1,
            key=key,
            tool=tool,
            purpose=purpose,
            blob=self.folder.put_json(done.model_dump(mode="json")),
            failed=done.error is not None,
            seconds=done.seconds,
        )
        self.record("experiment", entry.model_dump(mode="json"), sync=True)
        return entry.number, done

    def record_spent(self) -> None:
        """Log what a subject behind an API has cost and the log does not say yet, also after a kill."""
        if not isinstance(self.worker, PaidWorker):
            return
        for model, spent in self.worker.spent().items():
            left = spent
            for event in self.folder.of_type("spent"):
                if (event.data["role"], event.data.get("model")) == ("subject", model):
                    left = left.plus(Spent.model_validate(event.data["spent"]), -1)
            if left.requests > 0:
                left = left.model_copy(update={"dollars": self.worker.dollars(model, left)})
                told = {"role": "subject", "model": model, "spent": left.model_dump(mode="json")}
                self.record("spent", told)

    def seed_for(self, *parts: object) -> int:
        """Return a seed that only the run secret and `parts` determine."""
        text = "\x1f".join([self.run_secret, *map(str, parts)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")

    def explore_seed(self, *parts: object) -> int:
        """Return a seed for exploration, where nothing has to be kept from the investigator."""
        return stable_number(self.seed, "explore", *parts) % 2**48

    def burned(self) -> set[str]:
        """Return the marks of every confirmation prompt used so far."""
        return {mark for data in self.draws.values() for mark in data["burned"]}

    def replication_seed(self, registration: str, replicate: int) -> int:
        """Return the seed of a confirmation draw: SHA-256 of run secret, registration hash, replicate."""
        return self.seed_for(self.registrations[registration].digest, replicate)
