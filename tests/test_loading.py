"""What must not be loaded is refused in one line, before anything of it runs."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tools import loading
from tools.faults import SubjectRefused
from tools.locator import ModelFiles, ModelLocator
from tools.subject import SubjectModel


class Payload:
    """Creates a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.fixture
def model(model_folders: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folders("llama"), tmp_path / "copy"))


@pytest.fixture
def adapter(adapter_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter_folder, tmp_path / "adapter"))


def edit_json(path: Path, **values: Any) -> None:
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(found | values))


def refusal(monkeypatch: pytest.MonkeyPatch, model: Path | str, **fields: Any) -> str:
    """Load a model that must be refused before any of it is opened; return the message."""

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the model was opened")

    with monkeypatch.context() as patch:
        patch.setattr(loading.AutoModelForCausalLM, "from_pretrained", opened)
        patch.setattr(loading.AutoTokenizer, "from_pretrained", opened)
        with pytest.raises(SubjectRefused) as caught:
            SubjectModel.load(ModelLocator(model=str(model), **fields))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "w.pkl", "x.ckpt"]
)
def test_a_pickle_checkpoint_is_refused_unopened(
    name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model / "model.safetensors").unlink()
    marker = tmp_path / "executed"
    (model / name).write_bytes(pickle.dumps(Payload(marker)))
    message = refusal(monkeypatch, model)
    assert f"{name} is a pickle" in message
    assert "convert the checkpoint to safetensors" in message
    assert not marker.exists()


