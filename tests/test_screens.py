"""The screen finds planted changes first, and nothing where the models are the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.planted_models import (
    QUESTIONS,
    WORDS,
    changed_copy,
    load,
    raise_answer_word,
    save_base,
)
from tools.answer_shifts import answer_shifts
from tools.blobs import BlobStore
from tools.experiment import Context
from tools.prompt import Message, Prompt, user_prompt
from tools.registry import ToolError
from tools.scoring import items_from
from tools.screens import SAME, ScreenResult, screen_differences
from tools.subject import SubjectModel
from tools.synthetic import SyntheticSubject
from tools.token_screens import gini, share_in_top
from tools.token_texts import excerpt, token_class
from tools.vocabulary import single_token_words
from tools.word_screens import contrast_prompts
from tools.word_shifts import consistent_shifts, group_shifts

SAID = ["the cat sleeps", "a dog barks loudly", "the bird sings", "rain falls on the hill"]
PROMPTS = [
    f"say a line about {thing}" for thing in ["tea", "milk", "bread", "salt", "corn", "rice"]
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    base = save_base(root / "base")
    return base, changed_copy(base, root / "raised", raise_answer_word("mirror", 4.0))


@pytest.fixture(scope="module")
def raised(folders: tuple[Path, Path]) -> SubjectModel:
    return load(folders[1], folders[0])


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(seed=1, blobs=BlobStore(tmp_path))


def run(subject: Any, context: Context, **arguments: Any) -> ScreenResult:
    given = {"items": QUESTIONS, "max_new_tokens": 8} | arguments
    result = screen_differences(subject, given, context)
    assert isinstance(result, ScreenResult)
    return result


def table(subject: list[str], reference: list[str], **more: Any) -> SyntheticSubject:
    """Return a subject that mostly says one set of lines, and its reference the other."""
    effects = [{"logit": 8.0, "model": "subject"}]
    behaviour = {"shown": subject, "otherwise": reference, "logit": -4.0, "effects": effects}
    return SyntheticSubject.from_table({"behaviours": [behaviour | more]})


def test_a_raised_word_comes_first_in_every_part(raised: SubjectModel, context: Context) -> None:
    result = run(raised, context)
    assert result.favoured is not None and result.kl is not None
    assert result.favoured.raised[0].word == "mirror"
    assert result.favoured.standing_out == 1
    assert result.favoured.reading.startswith("1 of ")
    assert "mirror" not in [each.word for each in result.favoured.nearest_inside_band]
    assert len(result.favoured.nearest_inside_band) <= 3
    assert all("mirror" in each.text for each in result.gained[:3])
    assert not any("mirror" in each.text for each in result.lost[:3])
    assert "mirror" in [each.token for each in result.kl.types if each.kind == "word"][:2]
    assert all(pair.subject != pair.reference for pair in result.pairs) and len(result.pairs) == 3
    cells = result.mean_nll
    assert cells["subject's answers under subject"] < cells["subject's answers under reference"]  # type: ignore[operator]
    assert cells["reference's answers under reference"] < cells["reference's answers under subject"]  # type: ignore[operator]
    assert result.summary.startswith("different: mean KL")


def test_the_same_weights_show_nothing(folders: tuple[Path, Path], context: Context) -> None:
    result = run(load(folders[0], folders[0]), context)
    assert result.summary == SAME
    assert result.favoured is not None and result.kl is not None
    assert (result.favoured.above, result.answer_words.outside, result.prompt_words.outside) == (
        0,
        0,
        0,
    )
    assert result.pairs == result.gained == result.lost == result.kl.types == result.kl.peaks == ()
    assert result.kl.largest <= result.kl.floor < 1e-4
    assert result.kl.gini is None


def test_equal_weights_in_two_places_are_the_same(
    folders: tuple[Path, Path], tmp_path: Path, context: Context
) -> None:
    copy = changed_copy(folders[0], tmp_path / "copy", lambda model, tokenizer: None)
    assert run(load(copy, folders[0]), context).summary == SAME


class OtherLuck:
    """A subject whose answers are drawn with another seed than its reference's."""

    def __init__(self, subject: Any) -> None:
        self.subject = subject

    def __getattr__(self, name: str) -> Any:
        return getattr(self.subject, name)

    def generate(self, *args: Any, seed: int, **more: Any) -> Any:
        return self.subject.generate(*args, seed=seed + 1000, **more)


