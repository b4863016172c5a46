"""A language model as the investigator: its conversation is the transcript, rendered once and for good.

Everything a model was shown is a function of the log, so a resumed run sends the same bytes. Results
are cut to size when they are first shown, and never rewritten. When the window is nearly full, a new
conversation begins with what matters of the old one; the turn that began it is marked in the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from agent.house_tools import HOUSE_TOOLS
from agent.investigation import CallResult, Exchange, Speaker, ToolCall, Transcript, Turn
from agent.llm.conversation import (
    AssistantTurn,
    Client,
    Reply,
    Request,
    ToolAnswer,
    ToolSpec,
    UserTurn,
)
from agent.llm.faults import LLMError
from agent.llm.prices import Prices
from agent.sceptic import rest_case
from agent.shared_records import told_once
from agent.templates import shown, written
from agent.tool_schemas import readable

MOST_SHOWN = 16_000
"""Characters of one result, head and tail; all of it is in the experiment."""
MOST_LEDGER = 6_000
"""Characters of all notes, and of all experiments in a line each, that a new conversation begins with. Hypotheses
and registrations are never left out: they are bounded, and the statements rest on them."""
HEAD = 0.7
NEARLY_FULL = 0.8
MOST_PAUSES = 3
SHOWN_LABELS = 8
SHOWN_FILLINGS = 10
SHOWN_ROWS = 4
"""Of each list of an automatic screen."""
LISTED = (
    "sample_responses",
    "vary_prompts",
    "rank_candidates",
    "logit_lens",
    "propose_hypothesis",
    "register_predictions",
    "confirm",
    "note",
    "submit_report",
    "find_tool",
)
"""What a model is shown at once; with `call_tool` eleven. A longer list is read less well."""
LISTED_WITH_WRITER = (*LISTED, "write_prompts")
LISTED_FOR_SCEPTIC = (
    "sample_responses",
    "vary_prompts",
    "propose_hypothesis",
    "register_predictions",
    "confirm",
    "find_tool",
    "rest_case",
)
HOUSE = frozenset(tool.name for tool in (*HOUSE_TOOLS, rest_case))
WHITE_BOX_RECORDS = (
    "Steer", "AblateDirection", "PatchFrom", "PlaceboDraw", "ProbeReading", "WeightEdit", "Head",
)  # fmt: skip
"""What only a subject that can be looked into takes."""
CALL_TOOL = ToolSpec(
    name="call_tool",
    description="Call a tool that `find_tool` has shown, by its name and with its arguments.",
    parameters={
        "type": "object",
        "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    },
)
NO_CALL = (
    "That turn called no tool. Go on with one, or end the investigation with submit_report; "
    "an answer in words alone reaches nobody."
)
CUT = "Your last turn was cut off ({why}), and nothing of it was executed. Write less, and call a tool."


class LanguageModelInvestigator:
    """Asks a model for the next turn."""

    def __init__(
        self,
        name: str,
        client: Client,
        prices: Prices | None = None,
        max_output_tokens: int = 16_000,
    ) -> None:
        """`name` is `provider/model`, as the log has it."""
        self.name, self.client = name, client
        self.model = name.partition("/")[2]
        self.prices = prices or Prices()
        self.max_output_tokens = max_output_tokens

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the model's next turn; raise `LLMError` when the provider fails for good."""
        fresh = self.nearly_full(transcript)
        try:
            reply = self.ask(transcript, fresh)
        except LLMError as error:
            if error.kind != "context" or fresh or not transcript.exchanges:
                raise
            fresh, reply = True, self.ask(transcript, True)
        if reply.stop == "context_full" and not fresh and transcript.exchanges:
            fresh, reply = True, self.ask(transcript, True)
        if reply.stop == "refusal":
            # Once more, in a new conversation with what was done: what set it off may stand in an old result.
            fresh = fresh or bool(transcript.exchanges)
            again = self.ask(transcript, fresh)
            reply = again.model_copy(update={"spent": reply.spent.plus(again.spent)})
        return self.as_turn(reply, fresh)

    def ask(self, transcript: Transcript, fresh: bool) -> Reply:
        """Send the conversation; a provider that pauses is asked to go on."""
        turns = list(conversation(transcript, fresh))
        reply = self.client.generate(self.request(transcript, turns))
        for _ in range(MOST_PAUSES):
            if reply.stop != "pause":
                break
            turns.append(reply.turn)
            reply = self.client.generate(self.request(transcript, turns))
        return reply

    def request(self, transcript: Transcript, turns: Sequence[UserTurn | AssistantTurn]) -> Request:
        """Return the request; system prompt and tools are the same in every one of a run."""
        opening = turns[0].text
        return Request(
            session=hashlib.sha256(opening.encode()).hexdigest()[:16],
            model=self.model,
            system=system_prompt(transcript),
            tools=listed_tools(transcript.briefing, transcript.speaker)[0],
            turns=tuple(turns),
            max_output_tokens=self.max_output_tokens,
        )

    def nearly_full(self, transcript: Transcript) -> bool:
        """Say whether the last turn left little of the window."""
        window = self.client.context_window(self.model)
        last = transcript.exchanges[-1].turn.spent if transcript.exchanges else None
        if window is None or last is None:
            return False
        return last.input_tokens + last.output_tokens > NEARLY_FULL * window

    def as_turn(self, reply: Reply, fresh: bool) -> Turn:
        """Return the reply as a turn; of one that is not whole no call is executed."""
        said = {"api": reply.turn.api, "content": reply.turn.said}
        whole = reply.stop in ("stop", "tool_calls")
        return Turn(
            text=reply.turn.text,
            calls=tuple(unwrapped(call) for call in reply.turn.calls) if whole else (),
            said=said,
            thinking=reply.thinking,
            spent=reply.spent.model_copy(
                update={"dollars": self.prices.cost(self.name, reply.spent)}
            ),
            refusal=reply.detail or "no reason given" if reply.stop == "refusal" else None,
            cut=None if whole or reply.stop == "refusal" else reply.detail or reply.stop,
            fresh=fresh,
        )


