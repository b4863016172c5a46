"""An investigator that reads its turns from a file: for tests, demonstrations and exact repetition."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agent.case import CaseError
from agent.investigation import ToolCall, Transcript, Turn
from agent.submission import Answer, Submission
from tools.registry import describe_faults


class ScriptedInvestigator:
    """Says the turns of a list, one after another, whatever comes back."""

    def __init__(self, turns: Sequence[Turn], name: str = "scripted") -> None:
        self.turns, self.name = tuple(turns), name

    @classmethod
    def load(cls, path: Path) -> ScriptedInvestigator:
        """Read a JSON list of turns; raise `CaseError`, one line per fault."""
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(listed, list):
                raise CaseError(f"the script {path} is no list of turns")
            turns = [Turn.model_validate(each) for each in listed]
        except (OSError, UnicodeDecodeError) as error:
            raise CaseError(f"the script {path} cannot be read: {error}") from None
        except (json.JSONDecodeError, RecursionError) as error:
            raise CaseError(f"the script {path} is not JSON: {error}") from None
        except ValidationError as error:
            raise CaseError("\n".join(describe_faults(str(path), Turn, error))) from None
        return cls(turns, f"scripted:{path}")

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the next turn of the script, or an empty submission after its end."""
        said = len(transcript.exchanges)
        if said < len(self.turns):
            return self.turns[said]
        if transcript.reply_from is not None:
            return Turn(text="The script has no reply.")
        empty = Submission(answer=Answer(kind="unknown", confidence=0.0))
        return Turn(
            calls=(
                ToolCall(id="end", name="submit_report", arguments=empty.model_dump(mode="json")),
            )
        )
