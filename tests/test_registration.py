"""A registration is refused, in one line and before anything is spent, when it could not succeed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agent.gates import Gate, Pilot, Room
from agent.house_tools import Hypothesis
from agent.investigation import Investigation
from agent.opening import open_run
from agent.prediction import Prediction, Registration
from agent.registration import register
from agent.template_choice import edited_slots
from tests.scripted_run import case_of, level, prediction, worker_for
from tools.registry import ToolError

FAMILIES = ("wording", "format", "knowledge")
SMALL = [{"name": "small", "predicts": [-0.05, 0.05]}]


def opened(path: Path, *, families: int = 3, **changes: Any) -> Investigation:
    case = case_of(**changes)
    worker = worker_for(path, reference=case.reference is not None)
    investigation = open_run(path, case, worker, "scripted", 7)
    for k, family in enumerate(FAMILIES[:families], 1):
        hypothesis = Hypothesis(id=f"H{k}", claim="c", family=family, rivals=("r",), prior=0.5)
        investigation.record("hypothesis", hypothesis.model_dump(mode="json"))
    return investigation


def ask(investigation: Investigation, *wishes: dict[str, Any]) -> list[Registration]:
    return register(investigation, [Prediction.model_validate(wish) for wish in wishes])


def refusal(investigation: Investigation, *wishes: dict[str, Any]) -> str:
    with pytest.raises(ToolError) as caught:
        ask(investigation, *wishes)
    assert investigation.registrations == {} and investigation.draws == {}
    return str(caught.value)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Investigation:
    """A run for what is refused: nothing is ever registered in it."""
    return opened(tmp_path_factory.mktemp("run") / "run")


def test_a_good_prediction_is_registered_with_its_share_and_its_rivals(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    first, second = ask(
        investigation, prediction(), prediction(treatment=level("date"), rivals=SMALL)
    )
    assert (first.id, second.id, first.batch, second.batch) == ("P1", "P2", "B1", "B1")
    assert first.alpha == pytest.approx(0.05 / 4)
    assert first.power is not None and first.power >= 0.8
    names = [rival.name for rival in first.prediction.rivals]
    assert names[0] == "dates do the same" and len(names) > 2
    assert first.digest == first.prediction.digest()
    assert [event.type for event in investigation.folder.of_type("registration")] == [
        "registration"
    ] * 2
    # Its pilot ran on explore prompts, and no confirmation prompt was touched.
    assert {entry.purpose for entry in investigation.experiments} == {"pilot"}
    assert investigation.draws == {}


def test_breadth_comes_first(tmp_path: Path) -> None:
    told = refusal(opened(tmp_path / "run", families=2), prediction())
    assert "at least 3 families" in told and "so far: format, wording" in told


def test_no_more_than_were_declared(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run", limits={"registrations": 1})
    wishes = [prediction(), prediction(treatment=level("date"), rivals=SMALL)]
    assert "2 registrations asked, 1 left of 1" in refusal(investigation, *wishes)
    ask(investigation, wishes[0])
    with pytest.raises(ToolError, match="1 registrations asked, 0 left of 1"):
        ask(investigation, wishes[1])


def test_too_little_power_is_refused_with_the_number_needed(shared: Investigation) -> None:
    told = refusal(shared, prediction(smallest_effect=0.1, clusters=8, per_cluster=1))
    assert "power 0." in told and "0.80 needs" in told and "clusters" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clusters": 5}, "the smallest p this could reach is 0.03125, above its alpha 0.0125"),
        (
            {
                "form": "rank",
                "placebos": [level("date"), level("plain") | {"name": "p"}],
                "control": None,
            },
            "it needs 79 placebos",
        ),
        (
            {"form": "existence", "clusters": 2, "smallest_effect": 0.5},
            "more clusters or a smaller",
        ),
        ({"form": "equivalence", "smallest_effect": 0.1, "per_cluster": 1}, "to show equivalence"),
        ({"clusters": 40}, "40 clusters asked, the population has 12 unseen templates"),
    ],
)
def test_what_cannot_succeed_is_refused_with_a_way_out(
    shared: Investigation, changes: dict[str, Any], told: str
) -> None:
    found = refusal(shared, prediction(**changes))
    fault, way_out = found.splitlines()
    assert told in fault and way_out.startswith("a way out: ")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hypothesis": "H9"}, "unknown hypothesis 'H9'"),
        ({"population": "cas"}, "unknown population 'cas'; did you mean 'case'?"),
    ],
)
def test_what_does_not_exist_is_told(
    shared: Investigation, changes: dict[str, Any], told: str
) -> None:
    found = refusal(shared, prediction(**changes))
    assert told in found and len(found.splitlines()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"clusters": 3, "per_cluster": 1},
        {"clusters": 40},
        {"smallest_effect": 0.1, "per_cluster": 1, "clusters": 4},
        {"form": "existence", "control": None, "rivals": [], "clusters": 2, "smallest_effect": 0.5},
        {"form": "existence", "control": None, "rivals": [], "clusters": 9, "smallest_effect": 0.9},
    ],
)
def test_the_way_out_is_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    investigation = opened(tmp_path / "run")
    wish = prediction(**changes)
    way_out = refusal(investigation, wish).splitlines()[-1]
    names = "smallest_effect|clusters|per_cluster"
    found = re.findall(rf"({names}) ([\d.]+\d|\d+)", way_out)
    assert found, way_out
    changed = {name: float(value) if "." in value else int(value) for name, value in found}
    (made,) = ask(investigation, wish | changed)
    assert made.power is None or made.power >= 0.8


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Too few clusters for any p, a smallest effect below the floor, and prompts that are all used up."""
    slots = case_of().slots["context"].model_dump()
    texts = [each.text.replace("{claim}", "it rains") for each in case_of().templates]
    changes: dict[str, Any] = {
        "templates": [{"text": text} for text in texts],
        "slots": {"context": slots},
    }
    investigation = opened(tmp_path / "run", **changes)
    ask(investigation, prediction(per_cluster=3, smallest_effect=0.4))
    nats = {"kind": "logprob_difference", "positive": ["Yes"], "negative": ["No"]}
    wish = prediction(measure=nats, clusters=3, per_cluster=3, smallest_effect=0.01, rivals=SMALL)
    with pytest.raises(ToolError) as caught:
        ask(investigation, wish)
    lines = str(caught.value).splitlines()
    assert "0 unseen templates have prompts left" in lines[0]
    assert "the smallest p this could reach is 0.125" in lines[1]
    assert "must be at least 0.2 sd" in lines[2]
    assert lines[3:] == [
        "a way out: none with this measure and these arms on the 0 unseen templates that are left"
    ]


