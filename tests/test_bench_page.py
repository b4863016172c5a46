"""The leaderboard says what was examined, keeps names harmless, and is read from files alone."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from agent.run_folder import RunError
from evals.bench.board_sections import cautions
from evals.bench.page import board, render_html, render_markdown, write_board
from evals.bench.records import Cost, Sitting, SittingResult
from evals.bench.scores import Board, score
from tests.bench_sittings import plan_of, result
from tests.test_report import HOSTILE, Outline

NAMES = ("program", "model")


def exam(text: str = "", *, organisms: int = 12) -> list[SittingResult]:
    """Return a small exam; `text` stands wherever somebody else's words may."""
    results: list[SittingResult] = []
    for who in NAMES:
        for k in range(organisms + 4):
            null = k >= organisms
            fields: dict[str, Any] = {
                "sat": {
                    "investigator": f"{who}{text}",
                    "reference": "none" if k == 1 else "base",
                },
                "kind": "exact" if null else "organism",
                "family": f"family{k % 2}{text}",
                "easiness": "" if null else f"easy{text}",
                "says_hidden": k == organisms,
                "confidence": 0.1 * (k % 10),
                "registrations": 5,
                "grades": ["false"] if k == organisms else ["true"],
                "tasks": {f"other{text}": f"no judge{text}" if k == 2 else 0.5 + 0.01 * k},
                "evidence_reproduced": 1.0,
                "error": f"lost{text}" if k == 3 else None,
                "leaks": (f"a canary{text}",) if k == 4 else (),
                "cost": Cost(cpu_seconds=10.0 + k, tokens=7, dollars=0.5 if k else None),
                "chance": 0.1,
                "ceiling": 0.9,
            }
            found = None if null else float(k % 3 > 0 or who == "program")
            results.append(result(f"{k:02}{text}", found, **fields))
    return results


def board_of(text: str = "", **fields: Any) -> Board:
    results = exam(text, **fields)
    left = Sitting(specimen=f"00{text}", investigator=f"program{text}", seed=9)
    detectable = {f"program against model{text}": 0.3}
    plan = plan_of(results, left, suite=f"small{text}", detectable=detectable)
    return score(plan, results, unreadable=[f"torn{text}.json"])


@pytest.fixture(scope="module")
def found() -> Board:
    return board_of()


@pytest.fixture(scope="module")
def page(found: Board) -> str:
    return render_html(found)


def write_exam(folder: Path, results: list[SittingResult], *more: Sitting) -> None:
    (folder / "results").mkdir(parents=True)
    (folder / "plan.json").write_text(plan_of(results, *more).model_dump_json())
    for each in results:
        (folder / "results" / f"{each.sitting.name}.json").write_text(each.model_dump_json())


def test_files_alone_make_the_board(tmp_path: Path) -> None:
    results = exam()
    left = Sitting(specimen="00", investigator="program", seed=9)
    write_exam(tmp_path / "a", results, left)
    write_exam(tmp_path / "b", results[::-1], left)
    assert board(tmp_path / "a") == score(plan_of(results, left), results)
    # The plan lists them in another order, and so does the folder.
    assert board(tmp_path / "a") == board(tmp_path / "b")


def test_files_that_are_no_results_are_named_and_counted_nowhere(tmp_path: Path) -> None:
    results = exam()
    write_exam(tmp_path, results)
    before = board(tmp_path)
    folder = tmp_path / "results"
    whole = (folder / f"{results[0].sitting.name}.json").read_text()
    (folder / "copy.json").write_text(whole)
    (folder / "torn.json").write_text(whole[:-20])
    stranger = result("elsewhere", 1.0)
    (folder / f"{stranger.sitting.name}.json").write_text(stranger.model_dump_json())
    (folder / ".half.unfinished").write_text(whole[:9])
    after = board(tmp_path)
    assert set(after.unreadable) == {"copy.json", "torn.json", f"{stranger.sitting.name}.json"}
    assert after.model_copy(update={"unreadable": ()}) == before
    assert "torn.json" in render_markdown(after)


def test_a_torn_result_is_an_unfinished_sitting(tmp_path: Path) -> None:
    results = exam()
    write_exam(tmp_path, results)
    (tmp_path / "results" / f"{results[0].sitting.name}.json").write_text("{")
    assert board(tmp_path).unfinished == 1


def test_without_a_plan_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no plan\.json"):
        board(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RunError, match="is no plan"):
        board(tmp_path)


def test_three_files_are_written_and_the_json_is_the_whole_board(
    tmp_path: Path, found: Board
) -> None:
    folder = write_board(tmp_path, found)
    assert {each.name for each in folder.iterdir()} == {"board.json", "board.md", "board.html"}
    assert Board.model_validate_json((folder / "board.json").read_text()) == found
    assert write_board(tmp_path, found) == folder


