"""A prediction about templates that show a slot, or do not, is tested on those alone, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.confirm import confirm
from agent.finding import findings
from agent.investigation import Investigation, ToolCall, Turn
from agent.opening import open_run
from agent.population import marks
from agent.prediction import Hypothesis, Prediction, Registration
from agent.registration import register
from agent.rerun import replicate
from agent.sceptic import contrast_of
from agent.verify import verify
from agent.wording import predicted
from tests.scripted_run import (
    OPENINGS,
    case_of,
    hypotheses,
    make_run,
    prediction,
    turns,
    worker_for,
)
from tools.registry import ToolError

TEMPLATES = [
    *({"text": f"{{context}} {opening} {{claim}}."} for opening in OPENINGS),
    *({"text": f"Hear this and speak your mind on it, {opening} {{claim}}, my friend?"} for opening in OPENINGS),
]  # fmt: skip
TABLE: dict[str, Any] = {
    "behaviours": [
        {"shown": ["Yes."], "otherwise": ["No."], "logit": -2.0,
         "effects": [{"logit": 6.0, "phrase": "quickly", "model": "subject"}]},
    ],
    "scatter": {"template": 0.1},
}  # fmt: skip
HURRY = {"name": "hurry", "edits": [{"kind": "insert_text", "texts": ["Answer quickly."]}]}


def wish(**changes: Any) -> dict[str, Any]:
    """Return a prediction about templates without a context."""
    fields: dict[str, Any] = {
        "treatment": HURRY,
        "control": {"name": "plain"},
        "templates": {"hiding": ["context"]},
        "clusters": 12,
        "per_cluster": 12,
        "rivals": [{"name": "nothing", "predicts": [-0.1, 0.1]}],
    }
    return prediction(**(fields | changes))


def opened(path: Path) -> Investigation:
    case = case_of(templates=TEMPLATES)
    investigation = open_run(path, case, worker_for(path, table=TABLE), "scripted", 7)
    for k, family in enumerate(("wording", "format", "same as the reference"), 1):
        hypothesis = Hypothesis(id=f"H{k}", claim="c", family=family, rivals=("r",), prior=0.5)
        investigation.record("hypothesis", hypothesis.model_dump(mode="json"))
    return investigation


def registered(investigation: Investigation, **changes: Any) -> Registration:
    (made,) = register(investigation, [Prediction.model_validate(wish(**changes))])
    return made


def asked(investigation: Investigation, number: int) -> set[str]:
    """Return the templates whose prompts an experiment ran."""
    arms = investigation.experiment(number).arguments["arms"].values()
    return {item["template_id"] for arm in arms for item in arm["items"]}


def test_only_the_chosen_templates_are_tried_tested_and_spoken_of(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    population = investigation.populations["case"]
    made = registered(investigation)
    verdict = confirm(investigation, [made.id])[made.id]
    assert verdict.status == "supported" and verdict.clusters == 12
    reserve = population.usable("reserve", without=["context"])
    assert replicate(investigation, made.id).clusters == min(12, len(reserve))
    for entry in investigation.experiments:
        shown = {
            slot
            for name in asked(investigation, entry.number)
            for slot in marks(population.templates[name])
        }
        assert shown == {"claim"}, entry.purpose
    (found,) = findings(investigation)
    assert found.statement.startswith(
        "On templates that do not show `context`, putting “Answer quickly.” before the user's words rather than not "
        "raises"
    )
    held_out = len(population.usable("confirm", without=["context"]))
    few = f": of {held_out} held-out ones" if held_out < 12 else ""
    assert f"on templates that do not show `context` only{few}" in found.scope


def test_a_whole_run_with_such_a_prediction_verifies(tmp_path: Path) -> None:
    register_it = ToolCall(id="r", name="register_predictions", arguments={"predictions": [wish()]})
    said = [
        Turn(calls=(*hypotheses(), register_it)),
        Turn(calls=(ToolCall(id="c", name="confirm", arguments={"registrations": ["P1"]}),)),
        turns(interpretations={}, summary="It is hurry.")[-1],
    ]
    path, case = tmp_path / "run", case_of(templates=TEMPLATES)
    run = make_run(path, said, case=case, worker=worker_for(path, table=TABLE))
    assert run.verdicts["P1"].status == "supported"
    assert verify(path).faults == ()


def test_power_and_room_are_those_of_what_remains(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    left = len(investigation.populations["case"].usable("confirm", without=["context"]))
    with pytest.raises(ToolError) as caught:
        registered(investigation, clusters=left + 1)
    fault = str(caught.value)
    assert f"has {left} unseen templates that do not show context; ask for at most {left}" in fault
    with pytest.raises(ToolError, match=rf"power .*\(there are {left}\)"):
        registered(investigation, smallest_effect=0.1, per_cluster=1)


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ({"showing": ["contxt"]}, "unknown slot of `templates` 'contxt'.*did you mean 'context'"),
        ({"hiding": ["claim"]}, "fewer than two explore templates that do not show claim"),
    ],
)  # fmt: skip
def test_a_choice_that_leaves_nothing_to_try_is_refused(
    tmp_path: Path, choice: dict[str, Any], line: str
) -> None:
    with pytest.raises(ToolError, match=line):
        registered(opened(tmp_path / "run"), templates=choice)


@pytest.mark.parametrize("choice", [{}, {"showing": ["a"], "hiding": ["a"]}])
def test_a_choice_says_something_that_can_be(choice: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="leave it out for all|no template both"):
        Prediction.model_validate(wish(templates=choice))


def test_another_choice_is_another_question_and_none_leaves_the_hash_as_it_was() -> None:
    every = Prediction.model_validate(wish(templates=None))
    assert "templates" not in every.model_dump(mode="json")
    some, others = (
        Prediction.model_validate(wish(templates={how: ["context"]}))
        for how in ("showing", "hiding")
    )
    assert len({each.digest() for each in (every, some, others)}) == 3
    # A test on the other templates opens no finding: where an effect ends, it is no worse where it is.
    assert contrast_of(some) != contrast_of(others) != contrast_of(every)
    assert predicted(some).startswith("on templates that show `context`, putting")
    assert predicted(every).startswith("putting")
