"""Tables that answer as subjects over the wire: a loopback server, and locators and workers for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.api_subject import ApiSubject
from agent.api_worker import api_worker
from agent.case import Case
from agent.environment import Environment
from agent.investigation import Investigation
from agent.opening import open_run
from tests.anthropic_dialect import MessagesDialect
from tests.llm_server import LLMServer, Recorded, Reply, Step, Usage
from tests.openai_dialects import ResponsesDialect, VllmDialect
from tests.synthetic_cases import number_case, table
from tools.prompt import Message, Prompt
from tools.synthetic import SyntheticSubject

PROVIDERS = ("anthropic", "openai", "openai-chat")
MODEL = "table-of-tests"
USAGE = Usage(read=20, cached=0, stored=0, written=5, reasoned=0)


def server_of(subject: SyntheticSubject | None = None) -> LLMServer:
    """Return a server of all three protocols; with a table, it answers what the table says.

    The model called `base` is the table's reference. Noise comes from the request's seed; a protocol
    without one gets noise by the number of the request.
    """
    server = LLMServer(MessagesDialect(), VllmDialect(), ResponsesDialect())

    def answer(recorded: Recorded) -> Step:
        assert subject is not None
        arm = subject.arm("reference") if recorded.body["model"] == "base" else subject
        seed = recorded.body.get("seed", len(server.requests))
        ((generation,),) = arm.generate([prompt_in(recorded.body)], ["x"], seed=seed)
        return Reply(generation.text, usage=USAGE)

    if subject is not None:
        server.answer = answer
    return server


def prompt_in(body: Mapping[str, Any]) -> Prompt:
    """Return the conversation in a request of any protocol."""
    system = body.get("instructions") or "".join(
        block["text"] for block in body.get("system") or ()
    )
    turns = [Message(role="system", content=system)] if system else []
    for message in body.get("messages") or body["input"]:
        content = message["content"]
        text = content if isinstance(content, str) else "".join(each["text"] for each in content)
        turns.append(Message(role=message["role"], content=text))
    return Prompt(messages=tuple(turns))


def address(server: LLMServer, provider: str) -> str:
    """Return the server's address as a provider's base URL."""
    return server.url if provider == "anthropic" else f"{server.url}/v1"


def locator(
    server: LLMServer, provider: str = "openai-chat", model: str = MODEL, **changes: Any
) -> dict[str, Any]:
    """Return where a model of the server is."""
    return {
        "model": f"api:{provider}/{model}",
        "base_url": address(server, provider),
        # With more threads, Python passes its lock round more than it works.
        "parallel": 4,
        **changes,
    }


def case_on(server: LLMServer, provider: str = "openai-chat", **changes: Any) -> Case:
    """Return the number case with models behind the server."""
    return number_case(
        **{
            "subject": locator(server, provider),
            "reference": locator(server, provider, "base"),
            **changes,
        }
    )


def subject_on(
    server: LLMServer,
    folder: Path,
    provider: str = "openai-chat",
    model: str = MODEL,
    environment: Environment | None = None,
    **changes: Any,
) -> ApiSubject:
    """Return a subject behind the server that asks everything."""
    case = number_case(subject=locator(server, provider, model, **changes), reference=None)
    # What the case's own slots must fill is for its loader to check.
    case = case.model_copy(update={"environment": environment})
    return api_worker(case, folder, keep=False).subject


def api_run(
    folder: Path, server: LLMServer, provider: str = "openai-chat", seed: int = 0, **changes: Any
) -> Investigation:
    """Open a run of the number case on models behind the server."""
    case = case_on(server, provider, **changes)
    return open_run(folder, case, api_worker(case, folder), "systematic", seed)


def number_table(cause: str = "nothing") -> SyntheticSubject:
    """Return the table of the number case."""
    return SyntheticSubject(table(cause))


def bodies(server: LLMServer) -> list[str]:
    """Return what was asked, in an order that does not depend on threads."""
    return sorted(json.dumps(recorded.body, sort_keys=True) for recorded in server.requests)
