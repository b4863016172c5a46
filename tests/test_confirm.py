"""A verdict needs a registration, is computed once on unseen prompts, and shows none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.confirm import confirm, confirm_batch, shown
from agent.investigation import Investigation
from agent.population import fingerprint
from agent.verdict import decide_batch
from tests.scripted_run import level, prediction
from tests.test_registration import SMALL, ask, opened
from tools.registry import ToolError


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Investigation:
    """A run with one batch of two, confirmed by asking for one of them."""
    investigation = opened(tmp_path_factory.mktemp("run") / "run")
    ask(investigation, prediction(), prediction(treatment=level("date"), rivals=SMALL))
    confirm(investigation, ["P2"])
    return investigation


def rows_of(investigation: Investigation, name: str) -> dict[str, list[dict[str, Any]]]:
    stored = investigation.experiment(investigation.confirmations[name])
    assert stored.result is not None
    return investigation.folder.get_json(stored.result["raw"])["arms"]


def test_the_whole_batch_is_decided_and_each_verdict_is_right(done: Investigation) -> None:
    assert {name: verdict.status for name, verdict in done.verdicts.items()} == {
        "P1": "supported",
        "P2": "refuted",
    }
    kinds = [e.type for e in done.folder.events if e.type in ("registration", "draw", "verdict")]
    assert kinds == ["registration"] * 2 + ["draw"] * 2 + ["verdict"] * 2


def test_a_verdict_needs_a_registration(done: Investigation, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="unknown registration 'P9'"):
        confirm(done, ["P9"])
    with pytest.raises(ToolError, match="none yet: call register_predictions"):
        confirm(opened(tmp_path / "run"), ["P1"])


def test_a_registration_is_confirmed_once(done: Investigation) -> None:
    events = len(done.folder.events)
    with pytest.raises(ToolError, match="P1 has its verdict already: supported"):
        confirm(done, ["P1"])
    assert len(done.folder.events) == events


def test_nothing_that_the_investigator_sees_holds_a_prompt(done: Investigation) -> None:
    told = json.dumps([shown(verdict) for verdict in done.verdicts.values()])
    for name in done.verdicts:
        for row in (row for rows in rows_of(done, name).values() for row in rows):
            assert row["id"] not in told and row["template_id"] not in told
            assert row["slots"]["claim"] not in told and row["outputs"][0] not in told


def test_prompts_come_from_the_confirm_side_and_are_burned(done: Investigation) -> None:
    pool = done.populations["case"].pools["confirm"]
    used: list[str] = []
    for name in ("P1", "P2"):
        control, wanted = rows_of(done, name)["control"], done.registrations[name].prediction
        assert {row["template_id"] for row in control} <= set(pool.templates)
        assert {row["slots"]["claim"] for row in control} <= set(pool.slots["claim"].values)
        assert (
            len(done.draws[name]["burned"]) == len(control) == wanted.clusters * wanted.per_cluster
        )
        used += done.draws[name]["burned"]
    assert len(set(used)) == len(used)
    assert done.burned() == set(used)
    assert set(done.draws["P2"]["before"]) == set(done.draws["P1"]["burned"])


def test_the_draw_depends_on_the_secret_and_on_the_registration(tmp_path: Path) -> None:
    marks: list[list[str]] = []
    for name, secret, size in (("a", "s", 0.3), ("b", "s", 0.3), ("c", "t", 0.3), ("d", "s", 0.4)):
        investigation = opened(tmp_path / name)
        investigation.run_secret = secret
        ask(investigation, prediction(smallest_effect=size))
        confirm(investigation, ["P1"])
        marks.append(investigation.draws["P1"]["burned"])
    assert marks[0] == marks[1]
    assert len({tuple(each) for each in marks}) == 3


def test_the_drawn_prompts_are_those_that_were_run(done: Investigation) -> None:
    marks = set(done.draws["P1"]["burned"])
    arguments = done.experiment(done.confirmations["P1"]).arguments
    # The edits change a prompt, so what is burned is what was drawn, the control's template and slots.
    for item in arguments["arms"]["control"]["items"]:
        assert item["id"].rsplit("-", 1)[1] in {mark[:12] for mark in marks}
    assert fingerprint("x") not in marks


def test_a_batch_is_decided_by_holm(done: Investigation) -> None:
    registered = [done.registrations[name] for name in ("P1", "P2")]
    tables = [rows_of(done, name) for name in ("P1", "P2")]
    wanted = [each.prediction for each in registered]

    def thresholds(*order: int) -> list[float]:
        found = decide_batch(
            [wanted[k] for k in order],
            [tables[k] for k in order],
            [0.01] * len(order),
            [1] * len(order),
        )
        return [each.threshold for each in found]

    # P1 falls and P2 does not: each step is taken only while all before it fell.
    assert thresholds(0, 0) == pytest.approx([0.01, 0.02])
    assert thresholds(0, 0, 0) == pytest.approx([0.01, 0.015, 0.03])
    assert thresholds(0, 1) == thresholds(1, 1) == pytest.approx([0.01, 0.01])
    assert thresholds(1, 0, 0) == pytest.approx([0.01, 0.01, 0.015])


def test_an_experiment_that_fails_is_inconclusive_and_stays_spent(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    ask(investigation, prediction())
    worker, original = investigation.worker, investigation.worker.call

    def failing(tool: str, arguments: Any, seed: int, **more: Any) -> Any:
        done = original(tool, arguments, seed)
        return done.model_copy(update={"result": None, "error": "out of memory"})

    worker.call = failing  # type: ignore[method-assign]
    verdict = confirm(investigation, ["P1"])["P1"]
    assert verdict.status == "inconclusive" and verdict.p is None
    assert len(investigation.registrations) == 1


def test_a_fault_on_unseen_prompts_quotes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    investigation = opened(tmp_path / "run")
    ask(investigation, prediction())

    def quoting(*_: Any) -> None:
        raise ToolError("slot 'claim' holds 'kittens weigh more'")

    monkeypatch.setattr("agent.confirm.build_arms", quoting)
    with pytest.raises(ToolError) as caught:
        confirm(investigation, ["P1"])
    assert "kittens" not in str(caught.value) and "P1" in str(caught.value)


def test_a_kill_between_two_verdicts_is_finished_not_refused(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    ask(investigation, prediction(), prediction(treatment=level("date"), rivals=SMALL))
    batch = list(investigation.registrations.values())
    written = investigation.record

    def stop_after_one(kind: str, data: dict[str, Any], *, sync: bool = False) -> None:
        if kind == "verdict" and investigation.verdicts:
            raise KeyboardInterrupt
        written(kind, data, sync=sync)

    investigation.record = stop_after_one  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        confirm_batch(investigation, batch)
    again = Investigation(investigation.folder, investigation.worker)
    assert set(again.verdicts) == {"P1"}
    assert set(confirm(again, ["P1"])) == {"P1", "P2"}
    assert len(list(again.folder.of_type("verdict"))) == 2
    assert len([e for e in again.experiments if e.purpose == "confirmation"]) == 2
