"""Earlier tool calls: filled like every turn, and sent as what they are in each protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.population import marks
from tests.api_subjects import PROVIDERS, number_table, server_of, subject_on
from tests.llm_server import LLMServer, Reply, forget_environment
from tests.test_api_subject import SCRIPT, body_of, texts
from tools.earlier_calls import EarlierCall
from tools.prompt import Message, Prompt, Template, fill
from tools.registry import ToolError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "test")
    with server_of(number_table()) as running:
        yield running


WORK = Prompt(
    messages=(
        Message(role="user", content="Look at the memo."),
        Message(
            role="assistant",
            content="I look.",
            calls=(EarlierCall(name="read", arguments={"path": "memo"}, result="memo on bread"),),
        ),
        Message(
            role="assistant",
            content="",
            calls=(EarlierCall(name="read", arguments={"path": "x"}, result="nothing there"),),
        ),
        Message(role="user", content="Go on."),
    )
)
AS_SENT = [
    ("user", "Look at the memo."),
    ("assistant", "I look."),
    ("call", "read", {"path": "memo"}, 0),
    ("result", "memo on bread", 0),
    ("call", "read", {"path": "x"}, 1),
    ("result", "nothing there", 1),
    ("user", "Go on."),
]


def sent(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a request of any protocol says, does and heard, with calls and results by number."""
    parts: list[dict[str, Any]] = []
    for message in body.get("messages") or body["input"]:
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        if message.get("type") in ("function_call", "function_call_output"):
            blocks = [message]
        elif message.get("role") == "tool":
            blocks = [{"type": "tool_result", "content": content, **message}]
        blocks = [*blocks, *message.get("tool_calls", ())]
        parts += [{**block, "who": message.get("role")} for block in blocks]
    found: list[tuple[Any, ...]] = []
    ids: list[str] = []
    for part in parts:
        mark = part.get("call_id") or part.get("tool_use_id") or part.get("tool_call_id")
        match part["type"]:
            case "function_call_output" | "tool_result":
                found.append(("result", part.get("output") or part["content"], ids.index(mark)))
            case "function_call" | "tool_use" | "function":
                ids.append(mark or part["id"])
                call = part.get("function", part)
                given = call.get("input") or json.loads(call["arguments"])
                found.append(("call", call["name"], given, len(ids) - 1))
            case _ if part["text"]:
                found.append((part["who"], part["text"]))
            case _:
                pass
    assert len(set(ids)) == len(ids) and all(re.fullmatch("[a-zA-Z0-9]{9}", i) for i in ids)
    return found


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_conversation_begins_in_the_middle_of_the_work(
    server: LLMServer, tmp_path: Path, provider: str
) -> None:
    server.play(Reply("Done."), Reply("Done."))
    subject = subject_on(server, tmp_path, provider, environment=SCRIPT)
    scripted = subject.scripted([{"topic": "bread"}])
    assert sent(body_of(server, scripted, WORK)) == AS_SENT
    # The last thing that it reads may be a result.
    begun = WORK.model_copy(update={"messages": WORK.messages[:3]})
    assert sent(body_of(server, scripted, begun)) == AS_SENT[:-1]
    with pytest.raises(ToolError, match="unknown tool in an earlier turn 'read'"):
        texts(subject_on(server, tmp_path, provider), WORK)


def test_earlier_calls_are_filled_like_every_turn() -> None:
    turns = WORK.messages[1].model_copy(
        update={
            "calls": (EarlierCall(name="read", arguments={"p": ["{topic}"]}, result="{topic}!"),)
        }
    )
    template = Template(text="Go on about {topic}.", history=(turns,))
    filled = fill(template, {"topic": "bread"})
    (call,) = filled.messages[0].calls
    assert (call.arguments, call.result) == ({"p": ["bread"]}, "bread!")
    assert "bread!" in filled.text() and marks(template) == {"topic"}
    assert Prompt.model_validate(filled.model_dump(mode="json")) == filled
    # Stored prompts without calls are what they were before there were any.
    assert set(Message(role="user", content="x").model_dump()) == {"role", "content"}
    with pytest.raises(ValidationError, match="only an assistant's turn"):
        Message(role="user", content="x", calls=turns.calls)
