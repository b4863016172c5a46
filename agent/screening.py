"""The automatic screens: run before the first turn, because a screen that has to be remembered is forgotten."""

from __future__ import annotations

from agent.investigation import Investigation
from agent.population import draw

SCREENS = ("screen_differences",)
"""Run in this order where the worker has them and a reference exists."""
TEMPLATES, PER_TEMPLATE = 24, 2


def run_screens(investigation: Investigation) -> None:
    """Run each screen once on explore prompts and keep its page; a screen that fails is kept as failed."""
    if investigation.case.reference is None:
        return
    known = {entry["name"] for entry in investigation.offered()}
    done = {screen["tool"] for screen in investigation.screens}
    population = investigation.populations["case"]
    for name in SCREENS:
        if name not in known or name in done:
            continue
        seed = investigation.explore_seed("screen", name)
        items = draw(population, "explore", (TEMPLATES, PER_TEMPLATE), seed)
        arguments = {"items": [item.model_dump(mode="json") for item in items]}
        number, experiment = investigation.run_experiment(name, arguments, "screen", seed)
        investigation.record(
            "screen",
            {
                "tool": name,
                "experiment": number,
                "result": experiment.result,
                "error": experiment.error,
            },
        )
