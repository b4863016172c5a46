"""What a call to a science tool takes: how many answers or runs, how many seconds at this run's own speed.

An answer is one prompt sampled once, or read once, on one model; a run is the same under one direction, or
with one activation replaced. The speed is the best that the run has seen, of a tool that looks inside that
of earlier calls to it, so that a call is refused only when it could not end in time even so.
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
USUAL_SAMPLES = {"sample_responses": 2, "screen_differences": 4}
USUAL_DOSES, USUAL_PLACEBOS, MOST_POSITIONS = 3, 99, 16
"""What the tools that look inside take by themselves."""
MOST_SAMPLES = 10_000
"""More are refused by every tool."""
FEWEST_ANSWERS = 32
"""A smaller call says little of the speed of a large one."""
CLEARLY_OVER = 1.5
"""An estimate is rough: it has to be so much more than what is left before a call is refused."""
STEP_S = 10


def takes(tool: str, layers: int) -> str | None:
    """Return what a call to a tool takes, to be told before it is made; None where `took` is soon enough."""
    kinds = "x kinds of placebo (3 with labelled prompts, else 2)"
    match tool:
        case "steer":
            most = runs_of(tool, {"items": [0], "examples": [0]}, layers)
            return f"prompts x samples x (1 + 2 x doses + 2 x placebos {kinds}): {most} runs a prompt with the defaults"
        case "ablate_direction":
            most = runs_of(tool, {"items": [0], "examples": [0]}, layers)
            return f"prompts x samples x (2 + placebos {kinds}): {most} runs a prompt with the defaults"
        case "patch_activations":
            most = runs_of(tool, {"items": [0]}, layers)
            return f"pairs x layers x sites x positions x 3: up to {most:,} runs a pair with the defaults"
        case "screen_differences":
            return "prompts x models x samples, and each answer read by both models"
        case "logit_lens" | "difference_lens" | "train_probes" | "placebo_directions":
            return "each prompt read once or twice by each model, nothing sampled but the first words of answers"
        case _:
            return None


def runs_of(tool: str, arguments: Mapping[str, Any], layers: int) -> int | None:
    """Return about how many runs a call to a tool that looks inside asks for, at most; None for other tools."""
    items = sized(arguments.get("items")) or sized(arguments.get("clean"))
    kinds = 3 if arguments.get("examples") or arguments.get("positive") else 2
    placebos = number(arguments.get("placebos"), USUAL_PLACEBOS) * kinds
    samples = 1 if is_read(arguments) else number(arguments.get("samples"), 1)
    match tool:
        case "steer":
            doses = sized(arguments.get("doses")) or USUAL_DOSES
            return items * samples * (1 + 2 * doses + 2 * placebos)
        case "ablate_direction":
            beside = 2 * sized(arguments.get("unrelated_items"))
            return samples * (items * (2 + placebos) + beside)
        case "patch_activations":
            sites = (sized(arguments.get("layers")) or layers) * (
                sized(arguments.get("sites")) or 1
            )
            return items * sites * (sized(arguments.get("positions")) or MOST_POSITIONS) * 3
        case _:
            return None


def number(value: Any, usual: int) -> int:
    """Return a whole number that a call gives, or the usual one; 0 of what the tool refuses by itself."""
    if value is None:
        return usual
    return value if isinstance(value, int) and 0 < value <= MOST_SAMPLES else 0


def answers_of(tool: str, arguments: Mapping[str, Any], models: int, layers: int = 0) -> int | None:
    """Return how many answers or runs a call asks for; None for tools that are not counted."""
    samples = 1 if is_read(arguments) else arguments.get("samples", USUAL_SAMPLES.get(tool, 1))
    if not isinstance(samples, int) or samples > MOST_SAMPLES:
        return None
    items = sized(arguments.get("items"))
    both = models if arguments.get("with_reference", True) else 1
    match tool:
        case "sample_responses" | "screen_differences":
            return items * both * samples
        case "rank_candidates":
            return items * models * samples * sized(arguments.get("values"))
        case "vary_prompts":
            return items * both * samples * cells_of(arguments)
        case "score_arms":
            return samples * sum(sized(arm.get("items")) for arm in arguments["arms"].values())
        case _:
            return runs_of(tool, arguments, layers)


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


def layers_of(investigation: Investigation) -> int:
    """Return how many layers the subject has; 0 of one that cannot be looked into."""
    return investigation.worker.catalogue.facts.get("n_layers") or 0


def seconds_per_answer(investigation: Investigation, tool: str, *, read: bool) -> float | None:
    """Return the best speed of this run so far, sampling or reading; None before a call that could tell."""
    speeds: list[float] = []
    alike = COUNTED if tool in COUNTED else (tool,)
    for entry in investigation.experiments:
        if entry.failed or entry.tool not in alike:
            continue
        arguments = investigation.experiment(entry.number).arguments
        count = counted(investigation, entry.tool, arguments)
        if count is not None and count >= FEWEST_ANSWERS and is_read(arguments) == read:
            speeds.append(entry.seconds / count)
    return min(speeds, default=None)


def counted(investigation: Investigation, tool: str, arguments: Mapping[str, Any]) -> int | None:
    """Return how many answers or runs a call asks for in this investigation."""
    return answers_of(tool, arguments, models_of(investigation), layers_of(investigation))


def check_cost(investigation: Investigation, tool: str, arguments: Mapping[str, Any]) -> None:
    """Raise `ToolError` for a call that could not end before its deadline or within the budget."""
    count = counted(investigation, tool, arguments)
    if count is None or count <= 0:
        return
    speed = seconds_per_answer(investigation, tool, read=is_read(arguments))
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
        each = takes(tool, layers_of(investigation)) or "prompts x variants x samples x models"
        raise ToolError(
            f"{tool}: {count:,} {what(tool)} would take about {rounded_seconds(wanted)} at the speed of this run, "
            f"and {rounded_seconds(left)} {name}; ask for at most {fitting:,} {what(tool)} ({each})"
        )


def told_cost(
    investigation: Investigation, tool: str, arguments: Mapping[str, Any], seconds: float
) -> str:
    """Return what a call took, coarsely: a call that is made again takes a little more or less."""
    count = counted(investigation, tool, arguments)
    told = f"{count:,} {what(tool)}, " if count else ""
    return f"{told}{rounded_seconds(seconds)}"


def what(tool: str) -> str:
    """Return what a call to a tool is counted in."""
    return "answers" if tool in COUNTED or tool == "screen_differences" else "runs"


def rounded_seconds(seconds: float) -> str:
    """Return a time in steps of ten seconds."""
    if seconds < STEP_S:
        return f"under {STEP_S} s"
    return f"{STEP_S * round(seconds / STEP_S):,} s"
