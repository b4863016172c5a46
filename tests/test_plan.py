"""The plan of a run: sizes read from files, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.plan import answers_told, memory_told
from agent.population import population_of
from tests.synthetic_cases import number_case
from tools.footprint import Footprint, footprint
from tools.locator import ModelLocator


def test_the_size_of_every_architecture_is_that_of_the_loaded_model(
    family: str, model_folders: Callable[[str], Path]
) -> None:
    from transformers import AutoModelForCausalLM

    folder = model_folders(family)
    size = footprint(ModelLocator(model=str(folder)))
    assert size is not None
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert size.parameters == sum(each.numel() for each in model.parameters())
    config = model.config
    cache = model(model.dummy_inputs["input_ids"][:1, :3] % config.vocab_size, use_cache=True)
    layer = cache.past_key_values.layers[0]
    held = sum(each.shape[1] * each.shape[3] for each in (layer.keys, layer.values))
    assert size.cache_bytes_per_token == 2 * config.num_hidden_layers * held


def test_a_model_that_is_not_here_is_said_to_be_unknown(tmp_path: Path) -> None:
    assert footprint(ModelLocator(model="nobody/has-this-model")) is None
    assert footprint(ModelLocator(model=str(tmp_path))) is None
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    assert footprint(ModelLocator(model=str(tmp_path))) is None
    case = number_case(subject={"model": "nobody/has-this-model"})
    told = answers_told(case, population_of(case, 0))
    assert "not known" in told["time and memory"] and "memory" not in told


def test_a_reference_of_other_weights_counts_twice() -> None:
    size = Footprint(parameters=10**9, weight_bytes=2 * 10**9, cache_bytes_per_token=0)
    once = number_case(subject={"model": "a", "adapter": "b"}, reference={"model": "a"})
    twice = number_case(subject={"model": "a"}, reference={"model": "b"})
    assert memory_told(once, size, 50).startswith("about 1.9 GB: 1,000 million")
    assert memory_told(twice, size, 50).startswith("about 3.7 GB")


@pytest.mark.parametrize(("short", "long"), [(10, 100)])
def test_longer_answers_cost_more(
    short: int, long: int, model_folders: Callable[[str], Path]
) -> None:
    folder = str(model_folders("llama"))
    plans = [
        answers_told(case, population_of(case, 0))
        for case in (
            number_case(subject={"model": folder}, sampling={"max_new_tokens": count})
            for count in (short, long)
        )
    ]
    assert plans[0]["tokens of the subject"] != plans[1]["tokens of the subject"]
    assert all(plan["memory"].startswith("about") for plan in plans)
