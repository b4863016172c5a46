"""The model under study: encode, sample, read probabilities, capture and edit activations.

This is the only file that opens traces. A reference model stands beside the subject; where it is the
same weights without the adapter, it is the same model in memory with the adapter switched off.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from tools.architecture import Site
from tools.batching import Batches, rows_at_once
from tools.blobs import BlobStore
from tools.declared_edits import declared_edits, edits_of_weights
from tools.edits import Edit, Interventions, Visitor, check_edit, positions_by_prompt
from tools.encoding import Encoder
from tools.generation import Passage, checked, finite, sample_tokens, token_scores
from tools.loading import Weights, load_weights, same_weights
from tools.locator import ModelFiles, ModelLocator
from tools.machine import machine_of
from tools.prompt import Intervention, Prompt
from tools.registry import ToolError
from tools.sampling_noise import GumbelNoise, stream_start
from tools.weight_edits import WeightEdit

ModelName = Literal["subject", "reference"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Generation:
    """One sampled answer."""

    text: str
    tokens: int
    finished: bool
    """It ended of itself, and was not cut off."""


class SubjectModel:
    """A causal language model, and the one it is compared with."""

    def __init__(
        self, weights: Weights, locator: ModelLocator, digest: str, *, adapter_on: bool = True
    ) -> None:
        self.name: ModelName = "subject"
        self.reference: SubjectModel | None = None
        self.weights = weights
        self.digest = digest
        self.adapter_on = adapter_on
        self.batches = Batches(rows_at_once(weights.network))
        self.tokenizer = weights.tokenizer
        self.encoder = Encoder(
            weights.tokenizer, locator.system, dict(locator.chat_template_arguments)
        )
        anatomy = weights.anatomy
        self.n_layers, self.d_model = anatomy.n_layers, anatomy.d_model
        self.vocab_size = int(anatomy.head.weight.shape[0])
        self.stops = stop_tokens(weights, self.encoder)

    @classmethod
    def load(cls, locator: ModelLocator, reference: ModelLocator | None = None) -> SubjectModel:
        """Load a subject and its reference; `SubjectRefused` in one line for what must not be loaded.

        Both sets of files are checked before either is loaded. A reference with the same weights
        costs no memory: the subject's adapter is switched off for it.
        """
        files = ModelFiles(locator)
        other = ModelFiles(reference) if reference else None
        weights = load_weights(files)
        subject = cls(weights, locator, files.digest)
        if reference and other:
            shared = same_weights(files, other)
            subject.reference = cls(
                weights if shared else load_weights(other),
                reference,
                other.digest,
                adapter_on=other.adapter is not None or not shared,
            )
            subject.reference.name = "reference"
        return subject

    def arm(self, name: ModelName) -> SubjectModel:
        """Return the subject or its reference; `ToolError` when there is no reference."""
        if name == self.name:
            return self
        if name == "reference" and self.reference is not None:
            return self.reference
        raise ToolError("there is no reference model; compare prompts of the subject instead")

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of what lies behind `subject` and `reference`."""
        found = {self.name: self.digest}
        return found | ({"reference": self.reference.digest} if self.reference else {})

    @property
    def facts(self) -> dict[str, Any]:
        """What an investigator may know about the model."""
        return {
            "n_layers": self.n_layers,
            "d_model": self.d_model,
            "vocab_size": self.vocab_size,
            "has_reference": self.reference is not None,
            "chat": self.encoder.has_template,
            "context_length": self.weights.anatomy.context_length,
            "attn_out_and_mlp_out": self.weights.anatomy.additive,
        }

    @property
    def machine(self) -> dict[str, str]:
        """What decides how the model's numbers are rounded here."""
        return machine_of(self.weights.network, self.weights.device)

    def encode(self, prompt: Prompt) -> list[int]:
        """Return the token ids that the model reads for a prompt, hidden system prompt included."""
        return self.encoder(prompt)

    def generate(
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[str],
        *,
        seed: int,
        samples: int = 1,
        max_new_tokens: int = 32,
        temperature: float = 1.0,
        edits: Sequence[Edit] = (),
    ) -> list[list[Generation]]:
        """Return `samples` answers to each prompt.

        A row's noise comes from (seed, key, number of the sample): the same text in any batch, and
        the same luck for two arms with the same key. Temperature 0 takes the likeliest token.
        """
        if len(keys) != len(prompts):
            raise ToolError(f"{len(keys)} keys for {len(prompts)} prompts")
        encoded = self.encode_all(prompts, edits, extra=max_new_tokens)
        rows = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(samples)]

        def sample(batch: Sequence[tuple[int, int]]) -> list[tuple[list[int], bool]]:
            distinct = list(dict.fromkeys(prompt for prompt, _ in batch))
            place = {prompt: number for number, prompt in enumerate(distinct)}
            starts = [stream_start(seed, keys[prompt], number) for prompt, number in batch]

            def run(passage: Passage) -> list[tuple[list[int], bool]]:
                logits = passage.read([encoded[p] for p in distinct], distinct, cache=True)
                if len(distinct) < len(batch):
                    index = torch.tensor([place[p] for p, _ in batch], device=logits.device)
                    passage.select(index)
                    logits = logits[index]
                noise = GumbelNoise(starts, logits.shape[-1], logits.device)
                return sample_tokens(
                    passage,
                    logits,
                    noise if temperature > 0 else None,
                    temperature=temperature,
                    max_new_tokens=max_new_tokens,
                    stops=self.stops,
                )

            return self.run(run, self.interventions(edits))

        found = self.batches.by_length(rows, lambda row: len(encoded[row[0]]), sample)
        answers = [
            Generation(self.encoder.decode(ids, prompts[row]), len(ids), finished)
            for (row, _), (ids, finished) in zip(rows, found, strict=True)
        ]
        return [answers[k * samples : (k + 1) * samples] for k in range(len(prompts))]

    def continuation_logprobs(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[str]],
        edits: Sequence[Edit] = (),
    ) -> list[list[float]]:
        """Return log P(continuation | prompt) in nats, summed over its tokens.

        A continuation is taken literally: after a forced start it needs its own leading space. Its
        tokens count as `generated` for edits.
        """
        return [
            [math.fsum(values) for values in each]
            for each in self.token_logprobs(prompts, continuations, edits)
        ]

    def token_logprobs(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[str]],
        edits: Sequence[Edit] = (),
    ) -> list[list[list[float]]]:
        """Return the log-probability in nats of each token of each continuation of each prompt."""
        if len(continuations) != len(prompts):
            raise ToolError(f"{len(continuations)} lists of continuations, {len(prompts)} prompts")
        encoded = self.encode_all(prompts, edits)
        rows = [
            (number, self.encoder.continue_with(prompts[number], encoded[number], text))
            for number, texts in enumerate(continuations)
            for text in texts
        ]
        self.check_length(max(len(encoded[number]) + len(tail) for number, tail in rows))

        def score(batch: Sequence[tuple[int, list[int]]]) -> list[list[float]]:
            distinct = list(dict.fromkeys(prompt for prompt, _ in batch))
            origin = [distinct.index(prompt) for prompt, _ in batch]
            tails = [tail for _, tail in batch]

            def run(passage: Passage) -> list[list[float]]:
                several = max(map(len, tails)) > 1
                logits = passage.read([encoded[p] for p in distinct], distinct, cache=several)
                return token_scores(passage, logits, origin, tails)

            return self.run(run, self.interventions(edits))

        found = iter(self.batches.by_length(rows, lambda row: len(encoded[row[0]]), score))
        return [[next(found) for _ in texts] for texts in continuations]

    def next_token_logprobs(self, prompts: Sequence[Prompt], edits: Sequence[Edit] = ()) -> Tensor:
        """Return log-probabilities [prompt, d_vocab] of the next token, float32 on the CPU."""
        encoded = self.encode_all(prompts, edits)

        def read(batch: Sequence[int]) -> list[Tensor]:
            def run(passage: Passage) -> list[Tensor]:
                logits = passage.read([encoded[p] for p in batch], batch, cache=False)
                return list(checked(logits[:, -1]).log_softmax(-1).cpu())

            return self.run(run, self.interventions(edits))

        return torch.stack(self._by_length(encoded, read))

    def capture(
        self,
        prompts: Sequence[Prompt],
        sites: Sequence[Site],
        positions: Sequence[int] | Sequence[Sequence[int]] = (-1,),
        edits: Sequence[Edit] = (),
    ) -> Tensor:
        """Return activations [site, prompt, position, d_model], float32 on the CPU.

        Positions are the same for all prompts, or one list for each; -1 is a prompt's last token and
        0 its first. Edits are seen by the captures. Raises `NonFinite` for NaN or infinity.
        """
        encoded = self.encode_all(prompts, edits)
        each = positions_by_prompt(positions, [len(ids) for ids in encoded])
        return torch.stack(self.capture_ids(encoded, sites, each, edits), dim=1)

    def capture_ids(
        self,
        encoded: Sequence[list[int]],
        sites: Sequence[Site],
        positions: Sequence[list[int]] | None = None,
        edits: Sequence[Edit] = (),
    ) -> list[Tensor]:
        """Return activations [site, position, d_model] for each prompt of token ids.

        As `capture`, at the prompt's own positions, or at all of them when None.
        """
        for site in sites:
            self.weights.anatomy.validate(site)

        def read(batch: Sequence[int]) -> list[Tensor]:
            interventions = self.interventions(edits, sites)
            if positions is not None:
                interventions.positions = torch.tensor([positions[p] for p in batch])

            def work(passage: Passage) -> None:
                passage.read([encoded[p] for p in batch], batch, cache=False)

            self.run(work, interventions)
            found = torch.stack([interventions.captured[site] for site in sites], dim=1)
            if positions is not None:
                return finite(list(found))
            return finite([row[:, -len(encoded[p]) :] for p, row in zip(batch, found, strict=True)])

        return self._by_length(encoded, read)

    def lens(self, hidden: Tensor) -> Tensor:
        """Return the logits that residual-stream vectors [..., d_model] would give, on the CPU."""
        with self.weights.lock, torch.no_grad():
            self.weights.switch_adapter(self.adapter_on)
            return checked(self.weights.anatomy.lens(hidden)).cpu()

    def edits_for(
        self,
        intervention: Intervention,
        blobs: BlobStore,
        prompts: Sequence[Prompt],
        sources: Sequence[Prompt] = (),
    ) -> list[Edit]:
        """Return the edits of a declared intervention; sources are the prompts patched from."""

        def take(site: Site, position: int) -> Tensor:
            if len(sources) != len(prompts):
                raise ToolError(f"patch_from: {len(sources)} sources for {len(prompts)} prompts")
            return self.capture(sources, [site], [position])[0, :, 0]

        return declared_edits(intervention, self.weights.anatomy, blobs, take)

    def weight_edits(self, change: WeightEdit, blobs: BlobStore) -> list[Edit]:
        """Return the edits of activations that come to the same as a change of weights."""
        return edits_of_weights(change, self.weights.anatomy, blobs)

    def encode_all(
        self, prompts: Sequence[Prompt], edits: Sequence[Edit] = (), extra: int = 0
    ) -> list[list[int]]:
        """Encode prompts and check that they, and the edits, fit the model."""
        if not prompts:
            raise ToolError("no prompts were given")
        encoded = [self.encode(prompt) for prompt in prompts]
        self.check_length(max(map(len, encoded)) + extra)
        for edit in edits:
            check_edit(edit, self.weights.anatomy, [len(ids) for ids in encoded])
        return encoded

    def check_length(self, tokens: int) -> None:
        """Raise `ToolError` for more tokens than the model reads at once; it would go on in silence."""
        limit = self.weights.anatomy.context_length
        if limit is not None and tokens > limit:
            raise ToolError(
                f"{tokens} tokens with the answer; the {self.name} reads at most {limit}"
            )

    def interventions(self, edits: Sequence[Edit], capture: Sequence[Site] = ()) -> Interventions:
        """Return what a trace of this model is to do; the edits must have been checked."""
        return Interventions(self.weights.anatomy, self.weights.envoy, edits, capture)

    def run(self, work: Callable[[Passage], Result], visitor: Visitor) -> Result:
        """Run a passage, inside a trace when it is edited or captured."""
        weights = self.weights
        passage = Passage(weights.network, weights.device, visitor)
        outcome: list[Result] = []

        def traced(_: object) -> None:
            outcome.append(work(passage))

        with weights.lock, torch.inference_mode():
            weights.switch_adapter(self.adapter_on)
            if not visitor:
                traced(None)
            else:
                with warnings.catch_warnings():
                    # The open loop always ends one visit short, with a warning that says so.
                    warnings.filterwarnings("ignore", message=".*tracer.iter.*")
                    with weights.envoy.trace(0, fn=traced) as tracer:
                        for _ in tracer.iter[:]:
                            visitor.visit()
        return outcome[0]

    def _by_length(
        self, encoded: Sequence[Sequence[int]], work: Callable[[Sequence[int]], list[Tensor]]
    ) -> list[Tensor]:
        return self.batches.by_length(range(len(encoded)), lambda k: len(encoded[k]), work)


def stop_tokens(weights: Weights, encoder: Encoder) -> frozenset[int]:
    """Return the tokens that end an answer: end of sequence, and the template's end of turn."""
    declared = getattr(weights.network.generation_config, "eos_token_id", None)
    several = declared if isinstance(declared, list) else [declared]
    found = {*several, weights.tokenizer.eos_token_id, encoder.turn_end()}
    return frozenset(int(token) for token in found if token is not None)
