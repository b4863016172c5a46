"""Records that several tools take, told once: in the schemas stands their name, in the system prompt what they are.

A measure or an arm written out in every tool that takes one is four fifths of all that a language model
reads before its first turn.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from agent.tool_schemas import DRAWN, name_of, references

CHOICES = {"AnswerMatch": "Measure", "SetSlot": "Edit", "Steer": "Intervention"}
"""What a choice between records is called, by one that stands first in it."""
PROMPTS = "Prompts"
WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}


def told_once(schemas: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Return readable schemas without definitions, and what the records that they name are.

    A record that stands in one place is written there; one that stands in several is named.
    """
    definitions: dict[str, Any] = {}
    for schema in schemas:
        for name, record in schema.get("$defs", {}).items():
            if definitions.setdefault(name, record) != record:
                raise ValueError(f"two tools mean different records by {name!r}")
    plain = [
        {k: v for k, v in each.items() if k not in ("$defs", "description")} for each in schemas
    ]
    book = Book(definitions, plain)
    shortened = [book.short(schema) for schema in plain]
    return shortened, "\n".join(book.pages())


class Book:
    """The records of all tools, and which of them are told by name."""

    def __init__(self, definitions: dict[str, Any], schemas: Sequence[dict[str, Any]]) -> None:
        """`schemas` are those of the tools, without their definitions."""
        self.definitions = definitions
        self.choices: dict[str, list[dict[str, Any]]] = {}
        self.prompts: dict[str, Any] | None = None
        """What every tool that asks prompts takes: a draw, or a list."""
        reached = reachable(definitions, schemas)
        uses = Counter(name for each in schemas for name in references(each))
        uses.update(name for record in reached for name in references(definitions[record]))
        self.named = {name for name in reached if uses[name] > 1}
        for each in (*schemas, *(definitions[name] for name in reached)):
            self.collect(each)
        self.close()

    def close(self) -> None:
        """Name what a named record is made of, too: it stands in no schema."""
        members = [name_of(each["$ref"]) for choice in self.choices.values() for each in choice]
        wanted = [*self.named, *members]
        while wanted:
            inner = set(references(self.definitions[wanted.pop()])) - self.named
            self.named |= inner
            wanted += inner

    def collect(self, value: Any) -> None:
        """Learn what a choice between records is called, wherever one stands."""
        if isinstance(value, list):
            for each in value:
                self.collect(each)
        elif isinstance(value, dict):
            name = choice_of(value)
            if name is not None:
                self.choices[name] = value["oneOf"]
            if takes_prompts(value):
                self.prompts = self.prompts or value
            for inner in value.values():
                self.collect(inner)

    def short(self, value: Any) -> Any:
        """Return a schema with records told by name, or written in place."""
        if isinstance(value, list):
            return [self.short(each) for each in value]
        if not isinstance(value, dict):
            return value
        if self.prompts and value.get("anyOf") == self.prompts["anyOf"]:
            said = value if value != self.prompts else {}
            told = f" {said['description']}" if "description" in said else ""
            return {
                "anyOf": [{"type": "object"}, {"type": "array", "items": {}}],
                "description": f"{PROMPTS}.{told}",
            }
        rest = {
            key: self.short(inner)
            for key, inner in value.items()
            # Unknown fields are refused by the tool, which names the nearest one.
            if key not in ("oneOf", "$ref", "additionalProperties") or isinstance(inner, dict)
        }
        choice = choice_of(value)
        if choice is not None:
            return named(choice, rest)
        if "$ref" not in value:
            return {**rest, **({"oneOf": self.short(value["oneOf"])} if "oneOf" in value else {})}
        name = name_of(value["$ref"])
        if name in self.named or self.is_chosen(name):
            return named(self.called(name), rest)
        record = self.short(self.definitions[name])
        texts = [each["description"] for each in (rest, record) if "description" in each]
        return {**record, **rest, "description": " ".join(texts)}

    def pages(self) -> list[str]:
        """Return what each named record is, a line for it and one for every field that has a text."""
        lines: list[str] = []
        for choice, members in sorted(self.choices.items()):
            lines.append(f"{choice}, one of:")
            for member in members:
                lines += self.page(name_of(member["$ref"]), "- ")
        for name in sorted(self.named):
            if not self.is_chosen(name):
                lines += self.page(name, f"{name}: ")
        if self.prompts:
            told = one_line(self.prompts.get("description", ""))
            lines.append(f"{PROMPTS}: {self.kind(self.prompts)} {told}")
            asked = DRAWN["properties"]["draw"]["properties"]
            lines += [
                f"  `{name}`: {field['description']}"
                for name, field in asked.items()
                if "description" in field
            ]
        return lines

    def page(self, name: str, head: str) -> list[str]:
        """Return what one record is."""
        record = self.definitions[name]
        fields = record.get("properties", {})
        told = ", ".join(self.field(key, inner, record) for key, inner in fields.items())
        lines = [f"{head}{{{told}}} {one_line(record.get('description', ''))}".rstrip()]
        return lines + [
            f"  `{key}`: {one_line(inner['description'])}"
            for key, inner in fields.items()
            if "description" in inner
        ]

    def field(self, name: str, schema: dict[str, Any], record: dict[str, Any]) -> str:
        """Return a field with what it takes; `?` for one that may be left out."""
        needed = name in record.get("required", ()) or "const" in schema
        default = f" = {json.dumps(schema['default'])}" if "default" in schema else ""
        return f"{name}{'' if needed else '?'}: {self.kind(schema)}{default}"

    def kind(self, schema: dict[str, Any]) -> str:
        """Return in a few signs what a field takes."""
        match schema:
            case {"oneOf": _} if (choice := choice_of(schema)) is not None:
                return choice
            case {"const": value}:
                return json.dumps(value)
            case {"enum": [*values]}:
                return " | ".join(map(json.dumps, values))
            case {"$ref": str(reference)}:
                return self.called(name_of(reference))
            case {"anyOf": [*kinds]} | {"oneOf": [*kinds]}:
                return " | ".join(self.kind(each) for each in kinds)
            case {"prefixItems": [*kinds]}:
                return f"[{', '.join(self.kind(each) for each in kinds)}]"
            case {"type": "array", "items": dict(items)}:
                return f"[{self.kind(items)}{bounds(schema)}]"
            case {"type": "object"}:
                return self.table(schema)
            case {"type": str(name)}:
                return f"{WORDS.get(name, name)}{bounds(schema)}"
            case _:
                return "any"

    def table(self, schema: dict[str, Any]) -> str:
        """Return what an object holds: its fields, or the kind of its values."""
        match schema:
            case {"additionalProperties": dict(values)}:
                return f"{{text: {self.kind(values)}}}"
            case _:
                fields = schema.get("properties", {}).items()
                return f"{{{', '.join(self.field(key, inner, schema) for key, inner in fields)}}}"

    def called(self, name: str) -> str:
        """Return what a record is called: a member of a choice by its kind."""
        for choice, members in self.choices.items():
            if any(name_of(each["$ref"]) == name for each in members):
                kind = self.definitions[name]["properties"]["kind"]["const"]
                return f'{choice} of kind "{kind}"'
        return name

    def is_chosen(self, name: str) -> bool:
        """Say whether a record is told as a member of a choice."""
        return self.called(name) != name


