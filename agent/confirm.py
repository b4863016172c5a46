"""The one confirmation for all tools: draw unseen prompts, run the registered arms, compute verdicts.

The draw is seeded by the run secret and the registration hash, its prompts are burned, and what
comes back to the investigator is statistic, interval, n and controls, never the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.investigation import Investigation
from agent.population import draw, fingerprint
from agent.prediction import Prediction, Registration
from agent.registration import build_arms, scoring_arguments
from agent.template_choice import templates_of
from agent.verdict import Verdict, decide_batch
from tools.prompt import Arm, PromptItem
from tools.registry import ToolError, unknown


def confirm(investigation: Investigation, identifiers: Sequence[str]) -> dict[str, Verdict]:
    """Confirm registrations and return their verdicts.

    Predictions registered together are decided together, by Holm, so the rest of a batch is run too.
    Raises `ToolError` for an unknown registration and for one that was confirmed already.
    """
    wanted: list[str] = []
    done = {data["registration"] for data in investigation.unfinished.get("verdict", [])}
    for identifier in identifiers:
        if identifier not in investigation.registrations:
            known = list(investigation.registrations) or ["none yet: call register_predictions"]
            raise ToolError(unknown("registration", identifier, known))
        if identifier in investigation.verdicts and identifier not in done:
            raise ToolError(
                f"{identifier} has its verdict already: {investigation.verdicts[identifier].status}"
            )
        wanted += [identifier] if identifier not in wanted else []
    batches = {investigation.registrations[identifier].batch for identifier in wanted}
    found: dict[str, Verdict] = {}
    for batch in sorted(batches):
        members = [each for each in investigation.registrations.values() if each.batch == batch]
        found |= confirm_batch(investigation, members)
    return found


def confirm_batch(
    investigation: Investigation, batch: Sequence[Registration]
) -> dict[str, Verdict]:
    """Run every registration of a batch, then reveal all verdicts together."""
    tables: list[dict[str, Any]] = []
    numbers: list[int] = []
    for registration in batch:
        number, table = collect(investigation, registration)
        numbers.append(number)
        tables.append(table)
    seeds = [investigation.replication_seed(registration.id, 0) for registration in batch]
    verdicts = decide_batch(
        [registration.prediction for registration in batch],
        tables,
        [registration.alpha for registration in batch],
        seeds,
    )
    for registration, number, verdict in zip(batch, numbers, verdicts, strict=True):
        if registration.id not in investigation.verdicts:
            investigation.record(
                "verdict",
                {
                    "registration": registration.id,
                    "experiment": number,
                    "verdict": verdict.model_dump(mode="json"),
                },
                sync=True,
            )
    return {registration.id: investigation.verdicts[registration.id] for registration in batch}


def collect(investigation: Investigation, registration: Registration) -> tuple[int, dict[str, Any]]:
    """Draw (once) and run one registration; return its experiment's number and its raw table."""
    prediction = registration.prediction
    seed = investigation.replication_seed(registration.id, 0)
    items = confirmation_items(investigation, registration, seed)
    population = investigation.populations[prediction.population]
    wanted = arms_to_run(investigation, prediction)
    try:
        arms = build_arms(wanted, items, population, "confirm", seed)
    except ToolError:
        # The fault would quote a prompt that nobody is to see before the report.
        raise ToolError(
            f"{registration.id}: its edits do not fit every unseen prompt, so it cannot be confirmed"
        ) from None
    arguments = scoring_arguments(investigation.case, prediction, arms)
    number, done = investigation.run_experiment("score_arms", arguments, "confirmation", seed)
    if done.error is not None or done.result is None:
        return number, {}
    return number, investigation.folder.get_json(done.result["raw"])["arms"]


def confirmation_items(
    investigation: Investigation, registration: Registration, seed: int
) -> list[PromptItem]:
    """Return the prompts of a registration, drawn once: a resumed run draws the same ones.

    The draw depends on the prompts burned before it, which the event remembers.
    """
    prediction = registration.prediction
    population = investigation.populations[prediction.population]
    drawn = investigation.draws.get(registration.id)
    before = set(drawn["before"]) if drawn else investigation.burned()
    size = (prediction.clusters, prediction.per_cluster)
    items = draw(population, "confirm", size, seed, burned=before, **templates_of(prediction))
    if drawn is None:
        marks = [fingerprint(item.prompt.text()) for item in items]
        investigation.record(
            "draw",
            {
                "registration": registration.id,
                "replicate": 0,
                "before": sorted(before),
                "burned": marks,
            },
            sync=True,
        )
    return items


def arms_to_run(investigation: Investigation, prediction: Prediction) -> dict[str, Arm]:
    """Return the registered arms, and the same contrast on the reference to learn its scope."""
    arms = prediction.arms()
    if prediction.form == "trend":
        arms.pop("treatment")
    has_reference = investigation.case.reference is not None
    on_prompts = (
        prediction.treatment.intervention is None and prediction.treatment.model == "subject"
    )
    if (
        has_reference
        and on_prompts
        and not prediction.reference_pair
        and prediction.form == "difference"
    ):
        for name in ("treatment", "control"):
            if name in arms:
                arms[f"scope_{name}"] = arms[name].model_copy(update={"model": "reference"})
    return arms


def shown(verdict: Verdict) -> dict[str, Any]:
    """Return what the investigator may see of a verdict: no prompt and no output.

    Arms of rivals are called by their rival's name behind the key that a citation takes.
    """
    told = verdict.model_dump(mode="json")
    names = {f"rival_{k}": rival.name for k, rival in enumerate(verdict.rivals)}
    told["arms"] = {
        f"{key} ({names[rival]})"
        if (rival := key.removesuffix("_reference")) in names
        else key: value
        for key, value in told["arms"].items()
    }
    return told
