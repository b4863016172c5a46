"""What a stored probe reads from prompts."""

from __future__ import annotations

from collections.abc import Sequence

from tools.architecture import Site
from tools.blobs import BlobStore
from tools.edits import Edit, load_direction
from tools.measures import ProbeReading
from tools.prompt import Prompt
from tools.subject import SubjectModel


def projections(
    model: SubjectModel,
    prompts: Sequence[Prompt],
    probe: ProbeReading,
    blobs: BlobStore,
    edits: Sequence[Edit] = (),
) -> list[float]:
    """Return the dot product of each prompt's activation with the probe's direction, under edits if any."""
    direction = load_direction(blobs, probe.direction, model.d_model)
    hidden = model.capture(prompts, [Site(probe.layer)], [probe.position], edits)[0, :, 0]
    return (hidden.double() @ direction.double()).tolist()
