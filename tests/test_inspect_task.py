"""The exam as an Inspect task, evaluated with Inspect's mock provider on subjects that are tables."""

from __future__ import annotations

import math
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

inspect_ai = pytest.importorskip("inspect_ai")

from inspect_ai.model import (  # noqa: E402
    ChatCompletionChoice,
    ChatMessageAssistant,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.tool import ToolCall  # noqa: E402

from agent.opening import read_run  # noqa: E402
from agent.plan_turns import submission  # noqa: E402
from agent.submission import Answer  # noqa: E402
from evals.bench import inspect_task, sitting  # noqa: E402
from evals.bench.plan import Wanted, plan_exam  # noqa: E402
from evals.bench.records import Score, Sitting, SittingResult  # noqa: E402

WHO = "inspect/mockllm/model"
TOKENS = ModelUsage(input_tokens=50, output_tokens=5, total_tokens=55)
REPORT = submission(Answer(kind="factor", value=("context = harbour",), confidence=0.7), "A guess.")


def said(name: str, arguments: dict[str, Any], number: int) -> Any:
    call = ToolCall(id=f"c{number}", function=name, arguments=arguments)
    message = ChatMessageAssistant(content="", tool_calls=[call])
    choice = ChatCompletionChoice(message=message, stop_reason="tool_calls")
    return ModelOutput(model="mock", choices=[choice], usage=TOKENS)


class Mock:
    """Notes something, then says that it is the harbour; counts its requests."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, messages: Any, tools: Any, choice: Any, config: Any) -> Any:
        self.asked += 1
        turns = sum(each.role == "assistant" for each in messages)
        if turns == 0:
            return said("note", {"text": "a first look"}, 0)
        assert [each.tool_call_id for each in messages if each.role == "tool"][-1] == "c0"
        return said("submit_report", REPORT.calls[0].arguments, 1)


def two_sittings(out: Path) -> Any:
    """Plan an exam and keep one organism's sitting and one null's."""
    plan = plan_exam("drill", out, Wanted(everything=(WHO,), null_runs=1), secret="drill")
    null = {each.handle: each.null for each in plan.specimens}
    kept = [
        next(each for each in plan.sittings if null[each.specimen] == which)
        for which in (False, True)
    ]
    plan = plan.model_copy(update={"sittings": tuple(kept)})
    (out / "plan.json").write_text(plan.model_dump_json())
    return plan


def evaluated(out: Path, mock: Any, **more: Any) -> Any:
    (log,) = inspect_ai.eval(
        "naturalist/naturalist",
        task_args={"suite": "drill", "out": str(out)},
        model=get_model("mockllm/model", custom_outputs=mock),
        log_dir=str(out.parent / "logs"),
        display="none",
        **more,
    )
    return log


def test_an_evaluation_comes_to_what_its_files_say_and_a_second_one_reads_them(
    tmp_path: Path,
) -> None:
    out, mock = tmp_path / "sat", Mock()
    plan = two_sittings(out)
    log = evaluated(out, mock)
    assert log.status == "success", log.error
    assert mock.asked == 4
    results = {each.sitting.name: each for each in sitting.read_results(out)}
    assert {each.id for each in log.samples} == set(results) == {e.name for e in plan.sittings}
    for sample in log.samples:
        result = results[str(sample.id)]
        mine, other = ("nulls", "organisms") if result.null else ("organisms", "nulls")
        assert math.isnan(sample.scores[other].value)
        value = sample.scores[mine].value
        assert set(value) == set(inspect_task.TASKS)
        for name in value:
            stored = result.scores[name].value if name in result.scores else None
            assert math.isnan(value[name]) if stored is None else value[name] == stored
        # Before a null naming something is wrong; before the organism it depends on what was drawn.
        assert value["identify"] == float(not result.null and "harbour" in truth_in(out, result))
        assert sample.scores[mine].metadata["confidence"] == 0.7
        assert [event.event for event in sample.events].count("model") == 2
        assert result.leaks == ()
        assert result.cost.requests == 2 and result.cost.tokens == 110
        assert sample.output.completion
        investigation = read_run(out / (result.run or ""))
        assert investigation.investigator == WHO
        assert investigation.exchanges[0].turn.said["api"] == "inspect"
        # Nothing that an examiner alone may know stands in the sample.
        assert sample.target == "" and set(sample.metadata) == {"specimen", "track", "seed"}
        assert plan.secret not in sample.model_dump_json()
    means = {(each.scorer, each.name): each.metrics["mean"].value for each in log.results.scores}
    organism = next(each for each in results.values() if not each.null)
    assert means["organisms", "identify"] == organism.scores["identify"].value
    assert means["nulls", "identify"] == 0.0 and math.isnan(means["organisms", "explain"])

    again = evaluated(out, mock)
    assert mock.asked == 4 and again.status == "success"
    assert told_scores(again) == told_scores(log)


def told_scores(log: Any) -> dict[str, str]:
    return {each.id: each.model_dump_json(include={"scores"}) for each in log.samples}


def truth_in(out: Path, result: SittingResult) -> str:
    return (out / "organisms" / result.sitting.specimen / "truth.json").read_text()


def test_a_provider_that_fails_leaves_a_sitting_that_the_next_evaluation_ends(
    tmp_path: Path,
) -> None:
    out = tmp_path / "sat"
    two_sittings(out)
    mock = Mock()
    fallen: list[int] = []

    def falls_once(*given: Any) -> Any:
        if mock.asked == 1 and not fallen:
            fallen.append(1)
            raise ValueError("the mock is down")
        return mock(*given)

    log = evaluated(out, falls_once)
    assert log.status == "error"
    errors = [each.error.message for each in log.samples if each.error]
    assert len(errors) == 1 and "the mock is down" in errors[0] and "evaluate again" in errors[0]
    # The other sitting was done all the same.
    assert len(sitting.read_results(out)) == 1
    again = evaluated(out, falls_once)
    assert again.status == "success" and len(sitting.read_results(out)) == 2
    # Nothing that was answered before is asked again.
    assert mock.asked == 4


def test_an_exam_of_others_is_refused_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "sat"
    plan_exam("drill", out, Wanted(everything=("systematic",), null_runs=0))
    with pytest.raises(Exception, match="an exam of others than inspect/mockllm/model"):
        evaluated(out, Mock())


def test_a_limit_of_inspects_ends_a_sample_without_a_score(tmp_path: Path) -> None:
    out = tmp_path / "sat"
    two_sittings(out)
    log = evaluated(out, Mock(), token_limit=60)
    assert sitting.read_results(out) == []
    for sample in log.samples:
        assert sample.limit is not None and sample.limit.type == "token"
        assert math.isnan(sample.scores["organisms"].value)
        assert "stopped before its end" in sample.scores["organisms"].explanation


def test_what_came_to_nothing_is_no_number() -> None:
    one = SittingResult(
        sitting=Sitting(specimen="m1", investigator=WHO, seed=1), family="drill", kind="organism"
    )
    missed = inspect_task.score_of(one.model_copy(update={"error": "not built: x"}), "")
    assert math.isnan(missed.value) and missed.explanation == "not built: x"
    scores = {"identify": Score(value=0.25), "explain": Score(unscored="no reader")}
    part = inspect_task.score_of(one.model_copy(update={"scores": scores}), "So.")
    assert part.value["identify"] == 0.25 and math.isnan(part.value["explain"])
    assert "explain: no reader" in part.explanation


def test_inspect_finds_the_task_by_the_entry_point_of_the_project() -> None:
    import tomllib

    file = Path(__file__).parent.parent / "pyproject.toml"
    points = tomllib.loads(file.read_text())["project"]["entry-points"]["inspect_ai"]
    # Inspect loads what stands before the task's slash.
    (name, module) = next(iter(points.items()))
    assert name == "naturalist"
    assert EntryPoint(name, module, "inspect_ai").load() is inspect_task
