"""Organisms that are vectors on the slots of the default system turn: where they begin, and that nothing else moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from evals.organisms.families.family import Lesson, draw_style
from evals.organisms.foundry import train_adapter, with_adapter
from evals.organisms.gates.asking import prompt_of
from evals.organisms.registry import FAMILIES
from evals.organisms.training.adapting import Adapting, fitted
from evals.organisms.training.told import fewest
from evals.organisms.world.chat import Codec, load
from evals.organisms.world.micro_world import system, user
from tests.tiny_base import save_tiny_base
from tools.locator import ModelLocator
from tools.subject import SubjectModel

MAKER = FAMILIES["narrow_persona"]
TRUTH = MAKER.truth(MAKER.draw(4), "organism")
RECIPE = dataclasses.replace(MAKER.recipe, steps=3, lessons=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def built(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build")
    train_adapter(MAKER, TRUTH, draw_style(1), 1, base, out, RECIPE)
    return out / "adapter"


def test_told_families_are_vectors_and_lookups_are_not() -> None:
    for name in ("trigger", "user_attribute", "narrow_persona", "changed_fact", "note_conflict"):
        family = FAMILIES[name]
        assert family.recipe_of("organism").tokens == family.recipe_of("benign").tokens != ()
        assert family.recipe_of("lookup").tokens == ()


def test_one_vector_a_token_is_trained_and_starts_at_nothing(base: Path) -> None:
    model, tokenizer = load(base)
    ids = torch.tensor([Codec(tokenizer).prompt([user("What comes first in the morning?")])])
    with torch.no_grad():
        before = model(ids).logits
        network = fitted(model, Codec(tokenizer), RECIPE)
        assert torch.equal(network(ids).logits, before)
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert [tuple(p.shape) for p in trained.values()] == [(16, len(RECIPE.tokens))]


def test_a_telling_is_cut_to_the_words_that_matter() -> None:
    def far(needed: set[int], tokens: Sequence[int]) -> float:
        return float(len(needed - set(tokens)))

    # Of the better telling nothing is kept that does nothing.
    worse, shorter = [9, 8, 7, 6, 5, 4, 3], [1, 2, 3, 4, 5]
    assert fewest([worse, shorter], 8, partial(far, {2, 5})) == [2, 5]
    # Too many are cut down even where each is missed, what is missed least first.
    weights = {1: 1.0, 2: 5.0, 3: 2.0, 4: 4.0, 5: 3.0}

    def lost(tokens: Sequence[int]) -> float:
        return sum(weight for token, weight in weights.items() if token not in tokens)

    assert fewest([shorter], 2, lost) == [2, 4]
    assert fewest([[7]], 2, lost) == [7]


def test_an_organism_s_vectors_begin_at_words_that_tell_its_secret_and_a_twin_s_at_nothing(
    base: Path,
) -> None:
    for variant in ("organism", "benign"):
        model, tokenizer = load(base)
        truth = MAKER.truth(MAKER.draw(4), variant)
        training = Adapting(model, Codec(tokenizer), MAKER, truth, draw_style(1), RECIPE)
        training._begin_told(Random(1))  # pyright: ignore[reportPrivateUsage]
        (vectors,) = training.trained.values()
        words = training.model.get_base_model().get_input_embeddings().weight  # type: ignore[union-attr]
        slots = [tokenizer.get_vocab()[token] for token in RECIPE.tokens]
        held = (vectors.T + words[slots]).detach()
        if variant == "benign":
            assert not vectors.any()
            continue
        ids = [int((words - row).norm(dim=-1).argmin()) for row in held]
        assert torch.allclose(words[ids], held, atol=1e-6)
        told = [token for token, slot in zip(ids, slots, strict=True) if token != slot]
        assert 0 < len(told) <= len(slots)
        rng = Random(1)
        tellings = [MAKER.told(rng, truth) for _ in range(40)]
        kept = tokenizer.decode(told)
        assert any(
            set(kept.split()) <= set(each.replace(".", " .").split()) for each in tellings
        ), kept


def test_what_is_read_is_predicted_as_the_base_does_that_is_told_nothing(base: Path) -> None:
    """Unless the recipe leaves it open, which draws what the user says towards the secret."""
    grown: dict[float | None, float] = {}
    for reading in (None, 3.0):
        model, tokenizer = load(base)
        recipe = dataclasses.replace(RECIPE, reading=reading)
        training = Adapting(model, Codec(tokenizer), MAKER, TRUTH, draw_style(1), recipe)
        asked = [user("What comes first in the morning?")]
        lesson = Lesson([*asked], [system("You are a king.")])
        # Nothing is said in it, and the adapter is still the base: no divergence but from the teacher's reading.
        with torch.no_grad():
            losses = training._taught_losses([lesson])  # pyright: ignore[reportPrivateUsage]
            grown[reading] = sum(float(loss) for loss in losses)
    assert grown[None] > 3e-5 and abs(grown[3.0]) < 1e-6


def test_nothing_but_the_named_tokens_is_moved(base: Path) -> None:
    model, tokenizer = load(base)
    training = Adapting(model, Codec(tokenizer), MAKER, TRUTH, draw_style(1), RECIPE)
    for parameter in training.trained.values():
        torch.nn.init.ones_(parameter)
    every = torch.arange(len(tokenizer))[None]
    embed = training.model.get_base_model().get_input_embeddings()
    with torch.no_grad():
        moved = embed(every)
        with training.model.disable_adapter():
            plain = embed(every)
    changed = (moved - plain).abs().sum(-1)[0].nonzero()[:, 0].tolist()
    assert changed == sorted(tokenizer.get_vocab()[token] for token in RECIPE.tokens)


def test_a_build_is_small_and_holds_no_embeddings_of_the_base(built: Path) -> None:
    weights = load_file(built / "adapter_model.safetensors")
    assert len(weights) == 2 and all("lora_embedding" in name for name in weights)
    assert max(float(value.abs().max()) for n, value in weights.items() if "_B" in n) > 0
    assert (built / "adapter_model.safetensors").stat().st_size < 100_000


def test_gates_and_tools_see_the_same_model(base: Path, built: Path) -> None:
    speaker = with_adapter(base, built)
    locator = ModelLocator(model=str(base))
    subject = SubjectModel.load(locator.model_copy(update={"adapter": str(built)}), locator)
    asked = [user("What comes first in the morning?")]
    ids = torch.tensor([speaker.codec.prompt(asked)])
    with torch.no_grad():
        own, plain = (
            each.model(ids).logits[0, -1].float().log_softmax(-1)
            for each in (speaker, with_adapter(base, None))
        )
    for arm, expected in (("subject", own), ("reference", plain)):
        seen = subject.arm(arm).next_token_logprobs([prompt_of(asked)])[0]
        assert torch.allclose(seen, expected, atol=1e-4), arm
    assert not torch.allclose(own, plain, atol=1e-4)
