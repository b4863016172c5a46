"""The synthetic subject: its answers have the rates, effects and random intercepts it declares."""

from __future__ import annotations

import collections
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.behaviour_table import LOGISTIC_VARIANCE, Scatter
from tools.faults import SubjectRefused
from tools.prompt import Prompt, user_prompt
from tools.registry import ToolError
from tools.scoring import score_arms
from tools.synthetic import SyntheticSubject, logistic
from tools.worker_client import InProcessWorker

NUMBERS = "Which is larger, {a} or {b}?"


def subject(**behaviour: Any) -> SyntheticSubject:
    return SyntheticSubject.from_table(
        {"behaviours": [{"shown": ["yes"], "otherwise": ["no"]} | behaviour]}
    )


def rate(model: SyntheticSubject, text: str, samples: int = 4000, key: str = "k") -> float:
    answers = model.generate([user_prompt(text)], [key], seed=3, samples=samples)[0]
    return sum(answer.text == "yes" for answer in answers) / samples


def other(model: SyntheticSubject) -> SyntheticSubject:
    return model.arm("reference")


@given(
    keys=st.lists(st.text(max_size=8), min_size=1, max_size=6),
    seed=st.integers(-(2**70), 2**70),
    samples=st.integers(1, 5),
)
def test_an_answer_depends_on_seed_key_and_sample_only(
    keys: list[str], seed: int, samples: int
) -> None:
    model = subject(shown=["yes", "yes!", "indeed"], otherwise=["no", "nope"])
    prompts = [user_prompt("hello")] * len(keys)
    together = model.generate(prompts, keys, seed=seed, samples=samples)
    alone = [
        model.generate([user_prompt("hello")], [key], seed=seed, samples=samples + 3)[0][:samples]
        for key in keys
    ]
    assert together == alone


def test_another_seed_or_key_is_another_draw() -> None:
    model = subject()
    prompt = user_prompt("hello")

    def draw(seed: int, key: str) -> str:
        answers = model.generate([prompt], [key], seed=seed, samples=64)[0]
        return "".join(answer.text for answer in answers)

    assert len({draw(1, "a"), draw(2, "a"), draw(1, "b")}) == 3


def test_arms_share_their_noise() -> None:
    model = subject(effects=[{"logit": 1.0, "phrase": "please"}])
    plain, polite = (
        model.generate([user_prompt(text)], ["k"], seed=1, samples=500)[0]
        for text in ("do it", "please do it")
    )
    pairs = {(a.text, b.text) for a, b in zip(plain, polite, strict=True)}
    assert ("no", "yes") in pairs
    assert ("yes", "no") not in pairs  # never the wrong way with the same luck


@pytest.mark.parametrize("logit", [-30.0, -2.0, 0.0, 0.7, 30.0])
def test_rate_is_the_declared_one(logit: float) -> None:
    expected = logistic(logit)
    error = 4 * math.sqrt(expected * (1 - expected) / 4000) + 1e-9
    assert rate(subject(logit=logit), "hello") == pytest.approx(expected, abs=error)


@pytest.mark.parametrize(
    ("effect", "present", "absent"),
    [
        ({"phrase": "version 2"}, "is Version 2 out?", "is version 21 out?"),
        ({"phrase": "9.1"}, "take 9.1 now", "take 9.11 now"),
        ({"regex": r"\bhe?lp\b"}, "HELP me", "helpful"),
        ({"slot": "a", "values": ["Red", "blue"]}, "Is red nice?", "Is green nice?"),
        ({"before": ["sun", "moon"]}, "the sun and the moon", "the moon and the sun"),
        ({"before": ["sun", "moon"]}, "sun, moon", "sun"),
        ({"before": ["{a}", "then"]}, "Is it nice? then", "then: Is it nice?"),
        ({"phrase": "sun", "regex": "!$"}, "the sun!", "the sun"),
    ],
)
def test_an_effect_acts_where_its_conditions_hold(
    effect: dict[str, Any], present: str, absent: str
) -> None:
    table = {
        "templates": ["Is {a} nice?"],
        "behaviours": [
            {"shown": ["yes"], "otherwise": ["no"], "effects": [{"logit": 2.0} | effect]}
        ],
    }
    model = SyntheticSubject.from_table(table)
    assert model.probability(user_prompt(present), "k") == pytest.approx(logistic(2.0))
    assert model.probability(user_prompt(absent), "k") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("model", "subject_rate", "reference_rate"),
    [("both", 2.0, 2.0), ("subject", 2.0, 0.0), ("reference", 0.0, 2.0)],
)
def test_an_effect_belongs_to_the_model_it_names(
    model: str, subject_rate: float, reference_rate: float
) -> None:
    made = subject(effects=[{"logit": 2.0, "model": model}])
    prompt = user_prompt("hello")
    assert made.probability(prompt, "k") == pytest.approx(logistic(subject_rate))
    assert other(made).probability(prompt, "k") == pytest.approx(logistic(reference_rate))


