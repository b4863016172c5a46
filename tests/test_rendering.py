"""Pages stay small and quick, however much a run holds."""

from __future__ import annotations

import re
import time

import pytest

from agent.finding import Finding
from agent.opening import read_run
from agent.rendering import render_html, so_far, ticks
from agent.report import Report, build_report
from agent.shown_evidence import Evidence
from agent.wording import interval_words, name, with_unit
from tests.scripted_run import make_run
from tools.measures import AnswerMatch, LogprobDifference


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    path = tmp_path_factory.mktemp("runs") / "run"
    make_run(path)
    return build_report(read_run(path))


def test_a_report_of_twenty_findings_and_two_thousand_items_is_small_and_quick(
    report: Report,
) -> None:
    finding, evidence = report.findings[0], report.evidence_for("P1")
    assert evidence is not None
    long = {"prompt": (("user", "words " * 80),), "outputs": ("answer " * 60,)}
    arms = tuple(
        arm.model_copy(update={"shown": tuple(s.model_copy(update=long) for s in arm.shown)})
        for arm in evidence.arms
    )
    findings: list[Finding] = []
    every: list[Evidence] = []
    for number in range(20):
        name = f"P{number + 1}"
        findings.append(finding.model_copy(update={"id": name}))
        every.append(evidence.model_copy(update={"finding": name, "arms": arms}))
    large = report.model_copy(update={"findings": tuple(findings), "evidence": tuple(every)})
    started = time.process_time()
    page = render_html(large)
    assert time.process_time() - started < 3
    assert 500_000 < len(page.encode()) < 2_000_000


def test_of_very_many_experiments_a_page_lists_the_first_and_those_it_refers_to(
    report: Report,
) -> None:
    entry = report.experiments[0]
    every = tuple(entry.model_copy(update={"number": k}) for k in range(1, 20_001))
    zero = report.step_zero
    assert zero is not None
    known = {each.number for each in report.experiments}
    screen = {"tool": "s", "experiment": 19_000, "result": {}, "error": None}
    update = {"experiments": every, "screens": (screen,)}
    page = render_html(report.model_copy(update=update))
    listed = re.findall(r'<tr id="exp-(\d+)"', page)
    assert len(listed) == 501 and {"500", "19000", *map(str, known)} <= set(listed)
    assert "501 of 20000 experiments" in page and len(page.encode()) < 500_000


def test_what_has_no_verdict_is_abandoned_only_once_its_run_has_ended() -> None:
    assert so_far("not tested (abandoned)", "submitted") == "not tested (abandoned)"
    assert so_far("not tested (abandoned)", None) == "not tested yet"
    assert so_far("refuted", None) == "refuted"


def test_an_effect_is_told_apart_from_the_ends_of_its_interval() -> None:
    nats = LogprobDifference(positive=("yes",), negative=("no",))
    assert (
        with_unit(0.82, nats, signed=True) == "+0.82 nats" and with_unit(0.3, nats) == "0.30 nats"
    )
    assert (
        interval_words((0.77, 1.26), nats) == "0.77 to 1.26"
        and with_unit(-0.001, nats) == "-0.0010 nats"
    )
    assert interval_words((0.98, 1.01), AnswerMatch(values=("yes",))) == "98 to 100"
    assert with_unit(0.023, AnswerMatch(values=("yes",))) == "2.3 points"


def test_an_empty_value_has_a_name_and_the_words_behind_it_stay_words() -> None:
    assert ticks(f"setting {name('who')} to {name('')} or {name('me')}") == (
        "setting <code>who</code> to an empty text or <code>me</code>"
    )
