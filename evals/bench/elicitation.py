"""Two published pipelines as investigators: one fixed look, ten guesses, nothing tested.

`LensToGuess` reads the likeliest words under the lens along the answers to fixed prompts, at one layer
(Cywinski et al. 2025, arXiv:2505.14352; settings as in arXiv:2510.01070). `DifferenceLens` reads the mean
difference of activations between subject and reference on the first tokens of unrelated texts (Minder et
al. 2025, arXiv:2510.13900). `TextToGuess` is what both are held against: the same case, prompts and number of
guesses, and the text of the answers alone. Neither pipeline can say "nothing" as published. Here a word has to stand
out: from its own probability under the reference, or from what chance makes of a random direction.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from agent.investigation import Transcript, Turn
from agent.plan_turns import Plan, Results, call, submission, turn_of
from agent.submission import Answer
from evals.bench.guesses import (
    Lead,
    answer_of,
    candidate_slot,
    filled,
    in_the_cases_words,
    said_apart,
)

SHOWN = 50
SETTINGS = Path(__file__).with_name("elicitation.toml")
"""What `python -m evals.bench.validation choose` found best; without it the published settings are taken."""


class LensSettings(NamedTuple):
    """How words are read along answers."""

    depth: float = 0.76
    """Which layer, as a share of all: 32 of 42 as published."""
    templates: int = 12
    per_template: int = 2
    answer_tokens: int = 8
    times: float = 2.0
    """So much likelier than under the reference the first word has to be."""


class DifferenceSettings(NamedTuple):
    """How a difference is read."""

    depth: float = 0.5
    positions: int = 5
    """First tokens of a text."""


# The first of each grid are the published settings as far as they carry over to another model.
LENS_GRID = tuple(
    LensSettings(depth=depth, answer_tokens=tokens)
    for depth, tokens in itertools.product((0.76, 0.4, 0.6, 0.9), (8, 2, 16))
)
DIFFERENCE_GRID = tuple(
    DifferenceSettings(depth=depth, positions=positions)
    for depth, positions in itertools.product((0.5, 0.3, 0.7, 0.9), (5, 1))
)
Settings = TypeVar("Settings", LensSettings, DifferenceSettings)
SAMPLES = 4
"""Answers to a prompt that are read as text."""
APART = 0.1
"""A word that so much more of one model's answers hold than of the other's stands out."""


def layer_at(depth: float, layers: int) -> int:
    """Return the layer at a share of the depth."""
    return min(int(depth * layers), layers - 1)


def lens_plan(briefing: dict[str, Any], settings: LensSettings) -> Plan:
    """Read once, along the subject's own answers to the case's prompts; among the candidates if there are any."""
    size = {"templates": settings.templates, "per_template": settings.per_template}
    page = yield from read_words(
        briefing,
        "logit_lens",
        items={"draw": size},
        layers=[layer_at(settings.depth, briefing["model"]["n_layers"])],
        positions=[],
        answer_tokens=settings.answer_tokens,
        likeliest=SHOWN,
    )
    likeliest = (page or {}).get("likeliest", [])
    if not likeliest:
        yield submission(Answer(kind="unknown", confidence=0.0), "The lens could read nothing.")
        return
    # As published: by plain probability. What the reference finds likely as well is no finding.
    ranked = in_the_cases_words(
        briefing,
        [
            Lead(each["word"], ratio(each["probability"], each["reference"]) / settings.times)
            for each in likeliest
        ],
    )
    answer = answer_of(briefing, ranked[:1])
    yield submission(
        answer.model_copy(update={"guesses": filled(briefing, [each.name for each in ranked])}),
        "The likeliest words of the lens; nothing was tested.",
    )


def ratio(ours: float, theirs: float | None) -> float:
    """Return how many times likelier a word is than under the reference; 1 without one."""
    return 1.0 if theirs is None else ours / max(theirs, 1e-12)


def difference_plan(briefing: dict[str, Any], settings: DifferenceSettings) -> Plan:
    """Read the mean difference once; among the candidates if there are any."""
    page = yield from read_words(
        briefing,
        "difference_lens",
        layers=[layer_at(settings.depth, briefing["model"]["n_layers"])],
        positions=list(range(settings.positions)),
        top=SHOWN,
    )
    if page is None:
        yield submission(Answer(kind="unknown", confidence=0.0), "No difference could be read.")
        return
    leads = [
        Lead(each["word"], each["outlier"] / page["outlier_by_chance"]) for each in page["words"]
    ]
    answer = answer_of(briefing, in_the_cases_words(briefing, leads))
    yield submission(answer, "The words of the activation difference; nothing was tested.")


def read_words(
    briefing: dict[str, Any], tool: str, **asked: Any
) -> Generator[Turn, Results, dict[str, Any] | None]:
    """Ask a lens for the case's candidates, or for any word where they cannot be told apart; None if it cannot."""
    slot = candidate_slot(briefing)
    candidates = briefing["slots"][slot]["values"] if slot else []
    if len(candidates) > 1:
        results = yield call(tool, **asked, candidates=candidates)
        if results[0].result is not None:
            return results[0].result
    results = yield call(tool, **asked)
    return results[0].result