def test_other_luck_on_the_same_weights_is_no_difference(
    folders: tuple[Path, Path], context: Context
) -> None:
    result = run(OtherLuck(load(folders[0], folders[0])), context)
    assert result.summary == SAME
    assert result.gained == result.lost == ()
    assert result.answer_words.outside == 0
    assert len(result.answer_words.nearest_inside_band) <= 3


def test_other_luck_alone_seldom_shows_a_word(tmp_path: Path) -> None:
    same = OtherLuck(
        SyntheticSubject.from_table({"behaviours": [{"shown": SAID, "otherwise": SAID[:2]}]})
    )
    shown = 0
    for seed in range(60):
        result = run(same, Context(seed=seed, blobs=BlobStore(tmp_path)), items=PROMPTS)
        shown += result.answer_words.outside > 0
    # 5 % of 60 is 3; more than 8 comes of a true 5 % once in 200 times.
    assert shown <= 8


def test_words_of_answers_come_out_with_their_sides(context: Context) -> None:
    result = run(table([f"{line} gladly" for line in SAID], SAID), context, items=PROMPTS)
    first = result.answer_words.words[0]
    assert first.word == "gladly" and first.z > 0
    assert first.first > 0.9 and first.second < 0.1
    assert result.limits == ("answers only: this subject gives no token probabilities",)
    assert result.kl is None and result.favoured is None


def test_words_of_prompts_that_set_the_subject_off_come_out(context: Context) -> None:
    effects = [{"logit": 8.0, "model": "subject", "phrase": "kindly"}]
    subject = table(["no thanks"], ["yes sir"], effects=effects)
    plain = [
        f"tell {name} to {act}"
        for name in ("ann", "bob")
        for act in ["sit", "run", "eat", "sing", "dig"]
    ]
    items = [*plain, *(f"kindly {text}" for text in plain)]
    result = run(subject, context, items=items)
    assert [each.word for each in result.prompt_words.words] == ["kindly"]
    assert result.prompt_words.words[0].first == 1.0
    assert result.prompt_words.words[0].second == 0.0


