"""Text of a subject or an investigator, made harmless to look at: on a page, in Markdown, in a terminal.

What a model says may hold escape sequences, characters that turn the reading direction around, and
characters that nobody sees. They are shown as what they are, never acted on and never dropped.
"""

from __future__ import annotations

import re
import unicodedata

MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|!~&@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def safe_text(text: str) -> str:
    """Return the text with every character that has no picture written as ⟨U+202E⟩.

    Line feeds and tabs stay; other kinds of space become a plain one.
    """
    if text.isprintable():
        return text
    return "".join(map(visible, text.replace("\r\n", "\n")))


def visible(character: str) -> str:
    """Return a printable stand-in for one character."""
    if character.isprintable() or character in "\n\t":
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return f"⟨U+{ord(character):04X}⟩"


def one_line(text: str, limit: int = 80) -> str:
    """Return safe text on one line, cut at `limit` characters."""
    line = " ".join(safe_text(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def split_ticks(text: str) -> list[tuple[bool, str]]:
    """Split text into (is code, words): what stands in `...` is code, a stray backtick is a word's."""
    parts = re.split(r"`([^`\n]+)`", safe_text(text))
    return [(bool(place % 2), part.replace("`", "\u02bc")) for place, part in enumerate(parts)]


def markdown_text(text: str) -> str:
    """Return safe text on one line, in which Markdown reads nothing as markup; not for a line's start."""
    return MARKDOWN.sub(r"\\\1", safe_text(text)).replace("\n", " ")


def markdown_block(text: str) -> str:
    """Return safe text as a fenced block whose fence the text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{safe_text(text)}\n{fence}"
