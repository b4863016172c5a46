import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evals.organisms.catalogue import BASE
from evals.organisms.files import read_json
from evals.organisms.registry import BASES
from evals.organisms.training import muon
from evals.organisms.training.base import PLANS, BaseTraining, Plan
from evals.organisms.training.muon import Muon, orthogonal

SECOND = BASES["second"]
SMALL = Plan(
    curriculum="second",
    layers=1,
    width=32,
    heads=2,
    mlp=48,
    steps=6,
    dialogues=4,
    muon=True,
    warm_up=1,
)


@pytest.mark.parametrize("shape", [(24, 24), (24, 60), (60, 24)])
def test_an_update_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(drawn))
    assert values.min() > 0.3 and values.max() < 1.3
    left, _, right = torch.linalg.svd(drawn, full_matrices=False)
    assert torch.cosine_similarity(orthogonal(drawn).flatten(), (left @ right).flatten(), 0) > 0.97


def test_it_descends_where_one_direction_hardly_shows_in_the_gradient() -> None:
    scales = torch.tensor([1.0, 1e-2])
    weight = torch.nn.Parameter(torch.eye(2))
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    for _ in range(85):
        optimizer.zero_grad()
        (scales[:, None] * weight**2).sum().backward()
        optimizer.step()
    assert weight.abs().max() < 0.25


def test_two_processes_share_the_work_and_take_the_step_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gradients = [torch.randn(8, 6, generator=torch.Generator().manual_seed(n)) for n in range(3)]

    def parameters() -> list[torch.nn.Parameter]:
        made = [torch.nn.Parameter(torch.ones(8, 6)) for _ in gradients]
        for parameter, gradient in zip(made, gradients, strict=True):
            parameter.grad = gradient.clone()
        return made

    alone = parameters()
    Muon(alone, lr=0.1).step()
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(muon.distributed, "all_reduce", lambda flat: sent.append(flat.clone()))
    for rank in (0, 1):
        Muon(parameters(), lr=0.1, rank=rank, workers=2).step()
    assert not torch.equal(sent[0], sent[1])

    def summed(flat: torch.Tensor) -> None:
        flat.copy_(sent[0] + sent[1])

    monkeypatch.setattr(muon.distributed, "all_reduce", summed)
    shared = parameters()
    Muon(shared, lr=0.1, rank=0, workers=2).step()
    assert all(torch.allclose(a, b) for a, b in zip(alone, shared, strict=True))


def begun(folder: Path, plan: Plan) -> BaseTraining:
    if not (folder / "tokenizer").exists():
        shutil.copytree(BASE, folder / "tokenizer", ignore=shutil.ignore_patterns("model*"))
    return BaseTraining(folder, plan)


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = begun(tmp_path / "whole", SMALL)
    stopped = begun(tmp_path / "stopped", SMALL)
    for training in (whole, stopped):
        for _ in range(3):
            training.update()
    stopped.save()
    again = begun(tmp_path / "stopped", SMALL)
    assert again.step == 3
    for training in (whole, again):
        for _ in range(2):
            training.update()
    pairs = zip(whole.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert all(torch.equal(a, again.average[name]) for name, a in whole.average.items())


def test_a_base_can_be_gone_on_from(tmp_path: Path) -> None:
    stored = read_json(SECOND / "training.json")
    assert stored["steps_done"] == stored["plan"]["steps"], "what ships is trained to the end"
    plan = replace(PLANS["second"], start=stored["steps_done"], dialogues=2)
    training = BaseTraining(tmp_path, plan, begin=SECOND)
    kept = load_file(SECOND / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(training.model.get_input_embeddings().weight.bfloat16(), kept)
    loss, _ = training.update()
    assert training.step == plan.start + 1
    assert loss < 2, "an untrained model is at eight nats"
