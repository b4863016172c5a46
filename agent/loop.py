"""The loop: brief the investigator, take its turn, execute its calls, until it submits or runs out.

Read this first. The same loop drives every investigator, whether it is a program, a script or a
language model. An investigator is whatever, given the transcript, returns the next turn. The loop
never asks it what is true: calls to science tools become experiments, predictions are registered
before their data, and verdicts are computed in `agent/verdict.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from agent.briefing import briefing
from agent.budget import Budget
from agent.call_cost import check_cost, told_cost
from agent.explore_levels import with_explore_levels
from agent.house_tools import HOUSE_TOOLS, NO_ANSWER, SCEPTIC_TOOLS
from agent.investigation import (
    CallResult,
    Investigation,
    Part,
    Speaker,
    ToolCall,
    Transcript,
    Turn,
)
from agent.measure_check import check_measure
from agent.population import draw
from agent.reply import may_reply, reopened, reply_notices
from agent.sceptic import MOST_TURNS, challenged, over, rest_case, said_by, said_in
from agent.screening import run_screens
from agent.statements import statement_of
from agent.words import notice_of
from tools.black_box import refusal_of
from tools.boundary import plain_json
from tools.registry import ToolError, find_tool, unknown

MOST_FAILED_TURNS = 5
"""After so many turns in a row without one good call the next is the last, and can only submit."""
STUCK = f"{MOST_FAILED_TURNS} turns in a row without a valid call"
HANDED_IN = {
    "mcp": "an MCP client investigates there; go on with `naturalist mcp --resume RUN`",
    "notebook": "a person investigates there, in Python; go on with Notebook.resume(RUN)",
}
"""Investigators outside, whose turns are single calls."""
PATIENT = (*HANDED_IN, "person")
"""A budget ends the run of these, mistakes do not."""
MOST_DRAWN = 400


class Investigator(Protocol):
    """Whatever returns the next turn."""

    name: str

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return text and tool calls, given everything so far."""
        ...


def run(
    investigation: Investigation,
    investigator: Investigator,
    budget: Budget,
    sceptic: Investigator | None = None,
) -> str:
    """Drive one investigation to its end and return why it ended; resumes whatever the log holds."""
    if investigation.step_zero is None and investigation.case.measure is not None:
        check_measure(investigation)
    if investigation.step_zero is not None and investigation.step_zero["happens"] is False:
        return finish(investigation, "the behaviour did not happen")
    run_screens(investigation)
    reason = take_turns(investigation, investigator, budget)
    waiting = investigation.rested is None and investigation.ended is None
    if sceptic is not None and reason == "submitted" and waiting and challenged(investigation):
        why = take_turns(investigation, sceptic, budget, "sceptic")
        opened = {"opened": reopened(investigation)} if investigation.reply_turns else {}
        investigation.record("rested", {"why": why, **opened})
    if may_reply(investigation):
        why = take_turns(investigation, investigator, budget, "reply")
        investigation.record("replied", {"why": why})
    return finish(investigation, reason)


def take_turns(
    investigation: Investigation,
    investigator: Investigator,
    budget: Budget,
    part: Part = "investigator",
) -> str:
    """Take the turns of one part of a run and execute their calls until there is no further one; return why."""
    while True:
        turn = unanswered(investigation, part)
        if turn is None:
            reason = why_over(investigation, part)
            if reason is not None:
                return reason
            limit = budget.exhausted(investigation) or stuck(investigation, part)
            if limit is not None and part != "investigator":
                # There is a report already.
                return why_at(limit)
            words = new_words(investigation)
            last = [f"{why_at(limit)}: this turn can only submit_report"] if limit else []
            told = [*words, *last, *(reply_notices(investigation) if part == "reply" else [])]
            shown = transcript(investigation, budget, part, told, final=limit is not None)
            turn = investigator.next_turn(shown).model_copy(update={"speaker": shown.speaker})
            clock = {"minutes": budget.minutes(), "limit": limit, "notices": list(shown.notices)}
            if words:
                clock["heard"] = investigation.heard + len(words)
            investigation.record("clock", clock)
            investigation.record("turn", turn.model_dump(mode="json", exclude_defaults=True))
        answer(investigation, turn)


