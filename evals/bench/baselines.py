"""The exam's baselines that are programs: each sees one kind of evidence and answers from it alone.

Like the systematic investigator they replay a plan over the transcript and keep nothing. What they
find is in the tools; here is only what they ask and how an answer follows. `chance`, the best constant
answer over a suite's own truths, is computed by the exam and not run: looking would cost and change
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean
from typing import Any

from agent.grammar import level_name
from agent.investigation import Transcript, Turn
from agent.open_plan import open_plan
from agent.plan_turns import Plan, call, submission, turn_of
from agent.submission import Answer
from agent.systematic import condition_plan
from evals.bench.guesses import (
    Lead,
    answer_of,
    in_the_cases_words,
    said_apart,
    shifted,
    strongest_first,
)
from evals.bench.white_box import white_box_plan
from tools.statistics import existence_p

ALPHA = 0.05
"""Shared by all levels that a baseline looks at."""
LEAST_BAND = 1.0
"""A z below this is nothing, whatever the null was."""


class Planned:
    """An investigator that replays a plan over the transcript."""

    name = "planned"
    plan: Callable[[dict[str, Any]], Plan]

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the next turn of the plan; a submission when the budget is used up."""
        return turn_of(type(self).plan(transcript.briefing), transcript)


def screens_plan(briefing: dict[str, Any]) -> Plan:
    """Answer from step 0 and the screens page, at once."""
    if not briefing["screens"] and not briefing["step_zero"]:
        yield submission(Answer(kind="unknown", confidence=0.0), "There was no page to read.")
        return
    answer = answer_of(briefing, screen_leads(briefing))
    yield submission(answer, "Read off step 0 and the screens; nothing was tested.")


def screen_leads(briefing: dict[str, Any]) -> list[Lead]:
    """Return what stands out on the pages: words of an open case, levels of a condition case."""
    found: list[Lead] = []
    for screen in briefing["screens"]:
        page = screen["result"] or {}
        if briefing["kind"] == "open":
            found += in_the_cases_words(briefing, said_more(page) + shifted(page.get("favoured")))
        else:
            found += in_the_cases_words(briefing, outside(page.get("prompt_words"), 1))
            found += crowded_levels(briefing, shown_prompts(page))
    if briefing["kind"] != "open":
        found += telling_levels(briefing, (briefing["step_zero"] or {}).get("labelled", []))
    return strongest_first(found)


def said_more(page: dict[str, Any]) -> list[Lead]:
    """Return the words of answers outside the null band."""
    return outside(page.get("answer_words"), 0)


def outside(screen: dict[str, Any] | None, sign: int) -> list[Lead]:
    """Return the words of a word screen in units of its band; of one side only where `sign` is not 0."""
    if not screen or screen["band"] is None:
        return []
    # A reference that always says the same leaves no band.
    band = max(screen["band"], LEAST_BAND)
    return [
        Lead(each["word"], abs(each["z"]) / band)
        for each in screen["words"]
        if each["z"] * sign >= 0
    ]


def shown_prompts(page: dict[str, Any]) -> list[str]:
    """Return the prompts on which the models differ most, as far as the page shows them."""
    rows = [row for name in ("pairs", "gained", "lost") for row in page.get(name, ())]
    return list(dict.fromkeys(row["prompt"] for row in rows))


def level_in(briefing: dict[str, Any], slot: str, text: str) -> str | None:
    """Return the level of a slot that a prompt shows: one whose text stands in it, else the empty one."""
    squeezed = " ".join(text.split())
    empty: str | None = None
    for level, values in briefing["slots"][slot]["levels"].items():
        if any(value.strip() and " ".join(value.split()) in squeezed for value in values):
            return level
        if any(not value.strip() for value in values):
            empty = level
    return empty


def crowded_levels(briefing: dict[str, Any], prompts: Sequence[str]) -> list[Lead]:
    """Return the levels that the shown prompts have oftener than a fair draw would give them."""
    bar = math.log(ALPHA / max(1, level_count(briefing)))
    found: list[Lead] = []
    for slot, content in briefing["slots"].items():
        seen = [level for text in prompts if (level := level_in(briefing, slot, text))]
        number = len(content["levels"])
        for level in dict.fromkeys(seen) if number > 1 else ():
            p = existence_p(seen.count(level), len(seen), 1 / number)
            found.append(Lead(level_name(slot, level, number), math.log(max(p, 1e-12)) / bar))
    return found


def telling_levels(briefing: dict[str, Any], labelled: Sequence[dict[str, Any]]) -> list[Lead]:
    """Return the levels with and without which step 0 scored differently."""
    rows = [row for row in labelled if row["label"] is not None]
    bar = NormalDist().inv_cdf(1 - ALPHA / 2 / max(1, level_count(briefing)))
    found: list[Lead] = []
    for slot, content in briefing["slots"].items():
        levels = [level_in(briefing, slot, row["prompt"]) for row in rows]
        for level in content["levels"]:
            having = [row["label"] for row, each in zip(rows, levels, strict=True) if each == level]
            others = [
                row["label"]
                for row, each in zip(rows, levels, strict=True)
                if each and each != level
            ]
            if min(len(having), len(others)) < 2:
                continue
            gap = abs(fmean(having) - fmean(others))
            error = math.sqrt(spread(having) + spread(others))
            name = level_name(slot, level, len(content["levels"]))
            found.append(Lead(name, gap / error / bar if error else 0.0))
    return found


def spread(values: Sequence[float]) -> float:
    """Return the squared error of a mean; a quarter of a count more, so that few equal labels are not sure."""
    centre = fmean(values)
    return (sum((value - centre) ** 2 for value in values) + 0.25) / len(values) ** 2


def level_count(briefing: dict[str, Any]) -> int:
    """Return how many levels there are to look at."""
    return sum(len(content["levels"]) for content in briefing["slots"].values())


def black_box_plan(briefing: dict[str, Any]) -> Plan:
    """Do what the systematic investigator does with answers alone: rates, no probabilities, no screens.

    In an open case, words that samples of both models set apart take the place of the screens' words.
    """
    asked = {**briefing, "screens": [], "measure": as_rate(briefing["measure"])}
    if briefing["kind"] != "open":
        yield from condition_plan(asked)
        return
    results = yield call(
        "sample_responses", items={"draw": {"templates": 24, "per_template": 2}}, samples=4
    )
    asked["screens"] = [{"result": {"answer_words": {"words": said_apart(results[0])}}}]
    yield from open_plan(asked)


def as_rate(measure: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a measure of answers: probabilities of given answers become the answers themselves."""
    if measure is None or measure["kind"] != "logprob_difference":
        return measure
    return {
        "kind": "answer_match",
        "values": measure["positive"],
        "against": measure["negative"],
    }


class ScreensOnly(Planned):
    """Reads step 0 and the automatic screens, and calls no tool."""

    name = "screens-only"
    plan = staticmethod(screens_plan)


class BlackBox(Planned):
    """Asks, and reads answers."""

    name = "black-box"
    plan = staticmethod(black_box_plan)


class WhiteBox(Planned):
    """Looks inside, and reads no answer."""

    name = "white-box"
    plan = staticmethod(white_box_plan)
