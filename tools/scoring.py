"""The one primitive under every sampling tool and every confirmation: run arms, score each output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from tools.experiment import Context, canonical_json
from tools.judging import JudgedResult, judge_table, needs_judges
from tools.measures import (
    JudgedMeasure,
    LogprobDifference,
    Measure,
    ProbeReading,
    logsumexp,
    names_neither,
    resolve,
    score_output,
    score_reading,
)
from tools.prompt import (
    Arm,
    ChooseLevel,
    ChooseValue,
    FormatNumbers,
    PatchFrom,
    Prompt,
    PromptItem,
    SetSlot,
    SwapSlots,
    Template,
    Transform,
    apply_transform,
    user_prompt,
)
from tools.registry import Record, ToolError, tool
from tools.weight_edits import WeightEdit

MOST_ITEMS = 1024
"""Arms are run together up to so many items; batches within them are as large as memory allows."""


SLOT_EDITS = (SetSlot, ChooseLevel, SwapSlots, FormatNumbers)


class ArmPrompts(Record):
    """An arm with its prompts, already transformed."""

    arm: Arm
    items: tuple[PromptItem, ...] = Field(min_length=1)
    sources: tuple[Prompt, ...] = ()
    """For `patch_from`: the prompt each item's activations come from."""
    weights: WeightEdit | None = Field(default=None, exclude_if=lambda weights: weights is None)
    """A change of the model's weights, in a fix; no arm of a registration has one."""


class ScoringArguments(Record):
    """What to run and how to score it."""

    measure: Measure
    arms: dict[str, ArmPrompts] = Field(min_length=1)
    samples: int = Field(default=1, ge=1, le=256)
    max_new_tokens: int = Field(default=24, ge=1, le=4096)
    temperature: float = Field(default=1.0, ge=0, le=2)


class ArmSummary(Record):
    """One arm in short."""

    items: int
    unscored: int
    mean: float | None
    """Mean over scored items; None when nothing could be scored."""


class ScoringResult(JudgedResult):
    """The arms in short, and where every prompt, output and score is."""

    arms: dict[str, ArmSummary]
    raw: str
    """Blob: {"arms": {name: [{id, template_id, slots, prompt, outputs | logprobs | projection, judgements?,
    scores, mean}]}}."""


def transformed(arm: Arm, items: Sequence[PromptItem], choose: ChooseValue) -> ArmPrompts:
    """Apply an arm's edits to items, slot edits first, the others in their order.

    Paraphrases go by the order in which templates first appear.
    """
    order = {
        name: number
        for number, name in enumerate(dict.fromkeys(item.template_id for item in items))
    }

    def edit(item: PromptItem, edits: Sequence[Transform]) -> PromptItem:
        # A slot edit fills the template anew, so what is written into the words comes behind it.
        for transform in sorted(edits, key=lambda each: not isinstance(each, SLOT_EDITS)):
            item = apply_transform(item, transform, order[item.template_id], choose)
        return item

    edited = [edit(item, arm.edits) for item in items]
    sources: list[Prompt] = []
    if isinstance(arm.intervention, PatchFrom):
        both = (*arm.edits, *arm.intervention.source)
        sources = [edit(item, both).prompt for item in items]
    return ArmPrompts(arm=arm, items=tuple(edited), sources=tuple(sources))


@tool(for_investigator=False)
def score_arms(subject: Any, args: ScoringArguments, context: Context) -> ScoringResult:
    """Run every arm on its prompts and score each output with the measure."""
    table: dict[str, list[dict[str, Any]]] = {}
    for group in batches_of_arms(args.arms):
        context.progress(len(table) / len(args.arms), next(iter(group)))
        table |= score_together(subject, args, group, context)
    table = {name: table[name] for name in args.arms}
    agreement = judge_table(table, args.measure, context.judge, context.seed)
    summary = {name: summarise(rows) for name, rows in table.items()}
    raw = context.blobs.put(canonical_json({"arms": table}).encode())
    return ScoringResult(arms=summary, raw=raw, agreement=agreement)


