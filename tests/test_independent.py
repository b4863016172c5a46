"""A set finds what one run missed, confirms on prompts no run could use, and goes on after a kill."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import cast, session
from agent import independent as sets
from agent.aggregator import AggregatorInvestigator
from agent.budget import Budget
from agent.case import Case
from agent.independent import AGGREGATE, SetPlan
from agent.investigation import Investigation, ToolCall, Transcript, Turn
from agent.loop import run
from agent.opening import open_run, read_run
from agent.population import population_of
from agent.prediction import Hypothesis, Prediction
from agent.run_folder import RunFolder
from agent.set_reading import Place, ReadRun, Tried
from agent.submission import Answer
from agent.verify import verify
from tests.scripted_run import OPENINGS, TABLE, case_of, level, prediction, turns, worker_for
from tests.synthetic_cases import in_process_worker, number_case, templates
from tests.test_commands import USAGE, call, script, told, write_case
from tools.prompt import Template

pytestmark = pytest.mark.usefixtures("workers_here")
MORE = (
    "Strangers on the bus agree that", "Write down if", "In the play somebody says that", "Grandmother knew that",
    "One page of the diary tells that", "They teach children that", "Now decide:", "The sign at the gate says",
    "Weigh this up:", "Experts quarrel on whether", "Let us suppose that", "A sailor told me that",
    "My notes have it that", "Only say if", "Under the stairs it was written that",
)  # fmt: skip
TEMPLATES = [{"text": f"{{context}} {opening} {{claim}}."} for opening in (*OPENINGS, *MORE)]
NOTHING = {
    "answer": {"kind": "nothing", "value": [], "confidence": 0.6},
    "summary": "",
    "interpretations": {},
}
MISSED = [turns()[0], turns(**NOTHING)[-1]]
REGISTER = {"predictions": [prediction(per_cluster=6)]}
FOUND = [
    turns()[0],
    Turn(calls=(ToolCall(id="r", name="register_predictions", arguments=REGISTER),)),
    turns()[2],
    turns(summary="", interpretations={})[-1],
]


def big_case(**changes: Any) -> Case:
    return case_of(templates=TEMPLATES, **changes)


def plan_of(seed: int = 0, count: int = 3) -> SetPlan:
    return SetPlan(case=big_case(), investigator="scripts", independent=count, seed=seed)


class Scripts:
    """Says the script of whichever run is being driven."""

    name = "scripts"

    def __init__(self, scripts: Mapping[str, list[Turn]]) -> None:
        self.scripts, self.folder = scripts, ""

    def next_turn(self, transcript: Transcript) -> Turn:
        return self.scripts[self.folder][len(transcript.exchanges)]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a set of scripts on a table, and runs it unless told not to."""

    def start(
        scripts: Mapping[str, list[Turn]], table: dict[str, Any] = TABLE, name: str = "set"
    ) -> Path:
        said = Scripts(scripts)

        def start_worker(case: Case, path: Path, start: Any = None) -> Any:
            said.folder = path.name
            return worker_for(path, table=table)

        make = cast.make_investigator

        def make_investigator(who: str, *rest: Any) -> Any:
            return said if who == "scripts" else make(who, *rest)

        monkeypatch.setattr(session, "start_worker", start_worker)
        monkeypatch.setattr(cast, "make_investigator", make_investigator)
        path = tmp_path / f"runs of {name}" / name
        sets.write_plan(path, plan_of(count=len(scripts)))
        return path

    return start


def driven(path: Path) -> Investigation:
    sets.drive_set(path, cast.Roles(), cast.Provider())
    return read_run(path / AGGREGATE)


def statuses(investigation: Investigation) -> dict[str, str]:
    return {
        investigation.registrations[name].prediction.treatment.name: verdict.status
        for name, verdict in investigation.verdicts.items()
    }


