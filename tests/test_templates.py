"""What somebody reads: rounded, without empty fields; what is stored stays as it is."""

from __future__ import annotations

import re
from pathlib import Path

from agent.llm.conversation import UserTurn
from agent.templates import shown
from tests.test_language_model import END, call, drive, reply

EDIT = {"kind": "insert_text", "texts": ["Please be so kind.", "If you would."]}


def test_fields_that_hold_nothing_are_not_shown_and_are_stored(tmp_path: Path) -> None:
    """A list keeps its empty places: what could not be scored stands among what could."""
    row = {"difference": None, "scores": [1.0, None], "inside": {"neither": None, "rate": 0.123456}}
    assert shown(row) == '{"scores": [1.0, null], "inside": {"rate": 0.1235}}'
    varied = call(
        "vary_prompts",
        items={"draw": {"templates": 3, "per_template": 1}},
        measure={"kind": "word_count"},
        factors=[{"name": "f", "levels": [{"name": "no"}, {"name": "yes", "edits": [EDIT]}]}],
        with_reference=False,
    )
    investigation, client = drive(tmp_path / "run", [reply(varied), reply(END)])
    told = client.requests[1].turns[-1]
    assert isinstance(told, UserTurn) and "null" not in told.answers[0].text
    assert not re.search(r"\d\.\d{6}", told.answers[0].text)
    stored = investigation.exchanges[0].results[0].result
    assert stored is not None and stored["effects"][0]["reference"] is None