def test_what_is_missing_in_a_prediction_is_told_together() -> None:
    wish = prediction(control=None, smallest_effect=0.01, rivals=[])
    with pytest.raises(
        ValueError, match="a `control` arm; .*ten points.*; name at least one rival"
    ):
        Prediction.model_validate(wish)


def test_where_no_template_is_left_no_way_out_is_named() -> None:
    nowhere = Room(templates=0, per_template=0)
    rare = {"form": "existence", "control": None, "rivals": [], "clusters": 2}
    for wish, pilot in (
        (prediction(**rare, smallest_effect=0.5), None),
        (prediction(), Pilot(0.3, 1)),
    ):
        gate = Gate(Prediction.model_validate(wish), 0.00625, pilot)
        assert gate.way_out(nowhere).startswith("a way out: none with")
        assert gate.way_out(Room(templates=1, per_template=9)).startswith("a way out: none with")


def test_the_gate_of_equivalences_and_nats_finds_its_way_out() -> None:
    """The numbers of a way out pass the same gate, by the same pilot."""
    room = Room(templates=20, per_template=30)
    nats = {"kind": "logprob_difference", "positive": ["Yes"], "negative": ["No"]}
    wishes = (
        prediction(form="equivalence", smallest_effect=0.1, per_cluster=1, rivals=[]),
        prediction(measure=nats, smallest_effect=0.02, rivals=SMALL),
        prediction(smallest_effect=0.1, clusters=8, per_cluster=1),
    )
    for wish, pilot in zip(wishes, (Pilot(0.1, 1), Pilot(2.0, 2), Pilot(0.3, 1)), strict=True):
        gate = Gate(Prediction.model_validate(wish), 0.00625, pilot)
        assert list(gate.faults(20)) and not gate.passes()
        way_out = gate.way_out(room)
        found = re.findall(r"(smallest_effect|clusters|per_cluster) ([\d.]+\d|\d+)", way_out)
        changed = gate.changed(**{n: float(v) if "." in v else int(v) for n, v in found})
        assert changed.passes() and not list(changed.faults(20)), way_out
        assert way_out.endswith(f"would have power {changed.power():.2f}")


