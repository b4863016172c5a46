"""What a tool is: a typed function, described once.

Name, prompt text and JSON schema all come out of the function and its two records, so that nothing
about a tool is written twice. The investigator's own mistakes are `ToolError`s; any other exception
is a fault of ours and is left to crash.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """A value that reaches disk, an investigator or a report: frozen, unknown fields refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        ser_json_inf_nan="null",
        # What stands below a field is what an investigator reads about it.
        use_attribute_docstrings=True,
    )


class ToolError(Exception):
    """The investigator's own mistake, told back in one line per fault."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


ToolFunction = Callable[[Any, Any, Any], Record]
"""(subject, arguments, context) -> result; the context is a `tools.experiment.Context`."""


@dataclass(frozen=True)
class Tool:
    """A tool function with the texts and schemas derived from it."""

    name: str
    description: str
    arguments: type[Record]
    result: type[Record]
    function: ToolFunction
    for_investigator: bool = True
    """False for the primitives that only the harness calls."""

    def parse(self, arguments: object) -> Record:
        """Validate raw arguments; raise `ToolError` with one line per fault."""
        try:
            return self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise ToolError(*describe_faults(self.name, self.arguments, error)) from None

    def __call__(self, subject: object, arguments: object, context: Any) -> Record:
        """Run on `subject`; `arguments` is the record or its raw JSON form."""
        parsed = arguments if isinstance(arguments, self.arguments) else self.parse(arguments)
        return self.function(subject, parsed, context)

    def entry(self) -> dict[str, Any]:
        """Return the catalogue entry: name, description and JSON schema of the arguments."""
        return {
            "name": self.name,
            "description": self.description,
            "schema": schema_of(self.arguments),
            "for_investigator": self.for_investigator,
        }


def tool(function: ToolFunction | None = None, *, for_investigator: bool = True) -> Any:
    """Make a `Tool` of `function(subject, args, context)`; its docstring becomes the prompt text."""

    def wrap(function: ToolFunction) -> Tool:
        hints = get_type_hints(function)
        parameters = list(inspect.signature(function).parameters)
        if len(parameters) != 3 or not function.__doc__:
            raise TypeError(
                f"{function.__name__}: a tool takes (subject, args, context) and has a docstring"
            )
        return Tool(
            name=function.__name__,
            description=inspect.cleandoc(function.__doc__),
            arguments=hints[parameters[1]],
            result=hints["return"],
            function=function,
            for_investigator=for_investigator,
        )

    return wrap if function is None else wrap(function)


@functools.cache
def schema_of(record: type[Record]) -> dict[str, Any]:
    """Return a record's JSON schema, made once: it is asked for at every turn."""
    return record.model_json_schema()


def find_tool(tools: Iterable[Tool], name: str) -> Tool:
    """Return the tool called `name`; raise `ToolError` with the nearest names otherwise."""
    by_name = {tool.name: tool for tool in tools}
    if name not in by_name:
        raise ToolError(unknown("tool", name, list(by_name)))
    return by_name[name]


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """One line for an unknown name: what it is, and the nearest known ones or all of them."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    shown = (
        f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
    )
    return f"unknown {what} {name[:80]!r}; {shown}"


def fields_at(record: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the fields of the records that a fault's path leads to, inside tuples, tables and unions."""
    found = [record]
    for part in path:
        inner = [
            model
            for each in found
            if part in each.model_fields
            for model in records_in(each.model_fields[str(part)].annotation)
        ]
        # The path names a union's member by its tag or its class.
        named = [
            each
            for each in found
            if part == each.__name__
            or part == getattr(each.model_fields.get("kind"), "default", None)
        ]
        found = inner or named or found
    return list(dict.fromkeys(name for each in found for name in each.model_fields))


def records_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the record classes that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in records_in(part)]


def describe_faults(where: str, record: type[BaseModel], error: ValidationError) -> list[str]:
    """One line per fault: the path, what is wrong, the offending value cut short."""
    lines: list[str] = []
    for fault in error.errors(include_url=False):
        # A name in it may be the caller's own, and of any length.
        path = ".".join(str(part)[:100] for part in fault["loc"])[:200]
        if fault["type"] == "extra_forbidden":
            *inside, name = fault["loc"]
            outside = ".".join(str(part)[:100] for part in inside)[:200]
            place = f"{where}: {outside}" if inside else where
            known = fields_at(record, inside)
            lines.append(f"{place}: {unknown('field', str(name)[:100], known)}")
        elif fault["type"] == "missing":
            lines.append(f"{where}: field {path!r} is required")
        else:
            shown = repr(fault.get("input"))[:120]
            # A tag that fits no record is repeated whole in the message, however long it is.
            told = fault["msg"] if len(fault["msg"]) <= 400 else f"{fault['msg'][:300]} ..."
            lines.append(f"{where}: {path or 'arguments'}: {told} (got {shown})")
    return lines
