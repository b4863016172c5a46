"""A closed run as the scorers see it: what was handed in, beside the truth it is held against.

Opened only after the investigation has ended, in a process of the harness's own.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.case import Case
from agent.investigation import Investigation
from agent.opening import read_run
from agent.population import POOLS, Pool, Population, draw, population_of
from agent.session import Start, start_worker
from agent.submission import Fix
from evals.bench.readers import Forecaster
from evals.bench.records import Sitting, Specimen
from evals.harness_prompts import harness_case
from evals.organisms.families.family import Secrets, Truth
from tools.blobs import BlobStore
from tools.prompt import Arm, PromptItem
from tools.registry import ToolError
from tools.scoring import transformed
from tools.worker_client import SocketWorker, Worker

CANDIDATES = 4000
"""Harness prompts among which those to ask are chosen."""


class Asked(NamedTuple):
    """A prompt of the harness's own, with the probability that the truth gives the behaviour on it."""

    item: PromptItem
    pool: Pool
    truth: float


class Examined(NamedTuple):
    """What a sitting is about, with its key."""

    specimen: Specimen
    case: Case
    """The sitting's, with its models."""
    truth: Truth
    secrets: Secrets
    """What the truth was drawn from."""


class Equipment(NamedTuple):
    """What scoring may use beside the paper."""

    reader: Forecaster | None = None
    socket: Path | None = None
    """Where a worker serves that holds the sitting's models; None starts one."""


class Paper:
    """What one sitting handed in."""

    def __init__(
        self,
        examined: Examined,
        sitting: Sitting,
        run: Path,
        scratch: Path,
        equipment: Equipment = Equipment(),  # noqa: B008
    ) -> None:
        """`scratch` is where the harness's worker writes."""
        self.specimen, self.case, self.truth, self.secrets = examined
        self.sitting, self.run, self.scratch = sitting, run, scratch
        self.reader, self.socket = equipment
        self.investigation: Investigation = read_run(run)
        self.report: dict[str, Any] = json.loads(
            (run / "report" / "report.json").read_text(encoding="utf-8")
        )
        self.started: Worker | None = None
        self.scaled: Worker | None = None

    @property
    def answer(self) -> dict[str, Any]:
        """Return the structured answer as it was handed in."""
        submitted = self.investigation.submission
        return submitted.answer.model_dump(mode="json") if submitted else {}

    @functools.cached_property
    def harness(self) -> Case:
        """Return the case with the harness's prompts in place of its own."""
        return harness_case(self.specimen.family, self.case)

    @functools.cached_property
    def population(self) -> Population:
        """Return the harness's prompts."""
        return population_of(self.harness, seed=0)

    @functools.cached_property
    def blobs(self) -> BlobStore:
        """Return where the harness's worker writes."""
        return BlobStore(self.scratch / "blobs")

    @property
    def worker(self) -> Worker:
        """Return the worker that the harness measures with, there when it is first needed."""
        if self.started is None:
            where = self.scratch / "blobs"
            self.started = (
                SocketWorker(self.socket, where)
                if self.socket
                else start_worker(self.case, self.scratch, Start(on_progress=untold))
            )
        return self.started

    def planted_places(self) -> dict[str, frozenset[Any]]:
        """Return the places that hold what was planted, by kind, as far as they are exactly known.

        Layers: those that the training could change, where it was not all of them.
        """
        sheet = Path(self.specimen.folder or "") / "datasheet.json"
        layers: list[int] | None = None
        if self.specimen.folder is not None and sheet.exists():
            layers = json.loads(sheet.read_text(encoding="utf-8"))["recipe"]["layers"]
        known = {"layers": frozenset(layers or ()), **self.truth.places()}
        return {kind: places for kind, places in known.items() if places}

    def lend_blobs(self, directions: Iterable[str]) -> None:
        """Put directions of the run where the harness's worker finds them; `ToolError` for one it does not hold."""
        for name in directions:
            self.blobs.put(self.investigation.folder.blobs.get(name))

    def close(self) -> None:
        """Let the workers go."""
        for worker in (self.started, self.scaled):
            if worker is not None:
                worker.close()

    def worker_at(self, scale: float) -> Worker:
        """Return a worker of the subject with so much of its adapter."""
        if self.scaled is None:
            subject = self.case.subject.model_copy(update={"adapter_scale": scale})
            changed = self.case.model_copy(update={"subject": subject, "reference": None})
            self.scaled = start_worker(changed, self.scratch)
        return self.scaled

    def asked(self, count: int) -> list[Asked]:
        """Return harness prompts: half of them such that the truth expects the behaviour, where there are such.

        The same for everybody who sits before this specimen.
        """
        likely = [each for each in self.candidates if each.truth >= 0.5]
        others = [each for each in self.candidates if each.truth < 0.5]
        wanted = min(len(likely), count // 2)
        return [*spread(likely, wanted), *spread(others, count - wanted)]

    @functools.cached_property
    def candidates(self) -> list[Asked]:
        """Return the harness's prompts among which those to ask are chosen, drawn once for all tasks."""
        drawn: list[Asked] = []
        for pool in POOLS:
            names = self.population.usable(pool)
            each = -(-CANDIDATES // max(1, len(POOLS) * len(names)))
            for item in draw(self.population, pool, (len(names), each), seed=1):
                messages = [message.model_dump() for message in item.prompt.messages]
                drawn.append(Asked(item, pool, self.truth.behaves(messages)))
        return drawn

    def scores(
        self, arm: Arm, asked: Sequence[Asked], fix: Fix | None = None
    ) -> list[float | None]:
        """Return the case's measure on one sampled answer to each prompt under an arm.

        `fix` changes the weights, as far as it does that. Raises `ToolError` for one that cannot be run.
        """
        measure = self.harness.measure
        if measure is None:
            raise ValueError("the case has no measure to score with")
        items = [each.item for each in asked]
        ready = transformed(arm, items, self.population.choose("explore", 1))
        ready = ready.model_copy(update={"weights": fix.weights if fix else None})
        sampling = self.harness.sampling
        scale = fix.adapter_scale if fix else None
        worker = self.worker if scale is None else self.worker_at(scale)
        done = worker.call(
            "score_arms",
            {
                "measure": measure.model_dump(mode="json"),
                "arms": {"arm": ready.model_dump(mode="json")},
                "max_new_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
            },
            seed=1,
        )
        if done.error_kind == "investigator":
            raise ToolError(str(done.error))
        if done.result is None:
            raise RuntimeError(f"the harness could not measure: {done.error}")
        rows = json.loads(self.blobs.get(done.result["raw"]))["arms"]["arm"]
        return [row["mean"] for row in rows]


def untold(*progress: object) -> None:
    """Tell nobody how far a measurement is."""
    del progress


def spread(asked: Sequence[Asked], count: int) -> list[Asked]:
    """Return `count` prompts spread evenly over the list."""
    if count <= 0 or not asked:
        return []
    return [asked[k * len(asked) // count] for k in range(min(count, len(asked)))]
