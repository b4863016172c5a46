"""Talking to the subject: what is sampled, with what luck, and what of it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.blobs import BlobStore
from tools.experiment import Context
from tools.prompt import Message, Prompt, PromptItem, Template, user_prompt
from tools.registry import ToolError
from tools.sampling import (
    GroupRate,
    SamplingResult,
    commonest,
    ends,
    sample_responses,
    spread,
    told,
)
from tools.scoring import items_from
from tools.synthetic import Generation, SyntheticSubject

MATCH = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}


def subject(**behaviour: Any) -> SyntheticSubject:
    return SyntheticSubject.from_table(
        {"behaviours": [{"shown": ["yes"], "otherwise": ["no"]} | behaviour]}
    )


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(seed=5, blobs=BlobStore(tmp_path))


def run(model: Any, context: Context, **arguments: Any) -> SamplingResult:
    result = sample_responses(model, arguments, context)
    assert isinstance(result, SamplingResult)
    return result


def arms(result: SamplingResult, context: Context) -> dict[str, list[dict[str, Any]]]:
    return json.loads(context.blobs.get(result.raw))["arms"]


class Recorder:
    """Remembers the prompts that it is given, and answers with a fixed text."""

    reference = None

    def __init__(self, text: str = "fine") -> None:
        self.text = text
        self.seen: list[Prompt] = []
        self.settings: dict[str, Any] = {}

    def arm(self, name: str) -> Recorder:
        return self

    def generate(self, prompts: Any, keys: Any, **settings: Any) -> list[list[Generation]]:
        self.seen += prompts
        self.settings = settings | {"keys": list(keys)}
        return [[Generation(self.text, 1, True)] * settings["samples"] for _ in prompts]


def test_both_models_answer_with_the_same_luck(context: Context) -> None:
    model = subject(logit=0.0, effects=[{"logit": 1.5, "model": "subject"}])
    result = run(model, context, items=["is it so?"] * 1, samples=100, measure=MATCH)
    rows = arms(result, context)
    pairs = set(zip(rows["subject"][0]["outputs"], rows["reference"][0]["outputs"], strict=True))
    assert ("yes", "no") in pairs and ("no", "yes") not in pairs
    assert result.sampled == 200
    assert result.rates["subject"] == pytest.approx(0.82, abs=0.1)
    assert result.rates["reference"] == pytest.approx(0.5, abs=0.15)


def test_the_reference_is_left_out_when_told_and_when_there_is_none(context: Context) -> None:
    assert run(subject(), context, items=["a"], with_reference=False).sampled == 2
    alone = SyntheticSubject.from_table(
        {"reference": False, "behaviours": [{"shown": ["yes"], "otherwise": ["no"]}]}
    )
    assert set(arms(run(alone, context, items=["a"]), context)) == {"subject"}


def test_forced_beginnings_and_turns_reach_the_model(context: Context) -> None:
    model = Recorder()
    items = ["plain", Prompt(messages=(Message(role="user", content="x"),), prefill="own")]
    run(model, context, items=items, prefill="Well,", continue_as="user", samples=3)
    assert [(prompt.prefill, prompt.continue_as) for prompt in model.seen] == [
        ("Well,", "user")
    ] * 2
    assert model.seen[0].messages == (Message(role="user", content="plain"),)
    assert model.settings["samples"] == 3 and model.settings["seed"] == 5
    assert model.settings["keys"] == ["own-001", "own-002"]


def test_prompts_keep_their_own_form_unless_told_otherwise(context: Context) -> None:
    model = Recorder()
    own = Prompt(messages=(Message(role="user", content="x"),), prefill="own", continue_as="user")
    run(model, context, items=[own])
    assert model.seen == [own]


def test_raw_sampling_goes_on_from_the_words_of_the_prompt(context: Context) -> None:
    model = Recorder()
    written = Prompt(prefill="Once upon", continue_as="raw")
    system = user_prompt("who?", system="be brief")
    run(model, context, items=["Once upon a time", written, system], continue_as="raw")
    assert [prompt.prefill for prompt in model.seen] == [
        "Once upon a time",
        "Once upon",
        "be brief\nwho?",
    ]
    assert all(not prompt.messages and prompt.continue_as == "raw" for prompt in model.seen)
    run(model, context, items=["Once upon"], continue_as="raw", prefill=" a time")
    assert model.seen[-1].prefill == "Once upon a time"


def test_the_commonest_answers_come_first_and_are_cut() -> None:
    item = items_from(["what?"])[0]
    outputs = ["b", "a", "a", " a", "c" * 999, "d", "e", "f", "b", "a"]
    shown = commonest(item, {"subject": {"outputs": outputs}})
    assert shown.answers["subject"][:2] == ["3x a", "2x b"]
    assert len(shown.answers["subject"]) == 4
    assert max(map(len, shown.answers["subject"])) < 260
    assert shown.prompt == "user: what?"


def test_what_is_rare_is_shown_first() -> None:
    rows = [
        {"mean": float(k in (7, 61)) or None if k == 9 else float(k in (7, 61))} for k in range(90)
    ]
    shown = told(rows)
    assert shown[:2] == [7, 61] and len(shown) == len(set(shown)) == 24
    few = [{"mean": float(k == 3)} for k in range(5)]
    assert told(few) == [0, 1, 2, 3, 4]
    assert told([{} for _ in range(90)]) == spread(90)


def test_many_prompts_are_shown_evenly_spread() -> None:
    assert spread(3) == [0, 1, 2]
    assert len(spread(24)) == 24
    for count in (25, 100, 2000):
        shown = spread(count)
        steps = {b - a for a, b in zip(shown, shown[1:], strict=False)}
        assert len(shown) == 24 and max(steps) - min(steps) <= 1 and shown[0] == 0
        assert count - shown[-1] <= max(steps) + 1


def test_what_cannot_be_scored_is_no_zero(context: Context) -> None:
    result = run(Recorder("  "), context, items=["a"], measure=MATCH)
    assert result.rates == {"subject": None}
    row = arms(result, context)["subject"][0]
    assert row["scores"] == [None, None] and row["mean"] is None


def test_a_measure_may_name_the_slots_of_an_item(context: Context) -> None:
    template = Template(text="say {word}")
    item = PromptItem(
        id="i",
        template=template,
        template_id="t",
        slots={"word": "yes"},
        prompt=user_prompt("say yes"),
    )
    measure = {"kind": "answer_match", "values": ["{word}"]}
    assert run(subject(logit=9.0), context, items=[item], measure=measure).rates["subject"] == 1.0


def levelled(number: int, level: str) -> PromptItem:
    """Return a prompt of one of four templates whose slot was drawn from a level."""
    name = f"t{number % 4}"
    return PromptItem(
        id=f"{name}-{number}",
        template=Template(text="{mood} say"),
        template_id=name,
        slots={"mood": level},
        prompt=user_prompt(f"{level} say {name}"),
        levels={"mood": level},
    )


def test_rates_are_told_by_level_and_by_template(context: Context) -> None:
    effects = [{"logit": 30.0, "phrase": "gay"}, {"logit": 30.0, "phrase": "t2"}]
    model = subject(logit=-15.0, effects=[{**each, "model": "subject"} for each in effects])
    items = [levelled(k, ("gay", "sad", "calm")[k // 4]) for k in range(12)]
    result = run(model, context, items=items, measure=MATCH)
    seen = [
        (g.group, g.prompts, g.rates["subject"], g.rates["reference"])
        for g in result.by_level["mood"]
    ]
    assert seen == [("gay", 4, 1.0, 0.0), ("calm", 4, 0.25, 0.0), ("sad", 4, 0.25, 0.0)]
    assert [(g.group, g.prompts) for g in result.by_template][0] == ("t2", 3)
    assert [g.rates["subject"] for g in result.by_template] == [1.0] + [pytest.approx(1 / 3)] * 3
    # Without a measure there is no rate, and prompts of one's own are no templates.
    bare = run(model, context, items=items)
    assert (bare.by_level, bare.by_template, bare.neither) == ({}, (), {})
    own = run(model, context, items=["gay", "sad"], measure=MATCH)
    assert (own.by_level, own.by_template) == ({}, ())


def test_of_many_templates_the_highest_and_the_lowest_are_told(context: Context) -> None:
    ranked = tuple(
        GroupRate(group=str(k), prompts=1, rates={"subject": None if k == 9 else 1 - k / 10})
        for k in range(10)
    )
    assert [each.group for each in ends(ranked, 6)] == ["0", "1", "2", "6", "7", "8"]
    assert ends(ranked[:1], 6) == ()


def test_answers_that_take_no_side_are_counted(context: Context) -> None:
    model = subject(shown=["Hard to say."], logit=0.0)
    result = run(model, context, items=["is it?"], samples=100, measure=MATCH)
    assert result.rates["subject"] == 0.0
    assert result.neither["subject"] == pytest.approx(0.5, abs=0.15)
    # What was not said at all is unscored, and takes no part.
    assert run(Recorder("  "), context, items=["a"], measure=MATCH).neither == {}


def test_telling_words_of_prompts_are_found(context: Context) -> None:
    model = subject(logit=-3.0, effects=[{"logit": 6.0, "phrase": "please"}])
    acts = ["sit", "run", "eat", "sing", "dig", "walk"]
    items = [*(f"{act} now" for act in acts), *(f"please {act} now" for act in acts)]
    result = run(model, context, items=items, samples=8, measure=MATCH)
    first = result.prompt_words[0]
    assert (first.word, first.prompts_with) == ("please", 6)
    assert first.rate_with > 0.8 and first.rate_without < 0.2 and first.z > 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"items": []}, "items"),
        ({"items": ["a"], "samples": 0}, "samples"),
        ({"items": ["a"], "sample": 2}, "did you mean 'samples'"),
        ({"items": [{"messages": [], "prefill": ""}]}, "prompt 1 is empty"),
        (
            {
                "items": ["a"],
                "measure": {"kind": "logprob_difference", "positive": ["a"], "negative": ["b"]},
            },
            "needs no samples",
        ),
    ],
)
def test_mistakes_are_told(context: Context, arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(ToolError, match=line):
        sample_responses(subject(), arguments, context)


def test_the_schema_says_what_an_investigator_needs() -> None:
    entry = sample_responses.entry()
    assert entry["name"] == "sample_responses" and entry["for_investigator"]
    assert "register it" in entry["description"]
    fields = entry["schema"]["properties"]
    assert set(fields) == {
        "items", "samples", "continue_as", "prefill", "with_reference", "measure", "max_new_tokens", "temperature",
    }  # fmt: skip
    assert "draw" in fields["items"]["description"]
    assert all(
        "description" in fields[name] for name in ("continue_as", "prefill", "with_reference")
    )
