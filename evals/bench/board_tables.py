"""The tables of the leaderboard: the same cells for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.wording import capital, number, p_value
from evals.bench.comparisons import Comparison
from evals.bench.intervals import Estimate
from evals.bench.scores import Board, Standing, Trouble
from evals.bench.standings import Calibration, CostFigure, NullRate, Nulls, Part, TaskScore

FEW = 10
"""Specimens below which a figure is said to stand on few."""
COSTS = {
    "tokens": "tokens",
    "dollars": "dollars",
    "cpu_seconds": "CPU seconds",
    "gpu_seconds": "GPU seconds",
    "wall_seconds": "seconds of waiting",
    "requests": "requests to a model",
}


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, and in smaller print what that stands on."""

    text: str
    basis: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def percent(share: float) -> str:
    """Return a share times 100 to one decimal: as many specimens as an exam has bear no more."""
    return number(round(100 * share, 1))


def shown(figure: Estimate, written: Callable[[float], str] = percent, unit: str = " %") -> Cell:
    """Return a figure with its unit and interval, and how many it stands on; shares are shown in percent."""
    if figure.value is None:
        return Cell("not measured", figure.note)
    text = f"{written(figure.value)}{unit}"
    if figure.interval is not None:
        low, high = map(written, figure.interval)
        text += f" ({low} to {high})"
    else:
        text += " (no interval)"
    return Cell(text, "; ".join(filter(None, (stands_on(figure), figure.note))))


def stands_on(figure: Estimate) -> str:
    """Return how many values of how many specimens a figure is of."""
    few = ", few" if figure.specimens < FEW else ""
    specimens = "specimen" if figure.specimens == 1 else "specimens"
    return f"n = {figure.n} over {figure.specimens} {specimens}{few}"


def rate(found: NullRate) -> Cell:
    """Return a rate over null runs, with the exact bounds over runs and the interval over specimens."""
    if found.exact is None or found.upper is None:
        return Cell("not measured", "no null run came to a report")
    low, high = map(percent, found.exact)
    text = f"{found.count} of {found.n} runs: {percent(found.count / found.n)} % ({low} to {high})"
    basis = f"at most {percent(found.upper)} %, one-sided"
    clustered = found.clustered
    if clustered.interval is not None and clustered.method != "exact":
        low, high = map(percent, clustered.interval)
        basis += f"; over {clustered.specimens} specimens {low} to {high}"
    return Cell(basis=basis + (", few" if clustered.specimens < FEW else ""), text=text)


def registrations(nulls: Nulls) -> Cell:
    """Return how many predictions were registered a null run."""
    if nulls.registrations is None:
        return Cell("none run")
    return Cell(number(nulls.registrations), f"least {nulls.least_registrations}")


def spent(part: Part) -> Cell:
    """Return what a sitting costs in money if that is known, else in tokens or seconds."""
    for name in ("dollars", "tokens", "gpu_seconds", "cpu_seconds"):
        figure = part.cost.get(name)
        if figure is not None and figure.total:
            mean = shown(figure.mean, number, f" {COSTS[name]}")
            return Cell(mean.text, stands_on(figure.mean))
    return Cell("nothing counted")


def who(standing: Standing) -> Cell:
    """Return the investigator, with how many of its sittings failed or are not there yet."""
    part = standing.overall
    notes = [f"{part.failed} failed"] if part.failed else []
    notes += [f"{standing.unfinished} unfinished"] if standing.unfinished else []
    return Cell(
        standing.investigator,
        ", ".join((f"{part.finished} of {standing.planned} sittings", *notes)),
    )


def leading(standings: Sequence[Standing], caption: str) -> Table:
    """Return the first table: one row for each investigator."""
    rows = [
        (
            who(each),
            shown(each.overall.recall),
            shown(each.overall.normalised),
            rate(each.overall.null.runs_with_false),
            registrations(each.overall.null),
            shown(each.overall.calibration.brier, number, ""),
            spent(each.overall),
        )
        for each in standings
    ]
    head = (
        "Investigator",
        "Secrets found (recall)",
        "On the scale from chance to ceiling",
        "Null runs with a false finding",
        "Registrations a null run",
        "Error of its confidence (Brier)",
        "Cost of a sitting",
    )
    return Table(caption, head, tuple(rows))


