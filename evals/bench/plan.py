"""Planning an exam: every sitting is named before the first begins.

The plan is a file. Whoever runs a sitting needs nothing but the plan and the sitting's name, so the same exam
can be run here, on a cluster, or in pieces, and joined by its files.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from agent.run_folder import RunError
from evals.bench.comparisons import ALPHA, detectable_difference
from evals.bench.records import Plan, ReferenceTrack, Sitting, Specimen
from evals.bench.suites import SuiteError, sibling_of, specimens_of

PLAN = "plan.json"
NULL_RUNS = 60
"""At least so many runs on nulls for an investigator that is examined on everything."""
SUBSET = (24, 12)
"""Organisms and nulls of the fixed subset for those that are not."""


def read_plan(folder: Path) -> Plan:
    """Return the plan of an exam; raise `RunError` for none."""
    try:
        return Plan.model_validate_json((folder / PLAN).read_bytes())
    except OSError:
        raise RunError(f"{folder} holds no {PLAN}; give the folder of an exam") from None
    except ValidationError as error:
        raise RunError(f"{folder / PLAN} is no plan: {error.errors()[0]['msg']}") from None


def usual_null_runs(suite: str) -> int:
    """Return on how many nulls an investigator runs where nothing else is said."""
    return 1 if suite == "smoke" else NULL_RUNS


class Wanted(NamedTuple):
    """Who is to be examined, and how often."""

    everything: tuple[str, ...] = ()
    """Investigators that sit before every organism, and before the nulls until there are enough runs."""
    subset: tuple[str, ...] = ()
    """Investigators that sit before a fixed stratified part of the specimens, once each."""
    seeds: int = 1
    null_runs: int = NULL_RUNS
    tracks: tuple[ReferenceTrack, ...] = (ReferenceTrack.base,)
    developing: bool = False
    """Leave out the families that are kept from the development of the systematic investigator."""


def plan_exam(suite: str, out: Path, wanted: Wanted, secret: str | None = None) -> Plan:
    """Return the plan in `out`, made now if there is none; raise `SuiteError` if that is of another suite.

    A plan that is there stays as it is, whatever is wanted now: an exam is not changed under way.
    """
    path = out / PLAN
    if path.exists():
        plan = read_plan(out)
        if plan.suite != suite:
            raise SuiteError(f"{out} holds an exam on {plan.suite}; give another --out")
        return plan
    secret = secret or secrets.token_hex(16)
    every = specimens_of(suite, secret, out)
    specimens = [each for each in every if not (wanted.developing and each.held_out)]
    if not specimens:
        raise SuiteError(f"{suite}: every family in it is kept from development")
    alone = [each for each in specimens if sibling_of(each, specimens) is None]
    if ReferenceTrack.wrong_base in wanted.tracks and alone:
        raise SuiteError(
            f"{suite} has no second {alone[0].family} organism to give for the base; leave out that track"
        )
    sittings = [
        sitting
        for track in wanted.tracks
        for sitting in (
            *(s for who in wanted.everything for s in on_everything(who, specimens, track, wanted)),
            *(s for who in wanted.subset for s in on_subset(who, specimens, track)),
        )
    ]
    plan = Plan(
        suite=suite,
        secret=secret,
        specimens=tuple(specimens),
        sittings=tuple(dealt(sittings)),
        detectable=detectable(specimens, sittings),
    )
    return write_plan(out, plan)


def write_plan(out: Path, plan: Plan) -> Plan:
    """Write a plan as a whole or not at all, and return it."""
    out.mkdir(parents=True, exist_ok=True)
    partial = (out / PLAN).with_suffix(".partial")
    partial.write_text(plan.model_dump_json(indent=1), encoding="utf-8")
    # Whoever reads it knows what drew the organisms.
    partial.chmod(0o600)
    partial.replace(out / PLAN)
    return plan


def detectable(specimens: Sequence[Specimen], sittings: Sequence[Sitting]) -> dict[str, float]:
    """Return, for the first investigator against each other, the smallest difference in recall it could show.

    Where not even a difference of 1 would show, nothing is said.
    """
    organisms = {each.handle for each in specimens if not each.null}
    before: dict[str, list[str]] = {}
    for sitting in sittings:
        if sitting.specimen in organisms and sitting.reference is ReferenceTrack.base:
            before.setdefault(sitting.investigator, []).append(sitting.specimen)
    names = list(before)
    found: dict[str, float] = {}
    for other in names[1:]:
        shared = set(before[names[0]]) & set(before[other])
        seeds = min(len(before[name]) // len(set(before[name])) for name in (names[0], other))
        smallest = detectable_difference(len(shared), seeds, alpha=ALPHA / (len(names) - 1))
        if smallest is not None:
            found[f"{names[0]} against {other}"] = round(smallest, 3)
    return found


def on_everything(
    investigator: str, specimens: Sequence[Specimen], track: ReferenceTrack, wanted: Wanted
) -> list[Sitting]:
    """Return sittings on every organism, and on the nulls in turn until there are enough."""
    found = [
        Sitting(specimen=each.handle, investigator=investigator, reference=track, seed=seed)
        for each in specimens
        if not each.null
        for seed in range(1, wanted.seeds + 1)
    ]
    nulls = [each for each in specimens if each.null]
    for number in range(wanted.null_runs if nulls else 0):
        seed, place = divmod(number, len(nulls))
        found.append(
            Sitting(
                specimen=nulls[place].handle,
                investigator=investigator,
                reference=track,
                seed=seed + 1,
            )
        )
    return found


def on_subset(
    investigator: str, specimens: Sequence[Specimen], track: ReferenceTrack
) -> list[Sitting]:
    """Return sittings on the fixed subset: the same specimens for everybody, all families alike."""
    organisms = stratified([each for each in specimens if not each.null], SUBSET[0])
    nulls = stratified([each for each in specimens if each.null], SUBSET[1])
    return [
        Sitting(specimen=each.handle, investigator=investigator, reference=track, seed=1)
        for each in (*organisms, *nulls)
    ]


def stratified(specimens: Sequence[Specimen], count: int) -> list[Specimen]:
    """Return `count` specimens taken from the strata of family, easiness and kind in turn, by handle.

    Handles are drawn by the exam's secret, so that what is taken is a random part of each stratum.
    """
    strata: dict[tuple[str, str, str], list[Specimen]] = {}
    for each in sorted(specimens, key=lambda each: each.handle):
        strata.setdefault((each.family, each.easiness, each.kind), []).append(each)
    turns = sorted(
        ((place, key, each) for key, group in strata.items() for place, each in enumerate(group)),
        key=lambda turn: turn[:2],
    )
    return [each for _, _, each in turns[:count]]


def dealt(sittings: Sequence[Sitting]) -> list[Sitting]:
    """Return sittings in an order of which any beginning holds some of everything, each once."""
    unique = {sitting.name: sitting for sitting in sittings}
    by_who: dict[tuple[str, str], list[Sitting]] = {}
    for sitting in unique.values():
        by_who.setdefault((sitting.investigator, sitting.reference), []).append(sitting)
    turns = [
        (place / len(group), number, sitting)
        for number, group in enumerate(by_who.values())
        for place, sitting in enumerate(group)
    ]
    return [sitting for _, _, sitting in sorted(turns, key=lambda turn: turn[:2])]