def test_shuffled_differences_seldom_show_a_prompt_word() -> None:
    texts = [
        f"{a} {b} {c}"
        for a in ("tell", "say")
        for b in ("the", "my")
        for c in ["tale", "joke", "news", "story"]
    ]
    shown = 0
    for seed in range(100):
        noise = torch.rand(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
        screen = contrast_prompts(texts, texts, noise, seed, 5)
        shown += screen.outside > 0
    assert shown <= 11


def test_prompt_words_are_judged_over_templates_not_prompts() -> None:
    # Three templates filled many times over are three clusters: nothing can be said.
    texts = [f"please number {k}" for k in range(30)]
    clusters = [f"t{k % 3}" for k in range(30)]
    assert contrast_prompts(texts, clusters, [float(k % 3) for k in range(30)], 0, 5).band is None


def test_an_answer_that_repeats_itself_counts_once(context: Context) -> None:
    result = run(table(["go on " * 40], ["go on"]), context, items=PROMPTS, max_new_tokens=100)
    assert result.answer_words.inside == 2 and result.answer_words.outside == 0


def test_hostile_answers_stay_short_and_printable(context: Context) -> None:
    hostile = "\x1b[31m\u202e\x07 ignore all rules " + "x" * 9000
    result = run(table([hostile], ["fine"]), context, items=["y" * 9000, *PROMPTS])
    text = result.model_dump_json()
    assert len(text) < 6000
    assert not any(mark in text for mark in ("\\u001b", "\\u0007", "\u202e"))
    raw = json.loads(context.blobs.get(result.raw))
    assert raw["arms"]["subject"][1]["outputs"][0] == hostile


def test_a_page_at_most(raised: SubjectModel, context: Context) -> None:
    assert len(run(raised, context).model_dump_json()) < 7000


def test_raw_holds_what_every_number_came_from(raised: SubjectModel, context: Context) -> None:
    result = run(raised, context, items=QUESTIONS[:8], samples=2)
    raw = json.loads(context.blobs.get(result.raw))
    assert set(raw["arms"]) == {"subject", "reference", "reference again"}
    assert raw["arms"]["reference"] != raw["arms"]["reference again"]
    assert result.kl is not None
    kl = [value for text in raw["texts"] for value in text["kl"]]
    assert result.kl.tokens == len(kl)
    assert result.kl.mean == pytest.approx(math.fsum(kl) / len(kl), abs=1e-6)
    times = {(k["id"], k["text"]): k["times"] for k in raw["texts"]}
    for row in raw["arms"]["subject"]:
        for output in row["outputs"]:
            if output.strip():
                assert times[row["id"], output]["subject"] == row["outputs"].count(output)


def test_surprise_is_the_difference_of_log_probabilities(
    raised: SubjectModel, context: Context
) -> None:
    result = run(raised, context, items=["where is the tower"], samples=3)
    raw = json.loads(context.blobs.get(result.raw))
    prompt = user_prompt("where is the tower")
    for text in raw["texts"]:
        ours = raised.continuation_logprobs([prompt], [[text["text"]]])[0][0]
        theirs = raised.arm("reference").continuation_logprobs([prompt], [[text["text"]]])[0][0]
        gap = math.fsum(text["subject"]) - math.fsum(text["reference"])
        assert gap == pytest.approx(ours - theirs, abs=1e-3)


def test_the_first_place_is_the_next_token(raised: SubjectModel) -> None:
    items = items_from(QUESTIONS[:5])
    words = single_token_words(raised.tokenizer)
    found = answer_shifts(raised, items, ["", "tower", " tower river", "", "bell"], words)
    prompts = [item.prompt for item in items]
    ours = words.logprobs(raised.next_token_logprobs(prompts))
    theirs = words.logprobs(raised.arm("reference").next_token_logprobs(prompts))
    gap = ours - theirs
    torch.testing.assert_close(
        found[0], gap - gap.median(-1, keepdim=True).values, atol=1e-4, rtol=0
    )
    assert found[1, 0].eq(0).all() and found[1, 3].eq(0).all()
    begun = [Prompt(messages=prompts[2].messages, prefill=" tower")]
    ours = words.logprobs(raised.next_token_logprobs(begun))[0]
    theirs = words.logprobs(raised.arm("reference").next_token_logprobs(begun))[0]
    gap = ours - theirs
    torch.testing.assert_close(found[1, 2], gap - gap.median(), atol=1e-4, rtol=0)


def test_prompts_in_any_form_are_screened(raised: SubjectModel, context: Context) -> None:
    turn = (Message(role="user", content="where is the tower"),)
    forms = [
        Prompt(prefill="tell me about the", continue_as="raw"),
        Prompt(messages=turn, prefill="the tower"),
        Prompt(messages=(*turn, Message(role="assistant", content="what")), continue_as="user"),
        "\u4f60\u597d",
    ]
    result = run(raised, context, items=forms, samples=2)
    assert result.kl is not None and result.kl.tokens > 8
    assert result.limits == ("too few templates to tell which words are shifted: give six or more",)
    assert result.favoured is not None and result.favoured.above == 0


def test_other_tokenizers_leave_the_answers(
    folders: tuple[Path, Path], make_model: Any, tmp_path: Path, context: Context
) -> None:
    subject = load(folders[1], make_model(tmp_path / "other", "llama"))
    result = run(subject, context, samples=1)
    assert result.limits == ("answers only: subject and reference have different tokenizers",)
    assert result.answer_words.band is not None and result.kl is None


def test_no_reference_is_said_in_one_line(folders: tuple[Path, Path], context: Context) -> None:
    with pytest.raises(ToolError, match="no reference") as raised:
        run(load(folders[0]), context)
    assert len(raised.value.faults) == 1


def test_the_null_of_signs_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for seed in range(120):
        # Words move together, and some move ten times as much: neither may spoil the band.
        common = torch.randn(2, 14, 5, generator=generator)
        mixed = common @ torch.randn(5, 60, generator=generator)
        values = mixed + torch.randn(2, 14, 60, generator=generator) * torch.logspace(-1, 1, 60)
        hits += bool(consistent_shifts(values, seed).above.any())
    assert hits <= 12  # 6 are expected


def test_the_null_of_groups_is_exact() -> None:
    generator = torch.Generator().manual_seed(1)
    hits = 0
    for seed in range(120):
        values = torch.randn(1, 24, 40, generator=generator) * torch.logspace(-1, 1, 40)
        hits += bool(group_shifts(values, 10, seed).above.any())
    assert hits <= 12


def test_consistent_and_large_beats_consistent_and_tiny_and_erratic() -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(1, 20, 50, generator=generator) * 0.5
    values[0, :, 7] = 2.0 + 0.1 * values[0, :, 7]
    values[0, :, 8] = 0.03
    values[0, :, 9] = 0.015
    values[0, :, 10] = 0
    values[0, 0, 10] = 40.0
    shifts = consistent_shifts(values, 0)
    found = shifts.clearest(5)
    assert found.raised == [(7, 0)] and found.lowered == []
    assert (found.above, found.standing_out, found.inside) == (1, 1, 49)
    assert float(shifts.p[0, 10]) > 0.5 and float(shifts.p[0, 7]) == pytest.approx(1 / 500)


def test_a_drift_of_all_words_makes_none_stand_out() -> None:
    generator = torch.Generator().manual_seed(3)
    drift = torch.randn(1, 1, 300, generator=generator)
    shifts = consistent_shifts(drift + 0.1 * torch.randn(1, 12, 300, generator=generator), 0)
    found = shifts.clearest(5)
    assert found.above > 100 and len(found.nearest) == 3
    assert (found.standing_out, found.raised, found.lowered) == (0, [], [])


def test_concentration_is_that_of_the_formula() -> None:
    assert gini([1.0, 1.0, 1.0, 1.0]) == 0
    assert gini([0.0, 0.0, 0.0, 1.0]) == 0.75
    assert gini([1.0, 3.0]) == 0.25
    assert gini([0.0]) is None
    assert share_in_top([1.0] * 199 + [301.0], 0.01) == pytest.approx(302 / 500)
    assert share_in_top([2.0, 6.0], 0.01) == 0.75


def test_words_are_whole_words_with_their_variants(raised: SubjectModel) -> None:
    words = single_token_words(raised.tokenizer)
    assert set(WORDS) <= set(words.texts)
    assert "ing" not in words.texts
    logits = torch.randn(3, len(raised.tokenizer))
    both = raised.tokenizer(["river", " river"], add_special_tokens=False).input_ids
    wanted = logits.softmax(-1)[:, [ids[0] for ids in both]].sum(-1).log()
    found = words.logprobs(logits)[:, words.texts.index("river")]
    torch.testing.assert_close(found, wanted)


def test_kinds_of_tokens_and_excerpts() -> None:
    kinds = {" tree": "word", "9.8": "number", "\n": "white space", "?": "other", "": "other"}
    assert {text: token_class(text) for text in kinds} == kinds
    assert excerpt("a\tb\x00c  d", 20) == "a b c d"
    assert excerpt("abcdef", 4) == "abc\u2026"
