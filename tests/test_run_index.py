"""The index finds what is in the logs, follows them as they grow, and can be thrown away."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

import pytest

from agent.finding import findings
from agent.investigation import Investigation
from agent.opening import read_run
from agent.review import following as run_following
from agent.review import opened
from agent.review.desk import Desk, cell_places
from agent.review.index import RunIndex, match_of
from agent.review.indexed_words import gist
from agent.run_folder import SET_PLAN, Event, RunFolder, RunLocked, is_written, read_events, read_on
from tests.review_server import site
from tests.scripted_run import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "run"
    make_run(path)
    return path


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "runs" / "one")
    return tmp_path / "runs"


def index_of(runs: Path) -> RunIndex:
    index = RunIndex(runs)
    index.refresh()
    return index


def titles(index: RunIndex, query: str) -> list[str]:
    return [hit.title for hit in index.search(query)[0]]


def test_it_holds_what_the_log_says(runs: Path) -> None:
    (entry,) = index_of(runs).runs()
    investigation = read_run(runs / "one")
    assert entry.events == len(investigation.folder.events)
    assert entry.facts["question"] == investigation.case.behaviour
    assert entry.facts["counts"]["turn"] == len(investigation.exchanges)
    assert entry.facts["ended"] == "submitted" and entry.ended and not entry.live
    assert [(f["id"], f["status"]) for f in entry.findings] == [
        (f.id, f.status) for f in findings(investigation)
    ]


def test_events_are_read_from_where_they_stand(runs: Path) -> None:
    index = index_of(runs)
    (entry,) = index.runs()
    stored = RunFolder(runs / "one").events
    assert index.events(entry, runs / "one", 0, 10_000) == stored
    assert index.events(entry, runs / "one", 7, 3) == stored[7:10]
    verdicts = [event for event in stored if event.type == "verdict"]
    assert index.events(entry, runs / "one", 0, 9, ("verdict",)) == verdicts
    assert index.events(entry, runs / "one", 0, 1, ("verdict",), skip=1) == verdicts[1:2]


def test_a_run_is_opened_once_while_its_log_is_the_same(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = opened.read_run

    def counted(path: Path) -> Investigation:
        read.append(path)
        return real(path)

    monkeypatch.setattr(opened, "read_run", counted)
    desk = Desk(index_of(runs), "ann")
    desk.warm()
    (_, path) = desk.run(desk.index.runs()[0].key)
    assert desk.finding(path, "P1")[1].id == "P1" and len(read) == 1
    with RunFolder(path, write=True) as folder:
        folder.append("note", {"text": "one more", "turn": 9})
    assert desk.finding(path, "N2")[1].id == "N2" and len(read) == 2


def test_only_what_was_added_is_read(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of(runs)
    taken: list[int] = []
    real = run_following.Follower._take

    def counted(self: run_following.Follower, event: Event) -> None:
        taken.append(event.seq)
        real(self, event)

    monkeypatch.setattr(run_following.Follower, "_take", counted)
    before = index.runs()[0].events
    index.refresh()
    assert taken == []
    with RunFolder(runs / "one", write=True) as folder:
        folder.append("turn", {"text": "a zebra crossing"})
        index.refresh()
        folder.append("turn", {"text": "an okapi"})
        index.refresh()
    assert taken == [before, before + 1]
    (entry,) = index.runs()
    assert entry.events == before + 2
    assert len(index.search("zebra")[0]) == len(index.search("okapi")[0]) == 1
    fresh = runs.parent / "fresh"
    shutil.copytree(runs / "one", fresh / "one")
    (again,) = index_of(fresh).runs()
    assert again.model_dump(exclude={"number"}) == entry.model_dump(exclude={"number"})


def test_a_line_that_is_not_finished_waits(runs: Path) -> None:
    log = runs / "one/events.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    index = index_of(runs)
    (entry,) = index.runs()
    assert entry.fault is None and not entry.ended
    log.write_bytes(whole)
    index.refresh()
    assert index.runs()[0].ended


def test_another_log_in_its_place_is_read_anew(runs: Path) -> None:
    index = index_of(runs)
    assert titles(index, "politeness")
    log = runs / "one/events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:3]))
    index.refresh()
    assert index.runs()[0].events == 3 and not titles(index, "politeness")
    log.write_bytes(b"".join(lines))
    index.refresh()
    assert index.runs()[0].events == len(lines) and titles(index, "politeness")
    shutil.rmtree(runs / "one")
    index.refresh()
    assert index.runs() == [] and not titles(index, "politeness")


def test_damage_is_named_and_mended_logs_come_back(runs: Path) -> None:
    log = runs / "one/events.jsonl"
    whole = log.read_bytes()
    index = index_of(runs)
    log.write_bytes(whole.replace(b"politeness", b"Politeness", 1))
    index.refresh()
    fault = index.runs()[0].fault
    assert fault is not None and "checksum" in fault
    log.write_bytes(whole)
    index.refresh()
    assert index.runs()[0].fault is None and index.runs()[0].findings


def test_an_index_that_is_lost_or_broken_is_made_anew(runs: Path) -> None:
    before = index_of(runs).runs()
    (runs / "index.sqlite").write_bytes(b"no database at all" * 100)
    for side in runs.glob("index.sqlite-*"):
        side.unlink()
    assert index_of(runs).runs() == before


def test_a_single_run_can_be_given(runs: Path) -> None:
    index = index_of(runs / "one")
    (entry,) = index.runs()
    assert entry.name == "one" and index.entry(entry.key) is not None


def test_the_runs_of_a_set_are_there_too(runs: Path) -> None:
    (runs / "set").mkdir()
    (runs / "set" / SET_PLAN).write_text("{}")
    for name in ("1", "aggregate"):
        shutil.copytree(runs / "one", runs / "set" / name)
    with site(runs) as page:
        assert {e.name for e in page.desk.index.runs()} == {"one", "set/1", "set/aggregate"}
        assert page.get(f"/run/{page.key('set/aggregate')}/finding/P1").status == 200


def test_words_are_found_wherever_they_were_said(runs: Path) -> None:
    index = index_of(runs)
    assert "turn" in titles(index, "hypotheses first")
    assert any(title.startswith("hypothesis H2") for title in titles(index, "politeness"))
    outputs, more = index.search("surely", kind="row")
    assert more and all(hit.place.startswith("row/") for hit in outputs)
    assert all(piece.lower() == "surely" for piece in outputs[0].pieces[1::2])
    assert not [h for h in index.search("surely", kind="event")[0] if h.place.startswith("row/")]
    assert titles(index, "politen*") == titles(index, "politeness")
    assert titles(index, '"politeness does"') and not titles(index, '"does politeness"')
    second, _ = index.search("surely", page=2)
    assert {hit.place for hit in second}.isdisjoint(hit.place for hit in index.search("surely")[0])


def test_what_nobody_should_see_is_not_found(runs: Path) -> None:
    index = index_of(runs)
    secret = read_run(runs / "one").run_secret
    for words in (secret, '"secret place"', '"hidden word"'):
        assert titles(index, words) == [], words
    for file in runs.glob("index.sqlite*"):
        assert secret.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "query", ['"', "a OR b", "NEAR(a b)", "text:a", "a - b", "(", "^a", "*", "\x00", "a\x00b", "'"]
)
def test_a_query_is_words_and_nothing_else(runs: Path, query: str) -> None:
    index_of(runs).search(query)
    assert all(word.startswith('"') for word in match_of(query).split(" ") if word and word != "b*")


def lengthen(path: Path, count: int) -> int:
    """Write so many more events into a log, experiments among them; return the number of the last."""
    events = RunFolder(path).events
    done = [event for event in events if event.type == "experiment"]
    first, line = len(events), events[-1].line().encode()
    with (path / "events.jsonl").open("ab") as log:
        for seq in range(first, first + count):
            kind, data = "turn", {"text": f"step w{seq} of it"}
            if seq % 100 == 0:
                kind, data = "experiment", {**done[-1].data, "number": len(done) + seq // 100}
            prev = hashlib.sha256(line).hexdigest()
            line = Event(seq=seq, type=kind, data=data, prev=prev).line().encode()
            log.write(line + b"\n")
    return first + count - 1


def test_a_run_of_a_hundred_thousand_events_is_indexed_whole_and_every_page_of_it_is_quick(
    runs: Path,
) -> None:
    last = lengthen(runs / "one", 100_000)
    with site(runs) as page:
        (entry,) = page.desk.index.runs()
        run = f"/run/{entry.key}"
        parts = ("finding/P1", "report", "transcript?from=90000", "ledger", "evidence")
        names = ["/", run, *(f"{run}/{part}" for part in (*parts, "evidence/900"))]
        names += ["/search?q=step", "/agreement", f"/compare?first={entry.key}&second={entry.key}"]
        for name in names:
            started = time.process_time()
            answer = page.get(name)
            assert answer.status == 200 and time.process_time() - started < 1, name
            assert len(answer.body) < 2_000_000, name
    index = index_of(runs)
    assert entry.fault is None and entry.events == last + 1
    (hit,) = index.search("w77777")[0]
    assert hit.place == "event/77777"
    (event,) = index.events(entry, runs / "one", 77777, 1)
    assert event.data["text"] == "step w77777 of it"
    assert len(index.search("step")[0]) == 25


def test_a_log_can_be_followed_by_offset(made: Path) -> None:
    log = made / "events.jsonl"
    every, _ = read_events(log)
    followed = list(read_on(log, 0))
    assert [event for event, _ in followed] == every
    assert [event for event, _ in read_on(log, followed[4][1])] == every[5:]
    assert len(list(read_on(log, 0, most=1))) == 1


def test_looking_whether_a_run_is_written_does_not_disturb_it(runs: Path) -> None:
    path = runs / "one"
    assert not is_written(path)
    with RunFolder(path, write=True):
        assert is_written(path)
        with pytest.raises(RunLocked):
            RunFolder(path, write=True)
    assert not is_written(path)


def test_the_run_that_was_opened_last_is_the_first_whatever_it_is_called(runs: Path) -> None:
    make_run(runs / "a-later-run")
    assert [entry.name for entry in index_of(runs).runs()] == ["a-later-run", "one"]


def test_the_beginning_of_a_value_is_shown_with_digits_that_can_be_read() -> None:
    value = {"rate": 1 / 3, "p": 1.25e-7 / 3, "name": "9.11", "seed": 201777667784980}
    assert gist(value) == "rate: 0.333, p: 4.17e-08, name: 9.11, seed: 201777667784980"


def test_the_cells_of_a_design_are_named_and_a_broken_one_is_not() -> None:
    edit = {"kind": "set_slot", "slot": "who", "values": ["my boss"]}
    levels = [{"name": "boss", "edits": [edit]}, {"name": "as it is", "edits": []}]
    design = {"tool": "vary_prompts", "arguments": {"factors": [{"name": "who", "levels": levels}]}}
    # The level without edits is the one that others are compared with, and the no-op stands last.
    assert cell_places(design)[0] == "who: 0 is as it is; 1 is boss, setting `who` to `my boss`"
    assert len(cell_places(design)) == 2
    assert cell_places({"tool": "vary_prompts", "arguments": {"factors": [7]}}) == ()
    assert cell_places({"tool": "score_arms", "arguments": design["arguments"]}) == ()
