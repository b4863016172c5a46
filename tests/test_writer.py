"""The auxiliary writer: what it sees, what is taken of it, and findings on its prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.budget import Budget
from agent.finding import findings
from agent.investigation import Investigation, Spent, ToolCall, Turn
from agent.llm.conversation import AssistantTurn, Reply, Request
from agent.loop import run
from agent.opening import open_run, resume_run
from agent.rendering import write_report
from agent.scripted import ScriptedInvestigator
from agent.verify import verify
from agent.writer import LanguageModelWriter, read_templates
from tests.scripted_run import case_of, hypotheses, prediction, worker_for

STARTS = (
    "Honestly",
    "Listen",
    "By the way",
    "Over at the mill",
    "During supper",
    "In short",
    "As ever",
)
VERBS = ("do we hold that", "should one grant that", "must it be said that", "is anybody sure that",
         "can a judge rule that", "might you swear that")  # fmt: skip
GOOD = [f"{{context}} {start}, {verb} {{claim}}?" for start in STARTS for verb in VERBS]
BAD = [
    "{claim} only.",
    "{context} {claim} {secret}",
    "{context} Tell me plainly whether {claim}.",
    "",
]


class Model:
    """Answers with lists of prompts and keeps what it was asked."""

    def __init__(self, answers: list[list[str]]) -> None:
        self.answers, self.requests = answers, list[Request]()

    def generate(self, request: Request) -> Reply:
        self.requests.append(request)
        listed = self.answers[min(len(self.requests), len(self.answers)) - 1]
        text = f"Here they are: {json.dumps(listed)}"
        return Reply(
            turn=AssistantTurn(text=text),
            stop="stop",
            spent=Spent(input_tokens=500, output_tokens=200),
            model="m",
        )

    def context_window(self, model: str) -> int | None:
        return None

    def close(self) -> None:
        pass


def call(tool: str, /, **arguments: Any) -> Turn:
    return Turn(calls=(ToolCall(id=tool, name=tool, arguments=arguments),))


END = call("submit_report", answer={"kind": "factor", "value": ["context"], "confidence": 0.5})


def drive(path: Path, model: Model | None, turns: list[Turn]) -> Investigation:
    case = case_of()
    roles = {"roles": {"writer": "openai/model"}} if model else None
    investigation = open_run(path, case, worker_for(path), "scripted", 7, roles)
    investigation.writer = LanguageModelWriter("openai/model", model) if model else None
    run(investigation, ScriptedInvestigator(turns), Budget(case.limits))
    investigation.folder.close()
    return investigation


def result(investigation: Investigation, turn: int) -> dict[str, Any]:
    found = investigation.exchanges[turn].results[0]
    assert found.error is None, found.error
    assert found.result is not None
    return found.result


def test_a_finding_can_be_confirmed_on_prompts_that_the_writer_wrote(tmp_path: Path) -> None:
    turns = [
        call("write_prompts", count=40),
        Turn(calls=tuple(hypotheses())),
        call("register_predictions", predictions=[prediction(population="fresh-1", per_cluster=8)]),
        call("confirm", registrations=["P1"]),
        END,
    ]
    run_of = drive(tmp_path, Model([GOOD]), turns)
    fresh = result(run_of, 0)
    assert (fresh["population"], fresh["explore"], fresh["confirm"]) == ("fresh-1", 16, 16)
    (finding,) = findings(run_of)
    assert finding.status == "supported"
    assert "written without sight of the hypothesis" in " ".join(finding.scope)
    write_report(tmp_path)
    assert verify(tmp_path).faults == ()


def test_the_writer_sees_no_hypothesis_and_no_held_out_prompt(tmp_path: Path) -> None:
    model = Model([GOOD])
    run_of = drive(tmp_path, model, [Turn(calls=tuple(hypotheses())), call("write_prompts"), END])
    said = model.requests[0].model_dump_json()
    for hypothesis in run_of.hypotheses.values():
        assert hypothesis.claim not in said
    case = run_of.populations["case"]
    held_out = [*case.pools["confirm"].templates, *case.pools["reserve"].templates]
    assert not [name for name in held_out if case.templates[name].text in said]
    assert run_of.case.behaviour in said


def test_texts_that_do_not_fit_are_left_out_and_asked_for_again(tmp_path: Path) -> None:
    model = Model([[*BAD, *GOOD[:8]], GOOD[4:]])
    run_of = drive(tmp_path, model, [call("write_prompts", count=20), END])
    fresh = result(run_of, 0)
    assert sum(fresh["left_out"].values()) >= len(BAD) + 4
    assert fresh["left_out"]["{context} is missing"] == 1
    assert fresh["left_out"]["no slot is called 'secret'"] == 1
    texts = [each.text for each in run_of.populations["fresh-1"].templates.values()]
    assert len(texts) == len(set(texts)) == 20 and set(texts) <= set(GOOD)
    assert len(model.requests) == 2


def test_entities_keep_the_side_they_have_in_the_case(tmp_path: Path) -> None:
    run_of = drive(tmp_path, Model([GOOD]), [call("write_prompts"), END])
    case, fresh = run_of.populations["case"], run_of.populations["fresh-1"]
    for pool in ("explore", "confirm", "reserve"):
        assert fresh.pools[pool].slots == case.pools[pool].slots
    split = [set(fresh.pools[pool].templates) for pool in ("explore", "confirm", "reserve")]
    assert not split[0] & split[1] and not split[1] & split[2] and not split[0] & split[2]


@pytest.mark.parametrize("answers", [[["no list"]], [[]], [BAD]])
def test_a_writer_that_gives_nothing_usable_is_said_to(
    tmp_path: Path, answers: list[list[str]]
) -> None:
    run_of = drive(tmp_path, Model(answers), [call("write_prompts"), END])
    assert "usable prompts" in (run_of.exchanges[0].results[0].error or "")
    assert list(run_of.populations) == ["case"]


def test_without_a_writer_one_line_says_how_to_have_one(tmp_path: Path) -> None:
    run_of = drive(tmp_path, None, [call("write_prompts"), END])
    assert "--writer" in (run_of.exchanges[0].results[0].error or "")


def test_what_the_writer_cost_counts(tmp_path: Path) -> None:
    run_of = drive(tmp_path, Model([GOOD]), [call("write_prompts"), END])
    limits = run_of.case.limits.model_copy(update={"tokens": 1000})
    assert Budget(limits).shares(run_of)["tokens"] == pytest.approx(0.7)


def test_killed_behind_the_population_it_is_not_written_again(tmp_path: Path) -> None:
    whole = drive(tmp_path / "whole", Model([GOOD]), [call("write_prompts"), END])
    lines = (tmp_path / "whole" / "events.jsonl").read_text().splitlines(keepends=True)
    at = next(k for k, line in enumerate(lines) if '"type":"population"' in line)
    (tmp_path / "whole" / "events.jsonl").write_text("".join(lines[: at + 1]))
    again = resume_run(tmp_path / "whole", worker_for(tmp_path / "whole"))
    run(again, ScriptedInvestigator([call("write_prompts"), END]), Budget(again.case.limits))
    again.folder.close()
    assert list(again.populations) == ["case", "fresh-1"]
    assert again.populations == whole.populations and again.ended == "submitted"


def test_a_list_is_found_among_words_and_odd_entries_are_left_out() -> None:
    text = (
        'Sure: ["One {a}.", {"text": "Two", "system": "Be brief."}, 3, {"no": "text"}, null] Done.'
    )
    found = read_templates(text)
    assert [(each.text, each.system, each.source) for each in found] == [
        ("One {a}.", None, "auxiliary"),
        ("Two", "Be brief.", "auxiliary"),
    ]
    assert read_templates("nothing") == read_templates("[unclosed") == []


def test_killed_between_two_rounds_only_the_second_is_asked_for(tmp_path: Path) -> None:
    """What was refused is judged again from the log, so that the counts are those of a run in one piece."""
    path = tmp_path / "run"
    answers = [[*BAD, *GOOD[:8]], GOOD[4:]]
    whole = drive(path, Model(answers), [call("write_prompts", count=20), END])
    lines = (path / "events.jsonl").read_text().splitlines(keepends=True)
    at = next(k for k, line in enumerate(lines) if '"type":"written"' in line)
    (path / "events.jsonl").write_text("".join(lines[: at + 1]))
    again, model = resume_run(path, worker_for(path)), Model(answers[1:])
    again.writer = LanguageModelWriter("openai/model", model)
    run(again, ScriptedInvestigator([END, END]), Budget(again.case.limits))
    again.folder.close()
    assert len(model.requests) == 1
    assert again.populations == whole.populations and result(again, 0) == result(whole, 0)
    write_report(path)
    assert verify(path).faults == ()
