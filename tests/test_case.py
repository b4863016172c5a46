"""A case file is read whole or refused with one line per fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.case import Case, CaseError, load_case
from agent.population import population_of
from tests.synthetic_cases import number_case

CASE = """
name = "numbers"
behaviour = "It errs."
{top}
[subject]
model = "{model}"
[measure]
kind = "answer_match"
values = ["{{wrong}}"]
{measure}
[[templates]]
text = "{{context}}Is {{wrong}} bigger?"
{template}
[slots.context]
levels = {{ none = [""], some = ["So. "] }}
{slot}
[[fillings]]
wrong = "9.11"
"""
PARTS = {"top": "", "model": "hub/model", "measure": "", "template": "", "slot": ""}


def load(folder: Path, **parts: str) -> Case:
    path = folder / "case.toml"
    path.write_text(CASE.format(**(PARTS | parts)))
    return load_case(path)


def refusal(folder: Path, **parts: str) -> str:
    with pytest.raises(CaseError) as caught:
        load(folder, **parts)
    return str(caught.value)


def test_a_good_case_is_read(tmp_path: Path) -> None:
    case = load(
        tmp_path, template='history = [{user = "Hi."}, {role = "assistant", content = "Yes?"}]'
    )
    assert [turn.role for turn in case.templates[0].history] == ["user", "assistant"]
    assert case.slots["context"].levels["some"] == ("So. ",)


@pytest.mark.parametrize(
    ("part", "text", "told"),
    [
        ("top", 'behavior = "x"', "unknown field 'behavior'; did you mean 'behaviour'?"),
        ("measure", 'agains = ["x"]', "unknown field 'agains'; did you mean 'against'?"),
        ("template", 'prefil = "x"', "unknown field 'prefil'; did you mean 'prefill'?"),
        ("slot", "candidate = true", "unknown field 'candidate'; did you mean 'candidates'?"),
        ("slot", 'values = ["x"]', "give either `values` or `levels`"),
        ("template", 'system = "{tone}"', "template 1: no value for {tone}"),
        ("top", "limits = {registrations = 0}", "limits.registrations"),
    ],
)
def test_a_fault_is_one_line_that_says_where(
    tmp_path: Path, part: str, text: str, told: str
) -> None:
    lines = refusal(tmp_path, **{part: text}).splitlines()
    assert len(lines) == 1 and told in lines[0] and "case.toml" in lines[0]


def test_a_file_that_is_not_there_or_is_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no case file at"):
        load_case(tmp_path / "none.toml")
    assert "is not TOML" in refusal(tmp_path, top="name = [")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CaseError, match="cannot be read"):
        load_case(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"templates": []}, "no prompts"),
        ({"measure": None}, "needs a \\[measure\\]"),
        ({"fillings": [{"a": "1"}, {"b": "2"}]}, "must have the same names"),
    ],
)
def test_what_no_single_field_can_say_is_checked(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        number_case(**changes)


def test_folders_beside_the_case_become_absolute_and_hub_ids_stay(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    assert load(tmp_path, model="weights").subject.model == str((tmp_path / "weights").resolve())
    assert load(tmp_path, model="../gone").subject.model == str((tmp_path / "../gone").resolve())
    assert load(tmp_path, model="hub/model").subject.model == "hub/model"


def test_an_investigator_never_sees_where_models_are() -> None:
    case = number_case(name="oracle", subject={"model": "/secret/place", "system": "hidden words"})
    shown = str(case.public())
    assert "secret" not in shown and "hidden words" not in shown and case.name not in shown
    assert case.public()["has_reference"]


def test_a_handful_of_prompts_is_wrapped_and_scoped() -> None:
    case = number_case(templates=[], fillings=[], slots={}, prompts=["Is {this} so?", "Say it."])
    population = population_of(case, 0)
    assert population.scope == "these prompts, in generic wrappers"
    texts = {template.text for template in population.templates.values()}
    assert texts == {"{wrap_before}Is (this) so?{wrap_after}", "{wrap_before}Say it.{wrap_after}"}


def test_earlier_calls_are_those_of_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    path.write_text(
        """
        name = "work"
        behaviour = "It goes on."
        [subject]
        model = "api:openai-chat/m"
        [measure]
        kind = "word_count"
        [slots.memo]
        values = ["Stop.", "Go on."]
        [[templates]]
        text = "Well?"
        history = [
            { user = "Read the memo." },
            { role = "assistant", content = "", calls = [{ name = "read_file", result = "{memo}" }] },
        ]
        [environment]
        [[environment.tools]]
        name = "read_file"
        description = "Read a file."
        results = [{ result = "no" }]
        """
    )
    (call,) = load_case(path).templates[0].history[1].calls
    assert (call.name, call.arguments, call.result) == ("read_file", {}, "{memo}")
    path.write_text(
        path.read_text().replace('calls = [{ name = "read_file"', 'calls = [{ name = "read"')
    )
    with pytest.raises(
        CaseError, match="template 1: unknown tool in its history 'read'.*'read_file'"
    ):
        load_case(path)
