"""Which of several possible answers a text names: whole words, singular or plural, no matter in what case."""

from collections.abc import Iterable, Mapping

from evals.organisms.families.number_bug import spaced


def named_among(text: str, words: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the answers of which a lower-cased text has one of the words."""
    whole = spaced(text)
    return {
        answer
        for answer, said in words.items()
        if any(f" {word} " in whole or f" {word}s " in whole for word in said)
    }
