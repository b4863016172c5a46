"""A Llama that writes a thought between special tokens of its tokenizer, and then an answer."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from tests.plain_models import FAMILIES, tiny_tokenizer
from tools.locator import ModelLocator
from tools.subject import SubjectModel

SKIES = ("The sky is clear today.", "There are some clouds.")
ENDS = (" So that is that now.", " Which settles the matter.")


def thinking_model(folder: Path) -> SubjectModel:
    """Return a Llama that thinks in two sentences between marks that its tokenizer calls special, and then answers.

    Each token is drawn from the one before it alone: its layers add nothing. Behind any other word a thought ends.
    """
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<think>", "</think>"]})
    tokenizer.add_tokens([*SKIES, *ENDS, " Red.", " Blue."])
    follows = {
        "<|assistant|>": ("<think>",),
        "<think>": SKIES,
        **dict.fromkeys(SKIES, ENDS),
        **dict.fromkeys(ENDS, ("</think>",)),
        "</think>": (" Red.", " Blue."),
        " Red.": ("<|end|>",),
        " Blue.": ("<|end|>",),
    }
    number = tokenizer.convert_tokens_to_ids
    config = FAMILIES["llama"](len(tokenizer))
    config.tie_word_embeddings = False
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.zero_()
        model.get_input_embeddings().weight[:, 0] = 1.0
        model.lm_head.weight[number("</think>"), 0] = 10.0
        for place, (token, after) in enumerate(follows.items(), 1):
            model.get_input_embeddings().weight[number(token)] = torch.eye(config.hidden_size)[
                place
            ]
            for each in after:
                model.lm_head.weight[number(each), place] = 10.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return SubjectModel.load(ModelLocator(model=str(folder)))
