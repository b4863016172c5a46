"""A run in the formats of other tools: an Inspect log, Docent's JSON, tables of items and experiments.

All of them are read off the log and the report; none holds the run secret or the place of a model. Each
writer returns the files it wrote.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.investigation import Exchange, Investigation, Transcript
from agent.language_model import conversation
from agent.briefing import briefing
from agent.opening import read_run
from agent.report import Report, build_report
from agent.templates import shown, written
from tools.experiment import canonical_json

Export = Callable[[Path, Path], list[Path]]


def told_run(path: Path) -> tuple[Investigation, Report]:
    """Return a run with its report; raises `RunError` for what is no run."""
    investigation = read_run(path)
    return investigation, build_report(investigation)


def messages_of(investigation: Investigation) -> list[dict[str, Any]]:
    """Return the run as a conversation: role, content, and the calls and answers as both viewers name them."""
    told = Transcript(briefing=briefing(investigation), exchanges=())
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": written("investigator.j2", **told.briefing)},
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


def to_docent(path: Path, folder: Path) -> list[Path]:
    """Write `docent.json`: a list with one agent run, as Docent's import takes it."""
    investigation, report = told_run(path)
    facts = facts_of(investigation, report)
    # The same run has the same ids, however often it is exported.
    run_id = uuid.uuid5(uuid.NAMESPACE_URL, f"naturalist:{report.run}")
    run = {
        "id": str(run_id),
        "name": f"{report.name}: {report.investigator}",
        "description": report.question,
        "transcripts": [
            {
                "id": str(uuid.uuid5(run_id, "investigator")),
                "name": "investigation",
                "messages": messages_of(investigation),
                "metadata": {"investigator": report.investigator},
            }
        ],
        "metadata": {**facts, "scores": counts_of(report)},
    }
    return [put_file(folder / "docent.json", canonical_json([run]) + "\n")]


def counts_of(report: Report) -> dict[str, int]:
    """Return how many findings have each status."""
    statuses = [each.status for each in report.findings]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def to_frames(path: Path, folder: Path) -> list[Path]:
    """Write `items`, `experiments` and `findings` as CSV, and as Parquet where pyarrow is installed."""
    from agent.item_frames import write_frames

    return write_frames(path, folder)


def to_inspect(path: Path, folder: Path) -> list[Path]:
    """Write a log that `inspect view` lists and opens."""
    from agent.inspect_log import write_inspect_log

    return write_inspect_log(path, folder)


def put_file(path: Path, content: str) -> Path:
    """Write a text file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


EXPORTS: Mapping[str, Export] = MappingProxyType(
    {"inspect": to_inspect, "docent": to_docent, "frames": to_frames}
)
