"""`rerun` asks the model everything again; `replicate` tests one finding on fresh prompts.

What `verify` cannot see, an output that was replaced together with all that follows from it, shows
here. On the same machine, code and weights the outputs are the same to the letter; elsewhere batches
and kernels differ a little, so agreement is asked for within a tolerance that is stated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.confirm import arms_to_run
from agent.investigation import ExperimentEntry, Investigation
from agent.opening import read_run
from agent.population import draw, fingerprint
from agent.prediction import Registration
from agent.registration import build_arms, scoring_arguments
from agent.run_folder import RunError
from agent.template_choice import templates_of
from agent.verdict import Verdict, decide
from tools.blobs import BlobStore
from tools.experiment import Experiment
from tools.judging import Asked, Judge, JudgeAgreement, Judgements, Label, asked_of, rows_of
from tools.measures import JudgedMeasure
from tools.registry import Record
from tools.worker_client import Worker

SAME_TEXTS = 0.99
"""At least this share of outputs, and of scores, has to be the same."""
NUMBER_TOLERANCE = 1e-3
"""Log-probabilities in nats, and other numbers, may differ by so much."""
LISTED = 10
BLOB = re.compile(r"[0-9a-f]{64}")


class Agreement(Record):
    """How an experiment that was run again compares with the stored one."""

    experiment: int
    tool: str
    purpose: str
    texts: int = 0
    texts_same: int = 0
    numbers: int = 0
    numbers_same: int = 0
    """Numbers within the tolerance."""
    same_models: bool
    same_error: bool = True
    same_raw: bool = True
    """Of a search, whether its raw data came out again, as far as texts and numbers have to."""
    registration: str | None = None
    same_verdict: bool | None = None
    """Whether the verdict computed from the new data has the same status; None where there is none."""
    differing: tuple[str, ...] = ()
    """The first places that differ."""

    def line(self) -> str:
        """Return one line for a terminal."""
        parts = [
            f"{self.texts_same} of {self.texts} texts and {self.numbers_same} of {self.numbers} numbers"
        ]
        parts += [] if self.same_models else ["OTHER WEIGHTS"]
        parts += [] if self.same_error else ["one failed, the other did not"]
        parts += [] if self.same_raw else ["OTHER RAW DATA"]
        if self.registration is not None:
            parts.append(
                f"{self.registration} {'same' if self.same_verdict else 'ANOTHER'} verdict"
            )
        parts += [f"first difference at {self.differing[0]}"] if self.differing else []
        return f"exp:{self.experiment} {self.tool} ({self.purpose}): {', '.join(parts)}"

    @property
    def identical(self) -> bool:
        """Say whether nothing at all differs: to be expected on one machine, code and weights."""
        return self.agrees and not self.differing

    @property
    def agrees(self) -> bool:
        """Say whether they agree within the tolerance."""
        return (
            self.same_models
            and self.same_error
            and self.same_raw
            and self.same_verdict is not False
            and self.texts_same >= SAME_TEXTS * self.texts
            and self.numbers_same >= SAME_TEXTS * self.numbers
        )


class RerunResult(Record):
    """All that was run again."""

    agreements: tuple[Agreement, ...]
    notes: tuple[str, ...] = ()
    """How judged outputs were scored, where there were any."""

    @property
    def agrees(self) -> bool:
        """Say whether every experiment agrees within the tolerance."""
        return all(each.agrees for each in self.agreements)

    @property
    def identical(self) -> bool:
        """Say whether nothing at all differs."""
        return all(each.identical for each in self.agreements)

    def lines(self) -> list[str]:
        """Return one line for every experiment, and one for all."""
        same = "identical" if self.identical else "agrees within the tolerance"
        count = f"{len(self.agreements)} experiments run again: "
        end = count + (same if self.agrees else "DOES NOT AGREE with the record")
        return [*(each.line() for each in self.agreements), *self.notes, end]


def rerun(path: Path, worker: Worker, *, only_confirmations: bool = False) -> RerunResult:
    """Run the experiments of a run again on `worker`, and compare.

    The worker writes its blobs where the run has them, since steering needs the stored directions.
    Nothing is added to the log. Judged outputs are judged again where the worker has judges; else an
    output that is the same as then keeps its labels, and another one is not scored.
    """
    investigation = read_run(path)
    given = worker.judge
    wanted = [
        entry
        for entry in investigation.experiments
        if entry.purpose == "confirmation" or not only_confirmations
    ]
    found: list[Agreement] = []
    judged = False
    for entry in wanted:
        stored = investigation.experiment(entry.number)
        then = labels_then(investigation, stored)
        worker.judge = given or then
        judged = judged or then is not None
        found.append(again(investigation, entry, worker))
    worker.judge = given
    return RerunResult(agreements=tuple(found), notes=(how_judged(given),) if judged else ())


def how_judged(given: Judge | None) -> str:
    """Return how judged outputs were scored this time."""
    if given is not None:
        return "judged outputs were judged again"
    return (
        "judged outputs that are the same as then kept their stored labels, others were not scored; "
        "give --judge to ask the judges again"
    )


def labels_then(investigation: Investigation, stored: Experiment) -> Judge | None:
    """Return a judge that says again what was said in a stored experiment; None where nothing was judged."""
    if stored.result is None or "agreement" not in stored.result:
        return None
    measure = JudgedMeasure.model_validate(stored.arguments["measure"])
    names = JudgeAgreement.model_validate(stored.result["agreement"]).judges
    said: dict[Asked, dict[str, Label]] = {}
    for row in rows_of(table_of(investigation, stored)):
        for place, asked in enumerate(asked_of(measure, row)):
            said[asked] = {name: row["judgements"][name][place] for name in names}

    def judge(outputs: Sequence[Asked]) -> Judgements:
        labels = [[said.get(each, {}).get(name) for each in outputs] for name in names]
        return Judgements.model_validate({"judges": tuple(names.values()), "labels": labels})

    return judge


def again(investigation: Investigation, entry: ExperimentEntry, worker: Worker) -> Agreement:
    """Run one experiment again; for a confirmation, compute its verdict from the new data."""
    stored = investigation.experiment(entry.number)
    done = worker.call(stored.tool, stored.arguments, stored.seed)
    found = compare(investigation.folder.blobs, entry, stored, done)
    names = {number: name for name, number in investigation.confirmations.items()}
    name = names.get(entry.number)
    if name is None:
        return found
    same = status_again(investigation, name, done) == investigation.verdicts[name].status
    return found.model_copy(update={"registration": name, "same_verdict": same})


def compare(
    blobs: BlobStore, entry: ExperimentEntry, stored: Experiment, done: Experiment
) -> Agreement:
    """Compare what was observed, then and now."""
    differing: list[str] = []
    texts, numbers = counted(observed(blobs, stored), observed(blobs, done), differing)
    # Beside a grid of thousands a handful of numbers that were told would not count: it stands apart.
    raw = counted(grid_behind(blobs, stored), grid_behind(blobs, done), differing, "/raw")
    return Agreement(
        experiment=entry.number,
        tool=entry.tool,
        purpose=entry.purpose,
        texts=texts[0],
        texts_same=texts[1],
        numbers=numbers[0],
        numbers_same=numbers[1],
        same_models=stored.models == done.models,
        same_error=(stored.error is None) == (done.error is None),
        same_raw=all(same >= SAME_TEXTS * count for count, same in raw),
        differing=tuple(differing),
    )


def counted(
    then: Any, now: Any, differing: list[str], path: str = ""
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how many texts there are and how many are the same, and so for numbers; list what differs first."""
    texts, numbers = [0, 0], [0, 0]
    for place, old, new in paired(then, now, path):
        is_number = isinstance(old, int | float) and isinstance(new, int | float)
        same = abs(old - new) <= NUMBER_TOLERANCE if is_number else old == new
        counts = numbers if is_number else texts
        counts[0] += 1
        counts[1] += same
        if not same and len(differing) < LISTED:
            differing.append(place)
    return (texts[0], texts[1]), (numbers[0], numbers[1])