def batches_of_arms(arms: Mapping[str, ArmPrompts]) -> list[dict[str, ArmPrompts]]:
    """Group arms that can share batches: one model, and few enough items to report progress between."""
    found: list[dict[str, ArmPrompts]] = []
    for model in ("subject", "reference"):
        size = MOST_ITEMS
        for name, prompts in arms.items():
            if prompts.arm.model != model:
                continue
            if size + len(prompts.items) > MOST_ITEMS:
                found.append({})
                size = 0
            found[-1][name] = prompts
            size += len(prompts.items)
    return found


def score_arm(
    subject: Any, args: ScoringArguments, prompts: ArmPrompts, context: Context
) -> list[dict[str, Any]]:
    """Return one row per item: the prompt, what came out, the scores and their mean.

    With a judged measure scores come when the table is whole, from `judge_table`.
    """
    return score_together(subject, args, {"arm": prompts}, context)["arm"]


def score_together(
    subject: Any, args: ScoringArguments, arms: Mapping[str, ArmPrompts], context: Context
) -> dict[str, list[dict[str, Any]]]:
    """Score arms of one model in common batches; each intervention acts on its own arm's items only."""
    several = list(arms.values())
    model = subject.arm(several[0].arm.model)
    items = [item for prompts in several for item in prompts.items]
    found = iter(score_items(model, items, args, context, arm_edits(model, several, context)))
    return {name: [next(found) for _ in prompts.items] for name, prompts in arms.items()}


def arm_edits(model: Any, arms: Sequence[ArmPrompts], context: Context) -> Sequence[Any]:
    """Return the edits of all arms' interventions, for their items laid one behind the other."""
    if all(prompts.arm.intervention is None and prompts.weights is None for prompts in arms):
        return ()
    found: list[tuple[Sequence[Any], int]] = []
    for prompts in arms:
        texts = [item.prompt for item in prompts.items]
        wanted = prompts.arm.intervention
        edits = model.edits_for(wanted, context.blobs, texts, prompts.sources) if wanted else ()
        if prompts.weights is not None:
            edits = [*edits, *model.weight_edits(prompts.weights, context.blobs)]
        found.append((edits, len(texts)))
    # The agent reads this module, and must not load torch with it.
    from tools.joining import joined

    return joined(found)


