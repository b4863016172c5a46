"""Every tool, in one tuple: imported by the worker, by notebooks and by tests."""

from __future__ import annotations

from tools.black_box import BLACK_BOX
from tools.difference_lens import difference_lens
from tools.directions import placebo_directions
from tools.intervention import ablate_direction, patch_activations, steer
from tools.logit_lens import logit_lens
from tools.probing import train_probes
from tools.screens import screen_differences

TOOLS = (
    *BLACK_BOX,
    screen_differences,
    logit_lens,
    difference_lens,
    train_probes,
    patch_activations,
    steer,
    ablate_direction,
    placebo_directions,
)
