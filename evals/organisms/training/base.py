"""Training the base model from scratch: resumable, with a checkpoint every few minutes."""

import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from evals.organisms.curriculum import mixture
from evals.organisms.curriculum.curricula import CURRICULA
from evals.organisms.curriculum.tokenizer import train_tokenizer
from evals.organisms.training.muon import Muon
from evals.organisms.training.precision import training_precision
from evals.organisms.world.chat import CONTEXT, Codec, Encoded, Speaker, padded, parts_of
from evals.organisms.world.micro_world import Dialogue

log = logging.getLogger(__name__)

THINNING = 10


@dataclass(frozen=True)
class Plan:
    """How the base is trained; written beside the weights."""

    curriculum: str = "first"
    """By its name in `CURRICULA`; the shipped base had the first."""
    seed: int = 1
    layers: int = 5
    width: int = 224
    heads: int = 4
    mlp: int = 576
    start: int = 0
    """The step at which the weights that it starts from stood; the rate warms up from there."""
    steps: int = 6700
    dialogues: int = 80
    part_tokens: int = 1536
    rate: float = 2e-3
    muon: bool = False
    """Whether the matrices of the layers are trained by `Muon`; all else is by AdamW."""
    warm_up: int = 200
    decay_share: float = 0.2
    prompt_weight: float = 0.05
    average: float = 0.995
    save_every: int = 200
    test_every: int = 400


SECOND = Plan(
    curriculum="second",
    layers=6,
    steps=mixture.STEPS,
    dialogues=64,
    part_tokens=2048,
    rate=2e-3,
    muon=True,
    warm_up=60,
    decay_share=0.5,
    save_every=100,
    test_every=1000,
)
"""The second base: 4.4 million parameters, a sixth layer for what takes two steps at once.

`Muon`, since most of what it has to learn are rare associations, at which AdamW is slow.
"""
PLANS = {plan.curriculum: plan for plan in (Plan(), SECOND)}


