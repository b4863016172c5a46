"""Sentences that change a prompt's length and wording and nothing else: the material of no-op edits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from tools.measures import words as words_in

PROMPTS = Path(__file__).parent.parent / "prompts"
PARAPHRASES, FEWEST = 3, 2
FUNCTION_WORDS = frozenset(
    words_in(
        "the and for but not are was were has had have been will would can could may his her its our your you they "
        "them she who whom what when where which while there here this that these those then than with from into out "
        "over onto about before after near very quite some many few all any one two more most also only just now"
    )
)
"""Words of no topic, which any two sentences may share."""


@cache
def sentences(kind: Literal["neutral", "off_topic"]) -> tuple[str, ...]:
    """Return the sentences of one kind, in the order of prompts/<kind>_sentences.txt."""
    lines = (PROMPTS / f"{kind}_sentences.txt").read_text().splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def of_length(
    kind: Literal["neutral", "off_topic"], words: int, beside: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the three sentences whose number of words is nearest to `words`.

    Those that share a content word with a text of `beside` are left out, as long as two others are left: a
    no-op that says what a level says is none. A third that fits the length less well than it would have to
    is left out too.
    """
    taken = {word for text in beside for word in content_words(text)}

    def shared(text: str) -> int:
        return len(taken & content_words(text))

    def off(text: str) -> int:
        return abs(len(text.split()) - words)

    ranked = sorted(sentences(kind), key=off)
    far = off(ranked[:PARAPHRASES][-1])
    free = [text for text in ranked if not shared(text)][:PARAPHRASES]
    free = [text for k, text in enumerate(free) if k < FEWEST or off(text) <= far]
    if len(free) < FEWEST:
        free = sorted(ranked, key=shared)[:FEWEST]
    return tuple(free)


def content_words(text: str) -> set[str]:
    """Return the words of a text that say something, singular and plural as one."""
    said = {word for word in words_in(text) if len(word) > 2}
    return {word.rstrip("s") for word in said - FUNCTION_WORDS}