def why_over(investigation: Investigation, part: Part) -> str | None:
    """Return why there is no further turn, or None; read off the log, so that a resumed run agrees."""
    exchanges = said_in(investigation, part)
    if part == "sceptic":
        return over(exchanges, rest_case.name, MOST_TURNS)
    if part == "reply":
        return over(exchanges, "submit_report", investigation.reply_turns)
    if not exchanges:
        return None
    last = exchanges[-1]
    if any(each.name == "submit_report" and each.error is None for each in last.results):
        return "submitted"
    if last.turn.refusal is not None:
        return f"the investigator's provider refused: {last.turn.refusal}"
    if last.limit is not None:
        return why_at(last.limit)
    return None


def stuck(investigation: Investigation, part: Part) -> str | None:
    """Return that nothing has gone right for too long, or None; what is known by then can still be handed in."""
    bad = [all(each.error for each in past.results) for past in said_in(investigation, part)]
    lost = len(bad) >= MOST_FAILED_TURNS and all(bad[-MOST_FAILED_TURNS:])
    return STUCK if lost and investigation.investigator not in PATIENT else None


def why_at(limit: str) -> str:
    """Return the reason of an end at a limit."""
    return limit if limit == STUCK else f"budget used up: {limit}"


def new_words(investigation: Investigation) -> list[str]:
    """Return what was said to the running investigation since its last turn, as notices."""
    if investigation.words is None:
        return []
    return [notice_of(word) for word in investigation.words.since(investigation.heard)]


def transcript(
    investigation: Investigation,
    budget: Budget,
    part: Part = "investigator",
    words: Sequence[str] = (),
    *,
    final: bool,
) -> Transcript:
    """Return what the investigator sees before its turn."""
    speaker: Speaker = "sceptic" if part == "sceptic" else "investigator"
    warning = budget.warning(investigation)
    notices = [*words, *([warning] if warning else [])]
    return Transcript(
        briefing=briefing(investigation, speaker),
        exchanges=tuple(said_by(investigation, speaker)),
        notices=tuple(notices),
        final=final,
        speaker=speaker,
        challenged=statements(investigation) if speaker == "sceptic" else (),
        before=tuple(said_by(investigation, "investigator")) if speaker == "sceptic" else (),
        reply_from=len(said_in(investigation, "investigator")) if part == "reply" else None,
    )


def statements(investigation: Investigation) -> tuple[dict[str, Any], ...]:
    """Return what a sceptic may challenge: each supported statement with its registered prediction."""
    return tuple(
        {
            "id": each.id,
            "statement": statement_of(each.prediction, investigation.verdicts[each.id]),
            "prediction": each.prediction.model_dump(mode="json", exclude_none=True),
        }
        for each in challenged(investigation)
    )


def unanswered(investigation: Investigation, part: Part) -> Turn | None:
    """Return the last turn if the log lacks some of its results: a run that was killed in the middle."""
    exchanges = said_in(investigation, part)
    if not exchanges:
        return None
    last = exchanges[-1]
    return last.turn if len(last.results) < len(last.turn.calls) else None


def answer(investigation: Investigation, turn: Turn) -> None:
    """Execute the calls of a turn that have no result yet."""
    limit = investigation.exchanges[-1].limit
    why = STUCK if limit == STUCK else "the budget is used up"
    for call in turn.calls[len(investigation.exchanges[-1].results) :]:
        try:
            if limit is not None and call.name != "submit_report":
                raise ToolError(f"{why}; only submit_report is left")
            result = CallResult(call=call.id, name=call.name, result=execute(investigation, call))
        except ToolError as error:
            result = CallResult(call=call.id, name=call.name, error=str(error))
        investigation.record("call_result", result.model_dump(mode="json"))


