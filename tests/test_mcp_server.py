"""`naturalist mcp` under the stock client, over stdio: a whole investigation, a kill, a cancel, a long call."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from agent.doors.mcp_server import listed
from agent.investigation import ToolCall
from agent.opening import read_run
from agent.verify import verify
from tests.processes import ROOT, wait_until
from tests.scripted_run import turns
from tests.test_commands import write_case

SLOW_TOOL = '''
import json
import time
from typing import Any

from tools.experiment import Context
from tools.registry import Record, tool


class SlowArguments(Record):
    seconds: float


class SlowResult(Record):
    waited: float


@tool
def wait_a_while(subject: Any, args: SlowArguments, context: Context) -> SlowResult:
    """Wait for some seconds."""
    for tenth in range(int(10 * args.seconds)):
        context.progress(tenth / (10 * args.seconds), "waiting")
        time.sleep(0.1)
    return SlowResult(waited=args.seconds)


class SweepResult(Record):
    cells: tuple[str, ...]
    raw: str


@tool
def sweep(subject: Any, args: SlowArguments, context: Context) -> SweepResult:
    """Store a small sweep, as patching does."""
    effects = [[[1.0, None], [-2.0, 0.0]]]
    table = {"sites": [[0, "resid_post"], [1, "resid_post"]], "positions": [-2, -1]}
    table["effects"] = {"denoising": effects, "noising": effects}
    return SweepResult(cells=("one",), raw=context.blobs.put(json.dumps(table).encode()))


TOOLS = (wait_a_while, sweep)
'''


def calls() -> list[ToolCall]:
    """Return the calls of the scripted run, one after another."""
    return [call for turn in turns() for call in turn.calls]


def server(*words: object) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "naturalist", "mcp", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=str(ROOT),
    )


def with_client(
    words: Sequence[object], work: Callable[[Client], Awaitable[Any]], mode: str = "auto"
) -> Any:
    """Do something as the client of a server that is started for it; `legacy` greets as clients of 2025 do."""

    async def session() -> Any:
        async with Client(server(*words), mode=mode) as client:
            return await work(client)

    return anyio.run(session)


def text_of(result: Any) -> str:
    return "\n".join(part.text for part in result.content)


def the_run(runs: Path) -> Path:
    (found,) = runs.glob("*")
    return found


def test_a_client_completes_an_investigation_and_the_gates_compute_the_verdicts(
    tmp_path: Path,
) -> None:
    async def investigate(client: Client) -> list[Any]:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {call.name for call in calls()} <= names
        begun = await client.call_tool("begin", {})
        assert "Why does it sometimes answer yes?" in text_of(begun)
        assert "Step 0" in text_of(begun) and "register" in text_of(begun)
        mistake = await client.call_tool("sample_responses", {"item": ["x"]})
        assert mistake.is_error and "did you mean 'items'" in text_of(mistake)
        unknown = await client.call_tool("set_status", {"status": "supported"})
        assert unknown.is_error and "unknown tool" in text_of(unknown)
        results = [await client.call_tool(call.name, call.arguments) for call in calls()]
        page = await client.read_resource("naturalist://report")
        assert "P1" in page.contents[0].text
        after = await client.call_tool("note", {"text": "late"})
        assert after.is_error and "over" in text_of(after)
        return results

    case, runs = write_case(tmp_path), tmp_path / "runs"
    results = with_client([case, "--runs", runs, "--seed", 7], investigate)
    assert not any(each.is_error for each in results), [text_of(each) for each in results]
    confirmed = next(r for r, call in zip(results, calls(), strict=True) if call.name == "confirm")
    told = confirmed.structured_content["verdicts"]
    assert told["P1"]["status"] == "supported" and told["P2"]["status"] == "refuted"
    assert "P1 supported" in text_of(results[-1])
    run = the_run(runs)
    assert verify(run).faults == ()
    investigation = read_run(run)
    assert investigation.investigator == "mcp" and investigation.ended == "submitted"
    assert investigation.verdicts["P1"].status == "supported"
    seen = json.dumps([each.model_dump(mode="json") for each in results])
    assert str(tmp_path) not in seen and investigation.run_secret not in seen
    told_in_full = {data for draw in investigation.draws.values() for data in draw["burned"]}
    assert told_in_full and not any(mark in seen for mark in told_in_full)


def test_killed_in_the_middle_it_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    """The server is killed while a confirmation is under way."""
    killed_before = 5
    assert calls()[killed_before - 1].name == "confirm"
    case, runs = write_case(tmp_path), tmp_path / "runs"

    async def first(client: Client) -> None:
        await client.call_tool("begin", {})
        for call in calls()[: killed_before - 1]:
            await client.call_tool(call.name, call.arguments)
        holder = int((the_run(runs) / "run.lock").read_text().split()[1])
        async with anyio.create_task_group() as group:
            call = calls()[killed_before - 1]
            group.start_soon(client.call_tool, call.name, call.arguments)
            log = the_run(runs) / "events.jsonl"
            turns_then = log.read_text().count('"type":"turn"')
            while log.read_text().count('"type":"turn"') == turns_then:
                await anyio.sleep(0.001)
            os.kill(holder, signal.SIGKILL)

    with pytest.raises(BaseException):  # noqa: B017
        with_client([case, "--runs", runs, "--seed", 7], first)
    run = the_run(runs)
    assert wait_until(lambda: not is_locked(run), 10)

    async def second(client: Client) -> list[Any]:
        begun = text_of(await client.call_tool("begin", {}))
        done = len(read_run(run).exchanges)
        assert done == killed_before and "H1" in begun
        return [await client.call_tool(call.name, call.arguments) for call in calls()[done:]]

    results = with_client(["--resume", run], second)
    assert not any(each.is_error for each in results), [text_of(each) for each in results]
    whole = read_run(run)
    assert whole.ended == "submitted" and verify(run).faults == ()
    told = {name: verdict.status for name, verdict in whole.verdicts.items()}
    assert told == {"P1": "supported", "P2": "refuted"}
    assert len(whole.exchanges) == len(calls())


def is_locked(run: Path) -> bool:
    import fcntl

    with (run / "run.lock").open("rb+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@pytest.fixture
def slow(tmp_path: Path) -> list[object]:
    """Words that start a server with a slow tool of the researcher's own."""
    path = tmp_path / "slow_tool.py"
    path.write_text(SLOW_TOOL)
    return [write_case(tmp_path), "--runs", tmp_path / "runs", "--tools", path]


