"""The report: one record that holds all a reader needs, built from the log and nothing else.

`Report` is a stable contract (`format` counts its versions). The pages are rendered from it by
`agent/rendering.py`; the same log always gives the same report, so `verify` can build it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from agent.answer import AnswerPart, answer_part
from agent.citations import Prose, Sources, resolve_prose
from agent.confirm import arms_to_run
from agent.finding import Finding, findings
from agent.investigation import ExperimentEntry, Investigation, Spent
from agent.opening import opened_event
from agent.prediction import FAMILIES, Hypothesis, Registration
from agent.roles import RolePart, judges_told, roles_of
from agent.scope import reference_words
from agent.set_reading import SetPart, set_part
from agent.thoughts import ThoughtPart, thought_parts
from agent.wording import describe_arm, with_unit
from agent.words import words_heard
from tools.prompt import Arm
from tools.registry import Record
from tools.scoring import cluster_means, mean

FORMAT = 1
SHOWN_ITEMS = 6
SHOWN_CHARACTERS = 700
SHOWN_PLACEBOS = 4
SHOWN_LABELLED = 30


class Shown(Record):
    """One prompt with what came out of it."""

    item: str
    template: str
    prompt: tuple[tuple[str, str], ...]
    """(role, words), the forced beginning of the answer last."""
    outputs: tuple[str, ...]
    scores: tuple[float | None, ...]


class ArmEvidence(Record):
    """One arm of a confirmation: what it was, its means, and its first items."""

    name: str
    title: str
    model: str
    description: str
    mean: float | None
    items: int
    unscored: int
    templates: dict[str, float]
    """Template -> mean of its items."""
    shown: tuple[Shown, ...]


class Evidence(Record):
    """The raw data behind a finding."""

    finding: str
    experiment: int
    raw: str | None
    """Blob of the raw table, with every prompt, output and score; the record names it."""
    record: str = ""
    """Blob of the experiment's record, the one that the list of experiments shows."""
    error: str | None
    arms: tuple[ArmEvidence, ...]
    left_out: int
    """Arms whose items are in the blob only."""


class StepZero(Record):
    """Does it happen, and does the measure see it?"""

    experiment: int
    happens: bool | None
    unit: str | None
    error: str | None
    rates: dict[str, dict[str, Any]]
    labelled: tuple[dict[str, Any], ...]
    judges: str | None = None
    """With a judged measure: how its judges agree, and what to hold against their choice."""


class Tests(Record):
    """How many tests the run could spend, and what it spent."""

    alpha: float
    maximum: int
    registered: int
    confirmed: int
    abandoned: int
    earlier: str
    """What has to be known of earlier runs of the case on this subject; empty when there were none."""
    batches: tuple[str, ...] = ()
    """A line for every call that registered predictions: which were decided together, and their smallest effects."""


class Report(Record):
    """Everything that is said of a run."""

    format: int = FORMAT
    run: str
    """SHA-256 of the first line of the log."""
    log_head: str
    """SHA-256 of the last line of the log."""
    events: int
    case: dict[str, Any]
    name: str
    question: str
    has_reference: bool
    reference: str | None = None
    """What the reference model is to the subject, in generic words."""
    investigator: str
    ended: str | None
    answer: AnswerPart
    summary: Prose
    set: SetPart | None
    """The set of independent runs that this one belongs to."""
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    step_zero: StepZero | None
    screens: tuple[dict[str, Any], ...]
    thoughts: tuple[ThoughtPart, ...] = ()
    hypotheses: tuple[Hypothesis, ...]
    untested_hypotheses: tuple[Hypothesis, ...]
    untested_families: tuple[str, ...]
    tests: Tests
    experiments: tuple[ExperimentEntry, ...]
    words: tuple[str, ...] = ()
    """What the researcher said to the running investigation, each with the turn it came before."""
    roles: tuple[RolePart, ...] = ()
    """What each role beside the investigator did."""
    spent: dict[str, float]
    versions: dict[str, Any]
    seed: int

    def with_status(self, *statuses: str) -> list[Finding]:
        """Return the findings of these statuses, in the order of the statuses."""
        return [each for status in statuses for each in self.findings if each.status == status]

    def evidence_for(self, finding: str) -> Evidence | None:
        """Return the raw data behind a finding."""
        return next((each for each in self.evidence if each.finding == finding), None)


