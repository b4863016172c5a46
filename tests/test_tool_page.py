"""The page of tools tells every tool, every argument and its limits, from the records that check them."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from agent.doors.tool_page import tools_page, type_of
from agent.house_tools import HOUSE_TOOLS
from naturalist import app
from tools.black_box import BLACK_BOX
from tools.registry import schema_of


def test_every_argument_of_every_tool_stands_on_the_page_with_its_text() -> None:
    tools = [*BLACK_BOX, *HOUSE_TOOLS]
    page = tools_page(tools)
    for tool in tools:
        part = page.split(f"\n## {tool.name}\n", 1)[1].split("\n## ", 1)[0]
        assert tool.description in part
        schema = schema_of(tool.arguments)
        for name in schema.get("properties", {}):
            (line,) = [each for each in part.splitlines() if each.startswith(f"- `{name}` (")]
            assert ("required" in line) == (name in schema.get("required", ()))
        told = json.loads(part.split("Schema: `", 1)[1].rsplit("`", 1)[0])
        assert set(told["properties"]) == set(schema["properties"])


def test_what_a_field_takes_is_said_in_a_few_words() -> None:
    assert type_of({"type": "array", "items": {"type": "string"}}) == "list of string"
    assert type_of({"anyOf": [{"$ref": "#/$defs/Arm"}, {"type": "null"}]}) == "Arm or null"
    assert type_of({"enum": ["a", "b"]}) == '"a" or "b"'


def test_the_command_prints_all_tools_or_one() -> None:
    whole = CliRunner().invoke(app, ["tools", "--markdown"])
    assert whole.exit_code == 0, whole.output
    for name in ("sample_responses", "patch_activations", "register_predictions"):
        assert f"## {name}\n" in whole.output
    one = CliRunner().invoke(app, ["tools", "confirm", "--markdown"])
    assert one.output.count("\n## ") == 1 and "## confirm" in one.output
