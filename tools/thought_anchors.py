"""Which sentences of a thought matter for the answer, by drawing the rest of the thought again.

1. The subject answers; its thought is cut into sentences.
2. From just before each sentence, and from just behind it, the rest is drawn many times.
3. Where the sentence came out otherwise, how far do the answers part from those where it was kept?
4. Beside that: a neutral sentence put behind it, and the largest distance when labels are exchanged.

Source: Bogdan, Macar, Nanda and Conmy 2025, Thought Anchors, arXiv:2506.19143. There sentences are compared
by an embedding model; here by the words they share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from tools.experiment import Context, canonical_json
from tools.judging import JudgedResult, judge_table, needs_judges
from tools.measures import LogprobDifference, Measure, ProbeReading, is_rate
from tools.prompt import PromptItem
from tools.registry import Record, ToolError, tool
from tools.sampling import Prompts, answer_row
from tools.scoring import ScoringArguments, generations, items_from
from tools.thought_readings import Anchor, Place, Reader, Swap, anchors_of, drawing, drawn_in
from tools.thoughts import Fence, Trace, cuts, entered, no_ops, parted, replaced, traces_in

SHOWN = 12
SHOWN_THIN = 6
MOST_RESAMPLES = 20_000
CHUNK = 64
"""Prompts that are sampled between two words of progress."""
MUCH = 0.2
"""A larger share of resamples without an answer is told."""
MANY_ANSWERS = 10
Table = dict[str, list[dict[str, Any]]]


class Replacement(Record):
    """A text to put in place of sentences."""

    containing: str = Field(
        min_length=1, description="replace each chosen sentence that contains this, case ignored"
    )
    by: str = Field(min_length=1, description="the whole sentence that stands there instead")


class ThoughtArguments(Record):
    """Whose thoughts, how they are fenced, and how often each is drawn again."""

    items: Prompts
    measure: Measure = Field(
        description="tells answers apart: with `answer_match`, which of `values` and `against` is named "
        "first; with a `regex`, the text of its first group if it has one; else the score. It reads the "
        "answer behind the thought, never the thought"
    )
    fence: tuple[str, str] | None = Field(
        default=("<think>", "</think>"),
        description="what opens and closes the thought; null: the last sentence of a reply is the answer, all "
        "before it the thought",
    )
    traces: int = Field(
        default=1, ge=1, le=16, description="replies per prompt that are taken apart"
    )
    resamples: int = Field(
        default=30,
        ge=12,
        le=200,
        description="replies drawn from each place; a trace of n sentences costs (2n + 1) x resamples",
    )
    most_sentences: int = Field(
        default=16, ge=1, le=64, description="of a longer thought, so many evenly spread ones"
    )
    replacements: tuple[Replacement, ...] = Field(
        default=(), max_length=4, description="also try texts of yours in place of sentences"
    )
    alike: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="a redrawn sentence says the same with at least this share of distinct words in common, and "
        "the same numbers and negations",
    )
    distance: Literal["total_variation", "kl"] = Field(
        default="total_variation",
        description="between distributions of answers: total variation (share of answers that change, 0 to 1), "
        "or KL of the redrawn from the kept, in nats",
    )
    max_new_tokens: int = Field(
        default=512, ge=2, le=4096, description="of each reply, thought and all"
    )
    temperature: float = Field(default=1.0, gt=0, le=2)


class ThoughtResult(JudgedResult):
    """Sentences, the most important first; every reply is in `raw`."""

    sentences: tuple[Anchor, ...]
    band: float | None
    """What the largest of all importances exceeds in 5 % of exchanges of labels: below it is noise."""
    no_op_largest: float | None
    """The largest effect of a neutral sentence: the size of an effect that means nothing."""
    too_few: tuple[str, ...] = ()
    """Sentences that were drawn otherwise too seldom to say anything: they were bound to come."""
    replaced: tuple[Swap, ...] = ()
    answers: dict[str, int]
    """What the traces themselves answered."""
    traces: int
    tested: int
    """Sentences that were looked at, in all traces."""
    distance: str
    notes: tuple[str, ...] = ()
    raw: str
    """Blob: {"arms": {traces, cuts, no_op, replaced: rows with the whole `replies`}, "thoughts": each trace
    with its sentences in order}."""


@tool
def thought_anchors(subject: Any, args: ThoughtArguments, context: Context) -> ThoughtResult:
    """Find the sentences of a chain of thought on which the answer hangs, by drawing the rest of it again.

    For a subject that writes its reasoning out. Each sentence is drawn anew by the subject itself; its
    importance is how far the answers part where something else was said from those where it was kept.
    Look at what lies above `band` and far above `no_op`. One trace shows how that trace went, not why
    the subject answers so: ask for several traces or prompts, and an importance is no finding. To make it
    one, register a contrast of forced starts (`force_start`) with and without such a sentence.
    """
    check_measure(args, context)
    items = prompts_of(args)
    refuse_without_beginnings(subject, items[0], context)
    base = sampled(subject, items, args, context, args.traces)
    traces = traces_in(base, items, args.fence, args.most_sentences)
    if not traces:
        raise ToolError(no_thought(args))
    planned = plan(traces, args)
    rows = [item for several in planned.values() for item in several]
    if len(rows) * args.resamples > MOST_RESAMPLES:
        raise ToolError(
            f"thought_anchors: {len(rows) * args.resamples:,} replies to draw, at most {MOST_RESAMPLES:,}: lower "
            "`resamples`, `traces`, `most_sentences` or the number of prompts"
        )
    found = iter(sampled(subject, rows, args, context, args.resamples))
    table: Table = {"traces": base}
    table |= {arm: [next(found) for _ in several] for arm, several in planned.items()}
    agreement = judge_table(table, args.measure, context.judge, context.seed)
    fields, thoughts = read_off(table, items, args, context.seed)
    raw = context.blobs.put(canonical_json({"arms": table, "thoughts": thoughts}).encode())
    return ThoughtResult(**fields, raw=raw, agreement=agreement)


def prompts_of(args: ThoughtArguments) -> tuple[PromptItem, ...]:
    """Return the prompts, each once: what goes on from one is known by its id."""
    return tuple({item.id: item for item in items_from(args.items)}.values())


def check_measure(args: ThoughtArguments, context: Context) -> None:
    """Raise `ToolError` for a measure that tells no answers apart."""
    if isinstance(args.measure, LogprobDifference | ProbeReading) or not is_rate(args.measure):
        raise ToolError(
            f"thought_anchors: measure {args.measure.kind} tells no answers apart; use answer_match, regex, "
            "word_classifier or judged"
        )
    needs_judges(args.measure, context.judge)


def refuse_without_beginnings(subject: Any, item: PromptItem, context: Context) -> None:
    """Ask for one token behind a forced beginning: where that is refused, it is before anything is paid for."""
    begun = item.prompt.model_copy(update={"prefill": item.prompt.prefill + "So"})
    try:
        subject.generate([begun], [item.id], seed=context.seed, samples=1, max_new_tokens=1)
    except ToolError as error:
        raise ToolError(
            f"thought_anchors goes on from within a reply, which this subject does not do: {error}"
        ) from None


def no_thought(args: ThoughtArguments) -> str:
    """Return why there is nothing to take apart, and what to do."""
    if args.fence is None:
        return "thought_anchors: no reply has two sentences and an end within `max_new_tokens`"
    return (
        f"thought_anchors: no reply holds a thought before {args.fence[1]!r} with an answer behind it: give the marks "
        'as `fence`, more `max_new_tokens`, a prompt with "prefill", or fence = null to take the whole reply apart'
    )


def plan(traces: Sequence[Trace], args: ThoughtArguments) -> dict[str, list[PromptItem]]:
    """Return the prompts of every arm that goes on from within the traces."""
    planned = {
        "cuts": [item for trace in traces for item in cuts(trace)],
        "no_op": [item for trace in traces for item in no_ops(trace)],
    }
    if args.replacements:
        planned["replaced"] = [
            item
            for trace in traces
            for number, each in enumerate(args.replacements, 1)
            for item in replaced(trace, each.containing, each.by, f"r{number}")
        ]
    return planned


def sampled(
    subject: Any,
    items: Sequence[PromptItem],
    args: ThoughtArguments,
    context: Context,
    samples: int,
) -> list[dict[str, Any]]:
    """Return raw rows: the replies, whether each ended of itself, and the answers in them with their scores."""
    settings = ScoringArguments.model_construct(
        measure=args.measure,
        arms={},
        samples=samples,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
    )
    rows: list[dict[str, Any]] = []
    for start in range(0, len(items), CHUNK):
        context.progress(start / len(items), f"{len(items)} places")
        part = items[start : start + CHUNK]
        for item, drawn in zip(part, generations(subject, part, settings, context), strict=True):
            said = {
                "replies": [each.text for each in drawn],
                "finished": [each.finished for each in drawn],
            }
            rows.append(answer_row(item, answers_in(item, said, args.fence), args.measure) | said)
    return rows


def answers_in(item: PromptItem, said: Mapping[str, Any], fence: Fence) -> list[str]:
    """Return the answer behind the thought of each reply; empty where it came to none."""
    found: list[str] = []
    for reply, finished in zip(said["replies"], said["finished"], strict=True):
        start = entered(item.prompt.prefill, reply, fence)
        found.append("" if start is None else parted(reply[start:], fence, finished=finished)[1])
    return found


def read_off(
    table: Mapping[str, Sequence[dict[str, Any]]],
    items: Sequence[PromptItem],
    args: ThoughtArguments,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of the result, and what a picture needs, from raw rows alone."""
    traces = traces_in(table["traces"], items, args.fence, args.most_sentences)
    reader = Reader(
        rows={row["id"]: row for arm in table.values() for row in arm},
        measure=args.measure,
        fence=args.fence,
        distance=args.distance,
        alike_at=args.alike,
        seed=seed,
    )
    places = [reader.place(trace, number) for trace in traces for number in trace.chosen]
    sentences, thin, band = anchors_of(places, args.alike)
    swaps = [
        reader.swap(places, number, each.containing, each.by)
        for number, each in enumerate(args.replacements, 1)
    ]
    base = [drawn_in(args.measure, row) for row in table["traces"]]
    answers = Counter(answer for row in base for answer in row)
    return {
        "sentences": tuple(sentences[:SHOWN]),
        "band": band,
        "no_op_largest": max((p.no_op.importance for p in places if p.no_op), default=None),
        "too_few": tuple(thin[:SHOWN_THIN]),
        "replaced": tuple(swaps),
        "answers": dict(answers.most_common()),
        "traces": len(traces),
        "tested": len(places),
        "distance": args.distance,
        "notes": (*notes_on(table, traces, len(thin)), *note_on_answers(places)),
    }, drawing(places, args.distance)


