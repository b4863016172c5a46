"""A direction taken out of weights, as edits of activations, is what changed weights would do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tools.blobs import BlobStore
from tools.edits import save_direction
from tools.loading import scale_adapter
from tools.locator import ModelFiles, ModelLocator
from tools.prompt import user_prompt
from tools.registry import ToolError
from tools.subject import SubjectModel
from tools.weight_edits import WeightEdit

PROMPTS = [user_prompt("the river is long"), user_prompt("tell me of the tower")]


def direction(subject: SubjectModel, blobs: BlobStore) -> tuple[torch.Tensor, str]:
    found = torch.randn(subject.d_model, generator=torch.Generator().manual_seed(1))
    return found / found.norm(), save_direction(blobs, 3 * found)


def test_the_matrices_named_no_longer_write_the_direction(
    subjects: Callable[[str], SubjectModel], tmp_path: Path
) -> None:
    subject, blobs = subjects("llama"), BlobStore(tmp_path)
    unit, blob = direction(subject, blobs)
    change = WeightEdit.model_validate(
        {
            "direction": blob,
            "matrices": [{"layer": 0, "part": "attn_out"}, {"layer": 1, "part": "mlp_out"}],
        }
    )
    plain = subject.next_token_logprobs(PROMPTS)
    under = subject.next_token_logprobs(PROMPTS, subject.weight_edits(change, blobs))
    layers = subject.weights.network.model.layers
    matrices = [layers[0].self_attn.o_proj.weight, layers[1].mlp.down_proj.weight]
    kept = [matrix.data.clone() for matrix in matrices]
    try:
        for matrix in matrices:
            matrix.data -= torch.outer(unit, unit @ matrix.data)
        changed = subject.next_token_logprobs(PROMPTS)
    finally:
        for matrix, before in zip(matrices, kept, strict=True):
            matrix.data.copy_(before)
    assert torch.allclose(under, changed, atol=1e-5)
    assert not torch.allclose(under, plain, atol=1e-3)


def test_where_a_norm_stands_behind_the_matrices_it_is_refused(
    subjects: Callable[[str], SubjectModel], tmp_path: Path
) -> None:
    subject, blobs = subjects("gemma2"), BlobStore(tmp_path)
    _, blob = direction(subject, blobs)
    change = WeightEdit.model_validate(
        {"direction": blob, "matrices": [{"layer": 0, "part": "mlp_out"}]}
    )
    with pytest.raises(ToolError, match="do not write to the residual stream directly"):
        subject.weight_edits(change, blobs)
    beyond = change.model_copy(
        update={"matrices": (change.matrices[0].model_copy(update={"layer": 99}),)}
    )
    with pytest.raises(ToolError, match="layer 99"):
        subjects("llama").weight_edits(beyond, blobs)


def test_an_adapter_is_kept_in_part(
    model_folders: Callable[[str], Path], adapter_folder: Path
) -> None:
    def logprobs(**fields: object) -> torch.Tensor:
        locator = ModelLocator.model_validate({"model": str(model_folders("llama")), **fields})
        return SubjectModel.load(locator).next_token_logprobs(PROMPTS)

    adapter = {"adapter": str(adapter_folder)}
    base, whole = logprobs(), logprobs(**adapter)
    half = logprobs(**adapter, adapter_scale=0.5)
    assert torch.allclose(logprobs(**adapter, adapter_scale=0.0), base, atol=1e-6)
    assert not torch.allclose(half, base, atol=1e-4) and not torch.allclose(half, whole, atol=1e-4)


def test_a_scaled_adapter_is_another_model_and_shares_no_weights_with_the_whole_one(
    model_folders: Callable[[str], Path], adapter_folder: Path
) -> None:
    known = {"model": str(model_folders("llama")), "adapter": str(adapter_folder)}
    whole = ModelLocator.model_validate(known)
    half = ModelLocator.model_validate(known | {"adapter_scale": 0.5})
    assert ModelFiles(whole).digest != ModelFiles(half).digest
    # What stored cases hold of a locator is as it was.
    assert "adapter_scale" not in whole.model_dump() and half.model_dump()["adapter_scale"] == 0.5
    subject = SubjectModel.load(half, whole)
    assert subject.reference is not None
    assert subject.reference.weights is not subject.weights
    scale_adapter(torch.nn.Linear(1, 1), half)
