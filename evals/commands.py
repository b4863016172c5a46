"""The exam's commands: `naturalist organisms list | make | check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.options import SubjectKeyEnv, SubjectUrl
from agent.terminal import (
    CONFIGURATION,
    USAGE,
    VERIFY_FAILED,
    fail,
    faults_told,
    put,
    put_json,
    say,
)

if TYPE_CHECKING:
    from tools.locator import ModelLocator

organisms = typer.Typer(
    help="Models whose hidden behaviour is known: list them, make one, check one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
Spoilers = Annotated[
    bool, typer.Option("--truth", help="Also show what is planted; spoils an investigation.")
]


@organisms.command("list")
def list_organisms(truth: Spoilers = False, as_json: AsJson = False) -> None:
    """List the organisms that ship and those that others have published.

    A handle without its last part names a group of the published ones: `naturalist bench run published:GROUP`.
    """
    from evals.organisms.catalogue import every_organism

    hidden = set() if truth else {"answer"}
    found = every_organism()
    if as_json:
        put_json([entry.model_dump(mode="json", exclude=hidden) for entry in found])
        return
    for entry in found:
        passed = sum(gate["passed"] for gate in entry.gates.values())
        gates = f"{passed} of {len(entry.gates)} gates" if entry.gates else "no gates here"
        size = f"{entry.megabytes:.2f} MB" if entry.megabytes else "on the hub"
        kind = "null" if entry.null_twin and (truth or entry.shipped) else ""
        answer = f"  {entry.answer}" if truth else ""
        put(
            f"{entry.handle:52} {entry.family:46} {entry.base:34} {size:10} {gates:14} {kind}{answer}"
        )


@organisms.command("make")
def make(
    spec_file: Annotated[
        Path, typer.Argument(metavar="SPEC.toml", help="Family, secret, seed; see README.")
    ],
    out: Annotated[Path, typer.Option(help="Where the organism is written.")],
    seed: Annotated[int | None, typer.Option(help="Instead of the seed in the file.")] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="A base of the family's curriculum, instead of the shipped one."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the training.")] = 1,
    prompted: Annotated[
        bool,
        typer.Option("--prompted", help="No training: a chat model under a hidden system prompt."),
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(help="With --prompted: a model folder, hub id or api:PROVIDER/MODEL."),
    ] = None,
    subject_url: SubjectUrl = None,
    subject_key_env: SubjectKeyEnv = None,
    as_json: AsJson = False,
) -> None:
    """Train, measure and pack one organism; a second start goes on where the first was stopped."""
    import logging

    if prompted != (on is not None):
        fail(USAGE, "--prompted and --on MODEL go together")
    if on is not None:
        from tools.locator import ModelLocator

        locator = ModelLocator(model=on, base_url=subject_url, key_env=subject_key_env)
        put_prompted(spec_file, locator, out, seed, as_json)
        return

    from evals.organisms.foundry import GateMissed, WrongBase
    from evals.organisms.spec import SpecError, load_spec, make_declared

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with faults_told():
        try:
            spec = load_spec(spec_file)
        except SpecError as error:
            fail(CONFIGURATION, str(error))
        if seed is not None:
            spec = spec.model_copy(update={"seed": seed})
        try:
            built = make_declared(spec, out, threads, base)
        except WrongBase as wrong:
            fail(CONFIGURATION, str(wrong))
        except GateMissed as missed:
            fail(VERIFY_FAILED, str(missed))
    told = {"digest": built.digest, "gates": built.datasheet["gates"]}
    put_json(told) if as_json else put(f"{out}: {len(told['gates'])} gates passed")


def put_prompted(
    spec_file: Path, on: ModelLocator, out: Path, seed: int | None, as_json: bool
) -> None:
    """Write a prompted organism and tell where it is."""
    from agent.case import located
    from agent.engines import check_locator
    from evals.organisms.prompted import PromptedError, load_prompted, make_prompted

    with faults_told():
        check_locator("--on", on)
        try:
            spec = load_prompted(spec_file)
            if seed is not None:
                spec = spec.model_copy(update={"seed": seed})
            make_prompted(spec, located(on, Path.cwd()), out, spec_file.parent)
        except PromptedError as error:
            fail(CONFIGURATION, str(error))
    told = {"folder": str(out), "model": on.model}
    put_json(told) if as_json else put(f"{out}: {on.model} under a hidden prompt")


@organisms.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="A finished organism, or its handle.")],
    as_json: AsJson = False,
) -> None:
    """Measure an organism's gates again from its packed files, and compare with its data sheet."""
    from evals.organisms.catalogue import SHIPPED
    from evals.organisms.checking import check_organism

    path = folder if folder.is_dir() else SHIPPED / folder.name
    if not (path / "checksums.json").is_file():
        fail(USAGE, f"{folder}: no finished organism is there; see `naturalist organisms list`")
    say("measuring; this takes a minute")
    with faults_told():
        lines = check_organism(path)
    if as_json:
        put_json([line.model_dump(mode="json") for line in lines])
    else:
        for line in lines:
            state = "ok" if line.passed and line.as_recorded else "FAILED"
            put(f"{state:7} {line.name}: {line.told}")
    if not all(line.passed and line.as_recorded for line in lines):
        raise typer.Exit(VERIFY_FAILED)
