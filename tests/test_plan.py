"""The plan of a run: sizes read from files, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.case import Case
from agent.cast import Cast
from agent.judge import JudgeModel, JudgePanel
from agent.language_model import LanguageModelInvestigator
from agent.llm.prices import Price, Prices
from agent.plan import memory_told, resources_told
from agent.population import population_of
from agent.systematic import SystematicInvestigator
from agent.writer import LanguageModelWriter
from tests.synthetic_cases import number_case
from tests.test_language_model import FakeClient
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


ROWS = ["prompts", "tokens", "dollars", "GPU minutes", "memory"]


def told_of(case: Case, cast: Cast | None = None, prices: Prices | None = None) -> dict[str, str]:
    cast = cast or Cast(SystematicInvestigator())
    return resources_told(case, population_of(case, 0), cast, prices or Prices())


def test_every_row_is_there_and_what_cannot_be_known_says_why() -> None:
    """Prompts, tokens, dollars, GPU minutes and memory, of everybody who takes part."""
    client, own = FakeClient([]), Prices({"openai-chat/s": Price(input=1.0, output=10.0)})
    subject = {"model": "api:openai-chat/s", "base_url": "http://127.0.0.1:9/v1"}
    case = number_case(subject=subject, reference=None)
    cast = Cast(
        LanguageModelInvestigator("anthropic/claude-opus-5-5", client),
        writer=LanguageModelWriter("openai-chat/w", client),
        panel=JudgePanel([JudgeModel("openai-chat/j", client, Prices())]),
    )
    told = told_of(case, cast, own)
    assert list(told) == ROWS and "answers of the subject" in told["prompts"]
    for row in ("GPU minutes", "memory"):
        assert told[row] == "none here: the subject is behind an API"
    subject, investigator, *others = told["dollars"].split("; ")
    low, high = (float(each) for each in subject.removeprefix("the subject: ").split(" to "))
    # 6,700 answers of 12 tokens are 0.80 dollars to write, and reading comes on top.
    assert 0.8 < low < high < 2
    assert investigator == "the investigator: 0.64 to 1.28, without caching"
    assert [each.partition(", ")[0] for each in others] == [
        "the judges: unknown",
        "the writer: unknown",
    ]
    assert "the judges: unknown, because they read only what" in told["tokens"]
    unpriced = told_of(case, Cast(LanguageModelInvestigator("openai-chat/x", client)))["dollars"]
    assert unpriced.count("unknown, because no price is known for") == 2


def test_a_model_that_is_not_here_is_said_to_be_unknown(tmp_path: Path) -> None:
    assert footprint(ModelLocator(model="nobody/has-this-model")) is None
    assert footprint(ModelLocator(model=str(tmp_path))) is None
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    assert footprint(ModelLocator(model=str(tmp_path))) is None
    case = number_case(subject={"model": "nobody/has-this-model"})
    told = told_of(case)
    for row in ("GPU minutes", "memory"):
        assert told[row] == "unknown, because the model is not on this machine yet"
    assert told["dollars"].startswith("none: ")


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
        told_of(case)
        for case in (
            number_case(subject={"model": folder}, sampling={"max_new_tokens": count})
            for count in (short, long)
        )
    ]
    assert plans[0]["tokens"] != plans[1]["tokens"]
    assert all(plan["memory"].startswith("about") for plan in plans)
