import json
from typing import Any

import pytest
import torch

from agent.forms import rank_test
from agent.prediction import Prediction
from tests.planted_circuit import (
    MEASURE,
    VERDICT,
    basis,
    creature_items,
    kind,
    planted_subject,
)
from tools.architecture import Site
from tools.blobs import BlobStore
from tools.directions import (
    PlaceboResult,
    concept_differences,
    covariance_matched,
    difference_of_means,
    isotropic,
    placebo_directions,
    seeded,
    shuffled_differences,
)
from tools.edits import Edit, load_direction, save_direction
from tools.experiment import Context
from tools.joining import joined
from tools.labels import Labelled
from tools.prompt import AblateDirection, Arm, PatchFrom, ReplaceText, SetSlot, Steer
from tools.prompt_variation import from_own_items
from tools.registry import ToolError
from tools.scoring import cluster_means, score_arms, transformed
from tools.subject import SubjectModel


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    return planted_subject(tmp_path_factory.mktemp("planted") / "model")


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore(tmp_path_factory.mktemp("blobs"))


def cloud(n: int = 60, d: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations that vary much along the first axis within groups, and between groups along the second."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(n) % 2 == 0
    hidden = torch.randn(n, d, generator=generator) * 0.1
    hidden[:, 0] += 5 * torch.randn(n, generator=generator)
    hidden[labels, 1] += 4.0
    return hidden, labels


def test_isotropic_directions_have_the_norm_and_no_preference() -> None:
    found = isotropic(3.0, 64, 400, seeded(0))
    assert torch.allclose(found.norm(dim=1), torch.full((400,), 3.0))
    assert float(found.mean(0).norm()) < 0.4
    assert torch.equal(found, isotropic(3.0, 64, 400, seeded(0)))
    assert not torch.equal(found, isotropic(3.0, 64, 400, seeded(1)))


def test_matched_directions_vary_as_the_activations_within_groups() -> None:
    hidden, labels = cloud()
    found = covariance_matched(hidden, labels, 2.0, 200, seeded(0))
    assert torch.allclose(found.norm(dim=1), torch.full((200,), 2.0))
    shares = found.pow(2).mean(0) / 4.0
    assert float(shares[0]) > 0.9
    assert float(shares[1]) < 0.05, "the difference between the groups must not be in the placebos"
    with pytest.raises(ToolError, match="do not vary"):
        covariance_matched(labels[:, None].float(), labels, 1.0, 3, seeded(0))


def test_shuffled_differences_are_what_the_recipe_gives() -> None:
    hidden, labels = cloud()
    found = shuffled_differences(hidden, labels, 500, seeded(0))
    assert float(found.mean(0).norm()) < 0.3 * float(found.norm(dim=1).mean())
    # One column by hand: the first drawn order.
    order = torch.rand(500, 60, generator=seeded(0)).argsort(1)[0]
    assert torch.allclose(found[0], difference_of_means(hidden, labels[order]), atol=1e-5)


def test_concepts_leave_out_the_label_and_what_goes_with_it() -> None:
    prompts = [Labelled(item, kind(item.slots["creature"])) for item in creature_items()]
    hidden = torch.randn(len(prompts), 8, generator=seeded(0))
    found, names = concept_differences(hidden, prompts, 2.0, "creature")
    assert sorted(names) == ["place = coast", "place = hills", "place = north", "place = south"]
    assert torch.allclose(found.norm(dim=1), torch.full((4,), 2.0))
    # Without saying so: no creature is of both classes, so none is another concept.
    assert concept_differences(hidden, prompts, 2.0, None)[1] == names


def planted_placebos(subject: SubjectModel, blobs: BlobStore, count: int) -> PlaceboResult:
    items = creature_items(per_template=12)
    args = {
        "positive": [i for i in items if kind(i.slots["creature"])],
        "negative": [i for i in items if not kind(i.slots["creature"])],
        "layer": 2,
        "count": count,
    }
    return placebo_directions(subject, args, Context(3, blobs))


def test_placebo_directions_are_stored_and_matched(subject: SubjectModel, blobs: BlobStore) -> None:
    found = planted_placebos(subject, blobs, 160)
    assert len(set(found.placebos)) == 160 and found.smallest_p <= 0.05 / 8
    real = load_direction(blobs, found.direction, subject.d_model)
    assert float(real[VERDICT] / real.norm()) > 0.95
    norms = [float(load_direction(blobs, each, subject.d_model).norm()) for each in found.placebos]
    assert norms == pytest.approx([found.norm] * 160, rel=1e-5)
    assert planted_placebos(subject, blobs, 160) == found


def steering_arms(found: PlaceboResult, items: list[Any]) -> dict[str, Any]:
    directions = {"treatment": found.direction}
    directions |= {f"placebo_{k}": each for k, each in enumerate(found.placebos)}
    arms = {
        name: Arm(name=name, intervention=Steer(direction=each, layer=2, coefficient=0.2))
        for name, each in directions.items()
    }
    arms["control"] = Arm(name="control")
    return {name: transformed(arm, items, from_own_items(items)) for name, arm in arms.items()}


def test_a_planted_direction_wins_the_registered_rank(
    subject: SubjectModel, blobs: BlobStore
) -> None:
    found = planted_placebos(subject, blobs, 39)
    items = list(creature_items(seed=4))[::7]
    arms = steering_arms(found, items)
    result = score_arms(subject, {"measure": MEASURE, "arms": arms}, Context(0, blobs))
    table = json.loads(blobs.get(result.raw))["arms"]
    means = {name: cluster_means(rows) for name, rows in table.items()}
    prediction = Prediction.model_construct(
        form="rank", control=Arm(name="control"), reference_pair=False, direction="more"
    )
    test = rank_test(prediction, means, 0)
    assert test is not None and test.p == 1 / 40
    assert test.interval[0] > 0


def test_arms_together_are_arms_apart(
    subject: SubjectModel, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of arm in one call, against one call for each."""
    found = planted_placebos(subject, blobs, 3)
    items = list(creature_items(seed=4))[::23]
    arms = steering_arms(found, items)
    other = (SetSlot(slot="creature", values=("otter", "heron")),)
    more = {
        "edited": Arm(name="edited", edits=(ReplaceText(old="the", new="it"),)),
        "ablated": Arm(name="ablated", intervention=AblateDirection(direction=found.direction)),
        "one_layer": Arm(name="one", intervention=AblateDirection(direction=found.direction, layers=(2,))),
        "patched": Arm(name="patched", intervention=PatchFrom(source=other, layer=2)),
        "early": Arm(name="early", intervention=PatchFrom(source=other, layer=1, position=-2)),
        "answer": Arm(name="answer", intervention=Steer(
            direction=found.direction, layer=1, coefficient=-1.0, positions="generated")),
    }  # fmt: skip
    arms |= {name: transformed(arm, items, from_own_items(items)) for name, arm in more.items()}
    calls: list[int] = []
    plain = SubjectModel.continuation_logprobs

    def counted(self: SubjectModel, prompts: Any, *rest: Any, **more: Any) -> Any:
        calls.append(len(prompts))
        return plain(self, prompts, *rest, **more)

    monkeypatch.setattr(SubjectModel, "continuation_logprobs", counted)
    measure = {**MEASURE, "positive": ["yes", "no it"]}
    together = score_arms(subject, {"measure": measure, "arms": arms}, Context(0, blobs))
    assert calls == [len(arms) * len(items)]
    tables = json.loads(blobs.get(together.raw))["arms"]
    for name, prompts in arms.items():
        alone = score_arms(
            subject, {"measure": measure, "arms": {name: prompts}}, Context(0, blobs)
        )
        (rows,) = json.loads(blobs.get(alone.raw))["arms"].values()
        assert [r["mean"] for r in tables[name]] == pytest.approx(
            [r["mean"] for r in rows], abs=2e-5
        ), name
    distinct = {round(summary.mean or 0.0, 4) for summary in together.arms.values()}
    assert len(distinct) == len(arms), "each intervention must have done something of its own"


def test_sampled_arms_share_their_noise(subject: SubjectModel, blobs: BlobStore) -> None:
    found = planted_placebos(subject, blobs, 2)
    items = list(creature_items(seed=4))[::31]
    arms = steering_arms(found, items)
    arms["again"] = arms["control"]
    measure = {"kind": "answer_match", "values": ["yes"]}
    args = {"measure": measure, "arms": arms, "samples": 3, "max_new_tokens": 3}
    together = score_arms(subject, args, Context(5, blobs))
    tables = json.loads(blobs.get(together.raw))["arms"]
    assert set(tables) == set(arms)
    assert [r["outputs"] for r in tables["control"]] == [r["outputs"] for r in tables["again"]]
    alone = score_arms(subject, {**args, "arms": {"x": arms["treatment"]}}, Context(5, blobs))
    rows = json.loads(blobs.get(alone.raw))["arms"]["x"]
    assert [r["outputs"] for r in tables["treatment"]] == [r["outputs"] for r in rows]


def test_joined_edits_keep_to_their_rows() -> None:
    one, two = basis(0), basis(1)
    arms = [
        ([Edit(Site(1), "add", one, 2.0)], 2),
        ((), 1),
        ([Edit(Site(1), "add", two, torch.tensor([1.0, 3.0])), Edit(Site(2), "set", two, positions=-1)], 2),
        ([Edit(Site(2), "set", one, positions=[-3], rows=[0])], 2),
    ]  # fmt: skip
    found = joined(arms)
    shape = [(e.site.layer, e.operation, e.positions, list(e.rows or ())) for e in found]
    assert shape == [
        (1, "add", "all", [0, 1, 3, 4]),
        (2, "set", [-3], [5]),
        (2, "set", [-1, -1], [3, 4]),
    ]
    assert torch.equal(found[0].vector, torch.stack([one, one, two, two]))
    assert torch.equal(torch.as_tensor(found[0].coefficient), torch.tensor([2.0, 2.0, 1.0, 3.0]))


def test_a_wrong_reference_is_told(subject: SubjectModel, blobs: BlobStore) -> None:
    short = save_direction(blobs, torch.ones(5))
    items = creature_items(per_template=4)
    args = {"positive": items[:9], "negative": items[9:18], "layer": 1, "count": 2}
    for reference, message in ((short, "no direction of 96"), ("f" * 64, "no blob")):
        with pytest.raises(ToolError, match=message):
            placebo_directions(subject, {**args, "direction": reference}, Context(0, blobs))
    with pytest.raises(ToolError, match="labelled prompts"):
        placebo_directions(subject, {"layer": 1}, Context(0, blobs))
