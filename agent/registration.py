"""Registering predictions: completed with the standing rivals, tried out on explore prompts, gated.

A registration that could not succeed is refused with the number that would be needed. One that is
accepted spends its share of alpha whatever comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from scipy.stats import chi2

from agent.case import Case
from agent.contrasts import check_prompts, contrast_faults
from agent.forms import effects, largest_effect
from agent.investigation import Investigation
from agent.population import Pool, Population, draw, fingerprint, marks
from agent.prediction import Prediction, Registration, Rival
from agent.rivals import standing_rivals
from tools import statistics as stats
from tools.measures import is_binary, unit
from tools.power import clusters_needed, power_sign_flip, power_tost
from tools.prompt import Arm, ChooseLevel, FormatNumbers, PromptItem, SetSlot, SwapSlots
from tools.registry import ToolError, unknown
from tools.scoring import ArmPrompts, cluster_means, mean, transformed
from tools.sequential import alpha_share

BREADTH = 3
"""Hypotheses of at least so many families come before the first registration."""
PILOT_ITEMS = 10
LOOKED_AT = 2
"""Prompts of every explore template on which arms are compared before anything is run."""
POWER = 0.80
SMALLEST_SD = {"points": 0.05, "nats": 0.25, "words": 0.5}
"""A pilot that happens to show no variation does not mean that there is none."""
FLOOR_IN_SD = 0.2
"""The floor of the smallest effect of interest for a measure that is no rate, in between-cluster sd."""


def register(investigation: Investigation, predictions: list[Prediction]) -> list[Registration]:
    """Register predictions as one batch; raise `ToolError` with one line per fault, registering none."""
    limits = investigation.case.limits
    # A run that was killed while it wrote these down finds some of them in its log.
    written = len(investigation.unfinished.get("registration", []))
    earlier = list(investigation.registrations.values())
    earlier = earlier[: len(earlier) - written]
    left = limits.registrations - len(earlier)
    if len(predictions) > left:
        raise ToolError(
            f"{len(predictions)} registrations asked, {left} left of {limits.registrations}: "
            "each spends a share of alpha, also when it is abandoned"
        )
    families = {hypothesis.family for hypothesis in investigation.hypotheses.values()}
    if len(families) < BREADTH:
        raise ToolError(
            f"propose hypotheses of at least {BREADTH} families before registering (so far: "
            f"{', '.join(sorted(families)) or 'none'})"
        )
    made: list[Registration] = []
    batch = f"B{len({each.batch for each in earlier}) + 1}"
    faults: list[str] = []
    for number, prediction in enumerate(predictions, 1):
        before = (*earlier, *made)
        identity = (f"P{len(before) + 1}", batch)
        try:
            made.append(prepare(investigation, prediction, identity, before))
        except ToolError as error:
            if len(predictions) == 1:
                raise
            faults += [f"prediction {number}: {line}" for line in str(error).splitlines()]
    if faults:
        raise ToolError(*faults)
    for registration in made[written:]:
        investigation.record("registration", registration.model_dump(mode="json"), sync=True)
    return made


def prepare(
    investigation: Investigation,
    prediction: Prediction,
    identity: tuple[str, str],
    before: Sequence[Registration],
) -> Registration:
    """Complete one prediction, run its pilot, check its power; `identity` is its id and its batch's."""
    identifier, batch = identity
    population = check_references(investigation, prediction)
    rivals = (
        *(rival for rival in prediction.rivals if not rival.standing),
        *earlier_rivals(prediction, before),
    )
    prediction = prediction.model_copy(
        update={"rivals": (*rivals, *standing_rivals(prediction, population))}
    )
    check_fresh(investigation, prediction, before)
    limits = investigation.case.limits
    alpha = alpha_share(limits.alpha, limits.registrations)
    sd, power = None, None
    if prediction.form in ("difference", "equivalence", "trend", "skill"):
        sd = pilot_sd(investigation, prediction, population)
        power = check_power(prediction, sd, alpha, population)
    else:
        check_smallest_p(prediction, sd, alpha, population)
        pilot_sd(investigation, prediction, population)
    return Registration(
        id=identifier,
        batch=batch,
        prediction=prediction,
        digest=prediction.digest(),
        alpha=alpha,
        pilot_sd=sd,
        power=power,
    )


