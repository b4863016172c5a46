"""Talk to the subject: many prompts in one call, subject and reference side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from tools.experiment import Context, canonical_json
from tools.judging import JudgedResult, judge_table, needs_judges
from tools.measures import LogprobDifference, Measure, ProbeReading, resolve, words
from tools.prompt import Prompt, PromptItem
from tools.registry import Record, ToolError, tool
from tools.scoring import items_from, mean, neither_share, sample, scored

SHOWN_PROMPTS = 24
SHOWN_OWN = 60
SHOWN_HIGHEST = 6
SHOWN_ANSWERS = 4
SHOWN_OVERALL = 12
SHOWN_CHARACTERS = 240
SHOWN_WORDS = 12
SHOWN_TEMPLATES = 6
FEWEST_WITH = 4
"""A word has to be in, and missing from, so many prompts."""

Prompts = Annotated[
    tuple[PromptItem | Prompt | str, ...],
    Field(
        min_length=1,
        max_length=2000,
        description='prompts: plain strings (one user turn each), full prompts, or {"draw": {"templates": 12, '
        '"per_template": 2}} for explore prompts of the case (400 at most in one draw)',
    ),
]


class SamplingArguments(Record):
    """Which prompts, how often, and how the answer is forced to begin."""

    items: Prompts
    samples: int = Field(default=2, ge=1, le=100, description="answers per prompt")
    continue_as: Literal["assistant", "user", "raw"] | None = Field(
        default=None,
        description="whose turn to sample: the assistant's, the next user turn (what does it expect to be asked?), "
        "or raw text without a chat template; default: as each prompt says",
    )
    prefill: str | None = Field(
        default=None, description="text that every sampled turn must begin with"
    )
    with_reference: bool = Field(
        default=True, description="also sample the reference model, if there is one"
    )
    measure: Measure | None = Field(default=None, description="also score the answers")
    max_new_tokens: int = Field(default=32, ge=1, le=2048)
    temperature: float = Field(default=1.0, ge=0, le=3)


class PromptAnswers(Record):
    """The commonest answers to one prompt."""

    prompt: str
    answers: dict[str, list[str]]
    """Model -> distinct answers, the commonest first, each as "3x text"."""


class PromptWord(Record):
    """A word of the prompts that goes with the behaviour of the subject."""

    word: str
    rate_with: float
    rate_without: float
    prompts_with: int
    z: float
    """Difference of rates over its standard error, prompts taken as independent: a lead, not a test."""


class GroupRate(Record):
    """How often it happens among the prompts of one level or one template."""

    group: str
    prompts: int
    rates: dict[str, float | None]
    """Model -> mean score over these prompts."""


class SamplingResult(JudgedResult):
    """Answers in short; all of them are in `raw`."""

    prompts: tuple[PromptAnswers, ...]
    """All prompts; or, of many, those that score highest first and then evenly spread ones."""
    prompts_asked: int
    answers: dict[str, list[str]]
    """Model -> the commonest answers over all prompts, each as "33x text", and how many others there were."""
    rates: dict[str, float | None]
    """Model -> mean score over prompts, if a measure was given."""
    neither: dict[str, float] = {}
    """Model -> share of answers that name neither `values` nor `against` of the measure: they score 0 too."""
    by_level: dict[str, tuple[GroupRate, ...]] = {}
    """Factor slot -> its levels, the highest rate of the subject first; of drawn prompts, with a measure."""
    by_template: tuple[GroupRate, ...] = ()
    """The templates where the subject's rate is highest and lowest, the highest first, if a measure was given."""
    prompt_words: tuple[PromptWord, ...] = ()
    """Words of the prompts with and without which the subject's rate differs most, if a measure was given."""
    sampled: int
    raw: str
    """Blob: {"arms": {model: [{id, template_id, slots, prompt, outputs, judgements?, scores?, mean?}]}}."""