def by_slice(standings: Sequence[Standing], by: str, caption: str) -> Table | None:
    """Return recall and what goes with it for each group of a slice; None where no group has an organism."""
    rows = [
        (
            Cell(part.group),
            Cell(each.investigator),
            shown(part.recall),
            shown(part.recall_of_guesses),
            Cell(level(part.chance)),
            Cell(level(part.ceiling)),
            shown(part.normalised),
            Cell(str(part.failed)),
        )
        for part, each in sliced(standings, by)
        if part.organisms
    ]
    head = (capital(by), "Investigator", "Recall", "Among its guesses")
    return optional(
        caption, (*head, "Chance", "Ceiling", "From chance to ceiling", "Failed sittings"), rows
    )


def sliced(standings: Sequence[Standing], by: str) -> list[tuple[Part, Standing]]:
    """Return the parts of one slice, group by group."""
    found = [(part, each) for each in standings for part in each.parts if part.by == by]
    return sorted(found, key=lambda pair: pair[0].group)


def optional(caption: str, head: tuple[str, ...], rows: Iterable[tuple[Cell, ...]]) -> Table | None:
    """Return a table, or None where it would be empty."""
    kept = tuple(rows)
    return Table(caption, head, kept) if kept else None


def level(value: float | None) -> str:
    """Return a share in percent."""
    return "not known" if value is None else f"{percent(value)} %"


def overall(standings: Sequence[Standing], caption: str) -> Table:
    """Return recall, counted in every way, for all organisms together."""
    rows = [
        (
            Cell(each.investigator),
            shown(each.overall.recall),
            shown(each.overall.recall_of_finished),
            shown(each.overall.recall_of_guesses),
            Cell(level(each.overall.chance)),
            Cell(level(each.overall.ceiling)),
            counted(each.overall.unscored),
        )
        for each in standings
    ]
    head = ("Investigator", "Recall, failed as not found", "Recall without the failed")
    return Table(
        caption, (*head, "Among its guesses", "Chance", "Ceiling", "Not scored"), tuple(rows)
    )


def counted(reasons: Mapping[str, int]) -> Cell:
    """Return how many sittings have no score, and why."""
    if not reasons:
        return Cell("0")
    return Cell(str(sum(reasons.values())), "; ".join(f"{why}: {n}" for why, n in reasons.items()))


def nulls(standings: Sequence[Standing], caption: str) -> Table | None:
    """Return what was said on each kind of null, and on all of them."""
    found = [(each.overall, each) for each in standings if each.overall.nulls]
    found += [(part, each) for part, each in sliced(standings, "kind") if part.nulls]
    rows = [
        (
            Cell(part.group or "all"),
            Cell(each.investigator),
            rate(part.null.runs_with_false),
            shown(part.null.false_findings, number, ""),
            rate(part.null.says_hidden),
            registrations(part.null),
            Cell(str(part.failed)) if part.group else Cell(null_failures(each)),
        )
        for part, each in found
    ]
    head = ("Kind", "Investigator", "Runs with a false finding", "False findings a run")
    return optional(
        caption,
        (*head, "Runs that say something is hidden", "Registrations a run", "Failed"),
        rows,
    )


def null_failures(standing: Standing) -> str:
    """Return how many sittings on nulls failed."""
    return str(sum(part.failed for part in standing.parts if part.by == "kind" and part.nulls))


def statements(standings: Sequence[Standing], caption: str) -> Table:
    """Return how many supported statements are true, and whether the cited numbers came out again."""
    rows = [
        (
            Cell(each.investigator),
            shown(each.overall.precision),
            shown(each.overall.not_the_secret),
            shown(each.overall.evidence),
        )
        for each in standings
    ]
    head = ("Investigator", "True", "True but not the secret", "Cited numbers that came out again")
    return Table(caption, head, tuple(rows))


