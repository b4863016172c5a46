"""Recorded texts followed token by token under their rows' own noise.

Texts are recorded and tokens are not, and one text can be spelled by several series of tokens. So what is
followed is every series that spells the beginning of the text and differs from the model's own choices only
where two scores are as near to each other as rounding: there are hardly ever more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tools.experiment import Context
from tools.generation import Passage, sample_tokens
from tools.recorded_texts import (
    FollowedText,
    FollowingArguments,
    FollowingResult,
    RecordedText,
)
from tools.registry import tool
from tools.sampling_noise import GumbelNoise, stream_start

MOST_WALKS = 32
"""So many series are followed for one text."""
CANDIDATES = 2000
"""So many tokens are tried for the one that was recorded, from the highest score down."""
LEAVE = -1
"""Stands for a token where a row is followed no further."""
UNFINISHED = "\ufffd"
"""What a piece of a character is decoded as."""


@dataclass
class Walk:
    """One series of tokens that may spell a recorded text."""

    number: int
    """Of the text."""
    forced: tuple[int, ...] = ()
    """Its beginning; what comes behind is the model's choice."""
    said: list[int] = field(default_factory=list[int])
    arrived: bool = False
    stuck: FollowedText | None = None
    branches: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    """Beginnings of other series, which part from this one where two scores are as good as equal."""


@tool(for_investigator=False)
def follow_texts(subject: Any, args: FollowingArguments, context: Context) -> FollowingResult:
    """Say of each recorded text whether the model could have sampled it with its row's noise."""
    found: dict[int, FollowedText] = {}
    for numbers in alike(args.texts):
        found |= Following(subject, args, context, numbers).outcomes()
    return FollowingResult(texts=tuple(found[number] for number in range(len(args.texts))))


FOLLOWING = (follow_texts,)
"""For the worker of a `rerun`; an investigation's worker does not offer it."""


