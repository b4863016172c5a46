"""No-op sentences say nothing that a level says: else they are a weaker dose of it."""

from __future__ import annotations

from typing import Any

from agent.population import population_of
from agent.prediction import Prediction
from agent.rivals import standing_rivals
from tests.scripted_run import case_of, prediction
from tools.factors import Factor, with_no_op
from tools.neutral import FEWEST, content_words, of_length, sentences
from tools.prompt import InsertText, PromptItem, Template, fill

WEATHER = ("The weather was fine on those days.", "Clear skies all week.", "What a nice morning!")


def shared(texts: tuple[str, ...], levels: tuple[str, ...]) -> set[str]:
    said = {word for text in texts for word in content_words(text)}
    return said & {word for text in levels for word in content_words(text)}


def test_sentences_beside_a_level_share_no_content_word_with_it() -> None:
    assert shared(of_length("neutral", 5), WEATHER)
    found = of_length("neutral", 5, WEATHER)
    assert len(found) == FEWEST and not shared(found, WEATHER)
    # Of sentences that would do, the nearest in length; nothing to avoid changes nothing.
    assert of_length("neutral", 5, ["This is what they were about."]) == of_length("neutral", 5)
    assert content_words("It is a list of days.") == {"list", "day"}


def test_where_every_sentence_shares_a_word_there_are_still_two() -> None:
    everything = sentences("neutral")
    assert len(of_length("neutral", 5, everything)) == 2


def test_a_sentence_of_quite_another_length_is_no_third() -> None:
    """All but one of the short ones are taken: two are left rather than one of a dozen words too many."""
    found = of_length("neutral", 4, ["A desk today.", "A mild week, I think.", "Breakfast."])
    assert found[0] == "It is a nice day." and len(found) == 2


def test_the_no_op_of_a_variation_avoids_its_levels_and_those_that_drawn_prompts_show() -> None:
    edit = {"kind": "insert_text", "texts": WEATHER[:2]}
    raw: dict[str, Any] = {
        "name": "talk",
        "levels": [{"name": "no"}, {"name": "yes", "edits": [edit]}],
    }
    slots = {"mood": WEATHER[2]}
    template = Template(text="{mood} Well?")
    item = PromptItem(
        id="a",
        template=template,
        template_id="t",
        slots=slots,
        prompt=fill(template, slots),
        levels={"mood": "m"},
    )
    no_op = with_no_op((Factor.model_validate(raw),), [item])[-1].levels[1].edits[0]
    assert isinstance(no_op, InsertText) and not shared(no_op.texts, WEATHER)


def test_standing_rivals_avoid_every_level_of_the_case() -> None:
    levels = {
        "plain": ("So.", "Well.", "Hm."),
        "weather": WEATHER,
        "date": ("In May.", "At dawn.", "By noon."),
    }
    case = case_of(slots={"context": {"levels": levels}, "claim": case_of().slots["claim"]})
    wish = prediction(treatment={"name": "t", "edits": [{"kind": "insert_text", "texts": ["Hello to you."]}]},
                      control={"name": "c"}, rivals=[{"name": "r", "predicts": [0, 0.1]}])  # fmt: skip
    found = standing_rivals(Prediction.model_validate(wish), population_of(case, 0))
    assert len(found) == 2
    for rival in found:
        assert rival.arm is not None
        edit = rival.arm.edits[-1]
        assert isinstance(edit, InsertText) and not shared(edit.texts, WEATHER)