def test_a_cause_that_one_run_missed_is_found_by_the_set_and_verifies(play: Any) -> None:
    path = play({"1": FOUND, "2": MISSED, "3": FOUND})
    aggregate = driven(path)
    assert statuses(aggregate)["version"] == "supported"
    assert {each.batch for each in aggregate.registrations.values()} == {"B1"}
    assert aggregate.submission is not None
    answer = aggregate.submission.answer
    assert (answer.kind, answer.value) == ("factor", ("context",))
    assert answer.confidence == pytest.approx(1.6 / 3, abs=1e-3)
    for name in ("1", "2", "3", AGGREGATE):
        assert verify(path / name).faults == ()
    assert sets.verify_set(path).ok
    content = json.loads((path / AGGREGATE / "report" / "report.json").read_text())
    rows = {row["name"]: row for row in content["set"]["runs"]}
    (first,) = (
        k for k, r in aggregate.registrations.items() if r.prediction.treatment.name == "version"
    )
    assert first in rows["1"]["supported"] and first in rows["3"]["supported"]
    assert rows["2"]["supported"] == [] and rows["2"]["answer"].startswith("nothing")
    (aggregator,) = content["roles"]
    assert aggregator["role"] == "aggregator" and first in aggregator["findings"]
    counts = aggregator["counts"]
    assert (counts["runs read"], counts["registered anew"]) == (3, len(aggregate.registrations))
    assert counts["of them supported"] >= 2 and counts["supported anew"] >= 1
    assert "share of the vote: 53 %" in content["answer"]["sentences"][0]
    one = (path / "1" / "report" / "report.md").read_text()
    assert "one of 3 investigations" in one and "does not cover the choice" in one
    pages = (path / AGGREGATE / "report" / "report.html").read_text()
    assert "Independent runs" in pages and str(path.parent) not in pages


def test_a_set_of_programs_names_the_planted_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [{"text": f"{text} {end}"} for text in templates() for end in ("", "Say it.")]
    case, cause = number_case(templates=texts), "context = version"
    monkeypatch.setattr(
        session, "start_worker", lambda _, path, start=None: in_process_worker(path, cause)
    )
    path = tmp_path / "runs" / "set"
    sets.write_plan(path, SetPlan(case=case, investigator="systematic", independent=2, seed=1))
    aggregate = driven(path)
    assert statuses(aggregate)[cause] == "supported"
    assert [k for k, v in statuses(aggregate).items() if v == "supported"] == [cause]
    assert aggregate.submission is not None
    assert aggregate.submission.answer.value == (cause,)


def lucky_table(seed: int) -> dict[str, Any]:
    """Return a table in which dates work on the templates that investigations may use, and on no other."""
    case = plan_of(seed).case_for("1")
    heard = [each.text[len("{context} ") : -len(" {claim}.")] for each in usable(case)]
    pattern = rf"(calendar|list of dates|diary here).*({'|'.join(map(re.escape, heard))})"
    effects = [{"logit": 6.0, "regex": pattern}]
    behaviour = {"shown": ["Yes."], "otherwise": ["No."], "logit": -2.0, "effects": effects}
    return {"behaviours": [behaviour], "scatter": {"template": 0.1, "seed": seed}}


def usable(case: Case) -> list[Template]:
    return list(population_of(case, 0).templates.values())


def lead() -> dict[str, Any]:
    return prediction(
        treatment=level("date"), rivals=[{"name": "versions do the same", "arm": level("version")}]
    )


def lucky() -> list[Turn]:
    """Return the turns of a run that registers dates, and answers with what its verdict was made to be."""
    register = {"predictions": [lead()]}
    submission = {"answer": {"kind": "factor", "value": ["date"], "confidence": 0.9}}
    return [
        FOUND[0],
        Turn(calls=(ToolCall(id="r", name="register_predictions", arguments=register),)),
        FOUND[2],
        Turn(calls=(ToolCall(id="s", name="submit_report", arguments=submission),)),
    ]


