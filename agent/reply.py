"""The investigator's reply: where the sceptic opened a cause again, a few turns to compare it with the rival directly.

They come out of the run's budget and out of its registrations, of which some are kept for them from the start.
What the reply registers is confirmed like anything else, and agent/counters.py says what it changes. It ends
with a second report, which replaces the first; a reply without one leaves the first as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.confirm import shown
from agent.counters import after_counters, counters_of, needed, surviving
from agent.investigation import Investigation
from agent.prediction import Registration
from agent.registration import left_to_register
from agent.sceptic import challenged, said_in
from agent.statements import statement_of
from agent.templates import written

LAST_TURN = "This is the last turn of your reply: submit_report, or your first report stands."


def reopened(investigation: Investigation) -> list[str]:
    """Return the supported findings that the sceptic's counter-experiments leave open or refuted."""
    found: list[str] = []
    for each in challenged(investigation):
        theirs = [c for c in counters_of(investigation, each) if c.id in investigation.counters]
        if after_counters("supported", theirs) != "supported":
            found.append(each.id)
    return found


def may_reply(investigation: Investigation) -> bool:
    """Say whether a reply is due, or was begun and not ended; the same wherever a run is resumed."""
    return (
        investigation.reply_turns > 0
        and bool(investigation.opened)
        and investigation.replied is None
        and investigation.ended is None
    )


def reply_notices(investigation: Investigation) -> list[str]:
    """Return what the harness says before a turn of the reply: first what the sceptic found."""
    taken = len(said_in(investigation, "reply"))
    if taken == 0:
        return [what_the_sceptic_found(investigation)]
    left = investigation.reply_turns - taken
    return [LAST_TURN] if left == 1 else [f"{left} turns of your reply are left"]


def what_the_sceptic_found(investigation: Investigation) -> str:
    """Return the sceptic's statements with their verdicts, and what would answer them."""
    opened = [investigation.registrations[name] for name in investigation.opened]
    return written(
        "reply.j2",
        tests=[
            test_of(investigation, name)
            for name in investigation.counters
            if name in investigation.verdicts
        ],
        opened=[each.id for each in opened],
        answers=[answer for each in opened for answer in answers_to(investigation, each)],
        turns=investigation.reply_turns,
        left=left_to_register(investigation, len(investigation.registrations)),
    )


def test_of(investigation: Investigation, name: str) -> dict[str, Any]:
    """Return a counter-experiment with its verdict: what it says, its arms, and the rivals that were named."""
    prediction, verdict = investigation.registrations[name].prediction, investigation.verdicts[name]
    return {
        "id": name,
        "statement": statement_of(prediction, verdict),
        "arms": shown(verdict)["arms"],
        "rivals": [
            rival.model_dump(mode="json", exclude_none=True)
            | outcome.model_dump(mode="json", include={"difference", "interval", "excluded"})
            for rival, outcome in zip(prediction.rivals, verdict.rivals, strict=False)
            if not rival.standing
        ],
    }


def answers_to(
    investigation: Investigation, registration: Registration
) -> Iterator[dict[str, Any]]:
    """Yield for every rival that opens a finding the comparison that would close it again, where there is one."""
    for counter in counters_of(investigation, registration):
        if not counter.opens or not all(check.passed for check in counter.verdict.checks):
            continue
        beaten = {each.rival for each in counter.beaten}
        for rival in surviving(investigation, counter.id):
            if rival.arm is not None and rival.name not in beaten:
                yield {
                    "of": registration.id,
                    "rival": rival.name,
                    "control": rival.arm.model_dump(mode="json", exclude_none=True),
                    "least": needed(investigation, registration),
                }
