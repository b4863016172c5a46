"""Records told once: nothing that a schema says is lost, and all of it is short."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent.house_tools import HOUSE_TOOLS
from agent.language_model import LISTED_WITH_WRITER
from agent.sceptic import rest_case
from agent.shared_records import told_once
from agent.tool_schemas import DRAWN, readable
from tools.catalogue import TOOLS

ENTRIES = {tool.name: tool.entry() for tool in (*TOOLS, *HOUSE_TOOLS, rest_case)}
LIST = [readable(ENTRIES[name]["schema"]) for name in LISTED_WITH_WRITER]


def said_in(schema: Any, *, top: bool = True) -> Iterator[str]:
    """Yield each field name, text, constant and choice of a schema, but for the text of the whole."""
    if isinstance(schema, list):
        for each in schema:
            yield from said_in(each, top=False)
    if not isinstance(schema, dict) or schema == DRAWN:
        return
    for key, inner in schema.items():
        if key in ("const", "enum"):
            yield from ([str(inner)] if key == "const" else map(str, inner))
        elif key == "description" and isinstance(inner, str) and not top:
            yield " ".join(inner.split())
        elif key == "properties":
            yield from inner
            yield from said_in(list(inner.values()))
        else:
            inner = list(inner.values()) if key == "$defs" else inner
            yield from said_in(inner, top=False)


def test_nothing_that_a_schema_says_is_lost() -> None:
    schemas, records = told_once(LIST)
    both = " ".join(json.dumps(schemas, ensure_ascii=False).replace("\\n", " ").split())
    words = f"{both.replace(chr(92) + chr(34), chr(34))} {records}"
    for schema in LIST:
        missing = [each for each in said_in(schema) if each not in words]
        assert missing == []
    assert "EarlierCall: {name: text" in records, "what a named record is made of is told"
    assert "write_prompts made" in records, "a draw's population is told too"


def test_every_protocol_gets_plain_objects_without_references() -> None:
    schemas, _ = told_once(LIST)
    for schema in schemas:
        assert schema["type"] == "object" and isinstance(schema["properties"], dict)
        assert not {"anyOf", "oneOf", "allOf", "$ref", "$defs"} & set(schema)
    text = json.dumps(schemas)
    # OpenAI refuses a list whose items are not told.
    assert text.count('"type": "array"') <= text.count('"items": {')
    assert "$ref" not in text and "$defs" not in text and "discriminator" not in text


def test_what_stands_in_one_place_is_written_there_and_what_stands_in_several_is_named() -> None:
    names = ("vary_prompts", "register_predictions")
    (vary, register), records = told_once([readable(ENTRIES[name]["schema"]) for name in names])
    assert vary["properties"]["factors"]["items"]["properties"]["levels"]["maxItems"] == 12
    prediction = register["properties"]["predictions"]["items"]["properties"]
    assert prediction["treatment"] == {"type": "object", "description": "Arm."}
    assert prediction["control"]["description"].startswith("Arm. What the treatment")
    assert records.count('kind: "answer_match"') == 1 and records.count("Arm: {") == 1
    assert 'Measure of kind "word_classifier"' in records
    assert "coefficient: number" in records


def test_two_records_of_one_name_are_not_mixed_up() -> None:
    one = {"properties": {"a": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"type": "string"}}}
    other = {**one, "$defs": {"X": {"type": "integer"}}}
    with pytest.raises(ValueError, match="different records by 'X'"):
        told_once([one, other])


def test_tools_and_records_together_are_short() -> None:
    schemas, records = told_once([readable(ENTRIES[name]["schema"]) for name in LISTED_WITH_WRITER])
    assert len(json.dumps(schemas, separators=(",", ":"))) + len(records) < 21_200
