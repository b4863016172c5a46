"""Who sits the exam: every name is a command line that starts, with the tools of its kind and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.case import load_case
from agent.cast import make_investigator
from agent.investigation import ToolCall, Turn
from agent.loop import execute, run
from agent.opening import open_run
from evals.bench import baselines
from evals.bench.investigators import HOUSE, SCIENCE, investigator, programs, tool_families
from tests.synthetic_cases import number_case, number_run, table
from tests.test_systematic import WITH_SCREEN
from tools.black_box import WHITE_BOX_NAMES
from tools.registry import ToolError
from tools.synthetic import SyntheticSubject
from tools.worker_client import InProcessWorker

ROOT = Path(__file__).parent.parent


def test_families_are_the_files_of_tools() -> None:
    families = tool_families()
    assert sorted(name for names in families.values() for name in names) == sorted(
        name for name in SCIENCE
    )
    assert families["intervention"] == ("patch_activations", "steer", "ablate_direction")
    assert programs()["systematic-without-candidates"].options() == (
        "--investigator", "systematic", "--without", "rank_candidates",
    )  # fmt: skip


@pytest.mark.parametrize("name", [*programs(), "chat-only:anthropic/m", "one-shot:anthropic/m"])
def test_every_name_is_something_that_can_be_started(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    entry = investigator(name)
    options = entry.options()
    limits = load_case(ROOT / "evals/cases/secret_word.toml").limits
    started = make_investigator(options[1], limits)
    assert options[0] == "--investigator" and callable(started.next_turn)
    given = [options[k + 1] for k, word in enumerate(options) if word == "--without"]
    assert tuple(given) == entry.without and set(given) <= {*SCIENCE, *HOUSE}
    asked = entry.options(inside=False)
    assert not set(asked) & set(WHITE_BOX_NAMES)


def test_a_model_is_held_to_one_kind_of_evidence() -> None:
    chat = investigator("chat-only:anthropic/m")
    assert set(SCIENCE) - set(chat.without) == {"sample_responses"} and set(HOUSE) <= set(
        chat.without
    )
    once = investigator("one-shot:openai-chat/qwen/m")
    assert once.options()[:2] == ("--investigator", "openai-chat/qwen/m")
    assert once.options()[-2:] == ("--budget-minutes", "0.000001")
    assert {*SCIENCE, *HOUSE} - set(once.without) == {"screen_differences"}
    assert investigator("anthropic/m").options() == ("--investigator", "anthropic/m")
    for name in ("chance", "chat-only:", "one-shot:nobody/m"):
        with pytest.raises(ToolError, match="unknown investigator"):
            investigator(name)


def test_a_house_tool_can_be_taken_away_and_one_turn_is_all_there_is(tmp_path: Path) -> None:
    case = number_case(without=("note", "confirm"), limits={"minutes": 1e-6})
    worker = InProcessWorker(SyntheticSubject(table()), WITH_SCREEN, tmp_path / "run" / "blobs")
    investigation = open_run(tmp_path / "run", case, worker, "one-shot", 0)
    seen: list[Any] = []

    class Once:
        name = "one-shot"

        def next_turn(self, shown: Any) -> Turn:
            seen.append(shown)
            call = ToolCall(id="n", name="note", arguments={"text": "seen"})
            return Turn(calls=(call, *baselines.ScreensOnly().next_turn(shown).calls))

    assert run(investigation, Once(), Budget(case.limits)) == "submitted"
    assert len(seen) == 1 and seen[0].final and seen[0].briefing["screens"]
    names = {entry["name"] for entry in seen[0].briefing["tools"]}
    assert "submit_report" in names and not names & {"note", "confirm"}
    refused = investigation.exchanges[0].results[0].error
    assert refused is not None and "budget" in refused


def test_a_call_of_a_house_tool_that_was_taken_away_is_refused(tmp_path: Path) -> None:
    investigation = number_run(tmp_path / "run", without=("note",))
    investigation.record("turn", Turn().model_dump(mode="json"))
    for name, known in (("note", False), ("find_tool", True)):
        call = ToolCall(id="c", name=name, arguments={"text": "x"} if not known else {"words": "x"})
        if known:
            assert execute(investigation, call)
            continue
        with pytest.raises(ToolError, match="unknown tool 'note'"):
            execute(investigation, call)
