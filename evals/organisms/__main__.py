"""`python -m evals.organisms`: train the base, make organisms, print a base's skills."""

import argparse
import json
import logging
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
import typer

from agent.terminal import CONFIGURATION, faults_told
from evals.organisms.curriculum.curricula import CURRICULA
from evals.organisms.families.family import Variant
from evals.organisms.foundry import (
    BASE,
    FAMILIES,
    GateMissed,
    make_organism,
    read_json,
    with_adapter,
)
from evals.organisms.gates.phenomena import show_all
from evals.organisms.gates.teachers import table_of as teachers_told
from evals.organisms.gates.teachers import teachers
from evals.organisms.menagerie import LIST, build_all, declared, table_of
from evals.organisms.registry import BASES
from evals.organisms.secret_table import table_of as secrets_told
from evals.organisms.spec import SpecError
from evals.organisms.training.base import PLANS, train_base


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    whole = argparse.ArgumentParser(prog="python -m evals.organisms")
    commands = whole.add_subparsers(dest="command", required=True)
    base = commands.add_parser("train-base", help="train the base model from scratch")
    base.add_argument("--out", type=Path, required=True)
    base.add_argument(
        "--work", type=Path, required=True, help="checkpoints; a second start resumes"
    )
    base.add_argument("--curriculum", choices=sorted(PLANS), default="first")
    base.add_argument("--steps", type=int, help="where it ends, if not as planned")
    base.add_argument("--workers", type=int, default=2)
    base.add_argument("--begin", type=Path, help="go on from an exported model, as from its step")
    make = commands.add_parser("make", help="make one organism")
    make.add_argument("family", choices=sorted(FAMILIES))
    make.add_argument("--seed", type=int, required=True)
    make.add_argument("--out", type=Path, required=True)
    make.add_argument("--variant", choices=get_args(Variant), default="organism")
    make.add_argument("--base", type=Path, help="instead of the one that ships")
    make.add_argument("--threads", type=int, default=1)
    tested = commands.add_parser("skills", help="measure what a model can do")
    tested.add_argument("--base", type=Path, default=BASE)
    tested.add_argument("--adapter", type=Path)
    tested.add_argument("--count", type=int, default=100)
    tested.add_argument("--curriculum", choices=sorted(CURRICULA), default="first")
    shown = commands.add_parser("phenomena", help="what white-box tools find in a base")
    shown.add_argument("--base", type=Path, default=BASE)
    shown.add_argument("--out", type=Path, required=True, help="the table; all figures beside it")
    told = commands.add_parser("teachers", help="how well a base plays what it is told, by family")
    told.add_argument("families", nargs="*", default=sorted(FAMILIES))
    told.add_argument("--base", type=Path, default=BASES["second"])
    told.add_argument("--count", type=int, default=200, help="secrets of each family")
    told.add_argument("--seed", type=int, default=1000)
    secrets = commands.add_parser("secrets", help="how often secrets are read, from data sheets")
    secrets.add_argument("--folder", type=Path, default=BASE.parent, help="of organisms")
    all_of_them = commands.add_parser("menagerie", help="make every organism that ships, or go on")
    all_of_them.add_argument("--out", type=Path, default=BASE.parent)
    all_of_them.add_argument("--list", type=Path, default=LIST, help="what is to be built")
    all_of_them.add_argument("--processes", type=int, default=2)
    all_of_them.add_argument("--hours", type=float, default=math.inf, help="begin nothing later")
    all_of_them.add_argument("--table", type=Path, help="where the gates are told; else here")
    return whole


def main() -> int:
    """Run one command; 1 when a build misses its gates, or a phenomenon is not there.

    What is wrong with a path or a file is told as `naturalist` tells it, with its exit codes.
    """
    try:
        with faults_told():
            return run(parser().parse_args())
    except typer.Exit as told:
        return told.exit_code


def run(arguments: argparse.Namespace) -> int:
    """Run the command that was parsed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.command == "train-base":
        begin: Path | None = arguments.begin
        start = read_json(begin / "training.json")["steps_done"] if begin else 0
        planned = PLANS[arguments.curriculum]
        plan = replace(planned, start=start, steps=arguments.steps or planned.steps)
        train_base(arguments.out, arguments.work, plan, arguments.workers, begin)
        return 0
    torch.set_num_threads(getattr(arguments, "threads", 1))
    if arguments.command == "skills":
        report = CURRICULA[arguments.curriculum].report
        scores = report(with_adapter(arguments.base, arguments.adapter), arguments.count)
        print(json.dumps(scores, indent=1))
        return 0
    if arguments.command == "menagerie":
        return menagerie(arguments)
    if arguments.command == "teachers":
        makers = [FAMILIES[name] for name in arguments.families]
        played = teachers(
            with_adapter(arguments.base, None), makers, arguments.count, arguments.seed
        )
        print(teachers_told(played), end="")
        return int(not all(each.plays for each in played))
    if arguments.command == "secrets":
        print(secrets_told(arguments.folder), end="")
        return 0
    if arguments.command == "phenomena":
        found = show_all(arguments.base, arguments.out, print)
        return int(not all(each.decodable and each.moves for each in found))
    try:
        built = make_organism(
            arguments.family, arguments.seed, arguments.out, arguments.variant, arguments.base
        )
    except GateMissed as missed:
        print(missed, file=sys.stderr)
        return 1
    print(json.dumps({"digest": built.digest, "gates": built.datasheet["gates"]}, indent=1))
    return 0


def menagerie(arguments: argparse.Namespace) -> int:
    """Build what is on a list and tell its gates; 1 where anything missed them or is not built."""
    try:
        specs = declared(arguments.list)
    except SpecError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    until = time.time() + arguments.hours * 3600
    built = build_all(specs, arguments.out, arguments.processes, until, print)
    table = table_of(specs, arguments.out)
    if arguments.table is None:
        print(table, end="")
    else:
        arguments.table.write_text(table, encoding="utf-8")
    return int(len(built) < len(specs) or any(each.missed for each in built))


if __name__ == "__main__":
    sys.exit(main())
