import json
import random
from typing import Any

import pytest
import torch

from agent.recount_sweeps import recount_sweep
from agent.sweeps import grid_of
from tests.planted_circuit import (
    CREATURES,
    KIND,
    MOVED,
    PLACES,
    VERDICT,
    basis,
    creature_items,
    kind,
    mood,
    planted_subject,
)
from tools.blobs import BlobStore
from tools.discrimination import auroc
from tools.edits import load_direction
from tools.experiment import Context
from tools.labels import LabelledPrompts, labelled
from tools.probe_fits import auroc_columns, jackknife, probe_direction, probe_scores
from tools.probe_split import is_constant, shuffled, split_prompts
from tools.probing import ProbingResult, train_probes
from tools.prompt import Arm, SetSlot
from tools.prompt_variation import from_own_items
from tools.registry import ToolError
from tools.scoring import score_arms, transformed
from tools.subject import SubjectModel

ITEMS = [item.model_dump(mode="json") for item in creature_items()]
FEWER = [item.model_dump(mode="json") for item in creature_items(per_template=16)]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    return planted_subject(tmp_path_factory.mktemp("planted") / "model")


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore(tmp_path_factory.mktemp("blobs"))


def by_creature(chosen: list[str]) -> dict[str, Any]:
    return {"kind": "set_slot", "slot": "creature", "values": chosen}


def passed(result: ProbingResult) -> dict[str, bool]:
    return {guard.name: guard.passed for guard in result.guards}


@pytest.fixture(scope="module")
def found(subject: SubjectModel, blobs: BlobStore) -> ProbingResult:
    label = by_creature([creature for creature in CREATURES if kind(creature)])
    return train_probes(subject, {"examples": ITEMS, "label": label}, Context(1, blobs))


def test_finds_where_the_class_arrives(found: ProbingResult) -> None:
    assert found.reading == "linearly decodable (exploratory)"
    assert found.chosen.layer >= MOVED
    at = {place.layer: place for place in found.by_layer}
    assert at[MOVED].auroc > 0.99 and at[MOVED].p < 0.01
    assert at[0].p > 0.05 and at[1].p > 0.05
    assert found.test_auroc > 0.99 and found.advantage > 0.3
    assert found.held_out == "templates and values of 'creature'"


def test_direction_is_the_planted_one_and_its_length_is_the_gap(
    found: ProbingResult, subject: SubjectModel, blobs: BlobStore
) -> None:
    direction = load_direction(blobs, found.direction, subject.d_model)
    assert float(direction[VERDICT] / direction.norm()) > 0.95
    assert abs(float(direction @ basis(KIND))) < 0.2 * float(direction.norm())


def test_nothing_is_tested_on_what_was_learnt() -> None:
    label = by_creature([creature for creature in CREATURES if kind(creature)])
    prompts = labelled(LabelledPrompts(examples=creature_items(), label=SetSlot(**label)))
    split = split_prompts(prompts, "creature", seed=3)
    seen = {
        (prompts[k].item.template_id, prompts[k].item.slots["creature"]) for k in split.development
    }
    new = {(prompts[k].item.template_id, prompts[k].item.slots["creature"]) for k in split.test}
    assert not {t for t, _ in seen} & {t for t, _ in new}
    assert not {c for _, c in seen} & {c for _, c in new}
    for learnt, tried in split.folds:
        assert set(learnt) | set(tried) <= set(split.development)
        for what in ("template_id", "creature"):
            values = [
                {
                    p.item.template_id if what == "template_id" else p.item.slots["creature"]
                    for p in part
                }
                for part in ([prompts[k] for k in learnt], [prompts[k] for k in tried])
            ]
            assert not values[0] & values[1]


def test_labels_move_between_whole_entities() -> None:
    label = by_creature([creature for creature in CREATURES if mood(creature)])
    prompts = labelled(LabelledPrompts(examples=creature_items(), label=SetSlot(**label)))
    split = split_prompts(prompts, None, seed=3)
    assert split.slot == "creature"
    new = shuffled(prompts, split, random.Random(0))
    assert is_constant(split.entities or [], new)
    assert sum(new) == sum(each.label for each in prompts)
    assert new != [each.label for each in prompts]


def test_random_labels_of_entities_are_remembered_and_not_claimed(
    subject: SubjectModel, blobs: BlobStore
) -> None:
    """Twenty null sweeps: what a random half of the creatures have in common is nothing."""
    found: list[ProbingResult] = []
    for seed in range(20):
        label = by_creature(random.Random(seed).sample(CREATURES, 12))
        args = {"examples": FEWER, "label": label, "layers": [1, 2, 3], "positions": [-1, -3]}
        found.append(train_probes(subject, args, Context(seed, blobs)))
    assert sum(result.reading.startswith("linearly") for result in found) <= 1
    assert sum(result.guards[0].passed for result in found) <= 3, "5 % are expected"
    # The same probes would look good on new templates alone.
    assert sum(result.memory or 0.0 for result in found) / len(found) > 0.65


def test_a_label_on_the_surface_is_called_that(subject: SubjectModel, blobs: BlobStore) -> None:
    edit = {"kind": "insert_text", "where": "after", "texts": ["it is so", "it was so", "is it so"]}
    args = {"examples": FEWER[::3], "positive_edits": [edit], "layers": [0, 2]}
    result = train_probes(subject, args, Context(1, blobs))
    assert not result.reading.startswith("linearly")
    assert {b.name: b.auroc for b in result.baselines}["the words of the prompt"] > 0.95
    assert not passed(result)["beats the words of the prompt"]


