"""What an investigator can do beside experiments, and that none of it sets a status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.house_tools import HOUSE_TOOLS
from agent.investigation import Investigation
from agent.templates import shown
from tests.scripted_run import prediction
from tests.synthetic_cases import number_run
from tests.test_registration import opened
from tools.catalogue import TOOLS
from tools.prompt import InsertText
from tools.registry import ToolError, find_tool

PROPOSAL = {"claim": "c", "family": "wording", "rivals": ["r"], "prior": 0.5}


def use(investigation: Investigation, name: str, **arguments: Any) -> Any:
    return find_tool(HOUSE_TOOLS, name)(investigation, arguments, None)


def test_hypotheses_are_numbered_and_of_a_known_family(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run", families=0)
    assert use(investigation, "propose_hypothesis", **PROPOSAL).id == "H1"
    assert use(investigation, "propose_hypothesis", **PROPOSAL).id == "H2"
    with pytest.raises(ToolError, match="unknown family 'word'; did you mean 'wording'"):
        use(investigation, "propose_hypothesis", **(PROPOSAL | {"family": "word"}))
    with pytest.raises(ToolError, match="rivals"):
        use(investigation, "propose_hypothesis", **(PROPOSAL | {"rivals": []}))
    with pytest.raises(ToolError, match="prior"):
        use(investigation, "propose_hypothesis", **(PROPOSAL | {"prior": 1.5}))
    assert len(investigation.hypotheses) == 2


def test_the_tool_for_thoughts_is_found_by_what_it_is_for(tmp_path: Path) -> None:
    investigation = number_run(tmp_path / "run")
    wanted = "which sentences of the chain of thought matter"
    found = use(investigation, "find_tool", words=wanted)
    assert found.tool is None and found.tools[0].startswith("thought_anchors: ")
    named = use(investigation, "find_tool", words="thought_anchors").tool
    assert named["name"] == "thought_anchors" and "resamples" in named["arguments"]["properties"]


def test_from_registration_to_verdict(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    made = use(investigation, "register_predictions", predictions=[prediction()])
    assert made.left == 3
    (told,) = made.registrations
    assert told["id"] == "P1" and told["rivals"][0] == "dates do the same"
    # The sentences that the harness puts in are shown, one of each kind.
    told_rivals = {name.split(",")[0]: name for name in told["rivals"]}
    stored = {rival.name: rival for rival in investigation.registrations["P1"].prediction.rivals}
    for name in ("an off-topic context", "a no-op edit of the same length"):
        arm = stored[name].arm
        assert arm is not None and isinstance(arm.edits[-1], InsertText)
        assert told_rivals[name] == f"{name}, such as {arm.edits[-1].texts[0]!r}"
    confirmed = use(investigation, "confirm", registrations=["P1"])
    assert confirmed.verdicts["P1"]["status"] == investigation.verdicts["P1"].status == "supported"
    # A rival's arm is called by its name, behind the key by which it is stored and cited.
    stored, arms = investigation.verdicts["P1"].arms, confirmed.verdicts["P1"]["arms"]
    assert arms["rival_0 (dates do the same)"] == stored["rival_0"]
    assert arms["treatment"] == stored["treatment"] and len(arms) == len(stored)
    assert all("(" in name for name in arms if name.startswith("rival_"))


def test_no_answer_of_find_tool_is_long(tmp_path: Path) -> None:
    """The schema of one tool at a time, its records in short; a search is a line for each tool."""
    investigation = opened(tmp_path / "run")
    entries = [tool.entry() for tool in TOOLS]
    worker: Any = investigation.worker
    worker.catalogue = worker.catalogue.model_copy(update={"tools": entries})
    listed = use(investigation, "find_tool", words="steer the model along a direction")
    assert listed.tool is None and listed.tools[0].split(":")[0] in ("steer", "placebo_directions")
    assert len(shown(listed.model_dump())) < 2_500 and "score_arms: " not in str(listed.tools)
    for name in (line.split(":")[0] for line in listed.tools):
        found = use(investigation, "find_tool", words=f"`{name}`")
        assert found.tool is not None and found.tool["name"] == name and not found.tools
        assert len(shown(found.model_dump())) < 9_500


def test_no_argument_sets_a_status_an_alpha_or_a_seed() -> None:
    fields = {
        name
        for tool in HOUSE_TOOLS
        for schema in (tool.entry()["schema"], *tool.entry()["schema"].get("$defs", {}).values())
        for name in schema.get("properties", {})
    }
    assert not fields & {"status", "verdict", "alpha", "p", "seed", "power", "estimate"}
    assert "smallest_effect" in fields


def test_a_report_is_about_registrations_that_exist(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    answer = {"kind": "nothing", "confidence": 0.5}
    with pytest.raises(ToolError, match="unknown registration 'P7'"):
        use(investigation, "submit_report", answer=answer, interpretations={"P7": "so"})
    with pytest.raises(ToolError, match="answer.kind"):
        use(investigation, "submit_report", answer={"kind": "cause"})
    assert investigation.submission is None
    use(investigation, "submit_report", answer=answer)
    assert investigation.submission is not None
    assert json.loads(investigation.submission.model_dump_json())["answer"]["kind"] == "nothing"


def test_notes_are_kept_as_they_are(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    for text in ("<b>one</b>", "<b>one</b>"):
        use(investigation, "note", text=text)
    assert [note["text"] for note in investigation.notes] == ["<b>one</b>"] * 2
    with pytest.raises(ToolError, match="text"):
        use(investigation, "note", text="")


def test_a_note_is_told_at_once_which_of_its_citations_lead_nowhere(tmp_path: Path) -> None:
    investigation = opened(tmp_path / "run")
    use(investigation, "register_predictions", predictions=[prediction()])
    use(investigation, "confirm", registrations=["P1"])
    assert use(investigation, "note", text="It is so by `P1/estimate`.").done == "noted"
    told = use(investigation, "note", text="It is so by `P1/arms`.").done
    assert "P1/arms" in told and "not a single value" in told
    assert "nothing is stored" in use(investigation, "note", text="See `P1/no`.").done
    assert "no such experiment" in use(investigation, "note", text="See `exp:99/result`.").done
