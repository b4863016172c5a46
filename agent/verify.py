"""`verify`: every number of a run computed again from its stored raw outputs, without a model.

What it catches: any change of the log, of a blob or of a page, also when checksums, chain, references
and pages were made to agree again, as long as the change leaves the outputs as they were. A verdict,
an effect, a score, a prompt, a threshold, a registration written after the fact, a citation or a
quotation that the log does not hold: each follows from the raw outputs and the investigator's turns,
and is computed again.

What it cannot catch: another output text, or another number read from activations, put in together with
every number that follows from it; of words by probability, which are stored as far as they stand out, how many
others there are; another turn of the investigator's with everything that follows; a run that was cut short;
the clock; the error message of a call that failed. Against the first there is `rerun`, which asks the model.
It proves that the numbers follow from the data, not that the findings are true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from agent.investigation import Investigation
from agent.opening import agent_digest, manifest_of, opened_event, read_run, with_catalogues
from agent.recount import recount_experiment
from agent.rendering import rendered
from agent.replay import first_difference, replay
from agent.report import Report, build_report
from agent.run_folder import RunDamaged, RunError, RunFolder
from tools.blobs import BlobStore
from tools.experiment import Experiment
from tools.registry import Record, ToolError

UNUSABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ToolError,
    RunError,
)
"""What computing again raises on a log that no harness wrote; each becomes a fault."""


class Fault(Record):
    """One thing that is not as it should be."""

    check: str
    """log, manifest, blobs, order, experiment, replay, report or citation."""
    where: str
    what: str


class VerifyResult(Record):
    """All faults, and what was looked at."""

    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()
    events: int = 0
    experiments: int = 0
    verdicts: int = 0

    @property
    def ok(self) -> bool:
        """Say whether everything was found as it should be."""
        return not self.faults


def verify(path: Path) -> VerifyResult:
    """Check the run in `path`; raises `RunError` only when there is no run."""
    try:
        folder = RunFolder(path)
    except RunDamaged as error:
        return VerifyResult(faults=(Fault(check="log", where="events.jsonl", what=str(error)),))
    faults = [*check_manifest(folder), *check_blobs(folder.blobs), *check_order(folder)]
    try:
        investigation = read_run(path)
    except UNUSABLE as error:
        faults.append(Fault(check="log", where="events.jsonl", what=reason(error)))
        return VerifyResult(faults=tuple(faults), events=len(folder.events))
    stored, found = stored_experiments(investigation)
    faults += [*found, *check_experiments(folder, investigation, stored)]
    faults += check_replay(folder, stored)
    faults += check_report(path, investigation)
    return VerifyResult(
        faults=tuple(faults),
        notes=tuple(notes(folder)),
        events=len(folder.events),
        experiments=len(investigation.experiments),
        verdicts=len(investigation.verdicts),
    )


def notes(folder: RunFolder) -> Iterator[str]:
    """Yield what a reader should know that is no fault."""
    made_by = opened_event(folder)["versions"].get("agent")
    if made_by != agent_digest():
        yield "the agent's code is not the code that made this run; a difference may come from that"
    if not any(event.type == "run_ended" for event in folder.events):
        yield "the run has not ended"


def check_manifest(folder: RunFolder) -> Iterator[Fault]:
    """Compare the label beside the log with the first event."""
    try:
        told = json.loads((folder.path / "manifest.json").read_text(encoding="utf-8"))
        found = first_difference(told, manifest_of(folder))
    except (OSError, *UNUSABLE) as error:
        found = reason(error)
    if found is not None:
        yield Fault(check="manifest", where="manifest.json", what=found)


def check_blobs(blobs: BlobStore) -> Iterator[Fault]:
    """Hash every blob again."""
    for path in sorted((blobs.root / "sha256").glob("*/*")):
        try:
            blobs.get(path.name)
        except ToolError as error:
            yield Fault(check="blobs", where=path.name[:16], what=str(error))


def check_order(folder: RunFolder) -> Iterator[Fault]:
    """Check that every verdict has, earlier in the log, its registration, its draw and its experiment."""
    seen: dict[str, set[object]] = {"registration": set(), "draw": set(), "experiment": set()}
    for event in folder.events:
        data, where = event.data, f"event {event.seq}"
        if event.type == "registration":
            seen["registration"].add(data.get("id"))
        elif event.type == "experiment":
            seen["experiment"].add(data.get("number"))
        elif event.type == "draw":
            if data.get("registration") not in seen["registration"]:
                yield Fault(check="order", where=where, what="a draw before its registration")
            seen["draw"].add(data.get("registration"))
        elif event.type == "verdict":
            needed = [("registration", "registration"), ("draw", "registration")]
            for kind, name in [*needed, ("experiment", "experiment")]:
                if data.get(name) not in seen[kind]:
                    yield Fault(check="order", where=where, what=f"a verdict before its {kind}")


def stored_experiments(
    investigation: Investigation,
) -> tuple[dict[int, Experiment], list[Fault]]:
    """Return the stored experiments by number, and a fault for each that cannot be read."""
    stored: dict[int, Experiment] = {}
    faults: list[Fault] = []
    for place, entry in enumerate(investigation.experiments, 1):
        if entry.number != place:
            faults.append(
                Fault(
                    check="experiment",
                    where=f"exp:{entry.number}",
                    what=f"it stands as number {place}",
                )
            )
        try:
            content = investigation.folder.get_json(entry.blob)
            stored[entry.number] = Experiment.model_validate(content)
        except UNUSABLE as error:
            faults.append(
                Fault(check="experiment", where=f"exp:{entry.number}", what=reason(error))
            )
    return stored, faults


def check_experiments(
    folder: RunFolder, investigation: Investigation, stored: dict[int, Experiment]
) -> Iterator[Fault]:
    """Count every stored experiment again."""
    for entry, catalogue in with_catalogues(folder):
        done = stored.get(entry.number)
        if done is None:
            continue
        where = f"exp:{entry.number}"
        try:
            for what in recount_experiment(investigation.folder, entry, done, catalogue):
                yield Fault(check="experiment", where=where, what=what)
        except KeyError as error:
            lacking = f"its raw data lack {error}, by which it is counted again: older code stored them, or a forger"
            yield Fault(check="experiment", where=where, what=lacking)
        except UNUSABLE as error:
            yield Fault(check="experiment", where=where, what=reason(error))


def check_replay(folder: RunFolder, stored: dict[int, Experiment]) -> Iterator[Fault]:
    """Play the run again and compare every event."""
    try:
        for place, what in replay(folder, stored):
            yield Fault(check="replay", where=f"event {place}", what=what)
    except UNUSABLE as error:
        yield Fault(check="replay", where="events.jsonl", what=reason(error))


def check_report(path: Path, investigation: Investigation) -> Iterator[Fault]:
    """Build the report again; compare it with the stored one, and list citations that are broken."""
    try:
        report = build_report(investigation)
        content = rendered(report)
    except UNUSABLE as error:
        yield Fault(check="report", where="report", what=f"it cannot be built: {reason(error)}")
        return
    yield from check_citations(report)
    folder = path / "report"
    if not folder.exists():
        return
    for name, expected in content.items():
        try:
            told = (folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            yield Fault(check="report", where=name, what=reason(error))
            continue
        if told != expected:
            yield Fault(check="report", where=name, what=difference_of(name, told, expected))


def difference_of(name: str, told: str, expected: str) -> str:
    """Return where a stored page differs from the page built again."""
    if name.endswith(".json"):
        try:
            found = first_difference(json.loads(told), json.loads(expected))
        except ValueError as error:
            found = f"not JSON: {error}"
        return found or "another layout"
    lines = zip(told.splitlines(), expected.splitlines(), strict=False)
    place = next((k for k, (a, b) in enumerate(lines, 1) if a != b), None)
    return f"line {place} is not what is rendered from the log" if place else "another length"


def check_citations(report: Report) -> Iterator[Fault]:
    """List what the investigator cites or quotes and the log does not hold."""
    for finding in report.findings:
        for fault in finding.faults:
            yield Fault(check="citation", where=finding.id, what=fault)
    for fault in report.summary.faults():
        yield Fault(check="citation", where="summary", what=fault)


def reason(error: BaseException) -> str:
    """Return an error on one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'/'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
