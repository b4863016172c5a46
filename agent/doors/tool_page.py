"""The tools as one Markdown page that a language model, or a person, reads from top to bottom."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agent.templates import written
from agent.tool_schemas import readable
from tools.registry import Tool


def tools_page(tools: Iterable[Tool]) -> str:
    """Return the page: for each tool what it is for, its arguments, and their schema as they are checked."""
    return written("tools.j2", tools=[described(tool) for tool in tools])


def described(tool: Tool) -> dict[str, Any]:
    """Return what the page says of one tool."""
    schema = readable(tool.entry()["schema"])
    return {
        "name": tool.name,
        "description": tool.description,
        "arguments": [
            {
                "name": name,
                "type": type_of(field),
                "required": name in schema.get("required", ()),
                "default": json.dumps(field["default"]) if "default" in field else None,
                "description": field.get("description", ""),
            }
            for name, field in schema.get("properties", {}).items()
        ],
        "schema": json.dumps(schema, ensure_ascii=False, sort_keys=True),
    }


def type_of(field: object) -> str:
    """Return in a few words what a field takes."""
    match field:
        case {"enum": list(values)}:
            return " or ".join(json.dumps(value) for value in values)
        case {"const": value}:
            return json.dumps(value)
        case {"$ref": str(reference)}:
            return reference.rsplit("/", 1)[-1]
        case {"anyOf": list(kinds)} | {"oneOf": list(kinds)}:
            return " or ".join(dict.fromkeys(type_of(kind) for kind in kinds))
        case {"type": "object", "properties": {"draw": _}}:
            return 'a draw {"draw": {...}}'
        case {"type": "array", "items": dict(items)} if items:
            return f"list of {type_of(items)}"
        case {"type": str(name)}:
            return name
        case _:
            return "any"
