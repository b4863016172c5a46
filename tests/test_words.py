"""A word to a running investigation is read before the next turn, logged, reported, and decides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.budget import Budget
from agent.investigation import Transcript, Turn
from agent.loop import run
from agent.opening import open_run, read_run, resume_run
from agent.rendering import write_report
from agent.run_folder import RunError
from agent.verify import verify
from agent.words import FILE, WordsAside, say_to
from tests.scripted_run import case_of, make_run, turns, worker_for


class Listening:
    """Says the scripted turns and keeps what it was told; before its second turn somebody speaks."""

    name = "a model"

    def __init__(self, path: Path, dies_before: int = 99) -> None:
        self.path, self.dies_before = path, dies_before
        self.heard: list[tuple[str, ...]] = []

    def next_turn(self, transcript: Transcript) -> Turn:
        number = len(transcript.exchanges)
        self.heard.append(transcript.notices)
        if number + 1 == self.dies_before:
            raise KeyboardInterrupt
        if number == 0:
            say_to(self.path, "test  order\nnext")
            say_to(self.path, "and <b>dates</b>")
        return turns()[number]


NOTICES = (
    "A word from the researcher: test order next",
    "A word from the researcher: and <b>dates</b>",
)


def test_it_is_heard_once_logged_and_changes_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "run"
    investigation = open_run(path, case_of(), worker_for(path), "a model", 7)
    investigation.words = WordsAside(path)
    listening = Listening(path)
    run(investigation, listening, Budget(investigation.case.limits))
    investigation.folder.close()
    assert listening.heard == [(), NOTICES, (), (), ()]
    write_report(path)
    assert verify(path).faults == ()
    again = read_run(path)
    assert again.exchanges[1].notices == NOTICES and again.heard == 2
    quiet = make_run(tmp_path / "quiet")
    assert again.verdicts == quiet.verdicts
    page = (path / "report" / "report.html").read_text(encoding="utf-8")
    assert "before turn 2: test order next" in page and "<b>dates" not in page


def test_killed_before_its_turn_was_logged_it_is_said_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    investigation = open_run(path, case_of(), worker_for(path), "a model", 7)
    investigation.words = WordsAside(path)
    with pytest.raises(KeyboardInterrupt):
        run(investigation, Listening(path, dies_before=2), Budget(investigation.case.limits))
    investigation.folder.close()
    again = resume_run(path, worker_for(path))
    again.words = WordsAside(path)
    listening = Listening(path)
    run(again, listening, Budget(again.case.limits))
    again.folder.close()
    assert listening.heard == [NOTICES, (), (), ()]
    assert verify(path).faults == ()


def test_half_a_line_waits_and_what_nobody_reads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    investigation = open_run(path, case_of(), worker_for(path), "a model", 7)
    say_to(path, "one")
    with (path / FILE).open("a") as file:
        file.write('{"text": "tw')
    assert [word.text for word in WordsAside(path).since(0)] == ["one"]
    with pytest.raises(RunError, match="1 to 2000 characters"):
        say_to(path, " \n ")
    say_to(path, "three")
    with (path / FILE).open("a") as file:
        file.write('no word\n{"text": 4}\n\n')
    say_to(path, "five")
    assert [word.text for word in WordsAside(path).since(0)] == ["one", "three", "five"]
    assert [word.text for word in WordsAside(path).since(2)] == ["five"]
    (path / FILE).unlink()
    (path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="cannot be written"):
        say_to(path, "six")
    assert not (tmp_path / "elsewhere").exists()
    investigation.folder.close()
    make_run(tmp_path / "done")
    with pytest.raises(RunError, match="over"):
        say_to(tmp_path / "done", "late")
    for program in ("systematic", "scripted:x.json", "aggregator"):
        other = tmp_path / program[:6]
        open_run(other, case_of(), worker_for(other), program, 7).folder.close()
        with pytest.raises(RunError, match="reads no words"):
            say_to(other, "hello")