def earlier_rivals(prediction: Prediction, before: Sequence[Registration]) -> Iterator[Rival]:
    """Yield the rivals beside which the same contrast was registered before: none is dropped by asking again.

    Raises `ToolError` for a prediction that is registered already.
    """
    named = {rival.model_dump_json(exclude={"name"}) for rival in prediction.rivals}
    for each in before:
        if tested(each.prediction) == tested(prediction):
            raise ToolError(f"this is {each.id} again: one prediction has one verdict")
        contrast = ("measure", "treatment", "control")
        if any(tested(each.prediction)[k] != tested(prediction)[k] for k in contrast):
            continue
        for rival in each.prediction.rivals:
            mark = rival.model_dump_json(exclude={"name"})
            if not rival.standing and mark not in named:
                named.add(mark)
                yield rival


def tested(prediction: Prediction) -> dict[str, Any]:
    """Return what a prediction tests: all but the hypothesis, the rivals and what arms are called."""
    content = prediction.model_dump(mode="json", exclude={"hypothesis", "rivals"})
    steps = [content["treatment"], content["control"], *content["placebos"]]
    for arm in filter(None, (*steps, *(dose["arm"] for dose in content["doses"]))):
        arm["name"] = ""
    return content


def check_fresh(
    investigation: Investigation, prediction: Prediction, before: Sequence[Registration]
) -> None:
    """Raise `ToolError` unless enough templates have unseen prompts left, after all that is registered."""
    used = investigation.burned()

    def take(wanted: Prediction) -> set[str]:
        population = investigation.populations[wanted.population]
        size, slots = (wanted.clusters, wanted.per_cluster), edited_slots(wanted)
        seed = investigation.seed_for(wanted.digest(), 0)
        items = draw(population, "confirm", size, seed, burned=used, slots=slots)
        used.update(fingerprint(item.prompt.text()) for item in items)
        return {item.template_id for item in items}

    for each in before:
        if each.id not in investigation.draws:
            take(each.prediction)
    found = len(take(prediction))
    needed = prediction.clusters if prediction.form != "existence" else 2
    if found < needed:
        raise ToolError(
            f"{found} unseen templates have prompts left that no test has used, {needed} are needed: ask for "
            "fewer prompts per template next time, or give the case more slot values"
        )


def check_references(investigation: Investigation, prediction: Prediction) -> Population:
    """Check that what a prediction names exists; return its population."""
    faults: list[str] = []
    if prediction.hypothesis not in investigation.hypotheses:
        known = list(investigation.hypotheses) or ["none yet: call propose_hypothesis"]
        faults.append(unknown("hypothesis", prediction.hypothesis, known))
    population = investigation.populations.get(prediction.population)
    if population is None:
        raise ToolError(
            *faults, unknown("population", prediction.population, list(investigation.populations))
        )
    arms = prediction.arms()
    if (
        any(arm.model == "reference" for arm in arms.values())
        and investigation.case.reference is None
    ):
        faults.append("this case has no reference model: compare prompts, or give --reference")
    if prediction.form != "existence":
        slots = edited_slots(prediction)
        available = len(population.usable("confirm", slots))
        shown = {name for template in population.templates.values() for name in marks(template)}
        shown |= set(population.everywhere)
        hidden = [slot for slot in slots if slot not in shown]
        if hidden:
            faults.append(
                f"no template shows the slot {' or '.join(map(repr, hidden))} that an edit names; "
                f"edit {', '.join(sorted(shown))}"
            )
        elif prediction.clusters > available:
            showing = f" that show {', '.join(slots)}" if slots else ""
            faults.append(
                f"{prediction.clusters} clusters asked, the population has {available} unseen templates"
                f"{showing}; ask for at most {available}"
            )
    faults += contrast_faults(prediction)
    if faults:
        raise ToolError(*faults)
    return population


