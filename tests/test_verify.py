"""`verify` catches every change of a run, also one that was sealed again."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.loop import run as drive
from agent.opening import resume_run
from agent.prediction import Prediction
from agent.rendering import write_report
from agent.run_folder import GENESIS, RunError
from agent.verify import UNUSABLE, verify
from tests.scripted_run import Scripted, case_of, make_run, turns, worker_for
from tools.experiment import call_key, canonical_json
from tools.scoring import mean, summarise

MUTATIONS = 200


class Forger:
    """A run taken apart: its events and blobs can be changed and put together again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = [
            json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()
        ]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of the events of a kind."""
        return [event["data"] for event in self.events if event["type"] == kind]

    def blob(self, reference: str) -> Any:
        """Return a blob's JSON."""
        return json.loads(self.file(reference).read_bytes())

    def file(self, reference: str) -> Path:
        """Return where a blob lies."""
        return self.path / "blobs" / "sha256" / reference[:2] / reference

    def replace(self, reference: str, content: Any, *, sealed: bool) -> str:
        """Change a blob: under its new name everywhere when sealed, else under its old one."""
        data = canonical_json(content).encode()
        if not sealed:
            self.file(reference).write_bytes(data)
            return reference
        new = hashlib.sha256(data).hexdigest()
        self.file(new).parent.mkdir(exist_ok=True)
        self.file(new).write_bytes(data)
        if new != reference:
            self.file(reference).unlink()
            self.events = json.loads(json.dumps(self.events).replace(reference, new))
        return new

    def write(self, *, sealed: bool) -> None:
        """Write the log: with a fresh chain, checksums and report when sealed."""
        previous, lines = GENESIS, []
        for seq, event in enumerate(self.events):
            if sealed:
                body = {"seq": seq, "type": event["type"], "data": event["data"], "prev": previous}
                text = canonical_json(body)
                line = f'{text[:-1]},"crc":{zlib.crc32(text.encode())}}}'
            else:
                crc = event["crc"]
                text = canonical_json({k: v for k, v in event.items() if k != "crc"})
                line = f'{text[:-1]},"crc":{crc}}}'
            previous = hashlib.sha256(line.encode()).hexdigest()
            lines.append(line)
        (self.path / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
        if sealed:
            manifest = json.loads((self.path / "manifest.json").read_text())
            manifest["run"] = hashlib.sha256(lines[0].encode()).hexdigest()
            (self.path / "manifest.json").write_text(json.dumps(manifest))
            try:
                write_report(self.path)
            except UNUSABLE:
                shutil.rmtree(self.path / "report", ignore_errors=True)


Mutation = Callable[[Forger, random.Random, bool], None]


def nudged(value: float, rng: random.Random) -> float:
    return value + rng.choice((-1, 1)) * (0.001 + 0.2 * rng.random())


def verdict_of(run: Forger, rng: random.Random) -> dict[str, Any]:
    return rng.choice(run.of("verdict"))["verdict"]


def change_effect(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict = verdict_of(run, rng)
    verdict["estimate"] = nudged(verdict["estimate"], rng)


def change_interval(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict = verdict_of(run, rng)
    verdict["interval"][rng.randrange(2)] += 1e-6 * rng.randint(1, 9)


def change_p(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict = verdict_of(run, rng)
    verdict["p"] = verdict["p"] * rng.choice((0.1, 0.5, 0.999))


def change_status(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict = verdict_of(run, rng)
    others = {"supported", "effect shown, cause open", "refuted", "inconclusive"}
    verdict["status"] = rng.choice(sorted(others - {verdict["status"]}))


def change_n(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict_of(run, rng)[rng.choice(("clusters", "items", "unscored"))] += rng.randint(1, 5)


def change_threshold(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict_of(run, rng)["threshold"] *= rng.choice((0.5, 2, 4))


def change_control(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict = verdict_of(run, rng)
    verdict["arms"]["control"] = nudged(verdict["arms"]["control"], rng)


def change_rival(run: Forger, rng: random.Random, sealed: bool) -> None:
    rival = rng.choice(verdict_of(run, rng)["rivals"])
    if rival["difference"] is None or rng.random() < 0.5:
        rival["excluded"] = not rival["excluded"]
    else:
        rival["difference"] = nudged(rival["difference"], rng)


def change_scope(run: Forger, rng: random.Random, sealed: bool) -> None:
    verdict = verdict_of(run, rng)
    others = {"added by training", "inherited from the reference", "reference not comparable"}
    verdict["reference_scope"] = rng.choice(sorted(others - {verdict["reference_scope"]}))


def change_score(run: Forger, rng: random.Random, sealed: bool) -> None:
    entry = rng.choice(run.of("experiment"))
    number = entry["number"]
    done = run.blob(entry["blob"])
    table = run.blob(done["result"]["raw"])
    name = rng.choice(sorted(table["arms"]))
    row = rng.choice(table["arms"][name])
    row["scores"] = [1.0 - score for score in row["scores"]]
    row["mean"] = mean(row["scores"])
    done["result"]["arms"][name] = summarise(table["arms"][name]).model_dump(mode="json")
    done["result"]["raw"] = run.replace(done["result"]["raw"], table, sealed=sealed)
    stored = next(each for each in run.of("experiment") if each["number"] == number)
    run.replace(stored["blob"], done, sealed=sealed)


def change_prompt(run: Forger, rng: random.Random, sealed: bool) -> None:
    entry = rng.choice(run.of("experiment"))
    number = entry["number"]
    done = run.blob(entry["blob"])
    table = run.blob(done["result"]["raw"])
    name = rng.choice(sorted(table["arms"]))
    place = rng.randrange(len(table["arms"][name]))
    words = f"Is it true that {rng.random()}?"
    table["arms"][name][place]["prompt"]["messages"][-1]["content"] = words
    done["result"]["raw"] = run.replace(done["result"]["raw"], table, sealed=sealed)
    if rng.random() < 0.7:
        # The thorough forger changes what was asked, too.
        asked = done["arguments"]["arms"][name]["items"][place]
        asked["prompt"]["messages"][-1]["content"] = words
    stored = next(each for each in run.of("experiment") if each["number"] == number)
    models = run.of("run_opened")[0]["catalogue"]["models"]
    stored["key"] = call_key(done["tool"], done["arguments"], models, done["code"], done["seed"])
    run.replace(stored["blob"], done, sealed=sealed)


def change_alpha(run: Forger, rng: random.Random, sealed: bool) -> None:
    if rng.random() < 0.5:
        rng.choice(run.of("registration"))["alpha"] *= rng.choice((2, 4, 0.5))
    else:
        limits = run.of("run_opened")[0]["case"]["limits"]
        limits["alpha"] = rng.choice((0.1, 0.15, 0.2))


def change_registration(run: Forger, rng: random.Random, sealed: bool) -> None:
    registration = rng.choice(run.of("registration"))
    prediction = registration["prediction"]
    change = rng.choice(("smallest_effect", "direction", "rivals", "measure"))
    if change == "smallest_effect":
        prediction["smallest_effect"] = rng.choice((0.1, 0.15, 0.2))
    elif change == "direction":
        prediction["direction"] = "less"
    elif change == "rivals":
        prediction["rivals"].pop()
    else:
        prediction["measure"]["values"] = ["indeed"]
    registration["digest"] = Prediction.model_validate(prediction).digest()


def change_power(run: Forger, rng: random.Random, sealed: bool) -> None:
    registration = rng.choice(run.of("registration"))
    registration[rng.choice(("power", "pilot_sd"))] *= 0.9


def change_quotation(run: Forger, rng: random.Random, sealed: bool) -> None:
    new = f"Yes, {rng.choice(('certainly', 'of course', 'always'))} and for ever"
    for event in run.events:
        event["data"] = replaced(event["data"], '"Yes, surely" [exp:1]', f'"{new}" [exp:1]')


def change_citation(run: Forger, rng: random.Random, sealed: bool) -> None:
    old = rng.choice(("P1/estimate", "P1/arms/treatment", "exp:1/result/arms/reference/mean"))
    new = rng.choice((f"{old}s", "exp:99/result/mean", "P9/estimate"))
    for event in run.events:
        event["data"] = replaced(event["data"], old, new)


def change_draw(run: Forger, rng: random.Random, sealed: bool) -> None:
    drawn = rng.choice(run.of("draw"))
    place = rng.randrange(len(drawn["burned"]))
    drawn["burned"][place] = hashlib.sha256(str(rng.random()).encode()).hexdigest()


def change_rate(run: Forger, rng: random.Random, sealed: bool) -> None:
    rate = rng.choice(sorted(run.of("step_zero")[0]["rates"]))
    found = run.of("step_zero")[0]["rates"][rate]
    found["mean"] = nudged(found["mean"], rng)


def change_order(run: Forger, rng: random.Random, sealed: bool) -> None:
    # The prediction is moved behind its data.
    kinds = [event["type"] for event in run.events]
    event = run.events.pop(kinds.index("registration"))
    verdicts = [k for k, each in enumerate(run.events) if each["type"] == "verdict"]
    run.events.insert(verdicts[-1] + 1, event)


def change_source(run: Forger, rng: random.Random, sealed: bool) -> None:
    first, second = run.of("verdict")
    first["experiment"], second["experiment"] = second["experiment"], first["experiment"]


def invent_finding(run: Forger, rng: random.Random, sealed: bool) -> None:
    abandoned = run.of("registration")[-1]["id"]
    last = max(k for k, event in enumerate(run.events) if event["type"] == "verdict")
    forged = json.loads(json.dumps(run.events[last]))
    forged["data"]["registration"] = abandoned
    run.events.insert(last + rng.randint(1, 3), forged)


def replaced(value: Any, old: str, new: str) -> Any:
    """Replace a text in every string of a JSON value."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, dict):
        return {key: replaced(inner, old, new) for key, inner in value.items()}
    return [replaced(inner, old, new) for inner in value] if isinstance(value, list) else value


KINDS: tuple[Mutation, ...] = (
    change_effect, change_interval, change_p, change_status, change_n, change_threshold,
    change_control, change_rival, change_scope, change_score, change_prompt, change_alpha,
    change_registration, change_power, change_quotation, change_citation, change_draw,
    change_rate, change_order, change_source, invent_finding,
)  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "honest"
    make_run(path)
    write_report(path)
    return path


@pytest.fixture(autouse=True)
def no_briefing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.loop.briefing", lambda *_: {})


def test_an_honest_run_has_no_fault(honest: Path) -> None:
    found = verify(honest)
    assert found.ok, found.faults
    assert (found.experiments, found.verdicts) == (6, 2)
    assert not found.notes


def test_a_run_without_reference_and_report_has_no_fault(tmp_path: Path) -> None:
    plain = turns(summary="", interpretations={})
    plain[3] = plain[3].model_copy(update={"calls": plain[3].calls[1:]})
    make_run(tmp_path / "run", plain, case=case_of(reference=False))
    assert verify(tmp_path / "run").ok


@pytest.mark.parametrize("part", range(4))
def test_every_mutation_is_caught(honest: Path, tmp_path: Path, part: int) -> None:
    missed: list[str] = []
    for number in range(part, MUTATIONS, 4):
        rng = random.Random(number)
        mutate, sealed = KINDS[number // 2 % len(KINDS)], number % 2 == 1
        path = tmp_path / str(number)
        shutil.copytree(honest, path)
        run = Forger(path)
        before = canonical_json(run.events)
        mutate(run, rng, sealed)
        run.write(sealed=sealed)
        touched = before != canonical_json(run.events) or mutate in (change_score, change_prompt)
        assert touched, f"{mutate.__name__} changed nothing"
        if verify(path).ok:
            missed.append(f"{number}: {mutate.__name__}, {'sealed' if sealed else 'as it was'}")
        shutil.rmtree(path)
    assert not missed


def test_sealing_an_untouched_run_again_is_no_fault(honest: Path, tmp_path: Path) -> None:
    # Otherwise the mutations might be caught for the sealing alone.
    path = tmp_path / "run"
    shutil.copytree(honest, path)
    run = Forger(path)
    run.replace(
        run.of("experiment")[0]["blob"], run.blob(run.of("experiment")[0]["blob"]), sealed=True
    )
    run.write(sealed=True)
    assert verify(path).ok


@pytest.mark.parametrize("name", ["report.json", "report.md", "report.html"])
def test_a_changed_page_is_caught(honest: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "run"
    shutil.copytree(honest, path)
    page = path / "report" / name
    effect = json.loads((path / "report/report.json").read_text())["findings"][0]["effect"]
    changed = page.read_text().replace(effect.lstrip("+"), "99 points", 1)
    page.write_text(changed)
    assert [fault.where for fault in verify(path).faults] == [name]


def test_a_changed_blob_is_named(honest: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(honest, path)
    blob = next((path / "blobs").glob("sha256/*/*"))
    blob.write_bytes(blob.read_bytes() + b" ")
    assert any(
        fault.check == "blobs" and blob.name[:16] in fault.where for fault in verify(path).faults
    )


def test_a_missing_blob_is_a_fault_and_no_crash(honest: Path, tmp_path: Path) -> None:
    for number, blob in enumerate(sorted((honest / "blobs").glob("sha256/*/*"))):
        path = tmp_path / str(number)
        shutil.copytree(honest, path)
        (path / blob.relative_to(honest)).unlink()
        assert not verify(path).ok


def test_an_unfinished_run_verifies_as_far_as_it_goes(honest: Path, tmp_path: Path) -> None:
    lines = (honest / "events.jsonl").read_bytes().splitlines(keepends=True)
    for end in range(1, len(lines), 3):
        path = tmp_path / str(end)
        shutil.copytree(honest, path, ignore=shutil.ignore_patterns("report"))
        (path / "events.jsonl").write_bytes(b"".join(lines[:end]) + b'{"seq": 9')
        found = verify(path)
        assert [fault for fault in found.faults if fault.check != "citation"] == []
        assert "the run has not ended" in found.notes


def test_a_broken_citation_of_the_investigators_is_listed(tmp_path: Path) -> None:
    said = turns(interpretations={"P1": "It rose by P1/nothing."})
    make_run(tmp_path / "run", said)
    found = verify(tmp_path / "run")
    assert [(fault.check, fault.where) for fault in found.faults] == [("citation", "P1")]


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        verify(tmp_path)


def test_a_resumed_run_verifies(honest: Path, tmp_path: Path) -> None:
    lines = (honest / "events.jsonl").read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line)["type"] for line in lines]
    path = tmp_path / "run"
    shutil.copytree(honest, path, ignore=shutil.ignore_patterns("report"))
    cut = kinds.index("draw") + 1
    (path / "events.jsonl").write_bytes(b"".join(lines[:cut]) + b'{"torn')
    again = resume_run(path, worker_for(path))
    drive(again, Scripted(turns()), Budget(again.case.limits))
    again.folder.close()
    write_report(path)
    assert verify(path).ok
    first, second = (json.loads((p / "report/report.json").read_text()) for p in (honest, path))
    assert first["findings"] == second["findings"]
