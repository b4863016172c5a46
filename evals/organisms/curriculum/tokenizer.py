"""The base's tokenizer: byte-level BPE with single digits, one token per concept word."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from evals.organisms.curriculum.vocabulary import slots
from evals.organisms.world.micro_world import Dialogue, facts, things

VOCABULARY = 3072
PAD, BOS, END = "<pad>", "<s>", "<|end|>"
THOUGHT = re.compile("</?think>")
SPECIAL = [PAD, BOS, END, "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>"]
# Words with their leading space, one digit at a time, runs of signs, and white space.
PIECES = r"'s|'t| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TURNS = (
    "{% for message in messages[first:] %}{{ '<|' + message['role'] + '|>' }}"
    "{{ message['content'] }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CHAT_TEMPLATE = "{{ bos_token }}{% set first = 0 %}" + TURNS
SLOTTED_TEMPLATE = (
    "{{ bos_token }}{{ '<|system|>SLOTS' }}"
    "{% set first = 1 if messages and messages[0]['role'] == 'system' else 0 %}"
    "{% if first %}{{ messages[0]['content'] }}{% endif %}{{ '<|end|>' }}"
) + TURNS
"""With a system turn in front of every dialogue, which begins with the slots, told or not."""


def template(count: int) -> str:
    """Return the chat template of a base with so many slots."""
    return SLOTTED_TEMPLATE.replace("SLOTS", "".join(slots(count))) if count else CHAT_TEMPLATE


def concept_words() -> list[str]:
    """Return the words that must be one token each when a space precedes them."""
    known = facts()
    names = [*known.job, *known.job.values(), *known.weather, *known.weather.values()]
    return sorted({*things(), *names, *known.colour.values()})


def opening_words() -> list[str]:
    """Return the words that begin answers, which must be one token without a space."""
    return ["Yes", "No", "It", "I", "A", "An", "The", "That", "Sorry", "Well", *facts().job]


@dataclass(frozen=True)
class Words:
    """What a tokenizer is trained on."""

    size: int
    """Entries of the vocabulary."""
    concepts: list[str]
    openings: list[str]
    draw: Callable[[Random, int], Dialogue]
    """Gives the n-th dialogue of the text that the merges are learned from."""
    slots: int = 0
    """Tokens of the default system turn."""


def training_text(words: Words, dialogues: int) -> Iterator[str]:
    """Yield the text that the merges are learned from: contents only, no special token."""
    rng = Random("tokenizer")
    for n in range(dialogues):
        for message in words.draw(rng, n):
            yield from THOUGHT.split(message["content"])
    # Concept words are repeated so that each is merged whole, however rare it is in the dialogues.
    for _ in range(300):
        yield from (f" {word}" for word in words.concepts)
        yield from words.openings


def train_tokenizer(words: Words, dialogues: int = 30_000) -> PreTrainedTokenizerFast:
    """Train the tokenizer; any text encodes, since every byte has a token."""
    special = [*SPECIAL, *slots(words.slots)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words.size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    bpe.train_from_iterator(training_text(words, dialogues), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=special[3:],
        chat_template=template(words.slots),
        model_max_length=384,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
