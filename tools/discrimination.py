"""How well words, scores or forecasts tell two groups of outputs apart."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence

from tools.statistics import finite, mean, share


def log_odds_with_prior(
    counts_a: Mapping[str, float], counts_b: Mapping[str, float], prior: Mapping[str, float]
) -> dict[str, float]:
    """Return the z-score of each word of `prior`; positive: commoner in a. A screen, not a test.

    `prior` holds Dirichlet pseudo-counts, usually background counts scaled to some tens of words;
    a word without one raises `ValueError`.

    Source: Monroe, Colaresi & Quinn 2008, Political Analysis 16, equations 16, 20 and 22.
    """
    missing = sorted(
        (set(counts_a) | set(counts_b)) - {w for w, count in prior.items() if count > 0}
    )
    if missing:
        raise ValueError(f"no prior count for {missing[0]!r} and {len(missing) - 1} more words")
    mass = math.fsum(prior.values())
    total_a, total_b = math.fsum(counts_a.values()) + mass, math.fsum(counts_b.values()) + mass
    scores: dict[str, float] = {}
    for word, pseudo in prior.items():
        a, b = counts_a.get(word, 0.0) + pseudo, counts_b.get(word, 0.0) + pseudo
        shift = math.log(a / (total_a - a)) - math.log(b / (total_b - b)) if len(prior) > 1 else 0.0
        scores[word] = shift / math.sqrt(1 / a + 1 / b)
    return scores


def brier_score(probabilities: Sequence[float], outcomes: Sequence[bool]) -> float:
    """Return the mean squared error of stated probabilities: 0 perfect, 0.25 for always 1/2, 1 worst.

    Source: Brier 1950, Monthly Weather Review 78 (the form with one term per event).
    """
    for probability in probabilities:
        share(probability, closed=True)
    pairs = zip(probabilities, outcomes, strict=True)
    return mean([(probability - bool(outcome)) ** 2 for probability, outcome in pairs])


def auroc(labels: Sequence[bool], scores: Sequence[float]) -> float:
    """Return P(score of a true one > score of a false one), ties half: 0.5 chance, 1 perfect.

    Counted in integers, so exact. Source: Hanley & McNeil 1982, Radiology 143.
    """
    pairs = list(zip(labels, finite(scores), strict=True))
    false = sorted(score for label, score in pairs if not label)
    true = [score for label, score in pairs if label]
    if not true or not false:
        raise ValueError("the AUROC needs both true and false labels")
    halves = sum(bisect.bisect_left(false, s) + bisect.bisect_right(false, s) for s in true)
    return halves / (2 * len(true) * len(false))
