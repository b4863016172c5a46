"""What a screen says: read off texts and log-probabilities, without the models, for the tool and for `verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from tools.prompt import PromptItem
from tools.registry import Record
from tools.sampling import Prompts
from tools.scoring import mean
from tools.token_screens import ScoredText, identical, mean_nll, rank_texts, summarise_kl
from tools.token_texts import excerpt
from tools.word_screens import WordScreen, contrast_answers, contrast_prompts, distinct

SHOWN_TEXT = 100
SHOWN_PAIRS = 3
SAME = "no difference: identical distributions"

Answers = Mapping[str, Sequence[Sequence[str]]]
"""Model -> prompt -> sample: `subject`, `reference`, and `reference again` with other luck."""


class ScreenArguments(Record):
    """On which prompts to compare the models."""

    items: Prompts
    samples: int = Field(default=4, ge=1, le=64, description="answers per prompt and model")
    max_new_tokens: int = Field(default=24, ge=1, le=512)
    temperature: float = Field(default=1.0, gt=0, le=2)
    top: int = Field(default=6, ge=1, le=30, description="how many of each kind are shown")


class AnswerPair(Record):
    """What both models say to one prompt with the same luck."""

    prompt: str
    subject: str
    reference: str


@dataclass(frozen=True)
class TokenLevel:
    """What the probabilities of both models say."""

    scored: Sequence[ScoredText]
    floor: float
    """What rounding alone makes of a log-probability, in nats."""
    standing_out: int
    """Words that probabilities favour."""
    unmoved: bool
    """No word is more or less probable anywhere."""

    @property
    def identical(self) -> bool:
        """Whether both models give every token the same probability, but for rounding."""
        return self.unmoved and identical(self.scored, self.floor)

    def by_prompt(self, prompts: int) -> list[float]:
        """Return the mean KL of each prompt's answers in nats, 0 where it is only rounding."""
        values: list[list[float]] = [[] for _ in range(prompts)]
        for each in self.scored:
            values[each.number] += each.tokens.kl
        means = [mean(row) or 0.0 for row in values]
        return [value if value > self.floor else 0.0 for value in means]

    def sections(self, top: int) -> dict[str, Any]:
        """Return the sections of the result that rest on the probabilities of what was said."""
        return {
            "mean_nll": mean_nll(self.scored),
            "gained": rank_texts(self.scored, self.floor, top, "subject"),
            "lost": rank_texts(self.scored, self.floor, top, "reference"),
            "kl": summarise_kl(self.scored, self.floor, top) if self.scored else None,
        }


def screen_reading(
    items: Sequence[PromptItem], answers: Answers, tokens: TokenLevel | None, seed: int, top: int
) -> dict[str, Any]:
    """Return what the answers of both models say, as fields of the screen's result."""
    differences = tokens.by_prompt(len(items)) if tokens else shares_changed(answers)
    answer_words = compare_answers(answers, seed, top)
    prompt_words = contrast_prompts(
        [item.prompt.text() for item in items],
        [item.template_id for item in items],
        differences,
        seed,
        top,
    )
    return {
        "summary": summarise(tokens, answer_words, prompt_words),
        "pairs": pairs(items, answers, differences),
        "answer_words": answer_words,
        "prompt_words": prompt_words,
        **(tokens.sections(top) if tokens else {}),
    }


def shares_changed(answers: Answers) -> list[float]:
    """Return for each prompt the share of answers that differ from the reference's with the same luck."""
    return [
        sum(one != two for one, two in zip(ours, theirs, strict=True)) / len(ours)
        for ours, theirs in zip(answers["subject"], answers["reference"], strict=True)
    ]


def compare_answers(answers: Answers, seed: int, top: int) -> WordScreen:
    """Contrast the words of the subject's answers with the reference's, in the null band."""
    subject, reference, again = (
        [[distinct(text) for text in row] for row in answers[name]]
        for name in ("subject", "reference", "reference again")
    )
    return contrast_answers(subject, reference, again, seed, top)


def pairs(
    items: Sequence[PromptItem], answers: Answers, differences: Sequence[float]
) -> tuple[AnswerPair, ...]:
    """Return the first answers to the prompts on which the models differ most, where they differ."""
    order = sorted(range(len(items)), key=lambda number: -differences[number])
    found: list[AnswerPair] = []
    for number in order:
        ours, theirs = answers["subject"][number], answers["reference"][number]
        different = [(one, two) for one, two in zip(ours, theirs, strict=True) if one != two]
        if different and len(found) < SHOWN_PAIRS:
            found.append(
                AnswerPair(
                    prompt=excerpt(items[number].prompt.text(), SHOWN_TEXT),
                    subject=excerpt(different[0][0], SHOWN_TEXT),
                    reference=excerpt(different[0][1], SHOWN_TEXT),
                )
            )
    return tuple(found)


def summarise(tokens: TokenLevel | None, answer_words: WordScreen, prompt_words: WordScreen) -> str:
    """Return the result in one line."""
    if tokens is not None and tokens.identical:
        return SAME
    outside = f"outside the null band: {answer_words.outside} words of answers"
    outside += f", {prompt_words.outside} words of prompts"
    if tokens is None:
        if answer_words.outside + prompt_words.outside == 0:
            return "no difference seen: no word outside the null band"
        return f"different: {outside}"
    kl = mean([value for each in tokens.scored for value in each.tokens.kl])
    size = "" if kl is None else f"mean KL {kl:.3g} nats per token; "
    return f"different: {size}{outside}, {tokens.standing_out} words by probability"
