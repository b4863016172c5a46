"""A run that is killed anywhere goes on as if it had not been: nothing lost, drawn twice or decided anew."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from agent.budget import Budget
from agent.case import Case
from agent.investigation import Turn
from agent.loop import Investigator, run
from agent.opening import open_run, resume_run
from agent.run_folder import RunFolder
from agent.scripted import ScriptedInvestigator
from agent.systematic import SystematicInvestigator
from evals.kill_trial import outcome
from tests.scripted_run import case_of, prediction, turns
from tests.scripted_run import worker_for as scripted_worker
from tests.synthetic_cases import in_process_worker, number_case
from tools.blobs import BlobStore
from tools.sampling import sample_responses
from tools.scoring import score_arms
from tools.worker_client import InProcessWorker, Worker

ROOT = Path(__file__).parent.parent
KILLS = 91
"""At a chosen append or blob, before or after it is written; the others come at any moment."""
ASYNCHRONOUS = 10
SEED = 7


def script() -> list[Turn]:
    """Return turns that use every house tool, explore, err, and go on after a verdict."""
    said = turns()
    items = {"draw": {"templates": 3, "per_template": 1}}
    explore = {"id": "e", "name": "sample_responses", "arguments": {"items": items, "samples": 1}}
    wrong = {"id": "w", "name": "register_predictions", "arguments": {"predictions": []}}
    twice = {"calls": [explore, wrong, explore | {"id": "e2"}]}
    again = prediction(hypothesis="H2", smallest_effect=0.5, per_cluster=4)
    calls = [
        {"id": "a", "name": "register_predictions", "arguments": {"predictions": [again]}},
        {"id": "b", "name": "confirm", "arguments": {"registrations": ["P4"]}},
        {"id": "n", "name": "note", "arguments": {"text": "one"}},
        {"id": "m", "name": "note", "arguments": {"text": "two"}},
    ]
    more = [Turn.model_validate(twice), Turn.model_validate({"calls": calls})]
    return [said[0], more[0], *said[1:-1], more[1], said[-1]]


Parts = tuple[Case, Callable[[Path], Worker], Callable[[], Investigator]]


def scripted_parts() -> Parts:
    def worker(path: Path) -> Worker:
        subject: Any = scripted_worker(path)
        return InProcessWorker(subject.subject, [sample_responses, score_arms], path / "blobs")

    return case_of(), worker, lambda: ScriptedInvestigator(script())


def short_parts() -> Parts:
    """The same, out of turns before it has submitted."""
    case, worker, investigator = scripted_parts()
    return (
        case.model_copy(update={"limits": case.limits.model_copy(update={"steps": 4})}),
        worker,
        investigator,
    )


def systematic_parts() -> Parts:
    return (
        number_case(),
        lambda path: in_process_worker(path, "context = version"),
        SystematicInvestigator,
    )


PARTS = {"scripted": scripted_parts, "short": short_parts, "systematic": systematic_parts}


def drive(kind: str, path: Path) -> None:
    """Do what `investigate` and `resume` do, in this process."""
    case, worker, investigator = PARTS[kind]()
    log = path / "events.jsonl"
    if log.exists() and log.read_bytes().count(b"\n"):
        investigation = resume_run(path, worker(path))
    else:
        log.unlink(missing_ok=True)
        investigation = open_run(path, case, worker(path), kind, SEED)
    run(investigation, investigator(), Budget(case.limits, investigation.minutes))
    investigation.folder.close()


def in_child(work: Callable[[], None]) -> int:
    """Run in a forked child; return its status, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(place: int, after: bool) -> None:
    """Make this process kill itself at the given write, before it or when it is done."""
    count = 0

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            mine = count
            if mine == place and not after:
                die()
            done = original(*args, **more)
            if mine == place:
                die()
            return done

        return counted

    RunFolder.append = wrap(RunFolder.append)  # type: ignore[method-assign]
    BlobStore.put = wrap(BlobStore.put)  # type: ignore[method-assign]


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[list[Any], int]]:
    """Return what an unkilled run comes to, and how many writes it takes; each is run once."""
    made: dict[str, tuple[list[Any], int]] = {}

    def of(kind: str) -> tuple[list[Any], int]:
        if kind not in made:
            path = tmp_path_factory.mktemp(kind) / "run"
            drive(kind, path)
            folder = RunFolder(path)
            blobs = 2 * sum(event.type == "experiment" for event in folder.events)
            made[kind] = outcome(path), len(folder.events) + blobs
        return made[kind]

    return of


def test_the_script_does_what_the_kills_are_to_interrupt(
    whole: Callable[[str], tuple[list[Any], int]],
) -> None:
    kinds = [kind for kind, _ in whole("scripted")[0]]
    for kind, least in {
        "hypothesis": 3,
        "registration": 4,
        "draw": 3,
        "verdict": 3,
        "note": 3,
    }.items():
        assert kinds.count(kind) >= least, kind
    assert kinds[-1] == "run_ended" and whole("scripted")[0][-1][1] == {"reason": "submitted"}
    assert whole("short")[0][-1][1] == {"reason": "budget used up: steps"}
    statuses = {
        data["verdict"]["status"] for kind, data in whole("systematic")[0] if kind == "verdict"
    }
    assert "supported" in statuses


