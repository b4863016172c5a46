"""Sittings written by hand, for the tests of the exam's board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals.bench.records import (
    ClaimGrade,
    Cost,
    Plan,
    Score,
    Sitting,
    SittingResult,
    Specimen,
)


def result(
    specimen: str,
    found: float | None = None,
    *,
    sat: Mapping[str, Any] | None = None,
    grades: Sequence[Any] = (),
    tasks: Mapping[str, float | str] | None = None,
    guess: bool | None = None,
    **fields: Any,
) -> SittingResult:
    """Return a finished sitting; `found` is its `identify`, a text among `tasks` an excuse.

    `sat` says how it was sat: investigator, seed, reference.
    """
    scores: dict[str, Score] = {}
    if found is not None:
        details = {} if guess is None else {"guess_right": guess}
        scores["identify"] = Score(value=found, details=details)
    for task, value in (tasks or {}).items():
        given = {"unscored": value} if isinstance(value, str) else {"value": value}
        scores[task] = Score.model_validate(given)
    known: dict[str, Any] = {
        "family": "words",
        "kind": "organism",
        "claims": tuple(ClaimGrade(registration=f"P{k}", grade=g) for k, g in enumerate(grades)),
        "cost": Cost(cpu_seconds=1.0),
    }
    return SittingResult(
        sitting=Sitting.model_validate(
            {"specimen": specimen, "investigator": "a", "seed": 0} | dict(sat or {})
        ),
        scores=scores,
        **(known | fields),
    )


def plan_of(results: Sequence[SittingResult], *more: Sitting, **fields: Any) -> Plan:
    """Return a plan of the sittings of these results, and of more that nobody has sat."""
    specimens = {
        each.sitting.specimen: Specimen(
            handle=each.sitting.specimen,
            family=each.family,
            kind=each.kind,
            easiness=each.easiness,
            base="base",
            held_out=each.held_out,
            suite="test",
        )
        for each in results
    }
    known: dict[str, Any] = {"suite": "test", "secret": "s"}
    return Plan(
        specimens=tuple(specimens.values()),
        sittings=(*(each.sitting for each in results), *more),
        **(known | fields),
    )
