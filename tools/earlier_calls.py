"""Tool calls of an earlier turn, with what they came to: a conversation that begins in the middle of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field

from tools.registry import Record


class EarlierCall(Record):
    """A tool call that the assistant made in an earlier turn, and the result it got."""

    name: str = Field(min_length=1)
    arguments: dict[str, Any] = {}
    result: str

    def filled(self, fill: Callable[[str], str]) -> EarlierCall:
        """Return the call with every text in its arguments and its result filled."""
        return EarlierCall(
            name=self.name, arguments=mapped(self.arguments, fill), result=fill(self.result)
        )

    def texts(self) -> Iterator[str]:
        """Yield its name, every text in its arguments, and its result."""
        found: list[str] = [self.name]
        mapped(self.arguments, lambda text: found.append(text) or text)
        yield from (*found, self.result)


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with every text in it changed; names of fields stay."""
    match value:
        case str():
            return change(value)
        case list() | tuple():
            return [mapped(each, change) for each in value]
        case dict():
            return {key: mapped(inner, change) for key, inner in value.items()}
        case _:
            return value