def build_report(investigation: Investigation) -> Report:
    """Build the report of a run, finished or not."""
    found = findings(investigation)
    submission = investigation.submission
    opened = opened_event(investigation.folder)
    events = investigation.folder.events
    verdicts, registered = investigation.verdicts, investigation.registrations
    tested = {each.prediction.hypothesis for name, each in registered.items() if name in verdicts}
    hypotheses = tuple(investigation.hypotheses.values())
    return Report(
        run=hashlib.sha256(events[0].line().encode()).hexdigest(),
        log_head=hashlib.sha256(events[-1].line().encode()).hexdigest(),
        events=len(events),
        case=investigation.case.public(),
        name=investigation.case.name,
        question=investigation.case.behaviour,
        has_reference=investigation.case.reference is not None,
        reference=reference_words(investigation.case),
        investigator=investigation.investigator,
        ended=investigation.ended,
        answer=answer_part(investigation, found),
        set=set_part(investigation),
        summary=resolve_prose(submission.summary if submission else "", Sources(investigation)),
        findings=tuple(found),
        evidence=tuple(evidence_of(investigation, each) for each in found if each.experiment),
        step_zero=step_zero_of(investigation),
        screens=tuple(investigation.screens),
        thoughts=tuple(thought_parts(investigation)),
        hypotheses=hypotheses,
        untested_hypotheses=tuple(each for each in hypotheses if each.id not in tested),
        untested_families=untested_families(hypotheses, tested),
        tests=Tests(
            alpha=investigation.alpha,
            maximum=investigation.case.limits.registrations,
            registered=len(investigation.registrations),
            confirmed=len(investigation.verdicts),
            abandoned=len(investigation.registrations) - len(investigation.verdicts),
            earlier=investigation.earlier.words(investigation.case.limits),
            batches=tuple(batches(investigation)),
        ),
        experiments=tuple(investigation.experiments),
        words=words_heard(investigation.exchanges),
        roles=roles_of(investigation, found),
        spent=spent(investigation),
        versions=versions_of(investigation, opened),
        seed=investigation.seed,
    )


def batches(investigation: Investigation) -> Iterator[str]:
    """Yield a line for each batch: what was decided together, and why its smallest effects are what they are."""
    found: dict[str, list[Registration]] = {}
    for registration in investigation.registrations.values():
        found.setdefault(registration.batch, []).append(registration)
    for batch in found.values():
        ids = ", ".join(each.id for each in batch)
        line = f"{ids}: registered {'in one call' if len(batch) > 1 else 'alone'}"
        if all(each.id in investigation.verdicts for each in batch):
            line += " and decided together (Holm)" if len(batch) > 1 else " and decided alone"
        else:
            line += ", never decided"
        sizes = [with_unit(e.prediction.smallest_effect, e.prediction.measure) for e in batch]
        if len(set(sizes)) > 1:
            each_size = [f"{each.id} {size}" for each, size in zip(batch, sizes, strict=True)]
            spreads = [
                f"{each.id} {with_unit(each.pilot_sd, each.prediction.measure)}"
                for each in batch
                if each.pilot_sd is not None
            ]
            line += (
                f"; smallest effects {', '.join(each_size)}: the investigator named each for its own contrast before "
                "the data, and none was taken that could not be seen with 80 % power"
            )
            line += f" at the spread of its pilot (sd {', '.join(spreads)})" if spreads else ""
        yield f"{line}."


def untested_families(hypotheses: Sequence[Hypothesis], tested: set[str]) -> tuple[str, ...]:
    """Return the families of explanation of which no hypothesis was tested."""
    done = {each.family for each in hypotheses if each.id in tested}
    return tuple(family for family in FAMILIES if family not in done)


def spent(investigation: Investigation) -> dict[str, float]:
    """Return what the run cost, by kind."""
    found = {
        "minutes": investigation.minutes,
        "turns": float(len(investigation.exchanges)),
        "experiments": float(len(investigation.experiments)),
        "failed experiments": float(sum(entry.failed for entry in investigation.experiments)),
        "tool seconds": sum(entry.seconds for entry in investigation.experiments),
    }
    for entry in investigation.experiments:
        name = f"tool seconds, {entry.purpose}"
        found[name] = found.get(name, 0.0) + entry.seconds
    for event in investigation.folder.of_type("spent"):
        cost = Spent.model_validate(event.data["spent"])
        told = {"requests": cost.requests, "tokens": cost.input_tokens + cost.output_tokens}
        told |= {"dollars": cost.dollars} if cost.dollars is not None else {}
        for what, value in told.items():
            name = f"{what}, {event.data['role']}"
            found[name] = found.get(name, 0.0) + value
    return found


def versions_of(investigation: Investigation, opened: dict[str, Any]) -> dict[str, Any]:
    """Return digests and versions, of every session of the run."""
    sessions = [opened, *(e.data for e in investigation.folder.of_type("run_resumed"))]
    return {
        "models": opened["catalogue"]["models"],
        "tools": sorted({session["catalogue"]["code"] for session in sessions}),
        "sessions": [session["versions"] for session in sessions],
    }


