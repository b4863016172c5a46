"""The commands that start something: investigate, resume, tools, call, doctor."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from agent.options import (
    AsJson,
    BaseUrl,
    Cassette,
    Judges,
    KeyEnv,
    OwnTools,
    PriceFile,
    RetryMinutes,
    RunPath,
    Sceptic,
    SubjectKeyEnv,
    SubjectUrl,
    Writer,
)
from agent.terminal import (
    EXIT_CODES,
    RESOURCES,
    USAGE,
    ToldGroup,
    fail,
    faults_told,
    put,
    put_json,
    say,
)

app = typer.Typer(
    cls=ToldGroup,
    help="Investigate the behaviour of a language model; every finding is tested on unseen prompts. "
    + EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def investigate(
    case_file: Annotated[
        Path, typer.Argument(metavar="CASE.toml", help="The case; see evals/cases/.")
    ],
    subject: Annotated[
        str | None,
        typer.Option(help="Model folder, hub id or api:PROVIDER/MODEL, instead of the case's."),
    ] = None,
    subject_url: SubjectUrl = None,
    subject_key_env: SubjectKeyEnv = None,
    reference: Annotated[str | None, typer.Option(help="Reference model; 'none' for none.")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="PEFT adapter of the subject; 'none' for none.")
    ] = None,
    investigator: Annotated[
        str,
        typer.Option(
            help="'systematic', 'person' (you), 'scripted:FILE.json', 'python:FILE.py:NAME', or a model: "
            "anthropic/M, openai/M, openai-chat/M."
        ),
    ] = "systematic",
    seed: Annotated[int, typer.Option(help="All randomness comes from it.")] = 0,
    independent: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=99,
            help="So many investigations apart, each with the budgets; what they find is confirmed anew.",
        ),
    ] = None,
    fresh_alpha: Annotated[
        bool,
        typer.Option(
            "--fresh-alpha",
            help="Do not share the error rate with earlier runs of this case on this subject.",
        ),
    ] = False,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Stop and report after so many minutes.")
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="Stop and report after so many tokens of the model.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="Stop and report after so many dollars for the model.")
    ] = None,
    budget_tool_seconds: Annotated[
        float | None, typer.Option(help="Stop and report after so many seconds of tools.")
    ] = None,
    budget_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Stop and report after so many turns of the investigator."),
    ] = None,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    cassette: Cassette = None,
    prices: PriceFile = None,
    retry_minutes: RetryMinutes = 60,
    writer: Writer = None,
    sceptic: Sceptic = None,
    judge: Judges = None,
    own_tools: OwnTools = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="TOOL", help="Let the investigator go without this tool; repeatable."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where the run folder is made.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Investigate a case and leave a report of validated findings."""
    from agent import independent as sets
    from agent import session
    from agent.cast import Provider, Roles, make_cast, refuse_idle

    with faults_told():
        limits = {
            "minutes": budget_minutes,
            "tokens": budget_tokens,
            "dollars": budget_usd,
            "tool_seconds": budget_tool_seconds,
            "steps": budget_steps,
        }
        models = session.Models(
            subject=subject,
            reference=reference,
            adapter=adapter,
            url=subject_url,
            key_env=subject_key_env,
        )
        case = session.changed_case(case_file, models, limits, without or ())
        if investigator == "aggregator":
            fail(
                USAGE,
                "the aggregator reads independent runs: give --independent N and what runs them",
            )
        provider = Provider(
            base_url=base_url,
            key_env=key_env,
            cassette=cassette,
            prices=prices,
            retry_minutes=retry_minutes,
        )
        roles = Roles(writer=writer, sceptic=sceptic, judges=tuple(judge or ()))
        cast = make_cast(investigator, case, roles, provider)
        refuse_idle(investigator, roles, provider)
        together = independent and sets.SetPlan(
            case=case,
            investigator=investigator,
            roles=roles.named(),
            independent=independent,
            seed=seed,
            fresh=fresh_alpha,
        )
        if together:
            sets.check_templates(together)
        if dry_run:
            planned = (
                sets.plan_in_words(together, cast, prices)
                if together
                else session.plan(case, cast, prices)
            )
            put_json(planned) if as_json else put(
                "\n".join(f"{k}: {v}" for k, v in planned.items())
            )
            return
        files = session.tool_files(own_tools or ())
        path = session.new_run_path(runs, case.name)
        session.check_disk(path)
    say(f"run: {path}")
    if together:
        sets.start_set(path, together, roles, provider)
        session.announce(path / sets.AGGREGATE, as_json)
        return
    opening = session.Opening(
        seed=seed,
        tools=files,
        prices=prices,
        circumstances=partial(session.counted, runs, case, fresh=fresh_alpha),
    )
    session.drive_new(path, case, cast, opening)
    session.announce(path, as_json)


