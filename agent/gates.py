"""The gates of a registration: whether it could succeed, and one change with which it would.

All faults of a prediction are told at once, with a way out that was computed from the same pilot by
the same rules: an investigator that learns of one number at a time pays a turn for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from agent.contrasts import WIDEST_MARGIN
from agent.forms import largest_effect
from agent.prediction import SMALLEST_POINTS, Prediction
from tools import statistics as stats
from tools.measures import is_rate, unit
from tools.power import clusters_needed, power_sign_flip, power_tost

POWERED = ("difference", "equivalence", "trend", "skill")
"""The forms whose power a pilot tells."""
POWER = 0.80
AIM = 0.85
"""A way out aims a little higher: the next pilot is run on other prompts."""
SMALLEST_SD = {"points": 0.05, "nats": 0.25, "words": 0.5}
"""A pilot that happens to show no variation does not mean that there is none."""
NO_SPREAD = 1e-9
"""An sd below this, of a measure that is no rate, is rounding."""
FLOOR_IN_SD = 0.2
"""The floor of the smallest effect of interest for a measure that is no rate, in between-cluster sd."""
LARGEST_RATE = 0.95
WIDEST_NATS = 3.0
"""No way out of a refused equivalence names a wider margin in nats: odds 20 times as high are not alike."""
SPREAD_LEFT = 0.5
"""Of a pilot's spread so much is taken to be there again, where it matters whether any is."""
STEP = 1.05
"""Larger smallest effects are tried in steps of so much."""
STEPS = 100
WAY_OUT = "a way out: "


class Pilot(NamedTuple):
    """What a pilot showed."""

    upper: float
    """Upper 80 % limit of the sd between clusters."""
    items: int
    """Prompts a cluster that it was seen with."""


class Room(NamedTuple):
    """The unseen prompts that no test has used."""

    templates: int
    per_template: int
    """Different prompts that each of these templates has left, at least."""


def placebos_needed(alpha: float) -> int:
    """Return the fewest placebos among which a rank can reach alpha."""
    return math.ceil(1 / alpha - 1e-9) - 1