def test_a_lead_supported_by_the_luck_of_its_templates_is_not_confirmed_anew(play: Any) -> None:
    path = play({"1": lucky(), "2": MISSED, "3": MISSED}, lucky_table(0))
    aggregate = driven(path)
    assert statuses(read_run(path / "1")) == {"date": "supported"}
    assert set(statuses(aggregate)) == {"date"} and "supported" not in statuses(aggregate).values()
    assert aggregate.submission is not None
    answer = aggregate.submission.answer
    assert (answer.kind, answer.guesses) == ("nothing", ("date",))


LUCKY = 20
"""Runs whose leads are luck; were they confirmed on prompts that were seen before, nearly all would be."""


def test_lucky_leads_are_confirmed_anew_at_most_at_the_nominal_rate(tmp_path: Path) -> None:
    found = 0
    hypotheses = tuple(
        Hypothesis(id=f"H{k}", **each.arguments) for k, each in enumerate(FOUND[0].calls, 1)
    )
    for seed in range(LUCKY):
        plan = plan_of(seed)
        tried = Tried(
            prediction=Prediction.model_validate(lead()),
            status="supported",
            estimate=0.8,
            pilot_sd=0.2,
        )
        answer = Answer(kind="factor", value=("date",), confidence=0.9)
        runs = tuple(
            ReadRun(name=name, run="", answer=answer, hypotheses=hypotheses, tried=(tried,))
            for name in plan.names()
        )
        place = Place(whose="aggregation", of=3, runs=runs).model_dump(mode="json")
        path, case = tmp_path / str(seed), plan.case_for(AGGREGATE)
        worker = worker_for(path, table=lucky_table(seed))
        seeded = plan.seed_for(AGGREGATE)
        aggregate = open_run(path, case, worker, "aggregator", seeded, {"place": place})
        assert run(aggregate, AggregatorInvestigator(), Budget(case.limits)) == "submitted"
        aggregate.folder.close()
        assert len(aggregate.verdicts) == 1
        found += "supported" in statuses(aggregate).values()
    assert found <= 0.05 * LUCKY


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(32, 90), st.integers(1, 9))
def test_no_template_and_no_entity_of_the_aggregate_exists_in_an_investigation(
    seed: int, count: int, number: int
) -> None:
    texts = [
        {"text": f"{{name}} {{how}} asks number{k} on thing{k} now {{c}}"} for k in range(count)
    ]
    how = {"levels": {"none": [""], "some": [f"some{k}" for k in range(7)]}}
    case = case_of(
        templates=texts,
        fillings=[{"name": f"name{k}", "town": f"town{k // 2}"} for k in range(40)],
        slots={"how": how, "c": {"values": ["x", "y", "z"], "candidates": True}},
    )
    plan = SetPlan(case=case, investigator="x", independent=9, seed=seed)
    heard = population_of(plan.case_for(str(number)), plan.seed_for(str(number)))
    kept = population_of(plan.case_for(AGGREGATE), plan.seed_for(AGGREGATE))
    assert len(kept.pools["confirm"].templates) >= 12
    tested = [kept.pools[pool] for pool in ("confirm", "reserve")]
    for content in (*heard.pools.values(), kept.pools["explore"]):
        for other in tested:
            assert not set(content.templates) & set(other.templates)
            for name in ("name", "town"):
                mine = {row[name] for row in content.fillings}
                assert not mine & {row[name] for row in other.fillings}
            some = content.slots["how"].levels["some"]
            assert not set(some) & set(other.slots["how"].levels["some"])
    every = {name for content in heard.pools.values() for name in content.templates}
    assert set(kept.pools["explore"].templates) == every == set(heard.templates)
    # All investigations have the same part, and split it each in its own way.
    other = population_of(plan.case_for("1"), plan.seed_for("1"))
    assert set(other.templates) == every
    assert number == 1 or other.pools != heard.pools


