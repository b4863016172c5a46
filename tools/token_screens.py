"""Where two models part, token by token: perplexity differencing and per-token KL, in short.

Source: perplexity differencing, arXiv:2605.00994; per-token KL between a model and its base, Venhoff
et al. 2025, arXiv:2506.18167.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tools.prompt import PromptItem
from tools.registry import Record
from tools.token_texts import TokenDivergence, excerpt, token_class

SHOWN_TEXT = 100
SHOWN_CONTEXT = 40
CONTEXT_TOKENS = 8
REPEATED = 8
ROUNDING = 1e-6
"""Smallest numerical floor in nats: what float32 leaves of a log-probability."""

ModelName = Literal["subject", "reference"]
MODELS: tuple[ModelName, ...] = ("subject", "reference")


@dataclass(frozen=True)
class ScoredText:
    """One sampled answer with its tokens under both models."""

    number: int
    """Of its prompt in the call."""
    item: PromptItem
    text: str
    times: dict[ModelName, int]
    """How often each model gave it."""
    tokens: TokenDivergence

    @property
    def surprise(self) -> float:
        """NLL under the reference less that under the subject, in nats per token."""
        gaps = [s - r for s, r in zip(self.tokens.subject, self.tokens.reference, strict=True)]
        return math.fsum(gaps) / len(gaps)

    def row(self) -> dict[str, Any]:
        """Return the raw form."""
        parts = vars(self.tokens)
        told = {"number": self.number, "id": self.item.id, "text": self.text, "times": self.times}
        return told | parts

    @classmethod
    def of_row(cls, row: Mapping[str, Any], items: Sequence[PromptItem]) -> ScoredText:
        """Return the text that a raw row of these items is the form of."""
        lists = {name: row[name] for name in ("tokens", "subject", "reference", "kl")}
        number = row["number"]
        return cls(number, items[number], row["text"], row["times"], TokenDivergence(**lists))


class RankedText(Record):
    """An answer by how much likelier one model finds it."""

    prompt: str
    text: str
    surprise: float
    """NLL under the reference less NLL under the subject, nats per token."""


class TokenType(Record):
    """All occurrences of one token."""

    token: str
    kind: str
    count: int
    kl: float
    """Mean KL(subject || reference) where this token comes next, in nats."""
    share: float
    """Of all the KL that was seen."""


class Peak(Record):
    """A single place where the models part."""

    before: str
    token: str
    kl: float


class KLSummary(Record):
    """KL(subject || reference) of the next token along the answers of both, in nats."""

    tokens: int
    mean: float
    first_token: float
    """Mean at the first token of the answer, which templates make special."""
    later: float | None
    largest: float
    gini: float | None
    """0: spread evenly; near 1: all in a few tokens."""
    share_in_top_percent: float | None
    by_kind: dict[str, float]
    types: tuple[TokenType, ...]
    peaks: tuple[Peak, ...]
    floor: float
    """The reference against itself in another batch: what rounding alone makes."""


def score_texts(
    subject: Any,
    items: Sequence[PromptItem],
    ours: Sequence[Sequence[str]],
    theirs: Sequence[Sequence[str]],
) -> list[ScoredText]:
    """Score every distinct answer of both models, if it is not empty, under both."""
    seen: dict[tuple[int, str], Counter[ModelName]] = {}
    for model, rows in zip(MODELS, (ours, theirs), strict=True):
        for number, texts in enumerate(rows):
            for text in texts:
                if text.strip():
                    seen.setdefault((number, text), Counter())[model] += 1
    if not seen:
        return []
    # The agent reads this module, and must not load torch with it.
    from tools.divergence import divergence

    prompts = [items[number].prompt for number, _ in seen]
    found = divergence(subject, prompts, [text for _, text in seen])
    return [
        ScoredText(number, items[number], text, dict(times), tokens)
        for ((number, text), times), tokens in zip(seen.items(), found, strict=True)
        if tokens.tokens
    ]


def numerical_floor(subject: Any, scored: Sequence[ScoredText]) -> float:
    """Return the largest change of a reference log-probability when it is computed another way."""
    chosen = scored[:: max(1, len(scored) // REPEATED)][:REPEATED]
    gaps = [ROUNDING]
    for each in chosen:
        again = subject.reference.token_logprobs([each.item.prompt], [[each.text]])[0][0]
        if len(again) == len(each.tokens.reference):
            pairs = zip(again, each.tokens.reference, strict=True)
            gaps += [abs(one - two) for one, two in pairs]
    return max(gaps)


def identical(scored: Sequence[ScoredText], floor: float) -> bool:
    """Say whether no log-probability of any token differs by more than rounding."""
    return all(
        abs(one - two) <= floor
        for each in scored
        for one, two in zip(each.tokens.subject, each.tokens.reference, strict=True)
    ) and all(value <= floor for each in scored for value in each.tokens.kl)


def mean_nll(scored: Sequence[ScoredText]) -> dict[str, float | None]:
    """Return the four cells: mean NLL per token of each model's answers under each model."""
    cells: dict[str, float | None] = {}
    for writer in MODELS:
        written = [(each, each.times.get(writer, 0)) for each in scored]
        tokens = sum(times * len(each.tokens.tokens) for each, times in written)
        for reader in MODELS:
            total = math.fsum(
                -times * math.fsum(getattr(each.tokens, reader)) for each, times in written
            )
            cells[f"{writer}'s answers under {reader}"] = (
                round(total / tokens, 4) if tokens else None
            )
    return cells


