"""A chain of thought as a picture: its sentences from top to bottom, and how far the answer hangs on each."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from agent.plots import ROW, TOP, Axis, dot, grid, line, picture, text
from agent.safe_text import one_line
from agent.thoughts import DrawnSentence, DrawnTrace
from agent.wording import number

LABELS = 372
WIDTH_END = 736
SHOWN_CHARACTERS = 50
UNITS = {
    "total_variation": "share of answers that change when it is drawn anew",
    "kl": "nats between the answers when it is drawn anew and when it is kept",
}


def thought_map(trace: DrawnTrace, band: float | None, distance: str) -> Markup:
    """Return one trace: each sentence with its importance, interval and no-op; the band of chance is shaded."""
    known = [each for each in trace.sentences if each.importance is not None]
    if not known:
        return Markup("")
    axis = Axis.over(bounds_of(known, band), LABELS, WIDTH_END)
    bottom = TOP + ROW * len(trace.sentences)
    parts: list[Markup] = []
    if band is not None and band > 0:
        parts.append(
            Markup('<rect x="{}" y="{}" width="{}" height="{}" class="noise"/>').format(
                axis.at(0), TOP - 4, round(axis.at(band) - axis.at(0), 1), bottom - TOP + 4
            )
        )
    parts += grid(axis, bottom, UNITS[distance])
    for place, sentence in enumerate(trace.sentences):
        parts += sentence_row(sentence, axis, TOP + ROW * (place + 0.5), band)
    largest = max(known, key=lambda each: each.importance or 0.0)
    seen = (
        f"{len(trace.sentences)} sentences; the largest is {number(largest.importance or 0.0)} at sentence "
        f"{largest.number}, {one_line(largest.text, 100)}"
    )
    title = f"What the answer of {one_line(trace.trace, 40)} hangs on, sentence by sentence"
    return picture(bottom + 42, title, seen, parts)


def bounds_of(sentences: Sequence[DrawnSentence], band: float | None) -> list[float]:
    """Return every value that has to be on the axis."""
    found = [band or 0.0]
    for each in sentences:
        found += [each.importance or 0.0, *(each.interval or ())]
        found += [each.no_op] if each.no_op is not None else []
    return found


def sentence_row(sentence: DrawnSentence, axis: Axis, y: float, band: float | None) -> list[Markup]:
    """Return the line of one sentence; one that stands out of the band is coloured."""
    cut = one_line(sentence.text, SHOWN_CHARACTERS)
    parts = [text(0, y + 4, f"{sentence.number}. {cut}", "rival")]
    if sentence.importance is None:
        parts.append(text(axis.at(0) + 6, y + 4, "drawn otherwise too seldom", "axis"))
        return parts
    out = band is not None and sentence.importance > band
    kind = "treatment" if out else "beaten"
    if sentence.interval is not None:
        low, high = (axis.at(bound) for bound in sentence.interval)
        parts.append(line((low, y, high, y), f"bar {kind}"))
    parts.append(dot(axis.at(sentence.importance), y, f"mark {kind}", 5.5))
    if sentence.no_op is not None:
        parts.append(dot(axis.at(sentence.no_op), y, "mark control", 3.5))
    return parts
