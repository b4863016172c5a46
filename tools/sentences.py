"""Sentences of a text, as pieces that add up to it, and when two of them say the same.

The rules are those of Bogdan et al. 2025, Thought Anchors, arXiv:2506.19143: a sentence ends behind . ? or !
before white space and at a blank line, and a piece of fewer than ten characters joins its neighbour. That
two say the same is told from their words, without an embedding model.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from tools.measures import words

SHORTEST = 10
"""Characters; what is shorter ("1.", "Hm.") is no sentence of its own."""
# A line feed stays with the sentence before it and a space with the one behind: so tokenizers cut, too.
# The number of a list's entry ends no sentence. Nothing here goes back over a long run of dots or spaces.
END = re.compile(
    r"(?<!\n\d)(?<!\n\d\d)(?<![.?!])[.?!]++[\"'”’)\]*]*+(?=\s)(?:\s*\n)?"
    r"|[。？！]++[”’」』）]*+(?:\s*\n)?"
    r"|\n\s*\n"
)
NEGATIONS = frozenset(("no", "not", "never", "cannot", "without", "neither", "nor"))


def split(text: str) -> list[str]:
    """Return the sentences of a text with the white space around them; joined, they are the text."""
    ends = [match.end() for match in END.finditer(text)]
    pieces: list[str] = []
    begun = ""
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        begun += text[start:end]
        if len(begun.strip()) >= SHORTEST:
            pieces.append(begun)
            begun = ""
    if begun.strip() and not pieces:
        return [begun]
    if pieces:
        pieces[-1] += begun
    return pieces


def overlap(one: str, other: str) -> float:
    """Return the share of distinct words that two texts have in common, 0 to 1 (Jaccard 1912)."""
    here, there = read(one)[0], read(other)[0]
    return len(here & there) / len(here | there) if here | there else 1.0


def alike(one: str, other: str, at_least: float) -> bool:
    """Say whether two sentences say the same: enough words in common, the same numbers, as much negated.

    A word for another of the same meaning counts as a difference.
    """
    return read(one)[1] == read(other)[1] and overlap(one, other) >= at_least


@functools.lru_cache(maxsize=4096)
def read(text: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the distinct words, and in order those that change what is said though they are few.

    These are numbers and negations.
    """
    found = words(text)
    telling = (w for w in found if w[0].isdigit() or w in NEGATIONS or w.endswith("n't"))
    return frozenset(found), tuple(telling)


def grouped(sentences: Sequence[str], at_least: float) -> list[int]:
    """Return the group of each sentence: the number of the first one that says the same."""
    firsts: list[int] = []
    found: list[int] = []
    for number, sentence in enumerate(sentences):
        group = next((k for k in firsts if alike(sentences[k], sentence, at_least)), number)
        if group == number:
            firsts.append(number)
        found.append(group)
    return found
