"""Every score of a large run is counted again, and quickly."""

from __future__ import annotations

import time
from pathlib import Path

from agent.rendering import write_report
from agent.verify import verify
from tests.scripted_run import make_run, turns


def test_a_run_of_three_thousand_items_verifies_in_seconds(tmp_path: Path) -> None:
    said = turns()
    (call,) = said[1].calls
    pair = [each | {"per_cluster": 14} for each in call.arguments["predictions"]]
    said[1] = said[1].model_copy(
        update={"calls": (call.model_copy(update={"arguments": {"predictions": pair}}),)}
    )
    run = make_run(tmp_path / "run", said)
    write_report(tmp_path / "run")
    done = [run.experiment(each.number) for each in run.experiments]
    tables = [run.folder.get_json(each.result["raw"])["arms"] for each in done if each.result]
    assert sum(len(rows) for table in tables for rows in table.values()) > 3000
    started = time.process_time()
    assert verify(tmp_path / "run").ok
    assert time.process_time() - started < 10
