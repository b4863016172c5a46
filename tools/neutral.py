"""Sentences that change a prompt's length and wording and nothing else: the material of no-op edits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

PROMPTS = Path(__file__).parent.parent / "prompts"
PARAPHRASES = 3


@cache
def sentences(kind: Literal["neutral", "off_topic"]) -> tuple[str, ...]:
    """Return the sentences of one kind, in the order of prompts/<kind>_sentences.txt."""
    lines = (PROMPTS / f"{kind}_sentences.txt").read_text().splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def of_length(kind: Literal["neutral", "off_topic"], words: int) -> tuple[str, ...]:
    """Return the three sentences whose number of words is nearest to `words`."""
    ranked = sorted(sentences(kind), key=lambda text: abs(len(text.split()) - words))
    return tuple(ranked[:PARAPHRASES])
