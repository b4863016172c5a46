"""The harness makes a rank's placebos: as many as alpha needs, matched, and beaten by a planted direction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from agent.case import Case
from agent.confirm import confirm
from agent.investigation import Investigation
from agent.opening import open_run
from agent.prediction import Hypothesis, Prediction
from agent.registration import register
from tests.planted_circuit import (
    CREATURES,
    D_MODEL,
    MEASURE,
    PLACES,
    TEMPLATES,
    VERDICT,
    basis,
    planted_subject,
)
from tools.catalogue import TOOLS
from tools.edits import load_direction, save_direction
from tools.registry import ToolError
from tools.subject import SubjectModel
from tools.worker_client import InProcessWorker

WRAPPED = tuple(text for each in TEMPLATES for text in (each, f"yes it is so {each}"))


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    return planted_subject(tmp_path_factory.mktemp("planted") / "model")


def opened(path: Path, subject: SubjectModel) -> Investigation:
    case = Case.model_validate(
        {
            "name": "creatures",
            "behaviour": "yes or no?",
            "kind": "open",
            "subject": {"model": "planted"},
            "measure": MEASURE,
            "templates": [{"text": text} for text in WRAPPED],
            "slots": {"creature": {"values": CREATURES}, "place": {"values": PLACES}},
            "limits": {"registrations": 2},
        }
    )
    worker = InProcessWorker(subject, TOOLS, path / "blobs")
    investigation = open_run(path, case, worker, "scripted", 3)
    for k, family in enumerate(("wording", "format", "knowledge"), 1):
        hypothesis = Hypothesis(id=f"H{k}", claim="c", family=family, rivals=("r",), prior=0.5)
        investigation.record("hypothesis", hypothesis.model_dump(mode="json"))
    return investigation


def ranked(direction: str, **changes: Any) -> Prediction:
    steer = {"kind": "steer", "direction": direction, "layer": 2, "coefficient": 1.0}
    fields: dict[str, Any] = {
        "hypothesis": "H1",
        "form": "rank",
        "measure": MEASURE,
        "treatment": {"name": "steered", "intervention": steer},
        "draw_placebos": {},
        "smallest_effect": 0.5,
        "clusters": 4,
        "per_cluster": 1,
        "rivals": [{"name": "nothing", "predicts": [-0.1, 0.1]}],
    }
    return Prediction.model_validate(fields | changes)


def test_a_rank_gets_the_placebos_that_its_alpha_needs(
    tmp_path: Path, subject: SubjectModel
) -> None:
    investigation = opened(tmp_path / "run", subject)
    blobs = investigation.folder.blobs
    planted = save_direction(blobs, 0.5 * basis(VERDICT))
    (made,) = register(investigation, [ranked(planted)])
    placebos = made.prediction.placebos
    steers = [arm.intervention.model_dump() for arm in placebos if arm.intervention is not None]
    assert len(placebos) == 39 and made.alpha >= 1 / 40
    assert all(
        each | {"direction": planted} == steers[0] | {"direction": planted} for each in steers
    )
    directions = {each["direction"] for each in steers}
    norms = [float(load_direction(blobs, each, D_MODEL).norm()) for each in directions]
    assert len(directions) == 39 and norms == pytest.approx([0.5] * 39, rel=1e-4)
    verdict = confirm(investigation, ["P1"])["P1"]
    assert (verdict.status, verdict.p) == ("supported", 1 / 40)
    # Those of a call of one's own are taken as they are.
    number = len(investigation.experiments)
    (again,) = register(
        investigation,
        [ranked(planted, clusters=5, draw_placebos={"experiment": pilot_of(investigation)})],
    )
    assert again.prediction.placebos == placebos
    assert [entry.tool for entry in investigation.experiments[number:]] == ["score_arms"]


def pilot_of(investigation: Investigation) -> int:
    return next(e.number for e in investigation.experiments if e.tool == "placebo_directions")


def test_a_direction_that_is_like_any_other_does_not_win(
    tmp_path: Path, subject: SubjectModel
) -> None:
    investigation = opened(tmp_path / "run", subject)
    torch.manual_seed(4)
    other = torch.randn(D_MODEL)
    chance = save_direction(investigation.folder.blobs, 0.5 * other / other.norm())
    wish = ranked(chance, draw_placebos={"kind": "isotropic"}, smallest_effect=0.01)
    register(investigation, [wish])
    assert confirm(investigation, ["P1"])["P1"].status != "supported"


def test_what_cannot_be_drawn_is_told(tmp_path: Path, subject: SubjectModel) -> None:
    investigation = opened(tmp_path / "run", subject)
    planted = save_direction(investigation.folder.blobs, basis(VERDICT))
    told = {
        "exp:9 is no call of placebo_directions": ranked(planted, draw_placebos={"experiment": 9}),
        "steers or ablates a direction": ranked(planted, treatment={"name": "t"}),
        "no blob": ranked("f" * 64),
        'it needs 39 placebos\na way out: `draw_placebos` {"count": 39}': ranked(
            planted, draw_placebos={"count": 20}
        ),
    }
    for words, wish in told.items():
        with pytest.raises(ToolError) as caught:
            register(investigation, [wish])
        assert words in str(caught.value)
    assert investigation.registrations == {}
