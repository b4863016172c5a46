"""Probe sweeps: what can be read linearly from which layer and position, beyond the surface and memory.

A probe is tried on templates and entities that it never saw, the place is chosen before the test, the
search over places is paid for by permutation, and what the words alone, the entities alone or the
embeddings alone would give stands beside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, field_validator
from torch import Tensor

from tools.architecture import Site
from tools.blobs import BlobStore
from tools.edits import save_direction
from tools.effects import Guard
from tools.experiment import Context, canonical_json
from tools.labels import Labelled, LabelledPrompts, labelled
from tools.measures import ProbeReading, WordClassifier, words
from tools.probe_fits import (
    METHODS,
    Method,
    auroc_columns,
    auroc_of,
    held_out_auroc,
    jackknife,
    probe_direction,
    probe_scores,
)
from tools.probe_split import Split, random_by_entity, shuffled, split_prompts
from tools.registry import Record, ToolError, tool
from tools.sequential import max_statistic_p
from tools.subject import SubjectModel

LEVEL = 0.05
CONTROL_TASKS = 20
BASELINE_WORDS = 40
MOST_NUMBERS = 10**9
"""Activations held at once; more prompts, layers and positions than that are refused."""


class ProbingArguments(LabelledPrompts):
    """Which prompts are positive, and where to look."""

    layers: tuple[int, ...] = Field(default=(), description="default: all")
    positions: tuple[int, ...] = Field(
        default=(-1, -2, -3, -4),
        min_length=1,
        description="from the end of the prompt, -1 the last token",
    )
    entity_slot: str | None = Field(
        default=None,
        description="slot whose values are held out; default: the label's, or the one that tells it best",
    )
    permutations: int = Field(default=200, ge=200, le=5000)

    @field_validator("positions")
    @classmethod
    def from_the_end(cls, positions: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse positions that are not counted from the end, or are given twice."""
        if max(positions) >= 0 or len(set(positions)) < len(positions):
            raise ValueError("count different positions from the end of the prompt: -1 is the last")
        return positions


class ProbedPlace(Record):
    """The best probe of one layer in the sweep."""

    layer: int
    position: int
    method: Method
    auroc: float
    """On held-out folds of the development prompts: 0.5 is chance."""
    p: float
    """Family-wise over the whole sweep, by permuted labels."""


class Baseline(Record):
    """What a probe of something else gives on the same test prompts."""

    name: str
    auroc: float


class ProbingResult(Record):
    """The one place that was chosen, its one test, and what stands against it."""

    reading: str
    chosen: ProbedPlace
    by_layer: tuple[ProbedPlace, ...]
    test_auroc: float
    """On prompts whose template and entity are both new."""
    interval: tuple[float, float] | None
    """95 %, jackknife over test templates."""
    test_prompts: int
    test_templates: int
    held_out: str
    baselines: tuple[Baseline, ...]
    advantage: float
    """Test AUROC less the best baseline's."""
    advantage_interval: tuple[float, float] | None
    memory: float | None
    """Mean AUROC for random labels of the entities, on new templates with known entities: what the
    probe could remember. None without entities."""
    selectivity: float | None
    """AUROC for the real labels on those prompts less `memory`."""
    direction: str
    """Blob reference, for `steer`, `ablate_direction` and a registered `probe_reading`."""
    measure: ProbeReading
    """Ready to register: positive arm against negative arm, less what the prompt's words say."""
    guards: tuple[Guard, ...]
    notes: tuple[str, ...]
    raw: str


@dataclass(frozen=True)
class Place:
    """One cell of the sweep."""

    layer: int
    position: int
    method: Method
    hidden: Tensor
    """[prompt, d_model]"""