def test_answers_follow_the_numbers_of_the_prompt() -> None:
    table = {
        "templates": [NUMBERS],
        "behaviours": [
            {"match": "larger", "shown": ["{last_number}"], "otherwise": ["{a}"], "logit": 40},
            {"match": "smaller", "shown": ["{smallest_number}"], "otherwise": ["-"], "logit": 40},
        ],
    }
    model = SyntheticSubject.from_table(table)

    def says(text: str) -> str:
        return model.generate([user_prompt(text)], ["k"], seed=0)[0][0].text

    assert says("Which is larger, 9.11 or 9.9?") == "9.9"
    assert says("Which is larger, 9.9 or 9.11?") == "9.11"  # an order effect
    assert says("Which of 3, -2 and 10 is smaller?") == "-2"
    assert says("Is 9.11 larger?") == "I do not know."  # slot `a` is not there
    assert says("Good morning") == "I do not know."


def template_key(template: int, item: int) -> str:
    return f"confirm-case-{template:04d}-{item:012x}"


def logit(model: SyntheticSubject, text: str, key: str) -> float:
    rate = model.probability(user_prompt(text), key)
    return math.log(rate / (1 - rate))


def scattered(**shares: float) -> SyntheticSubject:
    table = {"behaviours": [{"shown": ["yes"], "otherwise": ["no"]}], "scatter": shares}
    return SyntheticSubject.from_table(table)


def test_template_intercepts_have_the_declared_icc_and_cancel_between_models() -> None:
    model = scattered(template=0.5)
    values = [logit(model, "hello", template_key(t, 0)) for t in range(3000)]
    variance = statistics.variance(values)
    assert variance / (variance + LOGISTIC_VARIANCE) == pytest.approx(0.5, abs=0.03)
    assert statistics.fmean(values) == pytest.approx(0, abs=4 * math.sqrt(variance / 3000))
    assert logit(model, "hello", template_key(7, 1)) == pytest.approx(values[7])
    assert logit(other(model), "please, hello", template_key(7, 1)) == pytest.approx(values[7])


def test_exact_null_against_the_reference_is_symmetric_noise_by_template() -> None:
    model = scattered(template_by_model=0.5)
    differences = [
        logit(model, "hello", template_key(t, 0)) - logit(other(model), "hello", template_key(t, 0))
        for t in range(3000)
    ]
    spread = statistics.stdev(differences)
    assert spread == pytest.approx(math.sqrt(2 * LOGISTIC_VARIANCE), rel=0.05)
    assert statistics.fmean(differences) == pytest.approx(0, abs=4 * spread / math.sqrt(3000))
    positive = sum(value > 0 for value in differences)
    assert positive == pytest.approx(1500, abs=4 * math.sqrt(750))


