"""What each role beside the investigator did, in numbers: what is not measured cannot be judged worth its cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from agent.counters import after_counters, counters_of
from agent.finding import Finding
from agent.investigation import Exchange, Investigation
from agent.judge import warning_of
from agent.safe_text import one_line
from agent.sceptic import said_by, said_in
from agent.set_reading import place_of
from agent.wording import listed
from agent.writer import Wanted, write_prompts
from tools.judging import JudgeAgreement
from tools.registry import Record


class RolePart(Record):
    """One role that took part."""

    role: str
    models: tuple[str, ...]
    counts: dict[str, int]
    findings: tuple[str, ...] = ()
    """Those that rest on what it did, or that it changed."""
    sentence: str
    """The same in words."""


def roles_of(investigation: Investigation, found: Sequence[Finding]) -> tuple[RolePart, ...]:
    """Return every role that took part; what each cost stands among the run's costs."""
    roles = investigation.roles
    return (
        *([writer_part(investigation, found)] if "writer" in roles else []),
        *([sceptic_part(investigation, found)] if "sceptic" in roles else []),
        *([judges_part(investigation, found)] if investigation.judges else []),
        *aggregator_part(investigation, found),
    )


def writer_part(investigation: Investigation, found: Sequence[Finding]) -> RolePart:
    """Return how many prompts were asked of the writer, taken and refused, and what rests on them."""
    asked, failed, refused = 0, 0, Counter[str]()
    calls = list(calls_to_writer(investigation.exchanges))
    for wanted, left_out in calls:
        asked += wanted
        failed += left_out is None
        refused.update(left_out or {})
    fresh = {k: v for k, v in investigation.populations.items() if k != "case"}
    taken = sum(len(population.templates) for population in fresh.values())
    resting = [each for each in found if each.prediction and each.prediction.population in fresh]
    why = "; ".join(f"{one_line(reason, 80)}: {count}" for reason, count in refused.most_common())
    text = (
        f"Asked for {asked} prompts in {len(calls)} calls, {failed} of them in vain; {taken} were taken and "
        f"{refused.total()} refused{f' ({why})' if why else ''}. {resting_words(resting, 'its prompts')}"
    )
    return RolePart(
        role="writer",
        models=(investigation.roles["writer"],),
        counts={
            "calls": len(calls),
            "calls in vain": failed,
            "prompts asked": asked,
            "prompts taken": taken,
            "prompts refused": refused.total(),
            **{f"refused, {reason}": count for reason, count in refused.items()},
            "findings on its prompts": len(resting),
            "of them supported": sum(each.status == "supported" for each in resting),
        },
        findings=tuple(each.id for each in resting),
        sentence=text,
    )


def calls_to_writer(exchanges: Sequence[Exchange]) -> Iterator[tuple[int, dict[str, int] | None]]:
    """Yield for every call how many prompts it asked for and why some were refused; None of one in vain."""
    usual = Wanted().count
    for exchange in exchanges:
        for call, result in zip(exchange.turn.calls, exchange.results, strict=False):
            if call.name == write_prompts.name:
                wanted = call.arguments.get("count", usual)
                count = wanted if isinstance(wanted, int) else usual
                yield count, result.result["left_out"] if result.result else None


def resting_words(resting: Sequence[Finding], what: str) -> str:
    """Return which findings rest on something, each with its status."""
    if not resting:
        return f"No finding rests on {what}."
    told = listed([f"{each.id} ({each.status})" for each in resting], "and")
    return f"On {what} {'rests' if len(resting) == 1 else 'rest'} {told}."


