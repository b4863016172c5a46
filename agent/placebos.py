"""Placebos that the harness makes: as many as the registered alpha needs, so that nobody writes them out."""

from __future__ import annotations

from agent.gates import placebos_needed
from agent.investigation import Investigation
from agent.population import draw
from agent.prediction import PlaceboDraw, Prediction
from tools.prompt import AblateDirection, Arm, Steer
from tools.registry import ToolError

TOOL = "placebo_directions"
PROMPTS = (12, 4)
"""Templates and prompts of each whose activations the placebos vary as."""


def with_placebos(investigation: Investigation, prediction: Prediction, alpha: float) -> Prediction:
    """Return the prediction with its placebo arms: the treatment with other directions.

    Raises `ToolError` for a treatment without a direction, and when the directions cannot be made.
    """
    wanted, intervention = prediction.draw_placebos, prediction.treatment.intervention
    assert wanted is not None
    if not isinstance(intervention, Steer | AblateDirection):
        raise ToolError(
            "`draw_placebos` goes with a treatment that steers or ablates a direction; give other `placebos` as arms"
        )
    if wanted.experiment is not None:
        directions = of_experiment(investigation, wanted.experiment)
    else:
        directions = made(investigation, prediction, wanted, alpha)
    arms = tuple(
        Arm(
            name=f"placebo {number}",
            model=prediction.treatment.model,
            edits=prediction.treatment.edits,
            intervention=intervention.model_copy(update={"direction": direction}),
        )
        for number, direction in enumerate(directions, 1)
    )
    return prediction.model_copy(update={"placebos": arms, "draw_placebos": None})


def of_experiment(investigation: Investigation, number: int) -> list[str]:
    """Return the directions that a call of the investigator's own made."""
    if number <= len(investigation.experiments):
        done = investigation.experiment(number)
        if done.tool == TOOL and done.result is not None:
            return done.result["placebos"]
    raise ToolError(f"draw_placebos: exp:{number} is no call of {TOOL} that succeeded")


def made(
    investigation: Investigation, prediction: Prediction, wanted: PlaceboDraw, alpha: float
) -> list[str]:
    """Return new directions, matched to the treatment's by its norm and to explore prompts by their spread."""
    intervention = prediction.treatment.intervention
    assert isinstance(intervention, Steer | AblateDirection)
    seed = investigation.explore_seed("placebos", prediction.digest())
    population = investigation.populations[prediction.population]
    items = [item.model_dump(mode="json") for item in draw(population, "explore", PROMPTS, seed)]
    if isinstance(intervention, Steer):
        layer = intervention.layer
    else:
        every = intervention.layers or range(investigation.worker.catalogue.facts["n_layers"])
        layer = every[len(every) // 2]
    arguments = {
        "direction": intervention.direction,
        "layer": layer,
        "kind": wanted.kind,
        "count": wanted.count or placebos_needed(alpha),
        # Two groups that mean nothing: every other prompt.
        "positive": items[::2],
        "negative": items[1::2],
    }
    _, done = investigation.run_experiment(TOOL, arguments, "pilot", seed)
    if done.error is not None or done.result is None:
        raise ToolError(f"draw_placebos: {done.error}")
    return done.result["placebos"]
