"""Measures that need reading: outputs go to judges, one by one, blind and shuffled, and labels come back.

Who the judges are is the head's business: here they are a function (`Judge`). They are asked once about
each distinct text of an experiment, over all of its arms together, in an order that only the seed
determines. Their labels stay beside the outputs, so that scores follow from them without a judge.

Agreement: Cohen 1960, A coefficient of agreement for nominal scales.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from pydantic import Field

from tools.measures import JudgedMeasure, Measure, resolve
from tools.prompt import Prompt, PromptItem
from tools.registry import Record, ToolError

Given = TypeVar("Given")
Found = TypeVar("Found")
MOST_ASKED = 20_000
"""Distinct texts of one experiment; more is a slip, and a costly one."""
NO_JUDGES = (
    "a measure of kind 'judged' needs judges, and this run has none: take a measure of words, or start a "
    "run with --judge anthropic/MODEL --judge openai/MODEL"
)
Label = Literal[0, 1] | None
"""1 for yes, 0 for no, None where a judge gave no usable answer."""
Rows = Sequence[dict[str, Any]]


class Asked(Record):
    """All that a judge sees of one output."""

    question: str
    prompt: str | None
    """None where the measure hides it."""
    output: str


class Judgements(Record):
    """What the judges said of the outputs they were asked about, in the order they were asked."""

    judges: tuple[str, ...]
    """The models, in the order they were given."""
    labels: tuple[tuple[Label, ...], ...]
    """For each judge, a label for each output."""


Judge = Callable[[Sequence[Asked]], Judgements]


def settled(work: Callable[[Given], Found], given: Given) -> Future[Found]:
    """Return a future that holds what came of work, be it an exception: for a thread that nobody joins."""
    future: Future[Found] = Future()
    try:
        future.set_result(work(given))
    except BaseException as error:  # noqa: BLE001
        future.set_exception(error)
    return future


class JudgeFailed(Exception):
    """The judges cannot be asked any more: the end of the call, and no fault of its tool."""


class JudgeAgreement(Record):
    """How the judges' labels of an experiment's outputs agree; an output counts as often as it came."""

    judges: dict[str, str]
    """judge_1, judge_2 -> the model."""
    outputs: int
    unusable: dict[str, int]
    """Judge -> outputs that it gave no usable answer on, empty ones among them."""
    compared: int
    """Outputs that both judges labelled; 0 with a single judge."""
    agreement: float | None
    """Share of those with the same label."""
    kappa: float | None
    """Cohen's kappa: agreement beyond chance, 1 at most, 0 as by chance. None where both judges gave one
    and the same label throughout, so that chance alone agrees always."""

    def words(self) -> str:
        """Return the agreement as a phrase."""
        if len(self.judges) < 2:
            return f"one judge only, nobody to agree with, on {self.outputs} outputs"
        if self.agreement is None:
            return "no output was labelled by both judges"
        kappa = "not defined" if self.kappa is None else f"{self.kappa:.2f}"
        share = f"{100 * self.agreement:.0f} %"
        return f"two judges agree on {share} of {self.compared} outputs, kappa {kappa}"


class JudgedResult(Record):
    """What results of tools with a measure have in common."""

    agreement: JudgeAgreement | None = Field(default=None, exclude_if=lambda value: value is None)
    """With a judged measure only: how the judges agree."""


def needs_judges(measure: Measure | None, judge: Judge | None) -> None:
    """Raise `ToolError` for a judged measure where nobody can judge, before anything is sampled."""
    if isinstance(measure, JudgedMeasure) and judge is None:
        raise ToolError(NO_JUDGES)


def judge_table(
    table: Mapping[str, Rows], measure: Measure | None, judge: Judge | None, seed: int
) -> JudgeAgreement | None:
    """Fill judgements and scores into every row of a table; None, and no change, for another measure."""
    if not isinstance(measure, JudgedMeasure):
        return None
    needs_judges(measure, judge)
    assert judge is not None
    asked = {id(row): asked_of(measure, row) for row in rows_of(table)}
    found = labelled(judge, shuffled((each for texts in asked.values() for each in texts), seed))
    for row in rows_of(table):
        every = [found.labels.get(each, found.nothing) for each in asked[id(row)]]
        row["judgements"] = {
            name: [labels[k] for labels in every] for k, name in enumerate(found.names)
        }
        row |= scored_by_labels(row["judgements"])
    return agreement_in(table, found.names)


class Labelled:
    """The labels of distinct texts, with the judges' names."""

    def __init__(self, asked: Sequence[Asked], said: Judgements) -> None:
        if not said.judges or len(said.labels) != len(said.judges):
            raise ValueError("labels of other judges than were asked")
        self.names = {f"judge_{k}": name for k, name in enumerate(said.judges, 1)}
        self.nothing: tuple[Label, ...] = (None,) * len(self.names)
        self.labels = dict(zip(asked, zip(*said.labels, strict=True), strict=True))


