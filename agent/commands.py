"""The commands around an investigation: investigate, resume, report, verify, rerun, replicate, diff, review, ..."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.terminal import (
    EXIT_CODES,
    RESOURCES,
    USAGE,
    VERIFY_FAILED,
    fail,
    faults_told,
    put,
    put_json,
    say,
)

app = typer.Typer(
    help="Investigate the behaviour of a language model; every finding is tested on unseen prompts. "
    + EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RunPath = Annotated[
    Path, typer.Argument(help="A run folder, such as runs/20261123-101500-numbers.")
]
BaseUrl = Annotated[
    str | None, typer.Option(help="Where the investigating model's server is.", show_default=False)
]
Cassette = Annotated[
    Path | None,
    typer.Option(help="Keep the model's replies in this file, and take from it what it holds."),
]
PriceFile = Annotated[
    Path | None, typer.Option(help="TOML with dollars per million tokens: input, output, ...")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]


@app.command()
def investigate(
    case_file: Annotated[
        Path, typer.Argument(metavar="CASE.toml", help="The case; see evals/cases/.")
    ],
    subject: Annotated[
        str | None, typer.Option(help="Model folder or hub id, instead of the case's.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Reference model; 'none' for none.")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="PEFT adapter of the subject; 'none' for none.")
    ] = None,
    investigator: Annotated[
        str,
        typer.Option(
            help="'systematic', 'scripted:FILE.json', or a model: anthropic/M, openai/M, openai-chat/M."
        ),
    ] = "systematic",
    seed: Annotated[int, typer.Option(help="All randomness comes from it.")] = 0,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Stop and report after so many minutes.")
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="Stop and report after so many tokens of the model.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="Stop and report after so many dollars for the model.")
    ] = None,
    base_url: BaseUrl = None,
    cassette: Cassette = None,
    prices: PriceFile = None,
    writer: Annotated[
        str | None, typer.Option(help="Model that writes fresh prompts and sees no hypothesis.")
    ] = None,
    sceptic: Annotated[
        str | None, typer.Option(help="Model that may only register counter-experiments.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where the run folder is made.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Investigate a case and leave a report of validated findings."""
    from agent import session

    with faults_told():
        limits = {"minutes": budget_minutes, "tokens": budget_tokens, "dollars": budget_usd}
        case = session.changed_case(case_file, subject, reference, adapter, limits)
        provider = session.Provider(base_url=base_url, cassette=cassette, prices=prices)
        chosen = session.make_investigator(investigator, case.limits, provider)
        roles = session.Roles(writer=writer, sceptic=sceptic)
        for role, name in roles.named().items():
            session.role_model(role, name, provider)
        if dry_run:
            planned = session.plan(case, chosen, roles)
            put_json(planned) if as_json else put(
                "\n".join(f"{k}: {v}" for k, v in planned.items())
            )
            return
        path = session.new_run_path(runs, case.name)
        session.check_disk(path)
    say(f"run: {path}")
    session.drive_new(path, case, chosen, seed, roles, provider)
    session.announce(path, as_json)


