"""A set of independent investigations of one case, and the aggregate of what they found, confirmed anew.

`runs/ID/` holds the run folders `1` to `N` and `aggregate`, and `set.json`, which says what is to be
run. The runs follow one after the other; each is an ordinary run that can be resumed, verified and run
again alone, and a set that was killed goes on where it was. All investigations have the same part of
the case's prompts under different seeds; the part kept from them is what the aggregate confirms on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from agent import session
from agent.aggregator import AggregatorInvestigator
from agent.case import Case, Limits, Part
from agent.cast import Cast, Provider, Roles, going_on, make_cast
from agent.earlier_runs import EarlierRuns
from agent.opening import read_run
from agent.population import population_of
from agent.replay import first_difference
from agent.run_folder import SET_PLAN, RunError, RunFolder, redact
from agent.set_reading import Place, carry_blobs, place_of, read_finished
from agent.terminal import faults_told
from agent.verify import Fault, VerifyResult, verify
from tools.blobs import BlobStore
from tools.registry import Record, describe_faults
from tools.worker_client import Worker

PLAN = SET_PLAN
AGGREGATE = "aggregate"
SEEDS = 1000
"""The seeds of a set are its own times this, plus the number of the run: sets do not share seeds."""
FORMAT = 1


class SetPlan(Record):
    """What a set is to run; `earlier` is counted before its first run opens."""

    format: int = FORMAT
    case: Case
    investigator: str
    roles: Roles = Roles()
    """Who else takes part, by name; what runs them is given again when a set goes on."""
    independent: int = Field(ge=2, le=99)
    seed: int
    fresh: bool = False
    earlier: EarlierRuns | None = None

    def names(self) -> list[str]:
        """Return the folders of the investigations, in their order."""
        return [str(number) for number in range(1, self.independent + 1)]

    def case_for(self, name: str) -> Case:
        """Return the case of one run: its part of the prompts, and what it may spend."""
        if name != AGGREGATE:
            part = Part(seed=self.seed, whose="investigation")
            return self.case.model_copy(update={"part": part})
        own = self.case.limits
        # What is spent on an investigator does not bound the few tests that the set stands on.
        limits = Limits(alpha=own.alpha, registrations=own.registrations, steps=None)
        part = Part(seed=self.seed, whose="aggregation")
        return self.case.model_copy(update={"part": part, "limits": limits})

    def seed_for(self, name: str) -> int:
        """Return the seed of one run."""
        return SEEDS * self.seed + (0 if name == AGGREGATE else int(name))


def is_set(path: Path) -> bool:
    """Say whether a folder is a set of independent runs."""
    return (path / PLAN).exists()


def read_plan(path: Path) -> SetPlan:
    """Return what a set is to run; raise `RunError` for a file that says nothing of the kind."""
    try:
        return SetPlan.model_validate_json((path / PLAN).read_text(encoding="utf-8"))
    except ValidationError as error:
        fault = describe_faults("plan of a set", SetPlan, error)[0]
        raise RunError(f"{path / PLAN} cannot be read: {fault}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path / PLAN} cannot be read: {error}") from None


def write_plan(path: Path, plan: SetPlan) -> None:
    """Write `set.json`, whole or not at all."""
    path.mkdir(parents=True, exist_ok=True)
    unfinished = path / f".{PLAN}.unfinished"
    unfinished.write_text(plan.model_dump_json(indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path / PLAN)


def check_templates(plan: SetPlan) -> None:
    """Raise `ToolError` when the case has too few templates to keep some from the investigations."""
    population_of(plan.case_for(AGGREGATE), plan.seed_for(AGGREGATE))


def plan_in_words(plan: SetPlan, cast: Cast, prices: Path | None = None) -> dict[str, Any]:
    """Return what a set would do, without starting it."""
    planned = session.plan(plan.case_for("1"), cast, prices)
    kept = population_of(plan.case_for(AGGREGATE), plan.seed_for(AGGREGATE))
    count, limits = plan.independent, plan.case.limits
    totals = {"minutes": limits.minutes, "tokens": limits.tokens, "dollars": limits.dollars}
    known = [f"{name} {count * value:g}" for name, value in totals.items() if value is not None]
    return planned | {
        "independent": f"{count} investigations one after the other, each with the limits below; "
        "then an aggregate without a language model",
        "templates": f"{planned['templates']}; {len(kept.usable('confirm'))} kept for the aggregate",
        "limits in all": ", ".join(known) or "none on minutes, tokens or dollars",
    }


def start_set(path: Path, plan: SetPlan, roles: Roles, provider: Provider) -> None:
    """Begin a set and run all of it; one whose first run could not be opened leaves nothing behind."""
    write_plan(path, plan)
    try:
        drive_set(path, roles, provider)
    except BaseException:
        if not any(folders(path)):
            shutil.rmtree(path)
        raise


def drive_set(
    path: Path, given: Roles, provider: Provider, *, accept_code_change: bool = False
) -> None:
    """Run what a set has not run yet: its investigations in their order, then its aggregate."""
    with faults_told(str(path)):
        plan = read_plan(path)
        roles = going_on(plan.roles, given)
        for name in [*plan.names(), AGGREGATE]:
            folder = path / name
            own = roles if name != AGGREGATE else Roles(judges=roles.judges)
            if not begun(folder):
                drive_one(path, name, own, provider)
            elif read_run(folder).ended is None:
                session.drive_old(
                    folder, own, provider, accept_code_change=accept_code_change, again=path
                )
            elif not (folder / "report" / "report.json").exists():
                session.write_report(folder)


def begun(folder: Path) -> bool:
    """Say whether a run has its first event; a folder that was killed before it is cleared away."""
    if not folder.exists():
        return False
    if (folder / "events.jsonl").exists():
        with RunFolder(folder, write=True) as run:
            if run.events:
                return True
    shutil.rmtree(folder)
    return False


def drive_one(path: Path, name: str, roles: Roles, provider: Provider) -> None:
    """Open one run of a set and drive it to its end."""
    plan = read_plan(path)
    case, seed = plan.case_for(name), plan.seed_for(name)
    program = plan.investigator if name != AGGREGATE else AggregatorInvestigator.name
    cast = make_cast(program, case, roles, provider)
    if name != AGGREGATE:
        place = Place(whose="investigation", of=plan.independent, number=int(name))
    else:
        runs = read_finished(path, plan.names())
        place = Place(whose="aggregation", of=plan.independent, runs=runs)
        carry_blobs(runs, path, BlobStore(path / name / "blobs"))

    def circumstances(worker: Worker) -> Mapping[str, Any]:
        earlier = counted_once(path, worker)
        known: dict[str, Any] = {"place": place.model_dump(mode="json")}
        # The aggregate speaks for the set, so it alone takes its place among the runs of the case.
        return known | ({"earlier": earlier.model_dump(mode="json")} if name == AGGREGATE else {})

    session.say(f"run {name} of the set: {path / name}")
    opening = session.Opening(seed=seed, prices=provider.prices, circumstances=circumstances)
    session.drive_new(path / name, case, cast, opening, again=path)


def counted_once(path: Path, worker: Worker) -> EarlierRuns:
    """Count the runs before the set, once: before anything is spent, an error rate that is used up is told."""
    plan = read_plan(path)
    if plan.earlier is None:
        case = plan.case_for(AGGREGATE)
        known = session.counted(path.parent, case, worker, fresh=plan.fresh)
        plan = plan.model_copy(update={"earlier": EarlierRuns.model_validate(known["earlier"])})
        write_plan(path, plan)
    assert plan.earlier is not None
    return plan.earlier


def folders(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the runs of a set that have begun."""
    for name in [*read_plan(path).names(), AGGREGATE]:
        if (path / name / "events.jsonl").exists():
            yield name, path / name


