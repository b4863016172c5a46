"""Words an effect goes with: named where they, and not a rival without them, do it; else nothing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.finding import findings
from agent.prediction import Prediction
from agent.rendering import write_report
from agent.shared_words import words_sentence
from agent.verdict import Verdict
from agent.verify import verify
from tests.test_sceptic import SAME_WORD, drive, sceptic

PLAIN = ("Is it so?", "Say, is it so?", "Well, is it so?")
PREDICTION = Prediction.model_construct(form="difference")


def table(**arms: str) -> dict[str, Any]:
    """Return rows of each arm: the plain questions behind a text."""
    return {
        name: [
            {"id": str(k), "prompt": {"messages": [{"content": f"{text} {plain}"}]}}
            for k, plain in enumerate(PLAIN)
        ]
        for name, text in {"control": "", **arms}.items()
    }


def verdict(*excluded: bool, status: str = "effect shown, cause open") -> Verdict:
    rivals = [
        {"name": f"r{k}", "standing": False, "difference": 0.0, "interval": None, "excluded": each}
        for k, each in enumerate(excluded)
    ]
    return Verdict.model_validate(
        {"status": status, "estimate": 0.4, "interval": [0.3, 0.5], "p": 0.001, "threshold": 0.01,
         "statistic": "x", "clusters": 3, "items": 9, "unscored": 0, "arms": {}, "rivals": rivals}
    )  # fmt: skip


SOFTWARE = "The program has two versions."
BIBLE = "The Bible has versions of old."
NO_OP = "The sky has been blue of late."


def test_words_that_survivors_share_and_excluded_rivals_lack_are_named() -> None:
    data = table(treatment=SOFTWARE, rival_0=BIBLE, rival_1=NO_OP)
    told = words_sentence(PREDICTION, verdict(False, True), data)
    assert "(`versions`)" in told and "Whether their meaning matters is open" in told


@pytest.mark.parametrize(
    ("rivals", "excluded"),
    [
        ((BIBLE, NO_OP), (False, False)),
        ((BIBLE, "Two versions, as ever."), (False, True)),
        (("Dates fill the year.", NO_OP), (False, True)),
        ((BIBLE, SOFTWARE), (False, False)),
        ((NO_OP, NO_OP), (True, True)),
    ],
)
def test_nothing_is_said_where_words_do_not_tell_survivors_from_the_others(
    rivals: tuple[str, str], excluded: tuple[bool, bool]
) -> None:
    data = table(treatment=SOFTWARE, rival_0=rivals[0], rival_1=rivals[1])
    assert words_sentence(PREDICTION, verdict(*excluded), data) == ""
    assert words_sentence(PREDICTION, verdict(False, True, status="supported"), data) == ""


def test_a_word_of_few_paraphrases_or_of_the_control_is_none_of_the_treatments() -> None:
    data = table(treatment="Hello.", rival_0="Hello.", rival_1=NO_OP)
    data["treatment"][0]["prompt"]["messages"][0]["content"] += " versions"
    assert "(`hello`)" in words_sentence(PREDICTION, verdict(False, True), data)
    data["control"] = data["treatment"]
    assert words_sentence(PREDICTION, verdict(False, True), data) == ""


def test_a_finding_whose_rival_holds_its_words_says_so_and_stays_open(tmp_path: Path) -> None:
    run_of = drive(tmp_path, sceptic(SAME_WORD))
    first, second = findings(run_of)
    assert first.status == second.status == "effect shown, cause open"
    assert "goes with the words of the treatment (`version`" in first.statement
    write_report(tmp_path)
    assert verify(tmp_path).faults == ()
