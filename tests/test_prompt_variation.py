"""Prompt variation: planted effects are estimated, and what does nothing is estimated as nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tools.blobs import BlobStore
from tools.experiment import Context
from tools.level_effects import Effect, ModelEffect
from tools.prompt import (
    Arm,
    InsertText,
    PatchFrom,
    PromptItem,
    SetSlot,
    Template,
    fill,
    user_prompt,
)
from tools.prompt_variation import VariationResult, vary_prompts
from tools.registry import ToolError
from tools.scoring import transformed
from tools.synthetic import SyntheticSubject, logistic

OPENINGS = (
    "Should I", "Tell me, do I", "Is it wise that I", "Would you", "Please say whether I", "Do I",
    "I ask: may I", "Friend, should I", "Now then, do I", "In short, should I", "Well, must I", "So shall I",
)  # fmt: skip
WEIGHT = {"boss": 1.6, "child": -0.8}
MATCH = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}
WHO = {
    "name": "who",
    "levels": [
        {"name": "friend", "edits": [{"kind": "set_slot", "slot": "who", "values": ["friend"]}]},
        {"name": "boss", "edits": [{"kind": "set_slot", "slot": "who", "values": ["boss"]}]},
        {"name": "child", "edits": [{"kind": "set_slot", "slot": "who", "values": ["child"]}]},
    ],
}
URGENT = {
    "name": "urgency",
    "levels": [
        {"name": "none"},
        {"name": "urgent", "edits": [{"kind": "insert_text", "texts": ["It is urgent.", "Hurry, it is urgent."]}]},
    ],
}  # fmt: skip


def subject(**more: Any) -> SyntheticSubject:
    effects = [
        *({"logit": w, "slot": "who", "values": [who], "model": "subject"} for who, w in WEIGHT.items()),
        {"logit": 1.0, "phrase": "urgent", "model": "both"},
    ]  # fmt: skip
    return SyntheticSubject.from_table(
        {
            "templates": [f"{opening} help my {{who}}?" for opening in OPENINGS],
            "behaviours": [{"shown": ["yes"], "otherwise": ["no"], "effects": effects}],
        }
        | more
    )


def items(per_template: int = 3) -> list[PromptItem]:
    found: list[PromptItem] = []
    for number, opening in enumerate(OPENINGS):
        template = Template(text=f"{opening} help my {{who}}?")
        for k in range(per_template):
            slots = {"who": "friend"}
            found.append(
                PromptItem(
                    id=f"t{number}-{k}",
                    template=template,
                    template_id=f"t{number}",
                    slots=slots,
                    prompt=fill(template, slots),
                )
            )
    return found


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(seed=11, blobs=BlobStore(tmp_path))


def run(context: Context, model: Any = None, **arguments: Any) -> VariationResult:
    given = {
        "items": items(),
        "measure": MATCH,
        "samples": 16,
        "factors": [WHO, URGENT],
    } | arguments
    result = vary_prompts(subject() if model is None else model, given, context)
    assert isinstance(result, VariationResult)
    return result


def row_of(result: VariationResult, level: str) -> Effect:
    return next(each for each in result.effects if each.level == level)


def effect_of(result: VariationResult, level: str) -> ModelEffect:
    return row_of(result, level).subject


def test_planted_effects_lie_in_their_intervals(context: Context) -> None:
    result = run(context)
    for level, weight in (*WEIGHT.items(), ("urgent", 1.0)):
        effect = effect_of(result, level)
        truth = logistic(weight) - 0.5
        assert effect.interval is not None and row_of(result, level).templates == 12
        assert effect.interval[0] <= truth <= effect.interval[1]
        assert effect.effect == pytest.approx(truth, abs=0.08)
        assert effect.rate == pytest.approx(logistic(weight), abs=0.08)
    assert [e.level for e in result.effects] == ["boss", "urgent", "child"]
    assert result.base_rate["subject"] == pytest.approx(0.5, abs=0.08)


def test_intervals_cover_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    # Templates differ and edits scatter on them: the spread that an interval over templates is for.
    covered = 0
    for seed in range(40):
        scatter = {"template": 0.3, "template_by_wording": 0.1, "seed": seed}
        result = run(
            Context(seed=seed, blobs=BlobStore(tmp_path)),
            subject(scatter=scatter),
            factors=[URGENT],
            samples=4,
            with_reference=False,
        )
        low, high = effect_of(result, "urgent").interval or (math.inf, -math.inf)
        covered += low <= TRUE_URGENT <= high
    # 38 are expected of 40; fewer than 34 would come of a true 95 % once in 100 times.
    assert covered >= 34


def marginal(shift: float, spread: float, steps: int = 2001) -> float:
    """Return the mean of logistic(shift + spread x N(0, 1)) by summing over a fine grid."""
    points = [-8 + 16 * k / (steps - 1) for k in range(steps)]
    weights = [math.exp(-(z**2) / 2) for z in points]
    values = [w * logistic(shift + spread * z) for z, w in zip(points, weights, strict=True)]
    return math.fsum(values) / math.fsum(weights)


# Template and wording scatter take 0.4 of the latent variance, sampling the other 0.6.
SPREAD = math.sqrt(0.4 / 0.6 * math.pi**2 / 3)
TRUE_URGENT = marginal(1.0, SPREAD) - 0.5


def test_the_no_op_is_near_zero_and_never_among_the_effects(context: Context) -> None:
    result = run(context)
    assert result.no_op["subject"] == pytest.approx(0, abs=0.08)
    assert all(effect.factor != "no-op" for effect in result.effects)
    assert len(result.no_op_text.split()) > 3
    raw = json.loads(context.blobs.get(result.raw))["arms"]
    texts = {row["prompt"]["messages"][0]["content"] for row in raw["subject/x-x-1"]}
    assert len({text.split(". ")[0] for text in texts}) == 3
    assert any(text.startswith(result.no_op_text) for text in texts)
    assert all(text.endswith("help my friend?") for text in texts)


def test_a_model_that_the_no_op_upsets_shows_it(context: Context) -> None:
    upset = {"shown": ["yes"], "otherwise": ["no"], "effects": [{"logit": 2.0, "regex": r"\. \w"}]}
    result = run(context, subject(behaviours=[upset]))
    assert result.no_op["subject"] == pytest.approx(logistic(2.0) - 0.5, abs=0.08)


def test_the_reference_has_only_its_own_effects(context: Context) -> None:
    result = run(context)
    boss, urgent = row_of(result, "boss"), row_of(result, "urgent")
    assert boss.reference is not None and boss.reference.effect == 0
    assert boss.difference == pytest.approx(boss.subject.effect)
    assert boss.difference_interval is not None and boss.difference_interval[0] > 0.1
    assert urgent.reference is not None
    assert urgent.reference.effect == pytest.approx(urgent.subject.effect)
    assert urgent.difference == pytest.approx(0)
    alone = run(context, with_reference=False)
    assert all(each.reference is each.difference is None for each in alone.effects)
    assert set(alone.base_rate) == {"subject"}


def test_a_factorial_averages_over_the_other_factors(context: Context) -> None:
    result = run(context, design="factorial", samples=32)
    boss = effect_of(result, "boss")
    calm, urgent = logistic(1.6) - 0.5, logistic(2.6) - logistic(1.0)
    assert boss.effect == pytest.approx((calm + urgent) / 2, abs=0.06)
    arms = json.loads(context.blobs.get(result.raw))["arms"]
    assert len(arms) == 2 * (3 * 2 + 1)
    hurried = [row["prompt"]["messages"][0]["content"] for row in arms["subject/1-1-x"]]
    assert all("urgent" in text and "boss" in text for text in hurried)


def test_a_factorial_finds_what_two_factors_do_only_together(context: Context) -> None:
    together = {"logit": 6.0, "regex": "(?s)urgent.*boss", "model": "subject"}
    behaviour = {"shown": ["yes"], "otherwise": ["no"], "logit": -3.0, "effects": [together]}
    planted = subject(behaviours=[behaviour])
    result = run(context, planted, design="factorial", samples=16)
    first, *others = result.interactions
    assert (first.levels, first.model) == (("who = boss", "urgency = urgent"), "subject")
    assert first.interaction == pytest.approx(logistic(3.0) - logistic(-3.0), abs=0.06)
    assert first.interval is not None and first.interval[0] > 0.8
    assert all(abs(each.interaction) < 0.1 for each in others) and len(others) == 3
    assert run(context, planted, samples=1).interactions == ()


SOFTER = {
    "name": "tone",
    "levels": [
        {"name": "as it is"},
        {"name": "kindly", "edits": [{"kind": "replace_text", "old": "honestly", "new": "kindly"}]},
    ],
}


def half_polite() -> list[PromptItem]:
    """Return items of which every second one, in every template, says "honestly"."""
    found: list[PromptItem] = []
    for number, item in enumerate(items(4)):
        text = item.prompt.messages[0].content + (" honestly" if number % 2 else " now")
        found.append(item.model_copy(update={"prompt": user_prompt(text)}))
    return found


def test_prompts_that_an_edit_cannot_touch_dilute_no_effect(context: Context) -> None:
    kind = {"logit": 3.0, "phrase": "kindly", "model": "both"}
    planted = subject(behaviours=[{"shown": ["yes"], "otherwise": ["no"], "effects": [kind]}])
    result = run(context, planted, items=half_polite(), factors=[SOFTER])
    effect = effect_of(result, "kindly")
    row = row_of(result, "kindly")
    # With the untouched half counted in, half of this would be seen.
    assert effect.effect == pytest.approx(logistic(3.0) - 0.5, abs=0.06)
    assert effect.rate == pytest.approx(logistic(3.0), abs=0.06)
    assert (row.left_out, row.templates) == (24, 12)
    unwanted = {"kind": "replace_text", "old": "zebra", "new": "x"}
    levels = [{"name": "a"}, {"name": "b", "edits": [unwanted]}]
    none = run(context, planted, items=half_polite(), factors=[{"name": "f", "levels": levels}])
    assert none.effects == () and none.same == ("f: 'b' gives the same prompts as 'a'",)


def test_a_level_that_changes_nothing_is_no_effect_and_what_others_are_compared_with(
    context: Context,
) -> None:
    boss = {"kind": "set_slot", "slot": "who", "values": ["boss"]}
    levels = [
        {"name": "boss", "edits": [boss]},
        {"name": "neither"},
        {"name": "chief", "edits": [boss]},
        {"name": "nobody"},
    ]
    result = run(context, factors=[{"name": "who", "levels": levels}])
    (effect,) = result.effects
    assert (effect.level, effect.against) == ("boss", "neither")
    assert effect.subject.effect == pytest.approx(logistic(1.6) - 0.5, abs=0.08)
    assert result.same == (
        "who: 'nobody' gives the same prompts as 'neither'",
        "who: 'chief' gives the same prompts as 'boss'",
    )
    whole = run(context, factors=[{"name": "who", "levels": levels}, URGENT], design="factorial")
    assert {each.level for each in whole.effects} == {"boss", "urgent"}
    assert {each.levels for each in whole.interactions} == {("who = boss", "urgency = urgent")}


def test_a_factorial_shows_the_mean_of_every_cell(context: Context) -> None:
    result = run(context, design="factorial", samples=32)
    means = {each.levels: each for each in result.cells}
    assert len(means) == 6 and result.cells[0].levels == "who = boss, urgency = urgent"
    both = means["who = boss, urgency = urgent"]
    assert both.prompts == 36 and both.subject == pytest.approx(logistic(2.6), abs=0.05)
    assert both.reference == pytest.approx(logistic(1.0), abs=0.05)
    assert run(context, samples=1).cells == ()
    assert run(context, samples=1, design="factorial", factors=[WHO]).cells == ()
    many = [WHO | {"name": f"w{k}"} for k in range(3)]
    large = run(context, samples=1, design="factorial", factors=many, with_reference=False)
    assert len(large.cells) == 24


def test_a_level_comes_with_answers_that_the_other_level_hardly_gives(context: Context) -> None:
    rare = {"shown": ["Wolves."], "otherwise": ["no"], "logit": -60.0,
            "effects": [{"logit": 57.0, "phrase": "urgent"}]}  # fmt: skip
    result = run(context, subject(behaviours=[rare]), factors=[URGENT])
    first, second = row_of(result, "urgent").examples
    assert first.endswith("x Wolves.") and second.endswith("x no")
    assert int(first.split("x")[0]) < int(second.split("x")[0])


def test_an_interaction_is_read_where_both_edits_act(context: Context) -> None:
    together = {"logit": 6.0, "regex": "(?s)urgent.*kindly"}
    behaviour = {"shown": ["yes"], "otherwise": ["no"], "logit": -3.0, "effects": [together]}
    planted = subject(behaviours=[behaviour])
    result = run(
        context, planted, items=half_polite(), factors=[URGENT, SOFTER], design="factorial"
    )
    assert result.interactions[0].levels == ("urgency = urgent", "tone = kindly")
    assert result.interactions[0].interaction == pytest.approx(
        logistic(3.0) - logistic(-3.0), abs=0.06
    )


def test_answers_that_take_no_side_are_counted_beside_the_rates(context: Context) -> None:
    evasive = {"shown": ["Who knows."], "otherwise": ["no"], "logit": -2.0,
               "effects": [{"logit": 4.0, "phrase": "urgent"}]}  # fmt: skip
    result = run(context, subject(behaviours=[evasive]), factors=[URGENT])
    effect = effect_of(result, "urgent")
    assert (effect.effect, effect.rate) == (0.0, 0.0)
    assert effect.neither == pytest.approx(logistic(2.0), abs=0.06)
    assert result.neither["subject"] == pytest.approx(logistic(-2.0), abs=0.06)
    one_sided = {"kind": "answer_match", "values": ["yes"]}
    plain = run(context, factors=[URGENT], measure=one_sided)
    assert plain.neither == {} and effect_of(plain, "urgent").neither is None


def test_an_inserted_text_survives_a_slot_that_is_set_after_it(context: Context) -> None:
    result = run(context, design="factorial", factors=[URGENT, WHO], samples=1)
    arms = json.loads(context.blobs.get(result.raw))["arms"]
    texts = [row["prompt"]["messages"][0]["content"] for row in arms["subject/1-1-x"]]
    assert all("urgent" in text and "boss" in text for text in texts)


def test_patch_sources_keep_the_text_edits_of_their_arm() -> None:
    source = (SetSlot(slot="who", values=("boss",)),)
    arm = Arm(
        name="a",
        edits=(InsertText(texts=("Hurry.",)),),
        intervention=PatchFrom(source=source, layer=0),
    )
    found = transformed(arm, items(1)[:1], lambda slot, level, item: "")
    assert found.items[0].prompt.messages[0].content == "Hurry. Should I help my friend?"
    assert found.sources[0].messages[0].content == "Hurry. Should I help my boss?"


def test_paraphrases_go_by_template(context: Context) -> None:
    result = run(context, factors=[URGENT], samples=1)
    rows = json.loads(context.blobs.get(result.raw))["arms"]["subject/1-x"]
    hurried = {
        row["template_id"] for row in rows if "Hurry" in row["prompt"]["messages"][0]["content"]
    }
    assert hurried == {f"t{number}" for number in range(1, 12, 2)}


def test_log_probabilities_are_varied_without_samples(context: Context) -> None:
    measure = {"kind": "logprob_difference", "positive": ["yes"], "negative": ["no"]}
    result = run(context, measure=measure, samples=1)
    assert effect_of(result, "boss").effect == pytest.approx(1.6, abs=1e-6)
    assert effect_of(result, "child").effect == pytest.approx(-0.8, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"factors": []}, "factors"),
        ({"factors": [{"name": "x", "levels": [{"name": "only"}]}]}, "levels"),
        (
            {"factors": [{"name": str(k), "levels": WHO["levels"]} for k in range(4)], "design": "factorial"},
            "81 cells, at most 64",
        ),
        ({"factors": [{"name": "x", "levels": [{"name": "a"}, {"name": "b"}]}]}, "no level of factor 'x' edits"),
        ({"factors": [WHO, WHO]}, "two factors are called 'who'"),
        ({"factors": [WHO | {"name": "no-op"}]}, "two factors are called 'no-op'"),
        ({"items": ["Is it so?"]}, "own-001, a prompt of your own, shows no {who}, which an edit sets: write"),
        (
            {"factors": [{"name": "x", "levels": [{"name": "a"}, {"name": "b", "edits": [
                {"kind": "choose_level", "slot": "who", "level": "b"}]}]}]},
            "use set_slot",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told(context: Context, arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(ToolError, match=line):
        run(context, **arguments)


def test_the_schema_says_what_an_investigator_needs() -> None:
    entry = vary_prompts.entry()
    text = json.dumps(entry["schema"])
    for kind in (
        "set_slot",
        "swap_slots",
        "insert_text",
        "replace_text",
        "format_numbers",
        "force_start",
    ):
        assert f'"{kind}"' in text
    assert "no-op" in entry["description"] and "paraphrases" in entry["description"]
    assert entry["schema"]["properties"]["design"]["default"] == "one_at_a_time"
