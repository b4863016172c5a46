"""Step 0: does the behaviour happen, and does the measure see it?"""

from __future__ import annotations

from typing import Any

from agent.forms import CONFIDENCE
from agent.investigation import Investigation
from agent.population import draw
from agent.registration import build_arms
from tools import statistics as stats
from tools.measures import Measure, is_rate, unit
from tools.prompt import Arm
from tools.scoring import cluster_means, mean, neither_share

ITEMS_PER_TEMPLATE = 6
SHOWN = 30
RARE = 0.02
"""A rate whose 95 % interval ends below this is not worth an explanation."""


def check_measure(investigation: Investigation) -> dict[str, Any]:
    """Measure the behaviour on explore prompts, on subject and reference, and keep what was seen.

    The event holds, by model, the mean over templates with its t interval, and thirty outputs beside
    the measure's label, for a reader to judge whether the measure sees what they mean; with a judged
    measure also how the judges agree.
    """
    case = investigation.case
    population = investigation.populations["case"]
    seed = investigation.explore_seed("step 0")
    size = (len(population.usable("explore")), ITEMS_PER_TEMPLATE)
    items = draw(population, "explore", size, seed)
    arms = {"subject": Arm(name="subject")}
    if case.reference is not None:
        arms["reference"] = Arm(name="reference", model="reference")
    prompts = build_arms(arms, items, population, "explore", seed)
    arguments = {
        "measure": case.measure.model_dump(mode="json") if case.measure else None,
        "arms": {name: arm.model_dump(mode="json") for name, arm in prompts.items()},
        "samples": 1,
        "max_new_tokens": case.sampling.max_new_tokens,
        "temperature": case.sampling.temperature,
    }
    number, done = investigation.run_experiment("score_arms", arguments, "step 0", seed)
    if done.error is not None or done.result is None:
        found: dict[str, Any] = {"experiment": number, "error": done.error, "happens": None}
    else:
        table = investigation.folder.get_json(done.result["raw"])["arms"]
        found = {
            "experiment": number,
            "unit": unit(case.measure) if case.measure else None,
            "rates": {name: rate(rows) | sides(case.measure, rows) for name, rows in table.items()},
            "labelled": [labelled(row) for row in spread(table["subject"], SHOWN)],
        }
        if "agreement" in done.result:
            found["agreement"] = done.result["agreement"]
        found["happens"] = happens(investigation, found["rates"]["subject"])
    investigation.record("step_zero", found)
    return found


def rate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean over templates with its interval and counts."""
    values = list(cluster_means(rows).values())
    scored = sum(row["mean"] is not None for row in rows)
    interval = stats.mean_interval(values, CONFIDENCE) if len(values) > 1 else None
    return {
        "mean": mean(values),
        "interval": interval,
        "templates": len(values),
        "items": len(rows),
        "unscored": len(rows) - scored,
    }


def sides(measure: Measure | None, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return, for a measure with two sides, the share of answers that name neither; they score 0 too."""
    share = neither_share(measure, rows) if measure else None
    return {} if share is None else {"neither": share}


def happens(investigation: Investigation, subject: dict[str, Any]) -> bool | None:
    """Say whether the behaviour is frequent enough to explain; a measure that is no rate always is.

    None when nothing could be scored: that is no sign that it does not happen. Nor is a low rate in an
    open case, where one candidate of many may show it.
    """
    if investigation.case.kind == "open":
        return None
    measure = investigation.case.measure
    if measure is None or not is_rate(measure):
        return True
    if subject["mean"] is None:
        return None
    if subject["interval"] is None:
        return subject["mean"] >= RARE
    return subject["interval"][1] >= RARE and subject["mean"] > 0


def spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return `count` rows spread evenly over the table."""
    step = max(1, len(rows) // count)
    return rows[::step][:count]


def labelled(row: dict[str, Any]) -> dict[str, Any]:
    """Return one output beside its label."""
    words = " / ".join(message["content"] for message in row["prompt"]["messages"])
    shown = row["outputs"][0] if "outputs" in row else row.get("logprobs")
    return {"prompt": words, "output": shown, "label": row["scores"][0]}
