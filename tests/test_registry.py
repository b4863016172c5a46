"""Tools are described once, and mistakes come back in one line each, with the nearest names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent.case import Case
from agent.house_tools import Registrations
from tools.registry import Record, ToolError, describe_faults, find_tool, tool, unknown


class Inner(Record):
    width: int = 1


class Arguments(Record):
    count: int
    inner: tuple[Inner, ...] = ()


class Result(Record):
    total: int


@tool
def add_up(subject: Any, args: Arguments, context: Any) -> Result:
    """Add up.

    In two lines.
    """
    return Result(total=args.count + sum(each.width for each in args.inner))


def test_name_text_and_schema_come_from_the_function() -> None:
    entry = add_up.entry()
    assert entry["name"] == "add_up"
    assert entry["description"] == "Add up.\n\nIn two lines."
    assert set(entry["schema"]["properties"]) == {"count", "inner"}
    assert add_up(None, {"count": 1, "inner": [{"width": 3}]}, None) == Result(total=4)


def test_each_fault_is_one_line_and_names_its_place() -> None:
    with pytest.raises(ToolError) as caught:
        add_up(None, {"cuont": 1, "inner": [{"widht": 2}, {"width": "x" * 1000}]}, None)
    lines = str(caught.value).splitlines()
    assert lines == list(caught.value.faults)
    assert any("unknown field 'cuont'; did you mean 'count'?" in line for line in lines)
    assert any("inner.0: unknown field 'widht'; did you mean 'width'?" in line for line in lines)
    assert any("field 'count' is required" in line for line in lines)
    assert any("inner.1.width" in line for line in lines)
    assert max(map(len, lines)) < 300


def faults_of(record: type[Record], value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        record.model_validate(value)
    return "\n".join(describe_faults("it", record, caught.value))


def test_a_fault_inside_a_union_or_a_table_gets_the_fields_of_its_own_record() -> None:
    case = {
        "name": "x",
        "behaviour": "",
        "subject": {"model": "m", "modle": 1},
        "measure": {"kind": "answer_match", "vlaues": ["yes"]},
        "slots": {"context": {"lvels": {}}},
        "prompts": ["a"],
    }
    told = faults_of(Case, case)
    assert "unknown field 'modle'; did you mean 'model'?" in told
    assert "unknown field 'vlaues'; did you mean 'values'?" in told
    assert "unknown field 'lvels'; did you mean 'levels'" in told
    edit = {"kind": "set_slot", "slot": "a", "valuse": ["b"]}
    arm = {"name": "t", "edits": [edit]}
    told = faults_of(Registrations, {"predictions": [{"treatment": arm, "rivasl": []}]})
    assert "unknown field 'valuse'; did you mean 'values'?" in told
    assert "unknown field 'rivasl'; did you mean 'rivals'" in told


def test_unknown_names_get_close_ones_or_all_and_are_cut() -> None:
    assert unknown("tool", "sampel", ["sample", "vary"]) == (
        "unknown tool 'sampel'; did you mean 'sample'?"
    )
    assert unknown("tool", "zzz", ["sample", "vary"]).endswith("known: sample, vary")
    assert len(unknown("tool", "z" * 5000, ["sample"])) < 150
    with pytest.raises(ToolError, match="did you mean 'add_up'"):
        find_tool([add_up], "addup")


def test_a_record_is_frozen_and_refuses_what_is_not_finite() -> None:
    class Number(Record):
        value: float

    with pytest.raises(ValidationError):
        Number(value=float("nan"))
    with pytest.raises(ValidationError):
        Number(value=1.0).value = 2.0  # pyright: ignore[reportAttributeAccessIssue]


def test_a_function_that_is_no_tool_is_refused() -> None:
    def silent(subject: Any, args: Arguments, context: Any) -> Result:
        return Result(total=0)

    def short(subject: Any, args: Arguments) -> Result:
        """Too few parameters."""
        return Result(total=0)

    for function in (silent, short):
        with pytest.raises(TypeError, match="a tool takes"):
            tool(function)