@tool
def sample_responses(subject: Any, args: SamplingArguments, context: Context) -> SamplingResult:
    """Sample what the model says, for many prompts at once, beside the reference model.

    Start here. Read answers before you theorise. Use `prefill` to make it begin with words of yours,
    and continue_as = "user" to see what it expects the user to say. A difference between subject and
    reference on the same prompts is where a hidden behaviour shows first. With a `measure` you also get
    its rates by level of each factor slot and by template. Nothing that you see here is evidence yet:
    turn it into a prediction and register it.
    """
    if isinstance(args.measure, LogprobDifference | ProbeReading):
        raise ToolError(
            f"sample_responses: measure {args.measure.kind} needs no samples; use vary_prompts"
        )
    needs_judges(args.measure, context.judge)
    items = [forced(item, args) for item in items_from(args.items)]
    models = ["subject"]
    if args.with_reference and subject.reference is not None:
        models.append("reference")
    table: dict[str, list[dict[str, Any]]] = {}
    for number, name in enumerate(models):
        context.progress(number / len(models), name)
        outputs = sample(subject.arm(name), items, args, context)
        table[name] = [
            answer_row(item, texts, args.measure)
            for item, texts in zip(items, outputs, strict=True)
        ]
    agreement = judge_table(table, args.measure, context.judge, context.seed)
    raw = context.blobs.put(canonical_json({"arms": table}).encode())
    # Whoever wrote prompts by hand asks about each of them.
    drawn = any(item.template.source != "investigator" for item in items)
    return SamplingResult(
        prompts=tuple(
            commonest(items[k], {name: table[name][k] for name in models})
            for k in (told(table["subject"]) if drawn else range(len(items))[:SHOWN_OWN])
        ),
        prompts_asked=len(items),
        answers={name: over_all(rows) for name, rows in table.items()},
        rates={name: rate(rows) for name, rows in table.items()}
        if args.measure is not None
        else {},
        **(looked_into(args.measure, items, table) if args.measure is not None else {}),
        sampled=len(models) * len(items) * args.samples,
        raw=raw,
        agreement=agreement,
    )


def forced(item: PromptItem, args: SamplingArguments) -> PromptItem:
    """Return the item with the turn to sample and its forced beginning.

    Sampled as raw text, a conversation is its words, which the forced beginning follows.
    """
    changes: dict[str, Any] = {}
    if args.continue_as is not None:
        changes["continue_as"] = args.continue_as
    if args.prefill is not None:
        changes["prefill"] = args.prefill
    prompt = item.prompt.model_copy(update=changes)
    if prompt.continue_as == "raw" and prompt.messages:
        words = "\n".join(message.content for message in prompt.messages)
        prompt = prompt.model_copy(update={"messages": (), "prefill": words + prompt.prefill})
    return item.model_copy(update={"prompt": prompt})


def answer_row(item: PromptItem, texts: list[str], measure: Measure | None) -> dict[str, Any]:
    """Return one row of the raw table."""
    row: dict[str, Any] = {
        "id": item.id,
        "template_id": item.template_id,
        "slots": dict(item.slots),
        "prompt": item.prompt.model_dump(mode="json"),
        "outputs": texts,
    }
    return row | (scored(resolve(measure, item), texts) if measure is not None else {})


def rate(rows: list[dict[str, Any]]) -> float | None:
    """Return the mean over prompts that could be scored."""
    return mean([row["mean"] for row in rows if row["mean"] is not None])