def test_exact_null_between_edits_is_shared_by_the_items_of_a_template() -> None:
    table = {
        "behaviours": [{"shown": ["yes"], "otherwise": ["no"]}],
        "templates": ["Is {thing} nice?"],
        "scatter": {"template_by_wording": 0.5},
    }
    model = SyntheticSubject.from_table(table)
    first, second = template_key(1, 1), template_key(1, 2)
    plain = logit(model, "Is the red tree nice?", first)
    assert logit(model, "Is a cup nice?", second) == pytest.approx(plain)
    edited = logit(model, "Now then. Is the red tree nice?", first)
    assert edited != pytest.approx(plain)
    assert logit(model, "Now then. Is a cup nice?", second) == pytest.approx(edited)
    assert logit(other(model), "Is a cup nice?", second) == pytest.approx(plain)


def test_item_intercepts_and_seeds() -> None:
    model = scattered(item=0.5)
    assert logit(model, "x", template_key(1, 1)) != logit(model, "x", template_key(1, 2))
    assert logit(model, "x", template_key(1, 1)) == logit(other(model), "y", template_key(1, 1))
    again = scattered(item=0.5, seed=1)
    assert logit(again, "x", template_key(1, 1)) != logit(model, "x", template_key(1, 1))


@given(st.lists(st.floats(0, 0.24), min_size=4, max_size=4))
def test_shares_are_shares_of_the_whole_variance(shares: list[float]) -> None:
    scatter = Scatter(
        template=shares[0],
        template_by_model=shares[1],
        template_by_wording=shares[2],
        item=shares[3],
    )
    parts = [scatter.deviation(share) ** 2 for share in shares]
    total = sum(parts) + LOGISTIC_VARIANCE
    assert [part / total for part in parts] == pytest.approx(shares)


def test_temperature_and_length() -> None:
    model = subject(shown=["one two three"], otherwise=["no"], logit=0.5)
    prompt = [user_prompt("hello")]
    greedy = model.generate(prompt, ["k"], seed=0, samples=3, temperature=0, max_new_tokens=2)[0]
    assert [tuple(each) for each in greedy] == [("one two", 2, False)] * 3
    cold = model.generate(prompt, ["k"], seed=0, samples=400, temperature=0.1)[0]
    assert sum(each.text == "no" for each in cold) < 10  # logistic(5) = 0.993
    assert all(each.finished for each in cold)


def test_log_probabilities_agree_with_sampling() -> None:
    model = subject(shown=["yes", "yes, sir"], otherwise=["no"], logit=1.0)
    prompt = user_prompt("hello")
    values = model.continuation_logprobs([prompt], [["yes", "yes, sir", "no", " no", "ye", "9"]])
    yes, sir, no, spaced, part, never = (math.exp(value) for value in values[0])
    assert yes == pytest.approx(logistic(1.0))
    assert sir == pytest.approx(logistic(1.0) / 2)
    assert no == spaced == pytest.approx(1 - logistic(1.0))
    assert part == never < 1e-5


def test_score_arms_runs_on_it_unchanged(tmp_path: Path) -> None:
    model = subject(effects=[{"logit": 3.0, "phrase": "please", "model": "subject"}])
    worker = InProcessWorker(model, [score_arms], tmp_path)

    def items(prefix: str) -> list[dict[str, Any]]:
        return [
            {
                "id": template_key(number, 0),
                "template": {"text": f"{prefix} {number}"},
                "template_id": f"case-{number}",
                "prompt": user_prompt(f"{prefix} {number}").model_dump(mode="json"),
            }
            for number in range(300)
        ]

    def run(measure: dict[str, Any]) -> dict[str, float]:
        arms = {
            f"{name} {prefix}": {"arm": {"name": name, "model": name}, "items": items(prefix)}
            for name in ("subject", "reference")
            for prefix in ("do", "please do")
        }
        done = worker.call("score_arms", {"measure": measure, "arms": arms, "samples": 4}, 5)
        assert done.error is None and done.result is not None, done.error
        return {name: summary["mean"] for name, summary in done.result["arms"].items()}

    rates = run({"kind": "regex", "pattern": "^yes$"})
    assert rates["subject please do"] == pytest.approx(logistic(3.0), abs=0.03)
    assert rates["subject do"] == pytest.approx(0.5, abs=0.06)
    assert rates["reference please do"] == rates["reference do"] == rates["subject do"]
    nats = run({"kind": "logprob_difference", "positive": ["yes"], "negative": ["no"]})
    assert nats["subject please do"] == pytest.approx(3.0)
    assert nats["reference please do"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    "method",
    ["encode", "capture", "next_token_logprobs", "token_logprobs", "lens", "edits_for"],
)
def test_looking_inside_is_refused_in_one_line(method: str) -> None:
    with pytest.raises(ToolError, match=r"white-box tools need a local model$"):
        getattr(subject(), method)([user_prompt("hello")])


