"""`rerun` asks the model everything again; `replicate` tests one finding on fresh prompts.

What `verify` cannot see, an output that was replaced together with all that follows from it, shows
here. On the machine, code and weights of the record the outputs are the same to the letter, and one that
is not is a disagreement. Elsewhere a close choice may fall otherwise: each output that differs is followed
under its row's noise, and one that no rounding explains is impossible there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from agent.agreement import Agreement, compare, differing_outputs, unlike
from agent.confirm import arms_to_run
from agent.followed_texts import look_into
from agent.investigation import ExperimentEntry, Investigation
from agent.opening import read_run, with_catalogues
from agent.population import draw, fingerprint
from agent.prediction import Registration
from agent.registration import build_arms, scoring_arguments
from agent.run_folder import RunError
from agent.template_choice import templates_of
from agent.verdict import Verdict, decide
from tools.boundary import Catalogue
from tools.experiment import Experiment
from tools.judging import Asked, Judge, JudgeAgreement, Judgements, Label, asked_of, rows_of
from tools.measures import JudgedMeasure
from tools.registry import Record
from tools.worker_client import Worker

OnStart = Callable[[int, int, ExperimentEntry], None]
"""(number done, number of all, what begins)"""


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
        """Return the lines of every experiment, and those for all."""
        return [*(line for each in self.agreements for line in each.lines()), *self.ending()]

    def ending(self) -> list[str]:
        """Return what is to be said of all together."""
        elsewhere = list(dict.fromkeys(what for each in self.agreements for what in each.elsewhere))
        loud = [
            f"NOT THE MACHINE OF THE RECORD ({'; '.join(elsewhere)}): outputs may differ where rounding explains "
            "it, numbers a little; run it where it was recorded to compare to the letter"
        ]
        same = "identical" if self.identical else "agrees within the tolerance"
        count = f"{len(self.agreements)} experiments run again: "
        end = count + (same if self.agrees else "DOES NOT AGREE with the record")
        return [*self.notes, *(loud if elsewhere else []), end]


def rerun(
    path: Path,
    worker: Worker,
    *,
    only: Collection[int] = (),
    only_confirmations: bool = False,
    on_start: OnStart = lambda done, count, entry: None,
    on_end: Callable[[Agreement], None] = lambda found: None,
) -> RerunResult:
    """Run the experiments of a run again on `worker`, and compare; `only` those numbers, or all.

    The worker writes its blobs where the run has them, since steering needs the stored directions.
    Nothing is added to the log. Judged outputs are judged again where the worker has judges; else an
    output that is the same as then keeps its labels, and another one is not scored. Raises `RunError`
    for the number of no experiment.
    """
    investigation = read_run(path)
    given = worker.judge
    wanted = chosen(investigation, only, only_confirmations)
    found: list[Agreement] = []
    judged = False
    for entry, then in wanted:
        on_start(len(found), len(wanted), entry)
        stored = investigation.experiment(entry.number)
        labels = labels_then(investigation, stored)
        worker.judge = given or labels
        judged = judged or labels is not None
        came = again(investigation, entry, worker, then)
        if labels is not None and given is not None:
            came = came.model_copy(update={"judged_again": True})
        found.append(came)
        on_end(came)
    worker.judge = given
    return RerunResult(agreements=tuple(found), notes=(how_judged(given),) if judged else ())


def chosen(
    investigation: Investigation, only: Collection[int], only_confirmations: bool
) -> list[tuple[ExperimentEntry, Catalogue]]:
    """Return the experiments to run again, each with the catalogue it was recorded under."""
    every = list(with_catalogues(investigation.folder))
    strange = sorted(set(only) - {entry.number for entry, _ in every})
    if strange:
        raise RunError(f"there is no exp:{strange[0]}; the run has exp:1 to exp:{len(every)}")
    return [
        (entry, then)
        for entry, then in every
        if (not only or entry.number in only)
        and (entry.purpose == "confirmation" or not only_confirmations)
    ]


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


def again(
    investigation: Investigation, entry: ExperimentEntry, worker: Worker, then: Catalogue
) -> Agreement:
    """Run one experiment again; for a confirmation, compute its verdict from the new data."""
    stored = investigation.experiment(entry.number)
    done = worker.call(stored.tool, stored.arguments, stored.seed)
    blobs = investigation.folder.blobs
    found = compare(blobs, entry, stored, done, unlike(then, worker.catalogue))
    found = look_into(found, differing_outputs(blobs, stored, done), stored, then, worker)
    names = {number: name for name, number in investigation.confirmations.items()}
    name = names.get(entry.number)
    if name is None:
        return found
    same = status_again(investigation, name, done) == investigation.verdicts[name].status
    return found.model_copy(update={"registration": name, "same_verdict": same})


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
