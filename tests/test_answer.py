"""The answer says which findings stand behind it and behind each guess, and what was never tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.answer import names_any, naming
from agent.finding import Finding
from agent.prediction import Prediction
from agent.rendering import render_html, render_markdown
from agent.report import build_report
from agent.submission import Answer
from tests.scripted_run import level, make_run, prediction, turns
from tests.test_report import Outline


def test_a_refuted_guess_is_marked(tmp_path: Path) -> None:
    guesses = {"kind": "factor", "value": ["version"], "guesses": ["version", "date", "moon"]}
    made = build_report(make_run(tmp_path / "run", turns(answer=guesses)))
    assert made.answer.refuted_guesses == {"date": ("P2",)}
    assert "<code>date</code> <b>(refuted by P2)</b>, <code>moon</code>." in render_html(made)
    assert "`date` **(refuted by P2)**, `moon`." in render_markdown(made)
    # What P1 supports is alive, though P2 compared a level of the same slot.
    slot = build_report(make_run(tmp_path / "slot", turns()))
    assert slot.answer.guesses[0] == "context" and slot.answer.refuted_guesses == {}


def compared(*edits: dict[str, Any]) -> Finding:
    """Return a supported finding whose treatment makes these edits."""
    wanted = prediction(treatment={"name": "t", "edits": edits}, control={"name": "c"})
    return Finding(
        id="P1", status="supported", statement="", prediction=Prediction.model_validate(wanted)
    )


def test_order_and_digits_are_named_by_the_edits_that_change_them() -> None:
    swap = {"kind": "swap_slots", "slots": ["a", "b"], "condition": "put_last", "anchor": "wrong"}
    padded = {"kind": "format_numbers", "slots": ["a", "b"], "style": "equal_decimals"}
    for words in ("order", "order: `wrong` last"):
        assert names_any(compared(swap).prediction, (words,)) and not names_any(
            compared(padded).prediction, (words,)
        )
    for words in ("digits", "length", "number format: equal decimals"):
        assert names_any(compared(padded).prediction, (words,)) and not names_any(
            compared(swap).prediction, (words,)
        )
    assert not names_any(compared(swap).prediction, ("order: `wrong` first",))


def test_levels_that_nobody_tested_stand_beside_the_headline(tmp_path: Path) -> None:
    said = turns(interpretations={})
    register = said[1].calls[0].model_copy(update={"arguments": {"predictions": [prediction()]}})
    said[1] = said[1].model_copy(update={"calls": (register,)})
    made = build_report(make_run(tmp_path / "run", said))
    words = "Of `context`, tested as a cause: `version`; excluded as rivals: `date`."
    assert made.findings[0].untested_levels == words
    assert made.answer.sentences[1].endswith(words)
    text = "".join(Outline(render_html(made)).text)
    assert text.count(words.replace("`", "")) == 3
    assert words in render_markdown(made)


def test_values_that_stand_differently_are_told_one_by_one(tmp_path: Path) -> None:
    answer = {"kind": "factor", "value": ["context = version", "context = date", "moon"]}
    made = build_report(make_run(tmp_path / "run", turns(answer=answer)))
    assert made.answer.sentences[0].endswith(
        "(its confidence: 50 %): `context = version` is supported by P1; `context = date` is refuted by P2; `moon` "
        "is supported by no finding."
    )


def test_an_effect_whose_cause_is_open_leads_where_it_is_all_that_backs_the_answer(
    tmp_path: Path,
) -> None:
    edit = {"kind": "set_slot", "slot": "context", "values": ["Some version talk."]}
    survivor = {"name": "any talk of versions", "arm": {"name": "talk", "edits": [edit]}}
    said = turns(answer={"kind": "factor", "value": ["context = version"]}, interpretations={})
    call = said[1].calls[0]
    wishes = {"predictions": [prediction(rivals=[survivor], per_cluster=6)]}
    said[1] = said[1].model_copy(update={"calls": (call.model_copy(update={"arguments": wishes}),)})
    made = build_report(make_run(tmp_path / "run", said))
    assert made.findings[0].status == "effect shown, cause open"
    first, second, third = made.answer.sentences
    assert "for which an effect was shown, its cause open (P1)" in first
    assert second.startswith("An effect was shown but not its cause (P1): ")
    assert third.startswith("1 of ")
    assert 'class="answer none"' in render_html(made)


def test_an_equivalence_backs_no_answer_that_names_what_it_denies() -> None:
    same = prediction(form="equivalence", treatment=level("date"), smallest_effect=0.2)
    found = Finding(
        id="P1",
        status="supported",
        decided="supported",
        statement="",
        prediction=Prediction.model_validate(same),
    )
    assert naming([found], ("context = date",), "supported") == ()


def test_of_a_level_that_lowers_it_the_other_may_be_named_and_of_one_that_raises_it_not() -> None:
    for direction, backed in (("less", True), ("more", False)):
        wanted = prediction(treatment=level("date"), control=level("price"), direction=direction)
        found = Finding(
            id="P1",
            status="supported",
            decided="supported",
            statement="",
            prediction=Prediction.model_validate(wanted),
        )
        assert bool(naming([found], ("context = price",), "supported")) is backed
        assert naming([found], ("context = date",), "supported") == ("P1",)


def test_an_answer_says_whose_the_behaviour_is_where_that_was_looked_at(tmp_path: Path) -> None:
    said = {"kind": "factor", "value": ["context = version"]}
    plain = build_report(make_run(tmp_path / "plain", turns(answer=said)))
    assert "which the reference" not in plain.answer.sentences[0]
    assert "scope" not in Answer.model_validate(said).model_dump(mode="json")
    for scope, words in (
        ("inherited", "which the reference does too"),
        ("added", "which the reference does not do"),
    ):
        told = {**said, "scope": scope}
        made = build_report(make_run(tmp_path / scope, turns(answer=told)))
        assert words in made.answer.sentences[0]
        assert Answer.model_validate(told).model_dump(mode="json")["scope"] == scope


def test_nothing_is_said_beside_how_often_it_happens(tmp_path: Path) -> None:
    answer = {"kind": "nothing", "confidence": 0.9}
    made = build_report(make_run(tmp_path, turns(answer=answer)))
    assert made.step_zero is not None
    mean = 100 * made.step_zero.rates["subject"]["mean"]
    assert mean > 0 and made.answer.sentences[0].startswith(
        "The investigator's answer is that nothing unusual is there (its confidence: 90 %): what was asked about was "
        f"seen in {mean:.0f} % of the subject's answers"
    )