def test_a_pickle_beside_safetensors_is_never_opened(model: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for name in ("pytorch_model.bin", "training_args.bin"):
        (model / name).write_bytes(pickle.dumps(Payload(marker)))
    SubjectModel.load(ModelLocator(model=str(model)))
    assert not marker.exists()


def test_a_pickle_adapter_is_refused_unopened(
    model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "executed"
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    assert "adapter_model.bin is a pickle" in refusal(monkeypatch, model, adapter=str(adapter))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_a_configuration_that_names_code_is_refused(
    name: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_json(model / name, auto_map={"AutoModelForCausalLM": "evil.Model"})
    message = refusal(monkeypatch, model)
    assert name in message
    assert "auto_map" in message


def test_nested_code_adapters_and_kernels_from_the_hub_are_refused(
    model: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_json(adapter / "adapter_config.json", extra=[{"auto_map": {}}])
    assert "auto_map" in refusal(monkeypatch, model, adapter=str(adapter))
    edit_json(model / "config.json", _attn_implementation="someone/kernels")
    assert "attn_implementation" in refusal(monkeypatch, model)


def test_what_is_missing_is_named(
    model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no such folder" in refusal(monkeypatch, tmp_path / "nowhere")
    assert "no such folder" in refusal(monkeypatch, "./nowhere")
    assert "is a file" in refusal(monkeypatch, model / "config.json")
    assert "adapter_config.json" in refusal(monkeypatch, model, adapter=str(model))
    (adapter / "adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors is missing" in refusal(
        monkeypatch, model, adapter=str(adapter)
    )
    (model / "model.safetensors").unlink()
    assert "model.safetensors is missing" in refusal(monkeypatch, model)
    (model / "config.json").unlink()
    assert "no config.json" in refusal(monkeypatch, model)


def test_a_hub_model_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "not to be had from the hub" in refusal(monkeypatch, "nobody/no-such-model")
    assert "check the spelling" in refusal(monkeypatch, "no body")


def shard(folder: Path) -> None:
    """Split the weights of a model in two, with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[:20], names[20:]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_sharded_models_load_whole_and_not_in_part(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(model)
    SubjectModel.load(ModelLocator(model=str(model)))
    second = model / "model-00002-of-00002.safetensors"
    second.rename(model / "away")
    assert f"shard {second.name} is missing" in refusal(monkeypatch, model)
    index = model / "model.safetensors.index.json"
    edit_json(index, weight_map={"lm_head.weight": "../x.safetensors"})
    assert "no safetensors shard" in refusal(monkeypatch, model)
    edit_json(index, weight_map={"lm_head.weight": "pytorch_model.bin"})
    assert "no safetensors shard" in refusal(monkeypatch, model)
    index.write_text("{")
    assert "cannot be read as JSON" in refusal(monkeypatch, model)


def test_wrong_hashes_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in model.iterdir()}
    (model / "checksums.json").write_text(json.dumps(files))
    digest = ModelFiles(ModelLocator(model=str(model))).digest
    SubjectModel.load(ModelLocator(model=str(model), digest=digest))
    assert "expected" in refusal(monkeypatch, model, digest="0" * 64)
    tensors = load_file(model / "model.safetensors")
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    assert "model.safetensors has another SHA-256" in refusal(monkeypatch, model)
    # The list of a folder that holds the model counts too.
    (model / "checksums.json").rename(model.parent / "checksums.json")
    edit_json(model.parent / "checksums.json", **{"copy/config.json": "0" * 64})
    assert "config.json has another SHA-256" in refusal(monkeypatch, model)


def test_damaged_weights_and_foreign_adapters_are_refused_in_one_line(
    model: Path, adapter: Path, model_folders: Callable[[str], Path]
) -> None:
    other = str(model_folders("gpt2"))
    with pytest.raises(SubjectRefused, match="does not fit this model") as caught:
        SubjectModel.load(ModelLocator(model=other, adapter=str(adapter)))
    assert "\n" not in str(caught.value)
    weights = load_file(adapter / "adapter_model.safetensors")
    renamed = {name.replace("layers.0", "layers.9"): value for name, value in weights.items()}
    save_file(renamed, adapter / "adapter_model.safetensors")
    with pytest.raises(SubjectRefused, match="no place for"):
        SubjectModel.load(ModelLocator(model=str(model), adapter=str(adapter)))
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(SubjectRefused, match="transformers cannot load it") as caught:
        SubjectModel.load(ModelLocator(model=str(model)))
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_refused_and_not_filled_with_noise(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SubjectRefused, match="lack model.layers.1.mlp.up_proj.weight"):
        SubjectModel.load(ModelLocator(model=str(model)))


@pytest.mark.parametrize("initial", ["pissa", "olora"])
def test_adapters_that_rewrite_the_base_are_refused(
    initial: str, model: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_json(adapter / "adapter_config.json", init_lora_weights=initial)
    assert "convert it to plain LoRA" in refusal(monkeypatch, model, adapter=str(adapter))


def test_the_digest_is_of_everything_that_shapes_the_model(model: Path, adapter: Path) -> None:
    def digest(**fields: Any) -> str:
        return ModelFiles(ModelLocator(model=str(model), **fields)).digest

    first = digest()
    seen = {first, digest(system="Hidden."), digest(adapter=str(adapter))}
    (model / "README.md").write_text("No part of the model.")
    assert digest() == first
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        edit_json(model / name, note=1)
        seen.add(digest())
    edit_json(adapter / "adapter_config.json", lora_alpha=16)
    seen.add(digest(adapter=str(adapter)))
    assert len(seen) == 7


def test_a_reference_on_other_weights_is_loaded_beside(
    model_folders: Callable[[str], Path], make_model: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_model(tmp_path / "other", "llama", seed=5)
    subject = SubjectModel.load(
        ModelLocator(model=str(model_folders("llama"))), ModelLocator(model=str(other))
    )
    assert subject.arm("reference").weights is not subject.weights
    assert subject.digests["subject"] != subject.digests["reference"]
    assert subject.arm("reference").name == "reference"


def test_half_precision_is_read_as_float32_on_a_cpu(model: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    network.save_pretrained(model)
    loaded = SubjectModel.load(ModelLocator(model=str(model), device="cpu"))
    assert loaded.weights.network.dtype == torch.float32
    kept = SubjectModel.load(ModelLocator(model=str(model), device="cpu", dtype="bfloat16"))
    assert kept.weights.network.dtype == torch.bfloat16


def test_nnsight_leaves_python_objects_alone() -> None:
    assert not hasattr(3, "save")
    assert not hasattr(torch.ones(1), "save")
