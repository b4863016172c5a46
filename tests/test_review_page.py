"""The review page shows runs, keeps reviews, and answers nobody but its own browser."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Generator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import pytest

from agent.review.records import FILE, read_reviews
from agent.run_folder import RunFolder
from agent.words import WordsAside
from tests.hostile_runs import PAYLOADS, make_hostile_runs
from tests.review_server import Site, site
from tests.scripted_run import make_run
from tests.test_plots import SWEEP
from tests.test_thought_plot import THOUGHTS

HARMFUL = {"script", "iframe", "object", "embed", "base", "img", "video", "audio", "style", "math"}
ADDRESSES = {"href", "src", "action", "formaction", "poster", "background", "data", "xlink:href"}


class Scan(HTMLParser):
    """Reads a page for what runs, loads or leads elsewhere, and for its words and links."""

    def __init__(self, page: str, address: str) -> None:
        super().__init__()
        self.address, self.found = address, list[str]()
        self.words, self.links, self.ids = list[str](), list[str](), list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words.append(" ")
        if tag in HARMFUL:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.found.append(f"{tag} {name}")
            if name in ADDRESSES and value != "data:,":
                target = urlsplit(urljoin(self.address, value or ""))
                if target[:2] != urlsplit(self.address)[:2]:
                    self.found.append(f"{tag} {name}={value}")
                self.links.append(value or "")
            if (tag, name) == ("meta", "http-equiv"):
                self.found.append(f"meta {value}")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def read(page: Site, path: str) -> Scan:
    answer = page.get(path)
    assert answer.status == 200, (path, answer.status, answer.text[:300])
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return Scan(answer.text, f"{page.address.rstrip('/')}{path}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made")
    make_run(path / "one")
    return path


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    for name in ("one", "two"):
        shutil.copytree(made / "one", tmp_path / "runs" / name)
    return tmp_path / "runs"


@pytest.fixture
def page(runs: Path) -> Generator[Site]:
    with site(runs) as served:
        yield served


def review(page: Site, run: str, finding: str, verdict: str, comment: str = "") -> str:
    """Give a review through the form, and return where it leads."""
    path = f"/run/{page.key(run)}/finding/{finding}"
    form = page.get(path).text
    digest = form.split('name="report" value="')[1].split('"')[0]
    fields = {"verdict": verdict, "comment": comment, "report": digest, "onward": "1"}
    answer = page.post(path, fields)
    assert answer.status == 303, answer.text
    return answer.headers["location"].removeprefix(page.base)


def test_the_queue_lists_runs_with_their_findings(page: Site) -> None:
    text = read(page, "/").text
    assert "8 findings left for you" in text and "0 of 4" in text
    assert "1 ● supported" in text and "1 ✕ refuted" in text and "Reviewing as ann" in text
    assert "refresh" not in page.get("/").headers


def test_every_page_of_a_run_holds_what_it_should(page: Site) -> None:
    run = f"/run/{page.key('one')}"
    assert "P1" in read(page, run).text and "review it" in read(page, run).text
    report = read(page, f"{run}/report")
    assert "Why does it sometimes answer yes?" in report.text and "exp-1" in report.ids
    transcript = page.get(f"{run}/transcript").text
    assert "<details><summary>calls register_predictions" in transcript
    assert "Hypotheses first." in read(page, f"{run}/transcript").text
    for hidden in ("/secret/place", "a hidden word", "run_secret"):
        assert hidden not in transcript and hidden not in page.get(f"{run}/ledger").text
    ledger = read(page, f"{run}/ledger").text
    order = [ledger.index(f"{what} P1") for what in ("registration", "draw of", "verdict of")]
    assert order == sorted(order)
    assert "score_arms" in read(page, f"{run}/evidence").text


def test_a_finding_leads_to_the_steps_of_the_transcript(page: Site) -> None:
    run = f"/run/{page.key('one')}"
    text = page.get(f"{run}/finding/P1").text
    (first, *_) = re.findall(r"transcript\?from=(\d+)#event-(\d+)", text)
    assert f'id="event-{first[1]}"' in page.get(f"{run}/transcript?from={first[0]}").text
    assert "registration" in page.get(f"{run}/transcript?from={first[0]}").text
    report = page.get(f"{run}/report").text
    assert len(re.findall(r"transcript\?from=\d+#event-\d+", report)) > 8


def test_evidence_goes_down_to_the_raw_rows(page: Site, runs: Path) -> None:
    run = f"/run/{page.key('one')}"
    finding = read(page, f"{run}/finding/P1")
    number = next(link for link in finding.links if "/evidence/" in link).rsplit("/", 1)[1]
    shown = read(page, f"{run}/evidence/{number}?arm=treatment&page=2")
    assert "Yes, surely <script>alert(1)</script>." in shown.text and "row-20" in shown.ids
    assert "page 2 of 2" in shown.text and "score 1" in shown.text
    digest = next(link for link in shown.links if "/raw/" in link).rsplit("/", 1)[1]
    raw = page.get(f"{run}/raw/{digest}")
    assert raw.body == RunFolder(runs / "one").blobs.get(digest)
    assert raw.headers["content-disposition"].startswith("attachment")
    assert raw.headers["x-content-type-options"] == "nosniff"
    for path in ("/evidence/99", "/evidence/0", f"/evidence/{number}?arm=none", "/finding/P9"):
        missing = page.get(f"{run}{path}")
        assert missing.status == 404 and ">This " in missing.text.split("alert")[1], path


def add_experiments(path: Path, tables: Sequence[dict[str, Any]]) -> int:
    """Put experiments with these raw data into a log, and return the number of the last."""
    with RunFolder(path, write=True) as folder:
        number = len(list(folder.of_type("experiment")))
        last = list(folder.of_type("experiment"))[-1].data
        for table in tables:
            number += 1
            stored = folder.get_json(last["blob"])
            stored["result"] = {"raw": folder.put_json(table)}
            blob = folder.put_json(stored)
            folder.append("experiment", {**last, "number": number, "key": "k", "blob": blob})
    return number


def test_a_sweep_is_drawn_and_one_of_another_shape_is_not(page: Site, runs: Path) -> None:
    number = add_experiments(runs / "one", (SWEEP, SWEEP | {"sites": 7}))
    page.desk.index.refresh()
    run = f"/run/{page.key('one')}"
    drawn = page.get(f"{run}/evidence/{number - 1}")
    assert drawn.status == 200 and drawn.text.count('class="cell ') == 4
    assert "layer 1 mlp_out" in read(page, f"{run}/evidence/{number - 1}").text
    other = page.get(f"{run}/evidence/{number}")
    assert other.status == 200 and "<svg" not in other.text


def test_a_thought_is_drawn_as_text_and_one_that_is_broken_is_not(page: Site, runs: Path) -> None:
    tables = ({"thoughts": THOUGHTS}, {"thoughts": THOUGHTS | {"traces": 7}})
    number = add_experiments(runs / "one", tables)
    page.desk.index.refresh()
    run = f"/run/{page.key('one')}"
    drawn = page.get(f"{run}/evidence/{number - 1}")
    assert drawn.status == 200 and drawn.text.count("<circle") == 4
    assert "<script" not in drawn.text and "&lt;script&gt;" in drawn.text
    other = page.get(f"{run}/evidence/{number}")
    assert other.status == 200 and "<svg" not in other.text


def test_a_review_is_kept_beside_the_log_and_the_queue_goes_on(page: Site, runs: Path) -> None:
    log = (runs / "one/events.jsonl").read_bytes()
    first = page.get("/next").headers["location"]
    assert first == f"{page.base}/run/{page.key('one')}/finding/P1"
    onward = review(page, "one", "P1", "accept", "  well <b>shown</b>\n")
    assert onward == f"/run/{page.key('one')}/finding/P2"
    assert page.get("/next").headers["location"] == f"{page.base}{onward}"
    assert review(page, "two", "N1", "unsure") == onward
    (given,) = read_reviews(runs / "one")
    assert (given.finding, given.reviewer, given.verdict) == ("P1", "ann", "accept")
    assert given.comment == "well <b>shown</b>" and given.at.endswith("+00:00")
    assert (runs / "one/events.jsonl").read_bytes() == log
    shown = read(page, f"/run/{page.key('one')}/finding/P1")
    assert "✓ accepted" in shown.text and "well <b>shown</b>" in shown.text
    assert "1 of 4" in read(page, "/").text
    for run in ("one", "two"):
        for finding in ("P1", "P2", "P3", "N1"):
            last = review(page, run, finding, "accept")
    assert last == "/" and page.get("/next").headers["location"] == f"{page.base}/"
    assert "You have reviewed every finding" in read(page, "/").text


def test_a_form_that_is_wrong_is_shown_again_with_what_is_wrong(page: Site, runs: Path) -> None:
    path = f"/run/{page.key('one')}/finding/P1"
    answer = page.post(path, {"verdict": "great", "comment": "kept words", "report": "0" * 64})
    assert answer.status == 422 and "choose accept, reject or unsure" in answer.text
    assert "kept words" in answer.text and not (runs / "one" / FILE).exists()
    assert page.post(path, {"verdict": "accept", "report": "x"}).status == 422
    long = {"verdict": "accept", "report": "0" * 64, "comment": "x" * 10_001}
    assert "too long" in page.post(path, long).text


def test_a_second_reviewer_is_blind_until_they_have_said_something(page: Site, runs: Path) -> None:
    review(page, "one", "P1", "accept", "apricot")
    review(page, "one", "P2", "reject", "apricot twice")
    with site(runs, "ben") as other:
        path = f"/run/{other.key('one')}/finding/P1"
        for seen in (
            path,
            f"/run/{other.key('one')}",
            "/",
            "/agreement",
            "/reviews.csv",
            "/reviews.json",
        ):
            text = other.get(seen).text
            assert "apricot" not in text and "accepted" not in text, seen
            assert ">ann<" not in text and '"ann"' not in text, seen
        assert "1 other has reviewed this finding" in read(other, path).text
        review(other, "one", "P1", "reject", "plum")
        shown = read(other, path).text
        assert "apricot" in shown and "✓ accepted" in shown
        assert "apricot twice" not in other.get("/reviews.json").text
        agreement = read(other, "/agreement").text
        assert "ann and ben 1 findings agreed on 0 (0 %)" in agreement and "P1 one" in agreement


def test_reviews_of_a_run_that_is_not_indexed_yet_are_counted_without_a_link(
    page: Site, runs: Path
) -> None:
    review(page, "one", "P1", "accept")
    with site(runs, "ben") as other:
        review(other, "one", "P1", "reject")
    shutil.copytree(runs / "one", runs / "three")
    shown = read(page, "/agreement")
    assert "ann and ben 2 findings agreed on 0 (0 %)" in shown.text and "P1 three" in shown.text
    assert sum("/finding/P1" in link for link in shown.links) == 1


def test_what_is_exported_can_be_read_again(page: Site, runs: Path) -> None:
    review(page, "one", "P1", "accept", '=HYPERLINK("http://evil.invalid"), "quoted"\nand more')
    rows = list(csv.DictReader(io.StringIO(page.get("/reviews.csv").text)))
    (row,) = rows
    assert row["run"] == "one" and row["status"] == "supported" and row["verdict"] == "accept"
    assert row["comment"].startswith("'=HYPERLINK") and row["comment"].endswith("and more")
    content = json.loads(page.get("/reviews.json").text)
    assert content["reviews"][0]["comment"].startswith("=HYPERLINK")
    assert content["agreement"] == []


def test_search_leads_to_the_place(page: Site) -> None:
    hits = read(page, f"/search?{urlencode({'q': 'politeness'})}")
    place = next(link for link in hits.links if "transcript" in link)
    target, anchor = place.removeprefix(page.base).split("#")
    assert anchor in read(page, target).ids
    outputs = read(page, f"/search?{urlencode({'q': 'surely alert', 'in': 'row'})}")
    place = next(link for link in outputs.links if "/evidence/" in link)
    target, anchor = place.removeprefix(page.base).split("#")
    assert anchor in read(page, target).ids
    within = f"/search?{urlencode({'q': 'politeness', 'run': page.key('two')})}"
    assert {link.split("/")[3] for link in read(page, within).links if "#event" in link} == {
        page.key("two")
    }
    nothing = read(page, f"/search?q=zeppelin&run={page.key('two')}")
    assert "Nothing holds" in nothing.text and f"{page.base}/search?q=zeppelin" in nothing.links
    assert "More →" in read(page, "/search?q=yes").text
    for query in ('"', "*", "a AND", "NEAR(", "text: x", "x'; DROP TABLE runs", "((", "^", "-a"):
        assert page.get(f"/search?{urlencode({'q': query})}").status == 200, query


def test_two_runs_are_compared(page: Site, runs: Path) -> None:
    keys = f"first={page.key('one')}&second={page.key('two')}"
    text = read(page, f"/compare?{keys}").text
    assert "3 questions were registered in both, 3 of them with the same status" in text


def test_a_running_investigation_is_followed(page: Site, runs: Path) -> None:
    path = f"/run/{page.key('two')}"
    with RunFolder(runs / "two", write=True) as folder:
        calls = [{"id": "x", "name": "sample_responses", "arguments": {}}]
        folder.append("turn", {"text": "further", "calls": calls})
        page.desk.index.refresh()
        followed = page.get("/?follow=1")
        queue = followed.text
        assert "● running" in queue and followed.headers["refresh"] == "5"
        assert "last: sample_responses" in queue and "6 turns" in queue
        assert not {"refresh"} & {*page.get("/").headers, *page.get(path).headers}
        assert page.get(f"{path}?follow=1").headers["refresh"] == "3"
        folder.append("turn", {"text": "and further"})
        page.desk.index.refresh()
        assert "7 turns" in page.get(path).text
    assert "● running" not in page.get("/").text


def test_a_word_is_left_for_a_running_model_and_for_nobody_else(page: Site, runs: Path) -> None:
    path = f"/run/{page.key('two')}"
    assert page.post(f"{path}/say", {"text": "test the order"}).status == 409
    log = RunFolder(runs / "two").events
    with RunFolder.create(runs / "live") as folder:
        folder.append("run_opened", {**log[0].data, "investigator": "openai/gpt-6-sol"})
        page.desk.index.refresh()
        path = f"/run/{page.key('live')}"
        assert "A word to the investigator" in page.get(path).text
        renewed = page.get(f"{path}?follow=1").text
        assert "<textarea" not in renewed, "a page that renews itself would lose it"
        sent = page.post(f"{path}/say", {"text": "test the <b>order</b>\nnext"})
        assert sent.status == 303 and "said=1" in sent.headers["location"]
        shown = page.get(f"{path}?said=1").text
        assert "<textarea" in shown and "read before the next turn" in shown
        (word,) = WordsAside(runs / "live").since(0)
        assert word.text == "test the <b>order</b> next"
        assert page.post(f"{path}/say", {"text": " "}).status == 409


def test_a_run_that_has_not_ended_is_not_reviewed_yet(page: Site, runs: Path) -> None:
    log = (runs / "two/events.jsonl").read_text().splitlines()
    (runs / "two/events.jsonl").write_text("\n".join(log[:-1]) + "\n")
    page.desk.index.refresh()
    path = f"/run/{page.key('two')}/finding/P1"
    assert "<form method" not in page.get(path).text
    report = path.replace("finding/P1", "report")
    assert "– not tested yet" in page.get("/").text and "– not tested yet" in page.get(report).text
    answer = page.post(path, {"verdict": "accept", "report": "0" * 64})
    assert answer.status == 409 and not (runs / "two" / FILE).exists()
    assert page.desk.first_unreviewed((page.key("one"), "N1")) == (page.key("one"), "P1")


def test_a_damaged_run_is_named_and_the_others_stay(page: Site, runs: Path) -> None:
    log = (runs / "two/events.jsonl").read_bytes()
    (runs / "two/events.jsonl").write_bytes(log.replace(b"politeness", b"politeneSs", 1))
    page.desk.index.refresh()
    assert "cannot be read" in read(page, "/").text
    assert "damaged" in read(page, f"/run/{page.key('two')}").text
    assert page.get(f"/run/{page.key('two')}/report").status == 409
    assert page.get(f"/run/{page.key('one')}/report").status == 200


def test_a_side_file_that_is_a_link_is_neither_read_nor_written(page: Site, runs: Path) -> None:
    outside = runs.parent / "outside.jsonl"
    outside.write_text("kept\n")
    (runs / "one" / FILE).symlink_to(outside)
    path = f"/run/{page.key('one')}/finding/P1"
    answer = page.post(path, {"verdict": "accept", "report": "0" * 64})
    assert answer.status == 409 and outside.read_text() == "kept\n"


def test_hostile_payloads_stay_text_in_every_field(tmp_path: Path) -> None:
    make_hostile_runs(tmp_path)
    with site(tmp_path) as page:
        run = f"/run/{page.key('many')}"
        paths = ["/", "/agreement", run, f"{run}/report", f"{run}/finding/N1", f"{run}/finding/P1"]
        paths += [f"{run}/transcript?from={start}" for start in range(0, 3600, 100)]
        paths += [f"{run}/ledger?from={start}" for start in (0, 1200, 2400)]
        paths += [f"{run}/evidence", *(f"{run}/evidence/{k}" for k in range(7, 32))]
        paths += [f"/run/{entry.key}" for entry in page.desk.index.runs()]
        paths += [f"/search?{urlencode({'q': text})}" for text in PAYLOADS[::7]]
        paths += [f"/run/{quote(text, safe='')}" for text in PAYLOADS[::50]]
        keys = [entry.key for entry in page.desk.index.runs()][:2]
        paths.append(f"/compare?first={keys[0]}&second={keys[1]}")
        words: list[str] = []
        for path in paths:
            answer = page.get(path)
            assert answer.status in (200, 404), (path, answer.text[:300])
            scan = Scan(answer.text, page.address)
            assert scan.found == [], path
            assert answer.text.replace("\n", "").replace("\t", "").isprintable(), path
            words.append(scan.text)
        told = " ".join(words)
        for text in PAYLOADS:
            plain = " ".join(text.split()).strip("`\x00\u2028")
            assert plain.replace("\u202e\x1b", "⟨U+202E⟩⟨U+001B⟩")[-20:] in told, text