def step_zero_of(investigation: Investigation) -> StepZero | None:
    """Return step 0 with its labelled outputs, cut to what a page can show."""
    found = investigation.step_zero
    if found is None:
        return None
    return StepZero(
        experiment=found["experiment"],
        happens=found["happens"],
        unit=found.get("unit"),
        error=found.get("error"),
        rates=found.get("rates", {}),
        judges=judges_told(investigation, found.get("agreement")),
        labelled=tuple(
            {key: cut(value) for key, value in each.items()}
            for each in found.get("labelled", [])[:SHOWN_LABELLED]
        ),
    )


def evidence_of(investigation: Investigation, finding: Finding) -> Evidence:
    """Return the arms behind a finding with their template means and first items."""
    assert finding.experiment is not None and finding.prediction is not None
    stored = investigation.experiment(finding.experiment)
    raw = stored.result["raw"] if stored.result else None
    table = investigation.folder.get_json(raw)["arms"] if raw else {}
    arms = arms_to_run(investigation, finding.prediction)
    titles = titles_of(finding)
    wanted = [name for name in arms if name in table]
    placebos = [name for name in wanted if name.startswith("placebo_")][SHOWN_PLACEBOS:]
    wanted = [name for name in wanted if name not in placebos]
    return Evidence(
        finding=finding.id,
        experiment=finding.experiment,
        raw=raw,
        record=investigation.experiments[finding.experiment - 1].blob,
        error=stored.error,
        arms=tuple(
            arm_evidence(name, titles.get(name, name), arms[name], table[name]) for name in wanted
        ),
        left_out=len(placebos),
    )


def titles_of(finding: Finding) -> dict[str, str]:
    """Return what each arm is called on the page."""
    prediction = finding.prediction
    assert prediction is not None
    titles = {
        "treatment": "treatment",
        "control": "control",
        "treatment_reference": "treatment, in the reference",
        "control_reference": "control, in the reference",
        "scope_treatment": "treatment, in the reference (for scope)",
        "scope_control": "control, in the reference (for scope)",
    }
    titles |= {f"placebo_{k}": f"placebo {k + 1}" for k in range(len(prediction.placebos))}
    titles |= {f"dose_{k}": f"dose {step.dose:g}" for k, step in enumerate(prediction.doses)}
    for k, rival in enumerate(prediction.rivals):
        titles[f"rival_{k}"] = f"rival: {rival.name}"
        titles[f"rival_{k}_reference"] = f"rival, in the reference: {rival.name}"
    return titles


def arm_evidence(name: str, title: str, arm: Arm, rows: list[dict[str, Any]]) -> ArmEvidence:
    """Return one arm in short, with its first items, each of another template while they last."""
    scored = cluster_means(rows)
    return ArmEvidence(
        name=name,
        title=title,
        model=arm.model,
        description=describe_arm(arm),
        mean=mean(list(scored.values())),
        items=len(rows),
        unscored=sum(row["mean"] is None for row in rows),
        templates={template: scored[template] for template in sorted(scored)},
        shown=tuple(shown(row) for row in first_of_each(rows, SHOWN_ITEMS)),
    )


def first_of_each(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return `count` rows, the first of every template before any second one."""
    seen: dict[str, int] = {}
    ranked: list[tuple[int, int]] = []
    for place, row in enumerate(rows):
        rank = seen.get(row["template_id"], 0)
        seen[row["template_id"]] = rank + 1
        ranked.append((rank, place))
    return [rows[place] for _, place in sorted(ranked)[:count]]


def shown(row: dict[str, Any]) -> Shown:
    """Return one raw row as it is shown."""
    prompt = row["prompt"]
    turns = [(message["role"], cut(message["content"])) for message in prompt["messages"]]
    if prompt["prefill"]:
        turns.append(("answer begins with", cut(prompt["prefill"])))
    outputs = row_outputs(row)
    return Shown(
        item=row["id"],
        template=row["template_id"],
        prompt=tuple(turns),
        outputs=tuple(cut(text) for text in outputs[:SHOWN_ITEMS]),
        scores=tuple(row["scores"][:SHOWN_ITEMS]),
    )


def row_outputs(row: dict[str, Any]) -> list[str]:
    """Return what a row was scored on, one text for each score."""
    if "outputs" in row:
        return row["outputs"]
    if "logprobs" in row:
        found = [f"log P({text}) = {value:.3f}" for text, value in row["logprobs"].items()]
        return ["; ".join(found)]
    return [
        f"projection {row['projection']:.4g}" if row["projection"] is not None else "no reading"
    ]


def cut(value: Any) -> Any:
    """Cut a long text; say how much of it only the blob holds."""
    if not isinstance(value, str) or len(value) <= SHOWN_CHARACTERS:
        return value
    return f"{value[:SHOWN_CHARACTERS]} … ({len(value) - SHOWN_CHARACTERS} more characters in the raw data)"
