"""What a call to a science tool takes: how many answers, how many seconds at this run's own speed.

An answer is one prompt sampled once, or read once, on one model. The speed is the best that the run
has seen, so that a call is refused only when it could not end in time even so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agent.engines import api_name
from agent.investigation import Investigation
from tools.factors import NO_OP
from tools.registry import ToolError
from tools.remote import DEADLINE_S

COUNTED = ("sample_responses", "vary_prompts", "rank_candidates", "score_arms")
USUAL_SAMPLES = {"sample_responses": 2}
MOST_SAMPLES = 10_000
"""More are refused by every tool."""
FEWEST_ANSWERS = 32
"""A smaller call says little of the speed of a large one."""
CLEARLY_OVER = 1.5
"""An estimate is rough: it has to be so much more than what is left before a call is refused."""
STEP_S = 10


def answers_of(tool: str, arguments: Mapping[str, Any], models: int) -> int | None:
    """Return how many answers a call asks for; None for tools that are not counted in answers."""
    samples = 1 if is_read(arguments) else arguments.get("samples", USUAL_SAMPLES.get(tool, 1))
    if not isinstance(samples, int) or samples > MOST_SAMPLES:
        return None
    items = sized(arguments.get("items"))
    both = models if arguments.get("with_reference", True) else 1
    match tool:
        case "sample_responses":
            return items * both * samples
        case "rank_candidates":
            return items * models * samples * sized(arguments.get("values"))
        case "vary_prompts":
            return items * both * samples * cells_of(arguments)
        case "score_arms":
            return samples * sum(sized(arm.get("items")) for arm in arguments["arms"].values())
        case _:
            return None


def is_read(arguments: Mapping[str, Any]) -> bool:
    """Say whether answers are read off probabilities or activations, which is faster than sampling them."""
    measure = arguments.get("measure")
    return isinstance(measure, dict) and measure.get("kind") in (
        "logprob_difference",
        "probe_reading",
    )


def cells_of(arguments: Mapping[str, Any]) -> int:
    """Return how many variants of its prompts a call to `vary_prompts` runs, the no-op among them."""
    given = arguments.get("factors")
    factors = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    levels = [sized(each.get("levels")) for each in factors if each.get("name") != NO_OP]
    if arguments.get("design") == "factorial":
        return math.prod(levels) + 1
    return 2 + sum(max(level - 1, 0) for level in levels)


def sized(value: Any) -> int:
    """Return the length of a list; 0 of anything else, which the tool refuses by itself."""
    return len(value) if isinstance(value, list) else 0


def models_of(investigation: Investigation) -> int:
    """Return how many models a call runs by default."""
    return 1 if investigation.case.reference is None else 2


def seconds_per_answer(investigation: Investigation, *, read: bool) -> float | None:
    """Return the best speed of this run so far, sampling or reading; None before a call that could tell."""
    speeds: list[float] = []
    for entry in investigation.experiments:
        if entry.failed or entry.tool not in COUNTED:
            continue
        arguments = investigation.experiment(entry.number).arguments
        count = answers_of(entry.tool, arguments, models_of(investigation))
        if count is not None and count >= FEWEST_ANSWERS and is_read(arguments) == read:
            speeds.append(entry.seconds / count)
    return min(speeds, default=None)


def check_cost(investigation: Investigation, tool: str, arguments: Mapping[str, Any]) -> None:
    """Raise `ToolError` for a call that could not end before its deadline or within the budget."""
    count = answers_of(tool, arguments, models_of(investigation))
    if count is None or count <= 0:
        return
    speed = seconds_per_answer(investigation, read=is_read(arguments))
    if not speed:
        return
    wanted = count * speed
    limits = investigation.case.limits
    room: dict[str, float] = {}
    if api_name(investigation.case.subject) is None:
        room["is what a tool may take"] = DEADLINE_S
    if limits.minutes is not None:
        room["is left of the run's minutes"] = 60 * max(limits.minutes - investigation.minutes, 0)
    if limits.tool_seconds is not None:
        used = sum(entry.seconds for entry in investigation.experiments)
        room["is left for tools"] = max(limits.tool_seconds - used, 0)
    name, left = min(room.items(), key=lambda each: each[1], default=("", math.inf))
    if wanted > CLEARLY_OVER * left:
        fitting = int(left / speed)
        raise ToolError(
            f"{tool}: {count:,} answers would take about {rounded_seconds(wanted)} at the speed of this run, and "
            f"{rounded_seconds(left)} {name}; ask for at most {fitting:,} answers (prompts x variants x samples x "
            "models)"
        )


def told_cost(
    investigation: Investigation, tool: str, arguments: Mapping[str, Any], seconds: float
) -> str:
    """Return what a call took, coarsely: a call that is made again takes a little more or less."""
    count = answers_of(tool, arguments, models_of(investigation))
    told = f"{count:,} answers, " if count else ""
    return f"{told}{rounded_seconds(seconds)}"


def rounded_seconds(seconds: float) -> str:
    """Return a time in steps of ten seconds."""
    if seconds < STEP_S:
        return f"under {STEP_S} s"
    return f"{STEP_S * round(seconds / STEP_S):,} s"