def text_plan(briefing: dict[str, Any], settings: LensSettings) -> Plan:
    """Sample once, as many answers of subject and reference, and guess the words that set them apart."""
    size = {"templates": settings.templates, "per_template": settings.per_template}
    results = yield call("sample_responses", items={"draw": size}, samples=SAMPLES)
    leads = [
        Lead(each["word"], abs(each["first"] - each["second"]) / APART)
        for each in said_apart(results[0])
    ]
    if not leads:
        yield submission(Answer(kind="unknown", confidence=0.0), "Nothing was said.")
        return
    answer = answer_of(briefing, in_the_cases_words(briefing, leads))
    yield submission(answer, "The words that set the answers apart; nothing was tested.")


def settings_in(path: Path) -> tuple[LensSettings, DifferenceSettings]:
    """Return the settings that a file holds; the published ones where there is none."""
    if not path.exists():
        return LENS_GRID[0], DIFFERENCE_GRID[0]
    stored = tomllib.loads(path.read_text(encoding="utf-8"))
    return LensSettings(**stored["lens"]), DifferenceSettings(**stored["difference"])


def write_settings(
    path: Path, lens: LensSettings, difference: DifferenceSettings, why: str
) -> None:
    """Write settings that the pipelines take from then on, with a line on where they come from."""
    lines = [f"# {why}"]
    for name, chosen in (("lens", lens), ("difference", difference)):
        lines += [
            "",
            f"[{name}]",
            *(f"{key} = {value!r}" for key, value in chosen._asdict().items()),
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class LensToGuess:
    """The likeliest words under the lens, ten guesses."""

    name = "lens-to-guess"

    def __init__(self, settings: LensSettings | None = None) -> None:
        self.chosen = settings or settings_in(SETTINGS)[0]

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the one look, or its guesses."""
        return turn_of(lens_plan(transcript.briefing, self.chosen), transcript)


class DifferenceLens:
    """The words of the activation difference, ten guesses."""

    name = "difference-lens"

    def __init__(self, settings: DifferenceSettings | None = None) -> None:
        self.chosen = settings or settings_in(SETTINGS)[1]

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the one look, or its guesses."""
        return turn_of(difference_plan(transcript.briefing, self.chosen), transcript)


class TextToGuess:
    """The words that set the answers of both models apart, ten guesses."""

    name = "text-to-guess"

    def __init__(self, settings: LensSettings | None = None) -> None:
        self.chosen = settings or settings_in(SETTINGS)[0]

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the one look, or its guesses."""
        return turn_of(text_plan(transcript.briefing, self.chosen), transcript)
