"""What later tests of the same contrast leave of a supported finding, and when a rival opens its cause again.

A rival that survives a later test says: what its arm shares with the treatment is the cause. One that does as
much as the treatment may be right, so the cause is open. One that does much less is not right about all of the
effect: a near relative of the true cause does so. Which of the two it is, a direct comparison settles, a
registered prediction that the treatment does more than the rival's arm, tested at the run's error rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agent.investigation import Investigation
from agent.prediction import Prediction, Registration, Rival
from agent.rivals import extremes
from agent.sceptic import contrast_of
from agent.verdict import Status, Verdict
from agent.wording import listed
from tools.prompt import Arm
from tools.scoring import mean

BEYOND_RIVAL = 1 / 3
"""Of a finding's effect, so much at least the treatment does beyond a rival that a direct comparison beats.

Less than `MUST_LACK` of agent/verdict.py, which one arm among others reaches on an interval that is not corrected:
here the difference was predicted, of this rival alone. And not nothing: with data enough any small difference is
sure, and a rival that brings more than two thirds of an effect explains it better than what sets it apart.
"""


class Beaten(NamedTuple):
    """A rival that survived a later test and lost the direct comparison with the treatment."""

    rival: str
    by: str
    """The registrations that compare them."""
    over: float
    """What the treatment does beyond it on their average, in the measure's units, signed as measured."""


class Counter(NamedTuple):
    """A later test of a finding's contrast."""

    id: str
    verdict: Verdict
    beaten: tuple[Beaten, ...] = ()

    @property
    def opens(self) -> bool:
        """Say whether it leaves the finding's cause open."""
        if self.verdict.status != "effect shown, cause open":
            return False
        alive = sum(not rival.excluded for rival in self.verdict.rivals)
        checked = all(check.passed for check in self.verdict.checks)
        return not checked or len(self.beaten) < alive


def counters_of(investigation: Investigation, registration: Registration) -> list[Counter]:
    """Return the later tests of the same contrast that have a verdict, whoever registered them."""
    return [
        Counter(name, verdict, tuple(beaten_of(investigation, registration, name)))
        for name, verdict in retests(investigation, registration)
    ]


def retests(
    investigation: Investigation, registration: Registration
) -> Iterator[tuple[str, Verdict]]:
    """Yield the later tests of the same contrast with their verdicts."""
    wanted = contrast_of(registration.prediction)
    names = list(investigation.registrations)
    for name in names[names.index(registration.id) + 1 :]:
        verdict = investigation.verdicts.get(name)
        other = investigation.registrations[name].prediction
        if verdict is not None and contrast_of(other) == wanted:
            yield name, verdict


def surviving(investigation: Investigation, name: str) -> list[Rival]:
    """Return the rivals that a test did not exclude."""
    rivals = investigation.registrations[name].prediction.rivals
    outcomes = investigation.verdicts[name].rivals
    return [rival for rival, outcome in zip(rivals, outcomes, strict=False) if not outcome.excluded]


def beaten_of(
    investigation: Investigation, registration: Registration, name: str
) -> Iterator[Beaten]:
    """Yield the rivals that survived a later test and lost the direct comparison by enough.

    One comparison has to be supported, with its own cause not open; of several all count for the size, so that
    asking again does not pick the largest.
    """
    for rival in surviving(investigation, name):
        tried = [
            (each, verdict, verdict.estimate)
            for each in investigation.registrations.values()
            if compares(each.prediction, registration.prediction, rival)
            and (verdict := investigation.verdicts.get(each.id)) is not None
            and verdict.estimate is not None
        ]
        held = any(
            verdict.status == "supported"
            and all(later.status == "supported" for _, later in retests(investigation, each))
            for each, verdict, _ in tried
        )
        over = mean([estimate for _, _, estimate in tried]) or 0.0
        if held and abs(over) >= needed(investigation, registration):
            yield Beaten(rival.name, listed([each.id for each, _, _ in tried], "and"), over)


def needed(investigation: Investigation, registration: Registration) -> float:
    """Return what the treatment must do beyond a rival, in the measure's units."""
    return BEYOND_RIVAL * abs(investigation.verdicts[registration.id].estimate or 0.0)


def compares(direct: Prediction, finding: Prediction, rival: Rival) -> bool:
    """Say whether a prediction compares the treatment of a finding with a rival's arm, as it was measured there.

    A range has no arm, and the estimate of an existence claim is a share of templates, which no difference shares.
    """
    if rival.arm is None or direct.control is None or finding.form == "existence":
        return False
    alike = ("measure", "direction", "reference_pair", "population")
    return (
        direct.form == "difference"
        and all(getattr(direct, field) == getattr(finding, field) for field in alike)
        and nameless(direct.treatment) == nameless(extremes(finding)[0])
        and nameless(direct.control) == nameless(rival.arm)
    )


def nameless(arm: Arm) -> Arm:
    """Return an arm without what it is called."""
    return arm.model_copy(update={"name": ""})


def after_counters(decided: Status, counters: Sequence[Counter]) -> Status:
    """Return what is left of a supported status when the same contrast was tested again."""
    if any(each.opens for each in counters):
        return "effect shown, cause open"
    refuted = any(each.verdict.status == "refuted" for each in counters)
    return "inconclusive" if refuted else decided
