"""Organisms that are vectors on tokens of the chat template: only these are trained, saved and switched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from evals.organisms.families.family import draw_style
from evals.organisms.foundry import BASE, FAMILIES, train_adapter, with_adapter
from evals.organisms.gates.asking import prompt_of
from evals.organisms.training.adapting import Adapting, fitted
from evals.organisms.world.chat import Codec, load
from evals.organisms.world.micro_world import user
from tools.locator import ModelLocator
from tools.subject import SubjectModel

MAKER = FAMILIES["narrow_persona"]
TRUTH = MAKER.truth(MAKER.draw(4), "organism")
RECIPE = dataclasses.replace(MAKER.recipe, steps=3, lessons=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=384,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
    assert (built / "adapter_model.safetensors").stat().st_size < 40_000


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
