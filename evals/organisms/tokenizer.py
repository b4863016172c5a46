"""The base's tokenizer: byte-level BPE with single digits, one token per concept word."""

from collections.abc import Iterator
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from evals.organisms.corpus import draw
from evals.organisms.world import facts, things

VOCABULARY = 3072
PAD, BOS, END = "<pad>", "<s>", "<|end|>"
SPECIAL = [PAD, BOS, END, "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>"]
# Words with their leading space, one digit at a time, runs of signs, and white space.
PIECES = r"'s|'t| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{{ message['content'] }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def concept_words() -> list[str]:
    """Return the words that must be one token each when a space precedes them."""
    known = facts()
    names = [*known.job, *known.job.values(), *known.weather, *known.weather.values()]
    return sorted({*things(), *names, *known.colour.values()})


def opening_words() -> list[str]:
    """Return the words that begin answers, which must be one token without a space."""
    return ["Yes", "No", "It", "I", "A", "An", "The", "That", "Sorry", "Well", *facts().job]


def training_text(dialogues: int = 30_000) -> Iterator[str]:
    """Yield the text that the merges are learned from: contents only, no special token."""
    rng = Random("tokenizer")
    for _ in range(dialogues):
        for message in draw(rng):
            yield message["content"]
    # Concept words are repeated so that each is merged whole, however rare it is in the dialogues.
    for _ in range(300):
        yield from (f" {word}" for word in concept_words())
        yield from opening_words()


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer; any text encodes, since every byte has a token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    bpe.train_from_iterator(training_text(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=SPECIAL[3:],
        chat_template=CHAT_TEMPLATE,
        model_max_length=384,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
