"""The local pool: sittings forked and with a shared worker come to what they come to alone, killed or not."""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
import time
from pathlib import Path

import pytest

from evals.bench import kill_trial, pool, sitting
from evals.bench.drivers import left, taken
from evals.bench.plan import Wanted, plan_exam
from evals.bench.pool import TOGETHER, Exam, run_here, together
from evals.bench.records import Plan, ReferenceTrack, Sitting
from evals.bench.sitting import read_results, result_path, sit
from evals.kill_trial import outcome
from tests.processes import wait_until
from tests.test_bench_sitting import quick_exam
from tools.worker_client import SocketWorker


def quick(tmp_path: Path, sittings: int) -> tuple[Path, Plan]:
    out, plan = quick_exam(tmp_path, "exam", 0)
    return out, plan.model_copy(update={"sittings": plan.sittings[:sittings]})


def test_with_a_shared_worker_everything_is_as_with_one_of_its_own(tmp_path: Path) -> None:
    wanted = Wanted(everything=("systematic", "black-box"), null_runs=0)
    own, shared = tmp_path / "own", tmp_path / "shared"
    plan = plan_exam("drill", own, wanted, secret="shared")
    before = plan.sittings[0].specimen
    chosen = tuple(each for each in plan.sittings if each.specimen == before)
    assert len(chosen) == 2
    for each in chosen:
        sit(own, plan, each)
    same = plan_exam("drill", shared, wanted, secret="shared")
    same = same.model_copy(update={"sittings": chosen})
    # Both sit at once before one worker.
    assert run_here(Exam(shared, same), processes=2, workers=1) == 0
    assert kill_trial.costless(own) == kill_trial.costless(shared)
    for result in read_results(shared):
        assert result.run is not None
        assert outcome(own / result.run) == outcome(shared / result.run)
        assert (own / result.run / "worker.log").exists()
        assert not (shared / result.run / "worker.log").exists()


def test_what_a_shared_worker_computed_is_counted_as_a_cost_of_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dear(SocketWorker):
        def close(self) -> None:
            super().close()
            self.cpu_seconds += 1000

    out, plan = quick(tmp_path, 1)
    room = pool.Room(Exam(out, plan), plan.sittings)
    assert room.places(3) == 3 and room.socket is not None
    monkeypatch.setattr(sitting, "SocketWorker", Dear)
    assert sit(out, plan, plan.sittings[0], socket=room.socket).cost.cpu_seconds >= 1000
    room.furniture.close()
    assert not room.socket.exists()


def test_a_pool_that_is_killed_at_any_moment_comes_to_the_serial_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--out", str(tmp_path), "--cells", "2", "--kills", "2"]
    assert kill_trial.main(words) == 0
    assert "all complete, none twice, the same table" in capfd.readouterr().out
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # And it would have seen what went wrong.
    plan = kill_trial.read_plan(whole)
    path = result_path(killed, plan.sittings[0])
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"registrations": 99}))
    name = plan.sittings[0].name
    assert kill_trial.differences(whole, killed)[0] == f"{name}: another result"
    path.unlink()
    with (killed / "said.txt").open("a") as said:
        said.write(f"1/1 {plan.sittings[1].name}: done\n" * 2)
    faults = kill_trial.faults_of(killed, plan)
    assert faults[0] == f"{name}: no result" and "done" in faults[1] and len(faults) == 2


def test_a_sitting_whose_process_died_is_started_again(tmp_path: Path) -> None:
    out, plan = quick(tmp_path, 2)
    said: list[str] = []
    fell: list[int | None] = []

    def kill() -> None:
        children = multiprocessing.active_children
        assert wait_until(lambda: any((out / "sittings").glob("*/events.jsonl")), 60)
        for child in children():
            fell.append(child.pid)
            child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    assert run_here(Exam(out, plan, say=said.append), 1) == 0
    killer.join()
    assert fell and not left(out, plan)
    assert [line.endswith(": done") for line in said] == [True, True]


def test_one_that_dies_every_time_is_given_up_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = quick(tmp_path, 1)
    # No such command: every process ends with an exit code and without a result.
    monkeypatch.setattr(pool, "words_of", lambda *_: ["bench", "sittin"])
    said: list[str] = []
    assert run_here(Exam(out, plan, say=said.append), 1) == 1
    assert len(said) == 1 and "see " in said[0]
    assert not result_path(out, plan.sittings[0]).exists()


def test_sittings_end_with_a_pool_that_is_killed(tmp_path: Path) -> None:
    out, plan = quick(tmp_path, 1)
    kill_trial.write_plan(out, plan)
    process = kill_trial.started(out, 1)
    assert wait_until(lambda: any((out / "sittings").glob("*/events.jsonl")), 60)
    process.send_signal(signal.SIGKILL)
    process.wait()

    def free() -> bool:
        with taken(out, plan.sittings[0]) as ours:
            return ours

    assert wait_until(free, 5)
    # It went on no further, whatever it was at.
    at = [path.stat().st_size for path in out.rglob("events.jsonl")]
    time.sleep(1)
    assert [path.stat().st_size for path in out.rglob("events.jsonl")] == at


def test_a_sitting_that_another_pool_is_at_is_waited_for(tmp_path: Path) -> None:
    out, plan = quick(tmp_path, 2)
    said: list[str] = []
    with taken(out, plan.sittings[0]) as ours:
        assert ours
        runs = threading.Thread(target=run_here, args=(Exam(out, plan, say=said.append), 2))
        runs.start()
        assert wait_until(lambda: said, 60)
        time.sleep(2 * pool.LOOK_S)
        assert runs.is_alive() and plan.sittings[1].name in said[0]
    runs.join()
    assert len(said) == 2 and not left(out, plan)


def test_nothing_is_begun_after_the_time_is_up(tmp_path: Path) -> None:
    out, plan = quick(tmp_path, 3)
    said: list[str] = []
    assert run_here(Exam(out, plan, time.time() - 1, say=said.append), 2) == 3
    assert all("not begun: the time was up" in line for line in said)


def test_sittings_before_one_specimen_are_together_but_no_more_than_some() -> None:
    sittings = [
        Sitting(specimen=f"m{k % 3}", investigator=f"i{k}", reference=track, seed=1)
        for k in range(3 * TOGETHER + 3)
        for track in (ReferenceTrack.base, ReferenceTrack.none)
    ]
    chunks = together(sittings)
    assert sorted(each.name for chunk in chunks for each in chunk) == sorted(
        each.name for each in sittings
    )
    assert all(len({(each.specimen, each.reference) for each in chunk}) == 1 for chunk in chunks)
    assert max(map(len, chunks)) == TOGETHER
    firsts = [sittings.index(chunk[0]) for chunk in chunks]
    assert firsts == sorted(firsts)
