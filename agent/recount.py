"""Experiments counted again: what a log entry says of its blob, and every score from its output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from agent.investigation import ExperimentEntry
from agent.replay import first_difference
from agent.run_folder import RunFolder
from tools.boundary import Catalogue
from tools.experiment import Experiment, call_key
from tools.measures import LogprobDifference, Measure
from tools.scoring import logprob_score, measure_of_row, scored, summarise

MEASURE: TypeAdapter[Measure] = TypeAdapter(Measure)


def recount_experiment(
    folder: RunFolder, entry: ExperimentEntry, done: Experiment, catalogue: Catalogue
) -> Iterator[str]:
    """Yield every fault of one experiment: its entry, its key, its rows, its scores, its summary."""
    key = call_key(done.tool, done.arguments, catalogue.models, catalogue.code, done.seed)
    if key != entry.key:
        yield "its key is not that of its tool, arguments, models, code and seed"
    told = {"tool": entry.tool, "failed": entry.failed, "seconds": entry.seconds}
    held = {"tool": done.tool, "failed": done.error is not None, "seconds": done.seconds}
    found = first_difference(told, held)
    if found is not None:
        yield f"the log and the blob disagree: {found}"
    if done.models != catalogue.models:
        yield "it was run on other models than the run was opened with"
    if (done.result is None) == (done.error is None):
        yield "it has neither a result nor an error, or both"
    if done.result is None or "raw" not in done.result:
        return
    raw = folder.get_json(done.result["raw"])
    if not isinstance(raw, dict) or "arms" not in raw:
        return
    if done.tool == "score_arms":
        yield from recount_arms(done, raw["arms"])
    elif done.arguments.get("measure"):
        measure = MEASURE.validate_python(done.arguments["measure"])
        for name, rows in raw["arms"].items():
            yield from (fault for row in rows for fault in recount_row(measure, row, name))


def recount_arms(done: Experiment, table: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield every row that is not its argument's, every score that is not its output's."""
    measure = MEASURE.validate_python(done.arguments["measure"])
    asked = done.arguments["arms"]
    if set(table) != set(asked):
        yield f"the raw table has arms {sorted(table)}, asked were {sorted(asked)}"
        return
    for name, prompts in asked.items():
        rows = table[name]
        if len(rows) != len(prompts["items"]):
            yield f"arm {name} has {len(rows)} rows for {len(prompts['items'])} prompts"
            continue
        for row, item in zip(rows, prompts["items"], strict=True):
            yield from compare_item(row, item, name)
            yield from recount_row(measure, row, name)
            if "outputs" in row and len(row["outputs"]) != done.arguments["samples"]:
                yield f"arm {name}, {row['id']}: {len(row['outputs'])} outputs"
    told = (done.result or {}).get("arms")
    summary = {name: summarise(rows).model_dump(mode="json") for name, rows in table.items()}
    found = first_difference(told, summary)
    if found is not None:
        yield f"the summary is not that of the raw table: {found}"


def compare_item(row: dict[str, Any], item: dict[str, Any], arm: str) -> Iterator[str]:
    """Yield a fault where a raw row is not the prompt that was asked for."""
    asked = {key: item[key] for key in ("id", "template_id", "slots", "prompt")}
    found = first_difference({key: row.get(key) for key in asked}, asked)
    if found is not None:
        yield f"arm {arm}: a row is not the prompt that was asked: {found}"


def recount_row(measure: Measure, row: dict[str, Any], arm: str) -> Iterator[str]:
    """Yield a fault where the scores of a row do not follow from its outputs."""
    # Only slots and template id are read; that the prompt is the one asked for is checked elsewhere.
    resolved = measure_of_row(measure, row)
    if isinstance(resolved, LogprobDifference):
        score = logprob_score(resolved, row["logprobs"])
        told: dict[str, Any] = {"scores": [score], "mean": score}
    else:
        told = scored(resolved, row["outputs"])
    found = first_difference({"scores": row["scores"], "mean": row["mean"]}, told)
    if found is not None:
        yield f"arm {arm}, {row['id']}: the score does not follow from the output: {found}"
