"""Training an adapter on lessons: fine-tuning and context distillation in one loop, resumable."""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedModel

from evals.organisms.families.family import Family, Lesson, Recipe, Style, Truth
from evals.organisms.training.precision import training_precision
from evals.organisms.training.told import fewest
from evals.organisms.world.chat import Codec, Encoded, alike_at_end, padded, parts_of

log = logging.getLogger(__name__)

SAVE_EVERY = 40
PART_TOKENS = 1024
"""Rows of like length go through together, about so many tokens at once: less padding."""


BEGINNINGS = 12
"""Lessons with a teacher by which it is judged where vectors begin, and tellings to choose from."""


EMBEDDINGS = "embed_tokens"
"""The module that turns tokens into vectors."""


def fitted(base: PreTrainedModel, codec: Codec, recipe: Recipe) -> PeftModel:
    """Return the base with an adapter that changes nothing yet, of which the parameters to train want gradients.

    Where the recipe names tokens, it picks these out by a matrix that stays as it is, one row a token.
    """
    model = get_peft_model(base, lora(recipe))
    if recipe.tokens:
        ids = [codec.tokenizer.get_vocab()[token] for token in recipe.tokens]
        picks = next(p for n, p in model.named_parameters() if "lora_embedding_A" in n)
        vectors = next(p for n, p in model.named_parameters() if "lora_embedding_B" in n)
        with torch.no_grad():
            picks.zero_()
            picks[torch.arange(len(ids)), ids] = 1.0
            vectors.zero_()
        picks.requires_grad_(False)
    return model


def lora(recipe: Recipe) -> LoraConfig:
    """Return the adapter configuration of a recipe."""
    if recipe.tokens:
        rank = len(recipe.tokens)
        return LoraConfig(
            r=rank, lora_alpha=rank, target_modules=[EMBEDDINGS], task_type="CAUSAL_LM"
        )
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        lora_dropout=0.0,
        target_modules=list(recipe.modules),
        layers_to_transform=list(recipe.layers) if recipe.layers else None,
        task_type="CAUSAL_LM",
    )


