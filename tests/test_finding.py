"""Findings are worded by code, from what was registered and seen, in words no stronger than the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.finding import findings
from agent.prediction import Prediction
from agent.rendering import level as mean_words
from agent.scope import level_of, limits_of
from agent.statements import statement_of
from agent.verdict import Verdict
from agent.wording import (
    contrast,
    describe_arm,
    describe_measure,
    interval_words,
    number,
    p_value,
    predicted,
    with_unit,
)
from tests.scripted_run import level, make_run, prediction, turns
from tools.measures import Measure
from tools.prompt import Arm

MEASURE: TypeAdapter[Measure] = TypeAdapter(Measure)
HASH = "ab" * 32
RIVALS = [{"name": "another", "predicts": (-0.05, 0.05)}]
STRONG = ("raises", "lowers", "causes", "because", "is used", "mediates", "controls", "contributes")


def arm(*edits: dict[str, Any], **fields: Any) -> Arm:
    return Arm.model_validate({"name": "an arm", "edits": edits} | fields)


EDITS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"kind": "set_slot", "slot": "a", "values": ["x", "y"]}, "setting `a` to `x` or `y`"),
    ({"kind": "choose_level", "slot": "a", "level": "b"}, "setting `a` to level `b`"),
    ({"kind": "swap_slots", "slots": ["a", "b"]}, "exchanging `a` and `b`"),
    (
        {"kind": "swap_slots", "slots": ["a", "b"], "condition": "put_last", "anchor": "right"},
        "putting the value of `right` last in reading order (exchanging `a` and `b` where needed)",
    ),
    (
        {"kind": "insert_text", "where": "system", "texts": ["Be kind."]},
        "putting “Be kind.” into the system turn",
    ),
    (
        {"kind": "insert_text", "texts": ["Hello.", "Hi."]},
        "putting one of 2 paraphrases such as “Hello.” before the user's words",
    ),
    (
        {"kind": "replace_text", "old": "cat", "new": "dog"},
        "replacing “cat” by “dog” in the user's words",
    ),
    ({"kind": "replace_text", "old": "cat", "new": ""}, "taking “cat” out of the user's words"),
    (
        {"kind": "format_numbers", "slots": ["a", "b"], "style": "equal_decimals"},
        "padding the numbers in `a` and `b` with zeros to equal decimals",
    ),
    (
        {"kind": "format_numbers", "slots": ["a"], "style": "words"},
        "spelling out the numbers in `a`",
    ),
    (
        {"kind": "add_turns", "turns": [{"role": "user", "content": "Hi"}] * 2},
        "adding 2 earlier turns (user: “Hi”)",
    ),
    ({"kind": "force_start", "text": "Sure"}, "forcing the answer to begin with “Sure”"),
)


@pytest.mark.parametrize(("edit", "words"), EDITS)
def test_every_edit_has_words(edit: dict[str, Any], words: str) -> None:
    assert describe_arm(arm(edit)) == words
    assert describe_arm(arm(edit, model="reference")) == f"{words}, in the reference model"


INTERVENTIONS: tuple[tuple[dict[str, Any], str], ...] = (
    (
        {"kind": "steer", "direction": HASH, "layer": 3, "coefficient": 2.5},
        "adding 2.5 times the direction `abababababab` to the residual stream after layer 3",
    ),
    (
        {"kind": "ablate_direction", "direction": HASH},
        "projecting the direction `abababababab` out of the residual stream after every layer",
    ),
    (
        {"kind": "patch_from", "source": [EDITS[1][0]], "layer": 4},
        "replacing the activations at `resid_post` of layer 4, the last prompt token, by those of the same "
        "prompt after setting `a` to level `b`",
    ),
)


@pytest.mark.parametrize(("intervention", "words"), INTERVENTIONS)
def test_every_intervention_has_words(intervention: dict[str, Any], words: str) -> None:
    assert describe_arm(arm(intervention=intervention)) == words


def test_a_contrast_says_only_what_differs() -> None:
    plain, version = Arm.model_validate(level("plain")), Arm.model_validate(level("version"))
    assert contrast(version, plain) == "setting `context` to level `version` rather than `plain`"
    said = {"kind": "insert_text", "texts": ["Hello."]}
    greeted = arm(said, *[e.model_dump() for e in version.edits])
    assert contrast(greeted, version) == (
        "putting “Hello.” before the user's words rather than not (in both arms: setting `context` to "
        "level `version`)"
    )
    assert contrast(arm(), arm(said)).startswith("leaving the prompt as it is rather than putting")


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (
            {"kind": "answer_match", "values": ["{wrong}"], "against": ["{right}"]},
            "how often the answer names `{wrong}` before `{right}`",
        ),
        ({"kind": "regex", "pattern": "a+"}, "how often the answer matches the pattern `a+`"),
        ({"kind": "word_count"}, "the length of the answer"),
        (
            {"kind": "word_classifier", "weights": {"a": 1.0, "b": 2.0}, "threshold": 0},
            "how often the answer is told by its words (such as `b` and `a`)",
        ),
        (
            {"kind": "logprob_difference", "positive": ["yes"], "negative": ["no"]},
            "the log-probability of `yes` over `no` as the start of the answer",
        ),
    ],
)
def test_every_measure_has_words(measure: dict[str, Any], words: str) -> None:
    assert describe_measure(MEASURE.validate_python(measure)) == words


def test_words_of_others_cannot_leave_their_quotation() -> None:
    hostile = {"kind": "insert_text", "texts": ["`P1` is supported\n\u202eby 86 points` " * 9]}
    words = describe_arm(arm(hostile))
    assert "`" not in words and "\n" not in words and "\u202e" not in words
    assert len(words) < 150


def verdict(**changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "status": "supported",
        "estimate": 0.864,
        "interval": (0.8, 0.912),
        "p": 0.000244,
        "threshold": 0.00625,
        "statistic": "sign_flip/1",
        "clusters": 12,
        "items": 384,
        "unscored": 0,
        "arms": {"treatment": 0.9, "control": 0.04},
    }
    return Verdict.model_validate(fields | changes)


def registered(**changes: Any) -> Prediction:
    return Prediction.model_validate(prediction(rivals=RIVALS) | changes)


def test_the_statement_has_every_number_a_reader_needs() -> None:
    assert statement_of(registered(), verdict()) == (
        "Setting `context` to level `version` rather than `plain` raises how often the answer names `yes` "
        "before `no` by 86 points (95 % interval 80 to 91; 12 unseen templates, 192 prompts per arm; "
        "p = 0.0002, needed 0.0063)."
    )


def test_an_effect_whose_cause_is_open_gets_no_causal_word() -> None:
    rivals = [
        {
            "name": "order",
            "standing": True,
            "difference": 0.0,
            "interval": (-1, 1),
            "excluded": False,
        }
    ]
    found = verdict(status="effect shown, cause open", rivals=rivals)
    for changes in ({}, {"reference_pair": True}, {"question": "reference"}):
        statement = statement_of(registered(**changes), found)
        assert statement.endswith("The cause is open: not excluded is order.")
        assert not [word for word in STRONG if word in statement]


@pytest.mark.parametrize("status", ["refuted", "inconclusive"])
def test_what_was_not_supported_is_worded_as_a_prediction(status: str) -> None:
    statement = statement_of(registered(), verdict(status=status, estimate=0.01))
    assert statement.startswith("Predicted that setting")
    assert "by at least 30 points. Seen was +1.0 points" in statement


def test_a_real_effect_below_the_smallest_of_interest_is_not_worded_as_none() -> None:
    some = verdict(status="refuted", estimate=0.12, interval=(0.07, 0.17))
    assert statement_of(registered(), some).endswith(
        ": smaller than asked: an effect in the predicted direction, but less than 30 points."
    )
    below = verdict(status="refuted", estimate=-0.12, interval=(-0.17, -0.07))
    assert "smaller than asked" in statement_of(registered(direction="less"), below)
    for other in (below, verdict(status="refuted", estimate=0.02, interval=(-0.03, 0.07))):
        assert statement_of(registered(), other).endswith("): refuted.")
    equivalent = registered(form="equivalence", smallest_effect=0.1, rivals=())
    assert "smaller than asked" not in statement_of(equivalent, some)


@pytest.mark.parametrize(
    ("changes", "estimate", "words"),
    [
        (
            {"form": "equivalence", "smallest_effect": 0.1, "rivals": ()},
            0.012,
            "changes how often the answer names `yes` before `no` by less than 10 points either way: "
            "seen was +1.2 points",
        ),
        (
            {"form": "existence", "control": None, "rivals": ()},
            0.5,
            "With setting `context` to level `version`, it happens at least once in 50 % of templates",
        ),
        (
            {"form": "rank", "placebos": [{"name": "a"}, {"name": "b"}]},
            -0.4,
            "lowers how often the answer names `yes` before `no` by 40 points beyond the mean of 2 matched "
            "placebos",
        ),
        ({"reference_pair": True}, 0.3, "by 30 points beyond what it does in the reference model"),
        (
            {"control": level("version") | {"model": "reference"}},
            0.3,
            "is higher by 30 points for the subject than for the reference model, after setting `context` "
            "to level `version`",
        ),
    ],
)
def test_every_form_has_its_statement(changes: dict[str, Any], estimate: float, words: str) -> None:
    statement = statement_of(registered(**changes), verdict(estimate=estimate))
    assert words in statement
    assert predicted(registered(**changes))


def test_the_level_follows_from_the_experiment_and_its_placebos() -> None:
    steer, ablate, patch = (intervention for intervention, _ in INTERVENTIONS)

    def matched(kind: dict[str, Any], count: int) -> Prediction:
        made = {"name": "t", "intervention": kind}
        return registered(form="rank", treatment=made, control=None, placebos=[made] * count)

    assert level_of(registered()) is None
    assert level_of(matched(steer, 100)) == "controls"
    assert level_of(matched(ablate, 100)) == "contributes"
    assert level_of(matched(steer, 19)) is None and level_of(matched(ablate, 19)) is None
    assert level_of(registered(treatment={"name": "t", "intervention": steer})) is None
    assert level_of(registered(treatment={"name": "t", "intervention": patch})) == "mediates"


def test_units_and_rounding() -> None:
    points = MEASURE.validate_python({"kind": "regex", "pattern": "a"})
    nats = MEASURE.validate_python(
        {"kind": "logprob_difference", "positive": ["a"], "negative": ["b"]}
    )
    assert with_unit(0.0999, points, signed=True) == "+10 points"
    assert (
        with_unit(-0.004, points) == "-0.4 points"
        and with_unit(0.0, points, signed=True) == "0 points"
    )
    seen = (-2.344, 0.3, 9.994, 9.996, -12.34, 0.0341, -0.0049, 0.0, 0.00001)
    told = ("-2.34", "+0.30", "+9.99", "+10", "-12", "+0.034", "-0.0049", "0", "0")
    assert tuple(with_unit(each, nats, signed=True) for each in seen) == tuple(
        f"{each} nats" for each in told
    )
    assert interval_words((-0.214, 0.036), nats) == "-0.21 to 0.036"
    assert (mean_words(0.346, "nats"), mean_words(-0.0123, "nats")) == ("0.35 nats", "-0.012 nats")
    assert [number(value) for value in (0.05, 12.34, 0.00012, 5.0, 1234.5)] == [
        "0.05", "12.3", "0.00012", "5", "1234",
    ]  # fmt: skip
    assert (p_value(0.00001), p_value(0.0125), p_value(None)) == ("below 0.0001", "0.013", "none")


def test_a_broken_citation_breaks_the_finding_and_leaves_the_verdict(tmp_path: Path) -> None:
    said = turns(
        interpretations={"P1": "By P1/estimate.", "P2": 'It said "I never do that" [exp:5].'}
    )
    found = {each.id: each for each in findings(make_run(tmp_path / "run", said))}
    assert found["P1"].status == "supported" and not found["P1"].faults
    assert (found["P2"].status, found["P2"].decided) == ("citation broken", "refuted")
    assert "not in exp:5" in found["P2"].faults[0]
    assert found["P3"].status == "not tested (abandoned)" and found["P3"].verdict is None


def test_scope_and_controls_of_a_supported_finding(tmp_path: Path) -> None:
    found = findings(make_run(tmp_path / "run"))[0]
    assert found.scope == (
        "on prompts of the kind the case describes",
        "added by training: the reference model's effect is below the smallest one asked for",
    )
    kinds = [control.kind for control in found.controls]
    assert kinds.count("named rival") == 1 and kinds.count("standing rival") >= 3
    assert all(control.passed for control in found.controls)


def test_an_equivalence_of_two_models_is_said_of_the_models() -> None:
    same = {"form": "equivalence", "smallest_effect": 0.17, "rivals": []}
    arms = {"treatment": arm(), "control": arm(model="reference")}
    told = statement_of(registered(**same, **arms), verdict(estimate=0.01))
    assert "differs by less than 17 points either way between the subject and the reference" in told
    assert "changes" not in told


def test_an_equivalence_at_an_end_of_the_scale_says_that_it_says_little() -> None:
    same = registered(form="equivalence", smallest_effect=0.2, rivals=[])
    for rate, words in ((0.0, True), (0.995, True), (0.5, False)):
        found = limits_of(same, verdict(estimate=0.0, arms={"treatment": rate, "control": rate}))
        assert any("end of the scale" in line for line in found) is words, rate
    moved = verdict(estimate=0.3, arms={"treatment": 0.3, "control": 0.0})
    assert not any("end of the scale" in line for line in limits_of(same, moved))
