"""A run with a judged measure comes to what a rule of words comes to; blind, resumable, and verified."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.budget import spent_by
from agent.confirm import collect
from agent.investigation import Investigation, ToolCall, Turn
from agent.judge import JudgeFault, warning_of
from agent.opening import open_run, read_run, resume_run
from agent.rendering import write_report
from agent.report import build_report
from agent.rerun import rerun
from agent.verdict import decide
from agent.verify import verify
from tests.judging_server import (
    CLAUDE,
    GPT,
    JUDGED,
    QUESTION,
    QWEN,
    WORDS,
    answering,
    judged_run,
    new_server,
    output_in,
    panel_at,
    says_yes,
    script,
    strings_of,
    to_its_end,
)
from tests.llm_server import Error, LLMServer, Recorded, Step, forget_environment
from tests.processes import wait_until
from tests.scripted_run import case_of, hypotheses, make_run, worker_for
from tests.test_verify import Forger
from tools.black_box import BLACK_BOX
from tools.scoring import summarise
from tools.worker_client import InProcessWorker


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    with new_server() as running:
        running.answer = answering(says_yes)
        yield running


def test_a_judged_run_comes_to_the_verdicts_of_the_same_rule_on_words(
    tmp_path: Path, server: LLMServer
) -> None:
    path = tmp_path / "judged"
    found = judged_run(path, panel_at(server.url))
    plain = make_run(tmp_path / "words", script(WORDS), case=case_of(measure=WORDS))
    assert [v.status for v in found.verdicts.values()] == ["supported", "refuted"]
    assert [v.status for v in plain.verdicts.values()] == ["supported", "refuted"]
    assert found.step_zero is not None and plain.step_zero is not None
    assert found.step_zero["rates"] == plain.step_zero["rates"]
    assert found.step_zero["agreement"]["judges"] == {"judge_1": CLAUDE, "judge_2": QWEN}
    write_report(path)
    assert verify(path).faults == ()
    report = build_report(read_run(path))
    finding = report.findings[0]
    assert QUESTION in finding.statement and "judges say yes" in finding.statement
    (control,) = [each for each in finding.controls if each.name == "the judges agree"]
    assert control.passed and control.detail.startswith("two judges agree on 100 % of")
    for page in ("report.md", "report.html"):
        text = (path / "report" / page).read_text(encoding="utf-8")
        assert "two judges agree on 100 % of" in text and "qwen3-32b" in text
    (judges,) = report.roles
    assert judges.models == (CLAUDE, QWEN) and finding.id in judges.findings
    assert judges.counts["agreed"] == judges.counts["compared"] > 0
    assert judges.counts["outputs"] >= judges.counts["compared"]
    assert f"{finding.id}: two judges agree on 100 % of" in judges.sentence
    spent = [event.data for event in found.folder.of_type("spent")]
    assert {each["role"] for each in spent} == {"judge 1", "judge 2"}
    assert sum(each["spent"]["requests"] for each in spent) == len(server.requests)
    tokens = sum(each.input_tokens + each.output_tokens for each in spent_by(found))
    assert tokens == 110 * len(server.requests)
    assert report.spent["dollars, judge 1"] == pytest.approx(
        report.spent["requests, judge 1"] * 200e-6
    )


def test_no_request_tells_what_is_being_tested(tmp_path: Path, server: LLMServer) -> None:
    panel = panel_at(server.url, GPT, CLAUDE)
    shown = JUDGED | {"show_prompt": True}
    said = script(shown, 2, interpretations={})
    found = judged_run(tmp_path, panel, said, measure=shown)
    assert found.registrations
    texts = ["\n".join(strings_of(request.body)).casefold() for request in server.requests]
    assert any("version" in text for text in texts)
    hidden = [found.case.behaviour, found.case.name, "/secret/place", "a hidden word"]
    hidden += [each.claim for each in found.hypotheses.values()]
    hidden += [
        "treatment",
        "control",
        "rival",
        "reference",
        "placebo",
        "hypothes",
        "no-op",
        "choose_level",
    ]
    hidden += [CLAUDE, found.run_secret]
    for word in hidden:
        assert not any(word.casefold() in text for text in texts), word


def test_identical_texts_are_put_to_a_judge_once_and_requests_are_the_same_in_any_session(
    tmp_path: Path, server: LLMServer
) -> None:
    first = judged_run(tmp_path / "one", panel_at(server.url))
    asked = sorted(request.text for request in server.requests)
    assert len(asked) == len(set(asked)), "no request twice"
    outputs = {
        text
        for entry in first.experiments
        for rows in table_in(first, entry.number).values()
        for row in rows
        for text in row["outputs"]
    }
    assert len(asked) == 2 * len(outputs)
    server.requests.clear()
    judged_run(tmp_path / "two", panel_at(server.url))
    assert sorted(request.text for request in server.requests) == asked


def table_in(investigation: Investigation, number: int) -> dict[str, Any]:
    stored = investigation.experiment(number)
    assert stored.result is not None
    return investigation.folder.get_json(stored.result["raw"])["arms"]


@pytest.mark.parametrize("kind", ["quota", "killed"])
def test_a_run_whose_judge_fails_is_kept_and_asks_the_same_when_it_goes_on(
    tmp_path: Path, server: LLMServer, kind: str
) -> None:
    lock, count = threading.Lock(), [0]

    def failing(recorded: Recorded) -> Step:
        with lock:
            count[0] += 1
        if "version" in output_text(recorded.body) and kind == "quota":
            return Error(402, type="billing_error", message="credit is used up")
        return answering(says_yes)(recorded)

    def output_text(body: dict[str, Any]) -> str:
        return "version" if count[0] > 6 else output_in(body)

    server.answer = failing
    path = tmp_path / "run"
    shown = JUDGED | {"show_prompt": True}
    panel = panel_at(server.url)
    if kind == "killed":
        real = panel.read

        def read(job: Any) -> Any:
            if count[0] > 6:
                raise KeyboardInterrupt
            return real(job)

        panel.read = read  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(JudgeFault if kind == "quota" else KeyboardInterrupt) as caught:
        judged_run(path, panel, measure=shown)
    if isinstance(caught.value, JudgeFault):
        assert caught.value.kind in ("quota", "invalid") and caught.value.whose.startswith("judge ")
    assert wait_until(lambda: all(each.name != "judge" for each in threading.enumerate()), 10)
    asked = {r.text for r in server.requests}
    server.requests.clear()
    server.answer = answering(says_yes)
    worker = worker_for(path)
    worker.judge = again = panel_at(server.url)
    investigation = resume_run(path, worker)
    assert investigation.judges == again.names
    assert investigation.step_zero is None and not investigation.experiments
    investigation.costs = again.costs
    to_its_end(investigation, script(JUDGED))
    assert asked <= {r.text for r in server.requests}, "the same requests, byte for byte"
    assert len(server.requests) == len({r.text for r in server.requests})
    assert investigation.ended == "submitted"
    assert verify(path).faults == ()


def test_judges_that_read_otherwise_are_told_and_not_registered(
    tmp_path: Path, server: LLMServer
) -> None:
    def contrary(model: str, output: str) -> str:
        if "qwen" in model:
            return "yes"
        return says_yes(model, output)

    server.answer = answering(contrary)
    said = script(JUDGED, 2, interpretations={}, summary="")
    found = judged_run(tmp_path, panel_at(server.url), said)
    assert not found.registrations
    (result, *_) = found.exchanges[1].results
    assert result.error is not None and len(result.error.splitlines()) == 2
    assert "at least 80% are needed: word the question" in result.error
    assert "two judges agree on" in result.error
    rows = table_in(found, 1)["reference"]
    assert {score for row in rows for score in row["scores"]} <= {0.5, 1.0}
    assert verify(tmp_path).faults == ()


def test_a_confirmation_that_judges_read_otherwise_is_not_supported(
    tmp_path: Path, server: LLMServer
) -> None:
    """They agree on the pilot, and no longer on the confirmation's outputs."""
    panel = panel_at(server.url)
    investigation = judged_run(tmp_path, panel, script(JUDGED, 2))
    worker: Any = investigation.worker
    registration = investigation.registrations["P1"]

    def contrary(model: str, output: str) -> str:
        if "qwen" in model and "surely" in output:
            return "no"
        return says_yes(model, output)

    server.answer = answering(contrary)
    worker.judge = panel_at(server.url)
    reopened = resume_run(tmp_path, worker)
    reopened.ended = None
    _, table = collect(reopened, registration)
    reopened.folder.close()
    verdict = decide(registration.prediction, table, registration.alpha, 0)
    checks = {check.name: check for check in verdict.checks}
    assert not checks["the judges agree"].passed
    assert verdict.status == "effect shown, cause open" and verdict.p is not None


