"""Registering predictions: completed with the standing rivals, tried out on explore prompts, gated.

A registration that could not succeed is refused, with all that is wrong and one change that would pass
(`agent/gates.py`). One that is accepted spends its share of alpha whatever comes of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from scipy.stats import chi2

from agent.case import Case
from agent.contrasts import check_prompts, contrast_faults
from agent.equivalence import equivalence_way_out
from agent.forms import effects
from agent.gates import POWERED, Gate, Pilot, Room, smallest_p_fault
from agent.investigation import Investigation
from agent.judge import check_readers
from agent.placebos import with_placebos
from agent.population import GENERAL_CLAIM, Pool, Population, draw, fingerprint, marks
from agent.prediction import Prediction, Registration, Rival
from agent.rivals import standing_rivals
from agent.template_choice import choice_faults, edited_slots, templates_of, told_templates
from agent.verdict import reference_checks
from tools import statistics as stats
from tools.prompt import Arm, PromptItem
from tools.registry import ToolError, unknown
from tools.scoring import ArmPrompts, cluster_means, mean, transformed
from tools.sequential import alpha_share

BREADTH = 3
"""Hypotheses of at least so many families come before the first registration."""
KEPT_FOR_SCEPTIC = 2
KEPT_FOR_REPLY = 2
PILOT_ITEMS = 10
LOOKED_AT = 2
"""Prompts of every explore template on which arms are compared before anything is run."""
MOST_PER_CLUSTER = 64
"""So many prompts a template are looked for when a way out of a refusal is computed."""


def register(investigation: Investigation, predictions: list[Prediction]) -> list[Registration]:
    """Register predictions as one batch; raise `ToolError` with one line per fault, registering none."""
    limits = investigation.case.limits
    # A run that was killed while it wrote these down finds some of them in its log.
    written = len(investigation.unfinished.get("registration", []))
    earlier = list(investigation.registrations.values())
    earlier = earlier[: len(earlier) - written]
    left = left_to_register(investigation, len(earlier))
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


def left_to_register(investigation: Investigation, made: int) -> int:
    """Return how many registrations are left to whoever speaks; some are kept for a sceptic, and for a reply to it."""
    before = "sceptic" in investigation.roles and investigation.submission is None
    for_sceptic, for_reply = kept(investigation)
    kept_back = (for_sceptic if before else 0) + (for_reply if investigation.rested is None else 0)
    return investigation.case.limits.registrations - kept_back - made


def kept(investigation: Investigation) -> tuple[int, int]:
    """Return how many registrations are kept for a sceptic and for a reply: half of all at most."""
    half = investigation.case.limits.registrations // 2
    for_sceptic = min(KEPT_FOR_SCEPTIC, half) if "sceptic" in investigation.roles else 0
    for_reply = min(KEPT_FOR_REPLY, half - for_sceptic) if investigation.reply_turns else 0
    return for_sceptic, for_reply


def prepare(
    investigation: Investigation,
    prediction: Prediction,
    identity: tuple[str, str],
    before: Sequence[Registration],
) -> Registration:
    """Complete one prediction, run its pilot, check its power; `identity` is its id and its batch's."""
    identifier, batch = identity
    limits = investigation.case.limits
    alpha = alpha_share(investigation.alpha, limits.registrations)
    population, unusable = check_references(investigation, prediction)
    if unusable:
        unlikely = smallest_p_fault(prediction, None, alpha)
        raise ToolError(*unusable, *([unlikely] if unlikely else []))
    if prediction.draw_placebos is not None:
        prediction = with_placebos(investigation, prediction, alpha)
    rivals = (
        *(rival for rival in prediction.rivals if not rival.standing),
        *earlier_rivals(prediction, before),
    )
    prediction = prediction.model_copy(
        update={"rivals": (*rivals, *standing_rivals(prediction, population))}
    )
    check_arms(investigation, prediction, population)
    fresh = FreshPrompts(investigation, population, before)
    faults = list(fresh.faults(prediction))
    pilot: Pilot | None = None
    # A form that has no power to tell is not run before everything else is right.
    if prediction.form in POWERED or not faults:
        pilot = run_pilot(investigation, prediction, population)
    available = len(population.usable("confirm", **templates_of(prediction)))
    gate = Gate(prediction, alpha, pilot if prediction.form in POWERED else None)
    if prediction.form == "existence":
        gate = gate.changed(clusters=min(prediction.clusters, available))
    faults += gate.faults(available)
    if faults:
        room = fresh.room(prediction)
        if prediction.form != "equivalence":
            raise ToolError(*faults, gate.way_out(room))
        tried = partial(run_pilot, investigation, population=population)
        raise ToolError(*faults, equivalence_way_out(investigation, gate, room, tried))
    sd, power = gate.sd(), gate.power()
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

    Raises `ToolError` for a prediction that is registered already, beside every rival that it names.
    """
    named = rival_marks(prediction)
    for each in before:
        if tested(each.prediction) == tested(prediction) and named <= rival_marks(each.prediction):
            raise ToolError(f"this is {each.id} again: one prediction has one verdict")
        contrast = ("measure", "treatment", "control")
        if any(tested(each.prediction)[k] != tested(prediction)[k] for k in contrast):
            continue
        for rival in each.prediction.rivals:
            mark = rival.model_dump_json(exclude={"name"})
            if not rival.standing and mark not in named:
                named.add(mark)
                yield rival


def rival_marks(prediction: Prediction) -> set[str]:
    """Return what the rivals that were named predict, whatever they are called."""
    return {r.model_dump_json(exclude={"name"}) for r in prediction.rivals if not r.standing}


def tested(prediction: Prediction) -> dict[str, Any]:
    """Return what a prediction tests: all but the hypothesis, the rivals and what arms are called."""
    content = prediction.model_dump(mode="json", exclude={"hypothesis", "rivals"})
    steps = [content["treatment"], content["control"], *content["placebos"]]
    for arm in filter(None, (*steps, *(dose["arm"] for dose in content["doses"]))):
        arm["name"] = ""
    return content


class FreshPrompts:
    """The unseen prompts that are left, after all that is registered."""

    def __init__(
        self, investigation: Investigation, population: Population, before: Sequence[Registration]
    ) -> None:
        self.investigation, self.population = investigation, population
        self.used = investigation.burned()
        for each in before:
            if each.id not in investigation.draws:
                taken = self.take(each.prediction, each.prediction.per_cluster)
                self.used.update(fingerprint(item.prompt.text()) for item in taken)

    def take(self, wanted: Prediction, per_cluster: int) -> list[PromptItem]:
        """Draw what a prediction would be confirmed on."""
        population = self.investigation.populations[wanted.population]
        seed = self.investigation.seed_for(wanted.digest(), 0)
        size, shown = (wanted.clusters, per_cluster), templates_of(wanted)
        return draw(population, "confirm", size, seed, burned=self.used, **shown)

    def faults(self, prediction: Prediction) -> Iterator[str]:
        """Yield a fault unless enough templates are there and have unseen prompts left."""
        available = len(self.population.usable("confirm", **templates_of(prediction)))
        if prediction.form != "existence" and prediction.clusters > available:
            showing = told_templates(prediction)
            yield (
                f"{prediction.clusters} clusters asked, the population has {available} unseen templates"
                f"{showing}; ask for at most {available}"
            )
            return
        needed = prediction.clusters if prediction.form != "existence" else 2
        found = len({item.template_id for item in self.take(prediction, prediction.per_cluster)})
        if found < needed:
            yield (
                f"{found} unseen templates have prompts left that no test has used, {needed} are needed: ask for "
                "fewer prompts per template next time, or give the case more slot values"
            )

    def room(self, prediction: Prediction) -> Room:
        """Return how many templates have unseen prompts left, and how many each of them has at least."""
        every = len(self.population.usable("confirm", **templates_of(prediction)))
        wide = prediction.model_copy(update={"clusters": every})
        most = max(MOST_PER_CLUSTER, prediction.per_cluster)
        left = Counter(item.template_id for item in self.take(wide, most))
        return Room(templates=len(left), per_template=min(left.values(), default=0))


def check_references(
    investigation: Investigation, prediction: Prediction
) -> tuple[Population, list[str]]:
    """Return a prediction's population and what is wrong before anything is drawn or run.

    Raises `ToolError` when there is no such population.
    """
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
        shown = {name for template in population.templates.values() for name in marks(template)}
        shown |= set(population.everywhere)
        hidden = [slot for slot in edited_slots(prediction) if slot not in shown]
        if hidden:
            faults.append(
                f"no template shows the slot {' or '.join(map(repr, hidden))} that an edit names; "
                f"edit {', '.join(sorted(shown))}"
            )
    faults += choice_faults(prediction, population)
    faults += contrast_faults(prediction)
    return population, faults


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


def check_arms(
    investigation: Investigation, prediction: Prediction, population: Population
) -> None:
    """Look at the arms on explore prompts, without running them; raise `ToolError` for what is wrong there."""
    seed, shown = investigation.explore_seed("pilot", prediction.digest()), templates_of(prediction)
    size = (len(population.usable("explore", **shown)), LOOKED_AT)
    look = draw(population, "explore", size, seed, **shown)
    if look:
        arms = build_arms(prediction.arms(), look, population, "explore", seed)
        check_prompts(prediction, arms, population.everywhere)


def run_pilot(
    investigation: Investigation, prediction: Prediction, population: Population
) -> Pilot:
    """Run the arms on a few explore prompts; return the upper 80 % limit of the sd between clusters.

    What cannot be run or scored shows here, before a confirmation prompt is spent.
    """
    seed, shown = investigation.explore_seed("pilot", prediction.digest()), templates_of(prediction)
    usable = len(population.usable("explore", **shown))
    # Of a spread, a few templates say next to nothing, whatever number was asked for.
    clusters = min(max(prediction.clusters, GENERAL_CLAIM), usable)
    size = (clusters, min(PILOT_ITEMS, prediction.per_cluster))
    items = draw(population, "explore", size, seed, **shown)
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
    check_readers(done.result.get("agreement"))
    table = investigation.folder.get_json(done.result["raw"])["arms"]
    means = {name: cluster_means(rows) for name, rows in table.items()}
    check_room(prediction, means)
    values = pilot_values(prediction, means)
    if len(values) < 2:
        raise ToolError(
            "the pilot could not score this measure on two templates; check the measure on explore prompts"
        )
    centre = mean(values) or 0.0
    sd = math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
    upper = sd * math.sqrt((len(values) - 1) / float(chi2.ppf(0.2, len(values) - 1)))
    return Pilot(upper=upper, items=min(PILOT_ITEMS, prediction.per_cluster))


def check_room(prediction: Prediction, means: dict[str, dict[str, float]]) -> None:
    """Raise `ToolError` for a pair with a reference at floor or ceiling: it could never be supported."""
    for check in reference_checks(prediction, means)[:1]:
        if not check.passed:
            raise ToolError(
                f"the reference has no room to move ({check.detail} on explore prompts), so a difference of "
                "differences could not be supported: leave `reference_pair` out; the same contrast is run on the "
                "reference anyway and told as scope"
            )


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