def execute(investigation: Investigation, call: ToolCall) -> dict[str, Any]:
    """Run one call: a house tool on the investigation, or a science tool on the worker."""
    if call.parse_error is not None:
        raise ToolError(f"the arguments are not a JSON object: {call.parse_error}")
    speaker = investigation.exchanges[-1].turn.speaker if investigation.exchanges else None
    tools = SCEPTIC_TOOLS if speaker == "sceptic" else HOUSE_TOOLS
    # In their order: an error that lists them has to read the same when the run is played again.
    house = [tool.name for tool in tools if tool.name not in investigation.case.without]
    if call.name in house:
        tool = find_tool(tools, call.name)
        return tool(investigation, plain_json(call.arguments), None).model_dump(mode="json")
    science = [entry["name"] for entry in investigation.offered()]
    if call.name not in science:
        refused = refusal_of(call.name)
        if refused is not None:
            raise ToolError(refused)
        raise ToolError(unknown("tool", call.name, [*science, *house]))
    arguments = with_drawn_prompts(investigation, plain_json(call.arguments))
    check_cost(investigation, call.name, arguments)
    seed = investigation.explore_seed(call.name, *place_of_call(investigation))
    number, done = investigation.run_experiment(call.name, arguments, "exploration", seed)
    if done.error is not None:
        raise ToolError(done.error)
    took = told_cost(
        investigation, call.name, arguments, investigation.experiments[number - 1].seconds
    )
    return {"experiment": f"exp:{number}", "took": took, **(done.result or {})}


def place_of_call(investigation: Investigation) -> tuple[int, int]:
    """Return the number of the turn and of the call in it: what seeds a call, also when it is resumed."""
    return len(investigation.exchanges), len(investigation.exchanges[-1].results)


def with_drawn_prompts(investigation: Investigation, arguments: dict[str, Any]) -> dict[str, Any]:
    """Replace {"draw": {"templates", "per_template"}} by explore prompts of the case."""

    def expand(value: Any) -> Any:
        if isinstance(value, list):
            # A draw among other prompts, or alone in a list, stands for its prompts.
            parts = [expand(each) if is_draw(each) else [each] for each in value]
            return [each for part in parts for each in part]
        if not is_draw(value):
            return value
        wanted = value["draw"]
        if not isinstance(wanted, dict):
            raise ToolError('draw: give {"templates": 12, "per_template": 2}')
        strange = set(wanted) - {"templates", "per_template", "population"}
        if strange:
            raise ToolError(
                unknown("field of draw", min(strange), ["templates", "per_template", "population"])
            )
        name = str(wanted.get("population", "case"))
        population = investigation.populations.get(name)
        if population is None:
            raise ToolError(unknown("population", name, list(investigation.populations)))
        templates, each = wanted.get("templates", 12), wanted.get("per_template", 2)
        if not (
            isinstance(templates, int)
            and isinstance(each, int)
            and min(templates, each) > 0
            and templates * each <= MOST_DRAWN
        ):
            raise ToolError(
                f"draw: templates x per_template must be whole numbers, 1 to {MOST_DRAWN} together"
            )
        seed = investigation.explore_seed("draw", *place_of_call(investigation))
        items = draw(population, "explore", (templates, each), seed)
        return [
            item.model_copy(update={"levels": population.levels_of(item)}).model_dump(mode="json")
            for item in items
        ]

    return {
        name: with_explore_levels(investigation.populations["case"], expand(value))
        for name, value in arguments.items()
    }


def is_draw(value: Any) -> bool:
    """Say whether an argument asks the harness for prompts of the case."""
    return isinstance(value, dict) and set(value) == {"draw"}


def finish(investigation: Investigation, reason: str) -> str:
    """Write the end of the run; a run that never submitted gets a report all the same."""
    if investigation.submission is None:
        investigation.record("submission", NO_ANSWER.model_dump(mode="json"))
    if investigation.ended is None:
        investigation.record("run_ended", {"reason": reason}, sync=True)
    return reason
