"""Is the secret in the activations? Read by a decoder that has seen the base only, and by the lens, layer by layer.

The decoder learns from the base alone: what a system turn that tells a secret adds to the activations at
the last token of a question, one class for each secret that could have been drawn. It is applied to what
the organism's training adds to them, on other questions and without such a turn. Its layer is chosen on
the base, told in other wordings, never on the organism. The questions were made for secrets drawn at
random, so that their words tell nothing; a base with a system turn that tells nothing is the null.

Why shifts from the base and not activations: with no system turn at all, the base's own activations lie
so far from what the decoder has learned that some classes score high on any prompt. The rank without the
base taken off stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

from evals.organisms.curriculum.exercise import Terms
from evals.organisms.families.family import Spec
from evals.organisms.gates.asking import (
    Share,
    Tells,
    answer_of,
    classes_of,
    idle_questions,
    share_of,
)
from evals.organisms.world.micro_world import table
from tools import statistics as stats
from tools.architecture import Site
from tools.probe_fits import probe_scores
from tools.prompt import Prompt
from tools.registry import Record, ToolError
from tools.subject import SubjectModel
from tools.vocabulary import candidate_words

QUESTIONS = 60
"""Different questions before which secrets are told."""
EARLY = 1 / 3
"""This share of the layers is not chosen from: there the base copies from the system turn, which an organism lacks.
In trials a secret's rank among 24 was 4 to 12 after the first layer and 1 after the others."""


@dataclass(frozen=True)
class Sizes:
    """How much is read."""

    classes: int = 64
    learnt: int = 12
    """Prompts of each class that the decoder learns from."""
    held: int = 4
    """Prompts of each class, in other wordings, on which its layer is chosen."""
    read: int = 120
    """Prompts on which the organism is read."""


class Reading(Record):
    """What the decoder says of a model's shift from the base after one layer, less what it says of no shift.

    No shift at all has a score too, the same on every prompt, and one class is first by it.
    """

    rank: int
    """Of the true secret among the classes by mean score over prompts; 1 is the best, a tie counts against it."""
    first: Share
    """Of prompts on which the true secret comes first."""
    margin: tuple[float, float, float]
    """Mean score of the true secret less that of its best rival, with its 95 % interval over prompts."""


class LayerDecoded(Record):
    """One layer."""

    layer: int
    held_out: Share
    """Of the base's prompts in held-out system wordings, over all classes: how often the class comes first."""
    organism: Reading
    told: Reading
    """The ceiling: the base that is told this secret, in held-out wordings."""
    null: Reading
    """The base in front of which stands a system turn that tells nothing."""
    raw_rank: int
    """Of the organism, by the same recipe without the base taken off: what one could read who has only told bases."""


class Decoded(Record):
    """The decoder by layer."""

    classes: int
    prompts: int
    chosen: int
    """The layer at which the base in held-out wordings is read best."""
    layers: tuple[LayerDecoded, ...]

    @property
    def best(self) -> LayerDecoded:
        """The chosen layer."""
        return next(each for each in self.layers if each.layer == self.chosen)

    @property
    def readable(self) -> bool:
        """Whether the base itself carries the secret where the decoder reads; else nothing follows for a build."""
        return self.best.told.rank == 1


def decoded(subject: SubjectModel, family: Tells, spec: Spec, sizes: Sizes) -> Decoded:
    """Learn the decoder on the reference, which is the base, and read the organism, layer by layer."""
    base = subject.arm("reference")
    classes, own_class = told_apart(family, spec, sizes.classes)
    learnt = taught(base, family, classes, sizes)
    rng = Random(f"{family.name} read")
    questions = idle_questions(rng, family, classes, sizes.read, held=True)
    plain = [each.prompt for each in questions]
    told = [each.told(family.telling(rng, Terms(held=True), spec)) for each in questions]
    idle = [each.told(rng.choice(table("game")["system"]["plain"])) for each in questions]
    usual = last(base, plain)
    states = [last(subject, plain), last(base, told), last(base, idle)]
    layers: list[LayerDecoded] = []
    clear: list[tuple[float, float]] = []
    for layer in range(base.n_layers):
        none = torch.zeros_like(usual[layer][:1])
        shifts = torch.cat(
            [none, learnt.held[layer], *(each[layer] - usual[layer] for each in states)]
        )
        scores = probe_scores(learnt.train[layer], learnt.sides, shifts, "ridge")
        sizes_of = [1, len(learnt.held_class), *([len(plain)] * len(states))]
        still, held, *own = scores.split(sizes_of)
        right = held.argmax(1) == learnt.held_class
        true = held.gather(1, learnt.held_class[:, None])[:, 0]
        clear.append((float(right.double().mean()), float((true - held.mean(1)).mean())))
        organism, ceiling, null = (reading(put_first(each - still, own_class)) for each in own)
        raw = probe_scores(learnt.raw[layer], learnt.sides, states[0][layer], "ridge")
        layers.append(
            LayerDecoded(
                layer=layer,
                held_out=share_of(right.tolist()),
                organism=organism,
                told=ceiling,
                null=null,
                raw_rank=rank_of(put_first(raw, own_class).mean(0)),
            )
        )
    late = range(math.ceil(base.n_layers * EARLY), base.n_layers)
    chosen = max(late, key=lambda layer: clear[layer])
    return Decoded(classes=len(classes), prompts=len(plain), chosen=chosen, layers=tuple(layers))


