"""What exploration has shown already of a prediction's arms: told when it is registered, so that no rival surprises.

Only results that the investigator was given count, and only arms that are the same: the same edits of explore
prompts under the same measure. Nothing is run for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from agent.explore_levels import with_explore_levels
from agent.investigation import Investigation
from agent.prediction import Prediction
from agent.rivals import STANDING, extremes
from tools.experiment import canonical_json
from tools.factors import Factor, cell_name, edits_of, plan_cells, with_no_op
from tools.measures import Measure
from tools.prompt import Arm, SetSlot, Transform
from tools.registry import ToolError
from tools.scoring import cluster_means, mean

MEASURE: TypeAdapter[Measure] = TypeAdapter(Measure)
FACTORS: TypeAdapter[tuple[Factor, ...]] = TypeAdapter(tuple[Factor, ...])
Arguments = Mapping[str, Any]
Edits = frozenset[str]
NO_OP: Edits = frozenset({"no-op"})
"""Stands for a neutral sentence, whichever it was."""


class Seen(NamedTuple):
    """One arm of an experiment: on how many templates what was seen."""

    edits: Edits
    templates: int
    number: int
    mean: float


def seen_rates(investigation: Investigation, prediction: Prediction) -> dict[str, str]:
    """Return for treatment, control and rivals by name the mean that exploration showed, where it did.

    Of several experiments with the same arm the one with most templates tells, and of those the last.
    """
    seen = list(seen_arms(investigation, prediction))
    treatment, control = extremes(prediction)
    wanted: dict[str, Arm | None] = {"treatment": treatment, "control": control}
    wanted |= {rival.name: rival.arm for rival in prediction.rivals}
    found: dict[str, str] = {}
    for name, arm in wanted.items():
        if arm is None or arm.model != "subject" or arm.intervention is not None:
            continue
        try:
            edits = mark(investigation, arm.edits)
        except ToolError:
            # A level that the explore side lacks was not explored.
            continue
        if name == STANDING[0][0] and control is not None and not control.edits:
            edits = NO_OP
        fitting = [each for each in seen if each.edits == edits]
        if fitting:
            best = max(fitting, key=lambda each: (each.templates, each.number))
            found[name] = f"{best.mean:.3g} (exp:{best.number}, {best.templates} templates)"
    return found


def seen_arms(investigation: Investigation, prediction: Prediction) -> Iterator[Seen]:
    """Yield the subject's arms of every exploration under a prediction's measure."""
    for entry in investigation.experiments:
        if entry.purpose != "exploration" or entry.failed or entry.tool not in ARMS:
            continue
        done = investigation.experiment(entry.number)
        if done.result is None or measure_of(done.arguments) != prediction.measure:
            continue
        table = investigation.folder.get_json(done.result["raw"])["arms"]
        for name, edits in ARMS[entry.tool](done.arguments):
            means = cluster_means(table.get(name, ()))
            value = mean(list(means.values()))
            if value is not None:
                marks = NO_OP if edits is None else mark(investigation, edits)
                yield Seen(marks, len(means), entry.number, value)


def measure_of(arguments: Arguments) -> Measure:
    """Return the measure of an experiment; what a call leaves out stands in it as it was taken."""
    return MEASURE.validate_python(arguments["measure"])


def cells_of(arguments: Arguments) -> Iterator[tuple[str, tuple[Transform, ...] | None]]:
    """Yield the arms of `vary_prompts` by name, each with its edits; None for those of the no-op."""
    factors = with_no_op(FACTORS.validate_python(arguments["factors"]))
    for cell in plan_cells(factors, arguments.get("design", "one_at_a_time")):
        name = cell_name("subject", cell)
        if cell[-1] is None:
            yield name, edits_of(factors, cell)
        elif all(level is None for level in cell[:-1]):
            yield name, None


def candidates_of(arguments: Arguments) -> Iterator[tuple[str, tuple[Transform, ...] | None]]:
    """Yield the arms of `rank_candidates` by name, each with its edits."""
    for value in arguments["values"]:
        yield f"subject/{value}", (SetSlot(slot=arguments["slot"], values=(value,)),)


ARMS: dict[str, Callable[[Arguments], Iterator[tuple[str, tuple[Transform, ...] | None]]]] = {
    "vary_prompts": cells_of,
    "rank_candidates": candidates_of,
}
"""The tools whose arms are edits of the same prompts."""


def mark(investigation: Investigation, edits: Iterable[Transform]) -> Edits:
    """Return what edits do to explore prompts, in whatever order they stand; `ToolError` for no such level."""
    given = [edit.model_dump(mode="json") for edit in edits]
    explored = with_explore_levels(investigation.populations["case"], given)
    return frozenset(canonical_json(edit) for edit in explored)
