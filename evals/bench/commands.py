"""The benchmark's commands: `naturalist bench run | sitting | read | report | sit`."""

from __future__ import annotations

import os
import time
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from agent.options import AsJson, BaseUrl, Cassette, KeyEnv, PriceFile
from agent.terminal import (
    CONFIGURATION,
    RESOURCES,
    USAGE,
    fail,
    faults_told,
    put,
    put_json,
    say,
)

bench = typer.Typer(
    help="Examine investigators before models whose hidden knowledge is known.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Kind = TypeVar("Kind", bound=Enum)
PERSON = "person"
Out = Annotated[Path, typer.Option(help="The exam's folder; a second start goes on with it.")]
OutArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The exam's folder.")]
ReaderModel = Annotated[
    str | None,
    typer.Option(
        "--reader",
        metavar="MODEL[@URL]",
        help="Reads reports and forecasts from them, for the task 'explain'.",
        show_default=False,
    ),
]
Suite = Annotated[
    str, typer.Argument(help="smoke, menagerie, fresh, drill, folder:DIR, or published:GROUP.")
]
Who = Annotated[
    list[str] | None,
    typer.Option(
        "--investigator", help="Sits before everything; repeatable. A baseline's name, or a model."
    ),
]


@bench.command("run")
def run(
    suite: Suite,
    out: Out = Path("exam"),
    investigator: Who = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="Sits before a fixed part of the suite; repeatable; 'all' for all."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Sittings before each organism.")] = 1,
    null_runs: Annotated[
        int | None, typer.Option(min=0, help="Runs on nulls for each investigator.")
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            help="What may be compared with: base, 'wrong base' or none; repeatable, reported apart."
        ),
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Sittings side by side.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Models held at a time, each shared by some of the processes; as many as processes.",
        ),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(min=0, help="Begin nothing new after so long.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="'slurm' or 'local': submit each sitting as a job."),
    ] = None,
    developing: Annotated[
        bool,
        typer.Option(
            "--developing",
            help="Leave out the families that are kept from the systematic investigator's development.",
        ),
    ] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Write the plan and stop.")] = False,
    reader: ReaderModel = None,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    prices: PriceFile = None,
) -> None:
    """Plan an exam and run what is left of it; unattended, resumable, joined by files."""
    from evals.bench import drivers
    from evals.bench.investigators import investigator as known
    from evals.bench.investigators import programs
    from evals.bench.plan import Wanted, plan_exam, usual_null_runs
    from evals.bench.pool import Exam, run_here
    from evals.bench.published import check_hub
    from evals.bench.records import ReferenceTrack
    from evals.bench.suites import SuiteError

    everything = tuple(investigator or ("systematic",))
    chosen = tuple(programs()) if baseline == ["all"] else tuple(baseline or ())
    chosen = tuple(name for name in chosen if name not in everything)
    with faults_told():
        try:
            for name in (*everything, *chosen):
                known(name)
            check_given(reader, prices, cluster)
            wanted = Wanted(
                everything=everything,
                subset=chosen,
                seeds=seeds,
                null_runs=usual_null_runs(suite) if null_runs is None else null_runs,
                tracks=tuple(
                    chosen_of(ReferenceTrack, "track", each) for each in track or ("base",)
                ),
                developing=developing,
            )
            plan = plan_exam(suite, out, wanted)
        except (SuiteError, ValueError) as error:
            fail(USAGE, str(error))
    waiting = drivers.left(out, plan)
    say(f"{out}: {len(plan.sittings)} sittings, {len(waiting)} left")
    for pair, smallest in plan.detectable.items():
        say(f"smallest difference in recall that can be shown, {pair}: {smallest:.2f}")
    if plan_only:
        return
    options = [
        *(["--reader", reader] if reader else []),
        *(["--base-url", base_url] if base_url else []),
        *(["--key-env", key_env] if key_env else []),
        *(["--prices", str(prices)] if prices else []),
    ]
    if cluster is not None:
        try:
            kind = None if cluster == "slurm" else cluster
            jobs = drivers.submit(out, plan, kind, {"timeout_min": 240}, options)
        except ImportError:
            fail(CONFIGURATION, "--cluster needs submitit: pip install -e '.[slurm]'")
        say(f"{len(jobs)} jobs submitted; `naturalist bench report {out}` joins what they leave")
        return
    with faults_told():
        check_hub(suite)
    until = time.time() + 3600 * hours if hours is not None else float("inf")
    exam = Exam(out, plan, until, tuple(options), say)
    failed = run_here(exam, processes or os.cpu_count() or 1, workers)
    if failed:
        fail(RESOURCES, f"{failed} sittings have no result; run the same command again to go on")
    say(f"all done: naturalist bench report {out}")


