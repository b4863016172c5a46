"""The report: one record that holds all a reader needs, built from the log and nothing else.

`Report` is a stable contract (`format` counts its versions). The pages are rendered from it by
`agent/rendering.py`; the same log always gives the same report, so `verify` can build it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from agent.answer import AnswerPart, answer_part
from agent.citations import Prose, Sources, resolve_prose
from agent.finding import Finding, findings, held_of
from agent.investigation import ExperimentEntry, Investigation, Spent
from agent.opening import opened_event
from agent.overreach import beyond_any, names_of
from agent.prediction import FAMILIES, Hypothesis, Registration
from agent.roles import RolePart, judges_told, roles_of
from agent.scope import reference_words
from agent.set_reading import SetPart, set_part
from agent.shown_evidence import Evidence, cut, evidence_of
from agent.sweeps import Sweep, sweeps_of
from agent.thoughts import ThoughtPart, thought_parts
from agent.wording import with_unit
from agent.words import words_heard
from tools.registry import Record

FORMAT = 1
SHOWN_LABELLED = 30


class StepZero(Record):
    """Does it happen, and does the measure see it?"""

    experiment: int
    happens: bool | None
    unit: str | None
    error: str | None
    rates: dict[str, dict[str, Any]]
    labelled: tuple[dict[str, Any], ...]
    judges: str | None = None
    """With a judged measure: how its judges agree, and what to hold against their choice."""


class Tests(Record):
    """How many tests the run could spend, and what it spent."""

    alpha: float
    maximum: int
    registered: int
    confirmed: int
    abandoned: int
    earlier: str
    """What has to be known of earlier runs of the case on this subject; empty when there were none."""
    batches: tuple[str, ...] = ()
    """A line for every call that registered predictions: which were decided together, and their smallest effects."""


class Report(Record):
    """Everything that is said of a run."""

    format: int = FORMAT
    run: str
    """SHA-256 of the first line of the log."""
    log_head: str
    """SHA-256 of the last line of the log."""
    events: int
    case: dict[str, Any]
    name: str
    question: str
    has_reference: bool
    reference: str | None = None
    """What the reference model is to the subject, in generic words."""
    investigator: str
    ended: str | None
    answer: AnswerPart
    summary: Prose
    summary_overreach: tuple[str, ...] = ()
    """What the summary speaks of and no tested statement holds, as far as code can tell."""
    set: SetPart | None
    """The set of independent runs that this one belongs to."""
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    step_zero: StepZero | None
    screens: tuple[dict[str, Any], ...]
    thoughts: tuple[ThoughtPart, ...] = ()
    hypotheses: tuple[Hypothesis, ...]
    untested_hypotheses: tuple[Hypothesis, ...]
    untested_families: tuple[str, ...]
    tests: Tests
    experiments: tuple[ExperimentEntry, ...]
    steps: dict[str, int] = {}
    """Event of the log in which a thing was first: `exp:4`, `H1`, `P1` registered, `P1/draw`, `P1/verdict`."""
    sweeps: tuple[Sweep, ...] = ()
    """Searches over layers and positions or over doses, those that findings rest on or cite among them."""
    sweeps_left_out: int = 0
    words: tuple[str, ...] = ()
    """What the researcher said to the running investigation, each with the turn it came before."""
    roles: tuple[RolePart, ...] = ()
    """What each role beside the investigator did."""
    spent: dict[str, float]
    versions: dict[str, Any]
    seed: int

    def with_status(self, *statuses: str) -> list[Finding]:
        """Return the findings of these statuses, in the order of the statuses."""
        return [each for status in statuses for each in self.findings if each.status == status]

    def evidence_for(self, finding: str) -> Evidence | None:
        """Return the raw data behind a finding."""
        return next((each for each in self.evidence if each.finding == finding), None)


def build_report(investigation: Investigation) -> Report:
    """Build the report of a run, finished or not."""
    found = findings(investigation)
    submission = investigation.submission
    opened = opened_event(investigation.folder)
    events = investigation.folder.events
    verdicts, registered = investigation.verdicts, investigation.registrations
    tested = {each.prediction.hypothesis for name, each in registered.items() if name in verdicts}
    hypotheses = tuple(investigation.hypotheses.values())
    sweeps, left_out = sweeps_of(investigation, found)
    summary = resolve_prose(submission.summary if submission else "", Sources(investigation))
    known = names_of(investigation)
    held = [held_of(each, known) for each in found if each.verdict is not None]
    return Report(
        run=hashlib.sha256(events[0].line().encode()).hexdigest(),
        log_head=hashlib.sha256(events[-1].line().encode()).hexdigest(),
        events=len(events),
        case=investigation.case.public(),
        name=investigation.case.name,
        question=investigation.case.behaviour,
        has_reference=investigation.case.reference is not None,
        reference=reference_words(investigation.case),
        investigator=investigation.investigator,
        ended=investigation.ended,
        answer=answer_part(investigation, found),
        set=set_part(investigation),
        summary=summary,
        summary_overreach=beyond_any(summary, held, known, investigation.case.behaviour),
        findings=tuple(found),
        evidence=tuple(evidence_of(investigation, each) for each in found if each.experiment),
        step_zero=step_zero_of(investigation),
        screens=tuple(investigation.screens),
        thoughts=tuple(thought_parts(investigation)),
        hypotheses=hypotheses,
        untested_hypotheses=tuple(each for each in hypotheses if each.id not in tested),
        untested_families=untested_families(hypotheses, tested),
        tests=Tests(
            alpha=investigation.alpha,
            maximum=investigation.case.limits.registrations,
            registered=len(investigation.registrations),
            confirmed=len(investigation.verdicts),
            abandoned=len(investigation.registrations) - len(investigation.verdicts),
            earlier=investigation.earlier.words(investigation.case.limits),
            batches=tuple(batches(investigation)),
        ),
        experiments=tuple(investigation.experiments),
        steps=steps_of(investigation),
        sweeps=sweeps,
        sweeps_left_out=left_out,
        words=words_heard(investigation.exchanges),
        roles=roles_of(investigation, found),
        spent=spent(investigation),
        versions=versions_of(investigation, opened),
        seed=investigation.seed,
    )


def steps_of(investigation: Investigation) -> dict[str, int]:
    """Return the event of the log in which each thing was first."""
    found: dict[str, int] = {}
    for event in investigation.folder.events:
        match event.type:
            case "experiment":
                found.setdefault(f"exp:{event.data['number']}", event.seq)
            case "hypothesis" | "registration":
                found.setdefault(event.data["id"], event.seq)
            case "draw" | "verdict":
                found.setdefault(f"{event.data['registration']}/{event.type}", event.seq)
            case _:
                pass
    return found


def batches(investigation: Investigation) -> Iterator[str]:
    """Yield a line for each batch: what was decided together, and why its smallest effects are what they are."""
    found: dict[str, list[Registration]] = {}
    for registration in investigation.registrations.values():
        found.setdefault(registration.batch, []).append(registration)
    for batch in found.values():
        ids = ", ".join(each.id for each in batch)
        line = f"{ids}: registered {'in one call' if len(batch) > 1 else 'alone'}"
        if all(each.id in investigation.verdicts for each in batch):
            line += " and decided together (Holm)" if len(batch) > 1 else " and decided alone"
        else:
            line += ", never decided"
        sizes = [with_unit(e.prediction.smallest_effect, e.prediction.measure) for e in batch]
        if len(set(sizes)) > 1:
            each_size = [f"{each.id} {size}" for each, size in zip(batch, sizes, strict=True)]
            spreads = [
                f"{each.id} {with_unit(each.pilot_sd, each.prediction.measure)}"
                for each in batch
                if each.pilot_sd is not None
            ]
            line += (
                f"; smallest effects {', '.join(each_size)}: the investigator named each for its own contrast before "
                "the data, and none was taken that could not be seen with 80 % power"
            )
            line += f" at the spread of its pilot (sd {', '.join(spreads)})" if spreads else ""
        yield f"{line}."


def untested_families(hypotheses: Sequence[Hypothesis], tested: set[str]) -> tuple[str, ...]:
    """Return the families of explanation of which no hypothesis was tested."""
    done = {each.family for each in hypotheses if each.id in tested}
    return tuple(family for family in FAMILIES if family not in done)


def spent(investigation: Investigation) -> dict[str, float]:
    """Return what the run cost, by kind."""
    found = {
        "minutes": investigation.minutes,
        "turns": float(len(investigation.exchanges)),
        "experiments": float(len(investigation.experiments)),
        "failed experiments": float(sum(entry.failed for entry in investigation.experiments)),
        "tool seconds": sum(entry.seconds for entry in investigation.experiments),
    }
    for entry in investigation.experiments:
        name = f"tool seconds, {entry.purpose}"
        found[name] = found.get(name, 0.0) + entry.seconds
    for event in investigation.folder.of_type("spent"):
        cost = Spent.model_validate(event.data["spent"])
        told = {"requests": cost.requests, "tokens": cost.input_tokens + cost.output_tokens}
        told |= {"dollars": cost.dollars} if cost.dollars is not None else {}
        for what, value in told.items():
            name = f"{what}, {event.data['role']}"
            found[name] = found.get(name, 0.0) + value
    return found


def versions_of(investigation: Investigation, opened: dict[str, Any]) -> dict[str, Any]:
    """Return digests and versions, of every session of the run."""
    sessions = [opened, *(e.data for e in investigation.folder.of_type("run_resumed"))]
    return {
        "models": opened["catalogue"]["models"],
        "tools": sorted({session["catalogue"]["code"] for session in sessions}),
        "sessions": [session["versions"] for session in sessions],
    }


def step_zero_of(investigation: Investigation) -> StepZero | None:
    """Return step 0 with its labelled outputs, cut to what a page can show."""
    found = investigation.step_zero
    if found is None:
        return None
    return StepZero(
        experiment=found["experiment"],
        happens=found["happens"],
        unit=found.get("unit"),
        error=found.get("error"),
        rates=found.get("rates", {}),
        judges=judges_told(investigation, found.get("agreement")),
        labelled=tuple(
            {key: cut(value) for key, value in each.items()}
            for each in found.get("labelled", [])[:SHOWN_LABELLED]
        ),
    )
