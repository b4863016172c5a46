"""A base that has learned nothing, with the tokens and the template of the second: for what needs no skill."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from evals.organisms.registry import BASES


def save_tiny_base(folder: Path) -> Path:
    """Write a plain model folder; always the same weights."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(BASES["second"])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=384,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
