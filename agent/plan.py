"""What a run would do and what it would take, told before anything is started (`--dry-run`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.case import Case
from agent.cast import Cast
from agent.engines import api_name
from agent.investigation import Spent
from agent.language_model import LanguageModelInvestigator
from agent.llm.prices import Prices
from agent.population import Population, draw
from tools.footprint import Footprint, footprint
from tools.measures import JudgedMeasure

USUAL_ANSWERS = (6_700, 8_700)
"""Answers that runs of the systematic investigator on the shipped cases sampled, confirmation and all."""
USUAL_TOKENS = (130_000, 290_000)
"""What three investigations over the Messages API read and wrote in all, in 5 to 10 requests."""
UNKNOWN = "unknown, because"
CHARACTERS_PER_TOKEN = 4
BATCH = 256
CPU_FLOPS = 30e9
"""Float32 operations a second of one core, about what sampling reached on the machine of the README's speed table."""
GPU_FLOPS, GPU_BANDWIDTH = 25e12, 1e12
"""Operations and bytes a second that a data-centre GPU reaches with little effort: a quarter to a third of its best."""


class Answer(NamedTuple):
    """The tokens of one answer of the subject, about."""

    read: float
    written: int


def usual_answer(case: Case, population: Population) -> Answer:
    """Return what an answer to a prompt of the case takes; at most the tokens that it may write."""
    items = draw(population, "explore", (12, 2), 0)
    read = sum(len(item.prompt.text()) for item in items) / max(1, len(items))
    return Answer(read / CHARACTERS_PER_TOKEN, case.sampling.max_new_tokens)


def resources_told(
    case: Case, population: Population, cast: Cast, prices: Prices
) -> dict[str, str]:
    """Return prompts, tokens, dollars, GPU minutes and memory, or why one of them cannot be known."""
    each = usual_answer(case, population)
    tokens, dollars = subject_bill(case, each, prices)
    for name, counts, cost in others_bill(case, cast):
        tokens.append(f"{name}: {counts}")
        dollars.append(f"{name}: {cost}")
    low, high = USUAL_ANSWERS
    return {
        "prompts": f"some {low:,} to {high:,} answers of the subject, as the systematic investigator asks",
        "tokens": "; ".join(tokens),
        "dollars": "; ".join(dollars) or "none: no model behind an API takes part",
        **work_told(case, each),
    }


def subject_bill(case: Case, each: Answer, prices: Prices) -> tuple[list[str], list[str]]:
    """Return the subject's tokens and, of one behind an API, its dollars."""
    total = each.read + each.written
    counts = " to ".join(thousands(count * total) for count in USUAL_ANSWERS)
    tokens = [f"the subject: about {counts}, read and written"]
    name = api_name(case.subject)
    if name is None:
        return tokens, []
    spent = [
        Spent(input_tokens=round(count * each.read), output_tokens=count * each.written)
        for count in USUAL_ANSWERS
    ]
    return tokens, [f"the subject: {priced(name, spent, prices)}"]


def others_bill(case: Case, cast: Cast) -> Iterator[tuple[str, str, str]]:
    """Yield name, tokens and dollars of every other model that takes part."""
    investigator = cast.investigator
    if isinstance(investigator, LanguageModelInvestigator):
        counts = " to ".join(f"{count:,}" for count in USUAL_TOKENS)
        spent = [Spent(input_tokens=count, output_tokens=6_000) for count in USUAL_TOKENS]
        dollars = priced(investigator.name, spent, investigator.prices)
        yield "the investigator", f"some {counts}", f"{dollars}, without caching"
    if cast.panel is not None:
        why = "each distinct answer is one request to each, and many answers are alike"
        if not isinstance(case.measure, JudgedMeasure):
            why = "they read only what is asked with a judged measure"
        yield "the judges", f"{UNKNOWN} {why}", f"{UNKNOWN} {why}"
    for role in cast.names():
        why = f"{UNKNOWN} it depends on how often it is asked"
        yield f"the {role}", why, why


def priced(name: str, spent: Sequence[Spent], prices: Prices) -> str:
    """Return the dollars of the least and the most that is usual."""
    found = [prices.cost(name, each) for each in spent]
    known = [f"{each:.2f}" for each in found if each is not None]
    return (
        " to ".join(known)
        if len(known) == len(found)
        else f"{UNKNOWN} no price is known for {name}"
    )


def work_told(case: Case, each: Answer) -> dict[str, str]:
    """Return time and memory of the subject on this machine."""
    if api_name(case.subject) is not None:
        why = "none here: the subject is behind an API"
        return {"GPU minutes": why, "memory": why}
    size = footprint(case.subject)
    if size is None:
        why = f"{UNKNOWN} the model is not on this machine yet"
        return {"GPU minutes": why, "memory": why}
    high, total = USUAL_ANSWERS[1], each.read + each.written
    return {
        "GPU minutes": time_told(size, high * total, high * each.written),
        "memory": memory_told(case, size, total),
    }


def time_told(size: Footprint, tokens: float, written: float) -> str:
    """Return the minutes that answers take; on a GPU reading the weights at each step may take longest."""
    work = 2 * size.parameters * tokens
    reading = size.weight_bytes * written / BATCH / GPU_BANDWIDTH
    gpu = max(work / GPU_FLOPS, reading) / 60
    return f"{minutes(gpu)} on a GPU; {minutes(work / CPU_FLOPS / 60)} on one CPU core"


def thousands(count: float) -> str:
    """Return a count in thousands or millions: more digits would be made up."""
    return f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count / 1e3:.0f} thousand"


def minutes(count: float) -> str:
    """Return minutes in words."""
    return "under a minute" if count < 1 else f"about {math.ceil(count):,} minutes"


def memory_told(case: Case, size: Footprint, tokens: float) -> str:
    """Return the memory of weights and of a full batch; a reference of other weights counts as well."""
    twice = case.reference is not None and case.reference.model != case.subject.model
    weights = size.weight_bytes * (2 if twice else 1)
    cache = size.cache_bytes_per_token * BATCH * tokens
    total = (weights + cache) / 2**30
    return (
        f"about {total:.1f} GB: {size.parameters / 1e6:,.0f} million weights as stored"
        f"{', twice (the reference has its own)' if twice else ''}, and {cache / 2**30:.1f} GB for "
        f"{BATCH} answers at once; batches shrink when memory runs out"
    )