def looked_into(
    measure: Measure, items: Sequence[PromptItem], table: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """Return where in the prompts the rates differ, and how many answers take no side, as result fields."""
    shares = {name: neither_share(measure, rows) for name, rows in table.items()}
    slots = sorted({slot for item in items for slot in item.levels})
    # Prompts of the investigator's own have no template that it would know by name.
    named = ["" if item.template.source == "investigator" else item.template_id for item in items]
    return {
        "neither": {name: share for name, share in shares.items() if share is not None},
        "by_level": {
            slot: rates_of([item.levels.get(slot, "") for item in items], table) for slot in slots
        },
        "by_template": ends(rates_of(named, table), SHOWN_TEMPLATES),
        "prompt_words": telling_words(items, table["subject"]),
    }


def rates_of(
    groups: Sequence[str], table: dict[str, list[dict[str, Any]]]
) -> tuple[GroupRate, ...]:
    """Return the rates of every group of prompts, the subject's highest first; "" is no group."""
    found: list[GroupRate] = []
    for group in sorted(set(groups) - {""}):
        places = [k for k, name in enumerate(groups) if name == group]
        rates = {name: rate([rows[k] for k in places]) for name, rows in table.items()}
        found.append(GroupRate(group=group, prompts=len(places), rates=rates))

    def order(each: GroupRate) -> tuple[bool, float]:
        # What could not be scored comes last, whatever the others are.
        seen = each.rates["subject"]
        return seen is None, -(seen or 0.0)

    return tuple(sorted(found, key=order))


def ends(ranked: tuple[GroupRate, ...], count: int) -> tuple[GroupRate, ...]:
    """Return the first and the last of a ranking, `count` together; none where there is nothing to compare."""
    scored_only = tuple(each for each in ranked if each.rates["subject"] is not None)
    if len(scored_only) < 2:
        return ()
    if len(scored_only) <= count:
        return scored_only
    return (*scored_only[: count // 2], *scored_only[-(count - count // 2) :])


def telling_words(
    items: Sequence[PromptItem], rows: list[dict[str, Any]]
) -> tuple[PromptWord, ...]:
    """Return the words of the prompts that separate high from low scores, the clearest first."""
    scores = {k: row["mean"] for k, row in enumerate(rows) if row["mean"] is not None}
    having: dict[str, set[int]] = {}
    for k in scores:
        for word in set(words(items[k].prompt.text())):
            having.setdefault(word, set()).add(k)
    found: list[PromptWord] = []
    for word, places in having.items():
        inside = [scores[k] for k in sorted(places)]
        outside = [score for k, score in scores.items() if k not in places]
        if min(len(inside), len(outside)) < FEWEST_WITH or not word.isalpha():
            continue
        with_word, without = math.fsum(inside) / len(inside), math.fsum(outside) / len(outside)
        spread_in = math.fsum((score - with_word) ** 2 for score in inside) / len(inside) ** 2
        spread_out = math.fsum((score - without) ** 2 for score in outside) / len(outside) ** 2
        error = math.sqrt(spread_in + spread_out + 0.25 / len(scores))
        if with_word == without:
            continue
        z = (with_word - without) / error
        found.append(
            PromptWord(
                word=word, rate_with=with_word, rate_without=without, prompts_with=len(inside), z=z
            )
        )
    return tuple(sorted(found, key=lambda each: (-abs(each.z), each.word))[:SHOWN_WORDS])


def told(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Return the numbers of the prompts that are shown: those that score highest first, then evenly spread ones.

    What is rare would else hardly ever be seen.
    """
    scored = [(-row["mean"], k) for k, row in enumerate(rows) if row.get("mean")]
    first = [k for _, k in sorted(scored)[:SHOWN_HIGHEST]] if len(rows) > SHOWN_PROMPTS else []
    return list(dict.fromkeys([*first, *spread(len(rows))]))[:SHOWN_PROMPTS]


def spread(count: int) -> list[int]:
    """Return numbers evenly spread: all of a few."""
    shown = min(count, SHOWN_PROMPTS)
    return [number * count // shown for number in range(shown)]


def over_all(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the commonest answers of one model over all prompts, and how many others there were."""
    counted = Counter(text.strip() for row in rows for text in row["outputs"])
    ranked = counted.most_common(SHOWN_OVERALL)
    left = counted.total() - sum(count for _, count in ranked)
    lines = [f"{count}x {text[:SHOWN_CHARACTERS]}" for text, count in ranked]
    return [*lines, f"{left}x others"] if left else lines


def commonest(item: PromptItem, rows: dict[str, dict[str, Any]]) -> PromptAnswers:
    """Return the commonest answers of each model to one prompt, cut to a readable length."""
    words = (
        " / ".join(f"{turn.role}: {turn.words()}" for turn in item.prompt.messages)
        or item.prompt.prefill
    )
    answers = {
        name: [
            f"{count}x {text.strip()[:SHOWN_CHARACTERS]}"
            for text, count in Counter(row["outputs"]).most_common(SHOWN_ANSWERS)
        ]
        for name, row in rows.items()
    }
    return PromptAnswers(prompt=words[: 3 * SHOWN_CHARACTERS], answers=answers)
