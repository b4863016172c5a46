"""A scripted environment: tools that a subject may call, and what each call is answered with.

The script is fixed before anything runs, so that the arms of a contrast differ in their prompts and
in nothing else. A subject's turn becomes a rollout, which measures read as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from tools.experiment import canonical_json
from tools.prompt import fill_marks
from tools.registry import Record

MARK = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
LOOKS_LIKE_ONE = re.compile(r"^\[(?=call |result )", re.MULTILINE)


class ScriptedResult(Record):
    """What a call comes to."""

    when: str | None = None
    """A regular expression, searched in the canonical JSON of the arguments; None: any arguments."""
    result: str
    """With `{slot}` marks, filled from the prompt's slots."""

    @field_validator("when")
    @classmethod
    def compiles(cls, when: str | None) -> str | None:
        """Refuse a pattern that Python cannot compile."""
        try:
            re.compile(when or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return when


class ScriptedTool(Record):
    """A tool that the subject may call."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")
    description: str
    """With `{slot}` marks, filled from the prompt's slots."""
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    """JSON schema of the arguments."""
    results: tuple[ScriptedResult, ...] = Field(min_length=1)
    """The first that fits the arguments is the answer."""

    def answer(self, arguments: Mapping[str, Any]) -> str | None:
        """Return the scripted result of a call, or None where the script has none."""
        given = canonical_json(dict(arguments))
        found = (each for each in self.results if each.when is None or re.search(each.when, given))
        return next((each.result for each in found), None)


class Environment(Record):
    """The tools of a subject, and how long it may go on."""

    tools: tuple[ScriptedTool, ...] = Field(min_length=1)
    max_steps: int = Field(default=8, ge=1, le=64)
    """Turns of the subject; one with calls is answered by the script and followed by another."""

    @model_validator(mode="after")
    def names_differ(self) -> Environment:
        """Refuse two tools of one name."""
        names = [tool.name for tool in self.tools]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two tools of the environment are called {twice!r}; rename one")
        return self

    def slots(self) -> set[str]:
        """Return the slots that descriptions and results are filled from."""
        texts = [tool.description for tool in self.tools]
        texts += [each.result for tool in self.tools for each in tool.results]
        return {name for text in texts for name in MARK.findall(text)}

    def filled(self, slots: Mapping[str, str]) -> Environment:
        """Return the environment of one prompt; raise `ToolError` for a mark without a value."""
        tools = [
            tool.model_copy(
                update={
                    "description": fill_marks(tool.description, slots),
                    "results": tuple(
                        each.model_copy(update={"result": fill_marks(each.result, slots)})
                        for each in tool.results
                    ),
                }
            )
            for tool in self.tools
        ]
        return self.model_copy(update={"tools": tuple(tools)})

    def answer(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """Return what a call comes to, and whether that is an error."""
        tool = next((tool for tool in self.tools if tool.name == name), None)
        if tool is None:
            return f"there is no tool {name!r}", True
        result = tool.answer(arguments)
        return (result, False) if result is not None else (f"{name} refuses these arguments", True)


def words_shown(text: str) -> str:
    """Return the subject's words as they stand in a rollout.

    A call stands at the start of a line; words that only look like one are moved in by a space.
    """
    return LOOKS_LIKE_ONE.sub(" [", text.strip())


def call_shown(name: str, arguments: Mapping[str, Any] | None) -> str:
    """Return a call as it stands in a rollout; None stands for arguments that were no JSON object."""
    given = "(no JSON object)" if arguments is None else canonical_json(dict(arguments))
    return f"[call {name} {given}]"


def result_shown(text: str) -> str:
    """Return the answer to a call as it stands in a rollout."""
    return f"[result {words_shown(text)}]"