def sealed(path: Path, change: Callable[[dict[str, Any], Any], None]) -> list[str]:
    """Change the raw table of the confirmation, seal everything again, and return what verify finds."""
    run = Forger(path)
    number = run.of("verdict")[0]["experiment"]
    entry = run.of("experiment")[number - 1]
    stored = run.blob(entry["blob"])
    raw = run.blob(stored["result"]["raw"])
    change(stored["result"], raw["arms"])
    stored["result"]["raw"] = run.replace(stored["result"]["raw"], raw, sealed=True)
    run.replace(run.of("experiment")[number - 1]["blob"], stored, sealed=True)
    run.write(sealed=True)
    return [fault.what for fault in verify(path).faults]


def a_label(result: Any, arms: Any) -> None:
    labels = arms["treatment"][0]["judgements"]["judge_1"]
    labels[0] = 1 - labels[0]


def a_score(result: Any, arms: Any) -> None:
    arms["treatment"][0]["scores"][0] = 0.5


def label_and_score(result: Any, arms: Any) -> None:
    row = arms["treatment"][0]
    row["judgements"] = {name: [1 - each for each in v] for name, v in row["judgements"].items()}
    row["scores"] = [1 - row["scores"][0]]
    row["mean"] = row["scores"][0]
    result["arms"]["treatment"] = summarise(arms["treatment"]).model_dump(mode="json")