def report_set(path: Path) -> Path:
    """Write the report of every run of a set again; return the aggregate, which speaks for it."""
    for _, folder in folders(path):
        session.write_report(folder)
    if AGGREGATE not in dict(folders(path)):
        raise RunError(
            f"{path}: its aggregate has not run yet, the reports of its runs are written; go on with "
            f"naturalist resume {path}"
        )
    return path / AGGREGATE


def verify_set(path: Path) -> VerifyResult:
    """Verify every run of a set, and that the aggregate read what the runs say."""
    faults: list[Fault] = []
    notes: list[str] = []
    counts = [0, 0, 0]
    found = dict(folders(path))
    for name, folder in found.items():
        result = verify(folder)
        faults += [
            each.model_copy(update={"where": f"{name}: {each.where}"}) for each in result.faults
        ]
        notes += [f"{name}: {line}" for line in result.notes]
        totals = (result.events, result.experiments, result.verdicts)
        counts = [a + b for a, b in zip(counts, totals, strict=True)]
    missing = [name for name in [*read_plan(path).names(), AGGREGATE] if name not in found]
    notes += [f"not run yet: {', '.join(missing)}"] if missing else []
    if not faults and not missing:
        faults += check_reading(path)
    return VerifyResult(
        faults=tuple(faults),
        notes=tuple(notes),
        events=counts[0],
        experiments=counts[1],
        verdicts=counts[2],
    )


def check_reading(path: Path) -> Iterator[Fault]:
    """Compare what the aggregate read with what the runs say."""
    place = place_of(read_run(path / AGGREGATE))
    told = place.model_dump(mode="json")["runs"] if place else []
    now = [each.model_dump(mode="json") for each in read_finished(path, read_plan(path).names())]
    difference = first_difference(told, redact(json.loads(json.dumps(now))))
    if difference is not None:
        yield Fault(check="set", where=f"{AGGREGATE}: event 0", what=f"runs{difference}")
