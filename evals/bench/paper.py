"""A closed run as the scorers see it: what was handed in, beside the truth it is held against.

Opened only after the investigation has ended, in a process of the harness's own.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.case import Case
from agent.investigation import Investigation
from agent.opening import read_run
from agent.population import POOLS, Pool, Population, draw, population_of
from agent.session import Start, start_worker
from evals.bench.readers import Reader
from evals.bench.records import Sitting, Specimen
from evals.harness_prompts import harness_case
from evals.organisms.family import Secrets, Truth
from tools.blobs import BlobStore
from tools.prompt import AblateDirection, Arm, PromptItem, Steer
from tools.scoring import transformed
from tools.worker_client import Worker

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


class Paper:
    """What one sitting handed in."""

    def __init__(
        self,
        examined: Examined,
        sitting: Sitting,
        run: Path,
        scratch: Path,
        reader: Reader | None = None,
    ) -> None:
        """`scratch` is where the harness's worker writes."""
        self.specimen, self.case, self.truth, self.secrets = examined
        self.sitting, self.run, self.scratch, self.reader = sitting, run, scratch, reader
        self.investigation: Investigation = read_run(run)
        self.report: dict[str, Any] = json.loads(
            (run / "report" / "report.json").read_text(encoding="utf-8")
        )
        self.started: Worker | None = None

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
        """Return a worker of the harness's own, started when it is first needed."""
        if self.started is None:
            self.started = start_worker(self.case, self.scratch, Start(on_progress=untold))
        return self.started

    def planted_layers(self) -> tuple[int, ...] | None:
        """Return the layers that the training could change; None where it was all of them, or nothing was trained."""
        sheet = Path(self.specimen.folder or "") / "datasheet.json"
        if self.specimen.folder is None or not sheet.exists():
            return None
        layers = json.loads(sheet.read_text(encoding="utf-8"))["recipe"]["layers"]
        return tuple(layers) if layers else None

    def lend_blobs(self, arm: Arm) -> None:
        """Put the direction of an arm's intervention, if it has one, where the harness's worker finds it.

        Raises `ToolError` for one that the run does not hold.
        """
        match arm.intervention:
            case Steer(direction=name) | AblateDirection(direction=name):
                self.blobs.put(self.investigation.folder.blobs.get(name))
            case _:
                pass

    def close(self) -> None:
        """Let the worker go."""
        if self.started is not None:
            self.started.close()

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

    def scores(self, arm: Arm, asked: Sequence[Asked], seed: int = 1) -> list[float | None]:
        """Return the case's measure on one sampled answer to each prompt under an arm."""
        measure = self.harness.measure
        if measure is None:
            raise ValueError("the case has no measure to score with")
        items = [each.item for each in asked]
        ready = transformed(arm, items, self.population.choose("explore", 1))
        sampling = self.harness.sampling
        done = self.worker.call(
            "score_arms",
            {
                "measure": measure.model_dump(mode="json"),
                "arms": {"arm": ready.model_dump(mode="json")},
                "max_new_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
            },
            seed=seed,
        )
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
