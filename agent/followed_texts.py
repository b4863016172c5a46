"""Recorded outputs that did not come out again: has rounding turned them, or did the model never say them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from agent.agreement import Agreement, Output
from agent.run_folder import RunError
from tools.black_box import BLACK_BOX
from tools.boundary import Catalogue
from tools.experiment import Experiment
from tools.prompt import Prompt
from tools.recorded_texts import (
    COARSEST,
    ROUNDING,
    TOOL,
    FollowedText,
    FollowingResult,
    RecordedText,
)
from tools.registry import find_tool
from tools.scoring import ScoringArguments
from tools.worker_client import Worker

MOST = 64
"""So many differing outputs of one experiment are followed."""
BY_ARM = ("sample_responses", "vary_prompts", "rank_candidates")
"""Tools whose arms are called after the model, and that sample from the prompts of their rows as they are."""


def look_into(
    found: Agreement, outputs: Sequence[Output], stored: Experiment, then: Catalogue, worker: Worker
) -> Agreement:
    """Return an agreement with what comes of following its differing outputs, where the worker can."""
    offered = {entry["name"] for entry in worker.catalogue.tools}
    if not found.same_models or TOOL not in offered:
        return found
    asked = [(each, text) for each in outputs if (text := recorded(stored, each)) is not None][
        :MOST
    ]
    if not asked:
        return found
    told = follow(worker, stored, [text for _, text in asked], rounding(then, worker.catalogue))
    pairs = list(zip((each for each, _ in asked), told, strict=True))
    if not pairs:
        return found
    outcomes = [each.outcome for each in told]
    pairs.sort(key=lambda pair: (pair[1].outcome != "impossible", -(pair[1].margin or 0.0)))
    return found.model_copy(
        update={
            "shown": tuple(output.told(followed) for output, followed in pairs),
            "explained": outcomes.count("possible"),
            "impossible": outcomes.count("impossible"),
        }
    )


def follow(
    worker: Worker, stored: Experiment, texts: Sequence[RecordedText], nats: float
) -> Sequence[FollowedText]:
    """Have the worker follow texts of an experiment; raises `RunError` where it cannot."""
    given: Any = find_tool(BLACK_BOX, stored.tool).parse(stored.arguments)
    arguments = {
        "texts": [text.model_dump(mode="json") for text in texts],
        "max_new_tokens": given.max_new_tokens,
        "temperature": given.temperature,
        "rounding": nats,
    }
    done = worker.call(TOOL, arguments, stored.seed)
    if done.result is None:
        raise RunError(f"the recorded texts could not be followed: {done.error}")
    return FollowingResult.model_validate(done.result).texts


def rounding(then: Catalogue, now: Catalogue) -> float:
    """Return by how many nats a logit difference may be off: that of the coarser of both precisions."""
    precisions = [each.machine.get("precision", COARSEST) for each in (then, now)]
    return max(ROUNDING.get(each, ROUNDING[COARSEST]) for each in precisions)


def recorded(stored: Experiment, output: Output) -> RecordedText | None:
    """Return a recorded output with what it was sampled from; None where this cannot tell."""
    fields: dict[str, Any] = {
        "key": output.row["id"],
        "sample": output.sample,
        "text": output.recorded,
    }
    if stored.tool == "score_arms":
        return of_arm(stored.arguments, output, fields)
    model = output.arm.partition("/")[0]
    if stored.tool not in BY_ARM or model not in get_args(
        RecordedText.model_fields["model"].annotation
    ):
        return None
    prompt = Prompt.model_validate(output.row["prompt"])
    return RecordedText.model_validate({"model": model, "prompt": prompt, **fields})


def of_arm(
    arguments: Mapping[str, Any], output: Output, fields: Mapping[str, Any]
) -> RecordedText | None:
    """Return an output of a registered arm; None of one whose weights were changed."""
    prompts = ScoringArguments.model_validate(arguments).arms[output.arm]
    if prompts.weights is not None:
        return None
    place = next(k for k, item in enumerate(prompts.items) if item.id == output.row["id"])
    return RecordedText.model_validate(
        {
            "model": prompts.arm.model,
            "prompt": prompts.items[place].prompt,
            "intervention": prompts.arm.intervention,
            "source": prompts.sources[place] if prompts.sources else None,
            **fields,
        }
    )
