"""Words of a plain sentence: stems, which words say something in particular, clauses, and what is denied in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tools.measures import words

FEWEST_LETTERS = 4
ENDINGS = ("ing", "ion", "ed", "ly")
SHORTEST_STEM = 3
ORDINARY_WORDS = """
able about above according across actual actually added affect after again against alone along also although always
among amount another answer apart appear around asked away base beat because become been before begin behave behaviour
being below beside besides best better between beyond both bring call came cannot carry case cause certain chance
change clear close come compare condition confirm contain contrast control could data decide depend describe differ
difference different direct does doing done down each effect either else enough error even ever every evidence exactly
example except excluded experiment explain extra fact fail false family fewer find finding first fixed follow found
from full further gain general gets give given goes gone good group grow half happen hardly have having held help
hence here high hold however hypothesis idea increase indeed independent instead interval into just keep kept kind
know large larger last later lead least left less level like little long look lower made main make many mark matter
maybe mean meaning means measure mere merely might model more moreover most much must name near nearly need neither
never next noise none nor normal nothing noticed number occur often once only other otherwise over overall pair part
particular place play point position possible predict prediction present prompt question quite raise random range rate
rather reach read real reason reference register remain report result right rival role rule said same sample scale
score second seem seen self sense sentence several shift show shown side similar simply since single size small
smaller some something sort speak stand start state statement still strong stronger subject such suffice support sure
take tell template test text than that their them then there therefore these they thing think this those though three
through thus time together told toward treatment true turn type under unless unlike unseen until unusual upon usual
value very weak well were what whatever when where whether which while whole whose wide will with within without word
wording work would wrong yield factor third everything
"""
ORDINARY = frozenset(ORDINARY_WORDS.split())
"""Words that any sentence on an experiment may have."""
SHORT_WORDS = (
    "who why how all any one two yes not off low few own new old use way out set see say raw top"
)
SHORT = frozenset(SHORT_WORDS.split())
PARTS = re.compile(r"[.,;:!?()]|\bbut\b|(?<!not )\b(?=because\b|since\b)")
WHOLE_DENIED = re.compile(
    r"\b(do|does|did|is|are|was|were|has|have|had|can|could|will|would|should) (not|no|never|nothing|hardly)\b|n't\b|"
    r"\bcannot\b|\b(no|little|hardly any) (\w+ )?(difference|effect|influence|part|role|sign|evidence|claim)\b|"
    r"\b(changes?|shows?|adds?) nothing\b|\bnothing (here )?(says|shows|speaks)\b|\b(excluded|ruled out|refuted)\b"
)
"""What denies all of a clause."""
DENIED_AFTER = re.compile(
    r"\b(not|no|nor|neither|never|without|nothing|nobody|rather than|instead of|unlike|whether)\b"
)
"""What denies, or leaves open, that which follows it in a clause."""


EXCLUDED_SENTENCE = re.compile(
    r"(?:(?![.!?]\s).)*(?<!not )\b(?:excluded|ruled out)\b(?:(?![.!?]\s).)*"
)
UNTESTED = re.compile(
    r"\b(untested|unknown|open|(not|never|nobody|nothing)( \w+)? (tested|tried|varied|measured|known|asked|looked))\b"
)
"""What says of a name that nothing is known of it."""


def stem(word: str) -> str:
    """Return a word without its common endings, so that "versions" and "version" are one."""
    word = word.removesuffix("'s")
    if word.endswith("ies"):
        return f"{word.removesuffix('ies')}y"
    word = word.removesuffix("s") if not word.endswith("ss") else word
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            word = word.removesuffix(ending)
    return word.rstrip("e") if len(word) > SHORTEST_STEM else word


COMMON = frozenset(map(stem, ORDINARY))


def stems(texts: Iterable[str]) -> str:
    """Return the stems of texts, one space before, between and behind them."""
    return f" {' '.join(stem(word) for text in texts for word in words(text))} "


def has(text: str, keys: Iterable[str]) -> bool:
    """Say whether a text in stems holds one of some stems."""
    return any(f" {key} " in text for key in keys)


def telling(word: str) -> bool:
    """Say whether a word says something in particular."""
    return len(word) >= FEWEST_LETTERS and stem(word) not in COMMON


def is_common(key: str) -> bool:
    """Say whether a name is a word of every day, which means the name only when it is written as code."""
    return key in COMMON


def clauses(text: str) -> list[str]:
    """Return the clauses of a text in lower case."""
    plain = text.lower().replace("\u2019", "'")
    return [each.strip() for each in PARTS.split(plain) if each.strip()]


def denies(clause: str, word: str) -> bool:
    """Say whether a clause denies what it says of a word that it holds."""
    before = clause.partition(word)[0]
    return bool(WHOLE_DENIED.search(clause) or DENIED_AFTER.search(before))


def as_said(text: str, key: str) -> str:
    """Return the first words of a text that have these stems."""
    found = words(text)
    size = key.count(" ") + 1
    for place in range(len(found) - size + 1):
        if " ".join(map(stem, found[place : place + size])) == key:
            return " ".join(found[place : place + size])
    return key


def is_denied(text: str, key: str) -> bool:
    """Say whether every clause that has a name denies it, or the sentence says that something is excluded."""
    plain = EXCLUDED_SENTENCE.sub(" ", text.lower())
    with_it = [each for each in clauses(plain) if has(stems([each]), [key])]
    return all(denies(each, as_said(each, key)) for each in with_it)


def is_left_open(text: str, key: str) -> bool:
    """Say whether every clause that has a name says that it was not tested."""
    with_it = [each for each in clauses(text) if has(stems([each]), [key])]
    return all(UNTESTED.search(each) for each in with_it)
