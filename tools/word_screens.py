"""Words that tell two sets of texts apart, each beside how far chance alone sets words apart.

The null band is the largest |z| of any word over many null splits, so that one screen in twenty shows
a word where nothing differs. The words outside it are listed; of the others the nearest few, by that name.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tools.discrimination import log_odds_with_prior
from tools.measures import words
from tools.registry import Record

NULL_SPLITS = 99
ALPHA = 0.05
PRIOR_WORDS = 50.0
FEWEST_TEXTS = 3
FEWEST_CLUSTERS = 6
SHOWN_WORD = 40
SHOWN_NEAREST = 3

Answers = Sequence[Sequence[frozenset[str]]]
"""For each prompt, the distinct words of each of its answers."""


class WordContrast(Record):
    """A word that one side uses more."""

    word: str
    z: float
    """Log-odds z-score under a prior; positive: commoner on the first side."""
    first: float
    """Share of texts with the word."""
    second: float


class WordScreen(Record):
    """Words outside the null band, the furthest first."""

    sides: tuple[str, str]
    outside: int = 0
    """How many words chance does not explain."""
    words: tuple[WordContrast, ...] = ()
    band: float | None = None
    """95th percentile of the largest null |z|; None when there was too little to compare."""
    inside: int = 0
    """Words looked at that chance explains."""
    nearest_inside_band: tuple[WordContrast, ...] = ()
    """The nearest of those: no finding, only what a larger screen might look at."""


def distinct(text: str) -> frozenset[str]:
    """Return the words of a text, each once: an answer that repeats itself counts once."""
    return frozenset(words(text))


def contrast_answers(
    subject: Answers, reference: Answers, again: Answers, seed: int, top: int
) -> WordScreen:
    """Compare answers with the reference's; the null splits two independent sets of the reference's.

    All three hold the same prompts with the same number of answers to each.
    """
    generator = random.Random(seed)
    answered = sum(map(len, reference))
    pool = [[*one, *two] for one, two in zip(reference, again, strict=True)]
    vocabulary = common_words([*flat(subject), *flat(pool)])
    sizes = [len(answers) for answers in reference]
    largest: list[float] = []
    for _ in range(NULL_SPLITS):
        drawn = [generator.sample(answers, len(answers)) for answers in pool]
        one = flat(row[:size] for row, size in zip(drawn, sizes, strict=True))
        two = flat(row[size:] for row, size in zip(drawn, sizes, strict=True))
        halves = count(one, vocabulary), count(two, vocabulary)
        largest.append(largest_z(*halves, vocabulary))
    counts = count(flat(subject), vocabulary), count(flat(reference), vocabulary)
    return screen(("subject", "reference"), counts, (answered, answered), vocabulary, largest, top)


def contrast_prompts(
    texts: Sequence[str], clusters: Sequence[str], differences: Sequence[float], seed: int, top: int
) -> WordScreen:
    """Compare the prompts on which the models differ most with those on which they differ least.

    Clusters (templates) are halved by their mean difference; the null shuffles the differences over
    clusters. Empty with fewer than six clusters, or when all differ alike.
    """
    sides = ("they differ most", "they differ least")
    names = list(dict.fromkeys(clusters))
    sizes = Counter(clusters)
    shares: list[dict[str, float]] = [{} for _ in names]
    means = [0.0] * len(names)
    for text, cluster, difference in zip(texts, clusters, differences, strict=True):
        place = names.index(cluster)
        means[place] += difference / sizes[cluster]
        for word in distinct(text):
            shares[place][word] = shares[place].get(word, 0.0) + 1 / sizes[cluster]
    if len(names) < FEWEST_CLUSTERS or max(means) - min(means) <= 1e-9 * max(map(abs, means)):
        return WordScreen(sides=sides)
    vocabulary = common_words([frozenset(each) for each in shares])
    generator = random.Random(seed)
    half = len(names) // 2
    order = sorted(range(len(names)), key=lambda place: -means[place])

    def halves(order: Sequence[int]) -> tuple[dict[str, float], dict[str, float]]:
        # With an odd number the middle cluster belongs to neither side.
        sides = order[:half], order[len(order) - half :]
        most, least = ([shares[place] for place in side] for side in sides)
        return total(most), total(least)

    largest = [
        largest_z(*halves(generator.sample(order, len(order))), vocabulary)
        for _ in range(NULL_SPLITS)
    ]
    return screen(sides, halves(order), (half, half), vocabulary, largest, top)


def total(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the summed share of each word."""
    summed: dict[str, float] = {}
    for each in shares:
        for word, value in each.items():
            summed[word] = summed.get(word, 0.0) + value
    return summed


def flat(rows: Iterable[Iterable[frozenset[str]]]) -> list[frozenset[str]]:
    """Return all texts of all prompts."""
    return [text for row in rows for text in row]


def common_words(texts: Sequence[frozenset[str]]) -> dict[str, float]:
    """Return the words that stand in three texts or more, with their prior counts."""
    totals = Counter(word for text in texts for word in text)
    kept = {word: total for word, total in totals.items() if total >= FEWEST_TEXTS}
    mass = sum(kept.values())
    return {word: PRIOR_WORDS * kept[word] / mass for word in sorted(kept)}


def count(texts: Iterable[frozenset[str]], vocabulary: Mapping[str, float]) -> Counter[str]:
    """Count the texts that hold each word of the vocabulary."""
    return Counter(word for text in texts for word in text if word in vocabulary)


def largest_z(
    first: Mapping[str, float], second: Mapping[str, float], vocabulary: Mapping[str, float]
) -> float:
    """Return the largest |z| of any word."""
    return max(map(abs, scores(first, second, vocabulary).values()), default=0.0)


def scores(
    first: Mapping[str, float], second: Mapping[str, float], vocabulary: Mapping[str, float]
) -> dict[str, float]:
    """Return the z-score of each word of the vocabulary."""
    kept = [{w: c for w, c in side.items() if w in vocabulary} for side in (first, second)]
    return log_odds_with_prior(kept[0], kept[1], vocabulary)


def screen(
    sides: tuple[str, str],
    counts: tuple[Mapping[str, float], Mapping[str, float]],
    totals: tuple[int, int],
    vocabulary: Mapping[str, float],
    largest: Sequence[float],
    top: int,
) -> WordScreen:
    """List the words outside the band of the null's largest scores."""
    band = sorted(largest)[int((1 - ALPHA) * (len(largest) + 1)) - 1]
    found = scores(*counts, vocabulary)
    ranked = sorted(found, key=lambda word: -abs(found[word]))
    outside = sum(abs(z) > band for z in found.values())

    def told(word: str) -> WordContrast:
        return WordContrast(
            word=word[:SHOWN_WORD],
            z=round(found[word], 2),
            first=round(counts[0].get(word, 0) / totals[0], 3),
            second=round(counts[1].get(word, 0) / totals[1], 3),
        )

    return WordScreen(
        sides=sides,
        words=tuple(told(word) for word in ranked[: min(outside, top)]),
        band=round(band, 2),
        outside=outside,
        inside=len(found) - outside,
        nearest_inside_band=tuple(
            told(word) for word in ranked[outside : outside + SHOWN_NEAREST] if found[word]
        ),
    )
