"""The tools that need no look inside the model, in one tuple that loads no torch."""

from __future__ import annotations

from tools.candidates import rank_candidates
from tools.prompt_variation import vary_prompts
from tools.sampling import sample_responses
from tools.scoring import score_arms

BLACK_BOX = (sample_responses, vary_prompts, rank_candidates, score_arms)
