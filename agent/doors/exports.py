"""A run in the formats of other tools: an Inspect log, Docent's JSON, tables of items and experiments.

All of them are read off the log and the report; none holds the run secret or the place of a model. Each
writer returns the files it wrote.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from agent.doors.as_conversation import counts_of, facts_of, messages_of, told_run
from tools.experiment import canonical_json

Export = Callable[[Path, Path], list[Path]]


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


def to_frames(path: Path, folder: Path) -> list[Path]:
    """Write `items`, `experiments` and `findings` as CSV, and as Parquet where pyarrow is installed."""
    from agent.doors.item_frames import write_frames

    return write_frames(path, folder)


def to_inspect(path: Path, folder: Path) -> list[Path]:
    """Write a log that `inspect view` lists and opens."""
    from agent.doors.inspect_log import write_inspect_log

    return write_inspect_log(path, folder)


def put_file(path: Path, content: str) -> Path:
    """Write a text file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


EXPORTS: Mapping[str, Export] = MappingProxyType(
    {"inspect": to_inspect, "docent": to_docent, "frames": to_frames}
)