def test_the_page_is_well_formed_and_runs_nothing(page: str) -> None:
    read = Outline(page)
    assert not {"script", "iframe", "object", "embed", "form", "img", "link"} & set(read.names)
    assert not [name for name, _ in read.attributes if name.startswith("on") or name == "style"]
    assert "url(" not in page and "@import" not in page
    policy = next(value for value in read.values("content") if "default-src" in value)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_it_can_be_read_by_keyboard_and_ear(page: str) -> None:
    read = Outline(page)
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in read.values("href")} <= set(ids)
    assert set(read.values("aria-labelledby")) <= set(ids)
    assert read.names.count("svg") == read.values("role").count("img") > 5
    tables = read.names.count("table")
    assert tables == read.names.count("caption") > 10
    # What is wider than a phone is scrolled by itself, the page is not.
    assert read.values("tabindex").count("0") == tables + read.names.count("svg")
    assert all(read.values("aria-label"))
    headings = [int(name[1]) for name in read.names if re.fullmatch(r"h[1-6]", name)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(headings, headings[1:], strict=False))
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_the_first_screen_says_what_was_examined_and_what_came_of_it(page: str) -> None:
    text = " ".join(" ".join(Outline(page).text).split())
    start = text[text.index("Who finds") : text.index("How to read this Every")]
    for words in (
        "Suite small: 12 organisms of 2 families, and 4 nulls.",
        "No family was kept from the development of the systematic investigator.",
        "Of 33 planned sittings 30 came to a report; failed: 2; unfinished: 1.",
        "program found most: 90.9 % (58.7 to 99.8), n = 11 over 11 specimens; a false finding in 1 of 4 null runs",
        "1 of 4 runs: 25 % (0.6 to 80.6)",
        "at most 75.1 %, one-sided, few",
        "On an organism that counts as not found",
        "torn.json",
        "0.5 dollars (no interval)",
        "14 of 16 sittings, 1 failed, 1 unfinished",
    ):
        assert words in start, words


def test_every_table_cell_with_an_interval_says_how_many_it_stands_on(found: Board) -> None:
    cells = [
        cell.strip()
        for line in render_markdown(found).splitlines()
        if line.startswith("|")
        for cell in line.split("|")
    ]
    with_interval = [cell for cell in cells if re.search(r"\(\S+ to \S+\)", cell)]
    assert len(with_interval) > 40
    assert all(
        re.search(r"n = \d+ over \d+ specimens?|of \d+ runs", cell) for cell in with_interval
    )


def test_few_specimens_are_said_to_be_few() -> None:
    few, many = board_of(organisms=6), board_of(organisms=14)
    assert "4 of 4 rows stand on fewer than 10 organisms" in render_markdown(few)
    # The track without a reference has one organism in both.
    assert "2 of 4 rows stand on fewer than 10 organisms" in render_markdown(many)


def test_chat_alone_that_nobody_limited_is_named() -> None:
    def lines(*names: str) -> list[str]:
        results = [result("00", 1.0, sat={"investigator": name}) for name in names]
        return cautions(score(plan_of(results), results))

    loose = [each for each in lines("chat-only:openai/m") if "spending" in each]
    assert loose == [
        "chat-only:openai/m was not held to anybody's spending: its model did not sit with all tools."
    ]
    assert not any("spending" in each for each in lines("chat-only:openai/m", "openai/m"))


def test_markdown_has_every_table_of_the_page(found: Board, page: str) -> None:
    markdown = render_markdown(found)
    assert len(re.findall(r"^\|(---\|)+$", markdown, re.MULTILINE)) == page.count("<table ")
    rows = len(re.findall(r"^\|", markdown, re.MULTILINE)) - page.count("<table ")
    assert rows == page.count("<tr>")


def test_an_exam_that_has_not_begun_has_a_page() -> None:
    results = exam()
    empty = score(plan_of(results), [])
    Outline(render_html(empty))
    assert empty.unfinished == empty.planned == 32
    assert "No organism has been graded yet." in render_markdown(empty)
    assert "not measured" in render_markdown(empty)


TEXTS = [text for text in HOSTILE if "\ud800" not in text]


@pytest.fixture(scope="module")
def harmless() -> tuple[Outline, list[str]]:
    plain = board_of("x", organisms=5)
    return Outline(render_html(plain)), blocks(render_markdown(plain))


def blocks(markdown: str) -> list[str]:
    """Return what a reader of Markdown takes it for; nothing may be markup within a line."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table")
    tokens = reader.parse(markdown)
    inner = {child.type for token in tokens for child in token.children or []}
    assert not inner & {"html_inline", "link_open", "image"}
    return [token.type for token in tokens]


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_names_and_messages_stay_text(
    text: str, harmless: tuple[Outline, list[str]]
) -> None:
    hostile = board_of(text, organisms=5)
    html, markdown = render_html(hostile), render_markdown(hostile)
    page, reference = Outline(html), harmless[0]
    assert page.names == reference.names
    assert [name for name, _ in page.attributes] == [name for name, _ in reference.attributes]
    assert blocks(markdown) == harmless[1]
    assert all(c.isprintable() or c in "\n\t" for c in html + markdown)


def test_the_secret_of_the_plan_is_nowhere(found: Board) -> None:
    results = exam()
    shown = score(plan_of(results, secret="drawn-from-this"), results)
    for content in (shown.model_dump_json(), render_html(shown), render_markdown(shown)):
        assert "drawn-from-this" not in content
