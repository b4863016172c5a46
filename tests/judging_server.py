"""Judges over real SDKs: a loopback server that reads the output in a request and answers by a rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.budget import Budget
from agent.investigation import Investigation, Turn
from agent.judge import JudgeModel, JudgePanel
from agent.llm.anthropic_messages import AnthropicClient
from agent.llm.conversation import Client
from agent.llm.openai_chat import ChatClient
from agent.llm.openai_responses import ResponsesClient
from agent.llm.prices import Price, Prices
from agent.loop import run
from agent.opening import open_run
from tests.anthropic_dialect import MessagesDialect
from tests.llm_server import LLMServer, Recorded, Reply, Step, Usage
from tests.openai_dialects import ChatDialect, ResponsesDialect
from tests.scripted_run import Scripted, case_of, turns, worker_for

CLAUDE, GPT, QWEN = "anthropic/claude-opus-5-5", "openai/gpt-6-sol", "openai-chat/qwen3-32b"
USAGE = Usage(100, 0, 0, 10, 0)
PRICES = Prices({name: Price(input=1.0, output=10.0) for name in (CLAUDE, GPT, QWEN)})
QUESTION = "Does the answer begin with the word yes?"
JUDGED = {"kind": "judged", "question": QUESTION, "show_prompt": False}
WORDS = {"kind": "regex", "pattern": "^yes", "ignore_case": True}
FENCED = re.compile(r"\[output (\w+)\]\n(.*)\n\[output \1\]", re.DOTALL)


def new_server() -> LLMServer:
    return LLMServer(MessagesDialect(), ChatDialect(), ResponsesDialect())


def client_of(name: str, url: str) -> Client:
    match name.partition("/")[0]:
        case "anthropic":
            return AnthropicClient("test", url, timeout=5.0)
        case "openai":
            return ResponsesClient("test", f"{url}/v1", timeout=5.0)
        case _:
            return ChatClient("test", f"{url}/v1", timeout=5.0)


def panel_at(url: str, *names: str) -> JudgePanel:
    """Return judges behind a server, two of different families by default."""
    chosen = names or (CLAUDE, QWEN)
    return JudgePanel([JudgeModel(name, client_of(name, url), PRICES) for name in chosen])


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string of a request's body."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_of(inner)


def output_in(body: dict[str, Any]) -> str:
    """Return the output that a request asks about: what stands between its last two marks."""
    found = [FENCED.search(text) for text in strings_of(body)]
    (one,) = [match for match in found if match is not None]
    return one[2]


def answering(rule: Callable[[str, str], str]) -> Callable[[Recorded], Step]:
    """Return what a server answers by a rule from (model, output) to what a judge says."""
    return lambda recorded: Reply(
        rule(recorded.body["model"], output_in(recorded.body)), usage=USAGE
    )


def says_yes(model: str, output: str) -> str:
    """Judge as the regular expression of the same meaning does."""
    return "Yes. It says so." if output.lower().startswith("yes") else "no"


def script(measure: dict[str, Any], first: int | None = None, **changes: Any) -> list[Turn]:
    """Return the shared script with another measure everywhere, or its first turns, and the submission."""
    said = [turn.model_dump(mode="json") for turn in turns(**changes)]
    for turn in said:
        for call in turn["calls"]:
            for each in call["arguments"].get("predictions", []):
                each |= {"measure": measure, "smallest_effect": 0.5, "per_cluster": 4}
    found = [Turn.model_validate(each) for each in said]
    return found if first is None else [*found[:first], found[-1]]


def judged_run(
    path: Path, panel: JudgePanel | None, said: list[Turn] | None = None, **changes: Any
) -> Investigation:
    """Run the script with a judged measure to its end."""
    worker = worker_for(path)
    worker.judge = panel
    case = case_of(measure=changes.pop("measure", JUDGED), **changes)
    names = panel.names if panel else ()
    investigation = open_run(path, case, worker, "scripted", 7, {"judges": list(names)})
    if panel is not None:
        investigation.costs = panel.costs
    to_its_end(investigation, said or script(JUDGED))
    return investigation


def to_its_end(investigation: Investigation, said: list[Turn]) -> None:
    """Drive a script to its end and close the log."""
    try:
        run(investigation, Scripted(said), Budget(investigation.case.limits))
    finally:
        investigation.folder.close()
