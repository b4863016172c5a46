"""The words said to a model: templates of `prompts/`, in which a name that is missing is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

PROMPTS = Path(__file__).parent.parent / "prompts"
DIGITS = 4


def shown(value: Any) -> str:
    """Return a value as compact JSON, as a reader wants it: see `rounded`."""
    return json.dumps(rounded(value), ensure_ascii=False, separators=(", ", ": "))


def rounded(value: Any) -> Any:
    """Return a JSON value with four significant digits and no field that holds nothing: the rest is noise.

    For what somebody reads, never for what is stored.
    """
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {key: rounded(inner) for key, inner in value.items() if inner is not None}
        case list() | tuple():
            return [rounded(inner) for inner in value]
        case _:
            return value


ENVIRONMENT = Environment(
    loader=FileSystemLoader(PROMPTS),
    undefined=StrictUndefined,
    autoescape=False,
    trim_blocks=True,
    keep_trailing_newline=False,
)
ENVIRONMENT.filters["shown"] = shown


def written(template: str, **content: Any) -> str:
    """Return a prompt with its content; a name that is missing is a fault of ours."""
    return ENVIRONMENT.get_template(template).render(**content).strip()