def the_agreement(result: Any, arms: Any) -> None:
    result["agreement"]["agreement"] = 0.99


def the_judges(result: Any, arms: Any) -> None:
    result["agreement"]["judges"]["judge_2"] = GPT


def a_judge_less(result: Any, arms: Any) -> None:
    for rows in arms.values():
        for row in rows:
            del row["judgements"]["judge_2"]


def no_agreement(result: Any, arms: Any) -> None:
    del result["agreement"]


FORGED = {
    a_label: "the score does not follow",
    a_score: "the score does not follow",
    label_and_score: "has two labels",
    the_agreement: "how the judges agree",
    the_judges: "are not those of the run",
    a_judge_less: "labels of",
    no_agreement: "does not tell how the judges",
}


def test_changed_labels_scores_and_agreement_are_caught(tmp_path: Path, server: LLMServer) -> None:
    judged_run(tmp_path / "run", panel_at(server.url), script(JUDGED, 3))
    for change, words in FORGED.items():
        path = tmp_path / change.__name__
        shutil.copytree(tmp_path / "run", path)
        found = sealed(path, change)
        assert any(words in what for what in found), (change.__name__, found)


def test_rerun_keeps_stored_labels_or_asks_again(tmp_path: Path, server: LLMServer) -> None:
    path = tmp_path / "run"
    judged_run(path, panel_at(server.url))
    server.requests.clear()
    result = rerun(path, worker_for(path))
    assert result.identical and not server.requests
    assert "stored labels" in result.lines()[-2]
    worker = worker_for(path)
    worker.judge = panel_at(server.url)
    again = rerun(path, worker)
    assert again.identical and server.requests and "judged again" in again.lines()[-2]
    server.answer = answering(lambda model, output: "yes")
    worker.judge = panel_at(server.url)
    assert not rerun(path, worker).agrees
    plain = make_run(tmp_path / "words")
    assert rerun(plain.folder.path, worker_for(plain.folder.path)).notes == ()


def test_an_output_that_changed_has_no_stored_label(tmp_path: Path, server: LLMServer) -> None:
    judged_run(tmp_path, panel_at(server.url))
    other: Any = worker_for(
        tmp_path, table={"behaviours": [{"shown": ["Well."], "otherwise": ["Er."]}]}
    )
    result = rerun(tmp_path, other, only_confirmations=True)
    assert not result.agrees
    assert result.agreements[0].numbers_same == 0


def test_judges_of_one_family_and_a_single_one_are_warned_of_in_the_report(
    tmp_path: Path, server: LLMServer
) -> None:
    assert warning_of([CLAUDE, GPT]) is None and warning_of([]) is None
    twins = ("openai-chat/anthropic/claude-haiku-5", CLAUDE)
    said = script(JUDGED, 3)
    for number, names in enumerate((twins, (GPT,))):
        path = tmp_path / str(number)
        found = judged_run(path, panel_at(server.url, *names), said)
        assert found.verdicts["P1"].status == "supported"
        warning = warning_of(names)
        assert warning is not None and "\n" not in warning
        report = build_report(read_run(path))
        assert warning in report.findings[0].limits
        assert report.step_zero is not None and warning in (report.step_zero.judges or "")
        write_report(path)
        assert warning.split("(")[0] in (path / "report/report.md").read_text(encoding="utf-8")
        assert verify(path).faults == ()
    assert len([c for c in report.findings[0].controls if c.name == "the judges agree"]) == 0


def test_an_investigator_without_judges_is_told_what_to_do(tmp_path: Path) -> None:
    said = script(JUDGED, 2, interpretations={})
    explore = ToolCall(
        id="e", name="sample_responses", arguments={"items": ["x?"], "measure": JUDGED}
    )
    turn = Turn(calls=(explore, *hypotheses()))
    base: Any = worker_for(tmp_path)
    worker = InProcessWorker(base.subject, BLACK_BOX, tmp_path / "blobs")
    investigation = open_run(tmp_path, case_of(), worker, "scripted", 7)
    to_its_end(investigation, [turn, *said[1:]])
    first, second = investigation.exchanges[0].results[0], investigation.exchanges[1].results[0]
    assert first.error is not None and "--judge anthropic/MODEL" in first.error
    assert second.error is not None and "--judge anthropic/MODEL" in second.error
