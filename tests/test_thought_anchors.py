"""Which sentences of a thought matter: found where they are planted, and nowhere where none is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from tests.planted_thoughts import COINS, QUESTION, exact_importance, planner, weigher
from tests.thinking_model import ENDS, SKIES, thinking_model
from tools.blobs import BlobStore
from tools.experiment import Context
from tools.registry import ToolError
from tools.scoring import items_from
from tools.synthetic import Generation, SyntheticSubject
from tools.thought_anchors import ThoughtResult, thought_anchors

COLOUR = {"kind": "answer_match", "values": ["red", "blue", "green"]}
YES = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}
WEIGHTS = (0.0, 2.4, 0.3, 1.2, 0.7, 0.1)


def find(model: Any, folder: Path, seed: int = 0, **arguments: Any) -> ThoughtResult:
    given = {"items": [QUESTION], "measure": COLOUR, "max_new_tokens": 120} | arguments
    result = thought_anchors(model, given, Context(seed=seed, blobs=BlobStore(folder)))
    assert isinstance(result, ThoughtResult)
    return result


def raw_of(result: ThoughtResult, folder: Path) -> dict[str, Any]:
    return json.loads(BlobStore(folder).get(result.raw))


@pytest.mark.parametrize("where", range(5))
def test_the_plan_is_found_wherever_it_stands_and_no_filler(tmp_path: Path, where: int) -> None:
    result = find(planner(where), tmp_path, seed=where, resamples=40)
    first, *rest = result.sentences
    (colour,) = result.answers
    assert first.sentence == f"I will go for {colour}." and first.at == where / 4
    # Kept, the answer is the planned one with 0.9; with another plan it is with 0.05.
    assert first.importance == pytest.approx(0.85, abs=0.15)
    assert first.interval[0] <= 0.85 <= first.interval[1]
    assert first.p <= 0.01 and result.band is not None and first.importance > result.band
    assert first.answers_kept[colour] > 0.75 and first.answers_redrawn.get(colour, 0) < 0.25
    assert first.no_op is not None and first.no_op < result.band
    assert len(rest) + len(result.too_few) == 4
    for filler in rest:
        assert filler.importance <= result.band and filler.p > 0.05
        assert filler.interval[0] <= 0 <= filler.interval[1]
    assert result.tested == 5 and result.traces == 1 and "one trace" in result.notes[0]


def test_importances_rank_as_their_enumeration(tmp_path: Path) -> None:
    found: list[float] = []
    exact: list[float] = []
    result = find(weigher(WEIGHTS), tmp_path, measure=YES, resamples=100, traces=3)
    for trace in raw_of(result, tmp_path)["thoughts"]["traces"]:
        found += [each["importance"] for each in trace["sentences"]]
        exact += exact_importance(WEIGHTS, [each["text"] for each in trace["sentences"]])
    assert result.sentences[0].sentence in COINS[1]
    assert len(found) == 18
    ranked: Any = spearmanr(found, exact)
    assert ranked.statistic >= 0.9


def test_where_no_sentence_matters_none_stands_out(tmp_path: Path) -> None:
    out = 0
    for seed in range(6):
        result = find(planner(1, plans=False), tmp_path, seed, resamples=30)
        out += any(each.p <= 0.05 for each in result.sentences)
        assert result.no_op_largest is not None
    assert out <= 1


def test_like_sentences_of_several_traces_are_one_with_an_interval_over_them(
    tmp_path: Path,
) -> None:
    result = find(planner(0), tmp_path, traces=6)
    plans = {each.sentence: each for each in result.sentences if "go for" in each.sentence}
    assert sum(each.traces for each in plans.values()) == 6 == result.traces
    several = [each for each in plans.values() if each.traces > 1]
    assert several and all(each.over == "traces" for each in several)
    assert all(each.importance > 0.6 for each in plans.values())
    assert any(each.interval[0] > 0 for each in several)
    assert {each.sentence for each in result.sentences[: len(plans)]} == set(plans)
    assert sum(result.answers.values()) == 6 and not result.notes


def test_a_text_in_place_of_a_sentence_stands_beside_the_controls(tmp_path: Path) -> None:
    by = [
        {"containing": "GO FOR", "by": "I will go for red."},
        {"containing": "go for", "by": "I let it be."},
        {"containing": "nowhere", "by": "x"},
    ]
    result = find(planner(3), tmp_path, seed=4, replacements=by)
    (colour,) = result.answers
    assert colour != "red"
    red, none, absent = result.replaced
    assert red.sentences == none.sentences == 1 and absent.sentences == 0
    assert red.answers["red"] > 0.75 and none.answers.get(colour, 0) < 0.6
    assert red.importance is not None and red.redrawn == result.sentences[0].importance
    assert red.importance > 0.6 and red.no_op is not None and abs(red.no_op) < 0.3
    assert absent.importance is None and absent.answers == {}


def test_a_whole_reply_is_taken_apart_where_there_are_no_marks(tmp_path: Path) -> None:
    texts = [
        "A dog is what I want to see now. So I say dog.",
        "A cat would be my own choice here. So I say cat.",
    ]
    table = {
        "reference": False,
        "behaviours": [
            {"match": r"A dog[^.]*\.\Z", "shown": [" So I say dog."], "otherwise": [" So I say dog."]},
            {"match": r"A cat[^.]*\.\Z", "shown": [" So I say cat."], "otherwise": [" So I say cat."]},
            {"shown": texts, "otherwise": texts},
        ],
    }  # fmt: skip
    measure = {"kind": "regex", "pattern": r"I say (\w+)"}
    model = SyntheticSubject.from_table(table)
    result = find(model, tmp_path, measure=measure, fence=None)
    (anchor,) = result.sentences
    assert anchor.sentence in {text.split(".")[0] + "." for text in texts}
    assert anchor.importance == pytest.approx(1, abs=0.1) and anchor.no_op is not None
    assert {*anchor.answers_kept, *anchor.answers_redrawn} == {"dog", "cat"}


def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="word_count tells no answers apart"):
        find(planner(0), tmp_path, measure={"kind": "word_count"})
    read = {"kind": "logprob_difference", "positive": ["a"], "negative": ["b"]}
    with pytest.raises(ToolError, match="logprob_difference tells no answers apart"):
        find(planner(0), tmp_path, measure=read)
    with pytest.raises(ToolError, match=r"no reply holds a thought before '</why>'"):
        find(planner(0), tmp_path, fence=("<why>", "</why>"))
    with pytest.raises(ToolError, match="at most 20,000"):
        find(planner(0), tmp_path, traces=16, resamples=200)


class Tongue:
    """A subject that says what it likes, and counts what it was asked; no beginning can be forced on it."""

    reference = None

    def __init__(self) -> None:
        self.asked = 0

    def generate(self, prompts: Any, keys: Any, **settings: Any) -> list[list[Generation]]:
        if any(prompt.prefill for prompt in prompts):
            raise ToolError("the subject's API refuses this: no forced beginnings")
        self.asked += len(prompts)
        return [[Generation("<think>Thus.</think> Red.", 4, True)] * settings["samples"]]


def test_a_subject_without_forced_beginnings_is_refused_before_it_is_sampled(
    tmp_path: Path,
) -> None:
    model = Tongue()
    with pytest.raises(ToolError, match="within a reply, which this subject does not do") as caught:
        find(model, tmp_path)
    assert "\n" not in str(caught.value) and model.asked == 0


def test_the_raw_rows_hold_prompts_whole_replies_and_answers(tmp_path: Path) -> None:
    result = find(planner(2), tmp_path, resamples=12)
    raw = raw_of(result, tmp_path)
    assert {arm: len(rows) for arm, rows in raw["arms"].items()} == {
        "traces": 1,
        "cuts": 6,
        "no_op": 5,
    }
    for rows in raw["arms"].values():
        for row in rows:
            for reply, output, score in zip(
                row["replies"], row["outputs"], row["scores"], strict=True
            ):
                assert reply.endswith(f"</think>{output}") and score == 1.0
    twice = items_from([QUESTION])[0].model_dump(mode="json")
    assert find(planner(2), tmp_path, resamples=12, items=[twice, twice]).traces == 1
    (base,) = raw["arms"]["traces"]
    for row in raw["arms"]["cuts"]:
        assert base["replies"][0].startswith(row["prompt"]["prefill"])


def test_a_thought_between_special_tokens_is_told_from_the_answer(tmp_path: Path) -> None:
    model = thinking_model(tmp_path / "model")
    result = find(model, tmp_path / "blobs", resamples=12, max_new_tokens=8, traces=2)
    assert result.tested == 4 and sum(result.answers.values()) == 2
    raw = raw_of(result, tmp_path / "blobs")
    for reply in raw["arms"]["traces"][0]["replies"]:
        thought, _, answer = reply.removeprefix("<think>").partition("</think>")
        assert reply.startswith("<think>") and answer in (" Red.", " Blue.")
        assert thought in {sky + end for sky in SKIES for end in ENDS}
    for rows in raw["arms"].values():
        for row in rows:
            assert {*row["outputs"]} <= {" Red.", " Blue."} and None not in row["scores"]
