"""Tokens of a completion as two models see them, and as a reader does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenDivergence:
    """One completion under both models; all lists run over its tokens."""

    tokens: list[str]
    subject: list[float]
    """log P under the subject, in nats."""
    reference: list[float]
    kl: list[float]
    """KL(subject || reference) of the whole next-token distribution, in nats."""


def token_class(text: str) -> str:
    """Return what sort of text a token is: word, number, white space or other."""
    stripped = text.strip()
    if not stripped:
        return "white space" if text else "other"
    if stripped.replace(".", "").replace(",", "").isdigit():
        return "number"
    return "word" if stripped.replace("'", "").replace("\u2019", "").isalpha() else "other"


def excerpt(text: str, characters: int) -> str:
    """Return a text as one line, control characters shown as a blank, cut to a length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= characters else line[: characters - 1] + "\u2026"
