"""What a declared intervention comes to: from the record of an arm to edits of activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from tools.architecture import Anatomy, Site
from tools.blobs import BlobStore
from tools.edits import Edit, load_direction
from tools.prompt import AblateDirection, Intervention, PatchFrom, Steer
from tools.registry import ToolError
from tools.weight_edits import WeightEdit


def declared_edits(
    intervention: Intervention,
    anatomy: Anatomy,
    blobs: BlobStore,
    take: Callable[[Site, int], Tensor],
) -> list[Edit]:
    """Return the edits; `take(site, position)` gives the activations [prompt, d_model] to patch in."""
    match intervention:
        case Steer(layer=layer, coefficient=coefficient, positions=positions):
            vector = load_direction(blobs, intervention.direction, anatomy.d_model)
            return [Edit(Site(layer), "add", vector, coefficient, positions)]
        case AblateDirection(layers=layers):
            vector = load_direction(blobs, intervention.direction, anatomy.d_model)
            return [Edit(site, "project_out", vector) for site in ablation_sites(anatomy, layers)]
        case PatchFrom(layer=layer, site=kind, position=position):
            site = Site(layer, kind)
            return [Edit(site, "set", take(site, position), positions=position)]


def edits_of_weights(change: WeightEdit, anatomy: Anatomy, blobs: BlobStore) -> list[Edit]:
    """Return the edits that do to activations what a change of weights would.

    Raises `ToolError` on an architecture with a norm behind these matrices: what they write is no longer
    theirs alone there.
    """
    vector = load_direction(blobs, change.direction, anatomy.d_model)
    sites = [Site(each.layer, each.part) for each in dict.fromkeys(change.matrices)]
    for site in sites:
        anatomy.validate(site)
        if anatomy.part(site)[0].endswith("norm"):
            raise ToolError(
                f"the {site.kind} matrices of this architecture do not write to the residual stream directly; "
                "ablate the direction in activations"
            )
    return [Edit(site, "project_out", vector) for site in sites]


def ablation_sites(anatomy: Anatomy, layers: Sequence[int]) -> list[Site]:
    """Return where a direction is taken out: after the given layers, or wherever it is written if none.

    Everywhere means the embeddings and both halves of every layer, as if no weight wrote it: taken out
    between layers only, the feed-forward half would still read what attention has just written.

    Source: Arditi et al. 2024, arXiv:2406.11717, section 2.4.
    """
    if layers:
        return [Site(layer) for layer in layers]
    every = range(anatomy.n_layers)
    if not anatomy.additive:
        return [Site(0, "resid_pre"), *map(Site, every)]
    halves = [site for layer in every for site in (Site(layer, "attn_out"), Site(layer, "mlp_out"))]
    return [Site(0, "resid_pre"), *halves]
