"""Outputs are judged blind, once each, in an order of the seed; a missing label is no number, waiting no hang."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from agent.prediction import Prediction
from tests.processes import ROOT, TABLE, TOOLS, is_running, wait_until
from tests.scripted_run import prediction, worker_for
from tools.black_box import BLACK_BOX
from tools.judging import (
    Asked,
    JudgeAgreement,
    JudgeFailed,
    Judgements,
    Label,
    as_read,
    cohen_kappa,
    judge_table,
    mean_label,
)
from tools.measures import JudgedMeasure, is_binary, is_rate, score_output, unit
from tools.prompt import Message, Prompt, user_prompt
from tools.registry import ToolError
from tools.worker_client import InProcessWorker, ProcessWorker, SocketWorker

QUESTION = "Does the answer say yes?"
MEASURE = JudgedMeasure(question=QUESTION)


class Judges:
    """Two judges that label by rules, and remember what they were asked."""

    def __init__(self, *rules: Any, seconds: float = 0.0) -> None:
        self.rules = rules or (says_yes, says_yes)
        self.calls: list[list[Asked]] = []
        self.seconds = seconds

    def __call__(self, asked: Sequence[Asked]) -> Judgements:
        self.calls.append(list(asked))
        time.sleep(self.seconds)
        labels = tuple(tuple(rule(each.output) for each in asked) for rule in self.rules)
        return Judgements(judges=tuple(f"p/m{k}" for k in range(len(self.rules))), labels=labels)


def says_yes(output: str) -> Label:
    return 1 if output.lower().startswith("yes") else 0


def row(prompt: str, *outputs: str, **slots: str) -> dict[str, Any]:
    return {
        "id": prompt,
        "template_id": "t",
        "slots": slots,
        "prompt": user_prompt(prompt).model_dump(mode="json"),
        "outputs": list(outputs),
    }


def test_each_text_is_asked_once_over_all_arms_and_its_label_is_everywhere() -> None:
    table = {"a": [row("p", "Yes.", "No."), row("q", "Yes.")], "b": [row("p", "Yes.", "Yes.")]}
    judges = Judges()
    found = judge_table(table, MEASURE, judges, 3)
    assert len(judges.calls) == 1
    asked = judges.calls[0]
    assert {(each.prompt, each.output) for each in asked} == {
        ("user: p", "Yes."),
        ("user: p", "No."),
        ("user: q", "Yes."),
    }
    assert len(asked) == 3 and {each.question for each in asked} == {QUESTION}
    assert table["a"][0]["judgements"] == {"judge_1": [1, 0], "judge_2": [1, 0]}
    assert table["b"][0]["scores"] == [1.0, 1.0] and table["a"][0]["mean"] == 0.5
    assert found == JudgeAgreement(
        judges={"judge_1": "p/m0", "judge_2": "p/m1"},
        outputs=5,
        unusable={"judge_1": 0, "judge_2": 0},
        compared=5,
        agreement=1.0,
        kappa=1.0,
    )


def test_hidden_prompts_are_not_shown_and_make_equal_outputs_one() -> None:
    table = {"a": [row("p", "Yes.")], "b": [row("q", "Yes.")]}
    judges = Judges()
    judge_table(table, MEASURE.model_copy(update={"show_prompt": False}), judges, 0)
    assert judges.calls == [[Asked(question=QUESTION, prompt=None, output="Yes.")]]


def test_the_order_is_the_seed_s_and_not_that_of_the_arms() -> None:
    def asked(seed: int, *names: str) -> list[Asked]:
        table = {name: [row(f"{name}{k}", "Yes.") for k in range(20)] for name in names}
        judges = Judges()
        judge_table(table, MEASURE, judges, seed)
        return judges.calls[0]

    assert asked(1, "a", "b") == asked(1, "b", "a") != asked(2, "a", "b")
    first = [(each.prompt or "")[6] for each in asked(1, "a", "b")]
    assert len(set(first[:10])) == 2, "arms are mixed"


def test_judges_that_differ_score_a_half_and_a_missing_label_no_number() -> None:
    def unsure(output: str) -> Label:
        return None if "maybe" in output else says_yes(output)

    def never(output: str) -> Label:
        return 0

    table = {"a": [row("p", "Yes.", "No.", "maybe", "  ")]}
    judges = Judges(unsure, never)
    found = judge_table(table, MEASURE, judges, 0)
    assert table["a"][0]["scores"] == [0.5, 0.0, None, None]
    assert table["a"][0]["mean"] == 0.25
    assert all(each.output.strip() for each in judges.calls[0]), "nothing is asked about nothing"
    assert found is not None and found.unusable == {"judge_1": 2, "judge_2": 1}
    assert (found.compared, found.agreement, found.kappa) == (2, 0.5, 0.0)
    assert found.words() == "two judges agree on 50 % of 2 outputs, kappa 0.00"


def test_one_judge_scores_alone_and_agrees_with_nobody() -> None:
    table = {"a": [row("p", "Yes.", "No.")]}
    found = judge_table(table, MEASURE, Judges(says_yes), 0)
    assert table["a"][0]["scores"] == [1.0, 0.0]
    assert found is not None and found.agreement is None and "one judge only" in found.words()


def test_the_question_is_filled_from_the_slots_of_its_prompt() -> None:
    measure = JudgedMeasure(question="Does the answer praise {who}?")
    table = {"a": [row("p", "Yes.", who="Ann"), row("q", "Yes.", who="Bob")]}
    judges = Judges()
    judge_table(table, measure, judges, 0)
    asked = {each.prompt: each.question for each in judges.calls[0]}
    assert asked["user: p"] == "Does the answer praise Ann?"
    assert asked["user: q"] == "Does the answer praise Bob?"


def test_a_prompt_is_read_with_its_roles() -> None:
    turns = (Message(role="system", content="Be brief."), Message(role="user", content="Why?"))
    told = as_read(Prompt(messages=turns, prefill="Because"))
    assert told == "system: Be brief.\n\nuser: Why?\n\nbeginning of the answer: Because"


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])), max_size=60))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    found = cohen_kappa(pairs)
    if not pairs or (len({a for a, _ in pairs} | {b for _, b in pairs}) == 1):
        assert found is None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = cohen_kappa_score([a for a, _ in pairs], [b for _, b in pairs])
    assert found is not None and math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)


@given(st.lists(st.sampled_from([0, 1, None]), max_size=3))
def test_a_score_is_the_mean_of_all_labels_or_nothing(labels: list[Any]) -> None:
    score = mean_label(labels)
    if None in labels or not labels:
        assert score is None
    else:
        assert score == sum(labels) / len(labels)


def test_a_judged_measure_is_a_rate_whose_outputs_may_score_a_half() -> None:
    assert unit(MEASURE) == "points" and is_rate(MEASURE) and not is_binary(MEASURE)
    with pytest.raises(TypeError, match="judges"):
        score_output(MEASURE, "Yes.")
    fields = prediction(measure=MEASURE.model_dump(), form="existence", smallest_effect=0.3)
    with pytest.raises(ValueError, match="measure of 0 and 1"):
        Prediction.model_validate(fields)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "sample_responses": {"items": ["a?", "b?"]},
    "vary_prompts": {
        "items": ["a?", "b?"],
        "factors": [
            {
                "name": "please",
                "levels": [
                    {"name": "no"},
                    {"name": "yes", "edits": [{"kind": "insert_text", "where": "after", "texts": ["!"]}]},
                ],
            }
        ],
    },
    "rank_candidates": {
        "items": [
            {
                "id": name,
                "template_id": name,
                "template": {"text": f"{name} {{word}}?"},
                "slots": {"word": "x"},
                "prompt": user_prompt(f"{name} x?").model_dump(mode="json"),
            }
            for name in ("one", "two")
        ],
        "slot": "word",
        "values": ["a", "b", "c", "d"],
    },
    # What stands behind the first space counts as the answer.
    "thought_anchors": {"items": ["a?"], "fence": ["(", " "], "traces": 8, "resamples": 12},
}  # fmt: skip


@pytest.mark.parametrize("tool", ARGUMENTS)
def test_tools_with_a_measure_tell_how_judges_agree_and_only_then(
    tmp_path: Path, tool: str
) -> None:
    base: Any = worker_for(tmp_path)
    worker = InProcessWorker(base.subject, BLACK_BOX, tmp_path / "blobs")
    plain = ARGUMENTS[tool] | {"measure": {"kind": "regex", "pattern": "(?i)^yes"}}
    judged = ARGUMENTS[tool] | {"measure": MEASURE.model_dump()}
    words = worker.call(tool, plain, 5)
    assert words.result is not None and "agreement" not in words.result
    refused = worker.call(tool, judged, 5)
    assert refused.error_kind == "investigator" and refused.error is not None
    assert "--judge" in refused.error and "\n" not in refused.error
    worker.judge = judges = Judges()
    done = worker.call(tool, judged, 5)
    assert done.result is not None and done.result["agreement"]["agreement"] == 1.0
    assert len(judges.calls) == 1, "one question for all arms together"

    def scores(result: dict[str, Any]) -> Any:
        table = json.loads(worker.blobs.get(result["raw"]))["arms"]
        return {name: [each["scores"] for each in rows] for name, rows in table.items()}

    assert scores(done.result) == scores(words.result)
    same = {name: value for name, value in done.result.items() if name not in ("agreement", "raw")}
    assert same == {name: value for name, value in words.result.items() if name != "raw"}


def test_nothing_is_sampled_for_a_measure_that_nobody_can_judge(tmp_path: Path) -> None:
    class Deaf:
        digests = {"subject": "0"}
        facts: dict[str, Any] = {}
        reference = None

        def arm(self, name: str) -> Any:
            return self

        def generate(self, *args: Any, **options: Any) -> Any:
            raise AssertionError("sampled in vain")

    worker = InProcessWorker(Deaf(), BLACK_BOX, tmp_path)
    for tool, arguments in ARGUMENTS.items():
        done = worker.call(tool, arguments | {"measure": MEASURE.model_dump()}, 0)
        assert done.error is not None and "--judge" in done.error


def test_runs_under_many_directions_are_not_judged() -> None:
    from tools.directed_runs import Asking, DirectedRuns

    nothing: Any = None
    with pytest.raises(ToolError, match="every direction"):
        DirectedRuns(nothing, [], Asking(MEASURE), nothing, "add", [])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.toml"
    path.write_text(TABLE)
    return path


def process_worker(folder: Path, table: Path) -> ProcessWorker:
    return ProcessWorker(None, None, folder / "blobs", synthetic=table, catalogue=[TOOLS])


def test_slow_judges_do_not_use_up_the_deadline_of_a_process(tmp_path: Path, table: Path) -> None:
    with process_worker(tmp_path, table) as worker:
        refused = worker.call("have_judged", {"texts": ["yes"]}, 0)
        assert refused.error is not None and "--judge" in refused.error
        worker.judge = Judges(says_yes, lambda output: None, seconds=1.5)
        before = worker.process
        done = worker.call("have_judged", {"texts": ["yes", "no"]}, 0, deadline_s=0.6)
        assert done.error is None and done.result is not None, done.error
        assert done.result["labels"] == [[1, 0], [None, None]]
        assert done.result["judges"] == ["p/m0", "p/m1"]
        assert worker.process is before, "the worker was not stopped"
        late = worker.call("have_judged", {"texts": ["yes"], "seconds": 60}, 0, deadline_s=0.6)
        assert late.error_kind == "deadline", "what comes after the judges counts again"
        assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}


def test_judges_that_fail_end_the_call_and_leave_a_usable_worker(
    tmp_path: Path, table: Path
) -> None:
    def fail(asked: Sequence[Asked]) -> Judgements:
        raise JudgeFailed("no credit")

    with process_worker(tmp_path, table) as worker:
        worker.judge = fail
        with pytest.raises(JudgeFailed, match="no credit"):
            worker.call("have_judged", {"texts": ["yes"]}, 0)
        assert worker.call("echo", {"text": "on"}, 0).result == {"text": "on"}


def test_a_worker_that_dies_while_judges_read_is_noticed(tmp_path: Path, table: Path) -> None:
    def kill_it(asked: Sequence[Asked]) -> Judgements:
        assert worker.process is not None
        worker.process.kill()
        time.sleep(30)
        raise AssertionError("nobody waits for this")

    with process_worker(tmp_path, table) as worker:
        worker.judge = kill_it
        started = time.monotonic()
        done = worker.call("have_judged", {"texts": ["yes"]}, 0)
        assert done.error_kind == "worker_lost" and time.monotonic() - started < 15


def test_a_shared_worker_asks_the_judges_of_whoever_asked_it(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "worker.sock"
    command = [sys.executable, "-m", "tools.worker", "--synthetic", str(table)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--catalogue", TOOLS, "--socket", str(path)], cwd=ROOT, stderr=log
        )
    try:
        assert wait_until(path.exists, 10)
        with (
            SocketWorker(path, tmp_path / "one") as one,
            SocketWorker(path, tmp_path / "two") as two,
        ):
            one.judge = Judges(seconds=1.5)
            done = one.call("have_judged", {"texts": ["yes", "no"]}, 0, deadline_s=0.6)
            assert done.result is not None and done.result["labels"] == [[1, 0], [1, 0]]
            refused = two.call("have_judged", {"texts": ["yes"]}, 0)
            assert refused.error is not None and "--judge" in refused.error
            leaver = SocketWorker(path, tmp_path / "three")
            asked = threading.Event()

            def never(texts: Sequence[Asked]) -> Judgements:
                asked.set()
                time.sleep(30)
                raise AssertionError("nobody waits for this")

            leaver.judge = never
            given = ("have_judged", {"texts": ["yes"]}, 0)
            threading.Thread(target=quietly, args=(leaver, *given), daemon=True).start()
            assert asked.wait(10)
            leaver.close()
            assert two.call("echo", {"text": "on"}, 0).result == {"text": "on"}
    finally:
        process.terminate()
        assert process.wait(timeout=5) == 0
    assert not is_running(process.pid)


def quietly(worker: SocketWorker, *given: Any) -> None:
    try:
        worker.call(*given)
    except (OSError, ValueError):
        return  # its connection was closed under it
