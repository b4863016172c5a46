"""Ten thousand bent calls: each is answered, none crashes the run, all are in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from agent.house_tools import HOUSE_TOOLS
from agent.investigation import Investigation, Turn
from agent.llm.conversation import MOST_ARGUMENTS, parsed_call
from agent.loop import answer
from agent.opening import open_run, read_run
from tests.fuzzed_calls import RAW, TEXTS, raw_call
from tests.scripted_run import case_of, worker_for
from tools.black_box import BLACK_BOX
from tools.boundary import call_tool
from tools.catalogue import TOOLS
from tools.experiment import Context
from tools.registry import ToolError
from tools.worker_client import InProcessWorker

THROUGH_THE_LOOP = 2_800
AT_THE_REGISTRY = 7_000


def opened(path: Path) -> Investigation:
    base: Any = worker_for(path)
    worker = InProcessWorker(base.subject, BLACK_BOX, path / "blobs")
    return open_run(path, case_of(limits={"registrations": 64}), worker, "fuzz", 7)


def test_every_bent_call_is_answered_and_logged(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    rng = Random(1)
    entries = [
        *(e for e in investigation.worker.catalogue.tools if e["for_investigator"]),
        *(tool.entry() for tool in HOUSE_TOOLS if tool.name != "submit_report"),
        {"name": "score_arms", "schema": {"type": "object"}},
        {"name": "no such tool \x00\u202e", "schema": {}},
    ]
    failed = 0
    for number in range(THROUGH_THE_LOOP):
        entry = entries[number % len(entries)]
        call = parsed_call(f"c{number}", entry["name"], raw_call(entry, rng))
        turn = Turn(calls=(call,))
        investigation.record("turn", turn.model_dump(mode="json", exclude_defaults=True))
        answer(investigation, turn)
        failed += investigation.exchanges[-1].results[0].error is not None
    investigation.folder.close()
    # Neither all nonsense nor all fine, or nothing was tried.
    assert 0.5 * THROUGH_THE_LOOP < failed < 0.99 * THROUGH_THE_LOOP
    again = read_run(tmp_path / "run")
    assert len(again.exchanges) == THROUGH_THE_LOOP
    assert all(len(past.results) == 1 for past in again.exchanges)
    assert again.registrations == investigation.registrations
    for past in again.exchanges:
        told = past.results[0].error or ""
        assert "Traceback" not in told and len(told) < 20_000
    assert (tmp_path / "run" / "events.jsonl").stat().st_size < 80 * 2**20


def test_every_tool_refuses_bent_arguments_in_words() -> None:
    rng = Random(2)
    refused = 0
    for number in range(AT_THE_REGISTRY):
        tool = TOOLS[number % len(TOOLS)]
        call = parsed_call("c", tool.name, raw_call(tool.entry(), rng))
        if call.parse_error is not None:
            refused += 1
            continue
        try:
            tool.parse(call.arguments)
        except ToolError as error:
            refused += 1
            assert all("\n" not in fault and len(fault) < 2000 for fault in error.faults)
    assert 0.3 * AT_THE_REGISTRY < refused < AT_THE_REGISTRY


def test_ten_million_letters_leave_a_hash_in_the_log() -> None:
    call = parsed_call("c", "note", '{"text": "' + "z" * 10_000_000 + '"}')
    assert "sha256" in (call.parse_error or "") and len(call.model_dump_json()) < 2000
    assert MOST_ARGUMENTS < 10_000_000 and any(len(raw) > MOST_ARGUMENTS for raw in RAW)


EXTREMES: tuple[dict[str, Any], ...] = tuple(
    {"items": [text or " "], "samples": samples, "max_new_tokens": length, "temperature": heat}
    for text in TEXTS[:10]
    for samples in (1, 3)
    for length in (1, 8)
    for heat in (0.0, 0.01, 1.0, 2.0, 1.9999)
)


def test_valid_extremes_on_a_small_random_model(
    subjects: Callable[[str], Any], tmp_path: Path
) -> None:
    from tools.blobs import BlobStore

    assert len(EXTREMES) == 200
    subject = subjects("llama")
    blobs = BlobStore(tmp_path)
    for arguments in EXTREMES:
        context = Context(seed=1, blobs=blobs)
        done = call_tool(TOOLS, "sample_responses", subject, arguments, context)
        assert (done.result is None) != (done.error is None)
        assert done.error is None or "\n" not in done.error
        json.dumps(done.model_dump(mode="json"), allow_nan=False)
