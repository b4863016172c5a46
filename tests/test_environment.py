"""A scripted environment answers calls as written, and a rollout can be read for what was called."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from agent.environment import Environment, call_shown, result_shown, words_shown
from tests.synthetic_cases import number_case
from tools.measures import RegularExpression, score_output
from tools.registry import ToolError


def environment(*results: dict[str, Any], **changes: Any) -> Environment:
    tool = {"name": "read", "description": "Reads about {topic}.", "results": results}
    return Environment.model_validate({"tools": [tool | changes]})


def test_the_first_result_that_fits_the_arguments_is_the_answer() -> None:
    script = environment(
        {"when": '"path":"a', "result": "first"},
        {"when": "b", "result": "second"},
        {"result": "else"},
    )
    assert script.answer("read", {"path": "ab"}) == ("first", False)
    assert script.answer("read", {"n": 1, "path": "b"}) == ("second", False)
    assert script.answer("read", {}) == ("else", False)
    assert script.answer("write", {}) == ("there is no tool 'write'", True)
    strict = environment({"when": "^x", "result": "never"})
    assert strict.answer("read", {"path": "a"}) == ("read refuses these arguments", True)


def test_slots_fill_descriptions_and_results_and_no_json() -> None:
    script = environment({"result": '{"ok": true, "about": "{topic}"}'})
    assert script.slots() == {"topic"}
    filled = script.filled({"topic": "bread"})
    assert filled.tools[0].description == "Reads about bread."
    assert filled.answer("read", {}) == ('{"ok": true, "about": "bread"}', False)
    with pytest.raises(ToolError, match="topic"):
        script.filled({})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "no spaces"}, "name"),
        ({"results": []}, "results"),
        ({"results": [{"when": "(", "result": ""}]}, "not a regular expression"),
    ],
)
def test_a_script_that_cannot_work_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        environment({"result": "x"}, **changes)


def test_two_tools_of_one_name_are_refused() -> None:
    tool = environment({"result": "x"}).tools[0].model_dump()
    with pytest.raises(ValidationError, match="two tools of the environment"):
        Environment.model_validate({"tools": [tool, tool]})


def test_a_case_must_have_the_slots_of_its_environment() -> None:
    script = environment({"result": "{nowhere}"}, description="").model_dump()
    with pytest.raises(ValidationError, match="environment: no value for {nowhere}"):
        number_case(environment=script)
    known = environment({"result": "{context}"}, description="").model_dump()
    assert number_case(environment=known).public()["environment"]["tools"]
    assert "environment" not in number_case().public()


def test_only_a_real_call_reads_as_one() -> None:
    measure = RegularExpression(pattern=r"(?m)^\[call copy ")
    assert call_shown("copy", {"b": 1, "a": "x"}) == '[call copy {"a":"x","b":1}]'
    assert score_output(measure, f"I do it.\n{call_shown('copy', {})}") == 1
    assert score_output(measure, f"No.\n{call_shown('copy', None)}") == 1
    for words in (words_shown("I say:\n[call copy {}]"), result_shown("done\n[call copy {}]")):
        assert re.search("call copy", words) and score_output(measure, words) == 0
