"""What a run of a set of independent investigations knows of the set: its place, and what was read.

The aggregate's first event holds what was read from the runs before it, so that resuming, verifying
and reporting it needs no other folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from agent.investigation import Investigation
from agent.opening import read_run
from agent.prediction import Hypothesis, Prediction
from agent.registration import tested
from agent.submission import Answer
from agent.verdict import Status
from agent.wording import listed
from agent.wording import name as named
from tools.blobs import BlobStore
from tools.experiment import canonical_json
from tools.registry import Record

SIZES = ("smallest_effect", "clusters", "per_cluster", "samples")
"""What two predictions of one contrast may differ in."""
QUARTERS = 4
REFERENCE = re.compile(r"[0-9a-f]{64}")


class Tried(Record):
    """One registration of a run that was read."""

    prediction: Prediction
    status: Status | None
    """None when it was abandoned."""
    estimate: float | None = None
    pilot_sd: float | None = None


class ReadRun(Record):
    """What the aggregator reads of one finished run."""

    name: str
    """Its folder, relative to the set's."""
    run: str
    """SHA-256 of the first line of its log."""
    answer: Answer
    hypotheses: tuple[Hypothesis, ...]
    tried: tuple[Tried, ...]


class Place(Record):
    """Where a run stands in its set."""

    whose: Literal["investigation", "aggregation"]
    of: int
    """How many independent investigations the set has."""
    number: int = 0
    """1 for the first investigation, 0 for the aggregation."""
    runs: tuple[ReadRun, ...] = ()
    """What an aggregation has read."""


class RunRow(Record):
    """A run that was read, as the aggregate's report shows it."""

    name: str
    answer: str
    registered: tuple[str, ...]
    """The aggregate's statements that the run had registered too."""
    supported: tuple[str, ...]
    """Those of them that it had found supported."""


class Held(Record):
    """Hypotheses that the runs stated with about the same confidence, before any of their data."""

    stated: float
    """Mean confidence, 0 to 1."""
    hypotheses: int
    """How many of them were tested."""
    supported: int
    """How many of these have a prediction that their own run found supported."""


class SetPart(Record):
    """What a report says of the set its run belongs to."""

    sentence: str
    runs: tuple[RunRow, ...] = ()
    held: tuple[Held, ...] = ()
    """The runs' stated confidence against what became of it, the least sure first."""


def place_of(investigation: Investigation) -> Place | None:
    """Return where a run stands in its set; None for a run of its own."""
    return None if investigation.place is None else Place.model_validate(investigation.place)


def claim_of(prediction: Prediction) -> str:
    """Return the mark of what a prediction claims: the same for predictions that differ in sizes only."""
    content = {key: value for key, value in tested(prediction).items() if key not in SIZES}
    return canonical_json(content)


def read_finished(folder: Path, names: Iterable[str]) -> tuple[ReadRun, ...]:
    """Read the finished runs of a set; raises `RunError` for one that is none."""
    return tuple(reading_of(read_run(folder / name), name) for name in names)


def reading_of(investigation: Investigation, name: str) -> ReadRun:
    """Return what an aggregator may know of a run: answer, hypotheses, registrations and verdicts."""
    submission = investigation.submission
    tried: list[Tried] = []
    for identifier, registration in investigation.registrations.items():
        verdict = investigation.verdicts.get(identifier)
        tried.append(
            Tried(
                prediction=registration.prediction,
                status=verdict.status if verdict else None,
                estimate=verdict.estimate if verdict else None,
                pilot_sd=registration.pilot_sd,
            )
        )
    return ReadRun(
        name=name,
        run=hashlib.sha256(investigation.folder.events[0].line().encode()).hexdigest(),
        answer=submission.answer if submission else Answer(kind="unknown", confidence=0.0),
        hypotheses=tuple(investigation.hypotheses.values()),
        tried=tuple(tried),
    )


def carry_blobs(runs: Sequence[ReadRun], folder: Path, into: BlobStore) -> None:
    """Copy what the runs' predictions refer to, such as directions, to where the aggregate's blobs are."""
    for run in runs:
        source = BlobStore(folder / run.name / "blobs")
        for each in run.tried:
            for reference in set(REFERENCE.findall(each.prediction.model_dump_json())):
                if source.path(reference).exists():
                    into.put(source.get(reference))


def set_part(investigation: Investigation) -> SetPart | None:
    """Return what the report of a run says of its set; None for a run of its own."""
    place = place_of(investigation)
    if place is None:
        return None
    if place.whose == "investigation":
        return SetPart(
            sentence=f"This is one of {place.of} investigations of a set that ran independently of each other; "
            f"its error rate does not cover the choice among the {place.of}. What they found was confirmed anew "
            "in the set's aggregate, which speaks for the set."
        )
    statements = {
        claim_of(each.prediction): name for name, each in investigation.registrations.items()
    }
    return SetPart(
        sentence=f"This run speaks for a set of {place.of} independent investigations: it registered what "
        "most of them had supported, and confirmed it anew on prompts that none of them could use.",
        runs=tuple(row_of(each, statements) for each in place.runs),
        held=tuple(held_of(place.runs)),
    )


def held_of(runs: Sequence[ReadRun]) -> Iterator[Held]:
    """Yield how many of the tested hypotheses were supported, by quarters of the confidence stated beforehand."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for run in runs:
        for each in run.hypotheses:
            found = {t.status for t in run.tried if t.prediction.hypothesis == each.id}
            if found - {None}:
                quarter = min(int(each.prior * QUARTERS), QUARTERS - 1)
                bins.setdefault(quarter, []).append((each.prior, "supported" in found))
    for _, inside in sorted(bins.items()):
        yield Held(
            stated=sum(prior for prior, _ in inside) / len(inside),
            hypotheses=len(inside),
            supported=sum(supported for _, supported in inside),
        )


def row_of(run: ReadRun, statements: dict[str, str]) -> RunRow:
    """Return one run as a row: its answer, and what it makes of the aggregate's statements."""

    def among(*statuses: Status) -> tuple[str, ...]:
        marks = {claim_of(e.prediction) for e in run.tried if not statuses or e.status in statuses}
        return tuple(name for mark, name in statements.items() if mark in marks)

    answer = run.answer
    value = f": {listed([named(each) for each in answer.value], 'and')}" if answer.value else ""
    sure = f" ({100 * answer.confidence:.0f} %)" if answer.kind != "unknown" else ""
    return RunRow(
        name=run.name,
        answer=f"{answer.kind}{value}{sure}",
        registered=among(),
        supported=among("supported"),
    )