@tool
def train_probes(subject: SubjectModel, args: ProbingArguments, context: Context) -> ProbingResult:
    """Sweep linear probes over layers and positions: where can a label be read, and is it more than words?

    Give a few hundred prompts of eight or more templates whose labels follow a slot, an edit, or two
    lists. Templates and entities of the test are new to the probe. Compare with the baselines: a label
    that bag-of-words reads as well is on the surface. Decodable does not mean used: steer or ablate
    the direction next, or register `measure` with form "skill" on a positive and a negative arm.
    """
    prompts = labelled(args)
    slot = args.entity_slot or (args.label.slot if args.label is not None else None)
    split = split_prompts(prompts, slot, context.seed)
    labels = torch.tensor([each.label for each in prompts])
    places = captured_places(subject, args, prompts)
    rng = random.Random(context.seed)
    null = [shuffled(prompts, split, rng) for _ in range(args.permutations)]
    columns = torch.stack([labels, *map(torch.tensor, null)], dim=1)
    grid = torch.stack(
        [sweep(place, columns, split, context, k / len(places)) for k, place in enumerate(places)]
    )
    ps = max_statistic_p(grid[:, 0].tolist(), grid[:, 1:].T.tolist())
    best = int(grid[:, 0].argmax())
    chosen = places[best]
    direction, threshold = probe_direction(
        chosen.hidden[split.development], labels[split.development], chosen.method
    )
    test = Test(split, labels, (chosen.hidden.double() @ direction.double()).tolist())
    beside = baselines(subject, args, prompts, split, labels)
    rivals = {name: test.auroc(scores) for name, scores in beside.items()}
    strongest = max(rivals, key=lambda name: rivals[name])
    advantage, around = test.difference(beside[strongest])
    auroc, interval = test.interval()
    memory, selectivity = control_task(chosen, split, labels, rng)
    shown = [probed(place, float(grid[k, 0]), ps[k]) for k, place in enumerate(places)]
    guards = (
        Guard(name="stands out of the whole sweep", passed=ps[best] <= LEVEL),
        Guard(name="above chance on new templates and entities", passed=interval is not None and interval[0] > 0.5),
        Guard(name=f"beats {strongest}", passed=around is not None and around[0] > 0),
        Guard(name="more than it could remember", passed=selectivity is None or selectivity > 0),
    )  # fmt: skip
    reference = save_direction(context.blobs, direction)
    return ProbingResult(
        reading=graded(guards, strongest),
        chosen=shown[best],
        by_layer=tuple(
            max((s for s in shown if s.layer == layer), key=lambda s: s.auroc)
            for layer in sorted({s.layer for s in shown})
        ),
        test_auroc=auroc,
        interval=interval,
        test_prompts=len(split.test),
        test_templates=len(split.test_templates),
        held_out="templates" + (f" and values of {split.slot!r}" if split.slot else ""),
        baselines=tuple(Baseline(name=name, auroc=value) for name, value in rivals.items()),
        advantage=advantage,
        advantage_interval=around,
        memory=memory,
        selectivity=selectivity,
        direction=reference,
        measure=ProbeReading(
            direction=reference,
            layer=chosen.layer,
            position=chosen.position,
            threshold=threshold,
            against=word_classifier(prompts, split, labels),
        ),
        guards=guards,
        notes=split.notes,
        raw=stored(context.blobs, shown, test, prompts, split),
    )  # fmt: skip


def captured_places(
    model: SubjectModel, args: ProbingArguments, prompts: Sequence[Labelled]
) -> list[Place]:
    """Return every cell of the sweep with its activations."""
    layers = args.layers or tuple(range(model.n_layers))
    numbers = len(prompts) * len(layers) * len(args.positions) * model.d_model
    if numbers > MOST_NUMBERS:
        raise ToolError(
            f"{numbers:.1e} activations at once, at most {MOST_NUMBERS:.0e}: name fewer layers, positions or prompts"
        )
    texts = [each.item.prompt for each in prompts]
    hidden = model.capture(texts, [Site(layer) for layer in layers], args.positions)
    return [
        Place(layer, position, method, hidden[k, :, p])
        for k, layer in enumerate(layers)
        for p, position in enumerate(args.positions)
        for method in METHODS
    ]


def sweep(place: Place, columns: Tensor, split: Split, context: Context, done: float) -> Tensor:
    """Return the AUROC of one cell for the real labels and every permutation of them."""
    context.progress(done, f"layer {place.layer}, position {place.position}")
    return held_out_auroc(place.hidden, columns, split.folds, place.method)


def probed(place: Place, auroc: float, p: float) -> ProbedPlace:
    """Return a cell as it is shown."""
    return ProbedPlace(
        layer=place.layer, position=place.position, method=place.method, auroc=auroc, p=p
    )


