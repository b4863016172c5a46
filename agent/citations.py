"""Prose in which numbers are cited, never typed: `exp:12/result/arms/treatment/mean`, `P3/estimate`.

The stored value is put where the citation stands. What does not resolve is kept and marked as broken;
a quotation that claims to be output has to be in the experiment it names; a number that was typed is
flagged. Nothing is dropped silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from agent.investigation import Investigation
from agent.wording import interval_words, number, p_value, with_unit
from tools.measures import is_rate
from tools.registry import Record, ToolError

SHORT_QUOTATION = 3
"""Quotations of at most so many words may be names; longer ones need a source."""
PATH = r"(?:/[^\s/\[\](),;\"'`“”]+)+"
CITATION = re.compile(rf"\[?(exp:\d+|P\d+)({PATH})\]?")
TOKEN = re.compile(
    rf"""
    (?P<code>`[^`\n]+`)
  | ["“](?P<quote>[^"“”]+)["”](?:\s*\[(?P<source>exp:\d+)[^\]\n]*\])?
  | (?P<cited>\[?\b(?:exp:\d+|P\d+){PATH}\]?)
  | (?P<link>\[?\b(?:exp:\d+|[PH]\d+)\b\]?)
  | (?P<number>(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:\s?%)?(?![\w]))
    """,
    re.VERBOSE,
)
EFFECT = re.compile(r"/estimate|/interval/[01]|/arms/\w+|/rivals/\d+/(difference|interval/[01])")
BLOB = re.compile(r"[0-9a-f]{64}")

Kind = Literal["text", "code", "value", "link", "quotation", "broken", "uncited"]


class Segment(Record):
    """A piece of prose and what was found about it."""

    kind: Kind
    text: str
    """What to print: the words, or the stored value."""
    source: str = ""
    """The citation as it was written."""
    anchor: str = ""
    """Where the report shows the source."""


class Prose(Record):
    """A text with its citations resolved."""

    segments: tuple[Segment, ...] = ()

    def faults(self) -> list[str]:
        """Return one line per citation or quotation that the log does not hold."""
        return [f"{each.source}: {each.text}" for each in self.segments if each.kind == "broken"]

    def plain(self) -> str:
        """Return the text with values in place and marks beside what is broken or uncited."""
        marks = {"broken": " [citation broken]", "uncited": " [uncited]"}
        return "".join(each.text + marks.get(each.kind, "") for each in self.segments)


class Sources:
    """What prose may cite: the stored experiments with their raw tables, and the verdicts."""

    def __init__(self, investigation: Investigation) -> None:
        self.investigation = investigation
        self.experiments: dict[int, dict[str, Any]] = {}
        self.strings: dict[int, list[str]] = {}

    def experiment(self, number_of: int) -> dict[str, Any]:
        """Return a stored experiment as JSON; raise `LookupError` when there is none."""
        if not 1 <= number_of <= len(self.investigation.experiments):
            raise LookupError("there is no such experiment")
        if number_of not in self.experiments:
            stored = self.investigation.experiment(number_of)
            self.experiments[number_of] = stored.model_dump(mode="json")
        return self.experiments[number_of]

    def value(self, source: str, path: str) -> Any:
        """Return what a citation points to; raise `LookupError` when nothing is there."""
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
        if source.startswith("exp:"):
            stored = self.experiment(int(source[4:]))
            result = stored["result"] or {}
            if steps[0] == "raw" and isinstance(result.get("raw"), str):
                return follow(self.investigation.folder.get_json(result["raw"]), steps[1:])
            inside = steps[0] not in stored
            return follow(result if inside else stored, steps)
        verdict = self.investigation.verdicts.get(source)
        if verdict is None:
            raise LookupError("it has no verdict")
        return follow(verdict.model_dump(mode="json"), steps)

    def printed(self, source: str, path: str) -> str:
        """Return a cited value as it is printed; raise `LookupError` for what is no single value."""
        value = self.value(source, path)
        if source.startswith("P"):
            measure = self.investigation.registrations[source].prediction.measure
            if path == "/interval" and isinstance(value, list):
                low, high = value
                return f"{interval_words((low, high), measure)} {with_unit(2, measure).split()[1]}"
            if isinstance(value, float) and path in ("/p", "/threshold"):
                return p_value(value)
            if isinstance(value, float) and path.startswith("/arms/") and is_rate(measure):
                return f"{100 * value:.0f} %"
            if isinstance(value, float) and EFFECT.fullmatch(path):
                return with_unit(value, measure)
        return printed(value)

    def holds(self, number_of: int, words: str) -> bool:
        """Say whether a text stands in one string of an experiment or its blobs, white space aside."""
        if number_of not in self.strings:
            stored = self.experiment(number_of)
            found = list(strings_of(stored["result"]))
            for reference in [text for text in found if BLOB.fullmatch(text)]:
                try:
                    content = self.investigation.folder.get_json(reference)
                except (ToolError, ValueError):
                    continue
                found += strings_of(content)
            self.strings[number_of] = [" ".join(text.split()) for text in found]
        wanted = " ".join(words.split())
        return any(wanted in text for text in self.strings[number_of])


def follow(value: Any, steps: list[str]) -> Any:
    """Follow a JSON pointer; raise `LookupError` where it leads nowhere."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise LookupError(f"nothing is stored under {step[:40]!r}")
    return value


def printed(value: Any) -> str:
    """Return a stored value as prose prints it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case float():
            return number(value)
        case str():
            return value
        case None:
            return "none"
        case [float() | int() as low, float() | int() as high]:
            return f"{number(low)} to {number(high)}"
        case _:
            raise LookupError("that is not a single value")


def strings_of(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_of(inner)


def resolve_prose(text: str, sources: Sources) -> Prose:
    """Put stored values in place of citations, check quotations, and flag typed numbers."""
    segments: list[Segment] = []
    end = 0
    for match in TOKEN.finditer(text):
        if match.start() > end:
            segments.append(Segment(kind="text", text=text[end : match.start()]))
        segments += read_token(match, sources)
        end = match.end()
    if end < len(text):
        segments.append(Segment(kind="text", text=text[end:]))
    return Prose(segments=tuple(segments))


def read_token(match: re.Match[str], sources: Sources) -> list[Segment]:
    """Return the segments of one token of prose."""
    whole = match[0]
    if match["code"]:
        inner = CITATION.fullmatch(whole.strip("`"))
        if inner is None:
            return [Segment(kind="code", text=whole.strip("`"))]
        return cite(inner[0], sources)
    if match["cited"]:
        return cite(whole, sources)
    if match["quote"]:
        return [quote(match, sources)]
    if match["link"]:
        return [link(whole, sources)]
    return [Segment(kind="uncited", text=whole)]