def unwrapped(call: ToolCall) -> ToolCall:
    """Return the call that a `call_tool` stands for."""
    if call.name != CALL_TOOL.name or call.parse_error is not None:
        return call
    name, arguments = call.arguments.get("name"), call.arguments.get("arguments", {})
    if isinstance(name, str) and isinstance(arguments, dict):
        return call.model_copy(update={"name": name, "arguments": arguments})
    return call.model_copy(
        update={"parse_error": "call_tool takes a `name` and an object `arguments`"}
    )


def conversation(transcript: Transcript, fresh: bool) -> tuple[UserTurn | AssistantTurn, ...]:
    """Return the turns that the model reads: those since the last new conversation, byte for byte."""
    exchanges = transcript.exchanges
    begun = [number for number, each in enumerate(exchanges) if each.turn.fresh]
    start = len(exchanges) if fresh else begun[-1] if begun else 0
    opening = written("briefing.j2", **shortened(transcript.briefing))
    if transcript.speaker == "sceptic":
        before = ledger(transcript.before)
        opening += "\n\n" + written("challenge.j2", challenged=transcript.challenged, **before)
    if start:
        opening += "\n\n" + written("ledger.j2", **ledger(exchanges[:start]))
    replies = transcript.reply_from
    if replies is not None and replies < start:
        # What the sceptic found was said before the first turn of the reply, in the conversation that is over.
        opening += "\n\n" + "\n\n".join(exchanges[replies].notices)
    turns: list[UserTurn | AssistantTurn] = []
    for number in range(start, len(exchanges) + 1):
        last = number == len(exchanges)
        notices = transcript.notices if last else exchanges[number].notices
        if number == start:
            turns.append(UserTurn(text="\n\n".join([opening, *notices])))
        else:
            turns.append(answered(exchanges[number - 1], notices))
        if not last:
            turns.append(said_again(exchanges[number].turn))
    return tuple(turns)


def answered(exchange: Exchange, notices: Sequence[str]) -> UserTurn:
    """Return what a model reads after one of its turns: results, what was wrong, what is left."""
    words: list[str] = []
    if exchange.turn.cut is not None:
        words.append(CUT.format(why=exchange.turn.cut))
    elif not exchange.turn.calls:
        words.append(NO_CALL)
    answers = tuple(answer_of(result) for result in exchange.results)
    return UserTurn(answers=answers, text="\n".join([*words, *notices]))


def answer_of(result: CallResult) -> ToolAnswer:
    """Return a result as the model reads it."""
    text = result.error if result.error is not None else shown(result.result)
    failed = result.error is not None
    return ToolAnswer(call=result.call, name=result.name, text=cut_to_size(text), is_error=failed)


def said_again(turn: Turn) -> AssistantTurn:
    """Return a turn as it was said, or written anew where it has no native form."""
    said = turn.said or {"api": None, "content": None}
    return AssistantTurn(text=turn.text, calls=turn.calls, api=said["api"], said=said["content"])


def listed_tools(briefing: dict[str, Any], speaker: Speaker) -> tuple[tuple[ToolSpec, ...], str]:
    """Return the tools that every request lists, in an order that never changes, and the records they share."""
    entries = {entry["name"]: entry for entry in briefing["tools"]}
    useless = (
        *(() if briefing["judges"] else ("JudgedMeasure",)),
        *(() if "train_probes" in entries else WHITE_BOX_RECORDS),
        *(() if briefing.get("environment") else ("EarlierCall",)),
    )
    names = LISTED_FOR_SCEPTIC
    if speaker == "investigator":
        names = LISTED_WITH_WRITER if "writer" in briefing["roles"] else LISTED
    science = {name for name in entries if name not in HOUSE}
    own = [
        name for name, entry in entries.items() if entry.get("own") and speaker == "investigator"
    ]
    found = bool(science - {*names, *own})
    ours = [entries[name] for name in names if name in entries and (found or name != "find_tool")]
    schemas, records = told_once([readable(entry["schema"], useless) for entry in ours])
    ours += [entries[name] for name in own]
    schemas += [readable(entries[name]["schema"], useless) for name in own]
    specs = [
        ToolSpec(name=entry["name"], description=entry["description"], parameters=schema)
        for entry, schema in zip(ours, schemas, strict=True)
    ]
    return (*specs, *([CALL_TOOL] if found else [])), records