def killed_places(kind: str, share: int) -> list[tuple[str, int]]:
    return [(kind, number) for number in range(share)]


@pytest.mark.parametrize(
    ("kind", "number"),
    [*killed_places("scripted", 60), *killed_places("short", 25), *killed_places("systematic", 6)],
)
def test_killed_at_a_write(
    tmp_path: Path, whole: Callable[[str], tuple[list[Any], int]], kind: str, number: int
) -> None:
    expected, writes = whole(kind)
    rng = random.Random(f"{kind} {number}")
    path = tmp_path / "run"

    def killed() -> None:
        kill_at(rng.randint(2, writes), after=rng.random() < 0.5)
        drive(kind, path)

    statuses = [in_child(killed)]
    if number % 3 == 0:
        statuses.append(in_child(killed))
    assert statuses[0] == -signal.SIGKILL
    assert in_child(lambda: drive(kind, path)) == 0
    assert outcome(path) == expected


def test_as_many_kills_as_are_promised() -> None:
    assert KILLS == 60 + 25 + 6 and KILLS + ASYNCHRONOUS > 100


@pytest.mark.parametrize("number", range(ASYNCHRONOUS))
def test_killed_at_any_moment(
    tmp_path: Path, whole: Callable[[str], tuple[list[Any], int]], number: int
) -> None:
    """From outside, once the log has reached a random size: also in the middle of a line."""
    expected, _ = whole("scripted")
    rng = random.Random(number)
    path = tmp_path / "run"
    child = os.fork()
    if child == 0:
        try:
            drive("scripted", path)
        finally:
            os._exit(0)
    size, until = rng.randint(1, 60_000), time.monotonic() + 20
    log = path / "events.jsonl"
    while time.monotonic() < until and not (log.exists() and log.stat().st_size >= size):
        if os.waitpid(child, os.WNOHANG)[0]:
            break
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert in_child(lambda: drive("scripted", path)) == 0
    assert outcome(path) == expected


def test_a_torn_line_is_kept_aside_and_done_again(
    tmp_path: Path, whole: Callable[[str], tuple[list[Any], int]]
) -> None:
    path = tmp_path / "run"

    def killed() -> None:
        kill_at(30, after=True)
        drive("scripted", path)

    assert in_child(killed) == -signal.SIGKILL
    log = path / "events.jsonl"
    content = log.read_bytes()
    log.write_bytes(content[:-20])
    assert in_child(lambda: drive("scripted", path)) == 0
    assert outcome(path) == whole("scripted")[0]
    (aside,) = path.glob("events.torn.*")
    assert content[:-20].endswith(aside.read_bytes())


TABLE = """
[[behaviours]]
shown = ["Yes."]
otherwise = ["No."]
logit = -1.0
[[behaviours.effects]]
logit = 4.0
phrase = "please"
model = "subject"
"""


def test_the_command_line_resumes_a_killed_process(tmp_path: Path) -> None:
    """The real thing: `investigate` with its worker process, killed as it runs, then `resume`."""
    (tmp_path / "table.toml").write_text(TABLE)
    content = "\n".join(
        [
            'name = "yes"\nbehaviour = "It says yes."',
            f'[subject]\nmodel = "synthetic:{tmp_path / "table.toml"}"',
            '[measure]\nkind = "answer_match"\nvalues = ["yes"]\nagainst = ["no"]',
            '[slots.tone]\nlevels = { plain = [""], kind = ["Please, ", "If you please, ", "Oh please, "] }',
            *(
                f'[[templates]]\ntext = "{{tone}}{template.text.split("{context} ")[1].split(" {claim}")[0]} so?"'
                for template in case_of().templates
            ),
        ]
    )
    (tmp_path / "case.toml").write_text(content)
    command = [sys.executable, str(ROOT / "naturalist.py")]
    started = subprocess.Popen(
        [*command, "investigate", str(tmp_path / "case.toml"), "--runs", str(tmp_path / "runs")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and started.poll() is None:
        found = [
            log for log in tmp_path.glob("runs/*/events.jsonl") if log.read_bytes().count(b"\n") > 8
        ]
        if found:
            break
        time.sleep(0.01)
    started.kill()
    started.wait()
    (path,) = (tmp_path / "runs").iterdir()
    before = [event.type for event in RunFolder(path).events]
    assert "run_ended" not in before
    done = subprocess.run(
        [*command, "resume", str(path), "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(path)
    events = RunFolder(path).events
    assert [event.type for event in events[: len(before)]] == before
    assert events[-1].type == "run_ended"
    numbers = [event.data["number"] for event in events if event.type == "experiment"]
    keys = [event.data["key"] for event in events if event.type == "experiment"]
    assert numbers == list(range(1, len(numbers) + 1)) and len(set(keys)) == len(keys)