def note_on_answers(places: Sequence[Place]) -> Iterator[str]:
    """Yield a line where answers hardly repeat, so that little can be told of them."""
    different = {answer for place in places for answer in (*place.kept, *place.redrawn)}
    if len(different) > MANY_ANSWERS:
        yield f"{len(different)} different answers: a measure that tells fewer apart would show more"


def notes_on(
    table: Mapping[str, Sequence[dict[str, Any]]], traces: Sequence[Trace], thin: int
) -> Iterator[str]:
    """Yield what limits the reading."""
    drawn = sum(len(row["replies"]) for row in table["traces"])
    if drawn > len(traces):
        yield f"{drawn - len(traces)} of {drawn} replies hold no thought with an answer behind it"
    if len(traces) == 1:
        yield "one trace: this is how it went that time; other traces may hang on other sentences"
    left = sum(len(trace.sentences) - len(trace.chosen) for trace in traces)
    if left:
        yield f"{left} sentences of long thoughts were not looked at"
    if thin > SHOWN_THIN:
        yield f"{thin - SHOWN_THIN} more sentences were drawn otherwise too seldom"
    scores = [s for arm in table if arm != "traces" for row in table[arm] for s in row["scores"]]
    lost = scores.count(None)
    if lost > MUCH * len(scores):
        yield f"{lost} of {len(scores)} resamples came to no answer: raise `max_new_tokens`"