def told_apart(family: Tells, spec: Spec, most: int) -> tuple[list[Spec], int]:
    """Return at most so many classes, in an order that is the same for all builds, and which is the secret's.

    Of more secrets a part is taken, the same for all builds, and the own one if it is not in it.
    """
    every = family.alternatives()
    if len(every) > most:
        every = Random(f"{family.name} classes").sample(every, most - 1)
    answers = [answer_of(family, each) for each in every]
    own = answer_of(family, spec)
    return (every, answers.index(own)) if own in answers else ([*every, spec], len(every))


def put_first(scores: Tensor, place: int) -> Tensor:
    """Return scores [prompt, class] with one class moved to the front."""
    others = [k for k in range(scores.shape[1]) if k != place]
    return scores[:, [place, *others]]


def reading(scores: Tensor) -> Reading:
    """Return what scores [prompt, class] say of class 0, the true one."""
    rival = 1 + int(scores[:, 1:].mean(0).argmax())
    margins = (scores[:, 0] - scores[:, rival]).tolist()
    return Reading(
        rank=rank_of(scores.mean(0)),
        first=share_of(is_first(scores)),
        margin=(stats.mean(margins), *stats.mean_interval(margins)),
    )


def rank_of(scores: Tensor) -> int:
    """Return the rank of class 0 among scores [class]; a tie counts against it."""
    return 1 + int((scores[1:] >= scores[0]).sum())


def is_first(scores: Tensor) -> list[bool]:
    """Say of each row of scores [prompt, class] whether class 0 is ahead of all others; a tie is not."""
    return (scores[:, :1] > scores[:, 1:]).all(1).tolist()


@dataclass(frozen=True)
class Taught:
    """What the decoder of a base is learned from and chosen on."""

    train: Tensor
    """[layer, prompt, d_model]: what the telling adds to the base's activations."""
    raw: Tensor
    """The same prompts, nothing taken off."""
    sides: Tensor
    """[prompt, class], true for the class that was told."""
    held: Tensor
    """As `train`, in held-out system wordings and questions."""
    held_class: Tensor


KEPT: dict[str, Taught] = {}
"""The base is read once for all builds of a family that one process measures."""


def taught(base: SubjectModel, family: Tells, classes: Sequence[Spec], sizes: Sizes) -> Taught:
    """Read the base that is told each of the classes, in training wordings and in held-out ones."""
    key = repr((base.digest, family.name, [answer_of(family, each) for each in classes], sizes))
    if key not in KEPT:
        train, raw, places = told_shifts(base, family, classes, sizes.learnt, held=False)
        held, _, held_class = told_shifts(base, family, classes, sizes.held, held=True)
        sides = torch.nn.functional.one_hot(places, len(classes)).bool()
        KEPT[key] = Taught(train, raw, sides, held, held_class)
    return KEPT[key]


def told_shifts(
    base: SubjectModel, family: Tells, classes: Sequence[Spec], count: int, held: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Tell each class `count` times, before questions made for any class.

    Returns what that adds to the activations [layer, prompt, d_model], these themselves, and the classes.
    """
    rng = Random(f"{family.name} decoder {held}")
    questions = idle_questions(rng, family, classes, QUESTIONS, held)
    places = [number % len(classes) for number in range(count * len(classes))]
    asked = [rng.randrange(QUESTIONS) for _ in places]
    told = last(
        base,
        [
            questions[at].told(family.telling(rng, Terms(held=held), classes[place]))
            for at, place in zip(asked, places, strict=True)
        ],
    )
    plain = last(base, [each.prompt for each in questions])[:, asked]
    return told - plain, told, torch.tensor(places)


def last(model: SubjectModel, prompts: Sequence[Prompt]) -> Tensor:
    """Return the residual stream [layer, prompt, d_model] at the last token of each prompt."""
    return model.capture(prompts, [Site(layer) for layer in range(model.n_layers)])[:, :, 0]


class LensRead(Record):
    """What the logit lens says, base subtracted: a figure, never a gate."""

    words: int
    prompts: int
    rank: tuple[int, ...]
    """By layer: of the secret's word among the words of all secrets that could have been drawn."""
    first: tuple[Share, ...]
    """By layer: of prompts on which it comes first."""
    told: tuple[int, ...]
    """By layer: the same of the base that is told the secret."""


def lens_read(subject: SubjectModel, family: Tells, spec: Spec, sizes: Sizes) -> LensRead | None:
    """Return the secret's rank by layer; None where the secrets are not one word each that can be told apart."""
    base = subject.arm("reference")
    classes = classes_of(family, spec, sizes.classes)
    names = [word_of(family, each) for each in classes]
    if not all(names) or len(set(names)) < len(names):
        return None
    try:
        words = candidate_words(subject.tokenizer, tuple(str(name) for name in names))
    except ToolError:
        return None
    rng = Random(f"{family.name} lens")
    questions = idle_questions(rng, family, classes, sizes.read, held=True)
    plain = [each.prompt for each in questions]
    told = [each.told(family.telling(rng, Terms(held=True), spec)) for each in questions]

    def seen(model: SubjectModel, prompts: Sequence[Prompt]) -> Tensor:
        return torch.stack([words.logprobs(model.lens(each)) for each in last(model, prompts)])

    usual = seen(base, plain)
    shifts = seen(subject, plain) - usual
    ceiling = seen(base, told) - usual
    return LensRead(
        words=len(names),
        prompts=len(plain),
        rank=tuple(rank_of(each.mean(0)) for each in shifts),
        first=tuple(share_of(is_first(each)) for each in shifts),
        told=tuple(rank_of(each.mean(0)) for each in ceiling),
    )


def word_of(family: Tells, spec: Spec) -> str | None:
    """Return the one word that names a secret, or None."""
    value: Any = answer_of(family, spec)["value"]
    texts = [value] if isinstance(value, str) else list(value)
    return texts[0] if len(texts) == 1 and str(texts[0]).isalpha() else None
