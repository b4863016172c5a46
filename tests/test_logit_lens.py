"""The lens reads the right layer and position, finds a carried word, and stays silent on a null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.planted_models import (
    QUESTIONS,
    WORDS,
    carry_word,
    changed_copy,
    load,
    raise_answer_word,
    save_base,
    word_tokenizer,
)
from tools.blobs import BlobStore
from tools.experiment import Context
from tools.lens_words import ranked, summarise
from tools.logit_lens import LensResult, Plan, begin, chosen_layers, logit_lens
from tools.prompt import Prompt, user_prompt
from tools.registry import ToolError
from tools.subject import SubjectModel
from tools.synthetic import SyntheticSubject
from tools.vocabulary import Words, candidate_words, single_token_words
from tools.word_shifts import (
    Shifts,
    consistent_shifts,
    group_shifts,
    outlier_by_chance,
    outliers,
    relative,
)

NOUNS = tuple(WORDS[: WORDS.index("what")])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def carrying(base: Path, tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    """Return a subject that carries "violin" behind layer 1 and no further, beside its base."""
    folder = tmp_path_factory.mktemp("models") / "carrying"
    return load(changed_copy(base, folder, carry_word("violin", 1, 2.0)), base)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(seed=1, blobs=BlobStore(tmp_path))


def run(subject: Any, context: Context, **arguments: Any) -> LensResult:
    result = logit_lens(subject, {"items": QUESTIONS} | arguments, context)
    assert isinstance(result, LensResult)
    return result


def hidden_states(model: SubjectModel, folder: Path, prompt: Prompt) -> tuple[Tensor, ...]:
    """Return Hugging Face's own hidden states of a prompt: entry 0 is the embedding."""
    network: Any = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([model.encode(prompt)])
    with torch.no_grad():
        out = network(input_ids=ids, output_hidden_states=True)
        inner = [network.lm_head(network.model.norm(h[0])) for h in out.hidden_states[:-1]]
    # The last entry already has the final norm, so the logits themselves stand for it.
    return (*inner, out.logits[0])


def test_layers_and_prompt_positions_are_those_of_the_model(base: Path) -> None:
    model = load(base)
    words = single_token_words(model.tokenizer)
    prompts = [user_prompt(text) for text in ("tell me about the tower", "where is it", "what")]
    plan = Plan(model, range(4), (-1, -3), 0, words)
    found = plan.read(model, prompts, plan.answers(prompts)).values
    for row, prompt in enumerate(prompts):
        states = hidden_states(model, base, prompt)
        for layer in range(4):
            for place, position in enumerate((-1, -3)):
                wanted = relative(words.logprobs(states[layer + 1][position][None]))[0]
                torch.testing.assert_close(found[place, layer, row], wanted, atol=2e-4, rtol=1e-4)


def test_the_last_layer_at_the_last_position_is_what_is_sampled_from(base: Path) -> None:
    model = load(base)
    words = single_token_words(model.tokenizer)
    prompts = [user_prompt(text) for text in QUESTIONS[:3]]
    plan = Plan(model, [3], (-1,), 0, words)
    found = plan.read(model, prompts, [""] * 3).values[0, 0]
    wanted = relative(words.logprobs(model.next_token_logprobs(prompts)))
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)


def test_answer_positions_are_those_of_the_answer_tokens(base: Path) -> None:
    model = load(base)
    words = single_token_words(model.tokenizer)
    prompts = [user_prompt(text) for text in ("describe the river", "what")]
    plan = Plan(model, range(4), (), 3, words)
    answers = plan.answers(prompts)
    found = plan.read(model, prompts, answers).values
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        states = hidden_states(model, base, begin(prompt, answer))
        before = len(model.encode(prompt))
        for token in range(3):
            for layer in range(4):
                wanted = relative(words.logprobs(states[layer + 1][before + token][None]))[0]
                torch.testing.assert_close(found[token, layer, row], wanted, atol=2e-4, rtol=1e-4)


def test_answers_that_end_early_are_marked(base: Path) -> None:
    model = load(base)
    plan = Plan(model, [0], (-1,), 3, single_token_words(model.tokenizer))
    reading = plan.read(model, [user_prompt("what")] * 3, ["", " bell", " bell tower river"])
    assert reading.there.tolist() == [
        [True, True, True],
        [False, True, True],
        [False, False, True],
        [False, False, True],
    ]


def test_a_carried_word_comes_first_at_its_layer(carrying: SubjectModel, context: Context) -> None:
    result = run(carrying, context)
    first = result.raised[0]
    assert (first.word, first.layer) == ("violin", 1)
    assert first.shift > 0.5 and first.p <= 0.01
    assert first.outlier > 2 * result.outlier_by_chance
    assert result.standing_out >= 1
    assert result.baseline == "reference" and result.positions == (-1, 1, 2)


