"""What each role did stands in the report in numbers that are those of the log."""

from __future__ import annotations

from pathlib import Path

from agent.investigation import Turn
from agent.opening import read_run
from agent.rendering import write_report
from agent.report import build_report
from agent.roles import RolePart, roles_of
from agent.verify import verify
from tests import test_sceptic as challenges
from tests.scripted_run import hypotheses, prediction
from tests.test_writer import BAD, END, GOOD, Model, call, drive


def part(path: Path, role: str) -> RolePart:
    (found,) = [each for each in build_report(read_run(path)).roles if each.role == role]
    return found


def test_the_writer_is_counted_by_prompt_and_by_what_rests_on_its_prompts(tmp_path: Path) -> None:
    turns = [
        call("write_prompts", count=20),
        Turn(calls=tuple(hypotheses())),
        call(
            "register_predictions",
            predictions=[prediction(population="fresh-1", per_cluster=8, clusters=8)],
        ),
        call("confirm", registrations=["P1"]),
        call("write_prompts"),
        END,
    ]
    drive(tmp_path, Model([[*BAD, *GOOD[:8]], GOOD[4:], BAD]), turns)
    found = part(tmp_path, "writer")
    counts = found.counts
    assert found.models == ("openai/model",) and (counts["calls"], counts["calls in vain"]) == (
        2,
        1,
    )
    assert (counts["prompts asked"], counts["prompts taken"]) == (60, 20)
    assert counts["refused, {context} is missing"] == 1
    assert (
        counts["prompts refused"]
        == sum(n for k, n in counts.items() if k.startswith("refused, "))
        >= 8
    )
    assert found.findings == ("P1",) and counts["findings on its prompts"] == 1
    assert "P1 (" in found.sentence and "like one that is there already" in found.sentence
    write_report(tmp_path)
    assert verify(tmp_path).faults == ()
    for name in ("report.html", "report.md"):
        page = (tmp_path / "report" / name).read_text()
        assert "Asked for 60 prompts in 2 calls, 1 of them in vain; 20 were taken" in page


def test_the_sceptic_is_counted_by_what_it_opened_again(tmp_path: Path) -> None:
    challenges.drive(tmp_path / "opened", challenges.sceptic(challenges.SAME_WORD))
    found = part(tmp_path / "opened", "sceptic")
    assert found.findings == ("P1",) and found.counts == {
        "turns": 3,
        "counter-experiments registered": 1,
        "counter-experiments tested": 1,
        "findings challenged": 1,
        "findings opened again": 1,
    }
    assert "opened 1 again (P1). Why it stopped: it rested its case." in found.sentence
    challenges.drive(tmp_path / "stood", challenges.sceptic(challenges.HARMLESS))
    stood = part(tmp_path / "stood", "sceptic")
    assert stood.findings == () and stood.counts["findings challenged"] == 1
    assert stood.counts["findings opened again"] == 0


def test_a_role_that_never_spoke_is_counted_with_noughts(tmp_path: Path) -> None:
    investigation = drive(tmp_path / "run", Model([GOOD]), [END])
    (writer,) = roles_of(investigation, [])
    assert not any(writer.counts.values()) and "No finding rests" in writer.sentence
    assert roles_of(drive(tmp_path / "alone", None, [END]), []) == ()
