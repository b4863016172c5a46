"""What a run would do and what it would take, told before anything is started (`--dry-run`)."""

from __future__ import annotations

from agent.case import Case
from agent.population import Population, draw
from tools.footprint import Footprint, footprint

USUAL_ANSWERS = (6_700, 8_700)
"""Answers that runs of the systematic investigator on the shipped cases sampled, confirmation and all."""
CHARACTERS_PER_TOKEN = 4
BATCH = 256
CPU_FLOPS = 30e9
"""Float32 operations a second of one core, about what sampling reached on the machine of the README's speed table."""
GPU_FLOPS, GPU_BANDWIDTH = 25e12, 1e12
"""Operations and bytes a second that a data-centre GPU reaches with little effort: a quarter to a third of its best."""


def answers_told(case: Case, population: Population) -> dict[str, str]:
    """Return what the subject has to do: answers, tokens, time and memory, as far as they can be known."""
    items = draw(population, "explore", (12, 2), 0)
    read = sum(len(item.prompt.text()) for item in items) / max(1, len(items))
    tokens = read / CHARACTERS_PER_TOKEN + case.sampling.max_new_tokens
    low, high = USUAL_ANSWERS
    told = {
        "answers of the subject": f"some {low:,} to {high:,}, as the systematic investigator asks",
        "tokens of the subject": f"about {thousands(low * tokens)} to {thousands(high * tokens)}, read and written",
    }
    size = footprint(case.subject)
    if size is None:
        return told | {"time and memory": "not known before the model is on this machine"}
    return told | {
        "time of the subject": time_told(size, high * tokens, high * case.sampling.max_new_tokens),
        "memory": memory_told(case, size, tokens),
    }


def time_told(size: Footprint, tokens: float, written: float) -> str:
    """Return the minutes that answers take; on a GPU reading the weights at each step may take longest."""
    work = 2 * size.parameters * tokens
    reading = size.weight_bytes * written / BATCH / GPU_BANDWIDTH
    gpu = max(work / GPU_FLOPS, reading) / 60
    return f"about {minutes(gpu)} on a GPU, {minutes(work / CPU_FLOPS / 60)} on one CPU core"


def thousands(count: float) -> str:
    """Return a count in thousands or millions: more digits would be made up."""
    return f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count / 1e3:.0f} thousand"


def minutes(count: float) -> str:
    """Return minutes in words."""
    return "under a minute" if count < 1 else f"{count:,.0f} minutes"


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