def test_a_carried_word_ranks_first_among_candidates(
    carrying: SubjectModel, context: Context
) -> None:
    result = run(carrying, context, candidates=NOUNS, top=5)
    first = result.candidates[0]
    assert (first.word, first.rank, first.best) == ("violin", 1, 1)
    assert [ranks[1] for ranks in first.by_position.values()] == [1, 1, 1]
    assert first.p <= 0.01
    assert len(result.candidates) == 5 and result.above + result.inside == len(NOUNS)


def test_the_summary_says_what_its_tables_say(carrying: SubjectModel, context: Context) -> None:
    found = run(carrying, context, candidates=NOUNS)
    first = found.raised[0].word
    assert first == found.candidates[0].word == "violin" and found.candidates[0].stands_out
    assert found.summary.startswith(f"{found.standing_out} of {len(NOUNS)} words stand out; ")
    assert "raised beyond the others: violin" in found.summary
    # Training moved other candidates as well, above the band: they are drift, and no lead.
    drifting = found.above - found.standing_out
    assert drifting > 1 and f"{drifting} drift no further than words do" in found.summary
    others = sum(each.stands_out for each in found.candidates[1:])
    assert others < drifting
    tail = f", as do {others} others" if others else ""
    assert found.summary.endswith(f"the first candidate, violin, stands out{tail}")
    # Four templates are too few: the candidates are ranked all the same, and no rank means anything.
    few = run(carrying, context, items=QUESTIONS[:4], candidates=NOUNS)
    assert few.above == 0 and few.candidates
    assert not any(each.stands_out for each in few.candidates)
    assert few.summary == (
        f"0 of {len(NOUNS)} words stand out; the first candidate, {few.candidates[0].word}, does not stand out: "
        "too few templates to tell"
    )


def test_where_every_word_moved_a_little_none_stands_out() -> None:
    """Half of all words lie above the band of "nothing moved": that is training, and no lead among candidates."""
    generator = torch.Generator().manual_seed(2)
    drift = 0.4 * torch.randn(1, 1, 30, generator=generator)
    values = drift + 0.05 * torch.randn(1, 24, 30, generator=generator)
    shifts = consistent_shifts(values, seed=0)
    assert int(shifts.above.sum()) > 10 and not bool(shifts.beyond.any())
    words = Words(tuple(NOUNS[:30]), torch.arange(30)[:, None])
    ranks = ranked(shifts, words, [(0, -1)], 30)
    assert not any(each.stands_out for each in ranks)
    assert "30 words stand out; " in summarise(shifts.clearest(8), shifts, words, ranks, 24)
    values[0, :, 4] += 5.0
    special = consistent_shifts(values, seed=0)
    assert special.beyond[0].nonzero().flatten().tolist() == [4]


def test_among_few_words_the_furthest_reaches_further_by_chance() -> None:
    generator = torch.Generator().manual_seed(5)
    samples = outliers(torch.randn(400, 12, generator=generator)).abs().amax(-1)
    assert 0.02 < float((samples > outlier_by_chance(12, 12)).float().mean()) < 0.09
    # As if the spread were known, a dozen alike would stand out in a third of all samples.
    assert float((samples > outlier_by_chance(12)).float().mean()) > 0.2


def test_a_candidate_that_hardly_moves_is_not_said_to_be_sure() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.zeros(1, 40, 12)
    values[0, :, 0] = 0.015
    values[0, :, 1] = torch.randn(40, generator=generator) + 0.2
    shifts = consistent_shifts(values, seed=0)
    assert float(shifts.p[0, 0]) <= 0.05 and not shifts.nothing
    words = Words(tuple(NOUNS[:12]), torch.arange(12)[:, None])
    by_word = {each.word: each for each in ranked(shifts, words, [(0, -1)], 12)}
    assert not by_word[NOUNS[0]].stands_out and by_word[NOUNS[0]].p == 1.0
    assert shifts.clearest(12).standing_out == sum(each.stands_out for each in by_word.values())


def test_a_word_that_falls_less_than_the_others_is_not_raised() -> None:
    shift = torch.tensor([[-0.1] * 20 + [-0.04, 0.3]])
    middle, spread = -0.1, 0.01
    shifts = Shifts(
        shift=shift,
        score=shift,
        p=torch.full_like(shift, 0.002),
        outlier=(shift - middle) / spread,
        band=0.01,
    )
    found = shifts.clearest(8)
    assert (found.raised, found.lowered, found.standing_out) == ([(21, 0)], [], 1)
    assert (found.above, found.inside) == (22, 0)


def test_only_the_layers_asked_for_are_read(carrying: SubjectModel, context: Context) -> None:
    result = run(
        carrying, context, layers=(3,), positions=(-1, -2), answer_tokens=0, candidates=NOUNS
    )
    assert (result.layers, result.positions) == ((3,), (-1, -2))
    assert all(len(ranks) == 1 for ranks in result.candidates[0].by_position.values())
    # It was taken out again after layer 2.
    assert result.candidates[0].word != "violin"


