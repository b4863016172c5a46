"""A run as an Inspect log: one sample, its conversation, its events, and one score for each verdict."""

# pyright: reportMissingImports=false
# inspect-ai is an extra, and large: it is imported when a log is written.

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agent.doors.as_conversation import (
    counts_of,
    exchange_messages,
    facts_of,
    messages_of,
    told_run,
)
from agent.investigation import Investigation
from agent.report import Report
from agent.run_folder import RunError

TOLD = (
    "step_zero",
    "screen",
    "hypothesis",
    "registration",
    "draw",
    "verdict",
    "note",
    "experiment",
)
"""Events of the log that become info events; turns and results become messages and tool events."""
HIDDEN = ("before", "burned", "labelled")
"""Long lists of which a reader of the transcript has no use."""


def write_inspect_log(path: Path, folder: Path) -> list[Path]:
    """Write the log; raises `RunError` when inspect-ai is not installed."""
    if find_spec("inspect_ai") is None:
        raise RunError("inspect-ai is not installed; run: pip install 'inspect-ai>=0.3.285,<0.4'")
    from inspect_ai.log import write_eval_log

    investigation, report = told_run(path)
    log = eval_log(investigation, report)
    folder.mkdir(parents=True, exist_ok=True)
    # Task and id are read from the name, so neither may hold an underscore.
    when = started(report).isoformat(timespec="seconds").replace(":", "-")
    target = folder / f"{when}_{report.name}_{report.run[:22]}.eval"
    write_eval_log(log, str(target))
    return [target]


def started(report: Report) -> datetime:
    """Return when the run was opened."""
    return datetime.fromisoformat(report.versions["sessions"][0]["at"])


def eval_log(investigation: Investigation, report: Report) -> Any:
    """Return the run as Inspect's `EvalLog`."""
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalPlan,
        EvalPlanStep,
        EvalResults,
        EvalScore,
        EvalSpec,
        EvalStats,
    )

    begun = started(report)
    ended = begun + timedelta(minutes=investigation.minutes)
    counts = counts_of(report)
    sample = eval_sample(investigation, report)
    return EvalLog(
        status="success" if report.ended else "started",
        eval=EvalSpec(
            eval_id=report.run[:22],
            run_id=report.run[:22],
            created=begun.isoformat(),
            task=report.name,
            task_id=report.run[:22],
            dataset=EvalDataset(name=report.name, samples=1, sample_ids=[report.name]),
            model=report.investigator,
            config=EvalConfig(),
            packages=dict(report.versions["sessions"][0]["packages"]),
            metadata=facts_of(investigation, report),
        ),
        plan=EvalPlan(name="naturalist", steps=[EvalPlanStep(solver=report.investigator)]),
        results=EvalResults(
            total_samples=1,
            completed_samples=1,
            scores=[
                EvalScore(
                    name="findings",
                    scorer="verdict",
                    scored_samples=1,
                    metrics={
                        status: EvalMetric(name=status, value=count)
                        for status, count in counts.items()
                    },
                )
            ],
        ),
        stats=EvalStats(
            started_at=begun.isoformat(),
            completed_at=ended.isoformat(),
            model_usage={report.investigator: sample.model_usage[report.investigator]}
            if sample.model_usage
            else {},
        ),
        samples=[sample],
    )


def eval_sample(investigation: Investigation, report: Report) -> Any:
    """Return the one sample of a run: it was an investigation of one case."""
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput

    messages = [chat_message(each) for each in messages_of(investigation)]
    usage = usage_of(investigation)
    begun = started(report)
    return EvalSample(
        id=report.name,
        epoch=1,
        input=report.question,
        target="",
        messages=messages,
        output=ModelOutput.from_content(report.investigator, " ".join(report.answer.sentences)),
        scores=scores_of(investigation, report),
        metadata=facts_of(investigation, report),
        events=list(events_of(investigation, report)),
        model_usage={report.investigator: usage} if usage is not None else {},
        started_at=begun.isoformat(),
        completed_at=(begun + timedelta(minutes=investigation.minutes)).isoformat(),
        total_time=60 * investigation.minutes,
    )


def chat_message(message: dict[str, Any]) -> Any:
    """Return a message as Inspect's record of its role."""
    from inspect_ai.model import ChatMessage
    from pydantic import TypeAdapter

    return TypeAdapter[Any](ChatMessage).validate_python(message)