def test_a_set_that_is_killed_anywhere_goes_on_and_runs_nothing_twice(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = {"1": FOUND, "2": MISSED}
    whole = play(scripts, name="whole")
    expected = driven(whole)
    names = ("1", "2", AGGREGATE)
    logs = {name: [e.type for e in RunFolder(whole / name).events] for name in names}
    path, append, written = play(scripts, name="killed"), RunFolder.append, 0

    def killing(self: RunFolder, *args: Any, **more: Any) -> Any:
        nonlocal written
        written += 1
        if written % 7 == 0:
            raise KeyboardInterrupt
        return append(self, *args, **more)

    monkeypatch.setattr(RunFolder, "append", killing)
    kills = 0
    while True:
        finished = {
            n: (path / n / "events.jsonl").read_bytes() for n, f in sets.folders(path) if ended(f)
        }
        try:
            sets.drive_set(path, cast.Roles(), cast.Provider())
            break
        except typer.Exit as stopped:
            kills += 1
            assert stopped.exit_code == 130
        for name, content in finished.items():
            assert (path / name / "events.jsonl").read_bytes() == content
    assert kills > 5
    monkeypatch.setattr(RunFolder, "append", append)
    aggregate = read_run(path / AGGREGATE)
    assert aggregate.verdicts == expected.verdicts
    assert aggregate.submission == expected.submission
    for name in names:
        kinds = [e.type for e in RunFolder(path / name).events]
        done = [kind for kind in kinds if kind not in ("run_resumed", "clock")]
        assert done == [kind for kind in logs[name] if kind != "clock"]
    assert sets.verify_set(path).faults == ()


def ended(folder: Path) -> bool:
    return RunFolder(folder).events != [] and read_run(folder).ended is not None


def test_verify_finds_a_run_that_is_not_the_one_the_aggregate_read(play: Any) -> None:
    path = play({"1": FOUND, "2": MISSED})
    driven(path)
    shutil.copytree(path / "2", path / "3")
    shutil.rmtree(path / "1")
    (path / "3").rename(path / "1")
    result = sets.verify_set(path)
    assert [fault.check for fault in result.faults] == ["set"]


def test_too_few_templates_are_told_with_the_numbers(tmp_path: Path) -> None:
    case, runs = write_case(tmp_path), tmp_path / "runs"
    result = call("investigate", case, "--independent", 2, "--runs", runs)
    line = told(result, USAGE)
    assert "30 templates are too few" in line and "give the case 2 more" in line
    assert not runs.exists()
    result = call("investigate", case, "--investigator", "aggregator", "--runs", runs)
    assert "give --independent N" in told(result, USAGE)


def test_the_commands_act_on_the_whole_set(tmp_path: Path) -> None:
    case, runs, who = write_case(tmp_path, templates=TEMPLATES), tmp_path / "runs", script(tmp_path)
    words = ("--independent", 2, "--runs", runs, "--investigator", who, "--budget-minutes", 20)
    planned = json.loads(call("investigate", case, *words, "--dry-run", "--json").stdout)
    assert planned["limits in all"] == "minutes 40" and "15 kept" in planned["templates"]
    assert not runs.exists()
    done = call("investigate", case, *words)
    assert done.exit_code == 0, done.output
    (path,) = runs.iterdir()
    assert "P1 supported" in done.stdout and f"{path}/aggregate/report/report.html" in done.stdout
    assert call("verify", path).exit_code == 0
    (path / "1" / "report" / "report.md").unlink()
    again = call("report", path)
    assert again.stdout == done.stdout and (path / "1" / "report" / "report.md").exists()
    assert call("resume", path).stdout == done.stdout
    assert "is a set of runs" in told(call("rerun", path), USAGE)
    page = path / AGGREGATE / "report" / "report.md"
    page.write_text(page.read_text().replace("supported", "refuted"))
    assert call("verify", path).exit_code == 3


def test_a_set_whose_first_run_cannot_be_opened_leaves_nothing(tmp_path: Path) -> None:
    case, runs = write_case(tmp_path, templates=TEMPLATES), tmp_path / "runs"
    (tmp_path / "table.toml").write_text("behaviours = 3")
    assert call("investigate", case, "--independent", 2, "--runs", runs).exit_code == 4
    assert not list(runs.glob("*"))
