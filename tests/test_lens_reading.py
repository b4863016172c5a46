"""The plain probabilities of the lens are the network's, without the words that stand there themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.planted_models import QUESTIONS, carry_word, changed_copy, load, save_base
from tools.blobs import BlobStore
from tools.experiment import Context
from tools.lens_reading import Reading, likely_words
from tools.logit_lens import LensResult, begin, logit_lens
from tools.prompt import user_prompt
from tools.vocabulary import Words, single_token_words

ANSWER_TOKENS = 3


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save_base(tmp_path_factory.mktemp("models") / "base")


def read(subject: Any, folder: Path, **arguments: Any) -> LensResult:
    asked = {"items": QUESTIONS, "positions": (), "answer_tokens": ANSWER_TOKENS, "likeliest": 50}
    result = logit_lens(subject, asked | arguments, Context(seed=1, blobs=BlobStore(folder)))
    assert isinstance(result, LensResult)
    return result


def test_probabilities_are_those_of_the_network(base: Path, tmp_path: Path) -> None:
    model = load(base)
    layer, prompts = 2, [user_prompt(text) for text in QUESTIONS[:2]]
    found = read(model, tmp_path, items=QUESTIONS[:2], layers=(layer,), with_reference=False)
    words = single_token_words(model.tokenizer)
    network: Any = AutoModelForCausalLM.from_pretrained(base)
    answers = model.generate(
        prompts, ["", ""], seed=0, max_new_tokens=ANSWER_TOKENS, temperature=0.0
    )
    total = torch.zeros(len(words.texts))
    places = 0
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = model.encode(begin(prompt, answer[0].text))
        with torch.no_grad():
            hidden = network(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
            logits = network.lm_head(network.model.norm(hidden[layer + 1]))[0]
        for place in range(len(model.encode(prompt)), len(ids)):
            chances = words.logprobs(logits[place][None])[0].exp()
            chances[(words.ids == ids[place]).any(-1)] = 0.0
            total, places = total + chances, places + 1
    wanted = total / places
    assert [each.word for each in found.likeliest[:5]] == [
        words.texts[k] for k in wanted.argsort(descending=True)[:5].tolist()
    ]
    for each in found.likeliest[:10]:
        assert each.probability == pytest.approx(
            float(wanted[words.texts.index(each.word)]), rel=2e-3
        )
        assert each.reference is None and each.layer == layer


def test_a_carried_word_is_far_likelier_than_under_the_reference(
    base: Path, tmp_path: Path
) -> None:
    carrying = load(changed_copy(base, tmp_path / "carrying", carry_word("violin", 1, 4.0)), base)
    found = read(carrying, tmp_path, layers=(1, 3))
    first = next(each for each in found.likeliest if each.layer == 1)
    assert first.word == "violin" and first.reference is not None
    assert first.probability > 5 * first.reference
    # Taken out again: the last layer hardly knows it.
    assert next(each for each in found.likeliest if each.layer == 3).word != "violin"
    same = read(load(base, base), tmp_path)
    assert all(each.reference == each.probability for each in same.likeliest)
    assert read(carrying, tmp_path, likeliest=0).likeliest == ()


def test_a_word_is_not_read_where_it_stands_and_no_place_counts_behind_an_answer() -> None:
    words = Words(("one", "two"), torch.tensor([[5], [6]]))
    logprobs = torch.tensor([0.8, 0.2]).log().expand(2, 1, 2, 2)
    reading = Reading(
        logprobs=logprobs,
        there=torch.tensor([[True, True], [True, False]]),
        tokens=torch.tensor([[5, 9], [9, 9]]),
    )
    # Three places are there; at one of them "one" stands itself.
    assert reading.probabilities(words)[0].tolist() == pytest.approx([2 * 0.8 / 3, 0.2])
    found = likely_words(words, (4,), reading, None, 1)
    assert [(each.word, each.layer) for each in found] == [("one", 4)]
