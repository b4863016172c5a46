"""Two hundred steps in a window of a few thousand tokens: nothing that counts is forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.budget import Budget
from agent.investigation import Investigation, Spent
from agent.language_model import LanguageModelInvestigator
from agent.llm.conversation import Reply, Request, UserTurn
from agent.loop import run
from agent.opening import open_run
from agent.report import build_report
from tests.scripted_run import case_of, turns, worker_for
from tests.test_language_model import NAME, FakeClient, call, reply
from tools.black_box import BLACK_BOX
from tools.worker_client import InProcessWorker

STEPS, WINDOW, CHARACTERS = 200, 8000, 4


class Counted(FakeClient):
    """Counts what it is asked as a provider would, so many characters a token."""

    def generate(self, request: Request) -> Reply:
        answer = super().generate(request)
        size = len(request.model_dump_json()) // CHARACTERS
        if self.window is not None and size > self.window:
            raise AssertionError(f"a request of {size} tokens, in a window of {self.window}")
        return answer.model_copy(update={"spent": Spent(input_tokens=size, output_tokens=100)})


def investigated(path: Path, window: int | None) -> tuple[Investigation, Counted]:
    first, *middle, last = turns()
    notes = [
        call("note", text=f"{n}: the subject says yes after version talk. " + "It is plain. " * 12)
        for n in range(STEPS - len(middle) - 2)
    ]
    said = [first, *middle, *notes, last]
    client = Counted([reply(turn) for turn in said], window)
    case = case_of(limits={"registrations": 4, "steps": None})
    base: Any = worker_for(path)
    worker = InProcessWorker(base.subject, BLACK_BOX, path / "blobs")
    investigation = open_run(path, case, worker, NAME, 7)
    run(investigation, LanguageModelInvestigator(NAME, client), Budget(case.limits))
    investigation.folder.close()
    return investigation, client


def test_a_small_window_changes_nothing_in_the_report(tmp_path: Path) -> None:
    whole, asked = investigated(tmp_path / "whole", None)
    assert len(asked.requests) == STEPS and whole.ended == "submitted"
    opening = len(asked.requests[0].model_dump_json()) // CHARACTERS
    small, client = investigated(tmp_path / "small", opening + WINDOW)
    fresh = [n for n, past in enumerate(small.exchanges) if past.turn.fresh]
    assert len(fresh) >= 3
    for number in fresh:
        told = client.requests[number].turns[0]
        assert isinstance(told, UserTurn)
        made = [name for name in ("P1", "P2", "P3") if name in small.registrations]
        assert len(made) == 3 and all(name in told.text for name in made)
    one, other = (build_report(each) for each in (whole, small))
    kept = {"findings", "answer", "hypotheses", "summary"}
    assert one.model_dump(include=kept) == other.model_dump(include=kept)
    assert len(one.findings) > STEPS - 10