async def begin(client: Client) -> None:
    while text_of(await client.call_tool("begin", {})).startswith("still preparing"):
        pass


def wait_call(seconds: float) -> dict[str, Any]:
    return {"name": "wait_a_while", "arguments": {"seconds": seconds}}


def test_progress_is_told_and_a_call_that_takes_long_is_collected_later(
    slow: list[object], tmp_path: Path
) -> None:
    heard: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, message))

    async def work(client: Client) -> None:
        await begin(client)
        found = await client.call_tool("find_tool", {"words": "wait a while"})
        assert found.structured_content["tools"][0].startswith("wait_a_while: ")
        result = await client.call_tool("call_tool", wait_call(4.0), progress_callback=progress)
        assert result.structured_content["status"] == "running"
        other = await client.call_tool("note", {"text": "too early"})
        assert other.is_error and "note was not called" in text_of(other)
        result = await client.call_tool("job_status", {})
        while result.structured_content.get("status") == "running":
            result = await client.call_tool("job_status", {})
        assert result.structured_content["waited"] == 4.0
        seen = await client.call_tool("call_tool", {**wait_call(0), "name": "sweep"})
        text, picture = seen.content
        assert seen.structured_content["cells"] == ["one"] and "one" in text.text
        assert picture.mime_type == "image/png"
        assert base64.b64decode(picture.data).startswith(b"\x89PNG")

    with_client([*slow, "--patience", 1], work)
    assert len(heard) > 2 and any("waiting" in (message or "") for _, message in heard)
    assert [done for done, _ in heard] == sorted({done for done, _ in heard})
    run = read_run(the_run(tmp_path / "runs"))
    assert [each.results[0].name for each in run.exchanges] == [
        "find_tool",
        "wait_a_while",
        "sweep",
    ]


def test_a_cancelled_exploration_is_stopped_and_logged_as_failed(
    slow: list[object], tmp_path: Path
) -> None:
    """By giving the request up, as clients do that time out, and by `job_status`."""

    async def work(client: Client) -> None:
        await begin(client)
        with anyio.move_on_after(1):
            await client.call_tool("call_tool", wait_call(300))
        after = await client.call_tool("note", {"text": "went on"})
        while after.is_error and "was not called" in text_of(after):
            after = await client.call_tool("note", {"text": "went on"})
        assert after.structured_content == {"done": "noted"}
        await client.call_tool("call_tool", wait_call(300))
        last = await client.call_tool("job_status", {"cancel": True})
        while not last.is_error and last.structured_content["status"] == "running":
            last = await client.call_tool("job_status", {})
        assert last.is_error and "cancelled" in text_of(last)

    with_client([*slow, "--patience", 3], work, "legacy")
    path = the_run(tmp_path / "runs")
    run = read_run(path)
    first, second, third = (each.results[0] for each in run.exchanges)
    assert first.error is not None and "cancelled" in first.error
    assert second.result == {"done": "noted"} and third.error is not None
    assert [entry.failed for entry in run.experiments[-2:]] == [True, True]
    assert run.experiment(run.experiments[-1].number).error_kind == "cancelled"
    assert verify(path).faults == ()


def test_what_is_listed_is_alike_each_time_and_short_enough_to_read() -> None:
    tools = listed()
    assert [tool.model_dump() for tool in tools] == [tool.model_dump() for tool in listed()]
    assert len(tools) <= 25
    for tool in tools:
        assert tool.description and tool.input_schema["type"] == "object"
        assert len(f"mcp__naturalist__{tool.name}") <= 64
