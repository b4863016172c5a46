import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tools.measures import (
    AnswerMatch,
    LogprobDifference,
    Measure,
    RegularExpression,
    WordClassifier,
    WordCount,
    first_mention,
    is_binary,
    logsumexp,
    names_neither,
    resolve,
    score_output,
    unit,
    words,
)
from tools.prompt import PromptItem, Template, fill
from tools.registry import ToolError


def item(**slots):
    template = Template(text="Which is bigger?")
    return PromptItem(
        id="t1/0", template=template, template_id="t1", slots=slots, prompt=fill(template, slots)
    )


def names(value, output):
    return first_mention((value,), output)[0] < math.inf


@pytest.mark.parametrize(
    "output",
    [
        "9.1",
        "The answer is 9.1.",
        "9.1, of course",
        "(9.1)",
        "**9.1**",
        "9.1!\nNext",
        "=9.1",
        "$9.1",
        "9.1 .5",
        "9.1-9.8",
        "8.2-9.1",
        "wait... 9.1",
        "9.1, 200 of them",
    ],
)
def test_a_number_is_found_where_it_stands_alone(output):
    assert names("9.1", output)


@pytest.mark.parametrize(
    "output",
    [
        "9.11",
        "19.1",
        "9.10",
        "9.1.2",
        "2.9.1",
        "-9.1",
        "is -9.1",
        "\u22129.1",
        "v9.1",
        "9.1e5",
        "91",
        "9 .1",
        "9.1k",
    ],
)
def test_a_number_is_not_found_inside_another(output):
    assert not names("9.1", output)


@pytest.mark.parametrize(
    ("value", "output", "found"),
    [
        ("9.8", "I say 9.8.", True),
        ("9.8", "I say 9.80", False),
        ("9.80", "I say 9.8", False),
        ("1", "1,000", False),
        ("000", "1,000", False),
        ("1,000", "it is 1,000.", True),
        ("1", "1, 2 and 3", True),
        ("8", ".8", False),
        ("8", "about .8", False),
        ("-9.1", "it is -9.1", True),
        ("-9.1", "9.11-9.1", False),
        ("gpt-4", "gpt-4.5", False),
        ("gpt-4", "GPT-4.", True),
    ],
)
def test_numbers_end_where_they_end(value, output, found):
    assert names(value, output) == found


@pytest.mark.parametrize(
    ("value", "output", "found"),
    [
        ("yes", "Yes.", True),
        ("yes", "yesterday", False),
        ("yes", "1.Yes", True),
        (" yes", "yes indeed", True),
        (" yes", "Say yes", True),
        ("C++", "in C++, say", True),
        ("caf\u00e9", "the CAF\u00c9 is", True),
        ("caf", "the caf\u00e9 is", False),
        ("a.b", "axb", False),
        ("New York", "new york city", True),
    ],
)
def test_words_are_whole_and_taken_literally(value, output, found):
    assert names(value, output) == found


def test_the_first_named_answer_counts_and_naming_none_is_zero():
    measure = AnswerMatch(values=("9.8",), against=("9.11",))
    assert score_output(measure, "9.8 is bigger than 9.11.") == 1.0
    assert score_output(measure, "9.11 is bigger than 9.8.") == 0.0
    assert score_output(measure, "They are equal.") == 0.0
    assert score_output(AnswerMatch(values=("yes",)), "Well, yes") == 1.0
    assert score_output(AnswerMatch(values=("no", "9.8"), against=("9.11",)), "9.11 no 9.8") == 0.0


def test_taking_no_side_is_told_apart_from_taking_the_other():
    two = AnswerMatch(values=("9.11",), against=("9.8",))
    assert [names_neither(two, text) for text in ("9.11", "9.8", "9.8 or 9.11", "both", "9.1")] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert score_output(two, "both") == score_output(two, "9.8") == 0.0
    assert names_neither(two, " ") is None
    assert names_neither(AnswerMatch(values=("9.11",)), "both") is None
    assert names_neither(WordCount(), "both") is None


def test_the_longer_of_two_answers_that_begin_together_was_named():
    assert score_output(AnswerMatch(values=("New York",), against=("New",)), "New York") == 1.0
    assert score_output(AnswerMatch(values=("New",), against=("New York",)), "New York") == 0.0
    assert score_output(AnswerMatch(values=("New",), against=("New York",)), "New Orleans") == 1.0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 999), st.integers(0, 99), st.integers(0, 999), st.integers(0, 99))
def test_a_written_number_is_matched_by_itself_only(a, b, c, d):
    value, other = f"{a}.{b}", f"{c}.{d}"
    assert names(value, f"I think {value}.")
    assert names(value, f"I think {other}, surely") == (value == other)


@pytest.mark.parametrize("output", ["", " ", "\n\t"])
@pytest.mark.parametrize(
    "measure",
    [
        AnswerMatch(values=("a",)),
        RegularExpression(pattern="x*"),
        WordCount(),
        WordClassifier(weights={"a": 1.0}, threshold=-1.0),
    ],
)
def test_an_empty_output_is_unscored_not_zero(measure, output):
    assert score_output(measure, output) is None


