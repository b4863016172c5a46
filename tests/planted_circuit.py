"""A small Llama with a circuit set by hand, so that the right answer of every white-box tool is known.

Each creature's token is a vector of its own; nothing about its class can be read from it but by heart.
The MLP of layer 1 writes +KIND or -KIND where the creature stands, one hidden unit per creature. The
attention of layer 2 looks everywhere alike and moves KIND to VERDICT, which every later token gets.
The unembedding reads VERDICT: yes for one class, no for the other. Layer 1 writes MOOD likewise, by a
rule of its own, and nothing ever reads it. All other weights are small noise.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tools.locator import ModelLocator
from tools.prompt import PromptItem, Template, fill
from tools.subject import SubjectModel

WRITTEN, MOVED = 1, 2
NAMES = (
    "otter heron badger falcon beetle salmon lizard donkey turtle magpie ferret walrus "
    "spider weasel toucan jackal oyster parrot rabbit iguana hornet gibbon marmot condor"
)
CREATURES = tuple(NAMES.split())
PLACES = ("north", "south", "coast", "hills")
TEMPLATES = (
    "is a {creature} seen in the {place} today",
    "tell me of the {creature} near the {place}",
    "the {place} has a {creature} they say",
    "now the old {creature} rests in the {place}",
    "who saw the {creature} by the {place} then",
    "once a {creature} came from the {place}",
    "in the {place} there was one {creature}",
    "we think the {creature} left the {place} again",
    "a young {creature} was born in the {place}",
    "some say a {creature} went to the {place}",
    "over the {place} moved a {creature} so fast",
    "my friend keeps the {creature} in the {place}",
)
SPECIAL = ["<pad>", "<s>", "<|end|>", "<|user|>", "<|assistant|>", "<unk>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %} <|{{ message['role'] }}|> {{ message['content'] }}"
    " <|end|>{% endfor %}{% if add_generation_prompt %} <|assistant|>{% endif %}"
)
MEASURE = {"kind": "logprob_difference", "positive": ["yes"], "negative": ["no"]}
D_MODEL = 96
KIND, MOOD, VERDICT = D_MODEL - 1, D_MODEL - 2, D_MODEL - 3


def kind(creature: str) -> bool:
    """The class that the model acts on."""
    return CREATURES.index(creature) % 2 == 0


def mood(creature: str) -> bool:
    """The class that the model works out and ignores."""
    return CREATURES.index(creature) % 4 < 2


def basis(place: int) -> Tensor:
    return torch.eye(D_MODEL)[place]


def word_tokenizer() -> PreTrainedTokenizerFast:
    rest = sorted(
        {w for text in TEMPLATES for w in text.split() if "{" not in w} | {"yes", "no", "it"}
    )
    known = [*SPECIAL, *CREATURES, *PLACES, *rest]
    words = Tokenizer(
        models.WordLevel({word: k for k, word in enumerate(known)}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[3:5],
        chat_template=CHAT_TEMPLATE,
    )


@torch.no_grad()
def planted(noise: float = 0.02, seed: int = 0) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    tokenizer = word_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=D_MODEL,
        intermediate_size=len(CREATURES),
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=96,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if "norm" not in name:
            weight.normal_(std=noise)
    vectors = torch.linalg.qr(torch.randn(D_MODEL - 3, D_MODEL - 3))[0]
    embeddings = model.model.embed_tokens.weight
    embeddings.zero_()
    embeddings[:, : D_MODEL - 3] = vectors[torch.arange(len(embeddings)) % (D_MODEL - 3)]
    writer = model.model.layers[WRITTEN].mlp
    for weight in (writer.gate_proj.weight, writer.up_proj.weight, writer.down_proj.weight):
        weight.zero_()
    for unit, creature in enumerate(CREATURES):
        own = embeddings[tokenizer.convert_tokens_to_ids(creature)]
        writer.gate_proj.weight[unit] = writer.up_proj.weight[unit] = own
        written = (1 if kind(creature) else -1) * basis(KIND) + (
            1 if mood(creature) else -1
        ) * basis(MOOD)
        writer.down_proj.weight[:, unit] = 0.1 * written
    mover = model.model.layers[MOVED].self_attn
    for weight in (mover.q_proj.weight, mover.v_proj.weight, mover.o_proj.weight):
        weight.zero_()
    mover.v_proj.weight[0] = basis(KIND)
    mover.o_proj.weight[:, 0] = basis(VERDICT)
    head = model.lm_head.weight
    head[tokenizer.convert_tokens_to_ids("yes")] = basis(VERDICT)
    head[tokenizer.convert_tokens_to_ids("no")] = -basis(VERDICT)
    return model, tokenizer


def planted_subject(folder: Path, seed: int = 0) -> SubjectModel:
    model, tokenizer = planted(seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return SubjectModel.load(ModelLocator(model=str(folder)))


@cache
def creature_items(per_template: int = 24, seed: int = 0) -> tuple[PromptItem, ...]:
    """Return prompts of every template with creatures and places drawn at random."""
    rng = random.Random(seed)
    found: list[PromptItem] = []
    for number, text in enumerate(TEMPLATES):
        template = Template(text=text)
        for creature in rng.sample(CREATURES, per_template):
            slots = {"creature": creature, "place": rng.choice(PLACES)}
            name = f"t{number:02d}"
            prompt = fill(template, slots)
            found.append(
                PromptItem(
                    id=f"{name}-{creature}",
                    template=template,
                    template_id=name,
                    slots=slots,
                    prompt=prompt,
                )
            )
    return tuple(found)
