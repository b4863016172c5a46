"""What the aggregator registers: the best contrasts, with every rival, at the largest smallest effect."""

from __future__ import annotations

from typing import Any

from agent.aggregator import aggregate_plan, contrasts_of
from agent.investigation import CallResult
from agent.plan_turns import register_and_confirm
from agent.prediction import Hypothesis, Prediction
from agent.set_reading import ReadRun, Status, Tried
from agent.submission import Answer
from tests.scripted_run import level, prediction

BRIEFING = {
    "kind": "condition",
    "unseen_templates": 14,
    "unseen_kinds": [{"shows": ["context"], "templates": 13}, {"shows": [], "templates": 1}],
    "registrations": 8,
}


def tried(status: Status | None, size: float = 0.3, estimate: float = 0.5, **changes: Any) -> Tried:
    return Tried(
        prediction=Prediction.model_validate(prediction(smallest_effect=size, **changes)),
        status=status,
        estimate=estimate,
        pilot_sd=0.2,
    )


def run_of(*each: Tried, family: str = "wording") -> ReadRun:
    hypothesis = Hypothesis(id="H1", claim="it is so", family=family, rivals=("chance",), prior=0.2)
    return ReadRun(
        name="1", run="", answer=Answer(kind="nothing"), hypotheses=(hypothesis,), tried=each
    )


def registered(runs: list[ReadRun]) -> list[dict[str, Any]]:
    """Return the predictions that the plan registers, after its hypotheses."""
    briefing = BRIEFING | {"runs": [run.model_dump(mode="json") for run in runs]}
    plan = aggregate_plan(briefing)
    proposals = next(plan).calls
    assert len({call.arguments["family"] for call in proposals}) >= 3
    results = [
        CallResult(call=c.id, name=c.name, result={"id": f"H{k}"})
        for k, c in enumerate(proposals, 1)
    ]
    return plan.send(results).calls[0].arguments["predictions"]


def test_predictions_of_one_contrast_are_one_group_whatever_their_sizes_and_arm_names() -> None:
    other = level("version") | {"name": "another name"}
    runs = [
        run_of(tried("supported")),
        run_of(tried("refuted", size=0.4, treatment=other, per_cluster=5, hypothesis="H1")),
        run_of(tried("supported", direction="less"), tried("supported", treatment=level("date"))),
    ]
    assert [group.runs() for group in contrasts_of(runs)] == [2, 1, 1]


def test_a_statement_about_some_templates_is_tested_on_as_many_as_there_are_of_them() -> None:
    hurry = {"name": "h", "edits": [{"kind": "insert_text", "texts": ["Hurry."]}]}
    for choice, there in (({"hiding": ["other"]}, 14), ({"showing": ["context"]}, 13), (None, 14)):
        made = tried("supported", treatment=hurry, control={"name": "c"}, templates=choice)
        (wish,) = registered([run_of(made)])
        kept = Prediction.model_validate(wish | {"hypothesis": "H1"}).templates
        assert wish["clusters"] == there and kept == made.prediction.templates


def against(name: str) -> Any:
    """Return the changes that make a prediction one of dates against another level."""
    return {"treatment": level("date"), "control": level(name)}


def test_the_best_three_go_by_support_then_by_registrations_then_by_strength() -> None:
    one, two, three, four = map(against, ("plain", "version", "b", "c"))
    runs = [
        run_of(tried("refuted", **one), tried("inconclusive", estimate=0.9, **three)),
        run_of(tried("refuted", **one), tried("supported", **two)),
        run_of(tried("inconclusive", estimate=0.4, **four)),
    ]
    names = [each["control"]["name"] for each in registered(runs)]
    assert names == ["version", "plain", "b"]


def test_it_registers_the_largest_size_and_every_named_rival_once() -> None:
    mine = [{"name": "dates", "arm": level("date")}]
    again = level("date") | {"name": "date"}
    yours = [{"name": "chance", "predicts": [-0.1, 0.1]}, {"name": "dates again", "arm": again}]
    standing = [{"name": "a no-op", "predicts": [0, 0], "standing": True}]
    runs = [
        run_of(tried("supported", rivals=mine + standing)),
        run_of(tried("supported", size=0.45, rivals=yours, samples=3), family="format"),
    ]
    (wish,) = registered(runs)
    assert wish["smallest_effect"] == 0.45 and wish["samples"] == 3
    assert [rival["name"] for rival in wish["rivals"]] == ["dates", "chance"]
    # As many kept templates as show the edited slot.
    assert wish["clusters"] == 13 and wish["hypothesis"] == "H1"


def test_one_that_is_refused_is_left_out_and_the_others_go_on() -> None:
    wishes = [{"measure": {"kind": "regex", "pattern": "x"}, "smallest_effect": 0.6}] * 3
    plan = register_and_confirm(wishes, ["H1", "H2", "H3"], leave_out=True)
    next(plan)
    error = "prediction 1: power 0.4 at\nprediction 2: no template shows the slot 'x'"
    turn = plan.send([CallResult(call="c", name="register_predictions", error=error)])
    asked = [
        (e["hypothesis"], e["smallest_effect"]) for e in turn.calls[0].arguments["predictions"]
    ]
    assert asked == [("H1", 0.9), ("H3", 0.6)]
