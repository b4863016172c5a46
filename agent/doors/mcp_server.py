"""`naturalist mcp`: an investigation for any MCP client, over stdio.

The client is an investigator like any other: each of its calls is handed to the loop as a turn with
one call. What the loop answers goes back as text and, where it is short enough, as structured content.
A call that takes longer than a client may wait comes back as "running"; `job_status` waits on. So every
call is a job that is started, asked after and collected, and none needs a second form.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from agent.doors.handed_in import HandedIn
from agent.doors.sweep_picture import sweep_picture
from agent.house_tools import HOUSE_TOOLS
from agent.investigation import Investigation, ToolCall
from agent.language_model import (
    CALL_TOOL,
    LISTED,
    MOST_SHOWN,
    conversation,
    cut_to_size,
    unwrapped,
)
from agent.safe_text import safe_text
from agent.templates import rounded, shown, written
from agent.tool_schemas import readable
from tools.black_box import BLACK_BOX
from tools.boundary import WorkerCrash, one_line
from tools.registry import ToolError, unknown
from tools.remote import OnProgress

PATIENCE_S = 45.0
"""Some clients give up after sixty seconds, whatever progress they are told."""
LOOK_S = 0.05
SIGN_OF_LIFE_S = 5.0
BRIEFING, REPORT = "naturalist://briefing", "naturalist://report"
EMPTY: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
BEGIN = types.Tool(
    name="begin",
    description="Begin or go on: the case, the prompts to explore with, what was measured before "
    "your first call, and how to work. Costs nothing and may be called again.",
    input_schema=EMPTY,
)
JOB_STATUS = types.Tool(
    name="job_status",
    description="Wait for the call that is running and return its result, or how far it is. "
    "With `cancel`, give up a running exploration; registrations and confirmations go on.",
    input_schema={
        "type": "object",
        "properties": {"cancel": {"type": "boolean", "default": False}},
        "additionalProperties": False,
    },
)
READING = types.ToolAnnotations(read_only_hint=True)
ACTING = types.ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)


def listed() -> list[types.Tool]:
    """Return the tools, alike in every session and without a model: loading one must not delay a greeting."""
    # Those that every model is shown at once; an MCP run has no writer.
    ours = [tool for tool in (*BLACK_BOX, *HOUSE_TOOLS) if tool.name in LISTED]
    made = [
        types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=readable(tool.entry()["schema"]),
            annotations=ACTING,
        )
        for tool in ours
    ]
    call_tool = types.Tool(
        name=CALL_TOOL.name,
        description=CALL_TOOL.description,
        input_schema=CALL_TOOL.parameters,
        annotations=ACTING,
    )
    around = [each.model_copy(update={"annotations": READING}) for each in (BEGIN, JOB_STATUS)]
    return [around[0], *made, call_tool, around[1]]


class Door:
    """One investigation behind one MCP connection; the run is opened at the first call."""

    def __init__(
        self, opened: Callable[[OnProgress], Investigation], patience: float = PATIENCE_S
    ) -> None:
        self.opened, self.patience = opened, patience
        self.desk = HandedIn("mcp")
        self.one_at_a_time = anyio.Lock()
        self.progress = (0.0, "starting")

    def heard(self, fraction: float, note: str) -> None:
        """Keep the worker's progress; called in the loop's thread."""
        self.progress = (fraction, one_line(note)[:120])

    def server(self) -> Server[Any]:
        """Return the MCP server."""
        return Server(
            "naturalist",
            version=metadata.version("naturalist"),
            instructions=written("mcp.j2"),
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_read_resource=self.read_resource,
        )

    async def list_tools(self, ctx: Any, params: Any) -> types.ListToolsResult:
        """Return the tools."""
        return types.ListToolsResult(tools=listed())

    async def call_tool(
        self, ctx: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Answer one call: a mistake and a fault are told in the result."""
        arguments = dict(params.arguments or {})
        try:
            async with self.one_at_a_time:
                if self.desk.thread is None:
                    self.desk.start(lambda: self.opened(self.heard))
                return await self.answered(ctx.session, params.name, arguments)
        except ToolError as error:
            return told(str(error), failed=True)

    async def answered(
        self, session: Any, name: str, arguments: dict[str, Any]
    ) -> types.CallToolResult:
        """Hand a call in when the loop is free, wait, and return what it came to."""
        if name == JOB_STATUS.name and arguments.get("cancel"):
            self.desk.cancel()
        if not await self.until_free(session):
            state = self.running(name)
            if name in (BEGIN.name, JOB_STATUS.name):
                return state
            raise ToolError(f"{name} was not called: {text_of(state)}")
        self.check_fault()
        if name == BEGIN.name:
            return self.told_briefing()
        if name != JOB_STATUS.name:
            self.hand_in(name, arguments)
            try:
                free = await self.until_free(session)
            except anyio.get_cancelled_exc_class():
                self.desk.cancel()
                raise
            if not free:
                return self.running(name)
            self.check_fault()
        return self.told_result()

    def hand_in(self, name: str, arguments: dict[str, Any]) -> None:
        """Hand a call to the loop; a client's `call_tool` stands for the call inside it."""
        if name not in {tool.name for tool in listed()}:
            raise ToolError(unknown("tool", name, [tool.name for tool in listed()]))
        call = unwrapped(ToolCall(id="", name=name, arguments=arguments))
        self.progress = (0.0, call.name)
        self.desk.hand_in(call.name, call.arguments, call.parse_error)

    async def until_free(self, session: Any) -> bool:
        """Wait until the loop is free or patience is at its end; tell progress meanwhile."""
        started = sent_at = anyio.current_time()
        last, sent = None, 0
        while not self.desk.free:
            now = anyio.current_time()
            if now - started >= self.patience:
                return False
            if self.progress != last or now - sent_at > SIGN_OF_LIFE_S:
                # The protocol wants numbers that grow, and a tool may begin anew: they only count.
                last, sent, sent_at = self.progress, sent + 1, now
                await session.report_progress(float(sent), None, f"{last[0]:.0%} {last[1]}")
            await anyio.sleep(LOOK_S)
        return True

    def running(self, name: str) -> types.CallToolResult:
        """Return how far a call is that goes on."""
        fraction, note = self.progress
        told_state = {"status": "running", "progress": round(fraction, 3), "note": note}
        text = f"still running ({fraction:.0%}, {note}); call job_status for its result"
        investigation = self.desk.investigation
        if investigation is None or not investigation.exchanges:
            text = f"still preparing ({fraction:.0%}, {note}); call begin again"
        return told(text, told_state)

    def check_fault(self) -> None:
        """Raise `ToolError` when the run stopped because of a fault."""
        fault = self.desk.fault
        if fault is None:
            return
        if isinstance(fault, WorkerCrash) and fault.trace:
            sys.stderr.write(safe_text(fault.trace) + "\n")
        raise ToolError(
            f"the run stopped: {type(fault).__name__}: {one_line(fault)}. What was done is kept; "
            "the researcher can go on with `naturalist mcp --resume RUN`"
        )

    def told_briefing(self) -> types.CallToolResult:
        """Return what an investigator is told before its next turn, the past in short."""
        transcript = self.desk.shown
        if transcript is None:
            return self.told_end()
        # Here the schema of each tool holds all that it takes.
        system = written("investigator.j2", **transcript.briefing, records="")
        return told(f"{system}\n\n{conversation(transcript, fresh=True)[0].text}")

    def told_result(self) -> types.CallToolResult:
        """Return what the last call came to, and what the harness has to say."""
        last = self.desk.last()
        if last is None:
            return told("nothing has been called yet; call begin", failed=True)
        text = last.error if last.error is not None else shown(last.result)
        notices = self.desk.shown.notices if self.desk.shown else ()
        result = told(text, rounded(last.result), failed=last.error is not None)
        result.content += self.pictures(last.result or {})
        result.content += [types.TextContent(text=each) for each in notices]
        if self.desk.over:
            result.content += self.told_end().content
        return result

    def pictures(self, result: dict[str, Any]) -> list[types.ImageContent]:
        """Return the sweep of a result as a picture beside its numbers, where it is one."""
        investigation, raw = self.desk.investigation, result.get("raw")
        if investigation is None or "cells" not in result or not isinstance(raw, str):
            return []
        picture = sweep_picture(investigation.folder.get_json(raw))
        data = base64.b64encode(picture).decode() if picture is not None else None
        return [types.ImageContent(data=data, mime_type="image/png")] if data else []

    def told_end(self) -> types.CallToolResult:
        """Return the findings of a run that has ended, as its report has them."""
        investigation = self.desk.investigation
        assert investigation is not None
        report = json.loads((investigation.folder.path / "report" / "report.json").read_text())
        found = [f"{f['id']} {f['status']}: {f['statement']}" for f in report["findings"]]
        words = [f"The investigation is over ({investigation.ended}).", *found]
        return told("\n".join([*words, f"The report is the resource {REPORT}."]))

    async def list_resources(self, ctx: Any, params: Any) -> types.ListResourcesResult:
        """Return the briefing and the report."""
        return types.ListResourcesResult(
            resources=[
                types.Resource(uri=BRIEFING, name="briefing", mime_type="text/plain"),
                types.Resource(uri=REPORT, name="report", mime_type="text/markdown"),
            ]
        )

    async def read_resource(
        self, ctx: Any, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Return a resource, or one line on why it is not there."""
        text = self.resource(str(params.uri))
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=params.uri, text=text)]
        )

    def resource(self, uri: str) -> str:
        """Return the text of a resource."""
        if self.desk.thread is None or not self.desk.free or self.desk.fault is not None:
            return "not there yet; call begin and wait for it"
        if uri == BRIEFING:
            return text_of(self.told_briefing())
        if not self.desk.over or self.desk.investigation is None:
            return "there is no report before submit_report"
        page: Path = self.desk.investigation.folder.path / "report" / "report.md"
        return page.read_text(encoding="utf-8")


def text_of(result: types.CallToolResult) -> str:
    """Return the text of a result."""
    return "\n".join(part.text for part in result.content if isinstance(part, types.TextContent))


def told(
    text: str, structured: dict[str, Any] | None = None, *, failed: bool = False
) -> types.CallToolResult:
    """Return a result; what is too long goes as text with its middle left out, and only so."""
    return types.CallToolResult(
        content=[types.TextContent(text=text if failed or not structured else cut_to_size(text))],
        structured_content=structured if len(text) <= MOST_SHOWN else None,
        is_error=failed,
    )


def serve(opened: Callable[[OnProgress], Investigation], patience: float = PATIENCE_S) -> None:
    """Serve one investigation over stdin and stdout until the client hangs up.

    `opened` opens the run when the first call comes; it is given where progress goes.
    """

    async def over_stdio() -> None:
        door = Door(opened, patience)
        server = door.server()
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
        door.desk.close()

    anyio.run(over_stdio)
