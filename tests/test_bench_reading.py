"""Reading afterwards: a person, or a model, is put before reports that no reader has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.person import LeftByPerson
from evals.bench.plan import read_plan
from evals.bench.readers import PersonReader, read_probability
from evals.bench.reading import read, unread
from evals.bench.records import SittingResult
from evals.bench.sitting import read_results, sit
from naturalist import app
from tests.test_bench_sitting import quick_exam

pytestmark = pytest.mark.usefixtures("workers_here")


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory, workers_here: None) -> Path:
    """Two sittings that nobody has read."""
    out, plan = quick_exam(tmp_path_factory.mktemp("read"), "exam", 0)
    for each in plan.sittings[:2]:
        assert sit(out, plan, each).error is None
    return out


def typed(answers: Callable[[int], str], told: list[str]) -> PersonReader:
    """Return a person who types an answer to each question, by its number."""
    asked = iter(range(10_000))

    def ask(_: str) -> str:
        return answers(next(asked))

    return PersonReader(ask, told.append)


def scored(result: SittingResult) -> dict[str, Any]:
    return result.scores["explain"].details


def test_a_person_reads_on_after_a_break_and_every_answer_counts(exam: Path) -> None:
    plan, told = read_plan(exam), list[str]()

    def leaves(number: int) -> str:
        if number >= 40:
            raise EOFError
        return "50%"

    with pytest.raises(LeftByPerson):
        list(read(exam, plan, typed(leaves, told)))
    # Three times twelve answers made the first sitting's score; of the second's four nothing is kept.
    first = next(each for each in read_results(exam) if each.scores["explain"].value is not None)
    assert first.scores["explain"].value == 0.0 and scored(first)["prompts"] == 12
    assert scored(first)["reader"] == "person" and scored(first)["reader_tokens"] == 0
    assert len(unread(exam)) == 1
    seen = "\n".join(told)
    places = [seen.index(words) for words in ("nothing of this model", '"prompt":', "# ")]
    assert places == sorted(places)

    # Slips are asked again; who says after the report what they did not before has been told something.
    def slips(number: int) -> str:
        return "often" if number == 0 else "0.5" if number <= 24 else "0.9"

    [second] = list(read(exam, plan, typed(slips, told)))
    assert any(line.startswith("a number from 0 to 1") for line in told)
    assert scored(second)["log_score_examples"] == scored(second)["log_score_nothing"]
    assert scored(second)["log_score_report"] != scored(second)["log_score_examples"]
    assert not unread(exam)


def test_what_a_person_types_is_a_probability_or_asked_again() -> None:
    assert [read_probability(text) for text in ("0.3", " 30% ", "1", "0")] == [0.3, 0.3, 1.0, 0.0]
    for text in ("", "30", "-0.1", "nan", "inf", "yes", "101%"):
        assert read_probability(text) is None


def test_nobody_is_asked_where_no_terminal_is(tmp_path: Path) -> None:
    out = str(tmp_path / "exam")
    for words, line in (
        (["bench", "run", "drill", "--reader", "person", "--out", out], "naturalist bench read"),
        (["bench", "read", str(tmp_path)], "holds no plan.json"),
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2, done.output
        assert line in done.stderr and done.stderr.count("\n") == 1