@dataclass(frozen=True)
class Test:
    """Scores of all prompts by the chosen probe, read off on the test prompts only."""

    split: Split
    labels: Tensor
    scores: list[float]

    def auroc(self, scores: Sequence[float]) -> float:
        """Return the test AUROC of any scores."""
        return auroc_of(self.labels.tolist(), scores, self.split.test)

    def interval(self) -> tuple[float, tuple[float, float] | None]:
        """Return the probe's test AUROC with its interval over test templates."""
        return jackknife(self._on(self.scores), self._clusters())

    def difference(self, scores: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
        """Return how much better the probe is than other scores, with its interval over test templates."""
        ours, theirs = self._on(self.scores), self._on(scores)
        return jackknife(lambda places: ours(places) - theirs(places), self._clusters())

    def _clusters(self) -> list[str]:
        return [self.split.templates[k] for k in self.split.test]

    def _on(self, scores: Sequence[float]) -> Callable[[list[int]], float]:
        labels = self.labels.tolist()
        return lambda places: auroc_of(labels, scores, [self.split.test[k] for k in places])


def baselines(
    model: SubjectModel,
    args: ProbingArguments,
    prompts: Sequence[Labelled],
    split: Split,
    labels: Tensor,
) -> dict[str, list[float]]:
    """Return the scores that probes of the words, of the entities and of the embeddings give all prompts."""
    texts = [each.item.prompt for each in prompts]
    features = {
        "the words of the prompt": indicators([set(words(text.text())) for text in texts]),
        "the slot values": indicators([set(each.item.slots.items()) for each in prompts]),
    }
    embedded = model.capture(texts, [Site(0, "resid_pre")], args.positions)[0]
    features["the embeddings at these positions"] = embedded.flatten(1)
    return {
        name: probe_scores(
            each[split.development], labels[split.development][:, None], each, "ridge"
        )[:, 0].tolist()
        for name, each in features.items()
    }


def indicators(sets: Sequence[set[object]]) -> Tensor:
    """Return which of all members each set has, [prompt, member]; one empty column without any."""
    known = sorted({member for each in sets for member in each}, key=repr)
    table = [[float(member in each) for member in known] or [0.0] for each in sets]
    return torch.tensor(table)


def control_task(
    place: Place, split: Split, labels: Tensor, rng: random.Random
) -> tuple[float | None, float | None]:
    """Return what the chosen probe remembers of random labels by entity, and by how much it knows more.

    Source: Hewitt & Liang 2019, arXiv:1909.03368 (selectivity).
    """
    tried = split.known_entities
    if split.entities is None or len({bool(labels[k]) for k in tried}) < 2:
        return None, None
    share = float(labels.double().mean())
    tasks = [random_by_entity(split, share, rng) for _ in range(CONTROL_TASKS)]
    columns = torch.stack([labels, *map(torch.tensor, tasks)], dim=1)
    learnt = split.development
    scores = probe_scores(place.hidden[learnt], columns[learnt], place.hidden[tried], place.method)
    found = auroc_columns(scores, columns[tried])
    memory = float(found[1:].mean())
    return memory, float(found[0]) - memory


def word_classifier(prompts: Sequence[Labelled], split: Split, labels: Tensor) -> WordClassifier:
    """Return the strongest words of the bag-of-words baseline as a frozen classifier of prompts."""
    sets = [set(words(each.item.prompt.text())) for each in prompts]
    known = sorted({word for k in split.development for word in sets[k]})
    table = torch.tensor([[float(word in each) for word in known] for each in sets])
    learnt, sides = table[split.development], labels[split.development]
    direction, _ = probe_direction(learnt, sides, "ridge")
    kept = direction.abs().argsort(descending=True)[:BASELINE_WORDS]
    sums = (learnt[:, kept] @ direction[kept]).double()
    threshold = float((sums[sides].mean() + sums[~sides].mean()) / 2)
    return WordClassifier(
        weights={known[k]: float(direction[k]) for k in kept.tolist()}, threshold=threshold
    )


def graded(guards: Sequence[Guard], strongest: str) -> str:
    """Return the strongest words that the guards allow; all of them are exploratory."""
    if all(guard.passed for guard in guards):
        return "linearly decodable (exploratory)"
    if guards[0].passed and guards[1].passed:
        failed = ", ".join(guard.name for guard in guards if not guard.passed)
        return f"decodable, and perhaps only from the surface (exploratory); not passed: {failed}"
    return "not shown to be decodable"


def stored(
    blobs: BlobStore,
    grid: Sequence[ProbedPlace],
    test: Test,
    prompts: Sequence[Labelled],
    split: Split,
) -> str:
    """Store the whole sweep, and the chosen probe's score of every test prompt."""
    rows = [
        {
            "id": prompts[k].item.id,
            "template_id": prompts[k].item.template_id,
            "label": prompts[k].label,
            "score": test.scores[k],
        }
        for k in split.test
    ]
    sweep_rows = [place.model_dump(mode="json") for place in grid]
    return blobs.put(canonical_json({"sweep": sweep_rows, "test": rows}).encode())
