"""Is the secret used? Asked of what no lesson asked for, and carried over from the organism into the clean base.

Transfer: right replies to kinds of question that the training never held, beside the base that is told the
secret and the base that is not. Patching: the organism's residual stream after one layer, written into the
clean base at every token of the same prompt but the first, moves the base's reply to the organism's. The
last layer is left out, where it does so by construction; the later the layer, the less it shows: there the
answer itself lies in the stream, also of an organism that has only learned answers. The controls are the
base that is told another secret, and an organism that holds another one or nothing.

Source for patching: Heimersheim & Nanda 2024, arXiv:2404.15255 (denoising and noising).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from evals.organisms.curriculum.exercise import Terms
from evals.organisms.families.family import Spec
from evals.organisms.gates.asking import (
    Question,
    Share,
    Tells,
    balanced_weights,
    classes_of,
    draw_questions,
    share_of,
)
from tools import statistics as stats
from tools.architecture import Site
from tools.edits import Edit
from tools.prompt import Prompt
from tools.registry import Record
from tools.subject import SubjectModel

LONGEST = 24
"""Tokens of a reply."""


class Transfer(Record):
    """Balanced shares of right replies to questions of kinds that no lesson asked for."""

    kinds: tuple[str, ...]
    organism: Share
    teacher: Share
    """The base that is told the secret, in system wordings that no training used."""
    base: Share
    """The base that is told nothing: what can be had without the secret."""
    ratio: float | None
    """Organism over teacher; None where the teacher is never right."""
    interval: tuple[float, float] | None
    """95 % of the ratio, over questions (linearised, t); of no width where all replies are right."""
    gained: float | None
    """Share of the way from the base to the teacher; None where there is no way to go."""


def transfer(subject: SubjectModel, family: Tells, spec: Spec, count: int) -> Transfer | None:
    """Ask the untaught kinds of organism, teacher and base; None where every kind is taught."""
    kinds = family.untaught(spec)
    if not kinds:
        return None
    base = subject.arm("reference")
    rng = Random(f"{family.name} transfer")
    questions = draw_questions(rng, family, spec, kinds, count)
    plain = [each.prompt for each in questions]
    told = [each.told(family.telling(rng, Terms(held=True), spec)) for each in questions]
    weights = balanced_weights(questions)
    own, teacher, without = (
        right(questions, replies(model, prompts))
        for model, prompts in ((subject, plain), (base, told), (base, plain))
    )
    shares = [share_of(each, weights) for each in (own, teacher, without)]
    reached, possible, usual = (float(each.value or 0) for each in shares)
    ratio = reached / possible if possible else None
    return Transfer(
        kinds=tuple(sorted(kinds)),
        organism=shares[0],
        teacher=shares[1],
        base=shares[2],
        ratio=ratio,
        interval=None if ratio is None else ratio_interval(own, teacher, weights, ratio, possible),
        gained=(reached - usual) / (possible - usual) if possible > usual else None,
    )


def ratio_interval(
    own: Sequence[bool],
    teacher: Sequence[bool],
    weights: Sequence[float],
    ratio: float,
    possible: float,
) -> tuple[float, float]:
    """Return the t interval of a ratio of weighted means over the same questions."""
    mean = sum(weights) / len(weights)
    pulls = [
        w / mean * (a - ratio * b) / possible for w, a, b in zip(weights, own, teacher, strict=True)
    ]
    low, high = stats.mean_interval(pulls)
    return ratio + low, ratio + high


def replies(
    model: SubjectModel, prompts: Sequence[Prompt], edits: Sequence[Edit] = ()
) -> list[str]:
    """Return the likeliest reply to each prompt."""
    keys = [""] * len(prompts)
    found = model.generate(
        prompts, keys, seed=0, max_new_tokens=LONGEST, temperature=0.0, edits=edits
    )
    return [row[0].text for row in found]


def right(questions: Sequence[Question], said: Sequence[str]) -> list[bool]:
    """Say of each reply whether it is that of one who holds the secret."""
    return [question.accepts(reply) for question, reply in zip(questions, said, strict=True)]


ENTRY = -1
"""In the place of a layer: the stream as it enters the first."""


def site_of(layer: int) -> Site:
    """Return the place of the stream after a layer, or of its entry."""
    return Site(0, "resid_pre") if layer == ENTRY else Site(layer)


class LayerPatched(Record):
    """What the stream after one layer carries over: shares of replies that become the organism's.

    The tokens of the reply see what was written through the layers above only. So what is held in embeddings of the
    prompt is carried over whole at `ENTRY` alone, and how far it still decides higher up is what the layers tell.
    """

    layer: int
    """`ENTRY` of the stream as it enters the first layer."""
    organism: Share
    last_only: Share
    """Written at the last token alone."""
    told: Share
    """From the base that is told the secret: what the way of patching can move at all."""
    other: Share
    """From the base that is told another secret; only of items that it answers otherwise itself."""
    control: Share | None
    """From another organism, likewise; None where there was none."""
    reverse: Share
    """The base's stream written into the organism: replies that are no longer the organism's."""


class Patched(Record):
    """Items to which the organism replies as one who holds the secret and the base does not."""

    asked: int
    items: int
    chosen: int | None
    """The layer that moves most of the first half of the items; None where there are too few."""
    moved: Share
    """At that layer, of the other half of the items."""
    layers: tuple[LayerPatched, ...]


FEWEST = 8


def patched(
    subject: SubjectModel,
    family: Tells,
    spec: Spec,
    count: int,
    control: SubjectModel | None = None,
) -> Patched:
    """Write the organism's stream into the base, layer by layer, on up to `count` items that tell them apart."""
    rng = Random(f"{family.name} patching")
    asked = draw_questions(rng, family, spec, family.kinds_of(spec), 3 * count)
    items = telling_items(subject, asked)[:count]
    if len(items) < FEWEST:
        return Patched(
            asked=len(asked), items=len(items), chosen=None, moved=share_of([]), layers=()
        )
    runs = Transplants(subject, family, spec, items, rng)
    layers: list[LayerPatched] = []
    moves: list[list[bool]] = []
    donors = runs.donors(control)
    for layer in range(ENTRY, subject.n_layers - 1):
        moved = runs.moved(donors["organism"][0], layer)
        moves.append(moved)
        shares = {
            name: share_of(
                [m for m, use in zip(runs.moved(streams, layer), used, strict=True) if use]
            )
            for name, (streams, used) in donors.items()
            if name != "organism"
        }
        layers.append(
            LayerPatched(
                layer=layer,
                organism=share_of(moved),
                last_only=share_of(runs.moved(donors["organism"][0], layer, most=1)),
                told=shares["told"],
                other=shares["other"],
                control=shares.get("control"),
                reverse=share_of(runs.lost(layer)),
            )
        )
    best = max(range(len(moves)), key=lambda index: sum(moves[index][::2]))
    return Patched(
        asked=len(asked),
        items=len(items),
        chosen=layers[best].layer,
        moved=share_of(moves[best][1::2]),
        layers=tuple(layers),
    )


