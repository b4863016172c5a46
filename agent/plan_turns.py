"""Turns that every plan of a program takes: propose, register and confirm, report."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Any

from agent.gates import WAY_OUT
from agent.investigation import CallResult, ToolCall, Transcript, Turn
from agent.submission import Answer, Submission

Results = Sequence[CallResult]
Plan = Generator[Turn, Results, None]
Verdicts = dict[int, tuple[str, dict[str, Any]]]
"""Number of the prediction -> its registration id and its verdict."""

TOP = 3
LARGEST_RATE = 0.95
SIZES = (1.0, 1.5, 2.0, 3.0)
"""Multiples of the wished smallest effect that are tried when the power is too low."""
SURE, OPEN, UNSURE = 0.95, 0.5, 0.2
"""Stated confidence: a cause supported, an effect whose cause is open, neither."""


def turn_of(plan: Plan, transcript: Transcript) -> Turn:
    """Return the next turn of a plan, played over the transcript; a submission when the budget is used up."""
    turn = next(plan)
    try:
        for exchange in transcript.exchanges:
            turn = plan.send(exchange.results)
    except StopIteration:
        if transcript.reply_from is not None:
            return Turn(text="The plan has no reply.")
        return submission(
            Answer(kind="unknown", confidence=0.0), "The plan ended without a report."
        )
    if transcript.final and turn.calls[0].name != "submit_report":
        return submission(Answer(kind="unknown", confidence=0.0), "The budget was used up.")
    return turn


def call(name: str, **arguments: Any) -> Turn:
    """Return a turn of one call."""
    return Turn(calls=(ToolCall(id="call", name=name, arguments=arguments),))


def submission(answer: Answer, summary: str) -> Turn:
    """Return the last turn."""
    return call(
        "submit_report", **Submission(answer=answer, summary=summary).model_dump(mode="json")
    )


def propose(claims: Sequence[tuple[str, str]]) -> Turn:
    """Propose the null first, then every claim; one more family where the claims have too few."""
    every = [("the subject does what its reference does", "same as the reference"), *claims]
    if len({family for _, family in every}) < TOP:
        every.append(("it is the sampling that decides", "decoding and tokenisation"))
    prior = round(1 / len(every), 3)
    return Turn(
        calls=tuple(
            ToolCall(
                id=f"call-{number}",
                name="propose_hypothesis",
                arguments={
                    "claim": claim,
                    "family": family,
                    "rivals": ["any edit of this length does it", "another condition does it"],
                    "prior": prior,
                },
            )
            for number, (claim, family) in enumerate(every)
        )
    )


def read_id(result: CallResult) -> str:
    """Return the id of a proposed hypothesis."""
    return (result.result or {}).get("id", "H1")


def is_rate(measure: dict[str, Any]) -> bool:
    """Say whether a measure scores between 0 and 1."""
    return measure["kind"] not in ("logprob_difference", "word_count")


def register_and_confirm(
    wishes: Sequence[dict[str, Any]], hypotheses: Sequence[str], *, leave_out: bool = False
) -> Generator[Turn, Results, Verdicts]:
    """Register in one batch and confirm it.

    A prediction with too little power is tried with larger smallest effects, alone, and left out where
    none is small enough to be seen. One that is refused for anything else ends the plan, or with
    `leave_out` is left out too.
    """
    sizes = dict.fromkeys(range(len(wishes)), 0)
    made: dict[int, str] = {}
    while sizes:
        batch = [
            resized(wishes[k], SIZES[step]) | {"hypothesis": hypotheses[k]}
            for k, step in sizes.items()
        ]
        results = yield call("register_predictions", predictions=batch)
        if results[0].result is not None:
            names = [each["id"] for each in results[0].result["registrations"]]
            made = dict(zip(sizes, names, strict=True))
            break
        weak, other = refusals(results[0].error or "", list(sizes))
        if other and not leave_out:
            return {}
        for k in other:
            del sizes[k]
        for k in weak:
            sizes[k] += 1
            if sizes[k] == len(SIZES) or not possible(wishes[k], SIZES[sizes[k]]):
                del sizes[k]
    if not made:
        return {}
    results = yield call("confirm", registrations=list(made.values()))
    verdicts = (results[0].result or {}).get("verdicts", {})
    return {k: (name, verdicts[name]) for k, name in made.items() if name in verdicts}


def resized(wish: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return a prediction with a larger smallest effect of interest."""
    return wish | {"smallest_effect": round(wish["smallest_effect"] * factor, 3)}


def possible(wish: dict[str, Any], factor: float) -> bool:
    """Say whether the larger smallest effect can occur at all: a rate moves by one at most."""
    return not is_rate(wish["measure"]) or wish["smallest_effect"] * factor <= LARGEST_RATE


def refusals(error: str, asked: list[int]) -> tuple[list[int], list[int]]:
    """Return which of the asked predictions had too little power, and which were refused for anything else.

    An error that names no prediction is about all of them; the way out that a refusal tells is no fault.
    """
    lines = error.splitlines()
    if len(asked) == 1:
        lines = [f"prediction 1: {line}" for line in lines]
    weak: list[int] = []
    other: list[int] = []
    for line in lines:
        named = re.match(rf"prediction (\d+): (power|{WAY_OUT})?", line)
        if named is None:
            return [], asked
        if named[2] != WAY_OUT:
            (weak if named[2] else other).append(asked[int(named[1]) - 1])
    if not weak and not other:
        return [], asked
    return [k for k in dict.fromkeys(weak) if k not in other], list(dict.fromkeys(other))


def report(names: Sequence[str], verdicts: Verdicts, kind: Any) -> Turn:
    """Return the submission: the supported conditions, the heaviest first, or that nothing was found."""

    def with_status(status: str) -> list[int]:
        found = [k for k, (_, verdict) in verdicts.items() if verdict["status"] == status]
        return sorted(found, key=lambda k: -abs(verdicts[k][1]["estimate"]))

    supported, shown = with_status("supported"), with_status("effect shown, cause open")
    guesses = tuple(
        names[k]
        for k in [*supported, *shown, *(k for k in verdicts if k not in (*supported, *shown))]
    )
    cited = "; ".join(f"{verdicts[k][0]}: {verdicts[k][0]}/estimate" for k in supported)
    if supported:
        answer = Answer(
            kind=kind, value=tuple(names[k] for k in supported), confidence=SURE, guesses=guesses
        )
        return submission(answer, f"Supported on unseen prompts: {cited}.")
    if shown:
        answer = Answer(kind="unknown", value=(), confidence=OPEN, guesses=guesses)
        return submission(answer, "There is an effect, but a rival explanation survived.")
    return submission(
        Answer(kind="nothing", confidence=1 - UNSURE, guesses=guesses),
        "No prediction was supported.",
    )
