"""The leaderboard: an exam's files become one self-contained page without scripts, JSON and Markdown."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader
from markupsafe import Markup
from pydantic import ValidationError

from agent.rendering import PAGES, html_pages, markdown_pages
from evals.bench.board_sections import cautions, examined, headlines, sections
from evals.bench.plan import read_plan
from evals.bench.records import SittingResult
from evals.bench.scores import Board, score
from evals.bench.standings import IDENTIFY
from tools.registry import ToolError, unknown

OWN_PAGES = ChoiceLoader(
    [FileSystemLoader(Path(__file__).parent / "pages"), FileSystemLoader(PAGES)]
)
RESULTS = "results"


def board(folder: Path, *, against: str | None = None, tasks: Sequence[str] = (IDENTIFY,)) -> Board:
    """Return the board of an exam from its plan and the results that are there, finished or not.

    `against` and `tasks` as in `score`. A file that is no result of a planned sitting is named on the
    board and counted nowhere. Raises `RunError` where there is no plan, `ToolError` for an unknown `against`.
    """
    plan = read_plan(folder)
    planned = {each.name: each for each in plan.sittings}
    names = sorted({each.investigator for each in plan.sittings})
    if against is not None and against not in names:
        raise ToolError(f"--against: {unknown('investigator', against, names)}")
    results: list[SittingResult] = []
    unreadable: list[str] = []
    for path in sorted((folder / RESULTS).glob("*.json")):
        try:
            result = SittingResult.model_validate_json(path.read_bytes())
        except ValidationError:
            unreadable.append(path.name)
            continue
        if planned.get(path.stem) == result.sitting:
            results.append(result)
        else:
            unreadable.append(path.name)
    return score(plan, results, unreadable=unreadable, against=against, tasks=tasks)


def write_board(folder: Path, found: Board) -> Path:
    """Write board.json, board.md and board.html into `folder`/board; return that folder."""
    target = folder / "board"
    target.mkdir(exist_ok=True)
    for name, content in rendered(found).items():
        unfinished = target / f".{name}.unfinished"
        unfinished.write_text(content, encoding="utf-8")
        unfinished.replace(target / name)
    return target


def rendered(found: Board) -> dict[str, str]:
    """Return the content of every file of a leaderboard."""
    return {
        "board.json": found.model_dump_json(indent=1) + "\n",
        "board.md": render_markdown(found),
        "board.html": render_html(found),
    }


def render_html(found: Board) -> str:
    """Return the whole page as one file."""
    style = (PAGES / "style.css").read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = html_pages().overlay(loader=OWN_PAGES).get_template("board.html.j2")
    return page.render(content(found), style=Markup(style), style_hash=hashed)


def render_markdown(found: Board) -> str:
    """Return the leaderboard as Markdown, without its plots."""
    page = markdown_pages().overlay(loader=OWN_PAGES).get_template("board.md.j2")
    return re.sub(r"\n{3,}", "\n\n", page.render(content(found))).strip() + "\n"


def content(found: Board) -> dict[str, Any]:
    """Return what both templates print."""
    return {
        "board": found,
        "examined": examined(found),
        "headlines": headlines(found),
        "cautions": cautions(found),
        "sections": sections(found),
    }
