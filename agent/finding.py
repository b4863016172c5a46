"""Findings: one for every registration and every note, worded by code from what was registered and seen.

The statement carries the verdict; the investigator's sentence stands beneath it as interpretation and
changes no word of it. How strong a word may be, what it is said of and what speaks against it follow
from the kind of experiment, the population and the reference (`agent/scope.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from agent.against_verdict import shown_by
from agent.citations import Prose, Sources, resolve_prose
from agent.controls import Control, controls_of
from agent.counters import after_counters, counters_of
from agent.investigation import Investigation
from agent.overreach import Held, Known, beyond, held_by, names_of, said_at
from agent.prediction import Hypothesis, Prediction, Registration
from agent.scope import (
    Level,
    judge_limits,
    level_of,
    limits_of,
    scope_of,
    sides_limit,
    untested_levels,
)
from agent.shared_words import words_sentence
from agent.statements import bounds, effect_words, numbers_of, smaller_than_asked, statement_of
from agent.verdict import Verdict
from tools.measures import unit
from tools.registry import Record

FindingStatus = Literal[
    "supported",
    "effect shown, cause open",
    "refuted",
    "inconclusive",
    "not tested (abandoned)",
    "exploratory",
    "citation broken",
]


class Finding(Record):
    """What one registration or note came to."""

    id: str
    """The registration (P1), or N1 for the first note."""
    status: FindingStatus
    """As computed; "citation broken" when the interpretation cites what the log does not hold."""
    decided: str | None = None
    """The verdict's own status, whatever became of the citations."""
    level: Level | None = None
    statement: str
    interpretation: Prose | None = None
    hypothesis: Hypothesis | None = None
    prediction: Prediction | None = None
    verdict: Verdict | None = None
    experiment: int | None = None
    unit: str | None = None
    effect: str = ""
    """Effect with its unit and sign, for a table."""
    interval: str = ""
    scope: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    replications: tuple[str, ...] = ()
    """What came of testing it again on prompts held in reserve."""
    untested_levels: str = ""
    """Levels of the same factor that no prediction tested as causes, in a sentence; empty when none is left."""
    smaller_than_asked: bool = False
    """Refuted, and yet an effect in the predicted direction: less than the smallest effect of interest."""
    decided_with: tuple[str, ...] = ()
    """The predictions that were registered in one call with it, and so decided together with it."""
    faults: tuple[str, ...] = ()
    """Citations and quotations that do not resolve."""
    overreach: tuple[str, ...] = ()
    """What the interpretation speaks of and the statement with its controls does not hold, as far as code can tell."""


def findings(investigation: Investigation) -> list[Finding]:
    """Return every finding: registrations in their order, then notes."""
    sources, known = Sources(investigation), names_of(investigation)
    found = [
        read_against(of_registration(investigation, each, sources), known, investigation)
        for each in investigation.registrations.values()
    ]
    for count, note in enumerate(investigation.notes, 1):
        prose = resolve_prose(note["text"], sources)
        found.append(
            Finding(
                id=f"N{count}",
                status="citation broken" if prose.faults() else "exploratory",
                statement="An observation of the investigator's; nothing was registered or tested.",
                interpretation=prose,
                faults=tuple(prose.faults()),
            )
        )
    return found


def read_against(
    finding: Finding, known: dict[str, Known], investigation: Investigation
) -> Finding:
    """Return a finding with what its interpretation speaks of beyond what it stands on."""
    if finding.interpretation is None or finding.prediction is None:
        return finding
    held = held_of(finding, known)
    told = beyond(finding.interpretation, held, known, investigation.case.behaviour)
    return finding.model_copy(update={"overreach": told})


def held_of(finding: Finding, known: dict[str, Known]) -> Held:
    """Return what the interpretation of a registration may stand on."""
    assert finding.prediction is not None
    status = finding.decided if finding.status == "citation broken" else finding.status
    shown = shown_by(
        finding.prediction,
        finding.verdict,
        said_at(known),
        status=status or "",
        effect=finding.effect,
        smaller=finding.smaller_than_asked,
    )
    claim = finding.hypothesis.claim if finding.hypothesis else ""
    return held_by(finding.statement, finding.prediction, finding.controls, claim, shown)