def scores_of(investigation: Investigation, report: Report) -> dict[str, Any]:
    """Return one score for each finding; its value is the computed status, a word and no number."""
    from inspect_ai.scorer import Score

    found: dict[str, Any] = {}
    for each in report.findings:
        verdict = investigation.verdicts.get(each.id)
        found[each.id] = Score(
            value=each.status,
            answer=each.statement,
            explanation=f"{each.statement} The status is computed by the registered rule.",
            metadata=verdict.model_dump(mode="json") if verdict else {},
        )
    return found


def usage_of(investigation: Investigation) -> Any:
    """Return what the investigating model was asked and said in tokens; None for a program or a person."""
    from inspect_ai.model import ModelUsage

    spent = [each.turn.spent for each in investigation.exchanges if each.turn.spent is not None]
    if not spent:
        return None
    cached = sum(each.cache_read_tokens for each in spent)
    stored = sum(each.cache_write_tokens for each in spent)
    read = sum(each.input_tokens for each in spent)
    said = sum(each.output_tokens for each in spent)
    return ModelUsage(
        # There, input is what came from no cache.
        input_tokens=read - cached - stored,
        output_tokens=said,
        total_tokens=read + said,
        input_tokens_cache_read=cached,
        input_tokens_cache_write=stored,
        reasoning_tokens=sum(each.reasoning_tokens for each in spent),
    )


def events_of(investigation: Investigation, report: Report) -> Iterator[Any]:
    """Yield the log's events in their order, each turn in a span with its calls; a run has one clock a turn."""
    from inspect_ai.dataset import Sample
    from inspect_ai.event import (
        InfoEvent,
        SampleInitEvent,
        ScoreEvent,
        SpanBeginEvent,
        SpanEndEvent,
    )

    now = started(report)
    yield SampleInitEvent(
        timestamp=now, sample=Sample(id=report.name, input=report.question), state={}
    )
    turn = 0
    for event in investigation.folder.events:
        if event.type == "clock":
            now = started(report) + timedelta(minutes=event.data["minutes"])
        elif event.type == "turn":
            if turn:
                yield SpanEndEvent(timestamp=now, id=f"turn-{turn}")
            turn += 1
            who = investigation.exchanges[turn - 1].turn.speaker
            name = f"turn {turn}" if who == "investigator" else f"turn {turn} ({who})"
            yield SpanBeginEvent(timestamp=now, id=f"turn-{turn}", name=name, type="turn")
            yield from turn_events(investigation, turn, now)
        elif event.type in TOLD:
            data = {key: value for key, value in event.data.items() if key not in HIDDEN}
            span = f"turn-{turn}" if turn else None
            yield InfoEvent(timestamp=now, span_id=span, source=event.type, data=data)
    if turn:
        yield SpanEndEvent(timestamp=now, id=f"turn-{turn}")
    for name, score in scores_of(investigation, report).items():
        yield ScoreEvent(timestamp=now, scorer=name, score=score)


def turn_events(investigation: Investigation, number: int, now: datetime) -> Iterator[Any]:
    """Yield what was said in a turn and each of its calls with its result."""
    from inspect_ai.event import ModelEvent, ToolEvent
    from inspect_ai.model import ChatCompletionChoice, GenerateConfig, ModelOutput
    from inspect_ai.tool import ToolCallError

    messages = list(exchange_messages(number, investigation.exchanges[number - 1]))
    said = next(each for each in messages if each["role"] == "assistant")
    answers = {each["tool_call_id"]: each for each in messages if each["role"] == "tool"}
    yield ModelEvent(
        timestamp=now,
        span_id=f"turn-{number}",
        model=investigation.investigator,
        input=[],
        tools=[],
        tool_choice="auto",
        config=GenerateConfig(),
        output=ModelOutput(
            model=investigation.investigator,
            choices=[ChatCompletionChoice(message=chat_message(said))],
        ),
    )
    for call in said["tool_calls"]:
        answer = answers.get(call["id"], {"content": ""})
        error = answer.get("error")
        yield ToolEvent(
            timestamp=now,
            span_id=f"turn-{number}",
            id=call["id"],
            function=call["function"],
            arguments=call["arguments"],
            result=answer["content"],
            error=ToolCallError(**error) if error else None,
        )
