"""Schemas of tools as a language model reads them: what it never writes is left out, what the loop adds is in."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

DRAWN: dict[str, Any] = {
    "type": "object",
    "description": "explore prompts of the case, drawn by the harness",
    "properties": {
        "draw": {
            "type": "object",
            "properties": {
                "templates": {"type": "integer", "minimum": 1},
                "per_template": {"type": "integer", "minimum": 1},
                "population": {
                    "type": "string",
                    "description": "`case`, or one that write_prompts made",
                },
            },
        }
    },
    "required": ["draw"],
    "additionalProperties": False,
}
"""The form in which prompts are asked of the harness; `agent.loop` puts the prompts in its place."""
HARNESS_RECORDS = ("PromptItem",)
"""Records that only the harness makes."""


def readable(schema: dict[str, Any], useless: Collection[str] = ()) -> dict[str, Any]:
    """Return the schema of a tool's arguments with drawn prompts allowed and unused definitions gone.

    `useless` are records that this run would refuse, such as the judged measure where there are no judges.
    """
    schema = without_records(schema, useless)
    properties = {name: with_draw(inner) for name, inner in schema.get("properties", {}).items()}
    plain = {
        key: value for key, value in {**schema, "properties": properties}.items() if key != "$defs"
    }
    definitions: dict[str, Any] = schema.get("$defs", {})
    wanted = list(references(plain))
    used: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name not in used:
            used[name] = definitions[name]
            wanted += references(definitions[name])
    kept = {**plain, "$defs": {name: used[name] for name in sorted(used)}} if used else plain
    return without_titles(kept)


def without_records(value: Any, names: Collection[str]) -> Any:
    """Return a schema in which no choice offers one of these records."""
    if isinstance(value, list):
        return [
            without_records(each, names)
            for each in value
            if not (isinstance(each, dict) and refers_to(each.get("$ref"), names))
        ]
    if not isinstance(value, dict):
        return value
    return {
        key: without_records(inner, names)
        for key, inner in value.items()
        if not (isinstance(inner, str) and key != "$ref" and refers_to(inner, names))
    }


def refers_to(reference: Any, names: Collection[str]) -> bool:
    """Say whether a reference is to one of these records."""
    text = str(reference)
    return text.startswith("#/$defs/") and text.rsplit("/", 1)[-1] in names


def without_titles(schema: Any) -> Any:
    """Return a schema without the titles that repeat a field's name, which are a sixth of its length."""
    if isinstance(schema, list):
        return [without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # A field that is called `title` has a schema there, not a text.
    return {
        key: without_titles(inner)
        for key, inner in schema.items()
        if not (key == "title" and isinstance(inner, str))
    }


def with_draw(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field; where it takes prompts, a draw, or texts and whole prompts of one's own."""
    own = field.get("items", {})
    kinds = own.get("anyOf", []) if isinstance(own, dict) else []
    written = [each for each in kinds if not is_harness_record(each)]
    if len(written) < len(kinds):
        told = {"description": field["description"]} if "description" in field else {}
        rest = {key: value for key, value in field.items() if key != "description"}
        return {"anyOf": [DRAWN, {**rest, "items": {**own, "anyOf": written}}], **told}
    if "anyOf" in field:
        return {**field, "anyOf": [with_draw(each) for each in field["anyOf"]]}
    return field


def is_harness_record(schema: dict[str, Any]) -> bool:
    """Say whether a schema is a reference to a record that only the harness makes."""
    return str(schema.get("$ref", "")).rsplit("/", 1)[-1] in HARNESS_RECORDS


def references(value: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema refers to."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield str(inner).rsplit("/", 1)[-1]
            elif key != "$defs":
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
