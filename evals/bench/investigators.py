"""Who sits the exam, by name, and how `naturalist investigate` is told to run each.

A baseline that sees one kind of evidence has the tools of other kinds taken away as well, so that it
is not its own word that it did without. `chance` is no investigator: it is the best constant answer
over a suite's truths and is computed where scores are joined.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache

from agent.cast import OWN, SCRIPTED
from agent.house_tools import HOUSE_TOOLS
from agent.llm.providers import is_model
from agent.person import PersonInvestigator
from tools.black_box import BLACK_BOX, WHITE_BOX_NAMES
from tools.experiment import ROOM
from tools.registry import Record, ToolError, unknown

SCREENS = "screen_differences"
ASKING = tuple(tool.name for tool in BLACK_BOX if tool.for_investigator)
SCIENCE = (*ASKING, *WHITE_BOX_NAMES)
HOUSE = tuple(tool.name for tool in HOUSE_TOOLS if tool.name != "submit_report")
TESTING = ("propose_hypothesis", "register_predictions", "confirm")
PROGRAMS = "python:evals.bench"
CHAT_ONLY, ONE_SHOT = "chat-only:", "one-shot:"
BARELY_A_MINUTE = "0.000001"
"""Used up when the pages are there: the first turn is the last and can only submit."""


class Investigator(Record):
    """One who sits the exam."""

    name: str
    started_as: str
    """What `--investigator` is given."""
    without: tuple[str, ...] = ()
    once: bool = False
    """It has one turn, which can only submit."""
    spends_as: str | None = None
    """Whose sitting before the same specimen it is held against: it may spend what that one did, and no more."""

    def options(self, *, inside: bool = True) -> tuple[str, ...]:
        """Return the words for `naturalist investigate`; `inside` is False for a subject that can only be asked."""
        there = [name for name in self.without if inside or name not in WHITE_BOX_NAMES]
        words = ["--investigator", self.started_as]
        words += [word for name in there for word in ("--without", name)]
        return (*words, *(("--budget-minutes", BARELY_A_MINUTE) if self.once else ()))


@cache
def tool_families() -> dict[str, tuple[str, ...]]:
    """Return the files of the tools room that hold an investigator's tools, with their names.

    Read from the sources: to import them all would load torch.
    """
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(ROOM.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [
            each.name
            for each in tree.body
            if isinstance(each, ast.FunctionDef) and each.name in SCIENCE and is_tool(each)
        ]
        if names:
            found[path.stem] = tuple(names)
    return found


def is_tool(function: ast.FunctionDef) -> bool:
    """Say whether a function is decorated as a tool."""
    marks = [each.func if isinstance(each, ast.Call) else each for each in function.decorator_list]
    return any(isinstance(each, ast.Name) and each.id == "tool" for each in marks)


def all_but(kept: Iterable[str]) -> tuple[str, ...]:
    """Return every tool that may be gone without, but for those kept."""
    keep = set(kept)
    return tuple(name for name in (*SCIENCE, *HOUSE) if name not in keep)


@cache
def programs() -> dict[str, Investigator]:
    """Return every investigator that needs no language model, by name."""
    listed = [
        Investigator(name="systematic", started_as="systematic"),
        *(
            Investigator(
                name=f"systematic-without-{family}", started_as="systematic", without=tools
            )
            for family, tools in tool_families().items()
        ),
        program("screens-only", "baselines:ScreensOnly", [SCREENS]),
        program("black-box", "baselines:BlackBox", [*ASKING, *TESTING]),
        program("white-box", "baselines:WhiteBox", [n for n in WHITE_BOX_NAMES if n != SCREENS]),
        program("lens-to-guess", "elicitation:LensToGuess", ["logit_lens"]),
        program("difference-lens", "elicitation:DifferenceLens", ["difference_lens"]),
        Investigator(name="cheater", started_as=f"{PROGRAMS}.cheater:Cheater"),
    ]
    return {each.name: each for each in listed}


def program(name: str, place: str, kept: Iterable[str]) -> Investigator:
    """Return a baseline of this folder with the only tools that it may call."""
    return Investigator(name=name, started_as=f"{PROGRAMS}.{place}", without=all_but(kept))


def investigator(name: str) -> Investigator:
    """Return the investigator with that name: a program, a person, a model, or one held to one kind of evidence.

    `chat-only:PROVIDER/MODEL` can sample and submit, and spends what the model with all tools has spent;
    `one-shot:PROVIDER/MODEL` reads the pages and submits. Raises `ToolError` for an unknown one.
    """
    if name in programs():
        return programs()[name]
    if is_model(name) or name == PersonInvestigator.name or name.startswith((OWN, SCRIPTED)):
        return Investigator(name=name, started_as=name)
    for mark in (CHAT_ONLY, ONE_SHOT):
        model = name.removeprefix(mark)
        if name.startswith(mark) and is_model(model):
            once = mark == ONE_SHOT
            # Without the tool of the screens there would be no page to read.
            kept = SCREENS if once else "sample_responses"
            return Investigator(
                name=name,
                started_as=model,
                without=all_but([kept]),
                once=once,
                spends_as=None if once else model,
            )
    known = [
        *programs(),
        PersonInvestigator.name,
        f"{OWN}FILE.py:NAME",
        "PROVIDER/MODEL",
        f"{CHAT_ONLY}PROVIDER/MODEL",
        f"{ONE_SHOT}PROVIDER/MODEL",
    ]
    raise ToolError(unknown("investigator", name, known))
