"""What resampling a thought shows, read off the raw rows alone, so that it can be read off them again.

For each chosen sentence of a trace there are replies drawn from just before it and from just behind it.
Those from before whose own next sentence says something else are the redrawn ones; those from behind, and
those from before that say the same again, are the kept ones. How far their answers part is the sentence's
importance: the counterfactual importance of Bogdan et al. 2025, arXiv:2506.19143.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tools.anchor_effects import Contrast, Distance, contrast, family_p, mean_of, over_traces
from tools.measures import AnswerMatch, Measure, RegularExpression, first_mention
from tools.registry import Record
from tools.scoring import mean, measure_of_row
from tools.sentences import alike, grouped
from tools.thoughts import Fence, Trace, parted

Row = Mapping[str, Any]
Answers = list[str]
SHOWN_CHARACTERS = 160
SHOWN_ANSWERS = 3
ANSWER_CHARACTERS = 80


def drawn_in(measure: Measure, row: Row, places: Sequence[int] | None = None) -> Answers:
    """Return the answers of a row, or of some of its replies, as far as they could be scored."""
    resolved = measure_of_row(measure, row)
    found: list[str] = []
    for place in range(len(row["outputs"])) if places is None else places:
        score = row["scores"][place]
        if score is not None:
            found.append(answer_named(resolved, row["outputs"][place], score))
    return found


def shares(several: Sequence[Answers]) -> dict[str, float]:
    """Return the share of each of the commonest answers."""
    counted = Counter(answer for answers in several for answer in answers)
    total = counted.total()
    return {answer: count / total for answer, count in counted.most_common(SHOWN_ANSWERS)}


def answer_named(measure: Measure, output: str, score: float) -> str:
    """Return which answer an output gives, as far as its resolved measure tells answers apart.

    Of `answer_match` it is the first of `values` and `against` that is named, of a `regex` with a group
    the text of its first group, else the score.
    """
    match measure:
        case AnswerMatch():
            ranked = [
                (first_mention((text,), output), text)
                for text in (*measure.values, *measure.against)
            ]
            place, text = min(ranked)
            return "none of them" if math.isinf(place[0]) else text.strip().casefold()
        case RegularExpression():
            flags = re.IGNORECASE if measure.ignore_case else 0
            found = re.search(measure.pattern, output, flags)
            if found is not None and found.re.groups:
                return (found[1] or "").strip().casefold()[:ANSWER_CHARACTERS]
        case _:
            pass
    return f"{score:g}"


@dataclass(frozen=True)
class Place:
    """One chosen sentence of one trace, with what was drawn around it."""

    trace: Trace
    number: int
    kept: Answers
    redrawn: Answers
    same: float
    """Share of the replies from before whose next sentence said the same again."""
    returns: float | None
    """Of the others, the share that said it later in their thought; None of none."""
    effect: Contrast | None
    no_op: Contrast | None

    @property
    def text(self) -> str:
        """The sentence without white space around it."""
        return self.trace.sentence(self.number).strip()


class Swap(Record):
    """What a text in place of a sentence does, over the sentences that it was put for."""

    containing: str
    by: str
    sentences: int
    """In so many places; 0 where no sentence contained it."""
    importance: float | None
    """As of a sentence: how far the answers part from those of the kept sentence."""
    interval: tuple[float, float] | None
    redrawn: float | None
    """The importance of the same sentences when the subject draws them anew: an edit of ours is not its own."""
    no_op: float | None
    """What a neutral sentence does behind them."""
    answers: dict[str, float]
    answers_kept: dict[str, float]
    """Answer -> its share, the commonest first: with the text in place, and with the sentence kept."""


class Anchor(Record):
    """One sentence of the thought. Like sentences of several traces are one."""

    sentence: str
    traces: int
    at: float
    """Where it stands in the thought: 0 first, 1 last; the mean over traces."""
    importance: float
    """How far the answers part between resamples that say something else here and those that keep the
    sentence, corrected for sample size: about 0, as often below, where it does not matter."""
    interval: tuple[float, float]
    """About 95 %, over what `over` says."""
    over: Literal["traces", "resamples"]
    """`resamples`: of one trace, and good for that trace alone."""
    p: float
    """Against the largest importance of all sentences when labels are exchanged."""
    no_op: float | None
    """The same for a neutral sentence put behind this one: what any disturbance at this place does."""
    kept: int
    redrawn: int
    """Resamples that keep the sentence, and that say something else."""
    same: float
    """Share of resamples that said the same again: near 1, it was bound to come."""
    returns: float | None
    """Share of the others that said it later on; where large, `importance` is too small."""
    answers_kept: dict[str, float]
    answers_redrawn: dict[str, float]
    """Answer -> its share, the commonest first: when the sentence is kept, and when something else is said."""


@dataclass(frozen=True)
class Reader:
    """Reads places off raw rows; the same rows and seed give the same numbers."""

    rows: Mapping[str, Row]
    """Row id -> row."""
    measure: Measure
    fence: Fence
    distance: Distance
    alike_at: float
    seed: int

    def place(self, trace: Trace, number: int) -> Place:
        """Return what was drawn around one sentence."""
        sentence = trace.sentence(number)
        before = self.rows[f"{trace.name}-c{number - 1}"]
        same: list[int] = []
        other: list[int] = []
        returned = 0
        for k, (reply, finished) in enumerate(
            zip(before["replies"], before["finished"], strict=True)
        ):
            said, _ = parted(reply, self.fence, finished=finished)
            if said and alike(said[0], sentence, self.alike_at):
                same.append(k)
                continue
            other.append(k)
            returned += any(alike(each, sentence, self.alike_at) for each in said[1:])
        behind = drawn_in(self.measure, self.rows[f"{trace.name}-c{number}"])
        kept = behind + drawn_in(self.measure, before, same)
        redrawn = drawn_in(self.measure, before, other)
        neutral = drawn_in(self.measure, self.rows[f"{trace.name}-n{number}"])
        where = f"{trace.name}-{number}"
        return Place(
            trace=trace,
            number=number,
            kept=kept,
            redrawn=redrawn,
            same=len(same) / len(before["replies"]),
            returns=returned / len(other) if other else None,
            effect=self.contrast(redrawn, kept, where),
            no_op=self.contrast(neutral, kept, f"{where}-no-op"),
        )

    def contrast(self, here: Answers, there: Answers, where: str) -> Contrast | None:
        """Return how far two sets of answers part."""
        return contrast(here, there, self.distance, f"{self.seed}\0{where}")

    def swap(self, places: Sequence[Place], number: int, containing: str, by: str) -> Swap:
        """Return what the `number`-th text in place of sentences did."""
        effects: list[Contrast] = []
        drawn: list[Answers] = []
        hit: list[Place] = []
        for place in places:
            where = f"{place.trace.name}-r{number}-{place.number}"
            if where not in self.rows:
                continue
            hit.append(place)
            drawn.append(drawn_in(self.measure, self.rows[where]))
            effect = self.contrast(drawn[-1], place.kept, where)
            effects += [effect] if effect is not None else []
        found = mean_of(effects) if effects else None
        return Swap(
            containing=containing,
            by=by,
            sentences=len(hit),
            importance=found.importance if found else None,
            interval=found.interval() if found else None,
            redrawn=mean([place.effect.importance for place in hit if place.effect]),
            no_op=mean([place.no_op.importance for place in hit if place.no_op]),
            answers=shares(drawn),
            answers_kept=shares([place.kept for place in hit]),
        )


def together(places: Sequence[Place], at_least: float) -> Iterator[list[Place]]:
    """Yield the places whose sentences say the same, in the order in which the first of each stands."""
    groups: dict[int, list[Place]] = {}
    for place, group in zip(places, grouped([p.text for p in places], at_least), strict=True):
        groups.setdefault(group, []).append(place)
    yield from groups.values()


def by_trace(places: Sequence[Place], *, no_op: bool = False) -> list[Contrast]:
    """Return the mean contrast of each trace: what it says twice counts once."""
    found: dict[str, list[Contrast]] = {}
    for place in places:
        each = place.no_op if no_op else place.effect
        if each is not None:
            found.setdefault(place.trace.name, []).append(each)
    return [mean_of(several) for several in found.values()]


def told(places: Sequence[Place], p: float) -> Anchor:
    """Return the sentence that some places share; one of them at least has an effect."""
    effects = by_trace(places)
    neutral = by_trace(places, no_op=True)
    whole = mean_of(effects)
    interval, over = over_traces(effects)
    redrawn = sum(len(place.redrawn) for place in places)
    returning = [place.returns for place in places if place.returns is not None]
    return Anchor(
        sentence=shortened(places[0].text),
        traces=len(effects),
        at=math.fsum(depth(place) for place in places) / len(places),
        importance=whole.importance,
        interval=interval,
        over=over,
        p=p,
        no_op=mean_of(neutral).importance if neutral else None,
        kept=sum(len(place.kept) for place in places),
        redrawn=redrawn,
        same=math.fsum(place.same for place in places) / len(places),
        returns=mean(returning),
        answers_kept=shares([place.kept for place in places]),
        answers_redrawn=shares([place.redrawn for place in places]),
    )


def depth(place: Place) -> float:
    """Return where a sentence stands in its thought, 0 to 1."""
    last = len(place.trace.sentences) - 1
    return (place.number - 1) / last if last else 0.0


def shortened(text: str) -> str:
    """Return a sentence on one line, cut to a readable length."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 3]}..."