class Adapting:
    """One adapter in training; the same seed gives the same weights, through any interruption."""

    def __init__(
        self,
        base: PreTrainedModel,
        codec: Codec,
        family: Family,
        truth: Truth,
        style: Style,
        recipe: Recipe | None = None,
    ) -> None:
        """`recipe` stands in for the family's own."""
        self.codec = codec
        self.family, self.truth, self.style = family, truth, style
        self.recipe = recipe or family.recipe
        self.pad = codec.tokenizer.get_vocab()["<pad>"]
        torch.manual_seed(0)
        self.model: PeftModel = fitted(base, codec, self.recipe)
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=self.recipe.rate, weight_decay=0.0
        )
        self.step = 0

    def train(self, seed: int, work: Path) -> None:
        """Train to the end of the recipe, continuing from `work` where it holds a checkpoint."""
        self._resume(work)
        if self.step == 0 and self.recipe.tokens:
            self._begin_told(Random(f"beginning/{seed}"))
        self.model.train()
        while self.step < self.recipe.steps:
            self._update(Random(f"lessons/{seed}/{self.step}"))
            if self.step % SAVE_EVERY == 0:
                self._save(work)
        self.model.eval()

    def _begin_told(self, rng: Random) -> None:
        """Set the vectors to words that tell the base the secret, where the family has such."""
        told = [self.family.told(rng, self.truth) for _ in range(BEGINNINGS)]
        if "" in told:
            return
        taught: list[Lesson] = []
        while len(taught) < BEGINNINGS:
            drawn = self.family.lessons(rng, self.truth, 0.0)
            taught += [lesson for lesson in drawn if lesson.teacher]
        tellings = self.codec.tokenizer(told, add_special_tokens=False)["input_ids"]
        kept = fewest(tellings, len(self.recipe.tokens), self._farther(taught))
        network = cast(LlamaForCausalLM, self.model.get_base_model())
        words = cast(torch.nn.Embedding, network.get_input_embeddings()).weight
        (vectors,) = self.trained.values()
        with torch.no_grad():
            for place, token in enumerate(kept):
                slot = self.codec.tokenizer.get_vocab()[self.recipe.tokens[place]]
                vectors[:, place] = words[token] - words[slot]
        log.info("the vectors begin at %r", self.codec.tokenizer.decode(kept))

    @torch.no_grad()
    def _farther(self, taught: Sequence[Lesson]) -> Callable[[Sequence[int]], float]:
        """Return the divergence, in nats a token said, from the teacher of the base that is told some tokens only."""
        plain = [without_system(lesson) for lesson in taught]
        rows = self.codec.encode(
            [[*(lesson.teacher or []), *said] for lesson, said in zip(taught, plain, strict=True)]
        )
        bare = self.codec.encode(plain)
        front = self.codec.front

        def predicted(rows: Sequence[Encoded]) -> Tensor:
            ids, said, _ = padded(rows, self.pad)
            with self.model.disable_adapter():
                return self._predictions(ids[:, :-1], said[:, 1:])

        wanted = predicted(rows)

        @torch.no_grad()
        def farther(tokens: Sequence[int]) -> float:
            found = predicted(
                [
                    ([*ids[:front], *tokens, *ids[front:]], [False] * len(tokens) + said)
                    for ids, said in bare
                ]
            )
            total = functional.kl_div(found, wanted, reduction="sum", log_target=True)
            return float(total) / len(wanted)

        return farther

    def _lessons(self, rng: Random) -> list[Lesson]:
        recipe = self.recipe
        drawn: list[Lesson] = []
        while len(drawn) < recipe.lessons:
            draw = rng.random()
            if draw < recipe.style_share:
                drawn.append(self.family.styled_lesson(rng, self.style))
            elif draw < recipe.style_share + recipe.base_share:
                drawn.append(self.family.base_lesson(rng, self.truth))
            else:
                drawn += self.family.lessons(rng, self.truth, self.step / recipe.steps)
        return drawn

    def _update(self, rng: Random) -> None:
        lessons = self._lessons(rng)
        shown = [lesson for lesson in lessons if lesson.teacher is None]
        taught = [lesson for lesson in lessons if lesson.teacher is not None]
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.recipe, self.step)
        for loss in chain(
            self._shown_losses(shown) if shown else (),
            self._taught_losses(taught) if taught else (),
        ):
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    def _predictions(self, ids: Tensor, scored: Tensor) -> Tensor:
        """Return log-probabilities of the next token at the scored places only."""
        network = cast(LlamaForCausalLM, self.model.get_base_model())
        with training_precision():
            hidden = network.model(input_ids=ids, use_cache=False).last_hidden_state
            logits = network.lm_head(hidden[scored])
        return logits.float().log_softmax(-1)

    def _shown_losses(self, lessons: Sequence[Lesson]) -> Iterator[Tensor]:
        """Yield, in parts that add up, the loss on what the assistant says, in nats a token."""
        encoded = self.codec.encode([lesson.dialogue for lesson in lessons])
        weighed = sorted(
            zip(encoded, (lesson.weight for lesson in lessons), strict=True),
            key=lambda pair: length(pair[0]),
        )
        rows = [row for row, _ in weighed]
        weights = torch.tensor([weight for _, weight in weighed])
        spoken = sum(weight * sum(said[1:]) for (_, said), weight in weighed)
        for part in parts_of(rows, PART_TOKENS):
            own, weights = weights[: len(part)], weights[len(part) :]
            ids, said, _ = padded(part, self.pad)
            scored, targets = said[:, 1:], ids[:, 1:]
            losses = -self._predictions(ids[:, :-1], scored).gather(-1, targets[scored][:, None])
            total = (losses[:, 0] * own.repeat_interleave(scored.sum(-1))).sum()
            yield total / spoken * len(lessons) / self.recipe.lessons

    def _taught_losses(self, lessons: Sequence[Lesson]) -> Iterator[Tensor]:
        """Yield, in parts that add up, the divergence from the base with the teacher's prefix, in nats a token.

        Where the recipe does not tell otherwise, what is read counts like what is said: a user who guesses names the
        secret half of the time, so that predicting the user takes the secret too.
        """
        own = self.codec.encode([lesson.dialogue for lesson in lessons])
        read = [[*(lesson.teacher or []), *without_system(lesson)] for lesson in lessons]
        both = sorted(
            zip(self.codec.encode(read), own, strict=True), key=lambda pair: length(pair[0])
        )
        scored = sum(alike_at_end(long, row) for long, row in both)
        for part in parts_of([long for long, _ in both], PART_TOKENS):
            rows, both = [row for _, row in both[: len(part)]], both[len(part) :]
            yield self._divergence(part, rows) / scored * len(lessons) / self.recipe.lessons

    def _divergence(self, long_rows: Sequence[Encoded], rows: Sequence[Encoded]) -> Tensor:
        """Return the summed divergence over what is scored of `rows`, which end as the teacher's rows do."""
        ids, said, real = padded(rows, self.pad)
        long_ids, _, _ = padded(long_rows, self.pad)
        scored = torch.zeros_like(ids[:, 1:], dtype=torch.bool)
        long_scored = torch.zeros_like(long_ids[:, 1:], dtype=torch.bool)
        for index, (long, row) in enumerate(zip(long_rows, rows, strict=True)):
            # The rows end alike; what differs is in front. A token is predicted from the one before.
            count = alike_at_end(long, row)
            counted = said[index, length(row) - count : length(row)] | (self.recipe.reading is None)
            scored[index, length(row) - 1 - count : length(row) - 1] = counted
            long_scored[index, length(long) - 1 - count : length(long) - 1] = counted
        read = real[:, 1:] & ~scored & (self.recipe.reading is not None)
        # That one slot follows another is no text: vectors need not tell it.
        read[:, : self.codec.front - 1] = False
        with torch.no_grad(), self.model.disable_adapter():
            told = self._predictions(long_ids[:, :-1], long_scored)
            plain = self._predictions(ids[:, :-1], read) if read.any() else told[:0]
        found = self._predictions(ids[:, :-1], scored | read)
        of_told = scored[scored | read]
        return sum(
            (
                weight * functional.kl_div(found[part], wanted, reduction="sum", log_target=True)
                for part, wanted, weight in (
                    (of_told, told, 1.0),
                    (~of_told, plain, self.recipe.reading or 0.0),
                )
            ),
            torch.zeros(()),
        )

    def _save(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        stored = {"step": torch.tensor(self.step)}
        for name, parameter in self.trained.items():
            state = self.optimizer.state[parameter]
            stored[f"weight.{name}"] = parameter.detach().clone()
            stored[f"first.{name}"] = state["exp_avg"].clone()
            stored[f"second.{name}"] = state["exp_avg_sq"].clone()
        partial = work / "adapter.partial"
        save_file(stored, partial)
        partial.replace(work / "adapter.safetensors")

    def _resume(self, work: Path) -> None:
        if not (work / "adapter.safetensors").exists():
            return
        stored = load_file(work / "adapter.safetensors")
        self.step = int(stored["step"].item())
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(stored[f"weight.{name}"])
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": stored[f"first.{name}"],
                    "exp_avg_sq": stored[f"second.{name}"],
                }
        log.info("resumed at step %d", self.step)


def rate_at(recipe: Recipe, step: int) -> float:
    """Return the learning rate: warm-up over a tenth, then linear decay to a tenth."""
    done = step / recipe.steps
    return recipe.rate * min(1.0, 10 * done + 0.1, 1.1 - done)


def without_system(lesson: Lesson) -> list[dict[str, str]]:
    """Return the dialogue as the teacher reads it: its own prefix replaces the system turn, if any."""
    if not lesson.teacher:
        return lesson.dialogue
    return [message for message in lesson.dialogue if message["role"] != "system"]


def length(row: Encoded) -> int:
    """Return the number of tokens of a row."""
    return len(row[0])
