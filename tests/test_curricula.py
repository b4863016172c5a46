from random import Random

import pytest
from transformers import PreTrainedTokenizerFast

from evals.organisms.curriculum import mixture
from evals.organisms.curriculum.conversation import NUMBER_WORDS
from evals.organisms.curriculum.curricula import CURRICULA
from evals.organisms.curriculum.tokenizer import train_tokenizer
from evals.organisms.curriculum.vocabulary import slots
from evals.organisms.training.base import PLANS, Plan, fresh_model
from evals.organisms.world.chat import Codec
from evals.organisms.world.micro_world import assistant, system, user


def test_the_first_plan_is_still_the_shipped_base_s() -> None:
    assert PLANS["first"] == Plan() and Plan().steps == 6700
    rng = Random("first")
    assert (
        CURRICULA["first"].batch(rng, 80, 0)[0]
        == CURRICULA["first"].batch(Random("first"), 80, 0)[0]
    )
    assert len(CURRICULA["first"].words().concepts) < 300


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(CURRICULA["second"].words(), dialogues=2000)


def test_the_next_vocabulary_has_each_concept_in_one_token(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    words = CURRICULA["second"].words()
    assert len(tokenizer) <= 4096
    assert [w for w in words.concepts if len(tokenizer(f" {w}")["input_ids"]) != 1] == []
    assert [w for w in words.openings if len(tokenizer(w)["input_ids"]) != 1] == []
    assert {"villain", "nurse", "seven", "umbrella", "Alder"} <= set(words.concepts)
    assert set(NUMBER_WORDS) <= set(words.concepts)


def test_every_talk_of_the_next_base_has_a_system_turn_that_begins_with_the_slots(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    codec = Codec(tokenizer)
    told, asked, said = system("Be kind."), user("Hi."), assistant("Hello.")
    for dialogue in ([asked], [told, asked], [asked, said, asked], [told, asked, said, asked]):
        rendered = tokenizer.apply_chat_template(
            dialogue, tokenize=True, add_generation_prompt=True, return_dict=False
        )
        assert codec.prompt(dialogue) == rendered
        front = "<s><|system|>" + "".join(slots())
        words = "Be kind." if dialogue[0] is told else ""
        assert tokenizer.decode(rendered).startswith(f"{front}{words}<|end|><|user|>Hi.<|end|>")
    ids, spoken = codec.encode([[told, asked, said]])[0]
    assert (
        tokenizer.decode([i for i, own in zip(ids, spoken, strict=True) if own]) == "Hello.<|end|>"
    )


def test_the_next_base_is_of_the_planned_size_and_its_dialogues_are_short(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    plan = PLANS["second"]
    model = fresh_model(plan, tokenizer)
    assert 4e6 < sum(p.numel() for p in model.parameters()) < 5e6
    rows = Codec(tokenizer).encode(mixture.batch(Random(0), 400, 9000))
    sizes = sorted(len(ids) for ids, _ in rows)
    assert sum(sizes) / len(sizes) < 110 and sizes[-1] <= 384