@app.command()
def resume(
    run_path: RunPath,
    accept_code_change: Annotated[
        bool,
        typer.Option("--accept-code-change", help="Go on although the tools' code has changed."),
    ] = False,
    base_url: BaseUrl = None,
    cassette: Cassette = None,
    prices: PriceFile = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped anywhere; nothing that was completed is done again."""
    from agent import session
    from agent.opening import opened_event, resume_run, stored_case
    from agent.run_folder import RunFolder

    with faults_told(str(run_path)):
        case = stored_case(run_path)
        name = opened_event(RunFolder(run_path))["investigator"]
        provider = session.Provider(base_url=base_url, cassette=cassette, prices=prices)
        chosen = session.make_investigator(name, case.limits, provider)
        worker = session.start_worker(case, run_path)
        try:
            opened = resume_run(run_path, worker, accept_code_change=accept_code_change)
            session.drive(opened, chosen, provider)
        finally:
            worker.close()
    session.announce(run_path, as_json)


@app.command()
def report(run_path: RunPath, as_json: AsJson = False) -> None:
    """Write the report of a run again, and print its findings."""
    from agent import session

    with faults_told():
        session.write_report(run_path)
    session.announce(run_path, as_json)


@app.command()
def verify(run_path: RunPath, as_json: AsJson = False) -> None:
    """Recompute every statistic of a run from its stored outputs, without a model."""
    from agent.verify import verify as check

    with faults_told():
        result = check(run_path)
    if as_json:
        put_json(result.model_dump(mode="json"))
    else:
        for fault in result.faults:
            put(f"{fault.where}: {fault.what}")
        put(
            f"{len(result.faults)} faults"
            if result.faults
            else "verified: every number follows from the stored outputs"
        )
    if result.faults:
        raise typer.Exit(VERIFY_FAILED)


@app.command()
def rerun(run_path: RunPath, as_json: AsJson = False) -> None:
    """Run the confirmations of a run again on the model, and compare outputs and verdicts."""
    from agent import session
    from agent.opening import stored_case
    from agent.rerun import rerun as again

    with faults_told():
        worker = session.start_worker(stored_case(run_path), run_path)
        try:
            result = again(run_path, worker)
        finally:
            worker.close()
    if as_json:
        put_json(result.model_dump(mode="json"))
    else:
        for line in result.lines():
            put(line)
    if not result.agrees:
        raise typer.Exit(VERIFY_FAILED)


@app.command()
def replicate(
    run_path: RunPath,
    finding: Annotated[str, typer.Argument(help="A finding with a verdict, such as P1.")],
    as_json: AsJson = False,
) -> None:
    """Test one finding once more, with a fresh seed, on the templates held in reserve."""
    from agent import session
    from agent.opening import resume_run, stored_case
    from agent.rerun import replicate as once_more

    with faults_told():
        worker = session.start_worker(stored_case(run_path), run_path)
        try:
            investigation = resume_run(run_path, worker)
            try:
                verdict = once_more(investigation, finding)
            finally:
                investigation.folder.close()
        finally:
            worker.close()
    if as_json:
        put_json(verdict.model_dump(mode="json"))
    else:
        low, high = verdict.interval or (float("nan"), float("nan"))
        put(
            f"{finding}: {verdict.status}; {verdict.estimate} ({low:.3g} to {high:.3g}), {verdict.clusters} templates"
        )


@app.command()
def diff(
    first: RunPath,
    second: Annotated[Path, typer.Argument(help="The run that it is compared with.")],
    as_json: AsJson = False,
) -> None:
    """Compare two runs: case, models, code, registrations, verdicts, effects."""
    from agent.comparison import compare, lines_of
    from agent.opening import read_run

    with faults_told():
        found = compare(read_run(first), read_run(second))
    if as_json:
        put_json(found.model_dump(mode="json"))
        return
    for line in lines_of(found):
        put(line)


@app.command()
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
    from agent.review_desk import exported, open_desk

    with faults_told():
        if export is not None:
            put(exported(runs, export))
            return
        desk = open_desk(runs, reviewer)
        from agent.review_server import serve

        say(f"reviewing as {desk.reviewer}; stop with Ctrl-C")
        serve(desk, port, put)


@app.command()
def tools(
    name: Annotated[
        str | None, typer.Argument(help="One tool's text and schema; all are listed without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the tools, or show one tool's text and JSON schema."""
    from agent.house_tools import HOUSE_TOOLS
    from tools.catalogue import TOOLS
    from tools.registry import find_tool

    every = [tool for tool in (*TOOLS, *HOUSE_TOOLS) if tool.for_investigator]
    if name is None:
        if as_json:
            put_json([tool.entry() for tool in every])
        else:
            for tool in every:
                put(f"{tool.name:22} {tool.description.splitlines()[0]}")
        return
    with faults_told():
        found = find_tool(every, name)
    put_json(found.entry()) if as_json else put(f"{found.name}\n\n{found.description}\n")
    if not as_json:
        put_json(found.entry()["schema"])


@app.command()
def call(
    tool: Annotated[str, typer.Argument(help="A tool's name; see `naturalist tools`.")],
    subject: Annotated[str, typer.Option(help="Model folder or hub id.")],
    args: Annotated[str, typer.Option(help="The arguments as JSON, or @FILE.")] = "{}",
    reference: Annotated[str | None, typer.Option(help="Reference model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="PEFT adapter of the subject.")] = None,
    seed: Annotated[int, typer.Option(help="All randomness comes from it.")] = 0,
    out: Annotated[Path, typer.Option(help="Where blobs are written.")] = Path("runs/calls"),
) -> None:
    """Call one tool on a model and print its result as JSON."""
    import json

    from agent import session
    from agent.case import Case

    with faults_told():
        try:
            text = Path(args[1:]).read_text(encoding="utf-8") if args.startswith("@") else args
            arguments = json.loads(text)
        except (OSError, UnicodeDecodeError) as error:
            fail(USAGE, f"--args: {args[1:]} cannot be read: {error}")
        except json.JSONDecodeError as error:
            fail(USAGE, f"--args is not JSON: {error}")
        if not isinstance(arguments, dict):
            fail(USAGE, '--args must be a JSON object, such as \'{"items": ["Hello"]}\'')
        case = Case.model_validate(
            {
                "name": "call",
                "behaviour": "",
                "kind": "open",
                "subject": {"model": subject, "adapter": adapter},
                "reference": {"model": reference} if reference else None,
                "prompts": ["x"],
            }
        )
        worker = session.start_worker(case, out)
        try:
            done = worker.call(tool, arguments, seed)
        finally:
            worker.close()
    if done.error is not None:
        fail(USAGE if done.error_kind == "investigator" else RESOURCES, done.error)
    put_json(done.result)


@app.command()
def doctor(runs: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs")) -> None:
    """Check this machine: Python, torch, disk, keys, models, workers that outlived their parent."""
    from agent.doctor import findings_of

    worst = 0
    for state, line, code in findings_of(runs):
        put(f"{state:5} {line}")
        worst = max(worst, code)
    if worst:
        raise typer.Exit(worst)
