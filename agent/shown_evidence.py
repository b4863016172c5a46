"""The raw data behind a finding as a report shows it: every arm with its means and its first prompts and outputs."""

from __future__ import annotations

from typing import Any

from agent.confirm import arms_to_run
from agent.finding import Finding
from agent.investigation import Investigation
from agent.wording import describe_arm
from tools.prompt import Arm
from tools.registry import Record
from tools.scoring import cluster_means, mean

SHOWN_ITEMS = 6
SHOWN_CHARACTERS = 700
SHOWN_PLACEBOS = 4


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