def test_registered_skill_reads_unseen_prompts(
    found: ProbingResult, subject: SubjectModel, blobs: BlobStore
) -> None:
    items = list(creature_items(seed=9))[::5]
    arms = {
        name: transformed(
            Arm(name=name, edits=(SetSlot(slot="creature", values=tuple(
                c for c in CREATURES if kind(c) is side)),)), items, from_own_items(items)
        ).model_dump(mode="json")
        for name, side in (("treatment", True), ("control", False))
    }  # fmt: skip
    plain = found.measure.model_copy(update={"against": None})
    rates = score_arms(subject, {"measure": plain, "arms": arms}, Context(0, blobs)).arms
    assert rates["treatment"].mean == 1.0 and rates["control"].mean == 0.0
    less = score_arms(subject, {"measure": found.measure, "arms": arms}, Context(0, blobs))
    rows = json.loads(blobs.get(less.raw))["arms"]
    assert {row["mean"] for row in rows["treatment"]} <= {0.0, 1.0}
    assert {row["mean"] for row in rows["control"]} <= {0.0, -1.0}


def test_closed_form_equals_scikit_learn() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(n, 12, generator=generator) * 3 + 1 for n in (40, 20))
    labels = torch.rand(40, generator=generator) > 0.4
    scaler = StandardScaler().fit(train.double().numpy())
    features = scaler.transform(train.double().numpy()) * (39 / 40) ** 0.5
    alpha = 0.1 * float((features**2).sum(1).mean())
    ridge = Ridge(alpha=alpha).fit(features, 2.0 * labels.numpy() - 1)
    wanted = (
        ridge.predict(scaler.transform(test.double().numpy()) * (39 / 40) ** 0.5) - ridge.intercept_
    )
    ours = probe_scores(train, labels[:, None], test, "ridge")[:, 0]
    assert torch.allclose(ours, torch.tensor(wanted), atol=1e-8)


@pytest.mark.parametrize("method", ["ridge", "difference_of_means"])
def test_direction_ranks_as_the_scores_do(method: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(30) % 3 == 0
    train = torch.randn(30, 8, generator=generator) + labels[:, None] * torch.ones(8)
    direction, threshold = probe_direction(train, labels, method)
    scores = probe_scores(train, labels[:, None], train, method)[:, 0]
    projection = train.double() @ direction.double()
    assert torch.equal(projection.argsort(), scores.argsort())
    means = [float(projection[side].mean()) for side in (labels, ~labels)]
    assert means[0] - means[1] == pytest.approx(float(direction.norm()) ** 2, rel=1e-5)
    assert threshold == pytest.approx(sum(means) / 2, rel=1e-5)


def test_auroc_of_columns_equals_the_counted_one() -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(25, 3, generator=generator).round(decimals=0).double()
    labels = torch.rand(25, 3, generator=generator) > 0.5
    labels[:, 2] = True
    found = auroc_columns(scores, labels).tolist()
    for column in (0, 1):
        assert found[column] == pytest.approx(
            auroc(labels[:, column].tolist(), scores[:, column].tolist())
        )
    assert found[2] == 0.5


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    from tools.statistics import mean, mean_interval

    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    whole, interval = jackknife(lambda places: mean([values[k] for k in places]), list("abcde"))
    assert whole == pytest.approx(4.0)
    assert interval == pytest.approx(mean_interval(values))
    assert jackknife(lambda places: 1.0, ["a", "a", "b"])[1] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [7]}, "layers 0..3"),
        ({"positions": [0]}, "from the end"),
        ({"label": None}, "label prompts in one way"),
        ({"label": by_creature(["dragon"])}, "0 positive"),
        ({"label": {"kind": "set_slot", "slot": "colour", "values": ["red"]}}, "no slot 'colour'"),
        ({"label": {"kind": "choose_level", "slot": "creature", "level": "x"}}, "list the values"),
        ({"examples": ITEMS[:48]}, "at least 4"),
    ],
)
def test_mistakes_are_told_in_a_line(
    subject: SubjectModel, blobs: BlobStore, change: dict[str, Any], message: str
) -> None:
    args = {"examples": FEWER, "label": by_creature(list(CREATURES[:12])), **change}
    with pytest.raises(ToolError, match=message):
        train_probes(subject, args, Context(0, blobs))


def test_few_values_of_a_slot_are_not_held_out(subject: SubjectModel, blobs: BlobStore) -> None:
    label = {"kind": "set_slot", "slot": "place", "values": list(PLACES[:2])}
    args = {"examples": FEWER, "label": label, "layers": [1], "positions": [-1]}
    result = train_probes(subject, args, Context(1, blobs))
    assert result.held_out == "templates" and result.memory is None
    assert any("too few values" in note for note in result.notes)


def test_same_seed_same_result(
    subject: SubjectModel, blobs: BlobStore, found: ProbingResult
) -> None:
    label = by_creature([creature for creature in CREATURES if kind(creature)])
    again = train_probes(subject, {"examples": ITEMS, "label": label}, Context(1, blobs))
    assert again == found


def test_folder_of_blobs_holds_the_sweep(found: ProbingResult, blobs: BlobStore) -> None:
    table = json.loads(blobs.get(found.raw))
    assert len(table["sweep"]) == 4 * 4 * 2
    assert len(table["test"]) == found.test_prompts
    # What is told follows from it, as `verify` counts it again.
    told = found.model_dump(mode="json")
    assert list(recount_sweep("train_probes", {}, told, table)) == []
    grid = grid_of(table)
    assert grid is not None and len(grid.rows) == len(grid.columns) == 4
    assert max(max(row) for row in grid.values) == found.chosen.auroc  # type: ignore[type-var]
