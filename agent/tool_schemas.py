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
    schema = without_records(tidied(schema), useless)
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
    return {**plain, "$defs": {name: used[name] for name in sorted(used)}} if used else plain


def without_records(value: Any, names: Collection[str]) -> Any:
    """Return a tidied schema in which no choice and no field offers one of these records."""
    if isinstance(value, list):
        return [without_records(each, names) for each in value if not is_one_of(each, names)]
    if not isinstance(value, dict):
        return value
    return {
        key: without_records(inner, names)
        for key, inner in value.items()
        if not is_one_of(inner, names)
    }


def is_one_of(schema: Any, names: Collection[str]) -> bool:
    """Say whether a schema is a reference to one of these records, a choice between nothing else, or a list of them."""
    match schema:
        case {"$ref": str(reference)}:
            return name_of(reference) in names
        case {"oneOf": [*choices]} | {"anyOf": [*choices]}:
            return all(is_one_of(each, names) for each in choices)
        case {"type": "array", "items": dict(items)}:
            return is_one_of(items, names)
        case _:
            return False


def tidied(schema: Any) -> Any:
    """Return a schema without what says nothing: titles, discriminators, empty defaults, `or null` of a default null.

    A value that is left out is the same as null there, so nothing that can be asked for is lost.
    """
    if isinstance(schema, list):
        return [tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        # The names of fields are no words of a schema.
        key: {name: tidied(field) for name, field in inner.items()}
        if key == "properties" and isinstance(inner, dict)
        else tidied(inner)
        for key, inner in schema.items()
        if not (key == "title" and isinstance(inner, str))
        and key != "discriminator"
        and not (key == "default" and (inner in (None, [], "", {}) or "const" in schema))
    }
    match schema:
        case {"anyOf": [inner, {"type": "null"}], "default": None}:
            return {**tidied(inner), **{key: kept[key] for key in kept if key != "anyOf"}}
        case _:
            return kept


def with_draw(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field; where it takes prompts, a draw, or texts and whole prompts of one's own."""
    own = field.get("items", {})
    kinds = own.get("anyOf", []) if isinstance(own, dict) else []
    written = [each for each in kinds if not is_one_of(each, HARNESS_RECORDS)]
    if len(written) < len(kinds):
        told = {"description": field["description"]} if "description" in field else {}
        rest = {key: value for key, value in field.items() if key != "description"}
        return {"anyOf": [DRAWN, {**rest, "items": {**own, "anyOf": written}}], **told}
    return field


def name_of(reference: str) -> str:
    """Return the name of the definition that a reference is to."""
    return reference.rsplit("/", 1)[-1]


def references(value: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema refers to."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield name_of(str(inner))
            elif key != "$defs":
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
