"""The review page and the report in headless Chromium, end to end: `make test-browser`."""

from __future__ import annotations

import functools
import http.server
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from importlib import resources
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from agent.rendering import write_report
from agent.review.records import read_reviews
from agent.run_folder import RunFolder
from evals.bench.page import write_board
from tests.chromium import BINARY, HARMFUL, Browser, browser
from tests.hostile_runs import PAYLOADS, make_hostile_runs
from tests.review_server import Site, site
from tests.scripted_run import make_run
from tests.test_bench_page import board_of

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BINARY is None, reason="Chromium is not installed"),
]
ROOMY = ((False, 1100), (True, 1100), (False, 390))
"""Light, dark, and as wide as a phone."""
UNNAMED = """
[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a[href]')].filter(e =>
  !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.outerHTML)
"""
"""Controls that a screen reader has no name for."""
DULL = """
(() => {
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(
    x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$|transparent/.test(c)) return c } return 'rgb(255, 255, 255)' };
  const all = 'p, td, th, a, summary, button, label, pre, code, span, h1, h2, h3, li, b, dt, dd';
  return [...document.querySelectorAll(all)]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length)
    .filter(e => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
      return (a + .05) / (b + .05) < 4.5 }).map(e => e.outerHTML.slice(0, 200)) })()
"""
"""Words with less than 4.5 to 1 of contrast."""
FAULTS = """
axe.run(document, {resultTypes: ['violations']}).then(found =>
  found.violations.map(each => `${each.impact} ${each.id}: ${each.nodes.map(node => node.html).join(' ')}`))
"""
"""What axe is sure is wrong for those who read a page by ear, by keyboard or with weak eyes."""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for name in ("one", "two"):
        make_run(root / name)
    return root


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of hostile runs, the run with everything under `many`; nobody writes there but reports."""
    root = tmp_path_factory.mktemp("hostile")
    make_hostile_runs(root)
    return root


def start(runs: Path, who: str) -> tuple[subprocess.Popen[str], str]:
    """Start `naturalist review` as a user does, and return the address that it prints."""
    command = [sys.executable, "-m", "naturalist", "review", str(runs), "--reviewer", who]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address), address
    return process, address


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def every_page(page: Site) -> list[str]:
    """Return an address of every page there is, for the runs `one` and `two`."""
    run = f"run/{page.key('one')}"
    keys = f"first={page.key('one')}&second={page.key('two')}"
    names = ["", "search?q=yes", "compare", f"compare?{keys}", "agreement", "run/none", run]
    parts = ("report", "finding/P1", "finding/N1", "transcript", "ledger", "evidence", "evidence/4")
    return [*names, *(f"{run}/{part}" for part in parts)]


def quiet(window: Browser, own: str) -> None:
    """Check that nothing ran on the page and that it asked for nothing elsewhere."""
    assert window.dialogs == []
    assert [each for each in window.requests if not each.startswith((own, "data:,"))] == []
    assert window.value(HARMFUL) == []


def test_two_people_review_a_folder_from_the_queue_to_the_export(
    window: Browser, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    make_run(runs / "one")
    for who, verdicts in (
        ("ann", ("accept", "reject", "accept", "unsure")),
        ("ben", ("accept",) * 4),
    ):
        process, address = start(runs, who)
        try:
            window.requests.clear()
            window.go(address)
            while "is being read" in window.text():
                window.go(address)
            assert "4 findings left for you" in window.text()
            window.click(".lead a.button")
            for finding, verdict in zip(("P1", "P2", "P3", "N1"), verdicts, strict=True):
                assert f"Finding {finding}" in window.text()
                if who == "ben":
                    assert "1 other has reviewed this finding" in window.text()
                    assert "words of ann" not in window.value("document.documentElement.outerHTML")
                window.choose(f"input[value={verdict}]")
                window.type("#comment", f"words of {who} on {finding} <b>")
                window.click("button[name=onward]")
            assert "You have reviewed every finding" in window.text()
            quiet(window, address)
            window.go(f"{address}agreement")
            if who == "ben":
                assert re.search(r"ann and ben\s+4\s+2 \(50 %\)\s+0\.00", window.text())
                window.click("td a")
                assert "words of ann on N1 <b>" in window.text()
        finally:
            stop(process)
    given = {(r.finding, r.reviewer): r for r in read_reviews(runs / "one")}
    assert len(given) == 8 and given["N1", "ann"].verdict == "unsure"
    assert given["P2", "ben"].comment == "words of ben on P2 <b>"


def test_a_finding_is_reviewed_with_the_keyboard_alone(window: Browser, tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    with site(tmp_path) as page:
        window.go(page.address)
        window.key("Tab")
        assert window.value("document.activeElement.textContent") == "To the content"
        window.go(f"{page.address}run/{page.key('one')}/finding/P1")
        window.value("document.querySelector('input[name=verdict]').focus()")
        for name in ("ArrowDown", "Tab"):
            window.key(name)
        window.tell("Input.insertText", text="typed")
        window.key("Tab")
        assert window.value("document.activeElement.textContent") == "Save and go on"
        window.events.clear()
        window.key("Enter", "\r")
        window.until_loaded()
        assert "Finding P2" in window.text()
        (given,) = read_reviews(tmp_path / "one")
        assert (given.verdict, given.comment) == ("reject", "typed")


def test_a_running_investigation_renews_its_page(window: Browser, tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    with site(tmp_path) as page, RunFolder(tmp_path / "one", write=True) as folder:
        folder.append("turn", {"text": "more"})
        page.desk.index.refresh()
        window.go(page.address)
        assert "Follow the running investigations" in window.text()
        window.go(f"{page.address}?follow=1")
        assert "● running" in window.text() and "6 turns" in window.text()
        folder.append("turn", {"text": "and more"})
        page.desk.index.refresh()
        window.events.clear()
        window.until_loaded()
        assert "7 turns" in window.text()
    window.go("about:blank")


@pytest.mark.parametrize(("dark", "width"), ROOMY)
def test_pages_can_be_read_in_light_in_the_dark_and_on_a_phone(
    window: Browser, made: Path, tmp_path: Path, dark: bool, width: int
) -> None:
    with site(made) as page:
        window.look(dark=dark, width=width)
        for name in every_page(page):
            window.go(page.address + name)
            picture = tmp_path / f"{re.sub(r'[^a-z]', '-', name)}.png"
            window.photograph(picture)
            assert picture.stat().st_size > 5_000
            # A phone widens `innerWidth` for a page that is too wide, and shows all of it small.
            assert window.value(f"document.documentElement.scrollWidth <= {width}"), name
            assert window.value("document.querySelectorAll('h1').length") == 1, name
            assert window.value("document.documentElement.lang") == "en"
            assert window.value(UNNAMED) == [], name
            assert window.value(DULL) == [], name
            paper = window.value("getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(22, 24, 27)" if dark else "rgb(253, 253, 251)"), name
    window.look()


@pytest.mark.parametrize(("dark", "width"), ROOMY)
def test_axe_finds_no_fault_on_any_page(
    window: Browser, made: Path, dark: bool, width: int
) -> None:
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    window.look(dark=dark, width=width)
    with site(made) as page:
        report = write_report(made / "one") / "report.html"
        board = write_board(made.parent, board_of()) / "board.html"
        pages = [page.address + name for name in every_page(page)]
        for address in (*pages, report.as_uri(), board.as_uri()):
            window.go(address)
            assert window.value(f"document.documentElement.scrollWidth <= {width}"), address
            assert window.value(f"{axe}; 0") == 0
            assert window.value(FAULTS) == [], address
    window.look()


def test_five_hundred_payloads_in_every_field_run_nothing(window: Browser, hostile: Path) -> None:
    with site(hostile) as page:
        window.requests.clear()
        window.dialogs.clear()
        run = f"run/{page.key('many')}"
        names = ["", "agreement", run, f"{run}/report", f"{run}/finding/N1", f"{run}/finding/P1"]
        names += [f"{run}/transcript?from={start}" for start in range(0, 3600, 100)]
        names += [f"{run}/ledger?from=0", f"{run}/evidence"]
        names += [f"{run}/evidence/{number}" for number in range(7, 32)]
        names += [f"run/{entry.key}" for entry in page.desk.index.runs()]
        names += [f"search?{urlencode({'q': text})}" for text in PAYLOADS[::25]]
        names += [f"run/{quote(text, safe='')}" for text in PAYLOADS[::100]]
        keys = [entry.key for entry in page.desk.index.runs()][:2]
        names.append(f"compare?first={keys[0]}&second={keys[1]}")
        for name in names:
            window.go(page.address + name)
            assert window.value("location.href").startswith(page.address), name
            window.value(
                "[...document.querySelectorAll('details')].forEach(each => each.open = true)"
            )
            quiet(window, page.address)
        assert len(window.requests) >= len(names)
        assert "evil" not in window.value("document.title")


def test_the_report_file_runs_nothing_either(window: Browser, hostile: Path) -> None:
    many = hostile / "many"
    write_report(many)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(many / "report")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = f"http://127.0.0.1:{server.server_address[1]}/"
        window.requests.clear()
        window.dialogs.clear()
        window.go(f"{own}report.html")
        assert "Why" in window.text() or "script" in window.text()
        assert window.dialogs == [] and all(each.startswith(own) for each in window.requests)
        assert window.value(HARMFUL) == []
        server.shutdown()


def test_a_page_elsewhere_cannot_send_a_review(window: Browser, tmp_path: Path) -> None:
    make_run(tmp_path / "runs/one")
    with site(tmp_path / "runs") as page:
        target = f"{page.address}run/{page.key('one')}/finding/P1"
        (tmp_path / "evil.html").write_text(
            f"<form method=post action='{target}'><input name=verdict value=accept>"
            f"<input name=report value={'0' * 64}></form><script>document.forms[0].submit()</script>"
            f"<iframe src='{page.address}'></iframe>"
        )
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            window.go(f"http://127.0.0.1:{server.server_address[1]}/evil.html")
            while "Refused" not in window.text():
                window.tell("Runtime.evaluate", expression="1")
            server.shutdown()
        assert not (tmp_path / "runs/one/reviews.jsonl").exists()
    window.go("about:blank")
