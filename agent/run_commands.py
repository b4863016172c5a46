"""The commands on finished runs: report, verify, rerun, replicate, diff, review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.options import AsJson, Cassette, Judges, RunPath
from agent.run_folder import RunError
from agent.terminal import VERIFY_FAILED, Steps, faults_told, put, put_json, say

if TYPE_CHECKING:
    from agent.agreement import Agreement


def report(run_path: RunPath, as_json: AsJson = False) -> None:
    """Write the report of a run again, or those of a set, and print its findings."""
    from agent import independent as sets
    from agent import session

    with faults_told():
        if sets.is_set(run_path):
            run_path = sets.report_set(run_path)
        else:
            session.write_report(run_path)
    session.announce(run_path, as_json)


def verify(run_path: RunPath, as_json: AsJson = False) -> None:
    """Recompute every statistic of a run from its stored outputs, without a model."""
    from agent import independent as sets
    from agent.verify import verify as check

    with faults_told():
        result = sets.verify_set(run_path) if sets.is_set(run_path) else check(run_path)
    if as_json:
        put_json(result.model_dump(mode="json"))
    else:
        for fault in result.faults:
            put(f"{fault.where}: {fault.what}")
        for note in result.notes:
            put(f"note: {note}")
        put(
            f"{len(result.faults)} faults"
            if result.faults
            else "verified: every number follows from the stored outputs (`rerun` shows whether these are the model's)"
        )
    if result.faults:
        raise typer.Exit(VERIFY_FAILED)


def rerun(
    run_path: RunPath,
    only: Annotated[
        list[str] | None, typer.Option(help="Run this experiment only, as exp:4; may be repeated.")
    ] = None,
    judge: Judges = None,
    cassette: Cassette = None,
    as_json: AsJson = False,
) -> None:
    """Run the experiments of a run again on the model, and compare outputs, numbers and verdicts.

    On the machine of the record nothing may differ. Elsewhere an output may where rounding explains it.
    Judged outputs keep their stored labels where they are the same as then, unless --judge is given.
    """
    from agent import session
    from agent.case import Limits
    from agent.cast import Provider, make_panel, seat
    from agent.rerun import rerun as again

    steps = Steps()
    with faults_told():
        numbers = [number_of(each) for each in only or ()]
        panel = make_panel(judge or (), Limits(), Provider(cassette=cassette))
        start = session.Start(on_progress=steps, ask_again=True)
        worker = session.worker_again(run_path, start)
        seat(panel, worker)

        def told(found: Agreement) -> None:
            steps.close()
            for line in found.lines():
                (say if as_json else put)(line)

        try:
            result = again(
                run_path,
                worker,
                only=numbers,
                on_start=lambda done, count, entry: steps.begin(
                    done, count, f"exp:{entry.number} {entry.tool}"
                ),
                on_end=told,
            )
        finally:
            steps.close()
            worker.close()
    if as_json:
        put_json(result.model_dump(mode="json"))
    else:
        for line in result.ending():
            put(line)
    if not result.agrees:
        raise typer.Exit(VERIFY_FAILED)


def number_of(name: str) -> int:
    """Return the number of an experiment named as `exp:4`, or by the number alone."""
    number = name.removeprefix("exp:")
    if not number.isdecimal():
        raise RunError(f"--only {name}: name an experiment as exp:4")
    return int(number)


def replicate(
    run_path: RunPath,
    finding: Annotated[str, typer.Argument(help="A finding with a verdict, such as P1.")],
    judge: Judges = None,
    cassette: Cassette = None,
    as_json: AsJson = False,
) -> None:
    """Test one finding once more, with a fresh seed, on the templates held in reserve."""
    from agent import session
    from agent.case import Limits
    from agent.cast import Provider, Roles, make_panel, same_roles, seat
    from agent.opening import resume_run
    from agent.rerun import replicate as once_more
    from agent.statements import bounds, effect_words

    with faults_told():
        names = same_roles(run_path, Roles(judges=tuple(judge or ()))).judges
        panel = make_panel(names, Limits(), Provider(cassette=cassette))
        worker = session.worker_again(run_path)
        seat(panel, worker)
        try:
            investigation = resume_run(run_path, worker)
            if panel is not None:
                investigation.costs = panel.costs
            try:
                verdict = once_more(investigation, finding)
            finally:
                investigation.folder.close()
        finally:
            worker.close()
    if as_json:
        put_json(verdict.model_dump(mode="json"))
    else:
        prediction = investigation.registrations[finding].prediction
        seen = "too little could be scored"
        if verdict.estimate is not None:
            seen = f"{effect_words(prediction, verdict)} ({bounds(prediction, verdict)})"
        put(f"{finding}: {verdict.status}; {seen}, {verdict.clusters} templates")


def diff(
    first: RunPath,
    second: Annotated[Path, typer.Argument(help="The run that it is compared with.")],
    as_json: AsJson = False,
) -> None:
    """Compare two runs: case, models, code, registrations, verdicts, effects."""
    from agent.review.comparison import compare, lines_of
    from agent.review.opened import Opened

    with faults_told():
        found = compare(Opened(first).side, Opened(second).side)
    if as_json:
        put_json(found.model_dump(mode="json"))
        return
    for line in lines_of(found):
        put(line)


def review(
    runs: Annotated[Path, typer.Argument(help="A folder of runs, or one run.")] = Path("runs"),
    reviewer: Annotated[
        str | None, typer.Option(help="Who reviews; your login name if not given.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    export: Annotated[
        str | None, typer.Option(help="Print all reviews as 'csv' or 'json', and stop.")
    ] = None,
) -> None:
    """Show runs on a page of this machine; accept, reject or comment each finding."""
    from agent.review.desk import exported, open_desk

    with faults_told():
        if export is not None:
            put(exported(runs, export))
            return
        desk = open_desk(runs, reviewer)
        from agent.review.server import serve

        say(f"reviewing as {desk.reviewer}; stop with Ctrl-C")
        serve(desk, port, put)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (report, verify, rerun, replicate, diff, review):
        app.command()(command)