def system_prompt(transcript: Transcript) -> str:
    """Return the words that stand before every conversation of a run."""
    _, records = listed_tools(transcript.briefing, transcript.speaker)
    return written(f"{transcript.speaker}.j2", **transcript.briefing, records=records)


def shortened(briefing: dict[str, Any]) -> dict[str, Any]:
    """Return the briefing without what is empty or there by the hundred."""
    zero = briefing["step_zero"]
    if zero is not None and isinstance(zero.get("labelled"), list):
        zero = {**zero, "labelled": of_each_label(zero["labelled"])}
    templates = {
        name: {key: value for key, value in template.items() if value and key != "source"}
        for name, template in briefing["templates"].items()
    }
    slots = {
        name: {key: value for key, value in slot.items() if value}
        for name, slot in briefing["slots"].items()
    }
    screens = [{**each, "result": first_rows(each["result"])} for each in briefing["screens"]]
    told = {"step_zero": zero, "templates": templates, "slots": slots, "screens": screens}
    return {**briefing, **told, "fillings": as_table(briefing["fillings"][:SHOWN_FILLINGS])}


def first_rows(result: Any) -> Any:
    """Return a screen's result with the first rows of each list; all of it is in its experiment."""
    match result:
        case dict():
            kept = {key: first_rows(inner) for key, inner in result.items() if key != "raw"}
            return {key: inner for key, inner in kept.items() if inner not in ([], {}, None)}
        case list():
            return [first_rows(each) for each in result[:SHOWN_ROWS]]
        case _:
            return result


def as_table(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Return rows as lists, the names of their fields first; nothing of no rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [names, *([row.get(name) for name in names] for row in rows)] if rows else []


def of_each_label(labelled: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return some labelled outputs, high and low ones in equal number as far as there are."""
    ranked = sorted(labelled, key=lambda each: -(each["label"] or 0.0))
    return [*ranked[: SHOWN_LABELS // 2], *ranked[SHOWN_LABELS // 2 :][-SHOWN_LABELS // 2 :]]


def ledger(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Return what must not be forgotten of past turns, read off their calls and results."""
    found: dict[str, Any] = {
        "turns": len(exchanges),
        "hypotheses": [],
        "registrations": [],
        "notes": [],
        "answer": None,
        "experiments": [],
    }
    verdicts: dict[str, Any] = {}
    for call, result in done_calls(exchanges):
        content = result.result or {}
        match call.name:
            case "propose_hypothesis":
                found["hypotheses"].append({"id": content.get("id"), **call.arguments})
            case "register_predictions":
                made = content.get("registrations", [])
                challenge = call.arguments.get("challenge")
                given = [
                    *call.arguments.get("predictions", ()),
                    *([challenge] if challenge else []),
                ]
                found["registrations"] += [
                    {**each, "prediction": stated}
                    for each, stated in zip(made, given, strict=False)
                ]
            case "confirm":
                verdicts |= content.get("verdicts", {})
            case "submit_report":
                found["answer"] = call.arguments.get("answer")
            case "note":
                found["notes"].append(str(call.arguments.get("text", "")))
            case _ if "experiment" in content:
                asked = cut_to_size(shown(call.arguments), 300)
                told = cut_to_size(shown(content), 400)
                found["experiments"].append(
                    f"{content['experiment']} {call.name} {asked} -> {told}"
                )
            case _:
                pass
    for each in found["registrations"]:
        each["verdict"] = verdicts.get(each["id"], "not confirmed yet")
    for name in ("notes", "experiments"):
        found[name] = latest(found[name])
    return found


def latest(lines: Sequence[str]) -> list[str]:
    """Return the last lines that fit into `MOST_LEDGER` characters, oldest first, and how many came before."""
    size, kept = 0, 0
    for line in reversed(lines):
        size += len(line) + 1
        if size > MOST_LEDGER:
            break
        kept += 1
    left = len(lines) - kept
    return [*([f"({left} earlier ones left out)"] if left else []), *lines[left:]]


def done_calls(exchanges: Sequence[Exchange]) -> list[tuple[ToolCall, CallResult]]:
    """Return the calls that succeeded, each with its result."""
    return [
        (call, result)
        for exchange in exchanges
        for call, result in zip(exchange.turn.calls, exchange.results, strict=False)
        if result.error is None
    ]


def cut_to_size(text: str, most: int = MOST_SHOWN) -> str:
    """Return a text, or its head and tail with a word about what is left out."""
    if len(text) <= most:
        return text
    head, tail = int(most * HEAD), int(most * (1 - HEAD))
    left = len(text) - head - tail
    return f"{text[:head]} [{left} of {len(text)} characters left out: ask for less] {text[-tail:]}"
