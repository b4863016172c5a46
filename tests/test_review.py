"""Reviews are kept whole beside the log, the last word of each person counts, and agreement is what it is called."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from agent.review.records import (
    FILE,
    Judgement,
    Review,
    add_review,
    agreements,
    as_csv,
    export_rows,
    new_review,
    of_reviewer,
    read_reviews,
    reviewer_name,
    visible,
)
from agent.run_folder import RunError
from agent.verify import verify
from naturalist import app
from tests.scripted_run import make_run

DIGEST = "a" * 64


def said(finding: str, who: str, verdict: Judgement, comment: str = "") -> Review:
    return new_review(finding, who, verdict, comment, DIGEST)


def test_reviews_are_appended_and_read_in_order(tmp_path: Path) -> None:
    given = [said("P1", "ann", "accept", "good\nindeed"), said("P1", "ben", "reject", "\u202e")]
    for review in given:
        add_review(tmp_path, review)
    assert read_reviews(tmp_path) == given
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 2


def test_many_who_write_at_once_lose_nothing(tmp_path: Path) -> None:
    def many(who: str) -> None:
        for number in range(25):
            add_review(tmp_path, said(f"P{number}", who, "accept", "x" * 5000))

    threads = [threading.Thread(target=many, args=(who,)) for who in ("ann", "ben", "cleo", "dan")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_reviews(tmp_path)) == 100


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    add_review(tmp_path, said("P1", "ann", "accept"))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + whole[:30])
    add_review(tmp_path, said("P2", "ann", "reject"))
    assert [review.finding for review in read_reviews(tmp_path)] == ["P1", "P2"]
    (tmp_path / FILE).write_bytes(b'{"finding": 3}\n\xff\n[]\n' + whole)
    assert [review.finding for review in read_reviews(tmp_path)] == ["P1"]


def test_the_last_word_of_a_person_counts() -> None:
    reviews = [
        said("P1", "ann", "accept"),
        said("P1", "ben", "accept"),
        said("P1", "ann", "reject"),
    ]
    assert of_reviewer(reviews, "ann")["P1"].verdict == "reject"
    assert of_reviewer(reviews, "ben")["P1"].verdict == "accept"


def test_nobody_sees_more_than_they_have_said_something_of() -> None:
    reviews = [
        said("P1", "ann", "accept"),
        said("P2", "ann", "reject"),
        said("P1", "ben", "accept"),
    ]
    assert {(r.finding, r.reviewer) for r in visible(reviews, "ben")} == {
        ("P1", "ann"),
        ("P1", "ben"),
    }
    assert visible(reviews, "cleo") == []


@pytest.mark.parametrize(
    "change",
    [{"verdict": "good"}, {"comment": "x" * 10_001}, {"report": "x"}, {"finding": ""}, {"more": 1}],
)
def test_what_is_no_review_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Review.model_validate({**said("P1", "ann", "accept").model_dump(), **change})


def test_a_name_is_one_line() -> None:
    assert reviewer_name(" ann\n\x1b[31m ") == "ann ⟨U+001B⟩[31m"
    with pytest.raises(RunError, match="--reviewer"):
        reviewer_name(" \n")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="cannot be written"):
        add_review(tmp_path, said("P1", "ann", "accept"))
    assert not os.path.lexists(tmp_path / "elsewhere")


def pairs(*verdicts: tuple[Judgement, Judgement]) -> dict[str, list[Review]]:
    """Return reviews of two people, one pair a finding, half of them in another run."""
    runs: dict[str, list[Review]] = {"one": [], "two": []}
    for number, (first, second) in enumerate(verdicts):
        run = runs["one" if number % 2 else "two"]
        run += [said(f"P{number}", "ann", first), said(f"P{number}", "ben", second)]
    return runs


def test_agreement_is_percent_and_kappa() -> None:
    # Cohen's own formula: 20 findings, 15 agreed; by chance (10 * 11 + 10 * 9) / 400 = 0.5.
    (found,) = agreements(
        pairs(
            *[("accept", "accept")] * 8, *[("accept", "reject")] * 2,
            *[("reject", "accept")] * 3, *[("reject", "reject")] * 7,
        )
    )  # fmt: skip
    assert (found.findings, found.agreed, found.percent) == (20, 15, 75.0)
    assert found.kappa == pytest.approx(0.5)
    assert found.interval is not None and found.interval[0] < 0.5 < found.interval[1] < 1
    assert len(found.disputed) == 5 and ("two", "P8") in found.disputed


def test_kappa_knows_full_agreement_chance_and_what_it_cannot_say() -> None:
    (full,) = agreements(pairs(("accept", "accept"), ("reject", "reject"), ("unsure", "unsure")))
    assert full.kappa == pytest.approx(1)
    (against,) = agreements(pairs(("accept", "reject"), ("reject", "accept")))
    assert against.kappa == pytest.approx(-1)
    (same,) = agreements(pairs(("accept", "accept"), ("accept", "accept")))
    assert (same.percent, same.kappa, same.interval) == (100.0, None, None)


def test_agreement_is_only_over_what_both_reviewed() -> None:
    runs = pairs(("accept", "accept"), ("reject", "accept"))
    runs["one"].append(said("P7", "ann", "accept"))
    runs["two"].append(said("P8", "cleo", "accept"))
    (found,) = agreements(runs)
    assert found.reviewers == ("ann", "ben") and found.findings == 2
    assert (
        agreements({"one": [said("P1", "ann", "accept")], "two": [said("P1", "ben", "accept")]})
        == []
    )


def test_a_table_holds_no_formula() -> None:
    reviews = [
        said("P1", text + "ann", "accept", text + "1") for text in ("=", "+", "-", "@", "\t")
    ]
    content = as_csv(export_rows({"=run": reviews}, {("=run", "P1"): "supported"}))
    for line in content.splitlines()[1:]:
        assert all(not cell.startswith(("=", "+", "-", "@", "\t")) for cell in line.split(","))


def test_the_command_gives_all_reviews_and_the_run_still_verifies(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    add_review(tmp_path / "one", said("P1", "ann", "accept", "yes"))
    add_review(tmp_path / "one", said("P1", "ben", "reject"))
    add_review(tmp_path / "one", said("P1", "ann", "unsure", "no longer"))
    out = CliRunner().invoke(app, ["review", str(tmp_path), "--export", "json"])
    content = json.loads(out.stdout)
    assert [(r["reviewer"], r["verdict"]) for r in content["reviews"]] == [
        ("ann", "unsure"),
        ("ben", "reject"),
    ]
    assert content["reviews"][0]["status"] == "supported"
    assert content["agreement"][0]["agreed"] == 0
    table = CliRunner().invoke(app, ["review", str(tmp_path / "one"), "--export", "csv"])
    assert table.stdout.splitlines()[0].startswith("run,status,finding,reviewer,verdict")
    assert len(table.stdout.splitlines()) == 3
    assert verify(tmp_path / "one").ok


def test_wrong_use_is_told_in_one_line(tmp_path: Path) -> None:
    for words in (["review", str(tmp_path / "none")], ["review", str(tmp_path), "--export", "pdf"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.output
