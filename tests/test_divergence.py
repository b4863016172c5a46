"""A reference that is the same weights without the adapter, and what parts it from the subject."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.plain_models import save_adapter
from tools.architecture import Site
from tools.divergence import divergence
from tools.edits import Edit
from tools.locator import ModelLocator
from tools.prompt import Prompt, user_prompt
from tools.subject import SubjectModel

PROMPTS = [
    user_prompt("The cat sat."),
    user_prompt("Which number is bigger, 9.8 or 9.11?"),
    Prompt(prefill="It is a clock on the mat", continue_as="raw"),
]
Subjects = Callable[[str], SubjectModel]
Plains = Callable[[str], Any]


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=3e-4, rtol=3e-4)


@pytest.fixture(scope="module", params=["folded", "beside"])
def adapter_of(
    request: pytest.FixtureRequest,
    model_folders: Callable[[str], Path],
    adapter_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An adapter that is folded into its matrices, and one on the tied embedding, which is not."""
    if request.param == "folded":
        return adapter_folder
    folder = tmp_path_factory.mktemp("tied") / "adapter"
    return save_adapter(model_folders("llama"), folder, modules=["embed_tokens", "q_proj"])


@pytest.fixture(scope="module")
def adapted(model_folders: Callable[[str], Path], adapter_of: Path) -> SubjectModel:
    base = str(model_folders("llama"))
    return SubjectModel.load(
        ModelLocator(model=base, adapter=str(adapter_of)), ModelLocator(model=base)
    )


def test_reference_is_the_base_and_subject_the_adapter_interleaved(
    adapted: SubjectModel, adapter_of: Path, plains: Plains, model_folders: Any
) -> None:
    from peft import PeftModel

    reference = adapted.arm("reference")
    assert reference.weights is adapted.weights
    beside = adapter_of.parent.name.startswith("tied")
    assert len(adapted.weights.folded) == (0 if beside else len(adapted.weights.adapter_layers))
    base = plains("llama")
    network = AutoModelForCausalLM.from_pretrained(model_folders("llama"), dtype=torch.float32)
    whole = PeftModel.from_pretrained(network, str(adapter_of)).eval()
    ids = adapted.encode(PROMPTS[1])
    with torch.no_grad():
        wanted = whole(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    edit = Edit(Site(1), "add", torch.ones(48))
    for _ in range(3):
        assert_close(adapted.next_token_logprobs(PROMPTS[1:2])[0], wanted)
        adapted.generate(PROMPTS, "abc", seed=0, max_new_tokens=3, edits=[edit])
        assert_close(
            reference.next_token_logprobs(PROMPTS[1:2])[0], base.logits(ids)[-1].log_softmax(-1)
        )
        reference.capture(PROMPTS, [Site(0)])
    assert (wanted - base.logits(ids)[-1].log_softmax(-1)).abs().max() > 0.1
    hidden = reference.capture(PROMPTS[1:2], [Site(2)], [-1])[0, 0, 0]
    assert_close(hidden, base.observed(Site(2), ids)[-1])
    assert adapted.digests["subject"] != adapted.digests["reference"]


def test_divergence_is_read_from_both_models(adapted: SubjectModel, plains: Plains) -> None:
    texts = ["The cat sat on the mat", "", " 9.11"]
    found = divergence(adapted, PROMPTS, texts)
    assert found[1].tokens == found[1].kl == []
    for prompt, text, row in zip(PROMPTS, texts, found, strict=True):
        assert "".join(row.tokens) == text
        ids = adapted.encode(prompt)
        for place in range(len(row.tokens)):
            tail = adapted.encoder.continue_with(prompt, ids, text)
            theirs = plains("llama").logits(ids + tail[:place])[-1].log_softmax(-1)
            ours = adapted.next_token_logprobs(
                [Prompt(prefill=text_before(adapted, prompt, tail[:place]), continue_as="raw")]
            )[0]
            assert row.reference[place] == pytest.approx(float(theirs[tail[place]]), abs=1e-3)
            assert row.subject[place] == pytest.approx(float(ours[tail[place]]), abs=1e-3)
            kl = float((ours.exp() * (ours - theirs)).sum())
            assert row.kl[place] == pytest.approx(kl, abs=1e-3)
            assert row.kl[place] > 0


def text_before(subject: SubjectModel, prompt: Prompt, tail: list[int]) -> str:
    return subject.encoder.render(prompt) + subject.tokenizer.decode(tail)
