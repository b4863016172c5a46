"""Opening runs: a new one, one that was stopped, and one that is only read."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from agent.case import Case
from agent.investigation import ExperimentEntry, Investigation
from agent.population import population_of
from agent.run_folder import FORMAT, RunError, RunFolder, no_collection, sync_folder
from tools.boundary import Catalogue
from tools.experiment import Experiment
from tools.judging import Judge
from tools.registry import Record, describe_faults
from tools.worker_client import Worker

ROOM = Path(__file__).parent
REPLY_TURNS = 6
"""So many turns an investigator has after its sceptic; the run remembers them, so that older ones play again."""
Stored = TypeVar("Stored", bound=Record)
PACKAGES = ("numpy", "scipy", "torch", "transformers", "peft", "nnsight", "scikit-learn")


class ReadOnlyWorker:
    """Stands where a worker would, for a run that is only read: it knows the catalogue and no model."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.judge: Judge | None = None

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = 0.0
    ) -> Experiment:
        """Raise `RunError`: there is no model here."""
        raise RunError(f"{tool} would need the model; this run is open for reading only")

    def close(self) -> None:
        """Nothing to stop."""


def open_run(
    path: Path,
    case: Case,
    worker: Worker,
    investigator_name: str,
    seed: int,
    circumstances: Mapping[str, Any] | None = None,
) -> Investigation:
    """Make a run folder and write its first event.

    `circumstances` is what the run has to remember beside its case: who else takes part (`roles`,
    `judges`), the files of a researcher's own `tools`, and of other folders `earlier`, the runs before
    it on the same subject, and `place`, where it stands in a set. Raises `RunError` if there is a run
    already, `ToolError` if the case's prompts cannot be split; then nothing is written.
    """
    population_of(case, seed)
    known = circumstances or {}
    opened = {
        "case": case.model_dump(mode="json"),
        "run_secret": run_secret(case, seed),
        "seed": seed,
        "investigator": investigator_name,
        "catalogue": worker.catalogue.model_dump(mode="json"),
        "versions": versions(),
        **({"reply_turns": REPLY_TURNS} if "sceptic" in known.get("roles", {}) else {}),
        **known,
    }
    folder = RunFolder.create(path)
    try:
        folder.append("run_opened", opened, sync=True)
        write_manifest(folder)
        return Investigation(folder, worker)
    except BaseException:
        folder.close()
        raise


def resume_run(path: Path, worker: Worker, *, accept_code_change: bool = False) -> Investigation:
    """Open a run for writing where it stopped.

    Raises `RunError` when the models are not those of the run, and when the code of the tools has
    changed and that was not accepted: then results before and after would not be comparable.
    """
    folder = RunFolder(path, write=True)
    try:
        stored = catalogue_of(folder)
        if worker.catalogue.models != stored.models:
            raise RunError(f"{path}: the weights are not those this run was opened with")
        if worker.catalogue.code != stored.code and not accept_code_change:
            raise RunError(
                f"{path}: the code of the tools has changed since this run was opened; resume with "
                "--accept-code-change to go on all the same, or check the old code out"
            )
        write_manifest(folder)
        catalogue = worker.catalogue.model_dump(mode="json")
        folder.append("run_resumed", {"catalogue": catalogue, "versions": versions()}, sync=True)
        return Investigation(folder, worker)
    except BaseException:
        folder.close()
        raise


def read_run(path: Path) -> Investigation:
    """Open a run for reading, without a model; raises `RunError` for what is no run."""
    with no_collection():
        folder = RunFolder(path)
        return Investigation(folder, ReadOnlyWorker(catalogue_of(folder)))


def stored_case(path: Path) -> Case:
    """Return the case of a run, with the places of its models, for loading them again."""
    return stored(path, Case, opened_event(RunFolder(path)).get("case"))


def stored_tools(path: Path) -> tuple[str, ...]:
    """Return the files of own tools that a run was opened with."""
    return tuple(opened_event(RunFolder(path)).get("tools", ()))


def catalogue_of(folder: RunFolder) -> Catalogue:
    """Return the catalogue that the run last went on with."""
    last = [event for event in folder.of_type("run_opened", "run_resumed")][-1:]
    if not last:
        raise RunError(f"{folder.path}: the log has no run_opened event")
    return stored(folder.path, Catalogue, last[0].data.get("catalogue"))


def stored(path: Path, kind: type[Stored], value: Any) -> Stored:
    """Return a record of the log; raise `RunError` for one that this version cannot read."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        fault = describe_faults(kind.__name__.lower(), kind, error)[0]
        raise RunError(
            f"{path}: its log cannot be read here, it may be of another version of naturalist ({fault})"
        ) from None


def with_catalogues(folder: RunFolder) -> Iterator[tuple[ExperimentEntry, Catalogue]]:
    """Yield every experiment's entry with the catalogue of the session it was run in."""
    catalogue: Catalogue | None = None
    for event in folder.events:
        if event.type in ("run_opened", "run_resumed"):
            catalogue = Catalogue.model_validate(event.data["catalogue"])
        elif event.type == "experiment" and catalogue is not None:
            yield ExperimentEntry.model_validate(event.data), catalogue


def opened_event(folder: RunFolder) -> dict[str, Any]:
    """Return the data of the first event; raise `RunError` when it is not there."""
    if not folder.events or folder.events[0].type != "run_opened":
        raise RunError(f"{folder.path}: the log does not begin with run_opened")
    return folder.events[0].data


def run_secret(case: Case, seed: int) -> str:
    """Return what seeds the confirmation draws: from --seed, and never shown to an investigator."""
    return hashlib.sha256(f"run secret\0{seed}\0{case.name}".encode()).hexdigest()


def versions() -> dict[str, Any]:
    """Return what a reader needs to do this again: our code, Python, packages, and when."""
    return {
        "agent": agent_digest(),
        "python": platform.python_version(),
        "packages": dict(package_versions()),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def package_versions() -> tuple[tuple[str, str], ...]:
    """Return name and version of each installed package; read once, they are slow to find."""
    found: list[tuple[str, str]] = []
    for package in PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def agent_digest() -> str:
    """Return the SHA-256 over the sources of the agent room and of the sentences it uses."""
    total = hashlib.sha256()
    for path in sorted([*ROOM.glob("*.py"), *(ROOM.parent / "prompts").glob("*.txt")]):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def manifest_of(folder: RunFolder) -> dict[str, Any]:
    """Return what the manifest has to say, from the first event: a label, no authority."""
    opened = opened_event(folder)
    return {
        "format": FORMAT,
        "run": hashlib.sha256(folder.events[0].line().encode()).hexdigest(),
        "case": opened["case"]["name"],
        "investigator": opened["investigator"],
        "seed": opened["seed"],
        "at": opened["versions"]["at"],
    }


def write_manifest(folder: RunFolder) -> None:
    """Write manifest.json beside the log."""
    target = folder.path / "manifest.json"
    target.write_text(json.dumps(manifest_of(folder), indent=1) + "\n", encoding="utf-8")
    sync_folder(folder.path)
