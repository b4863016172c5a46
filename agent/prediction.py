"""A registered prediction: what would be seen, on which prompts, under which rule, before its data.

`Arm`s say what is compared. The registration hash covers every field, and the draw of the
confirmation prompts is seeded by it, so that a prediction cannot be changed after its prompts are
known and a changed prediction gets other prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from tools.experiment import canonical_json
from tools.measures import Measure, is_binary, is_rate
from tools.prompt import Arm
from tools.registry import Record

SMALLEST_POINTS = 0.10
"""The floor of the smallest effect of interest for a rate: ten percentage points."""

Form = Literal["difference", "equivalence", "rank", "trend", "localisation", "skill", "existence"]
Question = Literal["condition", "reference", "absolute"]

FAMILIES = (
    "wording",
    "format",
    "context and priority",
    "role and persona",
    "knowledge",
    "secret content",
    "user attribute",
    "trigger",
    "reasoning",
    "decoding and tokenisation",
    "training data",
    "same as the reference",
)


class Rival(Record):
    """Another explanation, and what it predicts.

    Either `arm`: the rival says this arm does the same as the treatment; or `predicts`: the range of
    the effect that the rival expects.
    """

    name: str = Field(min_length=1, max_length=200)
    arm: Arm | None = None
    predicts: tuple[float, float] | None = None
    standing: bool = False
    """True for the rivals that the harness adds by itself."""

    @model_validator(mode="after")
    def says_something(self) -> Rival:
        """Refuse a rival that predicts nothing."""
        if (self.arm is None) == (self.predicts is None):
            raise ValueError("a rival needs either `arm` or `predicts` [low, high]")
        if self.predicts is not None and self.predicts[0] > self.predicts[1]:
            raise ValueError("`predicts` is [low, high]: the first number is the lower one")
        return self


class Dose(Record):
    """One step of a trend."""

    dose: float
    arm: Arm


class TemplateChoice(Record):
    """Templates by the slots that they show."""

    showing: tuple[str, ...] = ()
    hiding: tuple[str, ...] = ()

    @model_validator(mode="after")
    def chooses(self) -> TemplateChoice:
        """Refuse a choice of nothing, and one that no template could meet."""
        if not self.showing and not self.hiding:
            raise ValueError(
                "`templates` needs `showing` or `hiding`; leave it out for all templates"
            )
        both = set(self.showing) & set(self.hiding)
        if both:
            raise ValueError(f"no template both shows and hides {min(both)!r}")
        return self


class PlaceboDraw(Record):
    """Asks the harness for the placebos of a `rank`: the treatment with other directions in place of its own."""

    count: int | None = Field(default=None, ge=2, le=2000)
    """Default: as many as your alpha needs."""
    kind: Literal["covariance", "isotropic"] = "covariance"
    """`covariance`: directions that vary as the activations on explore prompts do, the harder ones to beat."""
    experiment: int | None = Field(default=None, ge=1)
    """Instead: number of a `placebo_directions` call of yours, all of whose directions are taken."""


class Prediction(Record):
    """What an investigator registers. The verdict is computed from it and the data, by code."""

    hypothesis: str
    """Id of a proposed hypothesis, such as H1."""
    form: Form = "difference"
    """`difference` of two arms; `equivalence` within a margin; `rank` of the treatment among matched placebo arms
    (1 / alpha - 1 of them at least; `draw_placebos` has them made); `trend` over doses, also over a factor whose
    levels are steps of one thing: in a `difference` the steps between are rivals; `localisation` of a
    site among placebo sites; `skill` of a probe over its control; `existence` in a share of templates."""
    question: Question = "condition"
    """For the reader of the report: what makes this model do it (`condition`), what its training did (`reference`),
    how often (`absolute`). It changes no arm."""
    measure: Measure
    treatment: Arm
    control: Arm | None = None
    """What the treatment is compared with; the runner-up, for the first of a ranking."""
    reference_pair: bool = False
    """Also run treatment and control on the reference model and take the difference of differences. Seldom needed,
    and it takes more power: beside a plain difference the same contrast on the reference is run and told as scope."""
    placebos: tuple[Arm, ...] = ()
    """For `rank` and `localisation`: matched arms that the treatment has to beat."""
    # Never stored: what is registered, hashed and tested are the arms that come of it.
    draw_placebos: PlaceboDraw | None = Field(default=None, exclude=True)
    """For `rank` of a treatment that steers or ablates a direction, in place of `placebos`."""
    doses: tuple[Dose, ...] = ()
    """For `trend`: arms with their doses, three or more."""
    direction: Literal["more", "less"] = "more"
    smallest_effect: float = Field(gt=0)
    """Smallest effect of interest, in the measure's units (0.10 is ten points, the least for a rate: smaller ones
    are seen with `logprob_difference`); for `equivalence` the margin; for `existence` the share of templates that
    must show it."""
    population: str = "case"
    templates: TemplateChoice | None = Field(default=None, exclude_if=lambda choice: choice is None)
    """To test on templates that show, or do not show, some slots."""
    clusters: int = Field(default=12, ge=1, le=400)
    """Unseen templates to test on; the unit of the statistics. More of them tell most."""
    per_cluster: int = Field(default=16, ge=1, le=400)
    """Prompts a template, with other values in its slots; no more different ones than there are values."""
    samples: int = Field(default=1, ge=1, le=64)
    """Answers a prompt: more of them lessen the noise of sampling."""
    rivals: tuple[Rival, ...] = ()
    """Other explanations: an `arm` that would do the same as the treatment (of a `trend`, as its highest dose, and
    no step of it), or the range `predicts`. The harness adds standing ones by itself."""

    @model_validator(mode="after")
    def form_is_complete(self) -> Prediction:
        """Check what each form needs, and name all that is missing at once."""
        faults = list(self.missing())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def missing(self) -> Iterator[str]:
        """Yield what the registered form lacks."""
        needs_control = self.form in ("difference", "equivalence", "localisation", "skill")
        if needs_control and self.control is None:
            yield f"form {self.form!r} needs a `control` arm"
        drawn = self.draw_placebos is not None
        if drawn and (self.form != "rank" or self.placebos):
            yield "`draw_placebos` is for form 'rank', in place of `placebos`"
        if self.form in ("rank", "localisation") and len(self.placebos) < 2 and not drawn:
            yield f"form {self.form!r} needs `placebos`: matched arms to beat"
        if self.form == "trend" and len({dose.dose for dose in self.doses}) < 3:
            yield "form 'trend' needs at least three different doses"
        if self.form == "existence" and not (is_binary(self.measure) and self.smallest_effect < 1):
            yield "form 'existence' needs a measure of 0 and 1 and a share below 1"
        if is_rate(self.measure) and self.smallest_effect < SMALLEST_POINTS:
            yield "the smallest effect of interest is at least 0.10 (ten points) for a rate"
        if self.form not in ("equivalence", "existence") and not [
            r for r in self.rivals if not r.standing
        ]:
            like = "the highest dose" if self.form == "trend" else "the treatment"
            yield (
                "name at least one rival explanation and what it predicts: an `arm` that would do the same as "
                f"{like} by changing something else, or `predicts`, the range [low, high] of the effect that it expects"
            )

    def digest(self) -> str:
        """Return the registration hash over every field."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()

    def arms(self) -> dict[str, Arm]:
        """Return every arm to run, by the key its data are stored under."""
        arms = {"treatment": self.treatment}
        if self.control is not None:
            arms["control"] = self.control
        if self.reference_pair:
            for key in list(arms):
                arms[f"{key}_reference"] = arms[key].model_copy(update={"model": "reference"})
        arms |= {f"placebo_{k}": arm for k, arm in enumerate(self.placebos)}
        arms |= {f"dose_{k}": step.arm for k, step in enumerate(self.doses)}
        arms |= {
            f"rival_{k}": rival.arm for k, rival in enumerate(self.rivals) if rival.arm is not None
        }
        return arms


class Hypothesis(Record):
    """A claim of the investigator's, with its rivals in words and the confidence it starts with."""

    id: str
    claim: str
    family: str
    rivals: tuple[str, ...]
    prior: float = Field(ge=0, le=1)


class Registration(Record):
    """A prediction with its place in the run: what it may spend and when it was made."""

    id: str
    batch: str
    prediction: Prediction
    digest: str
    alpha: float
    """alpha / M, this registration's share; Holm works within the batch."""
    pilot_sd: float | None
    """Upper 80 % limit of the between-cluster sd in the pilot on explore prompts."""
    power: float | None
