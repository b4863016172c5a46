"""A person at the terminal as the investigator: the same briefing, tools, gates and ledger as any other.

A turn is one line: a tool's name and its arguments as JSON, or `@FILE` for arguments in a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.investigation import CallResult, ToolCall, Transcript, Turn
from agent.templates import rounded
from agent.terminal import put

HELP = """One call a line:  TOOL {"argument": ...}   or   TOOL @arguments.json
brief     the case, the first measurements and the screens again
tools     every tool in a line;   tools NAME   one tool with its arguments
The last call is submit_report. Ctrl-C leaves; the run can be resumed."""


class LeftByPerson(KeyboardInterrupt):
    """The person went away; the run stays as it is."""


class PersonInvestigator:
    """Asks whoever sits at the terminal for the next call."""

    name = "person"

    def __init__(
        self, ask: Callable[[str], str] = input, tell: Callable[[str], None] = put
    ) -> None:
        self.ask, self.tell = ask, tell
        self.told = 0

    def next_turn(self, transcript: Transcript) -> Turn:
        """Show what is new and read lines until one is a call."""
        if not transcript.exchanges and self.told == 0:
            self.tell(HELP)
            self.tell(brief(transcript.briefing))
        for exchange in transcript.exchanges[max(self.told, len(transcript.exchanges) - 1) :]:
            for result in exchange.results:
                self.tell(shown(result))
        self.told = len(transcript.exchanges)
        for notice in transcript.notices:
            self.tell(f"! {notice}")
        while True:
            try:
                line = self.ask("> ").strip()
            except EOFError:
                raise LeftByPerson from None
            turn = self.read(line, transcript)
            if turn is not None:
                return turn

    def read(self, line: str, transcript: Transcript) -> Turn | None:
        """Return the turn of a line; None for one that only asks for something to read, or is none."""
        name, _, rest = line.partition(" ")
        if name in ("", "help"):
            self.tell(HELP)
            return None
        if name == "brief":
            self.tell(brief(transcript.briefing))
            return None
        if name == "tools":
            self.tell(tools_told(transcript.briefing["tools"], rest.strip()))
            return None
        try:
            arguments = arguments_of(rest.strip())
        except (OSError, ValueError) as error:
            # Told here and not handed in: a slip of the hand is no turn.
            self.tell(f"the arguments cannot be read: {error}")
            return None
        number = len(transcript.exchanges) + 1
        return Turn(calls=(ToolCall(id=f"p{number}", name=name, arguments=arguments),))


def arguments_of(text: str) -> dict[str, Any]:
    """Return the arguments of a line; raise `ValueError` or `OSError` for what is no JSON object."""
    if text.startswith("@"):
        text = Path(text[1:]).read_text(encoding="utf-8")
    found = json.loads(text or "{}")
    if not isinstance(found, dict):
        raise ValueError('give a JSON object, such as {"text": "..."}')
    return found


def brief(briefing: dict[str, Any]) -> str:
    """Return the briefing without its tools, to read."""
    rest = {name: value for name, value in briefing.items() if name != "tools" and value}
    return json.dumps(rest, indent=1, ensure_ascii=False)


def tools_told(tools: list[dict[str, Any]], name: str) -> str:
    """Return one line for every tool, or all of one."""
    if not name:
        return "\n".join(f"{t['name']:24} {t['description'].splitlines()[0]}" for t in tools)
    found = next((tool for tool in tools if tool["name"] == name), None)
    if found is None:
        return f"no tool {name!r}"
    schema = json.dumps(found["schema"], indent=1, ensure_ascii=False)
    return f"{found['name']}\n\n{found['description']}\n\n{schema}"


def shown(result: CallResult) -> str:
    """Return what a call came to, to read."""
    if result.error is not None:
        return f"{result.name}: {result.error}"
    return f"{result.name}: {json.dumps(rounded(result.result), indent=1, ensure_ascii=False)}"
