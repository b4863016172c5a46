"""From finished sittings to the board: every investigator's figures, their comparisons, what failed.

Pure functions of records. The order of the sittings changes nothing, and what a board says of an
investigator depends on no other investigator but in the comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

from evals.bench.comparisons import Comparison, compare, with_verdicts
from evals.bench.intervals import SOURCES, Method, by_specimen
from evals.bench.records import Plan, ReferenceTrack, Sitting, SittingResult, Specimen
from evals.bench.standings import IDENTIFY, Part, part, scored
from tools.registry import Record

TRACKS = tuple(ReferenceTrack)
SLICES: dict[str, Callable[[SittingResult], str]] = {
    "family": lambda each: each.family,
    "easiness": lambda each: each.easiness,
    "held out": lambda each: (
        "kept from development" if each.held_out else "known during development"
    ),
    "kind": lambda each: each.kind,
}
"""How the sittings are divided; one whose group is empty is in none."""


class Standing(Record):
    """One investigator under one reference track."""

    investigator: str
    reference: ReferenceTrack
    planned: int
    """Sittings."""
    unfinished: int
    """Sittings without a result yet; in no figure."""
    overall: Part
    parts: tuple[Part, ...]
    """The same figures by family, easiness, held out and kind."""


class Trouble(Record):
    """Something about one sitting that a reader has to know."""

    sitting: Sitting
    family: str
    what: str


class Board(Record):
    """Everything that the leaderboard shows."""

    suite: str
    organisms: int
    """Specimens with something planted, among the planned."""
    nulls: int
    """Specimens in which nothing is hidden."""
    held_out: int
    """Organisms of families that were kept from the development of the systematic investigator."""
    families: tuple[str, ...]
    held_out_families: tuple[str, ...] = ()
    """Those of them that were kept from the development of the systematic investigator."""
    planned: int
    """Sittings."""
    finished: int
    """Sittings that came to a report."""
    failed: tuple[Trouble, ...]
    """Sittings that came to none, and why."""
    unfinished: int
    unreadable: tuple[str, ...] = ()
    """Result files that hold no result of a planned sitting; they are counted nowhere."""
    leaks: tuple[Trouble, ...]
    """What the leak scanner found in transcripts."""
    standings: tuple[Standing, ...]
    """The best recall first, within each track."""
    comparisons: tuple[Comparison, ...]
    detectable: dict[str, float] = {}
    """What the plan said, before the first run, that its comparisons could show."""
    sources: dict[Method, str] = SOURCES
    """Method of an interval -> what it is and where it is from."""

    def track(self, reference: ReferenceTrack) -> tuple[Standing, ...]:
        """Return the standings under one reference track."""
        return tuple(each for each in self.standings if each.reference == reference)

    @property
    def tracks(self) -> tuple[ReferenceTrack, ...]:
        """Return the reference tracks that anybody sat."""
        return tuple(track for track in TRACKS if self.track(track))


def score(
    plan: Plan,
    results: Iterable[SittingResult],
    *,
    unreadable: Sequence[str] = (),
    against: str | None = None,
    tasks: Sequence[str] = (IDENTIFY,),
) -> Board:
    """Return the board of a plan and the results that there are.

    `against` compares one investigator with each other instead of all pairs; the fewer comparisons,
    the less Holm's correction takes. `tasks` are those that are compared. Results of sittings that
    are not planned raise `ValueError`, and so does a sitting with two results.
    """
    names = {each.name: each for each in plan.sittings}
    found: dict[str, SittingResult] = {}
    for result in results:
        name = result.sitting.name
        if names.get(name) != result.sitting:
            raise ValueError(f"no such sitting is planned: {name}")
        if name in found:
            raise ValueError(f"a sitting has two results: {name}")
        found[name] = result
    ordered = [found[name] for name in sorted(found)]
    groups = grouped(plan.sittings, ordered)
    failed = [trouble(each, each.error) for each in ordered if each.error is not None]
    done = [each for each in ordered if each.error is None]
    planted = [each for each in plan.specimens if not each.null]
    return Board(
        suite=plan.suite,
        organisms=len(planted),
        nulls=len(plan.specimens) - len(planted),
        held_out=sum(each.held_out for each in planted),
        families=families(planted),
        held_out_families=families([each for each in planted if each.held_out]),
        planned=len(names),
        finished=len(done),
        failed=tuple(failed),
        unfinished=len(names) - len(ordered),
        unreadable=tuple(sorted(unreadable)),
        leaks=tuple(trouble(each, leak) for each in ordered for leak in each.leaks),
        standings=standings(groups, plan.sittings),
        comparisons=comparisons(groups, against, tasks),
        detectable=plan.detectable,
    )


def families(specimens: Iterable[Specimen]) -> tuple[str, ...]:
    """Return the families of specimens, by name."""
    return tuple(sorted({each.family for each in specimens}))


Groups = Mapping[tuple[ReferenceTrack, str], Sequence[SittingResult]]


def grouped(planned: Sequence[Sitting], results: Sequence[SittingResult]) -> Groups:
    """Return the results of every investigator under every track that is planned for it."""
    groups: dict[tuple[ReferenceTrack, str], list[SittingResult]] = {
        (each.reference, each.investigator): [] for each in planned
    }
    for each in results:
        groups[each.sitting.reference, each.sitting.investigator].append(each)
    return groups


def trouble(result: SittingResult, what: str) -> Trouble:
    """Return what is to be said of a sitting."""
    return Trouble(sitting=result.sitting, family=result.family, what=what)


def standings(groups: Groups, planned: Sequence[Sitting]) -> tuple[Standing, ...]:
    """Return all standings, by track, the best recall first; those without one come last."""
    counts: dict[tuple[ReferenceTrack, str], int] = {}
    for each in {sitting.name: sitting for sitting in planned}.values():
        key = (each.reference, each.investigator)
        counts[key] = counts.get(key, 0) + 1
    made = [
        Standing(
            investigator=name,
            reference=track,
            planned=counts[track, name],
            unfinished=counts[track, name] - len(results),
            overall=part(results, "everything", ""),
            parts=divided(results),
        )
        for (track, name), results in groups.items()
    ]
    return tuple(sorted(made, key=place))


def place(standing: Standing) -> tuple[int, float, str]:
    """Return what standings are ordered by."""
    recall = standing.overall.recall.value
    return (
        TRACKS.index(standing.reference),
        1.0 if recall is None else -recall,
        standing.investigator,
    )


def divided(results: Sequence[SittingResult]) -> tuple[Part, ...]:
    """Return the figures by every slice, the groups of a slice in order of their names."""
    parts: list[Part] = []
    for by, group_of in SLICES.items():
        names = sorted({group_of(each) for each in results} - {""})
        parts += [part([r for r in results if group_of(r) == name], by, name) for name in names]
    return tuple(parts)


def comparisons(
    groups: Groups, against: str | None, tasks: Sequence[str]
) -> tuple[Comparison, ...]:
    """Return the paired comparisons on organisms within each track, corrected for their number."""
    made: list[Comparison] = []
    for track in TRACKS:
        for first, second in pairs(sorted(name for at, name in groups if at == track), against):
            for task in tasks:
                ours, theirs = (
                    by_specimen(scored([r for r in groups[track, name] if not r.null], task))
                    for name in (first, second)
                )
                made.append(compare(task, track, (first, second), ours, theirs))
    return with_verdicts(made)


def pairs(names: Sequence[str], against: str | None) -> list[tuple[str, str]]:
    """Return every pair of investigators, or one of them with each other."""
    if against is None:
        return list(combinations(names, 2))
    return [(against, name) for name in names if name != against and against in names]
