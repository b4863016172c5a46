"""Random models of nine families, written to a folder, and the same watched by plain torch hooks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from tools.architecture import Site

SPECIAL = ["<pad>", "<s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{{ message['content'] }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXT = ["Which number is bigger, 9.8 or 9.11?", "The cat sat on the mat.", "It is a clock."]

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 192,
    "initializer_range": 0.15,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WINDOW: dict[str, Any] = {"head_dim": 12, "sliding_window": 8, "query_pre_attn_scalar": 12}
GPT2_SIZES: dict[str, Any] = {
    "n_embd": 48,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 192,
    "initializer_range": 0.15,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, Callable[[int], Any]] = {
    "llama": lambda v: LlamaConfig(vocab_size=v, **SIZES),
    "qwen3": lambda v: Qwen3Config(vocab_size=v, head_dim=12, **SIZES),
    "gemma2": lambda v: Gemma2Config(
        vocab_size=v, final_logit_softcapping=5.0, attn_logit_softcapping=20.0, **WINDOW, **SIZES
    ),
    "gemma3": lambda v: Gemma3TextConfig(vocab_size=v, **WINDOW, **SIZES),
    "gpt2": lambda v: GPT2Config(vocab_size=v, **GPT2_SIZES),
    "gpt_neox": lambda v: GPTNeoXConfig(
        vocab_size=v, **{k: x for k, x in SIZES.items() if k != "num_key_value_heads"}
    ),
    "mistral": lambda v: MistralConfig(vocab_size=v, sliding_window=8, **SIZES),
    "phi3": lambda v: Phi3Config(vocab_size=v, **SIZES),
    "olmo2": lambda v: Olmo2Config(vocab_size=v, **SIZES),
}


def tiny_tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXT * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=chat_template,
    )


def save_model(folder: Path, family: str = "llama", seed: int = 0, **changes: Any) -> Path:
    """Write a random model of a family with its tokenizer, as `from_pretrained` finds them."""
    tokenizer = tiny_tokenizer()
    config = FAMILIES[family](len(tokenizer))
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


LORA_MODULES = ("q_proj", "v_proj", "down_proj")


def save_adapter(
    base: Path, folder: Path, seed: int = 1, modules: Sequence[str] = LORA_MODULES
) -> Path:
    """Write a random LoRA adapter that changes what the base says."""
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, target_modules=list(modules), lora_alpha=8)
    wrapped = get_peft_model(model, config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    wrapped.save_pretrained(folder)
    return folder


@dataclass
class Plain:
    """A model loaded anew and never touched by nnsight, watched and changed by plain torch hooks."""

    network: Any
    layers: Any
    attn_out: str
    mlp_out: str

    @torch.no_grad()
    def logits(self, ids: list[int]) -> Tensor:
        """Return logits [pos, d_vocab] of one unpadded prompt, without a cache."""
        return self.network(input_ids=torch.tensor([ids]), use_cache=False).logits[0]

    @contextmanager
    def hooked(self, site: Site, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Replace the hidden states [1, pos, d_model] at a site by what `change` returns."""
        layer = self.layers[site.layer]

        def after(_: Any, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        def before(_: Any, args: Any) -> Any:
            return (change(args[0]), *args[1:])

        if site.kind == "resid_pre":
            handle = layer.register_forward_pre_hook(before)
        else:
            module = layer if site.kind == "resid_post" else getattr(layer, vars(self)[site.kind])
            handle = module.register_forward_hook(after)
        try:
            yield
        finally:
            handle.remove()

    def observed(self, site: Site, ids: list[int]) -> Tensor:
        """Return the hidden states [pos, d_model] at a site."""
        seen: list[Tensor] = []

        def look(hidden: Tensor) -> Tensor:
            seen.append(hidden.clone())
            return hidden

        with self.hooked(site, look):
            self.logits(ids)
        return seen[0][0]


def plain_model(folder: Path, family: str) -> Plain:
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if family == "gpt2":
        return Plain(network, network.transformer.h, "attn", "mlp")
    if family == "gpt_neox":
        return Plain(network, network.gpt_neox.layers, "attention", "mlp")
    if family in ("gemma2", "gemma3", "olmo2"):
        norms = ("post_attention_layernorm", "post_feedforward_layernorm")
        return Plain(network, network.model.layers, *norms)
    return Plain(network, network.model.layers, "self_attn", "mlp")
