"""The table of the evidence, with intervals, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.cells import BuildKey, Cell, CellResult, build_key
from evals.organisms.registry import developed_on
from tools import statistics as stats


def write_table(
    path: Path,
    planned: Sequence[Cell],
    results: Sequence[CellResult],
    missed: Mapping[BuildKey, str],
    rates: Mapping[str, Mapping[str, Any]],
    unfinished: Sequence[str] = (),
) -> None:
    """Write the table; every line says on how many runs it stands.

    A build that missed its gates is not investigated, and counts as one in which nothing was found.
    """
    lines = [
        "# Evidence",
        "",
        "Written by `make evidence`: organisms built from seeds drawn at run time, investigated by the systematic",
        "investigator, graded against their executable truth. Intervals are 95 % Clopper-Pearson over runs.",
        "",
        *coverage_lines(planned, results, missed),
        "",
        "| family | runs | planted cause supported | builds with it in a run | builds that missed their gates "
        "| answer right | false supported |",
        "|---|---|---|---|---|---|---|",
    ]
    graded = [result for result in results if result.grade is not None]
    organisms = [result for result in graded if result.cell.kind == "organism"]
    for family in developed_on():
        own = [r for r in organisms if r.cell.family == family]
        lines.append(organism_line(family, own, missed_of(missed, family)))
    lines.append(organism_line("all", organisms, missed_of(missed, *developed_on())))
    lines += [
        "",
        "| no secret | runs | registrations a run | runs with anything false supported | runs with anything supported "
        "| says something is hidden |",
        "|---|---|---|---|---|---|",
    ]
    for kind in ("null", "benign"):
        lines.append(null_line(kind, [r for r in graded if r.cell.kind == kind]))
    lines.append(null_line("both", [r for r in graded if r.cell.kind != "organism"]))
    for kind, found in rates.items():
        lines += ["", *rate_lines(kind, found)]
    lines += ["", *cost_lines(results)]
    lines += [
        "",
        *[
            f"- not run, the build missed its gates: {key[0]} ({key[1]}): {why}"
            for key, why in missed.items()
        ],
    ]
    lines += [f"- missed its gates and not trained again yet: {told}" for told in unfinished]
    failed = [result for result in results if result.grade is None]
    lines += [
        f"- failed: {result.cell.family} ({result.cell.kind}): {result.error}" for result in failed
    ]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def coverage_lines(
    planned: Sequence[Cell], results: Sequence[CellResult], missed: Mapping[BuildKey, str]
) -> list[str]:
    """Say how much of the plan was run, where that is not all."""
    done = {result.cell.name for result in results}
    left = [cell for cell in planned if cell.name not in done and build_key(cell) not in missed]
    if not left:
        return []
    return [
        f"Of {len(planned)} planned runs {len(left)} were not begun: the time was up. "
        f"They are of {len({build_key(cell) for cell in left})} builds."
    ]


def missed_of(missed: Mapping[BuildKey, str], *families: str) -> int:
    """Return how many organisms of some families missed their gates."""
    return sum(family in families and kind == "organism" for family, kind, _ in missed)


def organism_line(name: str, results: Sequence[CellResult], missed: int) -> str:
    """Return one family's line."""
    grades = [result.grade for result in results if result.grade is not None]
    # The same seeds serve all families.
    builds = {build_key(result.cell) for result in results}
    found = {
        build_key(result.cell)
        for result in results
        if result.grade and result.grade.planted_supported
    }
    planted = share(g.planted_supported for g in grades)
    return (
        f"| {name} | {len(grades)} | {planted} | {len(found)} of {len(builds) + missed} "
        f"| {missed} | {share(g.answer_right for g in grades)} | {share(g.false > 0 for g in grades)} |"
    )


def null_line(name: str, results: Sequence[CellResult]) -> str:
    """Return the line of one kind of null."""
    grades = [result.grade for result in results if result.grade is not None]
    made = [grade.registrations for grade in grades]
    mean = f"{sum(made) / len(made):.1f} (least {min(made)})" if made else "-"
    return (
        f"| {name} | {len(grades)} | {mean} | {share(g.false > 0 for g in grades)} "
        f"| {share(g.supported > 0 for g in grades)} | {share(g.says_hidden for g in grades)} |"
    )


def share(outcomes: Iterable[bool]) -> str:
    """Return a share with its interval."""
    values = [bool(outcome) for outcome in outcomes]
    if not values:
        return "-"
    low, high = stats.clopper_pearson_interval(sum(values), len(values))
    return f"{sum(values)} of {len(values)} ({low:.2f} to {high:.2f})"


def rate_lines(kind: str, rates: Mapping[str, Any]) -> list[str]:
    """Return what the true-null registrations on the synthetic subject came to."""
    lines: list[str] = []
    for name, label in (
        ("rejected", "the registered test rejects in"),
        ("supported", "a statement is supported in"),
    ):
        low, high = stats.clopper_pearson_interval(rates[name], rates["runs"])
        lines.append(
            f"- True-null registrations on the synthetic subject ({kind}), {rates['registrations']} a run: {label} "
            f"{rates[name]} of {rates['runs']} runs: {rates[name] / rates['runs']:.3f} ({low:.3f} to {high:.3f})."
        )
    return lines


def cost_lines(results: Sequence[CellResult]) -> list[str]:
    """Return what a run costs."""
    cpu = sorted(result.cpu_seconds for result in results if result.error is None)
    if not cpu:
        return []
    return [
        f"- CPU seconds a run: median {cpu[len(cpu) // 2]:.0f}, most {cpu[-1]:.0f}, over {len(cpu)} runs."
    ]
