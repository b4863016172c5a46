"""What cannot be registered in a case is told before the first turn, and is what the gate refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.briefing import briefing
from agent.closed_forms import closed_forms
from agent.gates import Gate, Room, placebos_needed, smallest_p_fault
from agent.investigation import Investigation
from agent.opening import open_run
from agent.prediction import Prediction
from agent.templates import written
from tests.planted_models import WORDS
from tests.scripted_run import OPENINGS, case_of, prediction, worker_for

ALPHA = 0.05 / 8


def opened(path: Path, words: int = 65, templates: int = 30) -> Investigation:
    """Return a case with so many candidate words in a slot, and 8 registrations."""
    texts = [{"text": f"{opening} is it {{word}}?"} for opening in OPENINGS[:templates]]
    slots = {"word": {"values": WORDS[:words], "candidates": True}}
    limits = {"registrations": 8}
    case = case_of(templates=texts, slots=slots, limits=limits)
    return open_run(path, case, worker_for(path), "scripted", 7)


def ranking(others: int) -> Prediction:
    """Return a rank of one word among others."""
    arms = [
        {"name": each, "edits": [{"kind": "set_slot", "slot": "word", "values": [each]}]}
        for each in WORDS[: others + 1]
    ]
    return Prediction.model_validate(
        prediction(form="rank", treatment=arms[0], control=None, placebos=arms[1:])
    )


def test_a_rank_among_too_few_words_is_told_before_the_first_turn(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    wanted = (
        "`rank` of one value or level of a slot among the others it has (`word` 64; 159 needed): compare the first "
        "with the runner-up as a `difference`"
    )
    told = briefing(investigation)
    assert wanted in told["closed_forms"]
    assert (
        f"Cannot be registered here: `localisation` and `skill` (this subject cannot be looked into); {wanted}."
        in (written("briefing.j2", **told))
    )
    # It is what the gate refuses, and the way out is one that needs no placebos.
    gate = Gate(ranking(64), ALPHA, None)
    (fault,) = gate.faults(12)
    assert "it needs 159 placebos" in fault
    assert gate.change(Room(templates=12, per_template=65)) == (
        "159 placebos, or a `difference` from the runner-up, which needs none"
    )


def test_what_can_be_registered_is_not_told_as_closed(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    told: Any = " ".join(closed_forms(investigation, 1 / 65))
    assert "`rank`" not in told and smallest_p_fault(ranking(64), None, 1 / 65) is None
    assert placebos_needed(1 / 65) == 64
    assert "`difference`, `trend`" not in told and "`existence`" not in told


def test_too_few_unseen_templates_close_what_needs_more(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run", templates=12)
    templates = len(investigation.populations["case"].usable("confirm"))
    assert templates < 8
    told = list(closed_forms(investigation, ALPHA))
    assert told[0] == f"`difference`, `trend` and `skill` ({templates} unseen templates, 8 needed)"
    assert not any("`existence`" in line for line in told)
    wish = Prediction.model_validate(prediction(clusters=templates))
    assert "it needs 8 clusters" in (smallest_p_fault(wish, None, ALPHA) or "")
    assert any("`existence`" in line for line in closed_forms(investigation, 1e-7))
