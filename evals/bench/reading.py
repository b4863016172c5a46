"""Reading afterwards: reports of finished sittings that no reader has seen are put before one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evals.bench.paper import Equipment, Examined, Paper
from evals.bench.readers import Forecaster
from evals.bench.records import Plan, SittingResult
from evals.bench.sitting import read_results, result_path, run_path, written
from evals.bench.suites import case_of, secrets_of, sibling_of, truth_of
from evals.bench.tasks.explain import NO_READER, TASK


def unread(out: Path) -> list[SittingResult]:
    """Return the finished sittings whose reports only lack a reader."""
    scored = ((each, each.scores.get(TASK.name)) for each in read_results(out))
    return [each for each, score in scored if score is not None and score.unscored == NO_READER]


def read(out: Path, plan: Plan, reader: Forecaster) -> Iterator[SittingResult]:
    """Put every unread report before a reader; give each result as soon as it is written."""
    for result in unread(out):
        sitting = result.sitting
        specimen = plan.specimen(sitting.specimen)
        case = case_of(specimen, sitting.reference, sibling_of(specimen, plan.specimens))
        truth = truth_of(specimen, plan.secret)
        examined = Examined(specimen, case, truth, secrets_of(specimen))
        scratch = out / "grading" / sitting.name
        paper = Paper(examined, sitting, run_path(out, sitting), scratch, Equipment(reader))
        try:
            score = TASK.score(paper)
        finally:
            paper.close()
        scores = {**result.scores, TASK.name: score}
        yield written(result_path(out, sitting), result.model_copy(update={"scores": scores}))
