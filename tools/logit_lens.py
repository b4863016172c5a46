"""The contrastive logit lens: which words the residual stream stands for, beyond what is usual.

log softmax(LN_f(h) W_U) at layers and positions, pooled over prompts, less the same of the reference
on the same text or, without one, of neutral prompts. The null band is the largest score over all words,
layers and positions under random signs of templates, or under shuffled groups of prompts.

Source: nostalgebraist 2020 (the lens); Cywinski et al. 2025, arXiv:2510.01070 (reading a secret at
the positions that open an answer); Cywinski et al. 2025, arXiv:2505.14352 (`likeliest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from tools.architecture import Site
from tools.experiment import Context, canonical_json
from tools.lens_reading import LikelyWord, Reading, likely_words
from tools.lens_words import CandidateRanks, ranked, summarise
from tools.neutral import sentences
from tools.prompt import Prompt, user_prompt
from tools.registry import Record, ToolError, tool
from tools.sampling import Prompts
from tools.scoring import items_from
from tools.shift_counts import DIGITS, ShiftCounts, WordShift
from tools.vocabulary import Words, candidate_words, single_token_words
from tools.word_screens import FEWEST_CLUSTERS, distinct
from tools.word_shifts import Clearest, Shifts, by_cluster, consistent_shifts, group_shifts

MOST_LAYERS = 8
ROWS = 64
RAW_WORDS = 300


class LensArguments(Record):
    """Where to look, and among which words."""

    items: Prompts
    layers: tuple[int, ...] = Field(
        default=(),
        max_length=200,
        description="read after these layers; default: eight, evenly spread",
    )
    positions: tuple[int, ...] = Field(
        default=(-1,),
        max_length=16,
        description="prompt tokens counted from its end: -1 is the last, which opens the answer",
    )
    answer_tokens: int = Field(
        default=2,
        ge=0,
        le=16,
        description="also read at the first so many tokens of the subject's likeliest answer",
    )
    candidates: tuple[str, ...] = Field(
        default=(),
        max_length=2000,
        description="rank these words only; far sharper than the whole vocabulary",
    )
    with_reference: bool = Field(
        default=True, description="subtract the reference model; otherwise neutral prompts"
    )
    top: int = Field(default=8, ge=1, le=50, description="how many words are shown")
    likeliest: int = Field(
        default=0,
        ge=0,
        le=50,
        description="also list so many words of each layer by plain probability, no baseline subtracted",
    )


class LensWord(WordShift):
    """A word at the layer and position where it stands out most."""

    layer: int
    position: int
    """Negative: of the prompt, from its end. Positive: of the answer, 1 is its first token."""
    throughout: float
    """Robust z of its mean `outlier` over all layers and positions, among those of all words."""


class LensResult(ShiftCounts):
    """The words that stand out, each once at its clearest place; all others are in `raw`."""

    summary: str
    baseline: Literal["reference", "neutral prompts"]
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    raised: tuple[LensWord, ...]
    lowered: tuple[LensWord, ...]
    throughout_by_chance: float
    """The `throughout` that the furthest of so many words reaches by chance; beyond it a word stands out, too."""
    candidates: tuple[CandidateRanks, ...] = ()
    likeliest: tuple[LikelyWord, ...] = ()
    """If asked for: mean probabilities at all places. Frequent words come first in any model."""
    limits: tuple[str, ...] = ()
    raw: str
    """Blob: {"cells": [[layer, position]], "words", "shift": [cell][word], "score", "p", "outlier"}."""


@tool
def logit_lens(subject: Any, args: LensArguments, context: Context) -> LensResult:
    """Read words out of the residual stream, layer by layer, against the reference or neutral prompts.

    For what a model holds in mind and does not say. Give ten or more prompts of different wording
    about the same thing: words are pooled over them, and one prompt shows nothing. The lens cannot
    read early layers, knows a word of several tokens only by its first, and favours frequent words
    unless a baseline is subtracted. If you have guesses, give them as `candidates` with as many
    placebo words of the same kind: a true word ranks first among them long before it does in the whole
    vocabulary. Without a reference the prompts' own topic stands out too (`in_prompts`). That a word
    can be read does not show that it is used.
    """
    items = items_from(args.items)
    layers = chosen_layers(args.layers, subject.n_layers)
    words = vocabulary(subject, args)
    prompts = [item.prompt for item in items]
    clusters = [item.template_id for item in items]
    with_reference = args.with_reference and subject.reference is not None
    plan = Plan(subject, layers, args.positions, args.answer_tokens, words)
    context.progress(0.0, "subject")
    ours = plan.read(subject, prompts, plan.answers(prompts))
    context.progress(0.5, "baseline")
    theirs = plan.reference_reading(prompts) if with_reference else None
    if theirs is not None:
        shifts, kept = plan.against_reference(ours, theirs, clusters, context.seed)
    else:
        shifts, kept = plan.against_neutral(ours, clusters, context.seed)
    shifts = replace(shifts, together=True)
    cells = [(layer, place) for place in kept for layer in layers]
    texts = frozenset[str]().union(*(distinct(prompt.text()) for prompt in prompts))
    found = shifts.clearest(args.top)

    def shown(number: int, cell: int) -> LensWord:
        text = words.texts[number]
        shift = shifts.word(cell, number, text, text in texts)
        throughout = round(float(shifts.throughout[number]), 2)
        layer, position = cells[cell]
        return LensWord(**shift.model_dump(), layer=layer, position=position, throughout=throughout)

    ranks = ranked(shifts, words, cells, args.top) if args.candidates else ()
    return LensResult(
        summary=summarise(found, shifts, words, ranks, len(set(clusters))),
        baseline="reference" if with_reference else "neutral prompts",
        layers=layers,
        positions=tuple(kept),
        raised=tuple(shown(*each) for each in found.raised),
        lowered=tuple(shown(*each) for each in found.lowered),
        above=found.above,
        inside=found.inside,
        standing_out=found.standing_out,
        outlier_by_chance=shifts.outlier_by_chance,
        throughout_by_chance=shifts.throughout_by_chance,
        clusters=len(set(clusters)),
        candidates=() if shifts.nothing else ranks,
        likeliest=likely_words(words, layers, ours, theirs, args.likeliest),
        limits=plan.limits(kept, len(set(clusters))),
        raw=context.blobs.put(raw_table(shifts, words, cells, found).encode()),
    )


def chosen_layers(wanted: tuple[int, ...], n_layers: int) -> tuple[int, ...]:
    """Return the layers to read in order; by default eight at most, the last among them."""
    if wanted:
        return tuple(sorted(set(wanted)))
    count = min(n_layers, MOST_LAYERS)
    return tuple(sorted({round((k + 1) * n_layers / count) - 1 for k in range(count)}))


def vocabulary(subject: Any, args: LensArguments) -> Words:
    """Return the words to read; `ToolError` for a subject without an inside or no position at all."""
    if not subject.vocab_size:
        raise ToolError("logit_lens: this subject cannot be looked into; use sample_responses")
    if not args.positions and not args.answer_tokens:
        raise ToolError("logit_lens: no position to read; give positions or answer_tokens")
    if any(position >= 0 for position in args.positions):
        raise ToolError("logit_lens: positions count from the prompt's end: -1, -2, ...")
    if len(args.candidates) == 1:
        raise ToolError("logit_lens: one candidate cannot be ranked; add placebo words")
    if args.candidates:
        return candidate_words(subject.tokenizer, args.candidates)
    return single_token_words(subject.tokenizer)


class Plan:
    """What is read: layers and places of texts that the subject has begun to answer."""

    def __init__(
        self,
        subject: Any,
        layers: Sequence[int],
        positions: Sequence[int],
        answer_tokens: int,
        words: Words,
    ) -> None:
        self.subject = subject
        self.sites = [Site(layer) for layer in layers]
        self.positions = list(dict.fromkeys(positions))
        self.answer_tokens = answer_tokens
        self.words = words
        self.places = [*self.positions, *range(1, answer_tokens + 1)]
        self.texts: list[str] = []

    def answers(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return the subject's likeliest answers, as far as they are read."""
        if not self.answer_tokens:
            return [""] * len(prompts)
        found = self.subject.generate(
            prompts,
            [""] * len(prompts),
            seed=0,
            max_new_tokens=self.answer_tokens,
            temperature=0.0,
        )
        self.texts = [row[0].text for row in found]
        return self.texts

    def read(self, model: Any, prompts: Sequence[Prompt], answers: Sequence[str]) -> Reading:
        """Read a model at all places of these prompts with these answers."""
        parts: list[Tensor] = []
        heads = [model.encode(prompt) for prompt in prompts]
        tokens: list[list[int]] = []
        there = torch.ones(len(self.places), len(prompts), dtype=torch.bool)
        if self.positions:
            parts.append(self._lens(model, model.capture(prompts, self.sites, self.positions)))
            tokens += [[ids[position] for ids in heads] for position in self.positions]
        if self.answer_tokens:
            begun = [begin(*each) for each in zip(prompts, answers, strict=True)]
            whole = [model.encode(prompt) for prompt in begun]
            lengths, ends = [len(ids) for ids in heads], [len(ids) for ids in whole]
            wanted = range(self.answer_tokens)
            # Where the answer is over, its last token is read and left out again below.
            columns = [
                [min(length + k, end - 1) for k in wanted]
                for length, end in zip(lengths, ends, strict=True)
            ]
            parts.append(self._lens(model, model.capture(begun, self.sites, columns)))
            for k in wanted:
                over = [length + k >= end for length, end in zip(lengths, ends, strict=True)]
                there[len(self.positions) + k] = ~torch.tensor(over)
                tokens.append([ids[row[k]] for ids, row in zip(whole, columns, strict=True)])
        return Reading(torch.cat(parts), there, torch.tensor(tokens))

    def _lens(self, model: Any, hidden: Tensor) -> Tensor:
        """Return [place, layer, row, word] of activations [layer, row, place, d_model]."""
        rows = hidden.flatten(0, 2).split(ROWS)
        found = torch.cat([self.words.logprobs(model.lens(part)) for part in rows])
        return found.unflatten(0, hidden.shape[:3]).permute(2, 0, 1, 3)

    def reference_reading(self, prompts: Sequence[Prompt]) -> Reading:
        """Read the reference on the same text."""
        reference = self.subject.arm("reference")
        if self.subject.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
            raise ToolError("logit_lens: the tokenizers differ; set with_reference to false")
        return self.read(reference, prompts, self.texts or [""] * len(prompts))

    def against_reference(
        self, ours: Reading, theirs: Reading, clusters: Sequence[str], seed: int
    ) -> tuple[Shifts, list[int]]:
        """Return the shifts against the reference, and the places kept."""
        # An answer that is over counts as no shift.
        values = (ours.values - theirs.values) * ours.there[:, None, :, None]
        kept = self._kept(ours)
        values = values[kept].flatten(0, 1)
        shifts = consistent_shifts(by_cluster(values, clusters), seed)
        return shifts, [self.places[number] for number in kept]

    def against_neutral(
        self, ours: Reading, clusters: Sequence[str], seed: int
    ) -> tuple[Shifts, list[int]]:
        """Return the shifts against neutral prompts, and the places kept."""
        neutral = [user_prompt(text) for kind in KINDS for text in sentences(kind)]
        usual = self.read(self.subject, neutral, self.answers(neutral))
        kept = self._kept(ours, usual)
        names = [*clusters, *(f"neutral {number}" for number in range(len(neutral)))]
        tables: list[Tensor] = []
        for k in kept:
            # An answer that is over counts as a usual one.
            middle = usual.values[k][:, usual.there[k]].mean(1, keepdim=True)
            table = torch.cat([ours.values[k], usual.values[k]], dim=1)
            there = torch.cat([ours.there[k], usual.there[k]])[None, :, None]
            tables.append(torch.where(there, table, middle))
        values = by_cluster(torch.cat(tables), names)
        return group_shifts(values, len(set(clusters)), seed), [self.places[k] for k in kept]

    def limits(self, kept: Sequence[int], clusters: int) -> tuple[str, ...]:
        """Return what the reader must know of a reading."""
        found: list[str] = []
        if clusters < FEWEST_CLUSTERS:
            found.append("too few templates to tell which words are shifted: give six or more")
        missing = [str(place) for place in self.places if place not in kept]
        if missing:
            found.append(f"most answers end before answer token {', '.join(missing)}")
        return tuple(found)

    def _kept(self, *readings: Reading) -> list[int]:
        """Return the numbers of the places that at least half of the prompts have."""
        shares = torch.stack([reading.there.float().mean(1) for reading in readings]).amin(0)
        kept = [number for number, share in enumerate(shares.tolist()) if share >= 0.5]
        if not kept:
            raise ToolError("logit_lens: most answers end before any position read; give positions")
        return kept


KINDS: tuple[Literal["neutral", "off_topic"], ...] = ("neutral", "off_topic")


def begin(prompt: Prompt, answer: str) -> Prompt:
    """Return the prompt with the beginning of its answer."""
    opened = prompt.continue_as == "user" and not prompt.prefill
    text = answer.lstrip() if opened else answer
    return prompt.model_copy(update={"prefill": prompt.prefill + text})


def raw_table(
    shifts: Shifts, words: Words, cells: Sequence[tuple[int, int]], found: Clearest
) -> str:
    """Return the statistics of the most shifted words, and of those shown, in every cell as JSON."""
    most = shifts.score.abs().amax(0).argsort(descending=True)[:RAW_WORDS].tolist()
    kept = list(dict.fromkeys([*most, *found.words]))
    parts = {name: getattr(shifts, name) for name in ("shift", "score", "p", "outlier")}
    table: dict[str, Any] = {
        name: [[round(value, DIGITS) for value in row] for row in part[:, kept].tolist()]
        for name, part in parts.items()
    }
    table["throughout"] = [round(value, DIGITS) for value in shifts.throughout[kept].tolist()]
    return canonical_json(
        {"cells": list(map(list, cells)), "words": [words.texts[k] for k in kept]} | table
    )