def alike(texts: Sequence[RecordedText]) -> list[list[int]]:
    """Return the numbers of the texts, those of one model under one intervention together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, text in enumerate(texts):
        change = text.intervention.model_dump_json() if text.intervention else ""
        groups.setdefault((text.model, change), []).append(number)
    return list(groups.values())


class Following:
    """Texts of one model under one intervention."""

    def __init__(
        self, subject: Any, args: FollowingArguments, context: Context, numbers: Sequence[int]
    ) -> None:
        self.args, self.seed = args, context.seed
        self.texts = {number: args.texts[number] for number in numbers}
        first = self.texts[numbers[0]]
        self.model: Any = subject.arm(first.model)
        prompts = [text.prompt for text in self.texts.values()]
        sources = [text.source for text in self.texts.values() if text.source is not None]
        self.edits = (
            self.model.edits_for(first.intervention, context.blobs, prompts, sources)
            if first.intervention is not None
            else []
        )
        encoded = self.model.encode_all(prompts, self.edits, extra=args.max_new_tokens)
        self.encoded = dict(zip(numbers, encoded, strict=True))
        # Edits go by the place of a prompt in the group.
        self.place = {number: place for place, number in enumerate(numbers)}
        # Scores are logits over the temperature; without one they are the logits.
        self.unit = args.temperature or 1.0
        lead: str = self.model.encoder.answer_lead
        self.spellings = {
            number: (text.text, lead + text.text) for number, text in self.texts.items()
        }

    def outcomes(self) -> dict[int, FollowedText]:
        """Follow every series of every text, and return what comes of each text."""
        walks = [Walk(number) for number in self.texts]
        ended: dict[int, list[Walk]] = {number: [] for number in self.texts}
        begun = dict.fromkeys(self.texts, 1)
        while walks:
            done = self.model.batches.by_length(
                walks, lambda walk: len(self.encoded[walk.number]), self.go
            )
            walks = []
            for walk in done:
                ended[walk.number].append(walk)
                for beginning in walk.branches:
                    begun[walk.number] += 1
                    if begun[walk.number] <= MOST_WALKS:
                        walks.append(Walk(walk.number, beginning))
        return {
            number: outcome(several, complete=begun[number] <= MOST_WALKS)
            for number, several in ended.items()
        }

    def go(self, batch: Sequence[Walk]) -> list[Walk]:
        """Take some walks to where they arrive or are stuck."""
        # A batch that did not fit into memory is begun again.
        walks = [Walk(walk.number, walk.forced) for walk in batch]
        texts = [self.texts[walk.number] for walk in walks]
        starts = [stream_start(self.seed, text.key, text.sample) for text in texts]

        def choose(step: int, alive: Sequence[int], scores: Tensor) -> Tensor:
            rows = zip(alive, scores, strict=True)
            chosen = [self.step(walks[row], step, values) for row, values in rows]
            return torch.tensor(chosen, device=scores.device)

        def run(passage: Passage) -> None:
            logits = passage.read(
                [self.encoded[walk.number] for walk in walks],
                [self.place[walk.number] for walk in walks],
                cache=True,
            )
            noise = GumbelNoise(starts, logits.shape[-1], logits.device)
            sample_tokens(
                passage,
                logits,
                noise if self.args.temperature > 0 else None,
                temperature=self.args.temperature,
                max_new_tokens=self.args.max_new_tokens,
                stops=frozenset({LEAVE}),
                choose=choose,
            )

        self.model.run(run, self.model.interventions(self.edits))
        return walks

    def step(self, walk: Walk, step: int, scores: Tensor) -> int:
        """Return the next token of a walk, or `LEAVE` where it has arrived or is stuck."""
        if step < len(walk.forced):
            walk.said.append(walk.forced[step])
            return walk.forced[step]
        best = int(scores.argmax())
        near = float(scores[best]) - self.args.rounding / self.unit
        for other in (scores >= near).nonzero()[:, 0].tolist():
            if other != best and self.leads_on(walk, step, other):
                if self.is_last(step, other):
                    walk.arrived = True
                    return LEAVE
                walk.branches.append((*walk.said, other))
        if not self.leads_on(walk, step, best):
            walk.stuck = self.stuck(walk, step, scores, best)
            return LEAVE
        if self.is_last(step, best):
            walk.arrived = True
            return LEAVE
        walk.said.append(best)
        return best

    def is_last(self, step: int, token: int) -> bool:
        """Say whether a text ends with this token."""
        return token in self.model.stops or step + 1 == self.args.max_new_tokens

    def leads_on(self, walk: Walk, step: int, token: int) -> bool:
        """Say whether the walk spells the text's beginning with this token too, and all of it at its end."""
        ids = walk.said if token in self.model.stops else [*walk.said, token]
        text: str = self.model.encoder.decode(ids)
        spellings = self.spellings[walk.number]
        if self.is_last(step, token):
            return text in spellings
        whole = text.rstrip(UNFINISHED)
        # A character that was begun has to be finished by what follows.
        return any(
            each.startswith(whole) and (whole == text or each != whole) for each in spellings
        )

    def stuck(self, walk: Walk, step: int, scores: Tensor, best: int) -> FollowedText:
        """Return what the model prefers where a walk does not lead on, and to what."""
        order = scores.topk(min(CANDIDATES, len(scores))).indices.tolist()
        fits = next((token for token in order if self.leads_on(walk, step, token)), None)
        other = order[-1] if fits is None else fits
        return FollowedText(
            outcome="impossible",
            token=step + 1,
            preferred=self.shown(best),
            recorded=None if fits is None else self.shown(fits),
            margin=float(scores[best] - scores[other]) * self.unit,
        )

    def shown(self, token: int) -> str:
        """Return a token's text in quotation marks, or that it ends the answer."""
        if token in self.model.stops:
            return "the end"
        # A special token has no text, only a name.
        text = self.model.encoder.decode([token])
        return repr(text or self.model.tokenizer.convert_ids_to_tokens(token))


def outcome(walks: Sequence[Walk], *, complete: bool) -> FollowedText:
    """Return what several walks say of one text; `complete` where all of them were taken."""
    if any(walk.arrived for walk in walks):
        return FollowedText(outcome="possible")
    if not complete:
        return FollowedText(outcome="undecided")
    return max((walk.stuck for walk in walks if walk.stuck), key=lambda each: each.token or 0)