def of_registration(
    investigation: Investigation, registration: Registration, sources: Sources
) -> Finding:
    """Word one registration by its verdict, or by the lack of one."""
    prediction = registration.prediction
    verdict = investigation.verdicts.get(registration.id)
    said = investigation.submission.interpretations if investigation.submission else {}
    prose = resolve_prose(said[registration.id], sources) if registration.id in said else None
    faults = tuple(prose.faults()) if prose else ()
    decided: FindingStatus = verdict.status if verdict else "not tested (abandoned)"
    counters = counters_of(investigation, registration) if decided == "supported" else []
    status = after_counters("supported", counters) if decided == "supported" else decided
    measured = verdict is not None and verdict.estimate is not None
    table = raw_table(investigation, registration)
    return Finding(
        id=registration.id,
        status="citation broken" if faults else status,
        decided=verdict.status if verdict else None,
        level=level_of(prediction) if status == "supported" else None,
        statement=statement_of(prediction, verdict, counters)
        + words_left(investigation, registration, [each.id for each in counters if each.opens]),
        interpretation=prose,
        hypothesis=investigation.hypotheses.get(prediction.hypothesis),
        prediction=prediction,
        verdict=verdict,
        experiment=investigation.confirmations.get(registration.id),
        unit=unit(prediction.measure),
        effect=effect_words(prediction, verdict) if measured and verdict else "",
        interval=bounds(prediction, verdict) if measured and verdict else "",
        scope=scope_of(investigation, prediction, verdict),
        limits=(
            *limits_of(prediction, verdict),
            *sides_limit(prediction, table),
            *judge_limits(investigation, prediction),
            *(
                f"tested again{' by the sceptic' if each.id in investigation.counters else ''} as {each.id}: "
                f"{each.verdict.status}"
                for each in counters
            ),
            *(
                ("a counter-experiment of the sceptic's",)
                if registration.id in investigation.counters
                else ()
            ),
        ),
        controls=controls_of(prediction, verdict),
        replications=replications_of(investigation, registration),
        untested_levels=untested_levels(investigation, registration),
        smaller_than_asked=verdict is not None and smaller_than_asked(prediction, verdict),
        decided_with=tuple(
            each.id
            for each in investigation.registrations.values()
            if each.batch == registration.batch and each.id != registration.id
        ),
        faults=faults,
    )


def words_left(
    investigation: Investigation, registration: Registration, counters: Sequence[str]
) -> str:
    """Return what words an effect with an open cause goes with, in its own data or in those of a later test."""
    for name in (registration.id, *counters):
        each, verdict = investigation.registrations[name], investigation.verdicts.get(name)
        if verdict is not None and verdict.status == "effect shown, cause open":
            return words_sentence(each.prediction, verdict, raw_table(investigation, each))
    return ""


def raw_table(investigation: Investigation, registration: Registration) -> dict[str, Any]:
    """Return the arms that a verdict was computed from; empty before there is one, or when it failed."""
    number = investigation.confirmations.get(registration.id)
    result = investigation.experiment(number).result if number is not None else None
    return investigation.folder.get_json(result["raw"])["arms"] if result else {}


def replications_of(investigation: Investigation, registration: Registration) -> tuple[str, ...]:
    """Return one line for every replication of a registration."""
    lines: list[str] = []
    for event in investigation.folder.of_type("replication"):
        if event.data["registration"] != registration.id:
            continue
        verdict = Verdict.model_validate(event.data["verdict"])
        prediction = registration.prediction
        seen = "too little could be scored"
        if verdict.estimate is not None:
            seen = f"{effect_words(prediction, verdict)} ({numbers_of(prediction, verdict)})"
        number = event.data["experiment"]
        lines.append(f"on prompts held in reserve (exp:{number}): {verdict.status}, {seen}")
    return tuple(lines)