@app.command()
def resume(
    run_path: RunPath,
    accept_code_change: Annotated[
        bool,
        typer.Option("--accept-code-change", help="Go on although the tools' code has changed."),
    ] = False,
    base_url: BaseUrl = None,
    key_env: KeyEnv = None,
    cassette: Cassette = None,
    prices: PriceFile = None,
    retry_minutes: RetryMinutes = 60,
    writer: Writer = None,
    sceptic: Sceptic = None,
    judge: Judges = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run, or a set of runs, that was stopped anywhere; nothing completed is done again."""
    from agent import independent as sets
    from agent import session
    from agent.cast import Provider, Roles

    provider = Provider(
        base_url=base_url,
        key_env=key_env,
        cassette=cassette,
        prices=prices,
        retry_minutes=retry_minutes,
    )
    given = Roles(writer=writer, sceptic=sceptic, judges=tuple(judge or ()))
    if sets.is_set(run_path):
        sets.drive_set(run_path, given, provider, accept_code_change=accept_code_change)
        session.announce(run_path / sets.AGGREGATE, as_json)
        return
    session.drive_old(run_path, given, provider, accept_code_change=accept_code_change)
    session.announce(run_path, as_json)


@app.command()
def tools(
    name: Annotated[
        str | None, typer.Argument(help="One tool's text and schema; all are listed without it.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="All of them, as a page for a language model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the tools, or show one tool's text and JSON schema."""
    from agent.doors.tool_page import tools_page
    from agent.house_tools import HOUSE_TOOLS
    from tools.catalogue import TOOLS
    from tools.registry import find_tool

    every = [tool for tool in (*TOOLS, *HOUSE_TOOLS) if tool.for_investigator]
    if markdown:
        with faults_told():
            put(tools_page(every if name is None else [find_tool(every, name)]))
        return
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
    subject: Annotated[str, typer.Option(help="Model folder, hub id or api:PROVIDER/MODEL.")],
    args: Annotated[str, typer.Option(help="The arguments as JSON, or @FILE.")] = "{}",
    reference: Annotated[str | None, typer.Option(help="Reference model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="PEFT adapter of the subject.")] = None,
    subject_url: SubjectUrl = None,
    subject_key_env: SubjectKeyEnv = None,
    seed: Annotated[int, typer.Option(help="All randomness comes from it.")] = 0,
    judge: Judges = None,
    own_tools: OwnTools = None,
    out: Annotated[Path, typer.Option(help="Where blobs are written.")] = Path("runs/calls"),
) -> None:
    """Call one tool on a model and print its result as JSON."""
    import json

    from agent import session
    from agent.case import Case
    from agent.cast import Provider, make_panel, seat

    with faults_told():
        try:
            text = Path(args[1:]).read_text(encoding="utf-8") if args.startswith("@") else args
            arguments = json.loads(text)
        except (OSError, UnicodeDecodeError) as error:
            fail(USAGE, f"--args: {args[1:]} cannot be read: {error}")
        except (json.JSONDecodeError, RecursionError) as error:
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
        panel = make_panel(judge or (), case.limits, Provider())
        case = session.reached(case, session.Models(url=subject_url, key_env=subject_key_env))
        worker = session.start_worker(
            case, out, session.Start(own_tools=session.tool_files(own_tools or ()))
        )
        seat(panel, worker)
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