def observed(blobs: BlobStore, done: Experiment) -> Any:
    """Return what the model contributed: outputs and scores of every row, else the whole result."""
    if done.result is None:
        return None
    table = raw_of(blobs, done).get("arms")
    if table is None:
        return done.result
    return {
        name: {
            row["id"]: [row.get("outputs"), row.get("logprobs"), row.get("scores")] for row in rows
        }
        for name, rows in table.items()
    }


def grid_behind(blobs: BlobStore, done: Experiment) -> Any:
    """Return the raw data of a search, from which its map is drawn; None for what has arms."""
    raw = raw_of(blobs, done)
    return None if "arms" in raw else raw


def raw_of(blobs: BlobStore, done: Experiment) -> dict[str, Any]:
    """Return the raw data of an experiment; empty where it has none, or another kind of blob."""
    raw = (done.result or {}).get("raw")
    try:
        value: Any = json.loads(blobs.get(raw)) if isinstance(raw, str) else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def paired(then: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of two JSON values side by side; a missing one is None."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(set(then) | set(now)):
            yield from paired(then.get(key), now.get(key), f"{path}/{key}")
    elif isinstance(then, list) and isinstance(now, list):
        for place in range(max(len(then), len(now))):
            left = then[place] if place < len(then) else None
            right = now[place] if place < len(now) else None
            yield from paired(left, right, f"{path}/{place}")
    elif not (then is None and now is None) and not (is_blob(then) and is_blob(now)):
        yield path, then, now


def is_blob(value: Any) -> bool:
    """Say whether a leaf names a blob: tensors may differ in the last bit, and so their names."""
    return isinstance(value, str) and BLOB.fullmatch(value) is not None


def status_again(investigation: Investigation, name: str, done: Experiment) -> str:
    """Return the status that the new data give under the stored threshold."""
    registration = investigation.registrations[name]
    table = table_of(investigation, done)
    seed = investigation.replication_seed(name, 0)
    threshold = investigation.verdicts[name].threshold
    return decide(registration.prediction, table, threshold, seed).status


def table_of(investigation: Investigation, done: Experiment) -> dict[str, Any]:
    """Return the raw table of a confirmation, empty when it failed."""
    return investigation.folder.get_json(done.result["raw"])["arms"] if done.result else {}


def replicate(investigation: Investigation, name: str) -> Verdict:
    """Test a registration once more, on prompts held in reserve, and log what came of it.

    A replication is one test at the run's whole error rate: it was fixed before these prompts were
    drawn, and it changes no verdict. Raises `RunError` for an unknown or untested registration and
    when the reserve holds fewer than two templates for it.
    """
    if name not in investigation.verdicts:
        known = ", ".join(investigation.verdicts) or "none"
        raise RunError(f"{name} has no verdict to replicate; those with one: {known}")
    registration = investigation.registrations[name]
    earlier = [
        event.data
        for event in investigation.folder.of_type("replication")
        if event.data["registration"] == name
    ]
    seed = investigation.replication_seed(name, len(earlier) + 1)
    burned = {mark for data in earlier for mark in data["burned"]} | investigation.burned()
    number, marks, table = reserve_data(investigation, registration, seed, burned)
    verdict = decide(registration.prediction, table, investigation.alpha, seed)
    investigation.record(
        "replication",
        {
            "registration": name,
            "replicate": len(earlier) + 1,
            "burned": marks,
            "experiment": number,
            "verdict": verdict.model_dump(mode="json"),
        },
        sync=True,
    )
    return verdict


def reserve_data(
    investigation: Investigation, registration: Registration, seed: int, burned: set[str]
) -> tuple[int, list[str], dict[str, Any]]:
    """Draw from the reserve and run the registered arms; return experiment, marks and raw table."""
    prediction = registration.prediction
    population = investigation.populations[prediction.population]
    shown = templates_of(prediction)
    count = min(prediction.clusters, len(population.usable("reserve", **shown)))
    if count < 2:
        raise RunError(f"the reserve holds {count} templates for {registration.id}; it needs two")
    size = (count, prediction.per_cluster)
    items = draw(population, "reserve", size, seed, burned=burned, **shown)
    arms = build_arms(arms_to_run(investigation, prediction), items, population, "reserve", seed)
    arguments = scoring_arguments(investigation.case, prediction, arms)
    number, done = investigation.run_experiment("score_arms", arguments, "confirmation", seed)
    return (
        number,
        [fingerprint(item.prompt.text()) for item in items],
        table_of(investigation, done),
    )
