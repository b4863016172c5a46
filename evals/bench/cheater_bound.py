"""Does an investigator that cheats stay at chance? `python -m evals.bench.cheater_bound SUITE --out DIR`.

The cheater sits before every organism of a suite, under as many seeds as make the cells. How often its one
answer is right may exceed chance by ten points at most, at the one-sided 95 % bound. Chance is the best constant
answer over the suite's own truths, for each family its own: which family it is, the case tells. Nulls count for
nothing: an answer that names something is wrong there, whoever gives it. Resumable, like any exam.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.run_folder import RunError
from agent.terminal import say
from evals.bench.intervals import by_specimen, effective_number
from evals.bench.plan import Wanted, plan_exam
from evals.bench.pool import Exam, run_here
from evals.bench.records import SittingResult
from evals.bench.sitting import read_results
from evals.bench.standings import identified
from evals.bench.suites import SuiteError, specimens_of
from tools import statistics as stats

WHO = "cheater"
LEAST_CELLS = 60
MARGIN = 0.1
ONE_SIDED = 0.90
"""The upper end of a two-sided interval at this confidence is the one-sided 95 % bound."""


class Bound(NamedTuple):
    """What cheating came to."""

    right: int
    cells: int
    specimens: int
    failed: int
    """Sittings without a report; not among the cells."""
    chance: float
    upper: float
    """One-sided 95 % bound of the share of right answers, taking cells as independent (Clopper-Pearson)."""
    upper_over_specimens: float
    """The same at the effective number of cells, as cells of one specimen resemble each other."""

    @property
    def holds(self) -> bool:
        """Say whether it is shown that cheating gains at most ten points."""
        return self.cells >= LEAST_CELLS and self.upper <= self.chance + MARGIN

    def told(self) -> str:
        """Return it in two lines."""
        few = "" if self.cells >= LEAST_CELLS else f", too few: {LEAST_CELLS} are needed"
        verdict = "holds" if self.holds else "NOT SHOWN"
        return (
            f"cheater: {self.right} of {self.cells} answers right ({self.right / self.cells:.1%}) before "
            f"{self.specimens} organisms{few}; {self.failed} sittings failed\n"
            f"chance {self.chance:.1%}; one-sided 95 % bound {self.upper:.1%} over cells "
            f"({self.upper_over_specimens:.1%} over organisms); at most {self.chance + MARGIN:.1%}: {verdict}"
        )


def bound_of(results: Iterable[SittingResult]) -> Bound:
    """Return the bound over the cheater's sittings before organisms; raise `SuiteError` where there are none."""
    mine = [each for each in results if each.sitting.investigator == WHO and not each.null]
    done = [each for each in mine if each.error is None]
    if not done:
        raise SuiteError("the cheater has finished no sitting before an organism")
    values = [(each.sitting.specimen, identified(each) or 0.0) for each in done]
    groups = list(by_specimen(values).values())
    right = round(math.fsum(value for _, value in values))
    share = right / len(values)
    effective = effective_number(groups, share)
    return Bound(
        right=right,
        cells=len(values),
        specimens=len(groups),
        failed=len(mine) - len(done),
        chance=stats.mean([each.chance for each in done]),
        upper=stats.clopper_pearson_interval(right, len(values), ONE_SIDED)[1],
        upper_over_specimens=stats.clopper_pearson_interval(
            share * effective, effective, ONE_SIDED
        )[1],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left and print the bound; 1 where it is not shown, 2 for wrong input."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.bench.cheater_bound", description=__doc__
    )
    parser.add_argument("suite", help="as for `naturalist bench run`")
    parser.add_argument("--out", type=Path, required=True, help="the exam's folder")
    parser.add_argument("--cells", type=int, default=LEAST_CELLS, help="at least so many sittings")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    try:
        organisms = [each for each in specimens_of(given.suite, "", given.out) if not each.null]
        seeds = -(-given.cells // max(1, len(organisms)))
        plan = plan_exam(
            given.suite, given.out, Wanted(everything=(WHO,), seeds=seeds, null_runs=0)
        )
        run_here(Exam(given.out, plan, say=say), given.processes)
        found = bound_of(read_results(given.out))
    except (SuiteError, RunError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{found.told()}\n")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
