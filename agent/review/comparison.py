"""Two runs side by side: `naturalist diff`, and the review page's comparison.

Registrations are matched by what they compare, not by their numbers: two that have the same measure,
arms, form and direction ask the same question, whatever the hypothesis was called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agent.finding import Finding
from agent.investigation import Investigation
from agent.opening import opened_event
from agent.prediction import Prediction
from agent.report import spent, versions_of
from agent.wording import with_unit
from tools.experiment import canonical_json
from tools.prompt import Arm
from tools.registry import Record

SHOWN = 200


class Difference(Record):
    """One thing that is not the same in both."""

    what: str
    first: str
    second: str


class Matched(Record):
    """One registered question and what became of it in each run; None where it was not registered."""

    statement: str
    first: Finding | None
    second: Finding | None
    change: str = ""
    """The second effect less the first, with its unit; empty unless both have one."""
    registration: tuple[Difference, ...] = ()
    """Where the registrations of the two differ: sizes, rivals, the smallest effect."""

    @property
    def agrees(self) -> bool | None:
        """Say whether both came to the same status; None if only one of them asked."""
        if self.first is None or self.second is None:
            return None
        return self.first.status == self.second.status

    @property
    def both(self) -> tuple[Finding | None, Finding | None]:
        """Return the two findings."""
        return self.first, self.second


class Comparison(Record):
    """Everything that differs between two runs, and every registered question of either."""

    runs: tuple[str, str]
    case: tuple[Difference, ...]
    models: tuple[Difference, ...]
    code: tuple[Difference, ...]
    other: tuple[Difference, ...]
    """Investigator, seed, roles, answer."""
    spent: tuple[Difference, ...]
    questions: tuple[Matched, ...]

    def summary(self) -> str:
        """Return the outcome in one line."""
        shared = [each for each in self.questions if each.agrees is not None]
        same = sum(bool(each.agrees) for each in shared)
        alone = len(self.questions) - len(shared)
        questions = "1 question was" if len(shared) == 1 else f"{len(shared)} questions were"
        return (
            f"{questions} registered in both, {same} of them with the same status; "
            f"{alone} in one only"
        )


class Side(Record):
    """One run, as far as it is compared."""

    run: str
    facts: dict[str, dict[str, Any]]
    """What defines the run and what it cost, by kind."""
    findings: tuple[Finding, ...]


def compare(first: Side, second: Side) -> Comparison:
    """Compare two runs; nothing is tested here, since each run's verdicts stand for themselves."""

    def found(kind: str) -> tuple[Difference, ...]:
        return tuple(differences(first.facts[kind], second.facts[kind]))

    return Comparison(
        runs=(first.run, second.run),
        case=found("case"),
        models=found("models"),
        code=found("code"),
        other=found("other"),
        spent=found("spent"),
        questions=tuple(matched(first.findings, second.findings)),
    )


def side_of(run: Investigation, found: Sequence[Finding]) -> Side:
    """Return a run, with its findings, as a side of a comparison."""
    return Side(run=run.folder.path.name, facts=facts_of(run), findings=tuple(found))


def facts_of(run: Investigation) -> dict[str, dict[str, Any]]:
    """Return what defines a run and what it cost, by kind."""
    opened = opened_event(run.folder)
    versions = versions_of(run, opened)
    last = versions["sessions"][-1]
    answer = run.submission.answer if run.submission else None
    return {
        "case": {"name": run.case.name, **run.case.public()},
        "models": versions["models"],
        "code": {
            "tools": versions["tools"],
            "agent": last.get("agent"),
            "python": last.get("python"),
            "packages": last.get("packages", {}),
        },
        "other": {
            "investigator": run.investigator,
            "seed": run.seed,
            "roles": run.roles,
            "ended": run.ended,
            "answer": answer.model_dump(mode="json") if answer else None,
        },
        "spent": spent(run),
    }