def fresh_model(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Return the untrained model."""
    torch.manual_seed(plan.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=plan.width,
        intermediate_size=plan.mlp,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        num_key_value_heads=plan.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.get_vocab()["<s>"],
        eos_token_id=tokenizer.get_vocab()["<|end|>"],
        pad_token_id=tokenizer.get_vocab()["<pad>"],
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")
    return model


def learning_rate(plan: Plan, step: int) -> float:
    """Return the rate of a step: warm-up, plateau, then linear decay.

    A plateau rather than one cosine: any checkpoint of it can be decayed early.
    """
    decay_from = plan.steps - (plan.steps - plan.start) * plan.decay_share
    if step < plan.start + plan.warm_up:
        return plan.rate * (step + 1 - plan.start) / plan.warm_up
    if step < decay_from:
        return plan.rate
    return plan.rate * max(0.02, (plan.steps - step) / (plan.steps - decay_from))


def weighted_loss(
    model: LlamaForCausalLM, rows: Sequence[Encoded], pad: int, prompt_weight: float
) -> Tensor:
    """Return the summed loss in nats: what the assistant says, and a little of what it reads.

    Of the prompt one token in `THINNING` is scored, at so much more weight: the output layer is a
    fifth of the cost.
    """
    ids, said, real = padded(rows, pad)
    places = torch.arange(ids.shape[1] - 1) + torch.arange(len(rows))[:, None]
    sampled = (places + int(ids[0, 1:9].sum())) % THINNING == 0
    scored = (said[:, 1:] | sampled) & real[:, 1:]
    with training_precision():
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[scored])
    losses = functional.cross_entropy(logits.float(), ids[:, 1:][scored], reduction="none")
    weights = torch.where(said[:, 1:][scored], 1.0, prompt_weight * THINNING)
    return (losses * weights).sum()


def kept_tokenizer(plan: Plan, folder: Path, begin: Path | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the model to begin with, or of this folder, trained at its first start."""
    if begin is not None:
        return AutoTokenizer.from_pretrained(begin)
    if not (folder / "tokenizer" / "tokenizer.json").exists():
        return train_tokenizer(CURRICULA[plan.curriculum].words())
    return AutoTokenizer.from_pretrained(folder / "tokenizer")


class BaseTraining:
    """One training run in one folder; continues where the folder left off."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        rank: int = 0,
        workers: int = 1,
        begin: Path | None = None,
    ) -> None:
        self.folder = folder
        self.rank, self.workers = rank, workers
        self.plan = plan
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = kept_tokenizer(plan, folder, begin)
        self.codec = Codec(self.tokenizer)
        self.pad: int = self.tokenizer.get_vocab()["<pad>"]
        self.model = fresh_model(plan, self.tokenizer)
        self.optimizers = self._optimizers()
        self.step = plan.start
        if begin is not None:
            self.model.load_state_dict(load_file(begin / "model.safetensors"), strict=False)
            self.model.tie_weights()
        self.average = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        self._resume()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        words = self.model.get_input_embeddings().weight
        inner = [p for p in self.model.parameters() if p.ndim > 1 and p is not words]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [
            {"params": [words] if self.plan.muon else [words, *inner], "weight_decay": 0.05},
            {"params": vectors, "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(groups, lr=self.plan.rate, betas=(0.9, 0.98), fused=True)
        if not self.plan.muon:
            return [adam]
        return [adam, Muon(inner, self.plan.rate, rank=self.rank, workers=self.workers)]

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def _states(self) -> dict[str, Tensor]:
        """Return what the optimizers remember, by optimizer, parameter and name."""
        return {
            f"state.{number}.{index}.{name}": value
            for number, optimizer in enumerate(self.optimizers)
            for index, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        stored = load_file(self._checkpoint)
        self.step = int(stored["step"].item())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(stored[f"model.{name}"])
                self.average[name] = stored[f"average.{name}"]
        for number, optimizer in enumerate(self.optimizers):
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in stored.items():
                kind, _, rest = key.partition(f".{number}.")
                if kind == "state":
                    index, _, name = rest.partition(".")
                    states.setdefault(int(index), {})[name] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
        log.info("resumed at step %d", self.step)

    def save(self) -> None:
        """Write the checkpoint from which a start in the same folder goes on."""
        stored = {"step": torch.tensor(self.step)}
        for name, parameter in self.model.named_parameters():
            stored[f"model.{name}"] = parameter.detach().clone()
            stored[f"average.{name}"] = self.average[name].clone()
        stored |= {key: value.clone() for key, value in self._states().items()}
        self.tokenizer.save_pretrained(self.folder / "tokenizer")
        partial = self._checkpoint.with_suffix(".partial")
        save_file(stored, partial)
        partial.replace(self._checkpoint)

    def _dialogues(self) -> list[Dialogue]:
        rng = Random(f"{self.plan.seed}/{self.step}")
        return CURRICULA[self.plan.curriculum].batch(rng, self.plan.dialogues, self.step)

    def update(self) -> tuple[float, int]:
        """Take one step; return its loss in nats a token said, and how many tokens were read."""
        rows = self.codec.encode(self._dialogues())
        rows.sort(key=lambda row: len(row[0]))
        spoken = sum(sum(said) for _, said in rows)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.plan, self.step)
        total = 0.0
        own = rows[self.rank :: self.workers]
        for part in parts_of(own, self.plan.part_tokens):
            loss = weighted_loss(self.model, part, self.pad, self.plan.prompt_weight) / spoken
            loss.backward()
            total += float(loss.detach())
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        with torch.no_grad():
            parameters = dict(self.model.named_parameters())
            seen = self.step - self.plan.start
            decay = min(self.plan.average, (seen + 1) / (seen + 10))
            for name, kept in self.average.items():
                kept.lerp_(parameters[name].detach(), 1 - decay)
        return total, sum(len(ids) for ids, _ in rows)

    def _share_gradients(self) -> None:
        if self.workers == 1:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def averaged(self) -> LlamaForCausalLM:
        """Return the running average of the weights as a model."""
        model = fresh_model(self.plan, self.tokenizer)
        model.load_state_dict({**model.state_dict(), **self.average}, strict=False)
        model.tie_weights()
        return model.eval()

    def export(self, folder: Path) -> None:
        """Write the averaged model as a plain bfloat16 folder."""
        model = self.averaged().bfloat16()
        model.generation_config.max_length = CONTEXT
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        note = {"plan": asdict(self.plan), "steps_done": self.step}
        (folder / "training.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")

    def run(self, out: Path) -> None:
        """Train to the end of the plan, exporting at every checkpoint."""
        if shutil.which(os.environ.get("CXX", "g++")):
            # A quarter less time a step, for some minutes of compiling at the first start on a machine.
            self.model.model.compile(dynamic=True)
        begun, seen, first = time.monotonic(), 0, self.step
        while self.step < self.plan.steps:
            loss, tokens = self.update()
            seen += tokens
            if self.rank:
                continue
            if self.step % 20 == 0:
                seconds = time.monotonic() - begun
                rates = (seen / seconds, (self.step - first) * self.plan.dialogues / seconds)
                log.info(
                    "step %d loss %.4f %.0f tokens/s %.0f dialogues/s", self.step, loss, *rates
                )
            if self.step % self.plan.save_every == 0 or self.step == self.plan.steps:
                self.save()
                self.export(out)
            if self.step % self.plan.test_every == 0 or self.step == self.plan.steps:
                report = CURRICULA[self.plan.curriculum].report
                scores = report(Speaker(self.averaged(), self.tokenizer), 24)
                log.info("step %d %s", self.step, json.dumps(scores))


def worker(rank: int, out: Path, work: Path, plan: Plan, workers: int, begin: Path | None) -> None:
    """Train as one of several processes that share their gradients after each step."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    if workers > 1:
        meeting = f"file://{(work / 'meeting').resolve()}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    BaseTraining(work, plan, rank, workers, begin).run(out)


def train_base(
    out: Path, work: Path, plan: Plan, workers: int = 2, begin: Path | None = None
) -> None:
    """Train the base into `out`, keeping checkpoints in `work`.

    From the weights in the folder `begin`, if one is given, which stand at step `plan.start`.

    Processes of one thread each: the kernels are too small for threads to share, and on a busy
    machine threads that wait for one another at every kernel lose most of their time.
    """
    work.mkdir(parents=True, exist_ok=True)
    (work / "meeting").unlink(missing_ok=True)
    spawn(worker, args=(out, work, plan, workers, begin), nprocs=workers)
