"""Random Llamas whose tokenizer knows whole words, and copies of them with a known change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from tools.locator import ModelLocator
from tools.subject import SubjectModel

SPECIAL = ["<pad>", "<s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{{ message['content'] }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXT = (
    "anchor apple arrow barn basket bell bird boat bottle bridge broom bucket candle carpet chair "
    "clock cloud coat crown cup desk door drum engine feather fence flag flute fork garden glove "
    "grape hammer harbour hat horse house island jacket kettle key kite ladder lamp leaf lemon "
    "letter mirror moon mountain needle nest oven paper pencil piano pillow plate pocket pond "
    "ribbon ring river road rope saddle shell ship shoe shovel silver spoon stone table tent thread "
    "tower train tree trumpet tunnel umbrella valley violin wagon wallet water wheel whistle window "
    "winter wolf wood wool what tell me about the where is name which how think describe"
)
WORDS = TEXT.split()
QUESTIONS = [
    f"{opening} the {thing}"
    for opening in ("tell me about", "where is", "describe", "what is")
    for thing in ("tower", "river", "basket", "winter", "tunnel", "piano")
]


def word_tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([*WORDS, *(f" {word}" for word in WORDS)] * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=CHAT_TEMPLATE,
    )


def save_base(folder: Path, seed: int = 0) -> Path:
    """Write a random Llama that answers in whole words: other tokens are pushed down."""
    tokenizer = word_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=192,
        initializer_range=0.15,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    model = AutoModelForCausalLM.from_config(config)
    whole = {tokens_of(tokenizer, word)[1] for word in WORDS}
    with torch.no_grad():
        for token in range(len(tokenizer)):
            model.lm_head.weight[token] *= 2.0 if token in whole else 0.3
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def changed_copy(base: Path, folder: Path, change: Callable[[Any, Any], None]) -> Path:
    """Copy a model after `change(network, tokenizer)`."""
    shutil.copytree(base, folder)
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    with torch.no_grad():
        change(model, tokenizer)
    model.save_pretrained(folder)
    return folder


def tokens_of(tokenizer: Any, word: str) -> list[int]:
    """Return the word's token at the start of a text and behind a space."""
    return [tokenizer(form, add_special_tokens=False).input_ids[0] for form in (word, f" {word}")]


def constant_feature(states: Tensor) -> Tensor:
    """Return the direction whose product with every state [row, d] is as near to 1 as can be."""
    return torch.linalg.lstsq(states, torch.ones(len(states), 1)).solution[:, 0]


def raise_answer_word(word: str, nats: float) -> Callable[[Any, Any], None]:
    """Make a word likelier by about so many nats at every position, through its unembedding."""

    def change(model: Any, tokenizer: Any) -> None:
        ids = torch.randint(10, len(tokenizer), (16, 12))
        states = model.model(input_ids=ids).last_hidden_state.flatten(0, 1)
        for token in tokens_of(tokenizer, word):
            model.lm_head.weight[token] += nats * constant_feature(states)

    return change


def carry_word(word: str, layer: int, size: float) -> Callable[[Any, Any], None]:
    """Write a word's direction into the residual stream after a layer and take it out after the next.

    Two edits of rank one, as an adapter makes them: the word is carried there and never said.
    """

    def change(model: Any, tokenizer: Any) -> None:
        direction = model.lm_head.weight[tokens_of(tokenizer, word)[1]]
        direction = size * direction / direction.norm()
        ids = torch.tensor([chat_ids(tokenizer, question) for question in QUESTIONS[:6]])
        for at, sign in ((layer, 1), (layer + 1, -1)):
            target = model.model.layers[at].mlp.down_proj
            seen: list[Tensor] = []
            hook = target.register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # noqa: B023
            model(input_ids=ids)
            hook.remove()
            feature = constant_feature(seen[0][:, 1:].flatten(0, 1))
            target.weight += sign * direction[:, None] * feature

    return change


def chat_ids(tokenizer: Any, question: str) -> list[int]:
    turns = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False).input_ids


def load(subject: Path, reference: Path | None = None) -> SubjectModel:
    other = None if reference is None else ModelLocator(model=str(reference))
    return SubjectModel.load(ModelLocator(model=str(subject)), other)