def edited_slots(prediction: Prediction) -> tuple[str, ...]:
    """Return the slots that treatment, control or doses edit: only templates that show them are clusters."""
    arms = [prediction.treatment, *([prediction.control] if prediction.control else [])]
    arms = [step.arm for step in prediction.doses] if prediction.form == "trend" else arms
    found: list[str] = []
    for edit in (edit for arm in arms for edit in arm.edits):
        match edit:
            case SetSlot() | ChooseLevel():
                found.append(edit.slot)
            case SwapSlots() | FormatNumbers():
                found += edit.slots
            case _:
                continue
    return tuple(dict.fromkeys(found))


def build_arms(
    arms: dict[str, Arm], items: list[PromptItem], population: Population, pool: Pool, seed: int
) -> dict[str, ArmPrompts]:
    """Return every arm with its edited prompts; beside a reference pair, each rival on the reference too.

    A rival that the reference shows as well explains no difference of differences.
    """
    choose = population.choose(pool, seed)
    if "treatment_reference" in arms:
        rivals = {f"{k}_reference": arm for k, arm in arms.items() if k.startswith("rival_")}
        arms = arms | {
            name: arm.model_copy(update={"model": "reference"}) for name, arm in rivals.items()
        }
    return {name: transformed(arm, items, choose) for name, arm in arms.items()}


def scoring_arguments(
    case: Case, prediction: Prediction, arms: dict[str, ArmPrompts]
) -> dict[str, Any]:
    """Return the raw arguments of `score_arms` for some arms of a prediction."""
    sampling = case.sampling
    return {
        "measure": prediction.measure.model_dump(mode="json"),
        "arms": {name: arm.model_dump(mode="json") for name, arm in arms.items()},
        "samples": prediction.samples,
        "max_new_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
    }


def pilot_sd(investigation: Investigation, prediction: Prediction, population: Population) -> float:
    """Run the arms on a few explore prompts; return the upper 80 % limit of the sd between clusters.

    It also shows every fault of the arms (a slot that is not there, a level that does not exist)
    before a confirmation prompt is spent.
    """
    seed = investigation.explore_seed("pilot", prediction.digest())
    slots = edited_slots(prediction)
    usable = len(population.usable("explore", slots))
    look = draw(population, "explore", (usable, LOOKED_AT), seed, slots=slots)
    if look:
        arms = build_arms(prediction.arms(), look, population, "explore", seed)
        check_prompts(prediction, arms, population.everywhere)
    clusters = min(prediction.clusters, usable)
    items = draw(
        population,
        "explore",
        (clusters, min(PILOT_ITEMS, prediction.per_cluster)),
        seed,
        slots=slots,
    )
    every = build_arms(prediction.arms(), items, population, "explore", seed)
    wanted = {name for name in every if not name.startswith(("rival_", "placebo_"))}
    if prediction.form == "trend":
        wanted -= {"treatment"}
    arguments = scoring_arguments(
        investigation.case, prediction, {name: every[name] for name in wanted}
    )
    _, done = investigation.run_experiment("score_arms", arguments, "pilot", seed)
    if done.error is not None or done.result is None:
        raise ToolError(f"the pilot failed: {done.error}")
    table = investigation.folder.get_json(done.result["raw"])["arms"]
    means = {name: cluster_means(rows) for name, rows in table.items()}
    smallest = SMALLEST_SD[unit(prediction.measure)]
    values = pilot_values(prediction, means)
    if len(values) < 2:
        raise ToolError(
            "the pilot could not score this measure on two templates; check the measure on explore prompts"
        )
    centre = mean(values) or 0.0
    sd = math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
    upper = sd * math.sqrt((len(values) - 1) / float(chi2.ppf(0.2, len(values) - 1)))
    return max(upper * item_share(prediction), smallest)