def score_items(
    model: Any, items: Sequence[PromptItem], args: Any, context: Context, edits: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """Score items under edits that are given by the item's number; `args` are as `ScoringArguments`."""
    needs_judges(args.measure, context.judge)
    texts = [item.prompt for item in items]
    measures = [resolve(args.measure, item) for item in items]
    rows: list[dict[str, Any]] = [
        {
            "id": item.id,
            "template_id": item.template_id,
            "slots": dict(item.slots),
            "prompt": item.prompt.model_dump(mode="json"),
        }
        for item in items
    ]
    if isinstance(args.measure, LogprobDifference):
        return add_logprobs(model, texts, measures, rows, edits)
    if isinstance(args.measure, ProbeReading):
        return add_readings(model, texts, args.measure, rows, context, edits)
    outputs = sample(model, items, args, context, edits)
    for row, measure, texts_out in zip(rows, measures, outputs, strict=True):
        row["outputs"] = texts_out
        row |= scored(measure, texts_out)
    return rows


def sample(
    model: Any, items: Sequence[PromptItem], args: Any, context: Context, edits: Any = ()
) -> list[list[str]]:
    """Return the texts of `generations`."""
    found = generations(model, items, args, context, edits)
    return [[generation.text for generation in row] for row in found]


def generations(
    model: Any, items: Sequence[PromptItem], args: Any, context: Context, edits: Any = ()
) -> list[list[Any]]:
    """Sample answers to items; `args` says how many, how long and how hot. Noise goes by the item's id.

    The items' slots fill the script of a subject that works in a scripted environment.
    """
    if getattr(model, "environment", None) is not None:
        model = model.scripted([item.slots for item in items])
    return model.generate(
        [item.prompt for item in items],
        [item.id for item in items],
        seed=context.seed,
        samples=args.samples,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        edits=edits,
    )


def scored(measure: Measure, outputs: Sequence[str]) -> dict[str, Any]:
    """Score outputs with a resolved measure: the scores, and the mean of those that could be scored.

    Judged ones are not scored yet.
    """
    if isinstance(measure, JudgedMeasure):
        return {}
    scores = [score_output(measure, output) for output in outputs]
    return {"scores": scores, "mean": mean([score for score in scores if score is not None])}


def add_logprobs(
    model: Any, texts: list[Prompt], measures: list[Any], rows: list[dict[str, Any]], edits: Any
) -> list[dict[str, Any]]:
    """Fill rows from the probabilities of the measure's continuations."""
    wanted = [[*measure.positive, *measure.negative] for measure in measures]
    found = model.continuation_logprobs(texts, wanted, edits=edits)
    for row, measure, values in zip(rows, measures, found, strict=True):
        row["logprobs"] = dict(zip([*measure.positive, *measure.negative], values, strict=True))
        score = logprob_score(measure, row["logprobs"])
        row |= {"scores": [score], "mean": score}
    return rows


def add_readings(
    model: Any,
    texts: list[Prompt],
    measure: ProbeReading,
    rows: list[dict[str, Any]],
    context: Context,
    edits: Sequence[Any],
) -> list[dict[str, Any]]:
    """Fill rows from a probe's projection at its layer and position."""
    if getattr(model, "d_model", None) == 0:
        raise ToolError("a probe is read from activations, which this subject does not show")
    # The agent reads this module, and must not load torch with it.
    from tools.readings import projections

    found = projections(model, texts, measure, context.blobs, edits)
    for row, text, projection in zip(rows, texts, found, strict=True):
        score = score_reading(measure, projection, text.text())
        row |= {"projection": projection, "scores": [score], "mean": score}
    return rows


def logprob_score(measure: LogprobDifference, logprobs: dict[str, float]) -> float:
    """Return the log-probability difference in nats from the stored log-probabilities."""
    positive = logsumexp([logprobs[text] for text in measure.positive])
    return positive - logsumexp([logprobs[text] for text in measure.negative])


def mean(values: Sequence[float]) -> float | None:
    """Return the exactly summed mean, or None of nothing."""
    return math.fsum(values) / len(values) if values else None


def summarise(rows: Sequence[dict[str, Any]]) -> ArmSummary:
    """Return an arm in short."""
    means = [row["mean"] for row in rows if row["mean"] is not None]
    return ArmSummary(items=len(rows), unscored=len(rows) - len(means), mean=mean(means))


def neither_share(measure: Measure, rows: Sequence[dict[str, Any]]) -> float | None:
    """Return the share of outputs that name neither `values` nor `against`; None for other measures.

    Such an output scores 0 like one that names the other side. Where their share differs between two
    arms, a difference of rates may come from answers that say nothing of the matter.
    """
    found = [
        neither
        for row in rows
        for output in row.get("outputs", ())
        if (neither := names_neither(measure_of_row(measure, row), output)) is not None
    ]
    return sum(found) / len(found) if found else None


def measure_of_row(measure: Measure, row: Mapping[str, Any]) -> Measure:
    """Return the measure filled from the slots of a raw row."""
    item = PromptItem.model_construct(template_id=row["template_id"], slots=row["slots"])
    return resolve(measure, item)


def cluster_means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean per template of the item means; templates with nothing scored are left out."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row["mean"] is not None:
            groups.setdefault(row["template_id"], []).append(row["mean"])
    return {name: math.fsum(values) / len(values) for name, values in groups.items()}


def items_from(prompts: Sequence[PromptItem | Prompt | str]) -> tuple[PromptItem, ...]:
    """Make items of an investigator's own prompts: each is its own template."""
    items: list[PromptItem] = []
    for number, given in enumerate(prompts, 1):
        if isinstance(given, PromptItem):
            items.append(given)
            continue
        prompt = user_prompt(given) if isinstance(given, str) else given
        if not prompt.messages and not prompt.prefill:
            raise ToolError(f"prompt {number} is empty")
        name = f"own-{number:03d}"
        words = next((m.content for m in reversed(prompt.messages) if m.role == "user"), "")
        template = Template(text=words, source="investigator")
        items.append(PromptItem(id=name, template=template, template_id=name, prompt=prompt))
    return tuple(items)