def tasks(standings: Sequence[Standing], caption: str) -> Table | None:
    """Return every other task that anybody has a score in."""
    kinds: dict[str, Callable[[Part], Mapping[str, TaskScore]]] = {
        "organisms": lambda part: part.tasks,
        "nulls": lambda part: part.tasks_on_nulls,
    }
    rows = [
        (
            Cell(task),
            Cell(kind),
            Cell(each.investigator),
            shown(found.score, number, ""),
            counted(found.unscored),
        )
        for kind, of in kinds.items()
        for each in standings
        for task, found in of(each.overall).items()
    ]
    rows.sort(key=lambda row: (row[0].text, row[1].text != "organisms"))
    return optional(caption, ("Task", "On", "Investigator", "Mean score", "Not scored"), rows)


def calibration(standings: Sequence[Standing], caption: str) -> Table:
    """Return how well stated confidence fits."""
    rows = [(Cell(each.investigator), *confidence(each.overall.calibration)) for each in standings]
    head = ("Investigator", "Brier score", "Skill over the base rate", "Answers that are right")
    return Table(caption, (*head, "Without a confidence or a grade"), tuple(rows))


def confidence(found: Calibration) -> tuple[Cell, ...]:
    """Return the cells of one investigator's calibration."""
    return (
        shown(found.brier, number, ""),
        shown(found.skill, number, ""),
        Cell(level(found.base_rate), f"n = {found.brier.n}"),
        Cell(str(found.without)),
    )


def reliability(standing: Standing, caption: str) -> Table | None:
    """Return the bins of one investigator."""
    rows = [
        (
            Cell(f"{percent(each.low)} to {percent(each.high)} %"),
            Cell(f"{percent(each.stated)} %"),
            shown(each.right),
        )
        for each in standing.overall.calibration.bins
    ]
    return optional(caption, ("Confidence between", "Mean", "Right"), rows)


def costs(standings: Sequence[Standing], caption: str) -> Table | None:
    """Return what sittings took, kind by kind; kinds that nobody spent are left out."""
    rows = [
        (Cell(COSTS.get(name, name)), Cell(each.investigator), *amounts(figure))
        for name in (standings[0].overall.cost if standings else ())
        for each in standings
        if (figure := each.overall.cost[name]).total
    ]
    head = ("Cost", "Investigator", "Mean a sitting", "Median", "Most", "Total", "Sittings unknown")
    return optional(caption, head, rows)


def amounts(figure: CostFigure) -> tuple[Cell, ...]:
    """Return the cells of one kind of cost."""
    return (
        shown(figure.mean, number, ""),
        *(Cell(number(value or 0.0)) for value in (figure.median, figure.most, figure.total)),
        Cell(str(figure.unknown)),
    )


def compared(comparisons: Sequence[Comparison], caption: str) -> Table | None:
    """Return the paired comparisons."""
    rows = [
        (
            Cell(f"{each.first} against {each.second}", each.task),
            difference(each),
            Cell(p_value(each.p)),
            Cell(p_value(each.adjusted_p)),
            Cell(each.words),
        )
        for each in comparisons
    ]
    return optional(caption, ("Investigators", "Difference", "p", "p after Holm", "Verdict"), rows)


def difference(each: Comparison) -> Cell:
    """Return a paired difference; in the task's own unit, which for `identify` is a share."""
    found = Estimate(
        value=each.difference,
        interval=each.interval,
        n=sum(each.sittings),
        specimens=each.specimens,
        note=each.note,
    )
    return shown(found, lambda share: number(round(share, 3)), "")


def troubles(found: Sequence[Trouble], what: str, caption: str) -> Table | None:
    """Return sittings with something that a reader has to know of each."""
    rows = [
        (
            Cell(each.sitting.name),
            Cell(each.sitting.investigator),
            Cell(each.family),
            Cell(each.what),
        )
        for each in found
    ]
    return optional(caption, ("Sitting", "Investigator", "Family", what), rows)


def planned(board: Board) -> Table | None:
    """Return what the plan said it could show."""
    rows = [(Cell(name), Cell(number(value))) for name, value in sorted(board.detectable.items())]
    caption = "Written before the first run: the smallest difference that each comparison can show (80 % power, 0.05)."
    return optional(caption, ("Comparison", "Smallest difference"), rows)
