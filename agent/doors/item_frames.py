"""Tables of a run: one row for each output, each experiment, each finding; for pandas, as CSV and Parquet.

`items` has one row for each prompt, arm and output of every experiment that kept its raw table. An
output that could not be scored has no score; it is never a zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas

from agent.finding import findings
from agent.investigation import ExperimentEntry, Investigation
from agent.opening import read_run
from agent.review.indexed_words import raw_arms
from agent.shown_evidence import row_outputs
from tools.experiment import canonical_json

ITEM_COLUMNS = (
    "experiment", "tool", "purpose", "registration", "arm", "item", "template", "slots", "prompt",
    "output_number", "output", "score", "item_mean",
)  # fmt: skip
EXPERIMENT_COLUMNS = (
    "number", "tool", "purpose", "failed", "seconds", "seed", "arguments", "error",
)  # fmt: skip
FINDING_COLUMNS = ("id", "status", "estimate", "low", "high", "clusters", "statement")


def item_rows(investigation: Investigation) -> Iterator[dict[str, Any]]:
    """Yield one row for each output of every experiment with a raw table of arms."""
    of = {number: name for name, number in investigation.confirmations.items()}
    for entry in investigation.experiments:
        done = investigation.experiment(entry.number)
        raw = (done.result or {}).get("raw")
        table = investigation.folder.get_json(raw) if isinstance(raw, str) else None
        for arm, rows in raw_arms(table).items():
            for row in rows:
                yield from output_rows(entry, of.get(entry.number), arm, row)


def output_rows(
    entry: ExperimentEntry, registration: str | None, arm: str, row: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield one row for each output of one prompt in one arm."""
    scores = row.get("scores") or []
    for number, output in enumerate(row_outputs(row)):
        yield {
            "experiment": entry.number,
            "tool": entry.tool,
            "purpose": entry.purpose,
            "registration": registration,
            "arm": arm,
            "item": row["id"],
            "template": row["template_id"],
            "slots": canonical_json(row["slots"]),
            "prompt": canonical_json(row["prompt"]),
            "output_number": number,
            "output": output,
            "score": scores[number] if number < len(scores) else None,
            "item_mean": row.get("mean"),
        }


def items_frame(run: Path | Investigation) -> pandas.DataFrame:
    """Return the outputs of a run, one a row; `score` is missing where nothing could be scored."""
    investigation = opened(run)
    return pandas.DataFrame(list(item_rows(investigation)), columns=list(ITEM_COLUMNS))


def experiments_frame(run: Path | Investigation) -> pandas.DataFrame:
    """Return the experiments of a run: number, tool, purpose, seconds, arguments, error."""
    investigation = opened(run)
    rows: list[dict[str, Any]] = []
    for entry in investigation.experiments:
        done = investigation.experiment(entry.number)
        rows.append(
            {
                **entry.model_dump(include={"number", "tool", "purpose", "failed", "seconds"}),
                "seed": str(done.seed),
                "arguments": canonical_json(done.arguments),
                "error": done.error,
            }
        )
    return pandas.DataFrame(rows, columns=list(EXPERIMENT_COLUMNS))


def findings_frame(run: Path | Investigation) -> pandas.DataFrame:
    """Return the findings of a run with their verdicts: status, effect, interval, n, statement."""
    investigation = opened(run)
    rows: list[dict[str, Any]] = []
    for each in findings(investigation):
        verdict = investigation.verdicts.get(each.id)
        low, high = (verdict.interval if verdict else None) or (None, None)
        rows.append(
            {
                "id": each.id,
                "status": each.status,
                "estimate": verdict.estimate if verdict else None,
                "low": low,
                "high": high,
                "clusters": verdict.clusters if verdict else None,
                "statement": each.statement,
            }
        )
    return pandas.DataFrame(rows, columns=list(FINDING_COLUMNS))


def opened(run: Path | Investigation) -> Investigation:
    """Return a run that is open, or open it for reading."""
    return run if isinstance(run, Investigation) else read_run(Path(run))


def write_frames(path: Path, folder: Path) -> list[Path]:
    """Write the three tables into `folder`; return the files."""
    investigation = read_run(path)
    folder.mkdir(parents=True, exist_ok=True)
    frames = {
        "items": items_frame(investigation),
        "experiments": experiments_frame(investigation),
        "findings": findings_frame(investigation),
    }
    files: list[Path] = []
    for name, frame in frames.items():
        files.append(folder / f"{name}.csv")
        frame.to_csv(files[-1], index=False)
        if find_spec("pyarrow") is not None:
            files.append(folder / f"{name}.parquet")
            frame.to_parquet(files[-1], index=False)
    return files