def test_an_equivalence_without_spread_needs_clusters_enough(tmp_path: Path) -> None:
    """Twelve templates that all show nothing cannot exclude ten points: found out before they are spent."""
    never = {"behaviours": [{"shown": ["Yes."], "otherwise": ["No."], "logit": -60.0}]}
    path = tmp_path / "run"
    investigation = open_run(path, case_of(), worker_for(path, table=never), "scripted", 7)
    for k, family in enumerate(FAMILIES, 1):
        hypothesis = Hypothesis(id=f"H{k}", claim="c", family=family, rivals=("r",), prior=0.5)
        investigation.record("hypothesis", hypothesis.model_dump(mode="json"))
    wish = {"form": "equivalence", "rivals": SMALL}
    told = refusal(investigation, prediction(**wish, smallest_effect=0.1))
    assert "0.2824, above its alpha 0.0125; it needs 42 clusters" in told


def edit(**fields: Any) -> dict[str, Any]:
    return {"name": "t", "edits": [fields]}


@pytest.mark.parametrize(
    ("treatment", "told"),
    [
        (edit(kind="choose_level", slot="context", level="verzion"), "did you mean 'version'?"),
        (edit(kind="choose_level", slot="claim", level="x"), "unknown factor slot 'claim'"),
        (edit(kind="set_slot", slot="contxt", values=["x"]), "no template shows the slot 'contxt'"),
        (edit(kind="swap_slots", slots=["context", "claim"], condition="put_last"), "`anchor`"),
        (edit(kind="format_numbers", slots=["claim"], style="words"), "is not a number"),
    ],
)
def test_a_fault_of_an_arm_is_told_before_anything_is_run(
    shared: Investigation, treatment: dict[str, Any], told: str
) -> None:
    before = len(shared.experiments)
    found = refusal(shared, prediction(treatment=treatment))
    assert told in found and len(found.splitlines()) == 1
    assert len(shared.experiments) == before


def test_a_measure_that_scores_nothing_is_found_by_the_pilot(shared: Investigation) -> None:
    inside = {"kind": "steer", "direction": "0" * 64, "layer": 0, "coefficient": 1}
    steered = {"name": "s", "intervention": inside}
    told = refusal(shared, prediction(treatment=steered, control={"name": "c"}, rivals=SMALL))
    assert "the pilot failed" in told and "white-box" in told


def test_the_arms_have_to_test_the_claim(shared: Investigation) -> None:
    same = prediction(control=level("version") | {"name": "under another name"})
    assert "treatment and control are the same" in refusal(shared, same)


def test_without_a_reference_there_is_none_to_compare(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run", reference=False)
    assert "no reference model" in refusal(investigation, prediction(reference_pair=True))


def test_a_batch_is_registered_whole_or_not_at_all(shared: Investigation) -> None:
    assert "unknown hypothesis" in refusal(shared, prediction(), prediction(hypothesis="H9"))


def test_a_prediction_has_one_verdict(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    ask(investigation, prediction())
    renamed = prediction(hypothesis="H2", treatment=level("version") | {"name": "new name"})
    with pytest.raises(ToolError, match="this is P1 again"):
        ask(investigation, renamed)


def test_a_rival_is_not_dropped_by_asking_again(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    ask(investigation, prediction())
    (again,) = ask(investigation, prediction(smallest_effect=0.4, rivals=SMALL))
    names = [rival.name for rival in again.prediction.rivals]
    assert names[:2] == ["small", "dates do the same"]
    assert names.count("an off-topic context") == 1


def test_prompts_that_no_test_has_used_must_be_left(tmp_path: Path) -> None:
    slots = case_of().slots["context"].model_dump()
    texts = [template.text.replace("{claim}", "it rains") for template in case_of().templates]
    changes: dict[str, Any] = {
        "templates": [{"text": text} for text in texts],
        "slots": {"context": slots},
    }
    investigation = opened(tmp_path / "run", **changes)
    # A template has three fillings on the confirm side, one for each level.
    ask(investigation, prediction(per_cluster=3, smallest_effect=0.4))
    with pytest.raises(ToolError, match="0 unseen templates have prompts left"):
        ask(investigation, prediction(per_cluster=2, smallest_effect=0.5))
    assert len(investigation.registrations) == 1


def test_the_templates_of_a_trend_are_those_that_its_doses_edit() -> None:
    doses = [
        {"dose": float(k), "arm": level(name)}
        for k, name in enumerate(("plain", "date", "version"))
    ]
    wanted = prediction(form="trend", doses=doses, treatment={"name": "t"}, control=None)
    assert edited_slots(Prediction.model_validate(wanted)) == ("context",)
