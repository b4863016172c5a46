"""The tools that need no look inside the model, in one tuple that loads no torch; and the names of the others."""

from __future__ import annotations

from tools.candidates import rank_candidates
from tools.prompt_variation import vary_prompts
from tools.sampling import sample_responses
from tools.scoring import score_arms
from tools.thought_anchors import thought_anchors

BLACK_BOX = (sample_responses, vary_prompts, rank_candidates, thought_anchors, score_arms)
WHITE_BOX_NAMES = (
    "screen_differences",
    "logit_lens",
    "difference_lens",
    "train_probes",
    "patch_activations",
    "steer",
    "ablate_direction",
    "placebo_directions",
)
"""Known without the tools themselves, which load torch."""


def refusal_of(name: str) -> str | None:
    """Return the line that refuses a tool to a subject that cannot be looked into; None for other names."""
    if name not in WHITE_BOX_NAMES:
        return None
    return (
        f"`{name}` looks inside the model; this subject is behind an API (or a table): ask it with "
        "sample_responses, vary_prompts or rank_candidates"
    )
