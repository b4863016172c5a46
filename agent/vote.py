"""The answer of a set of independent runs: a vote over theirs, weighed by what was confirmed anew.

A vote is the confidence of a run in its answer, over the number of runs: runs that answer otherwise or
not at all count against it. An answer whose statement was confirmed anew goes before any other, one
whose statement was tested anew and not confirmed cannot win.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from agent.answer import names_any
from agent.prediction import Prediction
from agent.set_reading import ReadRun, claim_of
from agent.submission import Answer
from agent.wording import differing_edits
from tools.registry import Record

CONFIRMED, SHARED, UNTESTED, FAILED = 3, 2, 1, 0
"""How an answer stands: a statement confirmed anew names it; a run that gave it had found such a statement;
no statement about it was tested anew; those that were tested were not confirmed."""
MOST_GUESSES = 10


class Statement(Record):
    """One prediction that was tested anew, with what came of it."""

    prediction: Prediction
    status: str

    def held(self) -> bool:
        """Say whether it was confirmed."""
        return self.status == "supported"


class Candidate(Record):
    """One answer with the runs that gave it."""

    kind: Any
    value: tuple[str, ...]
    votes: float
    standing: int
    runs: int


def same_text(text: str) -> str:
    """Return a value as it is compared: case, marks and white space do not count."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def names(prediction: Prediction, value: str) -> bool:
    """Say whether a prediction is about a value of an answer."""
    return same_text(value) == same_text(prediction.treatment.name) or names_any(
        prediction, (value,)
    )


def found_by(run: ReadRun, statement: Statement) -> bool:
    """Say whether a run had found a statement supported on its own prompts."""
    mark = claim_of(statement.prediction)
    return any(e.status == "supported" and claim_of(e.prediction) == mark for e in run.tried)


def elect(runs: Sequence[ReadRun], statements: Sequence[Statement], kind: str) -> Answer:
    """Return the answer of the set; `kind` is that of the case."""
    every = candidates(runs, statements)
    held = [each for each in statements if each.held()]
    if kind == "condition" and not any(each.standing >= SHARED for each in every):
        every += unspoken(runs, held)
    every.sort(key=lambda each: (-each.standing, -each.votes, -each.runs))
    nothing = next((each for each in every if each.kind == "nothing"), None)
    if (
        nothing
        and 2 * nothing.runs > len(runs)
        and not any(each.standing >= SHARED for each in every)
    ):
        every = [nothing, *(each for each in every if each is not nothing)]
    best = every[0] if every and every[0].standing > FAILED else None
    ranked = [best, *(each for each in every if each is not best)] if best else every
    guesses = guesses_of(ranked, runs)
    if best is None:
        return Answer(kind="unknown", confidence=0.0, guesses=guesses)
    value = best.value
    if best.kind == "factor" and best.standing == CONFIRMED:
        value = tuple(v for v in value if any(names(each.prediction, v) for each in held))
    return Answer(
        kind=best.kind, value=value, confidence=round(min(best.votes, 1.0), 3), guesses=guesses
    )


def candidates(runs: Sequence[ReadRun], statements: Sequence[Statement]) -> list[Candidate]:
    """Return every answer that was given, runs that gave the same one together."""
    groups: dict[tuple[Any, ...], list[ReadRun]] = {}
    for run in runs:
        answer = run.answer
        if answer.kind == "unknown" or (answer.kind != "nothing" and not answer.value):
            continue
        value = () if answer.kind == "nothing" else sorted({same_text(v) for v in answer.value})
        groups.setdefault((answer.kind, *value), []).append(run)
    found: list[Candidate] = []
    for group in groups.values():
        surest = max(group, key=lambda run: run.answer.confidence).answer
        value = () if surest.kind == "nothing" else surest.value
        found.append(
            Candidate(
                kind=surest.kind,
                value=value,
                votes=sum(run.answer.confidence for run in group) / len(runs),
                standing=standing_of(value, group, statements),
                runs=len(group),
            )
        )
    return found


def standing_of(
    value: tuple[str, ...], group: Sequence[ReadRun], statements: Sequence[Statement]
) -> int:
    """Return how an answer stands after the statements that were tested anew."""
    if not value:
        return UNTESTED
    about = [s for s in statements if any(names(s.prediction, v) for v in value)]
    behind = [s for s in statements if any(found_by(run, s) for run in group)]
    if any(each.held() for each in about):
        return CONFIRMED
    if not about and any(each.held() for each in behind):
        return SHARED
    tested = about or behind
    failed = tested and all(s.status != "effect shown, cause open" for s in tested)
    return FAILED if failed else UNTESTED


def unspoken(runs: Sequence[ReadRun], held: Sequence[Statement]) -> list[Candidate]:
    """Return what was confirmed anew and no answer names: the runs that had found it vote for it."""
    about = [each for each in held if differing_edits(each.prediction)]
    if not about:
        return []
    votes = sum(any(found_by(run, each) for each in about) for run in runs)
    return [
        Candidate(
            kind="factor",
            value=tuple(each.prediction.treatment.name for each in about),
            votes=votes / len(runs),
            standing=CONFIRMED,
            runs=votes,
        )
    ]


def guesses_of(ranked: Iterable[Candidate], runs: Sequence[ReadRun]) -> tuple[str, ...]:
    """Return ten guesses: the values of the answers in their order, then the runs' own guesses in turn."""
    rounds = itertools.zip_longest(*(run.answer.guesses for run in runs))
    texts = [
        *(value for each in ranked for value in each.value),
        *(text for turn in rounds for text in turn if text is not None),
    ]
    kept: dict[str, str] = {}
    for text in texts:
        kept.setdefault(same_text(text) or text, text)
    return tuple(kept.values())[:MOST_GUESSES]