def labelled(judge: Judge, asked: Sequence[Asked]) -> Labelled:
    """Ask the judges about distinct texts; raise `ToolError` for too many."""
    if len(asked) > MOST_ASKED:
        raise ToolError(
            f"{len(asked)} outputs to be judged in one experiment, at most {MOST_ASKED}: ask for fewer prompts, "
            "samples or values, or take a measure of words"
        )
    return Labelled(asked, judge(asked))


def rows_of(table: Mapping[str, Rows]) -> Iterator[dict[str, Any]]:
    """Yield the rows of every arm."""
    return (row for rows in table.values() for row in rows)


def shuffled(asked: Iterable[Asked], seed: int) -> list[Asked]:
    """Return what there is to ask, once each, in an order that the seed determines; of empty outputs nothing."""
    wanted = [each for each in dict.fromkeys(asked) if each.output.strip()]
    wanted.sort(key=lambda each: (each.question, each.prompt or "", each.output))
    random.Random(seed).shuffle(wanted)
    return wanted


def asked_of(measure: JudgedMeasure, row: Mapping[str, Any]) -> list[Asked]:
    """Return what a judge sees of each output of a row."""
    # Only slots and template id are read to fill the question.
    item = PromptItem.model_construct(template_id=row["template_id"], slots=row["slots"])
    filled = resolve(measure, item)
    assert isinstance(filled, JudgedMeasure)
    prompt = as_read(Prompt.model_validate(row["prompt"])) if measure.show_prompt else None
    return [Asked(question=filled.question, prompt=prompt, output=text) for text in row["outputs"]]


def as_read(prompt: Prompt) -> str:
    """Return a prompt as a judge reads it: each turn behind its role, the forced beginning last."""
    turns = [f"{message.role}: {message.words()}" for message in prompt.messages]
    turns += [f"beginning of the answer: {prompt.prefill}"] if prompt.prefill else []
    return "\n\n".join(turns)


def scored_by_labels(judgements: Mapping[str, Sequence[Label]]) -> dict[str, Any]:
    """Return the scores of a row's outputs, each the mean of its labels, and their mean.

    An output that any judge gave no usable label is not scored.
    """
    scores = [mean_label(labels) for labels in zip(*judgements.values(), strict=True)]
    known = [score for score in scores if score is not None]
    # Halves: summed without rounding in any order.
    return {"scores": scores, "mean": sum(known) / len(known) if known else None}


def mean_label(labels: Sequence[Label]) -> float | None:
    """Return the mean of the judges' labels: 0, 0.5 or 1 with two; None where one is missing."""
    said = [label for label in labels if label is not None]
    return sum(said) / len(said) if said and len(said) == len(labels) else None


def agreement_in(table: Mapping[str, Rows], names: Mapping[str, str]) -> JudgeAgreement:
    """Return how the stored labels of a table agree."""
    columns = {
        name: [label for row in rows_of(table) for label in row["judgements"][name]]
        for name in names
    }
    both: list[tuple[int, int]] = []
    if len(columns) == 2:
        pairs = zip(*columns.values(), strict=True)
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
    return JudgeAgreement(
        judges=dict(names),
        outputs=sum(len(row["outputs"]) for row in rows_of(table)),
        unusable={name: labels.count(None) for name, labels in columns.items()},
        compared=len(both),
        agreement=sum(a == b for a, b in both) / len(both) if both else None,
        kappa=cohen_kappa(both),
    )


def cohen_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Return Cohen's kappa of two readers' labels; None where chance alone agrees always."""
    count = len(pairs)
    same = sum(a == b for a, b in pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    # All in whole numbers, times count squared.
    by_chance = sum(first[label] * second[label] for label in first)
    if count * count == by_chance:
        return None
    return (count * same - by_chance) / (count * count - by_chance)
