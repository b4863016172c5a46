"""Checked files become weights in memory: one Hugging Face model, wrapped once by nnsight.

A `Weights` may serve two subjects, with its adapter and without; which of the two runs is switched
under the lock, so that a reference costs no second copy of the model. An adapter on a small model is
folded into its matrices: run beside them it costs a third of the time of sampling.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from peft.functional import cast_adapter_dtype, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import load_peft_weights
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from tools.architecture import Anatomy
from tools.batching import is_out_of_memory
from tools.faults import SubjectRefused
from tools.locator import ModelFiles, ModelLocator

logger = logging.getLogger(__name__)

FOLDED_BYTES = 2**30
"""An adapter is folded when the matrices that it changes, which are then kept twice, take no more."""


def import_nnsight() -> Any:
    """Import nnsight without its `.save` on every object; restores the environment afterwards."""
    before = os.environ.get("NNSIGHT_CONFIG")
    os.environ["NNSIGHT_CONFIG"] = str(Path(__file__).with_name("nnsight.yaml"))
    try:
        import nnsight
    finally:
        if before is None:
            del os.environ["NNSIGHT_CONFIG"]
        else:
            os.environ["NNSIGHT_CONFIG"] = before
    return nnsight


nnsight = import_nnsight()


class Weights:
    """A model in memory, its tokenizer, its nnsight wrapper, and the lock that all use of it takes."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.network = network.eval()
        self.network.requires_grad_(False)
        self.tokenizer = tokenizer
        self.lock = threading.RLock()
        self.adapter_layers: list[Any] = [
            module
            for module in network.modules()
            if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)
        ]
        self.adapter_on = True
        self.anatomy = Anatomy(network)
        self.folded = fold(network, self.adapter_layers)
        self.envoy: Any = nnsight.NNsight(network)
        self.anatomy.check()

    def switch_adapter(self, on: bool) -> None:
        """Make the adapter take part in the next forward or not. Hold the lock until that has run."""
        if self.adapter_on == on:
            return
        self.adapter_on = on
        for weight, plain, changed in self.folded:
            weight.data = changed if on else plain
        if not self.folded:
            for layer in self.adapter_layers:
                layer.enable_adapters(on)
            # Enabling marks the adapter trainable again; nothing here trains.
            self.network.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where token ids have to be."""
        return self.network.get_input_embeddings().weight.device


def fold(
    network: Any, layers: Sequence[Any]
) -> list[tuple[torch.nn.Parameter, torch.Tensor, torch.Tensor]]:
    """Fold an adapter into its matrices; return each with its values without it and with it.

    Returns nothing, and folds nothing, where that would take much memory, lose precision, or change
    an embedding that is tied to the head. Taking the adapter out again by arithmetic would leave
    rounding behind; the plain values are kept.
    """
    if not all(isinstance(layer, BaseTunerLayer) for layer in layers):
        return []
    weights: list[Any] = [getattr(layer.base_layer, "weight", None) for layer in layers]
    if any(weight is None or weight.dtype != torch.float32 for weight in weights):
        return []
    tied = network.get_input_embeddings().weight
    if any(weight is tied for weight in weights):
        return []
    if sum(weight.nbytes for weight in weights) > FOLDED_BYTES:
        return []
    found: list[tuple[torch.nn.Parameter, torch.Tensor, torch.Tensor]] = []
    for layer in layers:
        plain = layer.base_layer.weight.data.clone()
        layer.merge()
        found.append((layer.base_layer.weight, plain, layer.base_layer.weight.data))
    return found


def load_weights(files: ModelFiles) -> Weights:
    """Load a checked model with its adapter; `SubjectRefused` when the files do not fit together."""
    locator = files.locator
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            files.model,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **placement(locator),
        )
        tokenizer = AutoTokenizer.from_pretrained(
            files.model, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise SubjectRefused(f"{locator.model}: does not fit into memory") from None
        raise SubjectRefused(
            f"{locator.model}: transformers cannot load it: {first_line(error)}"
        ) from None
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    network, report = loaded
    if report["missing_keys"]:
        # transformers would go on with random numbers in their place.
        raise SubjectRefused(
            f"{locator.model}: the weights lack {min(report['missing_keys'])}; "
            "the checkpoint is incomplete"
        )
    if files.adapter:
        attach_adapter(network, files.adapter, str(locator.adapter))
        scale_adapter(network, locator)
    return Weights(network, tokenizer)


def placement(locator: ModelLocator) -> dict[str, Any]:
    """Return dtype and device arguments of `from_pretrained`."""
    device = locator.device
    if device == "auto":
        device = "auto" if torch.cuda.is_available() else "cpu"
    dtype = locator.dtype
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    arguments: dict[str, Any] = {"dtype": dtype}
    if device != "cpu":
        arguments["device_map"] = device
    return arguments


def attach_adapter(network: Any, folder: Path, name: str) -> None:
    """Put a PEFT adapter into the model in place, so that module paths stay those of the base.

    PEFT places weights by name and leaves what it cannot match at zero effect, which would compare
    the base with itself; an adapter that does not land whole is refused.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
        if config.is_prompt_learning or getattr(config, "is_adaption_prompt", False):
            raise SubjectRefused(
                f"{name}: {config.peft_type} wraps the whole model; only adapters that live in "
                "layers (LoRA and its relatives) can be switched off beside the base"
            )
        config.inference_mode = True
        base = {id(parameter) for parameter in network.parameters()}
        inject_adapter_in_model(config, network)
        cast_adapter_dtype(network, "default")
        state = load_peft_weights(str(folder), device="cpu")
        stripped = {key.removeprefix("base_model.model."): value for key, value in state.items()}
        outcome = set_peft_model_state_dict(network, stripped)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise SubjectRefused(f"{name}: does not fit this model: {first_line(error)}") from None
    added = {key for key, value in network.named_parameters() if id(value) not in base}
    unplaced = [*outcome.unexpected_keys, *(key for key in outcome.missing_keys if key in added)]
    if unplaced:
        raise SubjectRefused(
            f"{name}: does not fit this model: no place for {unplaced[0]}; "
            "is it the base that the adapter was trained on?"
        )


def scale_adapter(network: Any, locator: ModelLocator) -> None:
    """Keep so much of an adapter as its locator says; `SubjectRefused` for one that cannot be scaled."""
    if locator.adapter_scale == 1.0:
        return
    for layer in network.modules():
        if isinstance(layer, LoraLayer):
            layer.scale_layer(locator.adapter_scale)
        elif isinstance(layer, BaseTunerLayer | AuxiliaryTrainingWrapper):
            raise SubjectRefused(f"{locator.adapter}: only what a LoRA adds can be scaled")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, cut short."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def same_weights(files: ModelFiles, other: ModelFiles) -> bool:
    """Say whether a reference can share the subject's weights: same base, and no other adapter."""
    mine, theirs = files.locator, other.locator
    alike = (mine.dtype, mine.device) == (theirs.dtype, theirs.device)
    scaled_alike = mine.adapter_scale == theirs.adapter_scale
    same_adapter = other.adapter is None or (other.adapter == files.adapter and scaled_alike)
    return alike and files.model == other.model and same_adapter
