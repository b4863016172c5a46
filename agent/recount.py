"""Experiments counted again: what a log entry says of its blob, and every score from its output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from agent.investigation import ExperimentEntry
from agent.recount_screens import recount_difference, recount_lens, recount_screen
from agent.recount_sweeps import recount_sweep
from agent.replay import first_difference
from agent.run_folder import RunFolder
from tools.boundary import Catalogue
from tools.experiment import Experiment, call_key
from tools.judging import Asked, Label, agreement_in, asked_of, scored_by_labels
from tools.measures import JudgedMeasure, LogprobDifference, Measure
from tools.scoring import logprob_score, measure_of_row, scored, summarise
from tools.thought_anchors import (
    ThoughtArguments,
    ThoughtResult,
    answers_in,
    plan,
    prompts_of,
    read_off,
)
from tools.thoughts import traces_in

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
    if done.tool == "logit_lens":
        yield from recount_lens(done.arguments, done.result, raw)
        return
    if done.tool == "difference_lens":
        yield from recount_difference(done.result, raw)
        return
    if not isinstance(raw, dict) or "arms" not in raw:
        yield from recount_sweep(done.tool, done.arguments, done.result, raw)
        return
    yield from recount_judgements(folder, done, raw["arms"])
    yield from recount_raw(done, raw)


def recount_raw(done: Experiment, raw: dict[str, Any]) -> Iterator[str]:
    """Yield what in a raw table, and in what was told of it, does not follow from the outputs."""
    if done.tool == "score_arms":
        yield from recount_arms(done, raw["arms"])
    elif done.tool == "thought_anchors":
        yield from recount_thoughts(done, raw)
    elif done.tool == "screen_differences":
        yield from recount_screen(done.seed, done.arguments, done.result or {}, raw)
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


def recount_thoughts(done: Experiment, raw: dict[str, Any]) -> Iterator[str]:
    """Yield every prompt that does not go on from its trace, every number that is not that of the replies."""
    args = ThoughtArguments.model_validate(done.arguments)
    table, items = raw["arms"], prompts_of(args)
    traces = traces_in(table["traces"], items, args.fence, args.most_sentences)
    asked = {"traces": list(items), **plan(traces, args)}
    sizes = {arm: len(rows) for arm, rows in table.items()}
    if sizes != {arm: len(several) for arm, several in asked.items()}:
        yield f"the raw table has {sizes} rows, which are not those of its traces"
        return
    for arm, several in asked.items():
        for row, item in zip(table[arm], several, strict=True):
            yield from compare_item(row, item.model_dump(mode="json"), arm)
            yield from recount_row(args.measure, row, arm)
            wanted = args.traces if arm == "traces" else args.resamples
            if len(row["replies"]) != wanted or row["outputs"] != answers_in(item, row, args.fence):
                yield f"arm {arm}, {row['id']}: the answers are not those of its replies"
    fields, thoughts = read_off(table, items, args, done.seed)
    counted = ThoughtResult(**fields, raw=(done.result or {})["raw"]).model_dump(mode="json")
    told = {name: value for name, value in (done.result or {}).items() if name != "agreement"}
    found = first_difference(told, counted) or first_difference(raw["thoughts"], thoughts)
    if found is not None:
        yield f"the sentences are not those of the raw table: {found}"


def recount_judgements(
    folder: RunFolder, done: Experiment, table: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    """Yield what cannot have come of asking the run's judges once about each text."""
    given = done.arguments.get("measure")
    measure = MEASURE.validate_python(given) if given else None
    told = (done.result or {}).get("agreement")
    if not isinstance(measure, JudgedMeasure):
        if told is not None:
            yield "it tells how judges agree, and its measure is not judged"
        return
    if told is None:
        yield "it does not tell how the judges of its measure agree"
        return
    names = {f"judge_{k}": name for k, name in enumerate(opened_judges(folder), 1)}
    if names != told["judges"]:
        yield f"its judges {told['judges']} are not those of the run"
    for arm, row in ((arm, row) for arm, rows in table.items() for row in rows):
        if set(row["judgements"]) != set(names):
            yield f"arm {arm}, {row['id']}: labels of {sorted(row['judgements'])}"
            return
    yield from impossible_labels(measure, table)
    found = first_difference(told, agreement_in(table, names).model_dump(mode="json"))
    if found is not None:
        yield f"how the judges agree is not that of their labels: {found}"


def impossible_labels(
    measure: JudgedMeasure, table: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    """Yield labels of empty outputs, and texts with two labels: each text was asked about once."""
    first: dict[Asked, list[Label]] = {}
    for arm, row in ((arm, row) for arm, rows in table.items() for row in rows):
        labels = zip(*row["judgements"].values(), strict=True)
        for asked, said in zip(asked_of(measure, row), labels, strict=True):
            if first.setdefault(asked, list(said)) != list(said):
                yield f"arm {arm}, {row['id']}: a text was asked about once and has two labels"
            if not asked.output.strip() and any(label is not None for label in said):
                yield f"arm {arm}, {row['id']}: an empty output has a label"


def opened_judges(folder: RunFolder) -> list[str]:
    """Return the judges that the run was opened with."""
    return next(folder.of_type("run_opened")).data.get("judges", [])


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
    elif isinstance(resolved, JudgedMeasure):
        told = scored_by_labels(row["judgements"])
    else:
        told = scored(resolved, row["outputs"])
    found = first_difference({"scores": row["scores"], "mean": row["mean"]}, told)
    if found is not None:
        yield f"arm {arm}, {row['id']}: the score does not follow from the output: {found}"