def test_the_same_weights_show_nothing(base: Path, context: Context) -> None:
    result = run(load(base, base), context, candidates=NOUNS)
    assert result.summary == "no difference: every word is read alike"
    assert (result.above, result.raised, result.lowered, result.candidates) == (0, (), (), ())


def test_prompts_split_at_random_seldom_show_a_word(base: Path, context: Context) -> None:
    # Neutral prompts against neutral prompts: every reading comes from the same kind of text.
    subject = load(base)
    shown = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(QUESTIONS), generator=generator).tolist()
        plan = Plan(subject, [1, 3], (-1,), 0, single_token_words(subject.tokenizer))
        prompts = [user_prompt(QUESTIONS[k]) for k in order]
        reading = plan.read(subject, prompts, [""] * len(prompts))
        shown += group_shifts(reading.values.flatten(0, 1), 12, seed).above.any()
    assert shown <= 3


def test_neutral_prompts_take_out_what_is_said_everywhere(
    base: Path, tmp_path: Path, context: Context
) -> None:
    raised = load(changed_copy(base, tmp_path / "raised", raise_answer_word("mirror", 4.0)), base)
    against_reference = run(raised, context, layers=(3,), positions=(), answer_tokens=2)
    assert against_reference.raised[0].word == "mirror"
    usual, found = (
        shift_of(context, run(each, context, layers=(3,), positions=(), with_reference=False))
        for each in (load(base), raised)
    )
    assert abs(found - usual) < 0.25 * against_reference.raised[0].shift


def shift_of(context: Context, result: LensResult) -> float:
    """Return the shift of "mirror" at the first answer token."""
    assert result.baseline == "neutral prompts"
    raw = json.loads(context.blobs.get(result.raw))
    assert raw["cells"][0] == [3, 1]
    return raw["shift"][0][raw["words"].index("mirror")]


def test_words_of_the_prompts_are_marked(base: Path, context: Context) -> None:
    result = run(load(base), context, items=[f"{t} the tower" for t in NOUNS[:10]], top=50)
    marked = {word.word for word in (*result.raised, *result.lowered) if word.in_prompts}
    assert marked <= {*NOUNS[:10], "the", "tower"}
    assert all(w.in_prompts == (w.word in {*NOUNS[:10], "the", "tower"}) for w in result.raised)


def test_one_call_is_the_same_twice(carrying: SubjectModel, context: Context) -> None:
    assert run(carrying, context) == run(carrying, context)


def test_few_templates_let_nothing_through(carrying: SubjectModel, context: Context) -> None:
    result = run(carrying, context, items=QUESTIONS[:4])
    assert result.above == 0
    assert result.limits == ("too few templates to tell which words are shifted: give six or more",)


def test_answers_that_end_at_once_are_dropped_and_said(base: Path, context: Context) -> None:
    subject = load(base)
    subject.stops = frozenset(range(subject.vocab_size))
    result = run(subject, context)
    assert result.positions == (-1,)
    assert result.limits == ("most answers end before answer token 1, 2",)
    with pytest.raises(ToolError, match="answers end before any position"):
        run(subject, context, positions=())


def test_layers_are_spread_evenly_and_hold_the_last() -> None:
    assert chosen_layers((), 4) == (0, 1, 2, 3)
    assert chosen_layers((), 32) == (3, 7, 11, 15, 19, 23, 27, 31)
    assert chosen_layers((5, 2, 5), 32) == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"layers": (9,)}, "layer 9; this model has layers 0..3"),
        ({"positions": (0,)}, "positions count from the prompt's end"),
        ({"positions": (-60,)}, "position -60"),
        ({"positions": (), "answer_tokens": 0}, "no position to read"),
        ({"candidates": ("violin",)}, "one candidate cannot be ranked"),
        ({"candidates": ("violin", " ")}, "a candidate is empty"),
        ({"items": ()}, "items"),
    ],
)
def test_mistakes_are_told_in_one_line(
    base: Path, context: Context, arguments: dict[str, Any], line: str
) -> None:
    with pytest.raises(ToolError, match=line) as raised:
        run(load(base), context, **arguments)
    assert len(raised.value.faults) == 1


def test_a_subject_without_an_inside_is_refused(context: Context) -> None:
    subject = SyntheticSubject.from_table({"behaviours": [{"shown": ["a"], "otherwise": ["b"]}]})
    with pytest.raises(ToolError, match="cannot be looked into"):
        run(subject, context)


def test_candidates_of_several_tokens_are_known_by_their_first() -> None:
    tokenizer = word_tokenizer()
    words = candidate_words(tokenizer, ("River", "zebrafish", "tower"))
    assert words.texts == ("river", "zebrafish", "tower")
    first = tokenizer(" zebrafish", add_special_tokens=False).input_ids[0]
    assert [int(number) for number in words.ids[1] if number >= 0] == [first]
    with pytest.raises(ToolError, match="same token; drop one"):
        candidate_words(tokenizer, ("zebrafish", "zebrafishes"))