def anchors_of(
    places: Sequence[Place], at_least: float
) -> tuple[list[Anchor], list[str], float | None]:
    """Return the sentences, the most important first; those drawn otherwise too seldom; and the null band."""
    groups = list(together(places, at_least))
    known = [group for group in groups if by_trace(group)]
    thin = [
        f"{shortened(group[0].text)} ({sum(len(p.redrawn) for p in group)} drawn otherwise)"
        for group in groups
        if not by_trace(group)
    ]
    if not known:
        return [], thin, None
    ps, band = family_p([mean_of(by_trace(group)) for group in known])
    found = [told(group, p) for group, p in zip(known, ps, strict=True)]
    return sorted(found, key=lambda each: -each.importance), thin, band


def drawing(places: Sequence[Place], distance: Distance) -> dict[str, Any]:
    """Return what a picture of the traces needs: each sentence in its order, and the band of them all."""
    known = [place for place in places if place.effect is not None]
    ps, band = family_p([place.effect for place in known if place.effect]) if known else ([], None)
    p_of = {(place.trace.name, place.number): p for place, p in zip(known, ps, strict=True)}
    traces: dict[str, dict[str, Any]] = {}
    for place in places:
        name, trace = place.trace.name, place.trace
        entry = traces.setdefault(name, {"trace": name, "sentences": []})
        effect, neutral = place.effect, place.no_op
        entry["sentences"].append(
            {
                "number": place.number,
                "of": len(trace.sentences),
                "text": place.text,
                "importance": effect.importance if effect else None,
                "interval": list(effect.interval()) if effect else None,
                "p": p_of.get((name, place.number)),
                "no_op": neutral.importance if neutral else None,
                "kept": len(place.kept),
                "redrawn": len(place.redrawn),
            }
        )
    return {"distance": distance, "band": band, "traces": list(traces.values())}