def pilot_values(prediction: Prediction, means: dict[str, dict[str, float]]) -> list[float]:
    """Return the pilot's effect per cluster, of the kind the registered form will test."""
    if prediction.form == "trend":
        doses = [step.dose for step in prediction.doses]
        arms = [means[f"dose_{k}"] for k in range(len(doses))]
        shared = [cluster for cluster in arms[0] if all(cluster in arm for arm in arms)]
        width = max(doses) - min(doses)
        return [
            width * stats.trend_slope(doses, [arm[cluster] for arm in arms]) for cluster in shared
        ]
    return list(effects(prediction, means).values())


def item_share(prediction: Prediction) -> float:
    """Return how much smaller the sd is with the registered items per cluster than in the pilot.

    Half of the variance is taken to lie between templates, which more items do not reduce.
    """
    pilot = min(PILOT_ITEMS, prediction.per_cluster)
    return math.sqrt(0.5 + 0.5 * pilot / prediction.per_cluster)


def check_power(prediction: Prediction, sd: float, alpha: float, population: Population) -> float:
    """Return the power at the smallest effect of interest; raise `ToolError` with the number needed."""
    size = prediction.smallest_effect
    if (
        not is_binary(prediction.measure)
        and prediction.form != "equivalence"
        and size < FLOOR_IN_SD * sd
    ):
        raise ToolError(
            f"the smallest effect of interest must be at least {FLOOR_IN_SD} sd, here {FLOOR_IN_SD * sd:.3g}"
        )
    check_smallest_p(prediction, sd, alpha, population)
    if prediction.form == "equivalence":
        power = power_tost(size, sd, prediction.clusters, alpha)
        if power < POWER:
            raise ToolError(
                f"power {power:.2f} to show equivalence within {size:g} (sd {sd:.3g}, {prediction.clusters} clusters): "
                "widen the margin, or take more items per cluster"
            )
        return power
    power = power_sign_flip(size, sd, prediction.clusters, alpha, "greater")
    if power < POWER:
        needed = clusters_needed(size, sd, alpha, POWER, maximum=400, alternative="greater")
        raise ToolError(
            f"power {power:.2f} at the smallest effect of interest {size:g} (sd {sd:.3g}, {prediction.clusters} "
            f"clusters, alpha {alpha:.4g}); 0.80 needs {needed or 'more than 400'} clusters (there are "
            f"{len(population.usable('confirm', edited_slots(prediction)))}), more items per cluster, "
            "more samples, or a larger smallest effect"
        )
    return power


def check_smallest_p(
    prediction: Prediction, sd: float | None, alpha: float, population: Population
) -> None:
    """Raise `ToolError` when the smallest p that the form can reach exceeds alpha."""
    if prediction.form in ("rank", "localisation"):
        smallest, hint = 1 / (len(prediction.placebos) + 1), f"{math.ceil(1 / alpha) - 1} placebos"
    elif prediction.form == "existence":
        clusters = min(prediction.clusters, len(population.usable("confirm")))
        smallest = stats.existence_p(clusters, clusters, prediction.smallest_effect)
        hint = "more clusters or a smaller share"
    elif prediction.form == "equivalence":
        if sd is not None and sd > SMALLEST_SD[unit(prediction.measure)]:
            return
        # The pilot showed next to no spread, so perhaps the confirmation will show none at all.
        bound, margin = largest_effect(prediction), prediction.smallest_effect
        smallest = stats.tost_p([0.0] * prediction.clusters, margin, bound=bound)
        enough = math.ceil(math.log(alpha) / math.log(1 - margin / bound)) if bound else 0
        hint = f"{enough} clusters, or a wider margin" if bound else "a measure with bounds"
    else:
        smallest = stats.sign_flip_smallest_p(prediction.clusters, "greater")
        hint = f"{math.ceil(math.log2(1 / alpha))} clusters"
    if smallest > alpha:
        raise ToolError(
            f"the smallest p this could reach is {smallest:.4g}, above its alpha {alpha:.4g}; it needs {hint}"
        )