def sceptic_part(investigation: Investigation, found: Sequence[Finding]) -> RolePart:
    """Return what the sceptic registered, and which findings it opened again."""
    made = investigation.counters
    challenged: list[str] = []
    opened: list[str] = []
    for each in found:
        registration = investigation.registrations.get(each.id)
        if registration is None or each.decided != "supported" or each.id in made:
            continue
        later = [each for each in counters_of(investigation, registration) if each.id in made]
        challenged += [each.id] if later else []
        opened += [each.id] if after_counters("supported", later) != "supported" else []
    turns = len(said_by(investigation, "sceptic"))
    tested = sum(name in investigation.verdicts for name in made)
    end = f" Why it stopped: {one_line(investigation.rested, 120)}." if investigation.rested else ""
    if investigation.replied:
        replied = len(said_in(investigation, "reply"))
        end += f" The investigator's reply had {replied} turns; why it ended: {one_line(investigation.replied, 120)}."
    names = f" ({listed(opened, 'and')})" if opened else ""
    return RolePart(
        role="sceptic",
        models=(investigation.roles["sceptic"],),
        counts={
            "turns": turns,
            "counter-experiments registered": len(made),
            "counter-experiments tested": tested,
            "findings challenged": len(challenged),
            "findings opened again": len(opened),
        },
        findings=tuple(opened),
        sentence=f"Registered {len(made)} counter-experiments in {turns} turns, of which {tested} were tested; "
        f"they challenged {len(challenged)} findings and opened {len(opened)} again"
        f"{names}.{end}",
    )


def judges_part(investigation: Investigation, found: Sequence[Finding]) -> RolePart:
    """Return how many outputs the judges read and how they agreed, in all and for each finding."""
    every = {
        entry.number: agreement_of(investigation, entry.number)
        for entry in investigation.experiments
    }
    read = [each for each in every.values() if each is not None]
    counts = Counter[str]()
    for each in read:
        counts.update({"outputs": each.outputs, "compared": each.compared})
        counts["agreed"] += round((each.agreement or 0.0) * each.compared)
        counts.update({f"unusable, {name}": count for name, count in each.unusable.items()})
    for_findings = [
        f"{each.id}: {agreement.words()}"
        for each in found
        if each.experiment and (agreement := every.get(each.experiment)) is not None
    ]
    share = f"{100 * counts['agreed'] / counts['compared']:.0f} %" if counts["compared"] else "none"
    return RolePart(
        role="judges",
        models=investigation.judges,
        counts={"experiments": len(read), **counts},
        findings=tuple(line.partition(":")[0] for line in for_findings),
        sentence=f"Read {counts['outputs']} outputs in {len(read)} experiments, those that came again counted "
        f"again; {counts['compared']} had a label of both, of which alike: {share}."
        + "".join(f" {line}." for line in for_findings),
    )


def judges_told(investigation: Investigation, agreement: dict[str, Any] | None) -> str | None:
    """Return who the judges of step 0 were and how they agree, in one line."""
    if agreement is None:
        return None
    found = JudgeAgreement.model_validate(agreement)
    who = " and ".join(one_line(name, 60) for name in found.judges.values())
    warning = warning_of(investigation.judges)
    return f"{found.words()} ({who})" + (f"; {warning}" if warning else "")


def agreement_of(investigation: Investigation, number: int) -> JudgeAgreement | None:
    """Return how the judges of an experiment agreed; None where nothing was judged."""
    result = investigation.experiment(number).result
    found = result.get("agreement") if result else None
    return None if found is None else JudgeAgreement.model_validate(found)


def aggregator_part(investigation: Investigation, found: Sequence[Finding]) -> Iterator[RolePart]:
    """Yield what the aggregator of a set made of its runs; nothing for any other run."""
    place = place_of(investigation)
    if place is None or place.whose != "aggregation":
        return
    tried = [each for run in place.runs for each in run.tried]
    held = sum(each.status == "supported" for each in tried)
    again = [each.id for each in found if each.status == "supported"]
    yield RolePart(
        role="aggregator",
        models=(),
        counts={
            "runs read": len(place.runs),
            "their registrations": len(tried),
            "of them supported": held,
            "registered anew": len(investigation.registrations),
            "supported anew": len(again),
        },
        findings=tuple(again),
        sentence=f"Read {len(place.runs)} runs with {len(tried)} registrations, {held} of them supported; "
        f"registered {len(investigation.registrations)} anew, of which {len(again)} were supported.",
    )
