"""What a model's tokens cost: the table of genai-prices, or the user's own prices."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from agent.investigation import Spent
from tools.registry import Record, ToolError, describe_faults

PROVIDERS = {"anthropic": "anthropic", "openai": "openai"}


class Price(Record):
    """Dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    """As `input` where it is not given."""
    cache_write: float | None = Field(default=None, ge=0)

    def cost(self, spent: Spent) -> float:
        """Return the dollars that a turn cost."""
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        plain = spent.input_tokens - spent.cache_read_tokens - spent.cache_write_tokens
        cached = spent.cache_read_tokens * read + spent.cache_write_tokens * write
        return (plain * self.input + cached + spent.output_tokens * self.output) / 1e6


class Prices:
    """Prices by `provider/model`, the user's first."""

    def __init__(self, own: dict[str, Price] | None = None) -> None:
        self.own = own or {}

    @classmethod
    def load(cls, path: Path | None) -> Prices:
        """Read a TOML file with a table for each model; raise `ToolError`, one line per fault.

        ["openai-chat/qwen3-32b"] with input, output, and perhaps cache_read and cache_write.
        """
        if path is None:
            return cls()
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls({name: Price.model_validate(table) for name, table in tables.items()})
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ToolError(f"the prices {path} cannot be read: {error}") from None
        except ValidationError as error:
            raise ToolError(*describe_faults(str(path), Price, error)) from None

    def cost(self, name: str, spent: Spent) -> float | None:
        """Return the dollars that a turn of `provider/model` cost, or None where no price is known."""
        if name in self.own:
            return self.own[name].cost(spent)
        provider, _, model = name.removeprefix("inspect/").partition("/")
        if provider not in PROVIDERS:
            return None
        from genai_prices import Usage, calc_price

        usage = Usage(
            input_tokens=spent.input_tokens,
            cache_read_tokens=spent.cache_read_tokens,
            cache_write_tokens=spent.cache_write_tokens,
            output_tokens=spent.output_tokens,
        )
        try:
            found = calc_price(usage, model, provider_id=PROVIDERS[provider])
        except (LookupError, ValueError):
            return None
        return float(found.total_price)