class Gate:
    """One prediction before its gates, with its share of alpha and, where its form has one, its pilot."""

    def __init__(self, prediction: Prediction, alpha: float, pilot: Pilot | None) -> None:
        self.prediction, self.alpha, self.pilot = prediction, alpha, pilot

    def changed(self, **changes: float) -> Gate:
        """Return the gate of the prediction with some numbers changed, on the same pilot."""
        return Gate(self.prediction.model_copy(update=changes), self.alpha, self.pilot)

    def seen_sd(self) -> float | None:
        """Return the sd between clusters with the registered number of prompts in each, as the pilot shows it.

        Half of the variance is taken to lie between templates, which more prompts do not reduce.
        """
        if self.pilot is None:
            return None
        return self.pilot.upper * math.sqrt(
            0.5 + 0.5 * self.pilot.items / self.prediction.per_cluster
        )

    def sd(self) -> float | None:
        """Return the sd between clusters that power is computed from: the pilot's, and not too small."""
        seen = self.seen_sd()
        return None if seen is None else max(seen, SMALLEST_SD[unit(self.prediction.measure)])

    def power(self) -> float | None:
        """Return the power at the smallest effect of interest; None for a form that has no pilot."""
        sd, prediction = self.sd(), self.prediction
        if sd is None:
            return None
        size, clusters = prediction.smallest_effect, prediction.clusters
        if prediction.form == "equivalence":
            return power_tost(size, sd, clusters, self.alpha)
        return power_sign_flip(size, sd, clusters, self.alpha, "greater")

    def faults(self, available: int) -> Iterator[str]:
        """Yield one line for each reason why it could not succeed; `available` templates are unseen."""
        unlikely = smallest_p_fault(self.prediction, self.seen_sd(), self.alpha)
        if unlikely is not None:
            yield unlikely
        floor = self.floor()
        if self.prediction.smallest_effect < floor:
            yield (
                f"the smallest effect of interest must be at least {FLOOR_IN_SD} sd, here {floor:.3g}"
            )
        power, sd, size = self.power(), self.sd(), self.prediction.smallest_effect
        # Where no p is small enough there is no power either: that is one fault.
        if power is None or sd is None or power >= POWER or (unlikely is not None and not power):
            return
        if self.prediction.form == "equivalence":
            yield (
                f"power {power:.2f} to show equivalence within {size:g} (sd {sd:.3g}, "
                f"{self.prediction.clusters} clusters)"
            )
            return
        needed = clusters_needed(size, sd, self.alpha, POWER, maximum=400, alternative="greater")
        yield (
            f"power {power:.2f} at the smallest effect of interest {size:g} (sd {sd:.3g}, "
            f"{self.prediction.clusters} clusters, alpha {self.alpha:.4g}); 0.80 needs "
            f"{needed or 'more than 400'} clusters (there are {available}), more items per cluster, "
            "more samples, or a larger smallest effect"
        )

    def floor(self) -> float:
        """Return the least smallest effect of interest that the pilot's spread allows."""
        sd, prediction = self.sd(), self.prediction
        if sd is None or is_rate(prediction.measure) or prediction.form == "equivalence":
            return 0.0
        return FLOOR_IN_SD * sd

    def passes(self) -> bool:
        """Say whether it would be accepted, with a little power to spare."""
        power, seen = self.power(), self.seen_sd()
        # Where a pilot saw little spread, the next one and the confirmation may see none.
        least = seen and seen * SPREAD_LEFT
        return (
            smallest_p_fault(self.prediction, least, self.alpha) is None
            and self.prediction.smallest_effect >= self.floor()
            and (power is None or power >= AIM)
        )

    def way_out(self, room: Room) -> str:
        """Return one change that would pass, in numbers that an investigator can put in."""
        return WAY_OUT + (
            self.change(room)
            or f"none with this measure and these arms on the {room.templates} unseen templates that are left"
        )

    def change(self, room: Room) -> str | None:
        """Return the numbers of one change that would pass; None where there is none."""
        match self.prediction.form:
            case "rank" | "localisation":
                return self._more_placebos()
            case "existence":
                return self._smaller_share(room)
            case _:
                return self._larger_design(room) or self._larger_effect(room)

    def _more_placebos(self) -> str | None:
        needed = placebos_needed(self.alpha)
        if len(self.prediction.placebos) >= needed:
            return None
        if self.prediction.form == "rank" and self.prediction.treatment.intervention is not None:
            return f'`draw_placebos` {{"count": {needed}}} in place of `placebos`'
        runner_up = ", or a `difference` from the runner-up, which needs none"
        return f"{needed} placebos{runner_up if self.prediction.form == 'rank' else ''}"

    def _smaller_share(self, room: Room) -> str | None:
        share = self.prediction.smallest_effect
        for clusters in range(2, room.templates + 1):
            if self.changed(clusters=clusters).passes():
                reached = stats.existence_p(clusters, clusters, share)
                return f"clusters {clusters} could reach p {reached:.2g}"
        if room.templates < 2:
            return None
        share = math.floor(100 * self.alpha ** (1 / room.templates)) / 100
        if (
            share >= SMALLEST_POINTS
            and self.changed(clusters=room.templates, smallest_effect=share).passes()
        ):
            return f"clusters {room.templates} with smallest_effect {share:g}"
        return None

    def _larger_design(self, room: Room) -> str | None:
        """Return the smallest number of prompts a template, and then of templates, that passes."""
        asked = self.prediction.per_cluster
        sizes = sorted({min(asked, room.per_template), room.per_template, 4, 8, 16, 32, 64})
        for per_cluster in (size for size in sizes if 0 < size <= room.per_template):
            if per_cluster < min(asked, room.per_template):
                continue
            for clusters in range(
                min(self.prediction.clusters, room.templates), room.templates + 1
            ):
                changed = self.changed(clusters=clusters, per_cluster=per_cluster)
                if clusters > 1 and changed.passes():
                    return f"clusters {clusters} and per_cluster {per_cluster} {changed.told()}"
        return None

    def _larger_effect(self, room: Room) -> str | None:
        """Return the least larger smallest effect that passes on all that is left."""
        if room.templates < 2:
            return None
        most = max(min(self.prediction.per_cluster, room.per_template), room.per_template)
        wide = self.changed(clusters=room.templates, per_cluster=most)
        limit, same = math.inf, self.prediction.form == "equivalence"
        if is_rate(self.prediction.measure):
            limit = WIDEST_MARGIN if same else LARGEST_RATE
        elif same and unit(self.prediction.measure) == "nats":
            limit = WIDEST_NATS
        for step in range(1, STEPS + 1):
            size = float(f"{self.prediction.smallest_effect * STEP**step:.2g}")
            if size > limit:
                return None
            if wide.changed(smallest_effect=size).passes():
                design = self.changed(smallest_effect=size)._larger_design(room)
                return design and f"smallest_effect {size:g}, {design}"
        return None

    def told(self) -> str:
        """Return what the pilot promises of a design."""
        return f"would have power {self.power() or 0.0:.2f}"


def smallest_p_fault(prediction: Prediction, seen: float | None, alpha: float) -> str | None:
    """Return a line when the smallest p that the form can reach exceeds alpha, with what it needs.

    `seen` is the sd between clusters that a pilot showed: without any an equivalence is hard to tell from a
    sample that happened to miss the templates that differ.
    """
    if prediction.form in ("rank", "localisation"):
        drawn = prediction.draw_placebos
        if drawn is not None and drawn.count is None:
            return None
        count = len(prediction.placebos) if drawn is None else drawn.count or 0
        smallest, hint = 1 / (count + 1), f"{placebos_needed(alpha)} placebos"
    elif prediction.form == "existence":
        clusters = prediction.clusters
        smallest = stats.existence_p(clusters, clusters, prediction.smallest_effect)
        hint = "more clusters or a smaller share"
    elif prediction.form == "equivalence":
        bound, margin = largest_effect(prediction), prediction.smallest_effect
        # A rate may be 0 or 1 in every template of the next sample; of other measures, alike is alike.
        if seen is None or seen > (SMALLEST_SD["points"] if bound else NO_SPREAD):
            return None
        smallest = stats.tost_p([0.0] * prediction.clusters, margin, bound=bound)
        hint = "some spread between templates"
        if bound:
            hint = f"{math.ceil(math.log(alpha) / math.log(1 - margin / bound))} clusters"
    else:
        smallest = stats.sign_flip_smallest_p(prediction.clusters, "greater")
        hint = f"{math.ceil(math.log2(1 / alpha))} clusters"
    if smallest <= alpha:
        return None
    return f"the smallest p this could reach is {smallest:.4g}, above its alpha {alpha:.4g}; it needs {hint}"