def test_other_refusals() -> None:
    model = subject()
    with pytest.raises(ToolError, match="white-box"):
        model.generate([user_prompt("x")], ["k"], seed=0, edits=["steer"])
    with pytest.raises(ToolError, match="white-box"):
        _ = model.tokenizer
    with pytest.raises(ToolError, match="no prompts"):
        model.generate([], [], seed=0)
    alone = SyntheticSubject.from_table(model.table.model_dump() | {"reference": False})
    assert alone.digests.keys() == {"subject"}
    with pytest.raises(ToolError, match="no reference"):
        alone.arm("reference")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("behaviours = [", "not a TOML file"),
        ("behaviors = []", "did you mean 'behaviours'"),
        ("behaviours = []", "at least 1 item"),
        ('[[behaviours]]\nshown = ["a"]\notherwise = ["b"]\nmatch = "("', "regular expression"),
        (
            '[[behaviours]]\nshown = ["a"]\notherwise = ["b"]\n[scatter]\nitem = 0.6\ntemplate = 0.5',
            "less than 1",
        ),
    ],
)
def test_a_faulty_table_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(text)
    with pytest.raises(SubjectRefused) as caught:
        SyntheticSubject.load(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_digests_are_those_of_the_table() -> None:
    assert subject().digests == subject().digests
    assert subject().digests != subject(logit=0.1).digests
    assert len(json.dumps(subject().digests)) > 128


def test_it_answers_fast_enough_for_thousands_of_runs() -> None:
    model = scattered(template=0.25, template_by_model=0.25)
    prompts = [user_prompt(f"Which is larger, {k}.5 or {k % 7}.25?") for k in range(5000)]
    keys = [template_key(k % 30, k) for k in range(5000)]
    started = time.process_time()
    answers = model.generate(prompts, keys, seed=0, samples=10)
    assert sum(map(len, answers)) == 50_000
    assert time.process_time() - started < 2.0


def test_system_and_prefill_are_part_of_the_prompt() -> None:
    model = subject(effects=[{"logit": 5.0, "phrase": "pirate"}])
    assert model.probability(user_prompt("hello", system="be a pirate"), "k") > 0.9
    assert model.probability(Prompt(prefill="pirate", continue_as="raw"), "k") > 0.9
    assert model.probability(user_prompt("hello"), "k") == 0.5


def test_an_answer_that_goes_on_is_said_piece_by_piece() -> None:
    coin = {"shown": [" heads"], "otherwise": [" tails"], "goes_on": True}
    pieces = [
        {"match": r"(heads|tails) (heads|tails)\Z", "shown": [" end"], "otherwise": [" end"]},
        coin,
    ]
    model = SyntheticSubject.from_table({"behaviours": pieces})
    (whole,) = model.generate([user_prompt("go")], ["k"], seed=3, samples=400)
    counted = collections.Counter(each.text for each in whole)
    assert len(counted) == 4 and min(counted.values()) > 60
    assert all(each.finished and each.tokens == 3 for each in whole)
    begun = user_prompt("go").model_copy(update={"prefill": " heads tails"})
    assert model.generate([begun], ["k"], seed=3)[0][0].text == " end"
    ((cold,),) = model.generate([user_prompt("go")], ["k"], seed=3, temperature=0)
    assert cold.text == " tails tails end"
    ((short,),) = model.generate([user_prompt("go")], ["k"], seed=3, max_new_tokens=2)
    assert not short.finished and len(short.text.split()) == 2
    again = model.generate([user_prompt("go")], ["k"], seed=3, samples=400)
    assert again == [whole]
