"""The exam as an Inspect task: `inspect eval naturalist/naturalist --model PROVIDER/MODEL`.

The model that Inspect evaluates is the investigator, and each of its sittings a sample. Files are those of any
exam: what is finished is read, what was stopped goes on, and `naturalist bench report` joins them with others.
"""

# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false
# inspect-ai is an extra: this module is imported by Inspect, or not at all.

from __future__ import annotations

import json
import math
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import typer
from anyio import lowlevel, to_thread
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, mean, scorer, stderr
from inspect_ai.solver import solver
from inspect_ai.util import concurrency

from agent.case import Limits
from agent.cast import Provider, role_model
from agent.llm.inspect_model import evaluated_name
from evals.bench.drivers import taken
from evals.bench.plan import Wanted, plan_exam, read_plan, usual_null_runs
from evals.bench.readers import Reader
from evals.bench.records import Plan, ReferenceTrack, Sitting, SittingResult
from evals.bench.sitting import result_path, sit
from evals.bench.suites import SuiteError, case_of
from evals.bench.tasks import every_task

TASKS = tuple(each.name for each in every_task())
MEASURES = {name: [mean(), stderr(cluster="specimen")] for name in TASKS}


# Inspect puts the name of an installed package before a task's, but looks for one that is called as the room is.
@task(name="naturalist/naturalist")
def naturalist(
    suite: str = "smoke",
    out: str = "exam",
    seeds: int = 1,
    null_runs: int | None = None,
    track: str = "base",
    reader: str | None = None,
) -> Any:
    """Examine the evaluated model on a suite, in the exam's folder `out`; options as of `naturalist bench run`."""
    folder, who = Path(out).resolve(), evaluated_name()
    wanted = Wanted(
        everything=(who,),
        seeds=seeds,
        null_runs=usual_null_runs(suite) if null_runs is None else null_runs,
        tracks=(ReferenceTrack(track),),
    )
    plan = plan_exam(suite, folder, wanted)
    mine = [each for each in plan.sittings if each.investigator == who]
    if not mine:
        raise SuiteError(f"{folder} holds an exam of others than {who}; give another -T out=DIR")
    return Task(
        dataset=MemoryDataset([sample_of(plan, each) for each in mine], name=suite),
        solver=investigate(str(folder), reader),
        scorer=[organisms(str(folder)), nulls(str(folder))],
        # One provider's failure is no reason to leave the other sittings undone.
        continue_on_fail=True,
    )


def sample_of(plan: Plan, sitting: Sitting) -> Any:
    """Return a sitting as a sample, with nothing in it that an investigator may not know."""
    case = case_of(plan.specimen(sitting.specimen))
    about = {"specimen": sitting.specimen, "track": sitting.reference, "seed": sitting.seed}
    return Sample(id=sitting.name, input=case.behaviour, metadata=about)


@solver
def investigate(out: str, reader: str | None = None) -> Any:
    """Run sittings, one after the other, in a thread: the loop is no coroutine."""
    folder = Path(out)

    async def solve(state: Any, generate: Any) -> Any:
        # The CPU seconds of a sitting are those of the process, and so is its canary.
        async with concurrency("sitting", 1):
            try:
                result = await to_thread.run_sync(sat, folder, str(state.sample_id), reader)
            except CancelledError:
                # A request that was cancelled tells the thread in another word than the loop's own.
                await lowlevel.checkpoint_if_cancelled()
                raise
        state.output.completion = answer_of(folder, result)
        state.completed = True
        return state

    return solve


def sat(out: Path, name: str, reader: str | None) -> SittingResult:
    """Run the sitting of that name, or go on with it; raise `RuntimeError` in one line if it came to no result."""
    plan = read_plan(out)
    sitting = named(plan, name)
    with taken(out, sitting) as ours:
        if not ours:
            raise RuntimeError(
                f"{name}: somebody else is at it; evaluate again to read what it came to"
            )
        try:
            model = role_model("reader", reader, Limits(), Provider())
            return sit(out, plan, sitting, reader=Reader(*model) if model else None)
        except (typer.Exit, SystemExit) as stopped:
            # The fault itself was said on stderr.
            why = stopped.__context__ or stopped
            raise RuntimeError(f"{name}: {why}; evaluate again to go on") from why


def named(plan: Plan, name: str) -> Sitting:
    """Return the sitting of that name."""
    return next(each for each in plan.sittings if each.name == name)


def answer_of(out: Path, result: SittingResult) -> str:
    """Return what the report answers, in its own sentences."""
    if result.run is None:
        return result.error or ""
    report = json.loads((out / result.run / "report" / "report.json").read_text(encoding="utf-8"))
    return " ".join(report["answer"]["sentences"])


@scorer(metrics=MEASURES)
def organisms(out: str) -> Any:
    """Read what sittings before organisms came to; the truth was opened when each had ended."""
    return scores_in(Path(out), nulls=False)


@scorer(metrics=MEASURES)
def nulls(out: str) -> Any:
    """Read what sittings before nulls came to: apart, since "nothing" is always right there."""
    return scores_in(Path(out), nulls=True)


def scores_in(folder: Path, *, nulls: bool) -> Any:
    """Return a scorer that reads the exam's files; a sitting of the other kind is unscored."""

    async def score(state: Any, target: Any) -> Any:
        path = result_path(folder, named(read_plan(folder), str(state.sample_id)))
        if not path.exists():
            return Score.unscored(explanation="stopped before its end; evaluate again to go on")
        result = SittingResult.model_validate_json(path.read_text(encoding="utf-8"))
        if result.null != nulls:
            return Score.unscored(explanation="an organism" if nulls else "a null")
        return score_of(result, state.output.completion)

    return score


def score_of(result: SittingResult, answer: str) -> Any:
    """Return a result as a score: a number for each task, NaN for one that is not scored."""
    if result.error is not None:
        return Score.unscored(explanation=result.error)
    values = {name: each.value for name, each in result.scores.items()}
    why = [f"{name}: {each.unscored}" for name, each in result.scores.items() if each.unscored]
    why += [f"a supported statement is {each.grade}" for each in result.claims]
    shown = {"confidence", "registrations", "evidence_reproduced", "leaks", "cost"}
    return Score(
        value={name: math.nan if (found := values.get(name)) is None else found for name in TASKS},
        answer=answer,
        explanation="\n".join(why) or None,
        metadata=result.model_dump(mode="json", include=shown),
    )