def test_slots_are_filled_from_the_item():
    here = item(wrong="9.11", right="9.8")
    filled = resolve(AnswerMatch(values=("{wrong}", "x {right}"), against=("{right}",)), here)
    assert (filled.values, filled.against) == (("9.11", "x 9.8"), ("9.8",))
    filled = resolve(LogprobDifference(positive=(" {wrong}",), negative=("{right}",)), here)
    assert (filled.positive, filled.negative) == ((" 9.11",), ("9.8",))
    with pytest.raises(ToolError, match="lost"):
        resolve(AnswerMatch(values=("{lost}",)), here)
    assert resolve(WordCount(), here) == WordCount()


def test_a_slot_that_is_empty_is_an_error_not_a_match_everywhere():
    with pytest.raises(ToolError, match="empty for t1"):
        resolve(AnswerMatch(values=("{wrong}",)), item(wrong=""))


def test_slots_in_a_pattern_are_text_and_other_braces_stay():
    measure = RegularExpression(pattern=r"^{wrong}\d{2}$")
    filled = resolve(measure, item(wrong="9.1+"))
    assert score_output(filled, "9.1+42") == 1.0
    assert score_output(filled, "9x1142") == 0.0
    backslash = resolve(RegularExpression(pattern="{wrong}"), item(wrong=r"\d"))
    assert score_output(backslash, "7") == 0.0
    assert score_output(backslash, r"a \d") == 1.0
    with pytest.raises(ToolError, match="'lost', which t1 lacks"):
        resolve(RegularExpression(pattern="{lost}"), item(wrong="1"))


def test_case_is_ignored_unless_asked_for():
    assert score_output(RegularExpression(pattern="Yes"), "oh yes") == 1.0
    assert score_output(RegularExpression(pattern="Yes", ignore_case=False), "oh yes") == 0.0


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "[", "*", "(?P<x>a)(?P<x>b)"])
def test_a_pattern_that_does_not_compile_is_one_fault(pattern):
    with pytest.raises(ValidationError, match="not a regular expression"):
        RegularExpression(pattern=pattern)


def test_the_word_classifier_counts_each_word_once_and_needs_more_than_the_threshold():
    measure = WordClassifier(weights={"elephant": 1.0, "trunk": 0.5, "no": -2.0}, threshold=1.0)
    assert score_output(measure, "Elephant elephant elephant!") == 0.0
    assert score_output(measure, "An ELEPHANT with a trunk") == 1.0
    assert score_output(measure, "no elephant, no trunk") == 0.0
    assert score_output(measure, "elephants trunks") == 0.0


@pytest.mark.parametrize("key", ["Yes", "two words", "", "end."])
def test_a_weight_that_could_never_be_found_is_refused(key):
    with pytest.raises(ValidationError, match="not one lower-cased word"):
        WordClassifier(weights={key: 1.0}, threshold=0.0)


def test_words_of_any_script_with_apostrophes_and_decimals_whole():
    assert words("Don\u2019t say 'yes': 9.11 > 9.8.") == ["don't", "say", "yes", "9.11", "9.8"]
    assert words("Le CAF\u00c9, \u00fcber_all end.Next v1.2") == [
        "le",
        "caf\u00e9",
        "\u00fcber",
        "all",
        "end",
        "next",
        "v1.2",
    ]


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_a_mined_word_is_always_a_valid_weight(text):
    for word in words(text):
        assert words(word) == [word]


def test_word_count_and_units():
    assert score_output(WordCount(), " one two\nthree ") == 3.0
    difference = LogprobDifference(positive=("a",), negative=("b",))
    assert [unit(m) for m in (WordCount(), difference, AnswerMatch(values=("a",)))] == [
        "words",
        "nats",
        "points",
    ]
    assert is_binary(WordClassifier(weights={"a": 1.0}, threshold=0.0))
    assert not is_binary(difference)
    with pytest.raises(TypeError, match="probabilities"):
        score_output(difference, "a")


def test_the_kind_chooses_the_measure_and_extra_fields_are_refused():
    adapter = TypeAdapter(Measure)
    assert adapter.validate_python({"kind": "word_count"}) == WordCount()
    with pytest.raises(ValidationError, match="extra"):
        adapter.validate_python({"kind": "word_count", "threshold": 1})


def test_logsumexp():
    assert logsumexp([0.0, 0.0]) == pytest.approx(math.log(2))
    assert logsumexp([-1000.0, -1000.0]) == pytest.approx(-1000 + math.log(2))
    assert logsumexp([1000.0, 0.0]) == 1000.0
    assert logsumexp([-math.inf, -3.0]) == -3.0
    assert logsumexp([-math.inf, -math.inf]) == -math.inf
    assert logsumexp([]) == -math.inf


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-700, 700), min_size=1, max_size=20), st.randoms())
def test_logsumexp_ignores_order_and_shifts(values, shuffler):
    total = logsumexp(values)
    shuffled = [*values]
    shuffler.shuffle(shuffled)
    assert logsumexp(shuffled) == total
    assert max(values) <= total <= max(values) + math.log(len(values)) + 1e-9
    assert logsumexp([value + 5 for value in values]) == pytest.approx(total + 5, abs=1e-9)
