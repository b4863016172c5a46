"""`rerun` sees what `verify` cannot: outputs that the model never put out."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.opening import read_run, resume_run
from agent.rendering import write_report
from agent.rerun import replicate, rerun
from agent.run_folder import RunError
from agent.verify import verify
from tests.scripted_run import TABLE, make_run, turns, worker_for
from tools.experiment import Experiment, canonical_json
from tools.measures import resolve
from tools.prompt import PromptItem
from tools.recorded_texts import ROUNDING, TOOL
from tools.scoring import ScoringArguments, scored, summarise
from tools.worker_client import InProcessWorker

FORGERIES = 20


class LyingWorker(InProcessWorker):
    """Puts other outputs in place of some of the model's, and lets every number follow from them."""

    def __init__(self, path: Path, share: float, seed: int) -> None:
        honest = worker_for(path)
        assert isinstance(honest, InProcessWorker)
        super().__init__(honest.subject, honest.tools, path / "blobs")
        self.share, self.rng = share, random.Random(seed)

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = 0.0
    ) -> Experiment:
        done = super().call(tool, arguments, seed)
        assert done.result is not None
        table = json.loads(self.blobs.get(done.result["raw"]))["arms"]
        asked = ScoringArguments.model_validate(arguments)
        lies = 0
        for name, rows in table.items():
            for row, item in zip(rows, asked.arms[name].items, strict=True):
                if self.rng.random() < self.share:
                    lies += 1
                    lie(row, item, asked)
        if not lies:
            lie(rows[0], item, asked)
        raw = self.blobs.put(canonical_json({"arms": table}).encode())
        arms = {name: summarise(rows).model_dump(mode="json") for name, rows in table.items()}
        return done.model_copy(update={"result": {"arms": arms, "raw": raw}})


def lie(row: dict[str, Any], item: PromptItem, asked: ScoringArguments) -> None:
    """Put an opposite answer into a row, with the score it would have had."""
    other = "No, never." if row["scores"][0] else "Yes, always."
    row["outputs"] = [other]
    row |= scored(resolve(asked.measure, item), row["outputs"])