def rank_texts(
    scored: Sequence[ScoredText], floor: float, top: int, model: ModelName
) -> tuple[RankedText, ...]:
    """Return the answers of a model that it finds likelier than the other does, each text once."""
    sign = 1 if model == "subject" else -1
    distinct: dict[str, ScoredText] = {}
    for each in sorted(scored, key=lambda each: -sign * each.surprise):
        if model in each.times and sign * each.surprise > floor:
            distinct.setdefault(" ".join(each.text.lower().split()), each)
    return tuple(
        RankedText(
            prompt=excerpt(each.item.prompt.text(), SHOWN_TEXT),
            text=excerpt(each.text, SHOWN_TEXT),
            surprise=round(each.surprise, 4),
        )
        for each in list(distinct.values())[:top]
    )


def summarise_kl(scored: Sequence[ScoredText], floor: float, top: int) -> KLSummary:
    """Pool the KL of all tokens by place, by token and by kind of token."""
    every = [value for each in scored for value in each.tokens.kl]
    first = [each.tokens.kl[0] for each in scored]
    later = [value for each in scored for value in each.tokens.kl[1:]]
    total = math.fsum(every)
    groups: dict[str, list[float]] = {}
    kinds: dict[str, list[float]] = {}
    for each in scored:
        for token, value in zip(each.tokens.tokens, each.tokens.kl, strict=True):
            groups.setdefault(token, []).append(value)
            kinds.setdefault(token_class(token), []).append(value)
    sums = {token: math.fsum(values) for token, values in groups.items()}
    real = [token for token in sums if max(groups[token]) > floor]
    ranked = sorted(real, key=lambda token: -sums[token])[:top]
    return KLSummary(
        tokens=len(every),
        mean=round(total / len(every), 6),
        first_token=round(math.fsum(first) / len(first), 6),
        later=round(math.fsum(later) / len(later), 6) if later else None,
        largest=round(max(every), 6),
        gini=gini(every),
        share_in_top_percent=share_in_top(every, 0.01),
        by_kind={kind: round(math.fsum(values) / len(values), 6) for kind, values in kinds.items()},
        types=tuple(
            TokenType(
                token=excerpt(repr(token)[1:-1], SHOWN_CONTEXT),
                kind=token_class(token),
                count=len(groups[token]),
                kl=round(sums[token] / len(groups[token]), 4),
                share=round(sums[token] / total, 3),
            )
            for token in ranked
        ),
        peaks=peaks(scored, floor, top),
        floor=floor,
    )


def peaks(scored: Sequence[ScoredText], floor: float, top: int) -> tuple[Peak, ...]:
    """Return the places of largest KL; the same token after the same words counts once."""
    places = [
        (value, each, number)
        for each in scored
        for number, value in enumerate(each.tokens.kl)
        if value > floor
    ]
    found: dict[tuple[str, str], Peak] = {}
    for value, each, number in sorted(places, key=lambda place: -place[0]):
        if len(found) == top:
            break
        tokens = each.tokens.tokens
        before = excerpt("".join(tokens[max(0, number - CONTEXT_TOKENS) : number]), SHOWN_CONTEXT)
        token = excerpt(repr(tokens[number])[1:-1], SHOWN_CONTEXT)
        found.setdefault((before, token), Peak(before=before, token=token, kl=round(value, 4)))
    return tuple(found.values())


def gini(values: Sequence[float]) -> float | None:
    """Return the Gini coefficient of values that are not negative; None when all are zero."""
    total, n = math.fsum(values), len(values)
    if total <= 0:
        return None
    ranks = math.fsum((2 * k - n - 1) * value for k, value in enumerate(sorted(values), 1))
    return round(ranks / (n * total), 4)


def share_in_top(values: Sequence[float], share: float) -> float | None:
    """Return how much of the total lies in the largest share of values, one value at least."""
    total = math.fsum(values)
    if total <= 0:
        return None
    kept = sorted(values)[-max(1, math.ceil(share * len(values))) :]
    return round(math.fsum(kept) / total, 4)