def takes_prompts(schema: dict[str, Any]) -> bool:
    """Say whether a schema is that of a field which takes prompts."""
    match schema:
        case {"anyOf": [first, *_]}:
            return first == DRAWN
        case _:
            return False


def reachable(definitions: dict[str, Any], schemas: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the definitions that the schemas lead to."""
    found: dict[str, None] = {}
    wanted = [name for each in schemas for name in references(each)]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = None
            wanted += references(definitions[name])
    return list(found)


def choice_of(schema: dict[str, Any]) -> str | None:
    """Return the name of a choice between records that has one; None for any other schema."""
    match schema:
        case {"oneOf": [{"$ref": str(first)}, *_]}:
            return CHOICES.get(name_of(first))
        case _:
            return None


def named(name: str, rest: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that takes a record which is told elsewhere."""
    told = f" {rest['description']}" if "description" in rest else ""
    return {**rest, "type": "object", "description": f"{name}.{told}"}


def bounds(schema: dict[str, Any]) -> str:
    """Return the limits of a number, a text or a list, with a blank before."""
    pairs = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))
    for low, high in pairs:
        if high not in schema and schema.get(low) == 1 and low != "minimum":
            continue
        if low in schema and high in schema:
            return f" ({schema[low]} to {schema[high]})"
        if high in schema:
            return f" (at most {schema[high]})"
        if low in schema:
            return f" ({schema[low]} or more)"
    return ""


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())
