"""What a question is about, read off its text: by the world's phrasings, else by telling words."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from evals.organisms.families.number_bug import has_word


@cache
def shape(phrasing: str) -> re.Pattern[str]:
    """Return what a question with this phrasing looks like at its end, whatever stands in its slots."""
    parts = [re.escape(part) for part in re.split(r"\{\w+\}", phrasing.rstrip("?.!"))]
    return re.compile(rf"(?:^|[.!?] ){'.+'.join(parts)}[?.!]*$", re.IGNORECASE)


def kind_of(
    text: str, phrasings: Mapping[str, Iterable[str]], cues: Mapping[str, Sequence[str]]
) -> str:
    """Return the kind to whose phrasings a text's last question belongs, or the empty text.

    A text in nobody's phrasing is of the first kind of which it has a word.
    """
    for kind, options in phrasings.items():
        if any(shape(option).search(text) for option in options):
            return kind
    lowered = text.casefold()
    for kind, words in cues.items():
        if any(has_word(lowered, word) for word in words):
            return kind
    return ""
