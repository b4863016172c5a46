"""Where the thought is in a reply, and the prompts that have a subject go on from within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.neutral import of_length
from tools.prompt import PromptItem
from tools.sentences import split

Fence = tuple[str, str] | None
"""What opens and closes a thought; None: the last sentence of a reply is its answer, all before it the thought."""


def parted(text: str, fence: Fence, *, finished: bool) -> tuple[list[str], str]:
    """Return the sentences of a thought, from wherever it is entered, and the answer behind it.

    The answer is empty where the thought did not come to its end.
    """
    if fence is None:
        pieces = split(text)
        return (pieces[:-1], pieces[-1]) if finished and pieces else (pieces, "")
    thought, _, answer = text.partition(fence[1])
    return split(thought), answer


def entered(prefill: str, reply: str, fence: Fence) -> int | None:
    """Return where in a reply its thought begins; None where it has none.

    Some chat templates open the thought themselves, and then only its end stands in the reply.
    """
    if fence is None:
        return 0
    if fence[1] in prefill or fence[1] not in reply:
        return None
    opened = (prefill + reply).find(fence[0])
    begun = opened + len(fence[0]) - len(prefill) if opened >= 0 else 0
    return max(begun, 0) if begun <= reply.index(fence[1]) else None


@dataclass(frozen=True)
class Trace:
    """One reply of the subject whose thought is taken apart."""

    name: str
    item: PromptItem
    before: str
    """What the reply begins with until its thought: the forced beginning, and the opening mark."""
    sentences: tuple[str, ...]
    chosen: tuple[int, ...]
    """The sentences that are looked at, by their numbers; the first is 1."""

    def cut(self, count: int) -> str:
        """Return the reply up to the end of so many sentences."""
        return self.before + "".join(self.sentences[:count])

    def sentence(self, number: int) -> str:
        """Return a sentence with the white space around it."""
        return self.sentences[number - 1]


def traces_in(
    rows: Sequence[dict[str, Any]], items: Sequence[PromptItem], fence: Fence, most: int
) -> list[Trace]:
    """Return the usable traces among the replies to some items: a thought with an answer behind it."""
    found: list[Trace] = []
    for row, item in zip(rows, items, strict=True):
        ends = zip(row["replies"], row["finished"], strict=True)
        for number, (reply, finished) in enumerate(ends, 1):
            start = entered(item.prompt.prefill, reply, fence)
            if start is None:
                continue
            sentences, answer = parted(reply[start:], fence, finished=finished)
            if sentences and answer.strip():
                found.append(
                    Trace(
                        name=f"{item.id}-t{number}",
                        item=item,
                        before=item.prompt.prefill + reply[:start],
                        sentences=tuple(sentences),
                        chosen=evenly(len(sentences), most),
                    )
                )
    return found


def evenly(count: int, most: int) -> tuple[int, ...]:
    """Return the numbers from 1 to `count`, or of more than `most` evenly spread ones."""
    shown = min(count, most)
    return tuple(1 + k * count // shown for k in range(shown))


def forced(trace: Trace, place: str, beginning: str) -> PromptItem:
    """Return the trace's prompt, its answer forced to begin in a certain way."""
    prompt = trace.item.prompt.model_copy(update={"prefill": beginning})
    return trace.item.model_copy(update={"id": f"{trace.name}-{place}", "prompt": prompt})


def cuts(trace: Trace) -> list[PromptItem]:
    """Return the prompts that go on before and behind each chosen sentence; a shared place is there once."""
    places = sorted({cut for number in trace.chosen for cut in (number - 1, number)})
    return [forced(trace, f"c{cut}", trace.cut(cut)) for cut in places]


def no_ops(trace: Trace) -> list[PromptItem]:
    """Return the prompts in which a neutral sentence of like length stands behind each chosen sentence.

    The sentence itself is kept: that anything at all is put there is what remains.
    """
    found: list[PromptItem] = []
    for number in trace.chosen:
        kept = trace.sentence(number)
        texts = of_length("neutral", len(kept.split()))
        gap = "" if kept.endswith("\n") else " "
        text = trace.cut(number) + gap + texts[number % len(texts)]
        found.append(forced(trace, f"n{number}", text))
    return found


def replaced(trace: Trace, containing: str, by: str, label: str) -> list[PromptItem]:
    """Return the prompts in which a text stands in place of a chosen sentence that contains another, case ignored."""
    found: list[PromptItem] = []
    for number in trace.chosen:
        old = trace.sentence(number)
        if containing.casefold() in old.casefold():
            text = trace.cut(number - 1) + in_place_of(old, by)
            found.append(forced(trace, f"{label}-{number}", text))
    return found


def in_place_of(old: str, new: str) -> str:
    """Return a sentence with the white space that stands around another."""
    bare = old.strip()
    start = old.index(bare)
    return old[:start] + new.strip() + old[start + len(bare) :]
