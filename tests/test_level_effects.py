"""A level's row: the rate it starts from, and the texts that its mean hides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_prompt_variation import row_of, run, subject
from tools.blobs import BlobStore
from tools.experiment import Context


def at(folder: Path) -> Context:
    return Context(seed=11, blobs=BlobStore(folder))


def test_texts_of_one_level_that_differ_among_themselves_are_named(tmp_path: Path) -> None:
    """Two of three wordings do nothing: the mean of the level is a third, and no text does that."""
    texts = ["Quick now.", "Hurry up.", "It is urgent."]
    level = {"name": "hurried", "edits": [{"kind": "insert_text", "texts": texts}]}
    factor = {"name": "hurry", "levels": [{"name": "calm"}, level]}
    effects = [{"logit": 8.0, "phrase": "urgent", "model": "both"}]
    behaviour = {"shown": ["yes"], "otherwise": ["no"], "logit": -4.0, "effects": effects}
    row = row_of(run(at(tmp_path), subject(behaviours=[behaviour]), factors=[factor]), "hurried")
    assert [each.text for each in row.texts][1] == "It is urgent."
    assert row.texts[0].rate < 0.1 and row.texts[1].rate > 0.9
    assert row.texts[1].prompts == 12 and 0.2 < (row.subject.rate or 0) < 0.5
    # As a slot's values they are told apart as well; wordings that all do the same are not named.
    who = {"kind": "set_slot", "slot": "who", "values": ["child", "boss"]}
    mixed = {"name": "who", "levels": [{"name": "as it is"}, {"name": "either", "edits": [who]}]}
    strong = {"logit": 8.0, "slot": "who", "values": ["boss"]}
    planted = subject(behaviours=[behaviour | {"effects": [strong]}])
    assert [
        e.text for e in row_of(run(at(tmp_path), planted, factors=[mixed]), "either").texts
    ] == [
        "child",
        "boss",
    ]
    assert row_of(run(at(tmp_path)), "urgent").texts == ()


def test_the_rate_that_an_effect_starts_from_stands_beside_it(tmp_path: Path) -> None:
    for row in run(at(tmp_path)).effects:
        for told in filter(None, (row.subject, row.reference)):
            assert told.rate is not None and told.against_rate is not None
            assert told.rate - told.against_rate == pytest.approx(told.effect)
