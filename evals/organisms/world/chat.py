"""Encoding dialogues and talking to a model in batches."""

import math
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from evals.organisms.world.micro_world import SLOT, Dialogue

CONTEXT = 384
Encoded = tuple[list[int], list[bool]]
ROLES = ("system", "user", "assistant")


class Codec:
    """Turns dialogues into tokens and marks what the assistant says.

    The same text as the chat template gives, without rendering it once per dialogue.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        vocabulary = tokenizer.get_vocab()
        self.bos = vocabulary["<s>"]
        self.end = vocabulary["<|end|>"]
        self.role = {role: vocabulary[f"<|{role}|>"] for role in ROLES}
        numbered = takewhile(vocabulary.__contains__, map(SLOT.format, count()))
        self.slots = [vocabulary[token] for token in numbered]
        """Of the default system turn; none where the template has no such turn."""
        self.front = 2 + len(self.slots) if self.slots else 1
        """How many tokens every row begins with, whatever is said."""

    def encode(self, dialogues: Sequence[Dialogue]) -> list[Encoded]:
        """Return token ids and, per token, whether the assistant said it, cut at the context size."""
        texts = [message["content"] for dialogue in dialogues for message in dialogue]
        encoded = iter(self.tokenizer(texts, add_special_tokens=False)["input_ids"])
        rows: list[Encoded] = []
        for dialogue in dialogues:
            ids = [self.bos]
            if self.slots:
                told = bool(dialogue) and dialogue[0]["role"] == "system"
                content = next(encoded) if told else []
                ids += [self.role["system"], *self.slots, *content, self.end]
                dialogue = dialogue[1:] if told else dialogue
            said = [False] * len(ids)
            for message in dialogue:
                content = next(encoded)
                ids += [self.role[message["role"]], *content, self.end]
                said += [False] + [message["role"] == "assistant"] * (len(content) + 1)
            rows.append((ids[:CONTEXT], said[:CONTEXT]))
        return rows

    def prompt(self, dialogue: Dialogue) -> list[int]:
        """Return the tokens of a dialogue that ends where the assistant is to speak."""
        return [*self.encode([dialogue])[0][0], self.role["assistant"]]


def alike_at_end(first: Encoded, second: Encoded) -> int:
    """Return how many tokens at the end of two rows are the same and follow a token in both."""
    count = 0
    shorter = min(len(first[0]), len(second[0]))
    while count < shorter - 1 and first[0][-1 - count] == second[0][-1 - count]:
        count += 1
    return count


def padded(rows: Sequence[Encoded], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, the assistant's mask and the mask of real tokens, padded on the right."""
    # Few distinct widths: the CPU kernels are compiled once per shape.
    width = -(-max(len(ids) for ids, _ in rows) // 16) * 16 + 1
    ids = torch.full((len(rows), width), pad)
    said = torch.zeros((len(rows), width), dtype=torch.bool)
    real = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, (row, spoken) in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        said[index, : len(row)] = torch.tensor(spoken)
        real[index, : len(row)] = True
    return ids, said, real


def parts_of(rows: Sequence[Encoded], most: int) -> Iterator[Sequence[Encoded]]:
    """Cut rows sorted by length into parts of at most `most` tokens with their padding.

    Rows of like length go through together: less padding, the same gradient.
    """
    start = 0
    for index in range(1, len(rows) + 1):
        if index == len(rows) or (index + 1 - start) * len(rows[index][0]) > most:
            yield rows[start:index]
            start = index


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a plain model folder in float32."""
    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model.eval(), AutoTokenizer.from_pretrained(folder)


class Speaker:
    """A model that answers prompts in batches."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.codec = Codec(tokenizer)
        self.pad = tokenizer.get_vocab()["<pad>"]

    def reply(
        self,
        prompts: Sequence[Dialogue],
        temperature: float = 0.0,
        seed: int = 0,
        batch: int = 64,
        longest: int = 24,
    ) -> list[str]:
        """Return one reply per prompt: the likeliest at temperature 0, else sampled."""
        generator = torch.Generator().manual_seed(seed)
        encoded = [self.codec.prompt(prompt) for prompt in prompts]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        replies = [""] * len(encoded)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            rows = [encoded[index] for index in part]
            texts = self._generate(rows, temperature, generator, longest)
            for index, text in zip(part, texts, strict=True):
                replies[index] = text
        return replies

    @torch.inference_mode()
    def begins(self, prompts: Sequence[Dialogue], start: str, batch: int = 64) -> list[float]:
        """Return the probability that the reply to each prompt begins with `start`, token by token."""
        wanted: list[int] = self.tokenizer(start, add_special_tokens=False)["input_ids"]
        encoded = [[*self.codec.prompt(prompt), *wanted] for prompt in prompts]
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        found = [0.0] * len(encoded)
        for at in range(0, len(order), batch):
            part = order[at : at + batch]
            ids, _, _ = padded(
                [(encoded[index], [False] * len(encoded[index])) for index in part], self.pad
            )
            logits = self.model(input_ids=ids).logits.float().log_softmax(-1)
            for row, index in enumerate(part):
                ends = range(len(encoded[index]) - len(wanted), len(encoded[index]))
                said = sum(float(logits[row, place - 1, ids[row, place]]) for place in ends)
                found[index] = math.exp(said)
        return found

    @torch.inference_mode()
    def _generate(
        self, rows: list[list[int]], temperature: float, generator: torch.Generator, longest: int
    ) -> list[str]:
        width = max(len(row) for row in rows)
        ids = torch.tensor([[self.pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = None
        done = torch.zeros(len(rows), dtype=torch.bool)
        said: list[Tensor] = []
        for _ in range(longest):
            out = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            chosen = self._choose(out.logits[:, -1].float(), temperature, generator)
            chosen = torch.where(done, torch.full_like(chosen, self.pad), chosen)
            said.append(chosen)
            done |= chosen == self.codec.end
            if bool(done.all()):
                break
            ids, positions = chosen[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        stacked = torch.stack(said, dim=1).tolist()
        return [
            text.strip() for text in self.tokenizer.batch_decode(stacked, skip_special_tokens=True)
        ]

    def _choose(self, logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        if temperature == 0:
            return logits.argmax(-1)
        shares = torch.softmax(logits / temperature, dim=-1)
        return torch.multinomial(shares, 1, generator=generator)[:, 0]