def cite(written: str, sources: Sources) -> list[Segment]:
    """Resolve one citation; a full stop behind it belongs to the sentence."""
    tail = written[len(written.rstrip(".:")) :] if not written.endswith("]") else ""
    core = written.removesuffix(tail) if tail else written
    match = CITATION.fullmatch(core)
    assert match is not None, core
    try:
        value = sources.printed(match[1], match[2])
    except (LookupError, ToolError, ValueError) as error:
        reason = str(error.args[0]) if error.args else "not found"
        found = Segment(kind="broken", text=f"{match[1]}{match[2]} ({reason})", source=core)
    else:
        found = Segment(kind="value", text=value, source=core, anchor=anchor_of(match[1]))
    return [found, Segment(kind="text", text=tail)] if tail else [found]


def quote(match: re.Match[str], sources: Sources) -> Segment:
    """Check a quotation against the experiment it names."""
    words, source = match["quote"], match["source"]
    if source is None:
        kind = "uncited" if len(words.split()) > SHORT_QUOTATION else "text"
        return Segment(kind=kind, text=f"“{words}”")
    try:
        found = sources.holds(int(source[4:]), words)
    except LookupError:
        found = False
    if not found:
        return Segment(kind="broken", text=f"“{words}” (not in {source})", source=source)
    return Segment(kind="quotation", text=f"“{words}”", source=source, anchor=anchor_of(source))


def link(written: str, sources: Sources) -> Segment:
    """Check that what is named exists."""
    target = written.strip("[]")
    state = sources.investigation
    known = {f"exp:{entry.number}" for entry in state.experiments}
    if target in known | set(state.registrations) | set(state.hypotheses):
        return Segment(kind="link", text=target, source=target, anchor=anchor_of(target))
    return Segment(kind="broken", text=f"{target} (there is none)", source=target)


def anchor_of(source: str) -> str:
    """Return the anchor of a source on the page."""
    return source.replace(":", "-")


def as_json_text(value: Any) -> str:
    """Return a JSON value as indented text, for a reader."""
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