def check_given(reader: str | None, prices: Path | None, cluster: str | None) -> None:
    """Tell what every sitting would fail on once, before the first."""
    from agent.case import Limits
    from agent.cast import Provider, role_model
    from agent.llm.prices import Prices

    if cluster not in (None, "slurm", "local"):
        fail(USAGE, f"--cluster {cluster!r} is not known; it is slurm or local")
    Prices.load(prices)
    if reader == PERSON:
        fail(
            USAGE,
            "--reader person: nobody sits at a terminal here; then: naturalist bench read DIR",
        )
    if cluster is None:
        # A key may be where the jobs run, and not here.
        role_model("reader", reader, Limits(), Provider(prices=prices))


def chosen_of(kind: type[Kind], what: str, given: str) -> Kind:
    """Return what is called so; raise `ToolError` for a name that there is not."""
    from tools.registry import ToolError, unknown

    names = [each.value for each in kind]
    if given not in names:
        raise ToolError(f"--{what}: {unknown(what, given, names)}")
    return kind(given)


@bench.command("sitting")
def sitting_command(
    out: OutArgument,
    name: Annotated[str, typer.Argument(help="The sitting's name in the plan.")],
    reader: ReaderModel = None,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    cassette: Cassette = None,
    prices: PriceFile = None,
    worker: Annotated[
        Path | None,
        typer.Option(
            metavar="SOCKET", help="Where a worker serves that holds the sitting's models."
        ),
    ] = None,
) -> None:
    """Run and grade one sitting of a plan, or go on with it; what a driver starts."""
    from agent.case import Limits
    from agent.cast import Provider, role_model
    from evals.bench import drivers
    from evals.bench.plan import PLAN, read_plan
    from evals.bench.readers import Reader
    from evals.bench.sitting import sit
    from tools.registry import unknown

    with faults_told():
        if not (out / PLAN).exists():
            fail(USAGE, f"{out}: no exam is planned there; see `naturalist bench run`")
        plan = read_plan(out)
        found = {each.name: each for each in plan.sittings}
        if name not in found:
            fail(USAGE, unknown("sitting", name, list(found)))
        provider = Provider(base_url=base_url, key_env=key_env, cassette=cassette, prices=prices)
        with drivers.taken(out, found[name]) as ours:
            if not ours:
                say(f"{name}: somebody else is at it")
                return
            model = role_model("reader", reader, Limits(), provider)
            reads = Reader(*model) if model else None
            result = sit(out, plan, found[name], provider, reads, worker)
    say(f"{name}: {result.error or 'done'}")


@bench.command("read")
def read_command(
    out: OutArgument,
    reader: Annotated[
        str,
        typer.Option(metavar="MODEL[@URL]", help="Who reads: you at this terminal, or a model."),
    ] = PERSON,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    prices: PriceFile = None,
) -> None:
    """Put the reports that no reader has seen before one, for the task 'explain'; resumable."""
    from agent.case import Limits
    from agent.cast import Provider, role_model
    from evals.bench.plan import read_plan
    from evals.bench.readers import PersonReader, Reader
    from evals.bench.reading import read, unread

    with faults_told():
        plan = read_plan(out)
        say(f"{out}: {len(unread(out))} reports that nobody has read")
        provider = Provider(base_url=base_url, key_env=key_env, prices=prices)
        model = None if reader == PERSON else role_model("reader", reader, Limits(), provider)
        for result in read(out, plan, Reader(*model) if model else PersonReader()):
            score = result.scores["explain"]
            told = score.unscored if score.value is None else f"{score.value:+.2f} nats a prompt"
            say(f"{result.sitting.name}: {told}")


@bench.command("report")
def report(
    out: OutArgument,
    against: Annotated[
        str | None,
        typer.Option(help="Compare this investigator with each other, instead of all pairs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Join what is finished into a table: JSON, Markdown, and one HTML page."""
    from evals.bench.page import board, write_board

    with faults_told():
        found = board(out, against=against)
        folder = write_board(out, found)
    if as_json:
        put_json(found.model_dump(mode="json"))
        return
    put((folder / "board.md").read_text(encoding="utf-8"))
    say(f"page: {folder / 'board.html'}")


@bench.command("sit")
def sit_yourself(
    suite: Suite,
    out: Out = Path("exam"),
    number: Annotated[int, typer.Option(min=1, help="Which of the suite's specimens.")] = 1,
) -> None:
    """Sit the exam yourself, at this terminal, with the tools that every investigator has."""
    from evals.bench.plan import Wanted, plan_exam
    from evals.bench.records import Sitting
    from evals.bench.sitting import sit
    from evals.bench.suites import SuiteError

    with faults_told():
        try:
            plan = plan_exam(suite, out, Wanted())
        except SuiteError as error:
            fail(USAGE, str(error))
        handles = sorted(each.handle for each in plan.specimens)
        if number > len(handles):
            fail(USAGE, f"--number: {suite} has {len(handles)} specimens")
        sitting = Sitting(specimen=handles[number - 1], investigator="person", seed=1)
        if sitting not in plan.sittings:
            plan = plan.model_copy(update={"sittings": (*plan.sittings, sitting)})
        result = sit(out, plan, sitting)
    if result.error:
        fail(RESOURCES, result.error)
    for name, score in result.scores.items():
        told = score.unscored if score.value is None else f"{score.value:.2f}"
        put(f"{name:12} {told}")
