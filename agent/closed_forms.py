"""What no prediction of a case can be registered as, told before a turn is spent on it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from agent.call_cost import layers_of
from agent.gates import placebos_needed
from agent.investigation import Investigation
from agent.prediction import SMALLEST_POINTS
from agent.wording import listed, name
from tools import statistics as stats


def closed_forms(investigation: Investigation, alpha: float) -> Iterator[str]:
    """Yield a line for each form, or use of one, whose smallest p exceeds `alpha` whatever is written into it."""
    population = investigation.populations["case"]
    templates = len(population.usable("confirm"))
    if stats.sign_flip_smallest_p(templates, "greater") > alpha:
        needed = math.ceil(math.log2(1 / alpha))
        yield f"`difference`, `trend` and `skill` ({templates} unseen templates, {needed} needed)"
    if stats.existence_p(templates, templates, SMALLEST_POINTS) > alpha:
        yield f"`existence` ({templates} unseen templates)"
    if not layers_of(investigation):
        yield "`localisation` and `skill` (this subject cannot be looked into)"
    needed = placebos_needed(alpha)
    slots = population.pools["explore"].slots
    others = {slot: len(each.values or each.levels) - 1 for slot, each in slots.items()}
    few = [f"{name(slot)} {count}" for slot, count in others.items() if 0 < count < needed]
    if few:
        yield (
            f"`rank` of one value or level of a slot among the others it has ({listed(few, 'and')}; {needed} needed): "
            "compare the first with the runner-up as a `difference`"
        )
