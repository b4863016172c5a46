"""The worker of a subject behind an API: replies on file, what it costs, what it will not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from agent import session
from agent.api_worker import REPLIES, api_worker
from agent.budget import Budget, spent_by
from agent.investigation import Investigation, ToolCall
from agent.llm.faults import LLMError
from agent.loop import execute
from agent.measure_check import check_measure
from agent.opening import resume_run
from agent.rerun import rerun
from agent.terminal import CONFIGURATION, USAGE
from naturalist import app
from tests.api_subjects import (
    MODEL,
    api_run,
    case_on,
    locator,
    number_table,
    prompt_in,
    server_of,
)
from tests.api_subjects import USAGE as TOKENS
from tests.llm_server import Error, LLMServer, Recorded, Reply, forget_environment
from tests.planted_thoughts import QUESTION, planner
from tools.black_box import BLACK_BOX, WHITE_BOX_NAMES
from tools.registry import ToolError

ITEMS = {"items": ["Which is bigger, 9.8 or 9.11?", "Pick the larger: 7.5 or 7.25?"], "samples": 10}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLMServer]:
    forget_environment(monkeypatch)
    with server_of(number_table("context = version")) as running:
        yield running


def subject_spent(investigation: Investigation) -> list[Any]:
    events = investigation.folder.of_type("spent")
    return [event.data for event in events if event.data["role"] == "subject"]


def test_the_white_box_names_are_the_catalogue_less_the_black_box() -> None:
    from tools.catalogue import TOOLS

    black = {tool.name for tool in BLACK_BOX}
    assert set(WHITE_BOX_NAMES) == {tool.name for tool in TOOLS} - black


@pytest.mark.parametrize("name", WHITE_BOX_NAMES)
def test_white_box_tools_are_refused_in_one_line(
    server: LLMServer, tmp_path: Path, name: str
) -> None:
    investigation = api_run(tmp_path / "run", server)
    with pytest.raises(ToolError, match=f"`{name}` looks inside the model.*vary_prompts") as caught:
        execute(investigation, ToolCall(id="c", name=name))
    assert "\n" not in str(caught.value)
    done = investigation.worker.call(name, {}, 0)
    assert done.error == str(caught.value) and done.error_kind == "investigator"
    assert server.requests == []
    with pytest.raises(ToolError, match="unknown tool"):
        execute(investigation, ToolCall(id="c", name=f"{name}s"))


def test_what_was_answered_before_a_stop_is_not_asked_again(
    server: LLMServer, tmp_path: Path
) -> None:
    case = case_on(server, reference=None)
    plain = server.answer
    assert plain is not None
    # The credit is used up in the middle: some of twenty samples are answered.
    server.answer = lambda r: plain(r) if len(server.requests) <= 9 else Error(402)
    worker = api_worker(case, tmp_path)
    with pytest.raises(LLMError) as caught:
        worker.call("sample_responses", ITEMS, 5)
    assert caught.value.kind == "quota"
    kept = len((tmp_path / REPLIES).read_text().splitlines())
    assert kept == 9
    # A kill while a line was written leaves half of it.
    with (tmp_path / REPLIES).open("a") as file:
        file.write('{"key": "abc", "rep')
    server.answer = plain
    server.requests.clear()
    again = api_worker(case, tmp_path)
    done = again.call("sample_responses", ITEMS, 5)
    assert done.error is None and len(server.requests) == 20 - 9
    assert len((tmp_path / REPLIES).read_text().splitlines()) == 20
    server.requests.clear()
    assert api_worker(case, tmp_path).call("sample_responses", ITEMS, 5).result == done.result
    assert server.requests == []
    unbroken = api_worker(case, tmp_path / "other").call("sample_responses", ITEMS, 5)
    assert unbroken.result == done.result


def test_another_seed_prompt_setting_or_subject_is_asked(server: LLMServer, tmp_path: Path) -> None:
    def asked(seed: int = 5, subject: dict[str, Any] | None = None, **changes: Any) -> int:
        server.requests.clear()
        case = case_on(server, reference=None, subject=subject or locator(server))
        api_worker(case, tmp_path).call("sample_responses", {**ITEMS, **changes}, seed)
        return len(server.requests)

    assert asked() == 20 and asked() == 0
    assert asked(seed=6) == 20
    assert asked(max_new_tokens=5) == 20
    assert asked(temperature=0.5) == 20
    others = ["Another?", *ITEMS["items"]]
    assert asked(items=others) == 30, "noise goes by a prompt's place in the call"
    assert asked(subject=locator(server, system="a secret")) == 20
    assert asked(subject=locator(server, thinking=True)) == 20
    # The same server under another name: the request is the same, the digest is not.
    elsewhere = {
        **locator(server),
        "base_url": f"{server.url.replace('127.0.0.1', 'localhost')}/v1",
    }
    assert asked(subject=elsewhere) == 20
    assert asked() == 0


def test_rerun_asks_again_and_leaves_the_replies_alone(server: LLMServer, tmp_path: Path) -> None:
    path = tmp_path / "run"
    investigation = api_run(path, server)
    check_measure(investigation)
    investigation.folder.close()
    first, kept = len(server.requests), (path / REPLIES).read_bytes()
    server.requests.clear()
    worker = session.start_worker(investigation.case, path, session.Start(ask_again=True))
    assert rerun(path, worker).identical, "this server honours seeds"
    assert len(server.requests) == first and (path / REPLIES).read_bytes() == kept
    server.requests.clear()
    rerun(path, session.start_worker(investigation.case, path))
    assert server.requests == []


def test_tokens_are_logged_once_an_experiment_and_count_for_the_budget(
    server: LLMServer, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    investigation = api_run(path, server, limits={"tokens": 100_000})
    check_measure(investigation)
    told = subject_spent(investigation)
    assert [each["model"] for each in told] == [f"openai-chat/{MODEL}", "openai-chat/base"]
    assert sum(each["spent"]["requests"] for each in told) == len(server.requests)
    used = len(server.requests) * (TOKENS.read + TOKENS.written)
    assert sum(s.input_tokens + s.output_tokens for s in spent_by(investigation)) == used
    budget = Budget(investigation.case.limits)
    assert budget.shares(investigation)["tokens"] == used / 100_000
    check_measure(investigation)
    assert subject_spent(investigation) == told, "the same experiment is not run again"
    investigation.folder.close()


def test_tokens_spent_before_a_kill_are_logged_by_the_next_session(
    server: LLMServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    investigation = api_run(path, server)
    with monkeypatch.context() as patched:
        patched.setattr(Investigation, "record_spent", lambda self: None)
        investigation.worker.call("sample_responses", ITEMS, 5)
    investigation.folder.close()
    asked = len(server.requests)
    resumed = resume_run(path, api_worker(investigation.case, path))
    resumed.run_experiment("sample_responses", ITEMS, "exploration", 5)
    assert len(server.requests) == asked
    assert sum(each["spent"]["requests"] for each in subject_spent(resumed)) == asked
    resumed.folder.close()


def test_a_failed_call_of_the_investigator_is_an_experiment_with_an_error(
    server: LLMServer, tmp_path: Path
) -> None:
    case = case_on(server)
    wrong = {**ITEMS, "continue_as": "user"}
    done = api_worker(case, tmp_path).call("sample_responses", wrong, 0)
    assert done.error_kind == "investigator" and "assistant's turn" in (done.error or "")
    logprobs = {"kind": "logprob_difference", "positive": ["a"], "negative": ["b"]}
    said = [{"kind": "insert_text", "texts": ["Hello."]}]
    factors = [{"name": "f", "levels": [{"name": "a"}, {"name": "b", "edits": said}]}]
    asked = {"items": ITEMS["items"], "factors": factors, "measure": logprobs}
    done = api_worker(case, tmp_path).call("vary_prompts", asked, 0)
    assert "sample answers" in (done.error or "")


def test_thoughts_are_taken_apart_where_answers_can_be_begun_and_nowhere_else(
    server: LLMServer, tmp_path: Path
) -> None:
    thinker = planner(1)

    def think(recorded: Recorded) -> Reply:
        seed = recorded.body.get("seed", len(server.requests))
        prompts = [prompt_in(recorded.body)]
        ((said,),) = thinker.generate(prompts, ["x"], seed=seed, max_new_tokens=99)
        return Reply(said.text, usage=TOKENS)

    server.answer = think
    colour = {"kind": "answer_match", "values": ["red", "blue", "green"]}
    asked = {"items": [QUESTION], "measure": colour, "resamples": 20, "max_new_tokens": 99}
    done = api_worker(case_on(server), tmp_path).call("thought_anchors", asked, 1)
    assert done.result is not None, done.error
    first = done.result["sentences"][0]
    assert first["sentence"].startswith("I will go for") and first["p"] <= 0.05
    server.requests.clear()
    silent = case_on(server, "openai")
    done = api_worker(silent, tmp_path / "other").call("thought_anchors", asked, 1)
    assert done.error_kind == "investigator" and done.error is not None
    assert "goes on from within a reply, which this subject does not do" in done.error
    assert "\n" not in done.error and server.requests == []


def test_a_call_from_the_command_line(
    server: LLMServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--subject", f"api:openai-chat/{MODEL}", "--subject-url", f"{server.url}/v1"]
    asked = ["call", "sample_responses", *options, "--args", '{"items": ["9.8 or 9.11?"]}']
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0 and "is bigger" in done.stdout
    done = CliRunner().invoke(app, ["call", "logit_lens", *options])
    assert done.exit_code == USAGE and "looks inside the model" in done.stderr
    server.answer = lambda recorded: Error(401, message="who are you?")
    asked[-1] = '{"items": ["7.8 or 7.11?"]}'
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == CONFIGURATION
    assert "the subject: HTTP 401" in done.stderr and "investigating" not in done.stderr


def test_a_budget_in_dollars_needs_a_price_for_the_subject(
    server: LLMServer, tmp_path: Path
) -> None:
    case = case_on(server, limits={"dollars": 5.0})
    with pytest.raises(typer.Exit) as caught:
        session.start_worker(case, tmp_path)
    assert caught.value.exit_code == CONFIGURATION
    prices = tmp_path / "prices.toml"
    prices.write_text(f'["openai-chat/{MODEL}"]\ninput = 1.0\noutput = 2.0\n')
    worker = session.start_worker(case, tmp_path, session.Start(prices=prices))
    worker.close()
