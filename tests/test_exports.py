"""A run in the formats of other tools, read back by their own readers where those are installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from agent.doors.exports import EXPORTS
from agent.investigation import Investigation
from agent.opening import open_run
from agent.run_folder import RunError
from tests.scripted_run import case_of, make_run, worker_for


def test_a_run_in_which_nothing_happened_yet_has_tables_with_their_columns(tmp_path: Path) -> None:
    open_run(tmp_path / "run", case_of(), worker_for(tmp_path / "run"), "mcp", 7).folder.close()
    EXPORTS["frames"](tmp_path / "run", tmp_path / "out")
    for name, column in (("items", "output"), ("experiments", "tool"), ("findings", "status")):
        table = pandas.read_csv(tmp_path / "out" / f"{name}.csv")
        assert len(table) == 0 and column in table.columns
    EXPORTS["docent"](tmp_path / "run", tmp_path / "out")
    (told,) = json.loads((tmp_path / "out/docent.json").read_text())
    assert [each["role"] for each in told["transcripts"][0]["messages"]] == ["system", "user"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Investigation:
    return make_run(tmp_path_factory.mktemp("exports") / "run")


def text_of(files: list[Path]) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in files)


def test_items_have_a_row_for_each_output_with_the_stored_score(
    run: Investigation, tmp_path: Path
) -> None:
    files = EXPORTS["frames"](run.folder.path, tmp_path)
    items = pandas.read_csv(tmp_path / "items.csv")
    assert tmp_path / "items.csv" in files
    expected = 0
    for entry in run.experiments:
        table = run.folder.get_json((run.experiment(entry.number).result or {})["raw"])["arms"]
        for arm, rows in table.items():
            expected += sum(len(row["outputs"]) for row in rows)
            part = items[(items["experiment"] == entry.number) & (items["arm"] == arm)]
            assert list(part["output"]) == [text for row in rows for text in row["outputs"]]
            stored = [score for row in rows for score in row["scores"]]
            assert [None if pandas.isna(x) else x for x in part["score"]] == stored
    assert len(items) == expected > 100
    confirmed = set(items.loc[items["registration"] == "P1", "purpose"])
    assert confirmed == {"confirmation"}
    experiments = pandas.read_csv(tmp_path / "experiments.csv")
    assert list(experiments["number"]) == [entry.number for entry in run.experiments]
    findings = pandas.read_csv(tmp_path / "findings.csv").set_index("id")
    assert findings.loc["P1", "status"] == "supported"
    assert findings.loc["P1", "estimate"] == pytest.approx(run.verdicts["P1"].estimate)
    assert findings.loc["P3", "status"] == "not tested (abandoned)"


def test_docent_gets_a_list_with_one_run_that_has_the_whole_conversation(
    run: Investigation, tmp_path: Path
) -> None:
    (path,) = EXPORTS["docent"](run.folder.path, tmp_path)
    (told,) = json.loads(path.read_text(encoding="utf-8"))
    (transcript,) = told["transcripts"]
    messages: list[dict[str, Any]] = transcript["messages"]
    assert [each["role"] for each in messages[:3]] == ["system", "user", "assistant"]
    calls = [call for each in messages for call in each.get("tool_calls", ())]
    answers = [each["tool_call_id"] for each in messages if each["role"] == "tool"]
    assert [call["id"] for call in calls] == answers and len(set(answers)) == len(answers) == 8
    assert told["metadata"]["findings"]["P1"] == "supported"
    again = EXPORTS["docent"](run.folder.path, tmp_path / "again")
    assert again[0].read_bytes() == path.read_bytes()
    hidden = [run.run_secret, "/secret/place", *run.draws["P1"]["burned"]]
    assert not any(each in path.read_text() for each in hidden)


def test_docents_own_records_take_it(run: Investigation, tmp_path: Path) -> None:
    docent = pytest.importorskip("docent.data_models")
    (path,) = EXPORTS["docent"](run.folder.path, tmp_path)
    (told,) = [docent.AgentRun.model_validate(each) for each in json.loads(path.read_text())]
    assert told.transcripts[0].messages[2].tool_calls[0].function == "propose_hypothesis"


def test_inspects_own_reader_lists_and_opens_it(run: Investigation, tmp_path: Path) -> None:
    inspect_log = pytest.importorskip("inspect_ai.log")
    (path,) = EXPORTS["inspect"](run.folder.path, tmp_path)
    (found,) = inspect_log.list_eval_logs(str(tmp_path))
    assert found.task == run.case.name and found.name.endswith(path.name)
    log = inspect_log.read_eval_log(found)
    (sample,) = log.samples
    assert log.status == "success" and log.eval.model == "scripted"
    assert {name: score.value for name, score in sample.scores.items()} == {
        "P1": "supported",
        "P2": "refuted",
        "P3": "not tested (abandoned)",
        "N1": "exploratory",
    }
    assert sample.scores["P1"].metadata["estimate"] == run.verdicts["P1"].estimate
    tools = [event for event in sample.events if event.event == "tool"]
    assert [event.function for event in tools] == [
        call.name for each in run.exchanges for call in each.turn.calls
    ]
    begun = [event.id for event in sample.events if event.event == "span_begin"]
    ended = [event.id for event in sample.events if event.event == "span_end"]
    assert begun == ended and len(begun) == len(run.exchanges)
    assert log.results.scores[0].metrics["supported"].value == 1
    assert run.run_secret not in log.model_dump_json()
    assert "/secret/place" not in log.model_dump_json()


def test_without_inspect_one_line_says_what_to_install(
    run: Investigation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.doors.inspect_log.find_spec", lambda name: None)
    with pytest.raises(RunError, match="pip install 'inspect-ai"):
        EXPORTS["inspect"](run.folder.path, tmp_path)
    with pytest.raises(RunError, match="not a run folder"):
        EXPORTS["docent"](tmp_path, tmp_path)