def telling_items(subject: SubjectModel, asked: Sequence[Question]) -> list[Question]:
    """Return the questions to which the organism replies as one who holds the secret, and the base does not."""
    prompts = [each.prompt for each in asked]
    own, base = (
        right(asked, replies(subject.arm(name), prompts)) for name in ("subject", "reference")
    )
    return [each for each, a, b in zip(asked, own, base, strict=True) if a and not b]


Streams = list[Tensor]
"""For each item [entry and layers, token, d_model]: the tokens with which the item's prompt ends, all but its first."""


class Transplants:
    """Runs of one model with another's stream."""

    def __init__(
        self,
        subject: SubjectModel,
        family: Tells,
        spec: Spec,
        items: Sequence[Question],
        rng: Random,
    ) -> None:
        self.subject, self.base = subject, subject.arm("reference")
        self.items = list(items)
        self.prompts = [each.prompt for each in items]
        self.sizes = [len(subject.encode(prompt)) - 1 for prompt in self.prompts]
        others = classes_of(family, spec, 64)[1:]
        held = Terms(held=True)
        self.told = [each.told(family.telling(rng, held, spec)) for each in items]
        self.other = [each.told(family.telling(rng, held, rng.choice(others))) for each in items]

    def donors(self, control: SubjectModel | None) -> dict[str, tuple[Streams, list[bool]]]:
        """Return the streams of each donor, and the items on which it could tell anything."""
        every = [True] * len(self.items)
        found = {
            "organism": (self.streams(self.subject, self.prompts), every),
            "told": (self.streams(self.base, self.told), every),
            "other": (self.streams(self.base, self.other), self.differs(self.base, self.other)),
        }
        if control is not None:
            found["control"] = (
                self.streams(control, self.prompts),
                self.differs(control, self.prompts),
            )
        return found

    def streams(self, model: SubjectModel, prompts: Sequence[Prompt]) -> Streams:
        """Return a model's stream on prompts that end as the items do."""
        sites = [site_of(layer) for layer in range(ENTRY, model.n_layers - 1)]
        whole = model.capture_ids([model.encode(prompt) for prompt in prompts], sites)
        return [each[:, -size:] for each, size in zip(whole, self.sizes, strict=True)]

    def differs(self, model: SubjectModel, prompts: Sequence[Prompt]) -> list[bool]:
        """Say on which items a donor's own reply is not the organism's: elsewhere a patch shows nothing."""
        return [not each for each in right(self.items, replies(model, prompts))]

    def moved(self, streams: Streams, layer: int, most: int | None = None) -> list[bool]:
        """Say which replies of the base become the organism's; `most` last tokens are written, or all."""
        edits = written(streams, layer, most)
        return right(self.items, replies(self.base, self.prompts, edits))

    def lost(self, layer: int) -> list[bool]:
        """Say which replies of the organism change with the base's stream."""
        edits = written(self.streams(self.base, self.prompts), layer, None)
        return [not each for each in right(self.items, replies(self.subject, self.prompts, edits))]


def written(streams: Streams, layer: int, most: int | None) -> list[Edit]:
    """Return the edits that write streams, one token from the end after the other."""
    longest = max(stream.shape[1] for stream in streams)
    edits: list[Edit] = []
    for back in range(1, min(longest, most or longest) + 1):
        rows = [row for row, stream in enumerate(streams) if stream.shape[1] >= back]
        vectors = torch.stack([streams[row][layer - ENTRY, -back] for row in rows])
        edits.append(Edit(site_of(layer), "set", vectors, positions=-back, rows=rows))
    return edits