def test_an_honest_run_comes_out_the_same_to_the_letter(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    result = rerun(tmp_path / "run", worker_for(tmp_path / "run"))
    found = {each.experiment: each for each in result.agreements}
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert result.identical and "identical" in result.lines()[-1]
    assert [name for each in found.values() if (name := each.registration)] == ["P1", "P2"]
    assert found[4].texts == 192 and found[4].same_verdict


def test_only_confirmations(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    result = rerun(tmp_path / "run", worker_for(tmp_path / "run"), only_confirmations=True)
    assert [each.experiment for each in result.agreements] == [4, 5]


@pytest.mark.parametrize("forgery", range(FORGERIES))
def test_replaced_outputs_pass_verify_and_not_rerun(tmp_path: Path, forgery: int) -> None:
    path = tmp_path / "run"
    plain = turns(summary="", interpretations={})
    plain[3] = plain[3].model_copy(update={"calls": ()})
    make_run(path, plain, worker=LyingWorker(path, 0.03 + 0.01 * forgery, forgery))
    write_report(path)
    assert verify(path).ok
    result = rerun(path, worker_for(path))
    assert not result.agrees and "DOES NOT AGREE" in result.lines()[-1]
    assert any("first difference at" in line for line in result.lines())


def test_a_single_replaced_output_is_a_disagreement_on_the_same_machine(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path, worker=LyingWorker(path, 0.0, 0))
    for found in rerun(path, worker_for(path)).agreements:
        assert found.texts_same == found.texts - 1 and not found.agrees
        assert len(found.differing) == 1, "its score is no second difference"
        (shown,) = found.shown
        told = found.lines()[1]
        assert shown.place in told and shown.prompt and shown.prompt[-40:] in told
        assert f"recorded {shown.recorded!r}, came out {shown.came_out!r}" in told
        assert shown.recorded in ("No, never.", "Yes, always.")


def test_another_machine_is_told_loudly_and_allows_a_little(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path, worker=LyingWorker(path, 0.0, 0))
    there = worker_for(path)
    assert isinstance(there, InProcessWorker)
    machine = {"processor": "another", "threads": "2"}
    there.catalogue = there.catalogue.model_copy(update={"machine": machine, "code": "f" * 64})
    result = rerun(path, there)
    assert any(each.texts > 100 for each in result.agreements)
    assert all(each.agrees for each in result.agreements if each.texts > 100)
    *_, loud, end = result.lines()
    assert loud.startswith("NOT THE MACHINE OF THE RECORD (other code of the tools; ")
    assert "processor a table, here another" in loud and "threads none, here 2" in loud
    assert not result.identical and "identical" not in end


def test_a_run_that_does_not_record_its_machine_is_not_taken_for_made_here(tmp_path: Path) -> None:
    path = tmp_path / "run"
    worker = worker_for(path)
    assert isinstance(worker, InProcessWorker)
    worker.catalogue = worker.catalogue.model_copy(update={"machine": {}})
    make_run(path, worker=worker)
    result = rerun(path, worker_for(path))
    assert "nobody knows on which machine" in result.lines()[-2]
    assert result.identical


class Following(InProcessWorker):
    """Says of the recorded texts that are asked about what a test wants to hear."""

    outcomes: tuple[str, ...] = ()
    asked: dict[str, Any]

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = 0.0
    ) -> Experiment:
        if tool != TOOL:
            return super().call(tool, arguments, seed)
        self.asked = dict(arguments)
        texts = [
            {
                "outcome": self.outcomes[k % len(self.outcomes)],
                "token": 1,
                "preferred": "'No'",
                "margin": 4.5,
            }
            for k in range(len(arguments["texts"]))
        ]
        fields: dict[str, Any] = {"tool": tool, "arguments": self.asked, "seed": seed}
        return Experiment(**fields, models={}, code="", result={"texts": texts})


@pytest.mark.parametrize(
    ("outcomes", "agrees"),
    [(("possible",), True), (("impossible",), False), (("undecided",), False)],
)
def test_elsewhere_rounding_has_to_explain_what_differs(
    tmp_path: Path, outcomes: tuple[str, ...], agrees: bool
) -> None:
    path = tmp_path / "run"
    make_run(path, worker=LyingWorker(path, 0.06, 0))
    honest = worker_for(path)
    assert isinstance(honest, InProcessWorker)
    there = Following(honest.subject, honest.tools, path / "blobs")
    there.outcomes = outcomes
    entry = {"name": TOOL, "for_investigator": False}
    there.catalogue = there.catalogue.model_copy(
        update={"machine": {"precision": "float16"}, "tools": (*there.catalogue.tools, entry)}
    )
    (found,) = rerun(path, there, only=[4]).agreements
    differ = found.texts - found.texts_same
    assert differ > 0.01 * found.texts
    assert len(found.shown) == differ == len(there.asked["texts"])
    # Nobody knows in which precision it was recorded, so the coarsest is allowed for.
    assert there.asked["rounding"] == ROUNDING["bfloat16"] and there.asked["temperature"] == 1.0
    verdict = found.model_copy(update={"same_verdict": True})
    assert verdict.agrees is agrees
    assert ("IMPOSSIBLE: at token 1 the model prefers 'No'" in found.lines()[1]) is (
        outcomes == ("impossible",)
    )


def test_only_some_experiments_and_their_outcome_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    seen: list[Any] = []
    rerun(
        path,
        worker_for(path),
        only=[5, 2],
        on_start=lambda done, count, entry: seen.append((done, count, entry.number)),
        on_end=lambda found: seen.append(found.experiment),
    )
    assert seen == [(0, 2, 2), 2, (1, 2, 5), 5]
    with pytest.raises(RunError, match="no exp:9; the run has exp:1 to exp:6"):
        rerun(path, worker_for(path), only=[9])


def test_other_weights_do_not_agree(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    other = worker_for(path, table=TABLE | {"name": "another"})
    assert not any(found.agrees for found in rerun(path, other).agreements)


def test_a_rerun_adds_nothing_to_the_log(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    before = (path / "events.jsonl").read_bytes()
    rerun(path, worker_for(path))
    assert (path / "events.jsonl").read_bytes() == before


def test_a_replication_uses_fresh_prompts_and_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    open_again = resume_run(path, worker_for(path))
    first = replicate(open_again, "P1")
    replicate(open_again, "P1")
    assert first.status == "supported" and first.clusters == 6
    open_again.folder.close()
    write_report(path)
    assert verify(path).ok
    log = read_run(path)
    logged = list(log.folder.of_type("replication"))
    prompts = [mark for event in logged for mark in event.data["burned"]]
    assert len(prompts) == len(set(prompts))
    assert not set(prompts) & log.burned()
    (finding, *_) = json.loads((path / "report/report.json").read_text())["findings"]
    assert len(finding["replications"]) == 2 and "supported" in finding["replications"][0]


def test_a_changed_replication_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    open_again = resume_run(path, worker_for(path))
    verdict = replicate(open_again, "P2").model_dump(mode="json") | {"status": "supported"}
    number = len(open_again.experiments)
    open_again.record(
        "replication",
        {
            "registration": "P2",
            "replicate": 2,
            "burned": [],
            "experiment": number,
            "verdict": verdict,
        },
    )
    open_again.folder.close()
    assert not verify(path).ok


def test_what_has_no_verdict_is_not_replicated(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    open_again = resume_run(path, worker_for(path))
    with pytest.raises(RunError, match="those with one: P1, P2"):
        replicate(open_again, "P3")
