"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunPath = Annotated[
    Path, typer.Argument(help="A run folder, such as runs/20261123-101500-numbers.")
]
BaseUrl = Annotated[
    str | None, typer.Option(help="Where the investigating model's server is.", show_default=False)
]
KeyEnv = Annotated[
    str | None,
    typer.Option(
        help="Environment variable with that server's key, where it is not the provider's."
    ),
]
SubjectUrl = Annotated[
    str | None, typer.Option(help="Where a subject api:PROVIDER/MODEL is, its reference too.")
]
SubjectKeyEnv = Annotated[
    str | None, typer.Option(help="Environment variable with the key of the subject's server.")
]
Cassette = Annotated[
    Path | None,
    typer.Option(help="Keep the model's replies in this file, and take from it what it holds."),
]
PriceFile = Annotated[
    Path | None, typer.Option(help="TOML with dollars per million tokens: input, output, ...")
]
RetryMinutes = Annotated[
    float,
    typer.Option(
        min=0, max=525_600, help="So long a failing provider is asked again before the run stops."
    ),
]
Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        metavar="MODEL[@URL]",
        help="Reads outputs for measures of kind 'judged'; give two, of different families.",
        show_default=False,
    ),
]
Writer = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL[@URL]",
        help="Writes fresh prompts on request and sees no hypothesis.",
        show_default=False,
    ),
]
Sceptic = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL[@URL]",
        help="May only register counter-experiments, after the report.",
        show_default=False,
    ),
]
OwnTools = Annotated[
    list[Path] | None,
    typer.Option("--tools", help="A file of tools of your own, with a tuple TOOLS; repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