def differences(first: Any, second: Any, where: str = "") -> Iterator[Difference]:
    """Yield where two JSON values differ, down to the single value; lists are taken whole."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in [*first, *(name for name in second if name not in first)]:
            inner = f"{where} / {name}" if where else name
            yield from differences(first.get(name), second.get(name), inner)
    elif first != second:
        yield Difference(what=where, first=told(first), second=told(second))


def told(value: Any) -> str:
    """Return a value in short."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "none" if value is None else value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def matched(first: Sequence[Finding], second: Sequence[Finding]) -> Iterator[Matched]:
    """Yield every registered question of either run.

    One that was asked more than once is matched with the registration that differs least, then in order.
    """
    asked = [each for each in first if each.prediction is not None]
    left = [each for each in second if each.prediction is not None]
    found: dict[str, Finding] = {}
    for key in (registered_as, question_of):
        for finding in asked:
            same = [each for each in left if key(each) == key(finding)]
            if finding.id not in found and same:
                found[finding.id] = same[0]
                left.remove(same[0])
    yield from (pair(finding, found.get(finding.id)) for finding in asked)
    yield from (pair(None, finding) for finding in left)


def pair(first: Finding | None, second: Finding | None) -> Matched:
    """Put two findings side by side."""
    known = first or second
    assert known is not None and known.prediction is not None
    changes: tuple[Difference, ...] = ()
    if first and second and first.prediction and second.prediction:
        changes = tuple(differences(rest_of(first.prediction), rest_of(second.prediction)))
    ends = [each.verdict.estimate for each in (first, second) if each and each.verdict]
    seen = [estimate for estimate in ends if estimate is not None]
    change = ""
    if len(seen) == 2:
        change = with_unit(seen[1] - seen[0], known.prediction.measure, signed=True)
    return Matched(
        statement=known.statement,
        first=first,
        second=second,
        change=change,
        registration=changes,
    )


ASKED = ("form", "question", "measure", "direction", "reference_pair", "population", "templates")


def question_of(finding: Finding) -> str:
    """Return what a finding's prediction asks, as one text: neither its name nor its sizes and rivals."""
    prediction = finding.prediction
    assert prediction is not None
    stored = prediction.model_dump(mode="json", include=set(ASKED))
    arms = {
        name: bare(arm) for name, arm in prediction.arms().items() if not name.startswith("rival_")
    }
    return canonical_json([stored, arms])


def registered_as(finding: Finding) -> str:
    """Return what a finding's prediction asks and how, as one text."""
    assert finding.prediction is not None
    return question_of(finding) + canonical_json(rest_of(finding.prediction))


def rest_of(prediction: Prediction) -> dict[str, Any]:
    """Return what two predictions that ask the same may differ in."""
    kept = ("smallest_effect", "clusters", "per_cluster", "samples")
    stored = prediction.model_dump(mode="json", include=set(kept))
    named = sorted(rival.name for rival in prediction.rivals if not rival.standing)
    return stored | {"rivals": named}


def bare(arm: Arm) -> dict[str, Any]:
    """Return an arm without what it is called."""
    return arm.model_dump(mode="json", exclude={"name"})


def lines_of(comparison: Comparison) -> Iterator[str]:
    """Yield a comparison as text."""
    first, second = comparison.runs
    yield f"{first}  |  {second}"
    for title in ("case", "models", "code", "other", "spent"):
        found: tuple[Difference, ...] = getattr(comparison, title)
        yield f"{title}: {'the same' if not found else f'{len(found)} differences'}"
        for each in found:
            yield f"  {each.what}: {each.first}  |  {each.second}"
    yield comparison.summary()
    for each in comparison.questions:
        yield f"  {each.statement}"
        for run, finding in zip(comparison.runs, each.both, strict=True):
            yield f"    {run}: {words_of(finding)}"
        if each.change:
            yield f"    the second effect less the first: {each.change}"
        for change in each.registration:
            yield f"    registered with {change.what}: {change.first}  |  {change.second}"


def words_of(finding: Finding | None) -> str:
    """Return what became of a question in one run."""
    if finding is None:
        return "not registered"
    seen = f", {finding.effect} ({finding.interval})" if finding.effect else ""
    return f"{finding.id} {finding.status}{seen}"
