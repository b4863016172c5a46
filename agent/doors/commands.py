"""The commands that open an investigation to other tools and people: mcp, export, say."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from agent.options import OwnTools, RunPath
from agent.terminal import CONFIGURATION, USAGE, fail, faults_told, put, say

Case = Annotated[
    Path | None, typer.Argument(metavar="[CASE.toml]", help="The case of a new investigation.")
]


def mcp(
    case_file: Case = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run instead of a new one.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Model folder or hub id, instead of the case's.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Reference model; 'none' for none.")] = None,
    adapter: Annotated[
        str | None, typer.Option(help="PEFT adapter of the subject; 'none' for none.")
    ] = None,
    seed: Annotated[int, typer.Option(help="All randomness comes from it.")] = 0,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Stop and report after so many minutes.")
    ] = None,
    own_tools: OwnTools = None,
    patience: Annotated[
        float, typer.Option(help="Seconds after which a call comes back as running.", min=1)
    ] = 45.0,
    runs: Annotated[Path, typer.Option(help="Where the run folder is made.")] = Path("runs"),
) -> None:
    """Serve one investigation to an MCP client over stdin and stdout; the client is the investigator."""
    from agent import session
    from agent.investigation import Investigation
    from agent.opening import opened_event
    from agent.run_folder import RunFolder
    from tools.remote import OnProgress

    if find_spec("mcp") is None:
        fail(CONFIGURATION, "the MCP SDK is not installed; run: pip install 'mcp>=2.3,<3'")
    if (case_file is None) == (resume is None):
        fail(USAGE, "give either a case for a new investigation, or --resume RUN")
    with faults_told():
        if resume is not None:
            who = opened_event(RunFolder(resume))["investigator"]
            if who != "mcp":
                fail(USAGE, f"{resume}: its investigator is {who!r}, not an MCP client")
            path = resume

            def opened(progress: OnProgress) -> Investigation:
                return session.open_again(path, progress)
        else:
            assert case_file is not None
            limits = {"minutes": budget_minutes}
            case = session.changed_case(
                case_file,
                session.Models(subject=subject, reference=reference, adapter=adapter),
                limits,
            )
            opening = session.Opening(seed=seed, tools=session.tool_files(own_tools or ()))
            path = session.new_run_path(runs, case.name)
            session.check_disk(path)

            def opened(progress: OnProgress) -> Investigation:
                return session.open_new(path, case, "mcp", opening, progress)

    from agent.doors.mcp_server import serve

    say(f"run: {path}")
    serve(opened, patience)


def export(
    run_path: RunPath,
    to: Annotated[
        Literal["inspect", "docent", "frames"],
        typer.Option(help="An Inspect log, Docent's JSON, or tables of items and experiments."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write into; by default RUN/export.")
    ] = None,
) -> None:
    """Write a run in the format of another tool; the run itself stays as it is."""
    from agent.doors.exports import EXPORTS

    with faults_told():
        for path in EXPORTS[to](run_path, out or run_path / "export"):
            put(str(path))


def say_word(
    run_path: RunPath,
    text: Annotated[str, typer.Argument(help='What to say, such as "test X next".')],
) -> None:
    """Leave a word for a running investigation; it is read before the next turn, and logged."""
    from agent.words import say_to

    with faults_told():
        say_to(run_path, text)
    say("left; the investigator reads it before its next turn")


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("mcp")(mcp)
    app.command("export")(export)
    app.command("say")(say_word)
