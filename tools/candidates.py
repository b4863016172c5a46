"""Rank candidate answers: which value of a slot does the subject treat unlike all the others?

A model that keeps a word to itself still answers questions about it. Every candidate is put into the
same prompts, the measure is taken on the subject and on the reference, and a candidate's score is
its mean over templates, less the reference's: the other candidates are the null.
"""

from __future__ import annotations

import statistics as plain
from typing import Any

from pydantic import Field

from tools.experiment import Context, canonical_json
from tools.judging import JudgedResult, judge_table
from tools.measures import Measure
from tools.own_templates import with_slots
from tools.prompt import Arm, SetSlot
from tools.registry import Record, ToolError, tool
from tools.sampling import Prompts
from tools.scoring import ScoringArguments, cluster_means, items_from, mean, score_arm, transformed

SHOWN = 12


class CandidateArguments(Record):
    """Which slot, which values, on which prompts."""

    items: Prompts
    slot: str = Field(
        description="the slot that the candidates are put into, in prompts of your own written {slot}; prompts "
        "without it are left out"
    )
    values: tuple[str, ...] = Field(min_length=4, max_length=1000)
    measure: Measure
    samples: int = Field(default=1, ge=1, le=32)
    max_new_tokens: int = Field(default=12, ge=1, le=256)
    temperature: float = Field(default=1.0, ge=0, le=2)


class Candidate(Record):
    """One candidate's standing."""

    value: str
    score: float
    """Mean over templates, subject less reference."""
    gap: float
    """Score less the median of all candidates, in the measure's units."""
    z: float
    """Gap in robust standard deviations of the candidates: 1.4826 x the median distance from the median,
    or 1.2533 x the mean one where that is zero (Iglewicz & Hoaglin 1993)."""
    templates_above: float
    """Share of templates in which the candidate is above that template's median candidate."""
    subject: float | None = None
    """The subject's own mean over templates; with a reference `score` is less than this by the reference's."""
    reference: float | None = None
    """The reference's mean over templates."""
    subject_rank: int | None = None
    """Its place among all candidates by the subject's mean alone, 1 the highest."""
    reference_rank: int | None = None
    """The same by the reference's: a candidate that is first there too is no secret of the subject's."""


class CandidateResult(JudgedResult):
    """The candidates that stand out most, the highest first, beside how far the rest scatter."""

    ranked: tuple[Candidate, ...]
    candidates: int
    templates: int
    expected_largest_z: float
    """The z of the highest of so many candidates if all were alike (normal scatter)."""
    raw: str


@tool
def rank_candidates(subject: Any, args: CandidateArguments, context: Context) -> CandidateResult:
    """Put every candidate into the same prompts and see which one the subject treats unlike the rest.

    For a hidden constant (a secret word, a name, a rule's object): give yes/no questions with a slot
    and a measure of "yes" against "no". A z far above `expected_largest_z`, in most templates, is a
    lead; register it against the runner-up on unseen templates before you believe it.
    """
    slots = {args.slot: args.values[0]}
    given = [with_slots(item, slots, "rank_candidates") for item in items_from(args.items)]
    items = [item for item in given if args.slot in item.slots and uses(item, args.slot)]
    if len({item.template_id for item in items}) < 2:
        mark = "{" + args.slot + "}"
        raise ToolError(
            f"rank_candidates: at least two prompts must show the slot {args.slot!r}, each another template: draw "
            f"templates of the case that have it, or write {mark} into texts of your own, as in 'Is it {mark}?'"
        )
    models = ["subject", *(["reference"] if subject.reference is not None else [])]
    scoring = ScoringArguments.model_construct(
        measure=args.measure,
        arms={},
        samples=args.samples,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
    )
    table: dict[str, list[dict[str, Any]]] = {}
    for number, value in enumerate(args.values):
        context.progress(number / len(args.values), value)
        for model in models:
            arm = Arm(name=value, model=model, edits=(SetSlot(slot=args.slot, values=(value,)),))  # pyright: ignore[reportArgumentType]
            table[f"{model}/{value}"] = score_arm(
                subject, scoring, transformed(arm, items, no_levels), context
            )
    agreement = judge_table(table, args.measure, context.judge, context.seed)
    scores = {value: difference(table, value, models) for value in args.values}
    raw = context.blobs.put(canonical_json({"arms": table}).encode())
    # Of a subject without a reference the score is its own mean.
    own = {
        model: {
            value: mean(list(cluster_means(table[f"{model}/{value}"]).values()))
            for value in args.values
        }
        for model in models
        if len(models) > 1
    }
    return CandidateResult(
        ranked=tuple(beside(each, own) for each in rank(scores)[:SHOWN]),
        candidates=len(args.values),
        templates=len({item.template_id for item in items}),
        expected_largest_z=expected_largest_z(len(args.values)),
        raw=raw,
        agreement=agreement,
    )


def uses(item: Any, slot: str) -> bool:
    """Say whether a template shows the slot in any of its turns."""
    mark = "{" + slot + "}"
    turns = [
        item.template.text,
        item.template.system or "",
        *(turn.words() for turn in item.template.history),
    ]
    return any(mark in text for text in turns)


def no_levels(slot: str, level: str, item: Any) -> str:
    """Refuse level edits, which this tool never makes."""
    raise ToolError(f"no levels of {slot!r} here")


def difference(
    table: dict[str, list[dict[str, Any]]], value: str, models: list[str]
) -> dict[str, float]:
    """Return a candidate's score per template: subject, less reference if there is one."""
    here = cluster_means(table[f"subject/{value}"])
    if "reference" not in models:
        return here
    base = cluster_means(table[f"reference/{value}"])
    return {
        template: score - base[template] for template, score in here.items() if template in base
    }


def rank(scores: dict[str, dict[str, float]]) -> tuple[Candidate, ...]:
    """Return the candidates from the highest mean score down; those that could not be scored are left out."""
    means = {value: mean(list(by.values())) for value, by in scores.items()}
    known = {value: score for value, score in means.items() if score is not None}
    centre = plain.median(known.values())
    distances = [abs(score - centre) for score in known.values()]
    # Where most candidates score the same, the median distance is zero and the mean one stands in.
    scatter = 1.4826 * plain.median(distances) or 1.2533 * plain.fmean(distances)
    templates = {template for by in scores.values() for template in by}
    medians = {
        template: plain.median(by[template] for by in scores.values() if template in by)
        for template in templates
    }
    found = [
        Candidate(
            value=value,
            score=score,
            gap=score - centre,
            z=(score - centre) / scatter if scatter > 0 else 0.0,
            templates_above=sum(scores[value][t] > medians[t] for t in scores[value])
            / len(scores[value]),
        )
        for value, score in known.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.score, each.value)))


def beside(candidate: Candidate, own: dict[str, dict[str, float | None]]) -> Candidate:
    """Return a candidate with what each model alone makes of it; `own` is model -> value -> mean."""
    told: dict[str, Any] = {}
    for model, means in own.items():
        mine = means[candidate.value]
        others = [each for each in means.values() if each is not None]
        told[model] = mine
        told[f"{model}_rank"] = None if mine is None else 1 + sum(each > mine for each in others)
    return candidate.model_copy(update=told)


def expected_largest_z(count: int) -> float:
    """Return about how high the highest of `count` standard normal scores is (Blom 1958)."""
    return plain.NormalDist().inv_cdf((count - 0.375) / (count + 0.25))
