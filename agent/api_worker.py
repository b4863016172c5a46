"""The worker of a subject behind an API: the black-box tools in this process, and replies on file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.api_subject import ApiSubject, Halt, digest_of
from agent.case import Case
from agent.engines import api_name
from agent.investigation import NOTHING_SPENT, Spent
from agent.llm.cassette import CassetteClient
from agent.llm.conversation import Client
from agent.llm.faults import LLMError
from agent.llm.prices import Prices
from agent.llm.providers import make_client
from agent.llm.retrying import Say
from tools.black_box import BLACK_BOX, refusal_of
from tools.boundary import WorkerCrash
from tools.experiment import Experiment
from tools.locator import ModelLocator
from tools.remote import DEADLINE_S, Call, OnProgress
from tools.worker_client import InProcessWorker

REPLIES = "replies.jsonl"
"""Beside the log: what a run that was killed need not ask again."""


class ApiWorker(InProcessWorker):
    """The tools around a subject behind an API. Raises `LLMError` when its provider fails for good."""

    def __init__(
        self,
        subject: ApiSubject,
        clients: Mapping[str, Client],
        prices: Prices,
        blobs: Path,
        on_progress: OnProgress | None = None,
    ) -> None:
        """`clients` by digest are those of subject and reference."""
        super().__init__(subject, BLACK_BOX, blobs, on_progress)
        self.clients, self.prices = clients, prices

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = DEADLINE_S
    ) -> Experiment:
        """Run one tool here; `deadline_s` is not enforced."""
        refused = refusal_of(tool)
        if refused is not None:
            return Call(tool, dict(arguments), seed).failed(self.catalogue, "investigator", refused)
        try:
            return super().call(tool, arguments, seed, deadline_s=deadline_s)
        except WorkerCrash as crash:
            if isinstance(crash.__cause__, LLMError):
                raise crash.__cause__ from None
            raise

    def spent(self) -> dict[str, Spent]:
        """Return what each model has cost in all sessions of the run, as far as its replies are on file."""
        models = filter(None, (self.subject, self.subject.reference))
        named = {each.digest: api_name(each.locator) or "" for each in models}
        found: dict[str, Spent] = {}
        for digest, name in named.items():
            client = self.clients[digest]
            if isinstance(client, CassetteClient):
                found[name] = found.get(name, NOTHING_SPENT).plus(client.spent)
        return found

    def dollars(self, model: str, spent: Spent) -> float | None:
        """Return the dollars of so many tokens, or None where no price is known."""
        return self.prices.cost(model, spent)

    def close(self) -> None:
        """Close connections."""
        for client in self.clients.values():
            client.close()


def api_worker(
    case: Case,
    folder: Path,
    on_progress: OnProgress | None = None,
    prices: Prices | None = None,
    *,
    keep: bool = True,
    say: Say = lambda text: None,
) -> ApiWorker:
    """Return the worker of a case whose models are behind an API; raise `LLMError` without credentials.

    With `keep`, replies are kept in `folder` and the same question is not asked twice; without, the
    provider is asked everything anew.
    """
    halt = Halt()
    clients: dict[str, Client] = {}

    def subject_of(locator: ModelLocator, name: Any) -> ApiSubject:
        digest = digest_of(locator, case.environment)
        if digest not in clients:
            client = client_for(locator, halt, say)
            kept = CassetteClient(folder / REPLIES, client, digest) if keep else client
            clients[digest] = kept
        return ApiSubject(locator, clients[digest], case.environment, halt, name)

    subject = subject_of(case.subject, "subject")
    if case.reference is not None:
        subject.reference = subject_of(case.reference, "reference")
    folder.mkdir(parents=True, exist_ok=True)
    return ApiWorker(subject, clients, prices or Prices(), folder / "blobs", on_progress)


def client_for(locator: ModelLocator, halt: Halt, say: Say) -> Client:
    """Return the client of one model, whose waits end with those of the others."""
    try:
        return make_client(
            api_name(locator) or "", locator.base_url, locator.key_env, say=say, sleep=halt.sleep
        )
    except LLMError as error:
        error.whose = "the subject"
        raise
