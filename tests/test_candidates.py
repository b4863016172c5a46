"""A planted candidate comes out on top, and where there is none nothing stands out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.blobs import BlobStore
from tools.candidates import CandidateResult, expected_largest_z, rank_candidates
from tools.experiment import Context
from tools.prompt import PromptItem, Template, fill
from tools.registry import ToolError
from tools.synthetic import SyntheticSubject

WORDS = (
    "apple",
    "river",
    "stone",
    "cloud",
    "table",
    "horse",
    "glass",
    "candle",
    "ladder",
    "needle",
)
TEXTS = tuple(
    f"{opening} the word {{word}}?"
    for opening in ("Is it", "Do you mean", "Could it be", "I guess", "Tell me, is it", "Perhaps")
)
MATCH = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}


def rank(folder: Path, seed: int = 0, reference: bool = True, **effect: Any) -> CandidateResult:
    table: dict[str, Any] = {
        "behaviours": [
            {
                "shown": ["Yes."],
                "otherwise": ["No."],
                "logit": -1.0,
                "effects": [effect] if effect else [],
            }
        ],
        "reference": reference,
        "scatter": {"template": 0.2, "seed": seed},
    }
    items: list[PromptItem] = []
    for k, text in enumerate([*TEXTS, "This one has no place for it."]):
        template, slots = Template(text=text), {"word": "apple"}
        items.append(
            PromptItem(
                id=f"i{k}",
                template=template,
                template_id=f"t{k}",
                slots=slots,
                prompt=fill(template, slots),
            )
        )
    given = {
        "items": [item.model_dump() for item in items],
        "slot": "word",
        "values": WORDS,
        "measure": MATCH,
        "samples": 16,
    }
    result = rank_candidates(
        SyntheticSubject.from_table(table), given, Context(seed=seed, blobs=BlobStore(folder))
    )
    assert isinstance(result, CandidateResult)
    return result


@pytest.mark.parametrize("word", ["candle", "river"])
def test_a_planted_candidate_stands_out_in_most_templates(tmp_path: Path, word: str) -> None:
    found = rank(tmp_path, phrase=word, logit=4.0, model="subject")
    assert found.ranked[0].value == word
    assert (
        found.ranked[0].z > 2 * found.expected_largest_z and found.ranked[0].templates_above > 0.8
    )
    assert found.ranked[1].z < found.ranked[0].z / 2
    # The template without the slot is left out.
    assert (found.templates, found.candidates) == (6, 10)


def test_what_the_reference_does_too_is_taken_off(tmp_path: Path) -> None:
    assert rank(tmp_path, phrase="candle", logit=4.0, model="both").ranked[0].gap < 0.3
    alone = rank(tmp_path, reference=False, phrase="candle", logit=4.0)
    assert alone.ranked[0].value == "candle" and alone.ranked[0].gap > 0.4


def test_each_models_own_means_and_ranks_stand_beside_the_difference(tmp_path: Path) -> None:
    """A word that both models favour is first in both, and no lead; one of the subject's alone is last there."""
    favoured = rank(tmp_path, phrase="candle", logit=4.0, model="both")
    shown = next(each for each in favoured.ranked if each.value == "candle")
    assert shown.subject_rank == shown.reference_rank == 1
    own = rank(tmp_path, phrase="candle", logit=4.0, model="subject").ranked[0]
    assert own.subject is not None and own.reference is not None
    assert own.score == pytest.approx(own.subject - own.reference)
    assert own.subject_rank == 1 and own.subject > 0.8 and own.reference < 0.5
    alone = rank(tmp_path, reference=False, phrase="candle", logit=4.0).ranked[0]
    assert alone.reference is alone.reference_rank is None


def test_where_nothing_is_planted_nothing_stands_out(tmp_path: Path) -> None:
    tops = [rank(tmp_path, seed).ranked[0] for seed in range(4)]
    assert max(top.gap for top in tops) < 0.25
    # The same noise for every candidate of a template: without an effect there is no difference at all.
    assert all(top.gap == pytest.approx(0, abs=0.25) for top in tops)


def test_the_yardstick_grows_with_the_number_of_candidates() -> None:
    assert expected_largest_z(10) == pytest.approx(1.547, abs=0.01)
    assert expected_largest_z(100) > expected_largest_z(10)


def test_a_slot_that_is_nowhere_is_told(tmp_path: Path) -> None:
    subject = SyntheticSubject.from_table({"behaviours": [{"shown": ["a"], "otherwise": ["b"]}]})
    given = {"items": ["x", "y"], "slot": "word", "values": WORDS, "measure": MATCH}
    with pytest.raises(
        ToolError, match="at least two prompts must show the slot 'word'.*write {word} into"
    ):
        rank_candidates(subject, given, Context(seed=0, blobs=BlobStore(tmp_path)))


def test_texts_of_the_investigators_own_show_the_slot_as_a_mark(tmp_path: Path) -> None:
    behaviour = {"shown": ["Yes."], "otherwise": ["No."], "logit": -3.0,
                 "effects": [{"logit": 6.0, "phrase": "candle", "model": "subject"}]}  # fmt: skip
    whole = {"messages": [
        {"role": "system", "content": "Be brief about {word}."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Is it {word}?"},
    ]}  # fmt: skip
    given = {"items": [*TEXTS[:3], whole, "This one has no place for it."], "slot": "word",
             "values": WORDS, "measure": MATCH, "samples": 8}  # fmt: skip
    context = Context(seed=0, blobs=BlobStore(tmp_path))
    subject = SyntheticSubject.from_table({"behaviours": [behaviour]})
    result = rank_candidates(subject, given, context)
    assert (result.ranked[0].value, result.templates) == ("candle", 4)
    rows = json.loads(context.blobs.get(result.raw))["arms"]["subject/candle"]
    turns = [(turn["role"], turn["content"]) for turn in rows[3]["prompt"]["messages"]]
    assert turns[0] == ("system", "Be brief about candle.") and len(turns) == 4
    assert turns[3] == ("user", "Is it candle?")
    other = {**given, "items": ["Is {name} a {word}?", "Is it {word}?"]}
    with pytest.raises(ToolError, match="no value for {name}; slots are: word"):
        rank_candidates(subject, other, context)
    begun = {"messages": [{"role": "user", "content": "Is it {word}?"}], "continue_as": "user"}
    with pytest.raises(ToolError, match="has to end with a user turn that is answered"):
        rank_candidates(subject, {**given, "items": [begun, "Is it {word}?"]}, context)
