"""A run told as a conversation, with its facts: what the exports to other viewers have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.briefing import briefing
from agent.investigation import Exchange, Investigation, Transcript
from agent.language_model import conversation, system_prompt
from agent.opening import read_run
from agent.report import Report, build_report
from agent.templates import shown


def told_run(path: Path) -> tuple[Investigation, Report]:
    """Return a run with its report; raises `RunError` for what is no run."""
    investigation = read_run(path)
    return investigation, build_report(investigation)


def messages_of(investigation: Investigation) -> list[dict[str, Any]]:
    """Return the run as a conversation: role, content, and the calls and answers as both viewers name them."""
    told = Transcript(briefing=briefing(investigation), exchanges=())
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system_prompt(told)},
        {"role": "user", "content": conversation(told, fresh=True)[0].text},
    ]
    for number, exchange in enumerate(investigation.exchanges, 1):
        messages += exchange_messages(number, exchange)
    return messages


def exchange_messages(number: int, exchange: Exchange) -> Iterator[dict[str, Any]]:
    """Yield what the harness said before a turn, the turn, and the answer to each of its calls."""
    turn = exchange.turn
    if exchange.notices:
        yield {"role": "user", "content": "\n".join(exchange.notices)}
    thinking = [{"type": "reasoning", "reasoning": turn.thinking}] if turn.thinking else []
    yield {
        "role": "assistant",
        "content": [*thinking, {"type": "text", "text": turn.text}] if thinking else turn.text,
        "tool_calls": [
            {
                "id": f"{number}-{call.id}",
                "type": "function",
                "function": call.name,
                "arguments": call.arguments,
                "parse_error": call.parse_error,
            }
            for call in turn.calls
        ],
    }
    for result in exchange.results:
        failed = result.error is not None
        answer: dict[str, Any] = {
            "role": "tool",
            "tool_call_id": f"{number}-{result.call}",
            "function": result.name,
            "content": result.error if failed else shown(result.result),
        }
        if failed:
            answer["error"] = {"type": "unknown", "message": result.error}
        yield answer


def facts_of(investigation: Investigation, report: Report) -> dict[str, Any]:
    """Return what a reader of another tool wants to filter by."""
    return {
        "case": report.name,
        "behaviour": report.question,
        "investigator": report.investigator,
        "seed": report.seed,
        "ended": report.ended,
        "run": report.run,
        "models": report.versions["models"],
        "spent": report.spent,
        "answer": investigation.submission.answer.model_dump(mode="json")
        if investigation.submission
        else None,
        "findings": {each.id: each.status for each in report.findings},
        "statements": {each.id: each.statement for each in report.findings},
    }


def counts_of(report: Report) -> dict[str, int]:
    """Return how many findings have each status."""
    statuses = [each.status for each in report.findings]
    return {status: statuses.count(status) for status in sorted(set(statuses))}
