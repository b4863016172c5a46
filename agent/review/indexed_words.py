"""What a search finds of an event: a title and its words, without what a reader should not be shown.

Where the models lie, hidden system prompts and the run's secret are left out, as they are in a report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from agent.case import Case
from agent.safe_text import one_line, safe_text
from agent.shown_evidence import row_outputs
from agent.wording import number
from tools.experiment import canonical_json

LONGEST = 200_000
"""Characters of one event that are indexed."""
LONG_DECIMAL = re.compile(r"-?\d+\.\d{5,}(e[-+]?\d+)?")
MOST_ROWS = 20_000
"""Rows of one experiment that are indexed."""


def shown_data(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of an event as a reader may see them."""
    if kind == "run_opened":
        case = Case.model_validate(data["case"])
        kept = {"investigator", "seed", "versions", "roles"}
        shown = {name: value for name, value in data.items() if name in kept}
        return shown | {"name": case.name, "case": case.public()}
    if kind == "run_resumed":
        return {"versions": data["versions"]}
    if kind == "turn":
        return {name: value for name, value in data.items() if name != "said"}
    return data


def event_title(kind: str, data: dict[str, Any]) -> str:
    """Return a few words on what an event is."""
    words = kind.replace("_", " ")
    match kind:
        case "call_result":
            return f"result of {data.get('name', 'a call')}"
        case "experiment":
            return f"exp:{data.get('number')} {data.get('tool')} ({data.get('purpose')})"
        case "hypothesis" | "registration":
            return f"{words} {data.get('id')}"
        case "draw" | "verdict" | "replication":
            return f"{words} of {data.get('registration')}"
        case "screen":
            return f"screen {data.get('tool')}"
        case _:
            return words


def event_words(kind: str, data: dict[str, Any]) -> str:
    """Return the words of an event as one text; empty where there are none to look for."""
    if kind in ("draw", "clock", "experiment"):
        return ""
    return joined(strings(shown_data(kind, data)))


def experiment_words(experiment: dict[str, Any]) -> str:
    """Return the words of a stored experiment: arguments, result and error."""
    wanted = {name: experiment.get(name) for name in ("arguments", "result", "error")}
    return joined(strings(wanted))


def raw_arms(table: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the arms of a raw table with their rows; empty for raw data of another shape."""
    arms = table.get("arms") if isinstance(table, dict) else None
    if not isinstance(arms, dict):
        return {}
    return {
        name: rows
        for name, rows in arms.items()
        if isinstance(rows, list) and all(isinstance(row, dict) and "prompt" in row for row in rows)
    }


def row_words(row: dict[str, Any]) -> str:
    """Return the prompt of a raw row and what came out."""
    said = [message["content"] for message in row["prompt"]["messages"]]
    return joined([*said, row["prompt"].get("prefill") or "", *row_outputs(row)])


def joined(texts: Iterable[str]) -> str:
    """Return texts as one, harmless to look at and not too long."""
    return "\n".join(map(safe_text, texts))[:LONGEST]


def gist(value: Any) -> str:
    """Return the beginning of a JSON value on one line, for a title that it is folded under."""
    words = ", ".join(islice(strings(value), 12))
    return one_line(LONG_DECIMAL.sub(lambda found: number(float(found[0])), words), 90)


def strings(value: Any) -> Iterator[str]:
    """Yield the names, strings and numbers in a JSON value, in the order in which they stand."""
    match value:
        case dict():
            for name, inner in value.items():
                if isinstance(inner, str | int | float):
                    yield f"{name}: {inner}"
                else:
                    yield str(name)
                    yield from strings(inner)
        case list():
            for inner in value:
                yield from strings(inner)
        case str():
            yield value
        case None:
            pass
        case _:
            yield canonical_json(value)
