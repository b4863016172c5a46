"""Turns handed in from outside, one call at a time: how MCP clients and notebooks drive the loop.

The loop stands still for nobody else: it runs in a thread of its own, as it would for a program or a
language model, and its investigator waits until somebody hands a call in. So step 0, the screens, the
gates, the budget and the report are the same, and `verify` and `resume` need to know nothing of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.cast import Cast
from agent.house_tools import HOUSE_TOOLS
from agent.investigation import CallResult, Investigation, ToolCall, Transcript, Turn
from agent.session import drive
from tools.registry import ToolError
from tools.remote import RemoteWorker

HOUSE = frozenset(tool.name for tool in HOUSE_TOOLS)


class LeftOff(Exception):
    """Nobody hands in calls any more; the run can be resumed."""


class HandedIn:
    """An investigator that waits for its calls, and the thread in which the loop asks it for turns."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.changed = threading.Condition()
        self.shown: Transcript | None = None
        """What the loop last showed, while it waits for a turn."""
        self.turn: Turn | None = None
        self.over = False
        self.fault: BaseException | None = None
        self.closed = False
        self.thread: threading.Thread | None = None
        self.investigation: Investigation | None = None
        """Set when the run is open; read it only while the loop is free."""

    def start(self, opened: Callable[[], Investigation]) -> None:
        """Open a run and drive it in a thread, until it has ended and its report is written."""

        def work() -> None:
            try:
                investigation = self.investigation = opened()
                try:
                    drive(investigation, Cast(self))
                finally:
                    investigation.worker.close()
            except LeftOff:
                pass
            except BaseException as error:  # noqa: BLE001
                # Whatever it is, it is told where somebody waits.
                self.fault = error
            with self.changed:
                self.over = True
                self.changed.notify_all()

        # A daemon: a run may be left at any point, and is resumed from its log.
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def next_turn(self, transcript: Transcript) -> Turn:
        """Show the transcript to whoever waits, and wait for a turn."""
        with self.changed:
            self.shown = transcript
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.turn is not None or self.closed)
            if self.turn is None:
                raise LeftOff
            turn, self.turn, self.shown = self.turn, None, None
            return turn

    @property
    def free(self) -> bool:
        """Say whether the loop waits for a call, or has ended."""
        return self.over or (self.shown is not None and self.turn is None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the loop is free; return whether it is."""
        with self.changed:
            return self.changed.wait_for(lambda: self.free, seconds)

    def hand_in(
        self, name: str, arguments: dict[str, object], parse_error: str | None = None
    ) -> None:
        """Hand one call in; raises `ToolError` while another is under way and after the end."""
        with self.changed:
            if self.over:
                raise ToolError("the investigation is over; nothing more can be called")
            if not self.free:
                raise ToolError("another call is still under way; wait for its result first")
            assert self.shown is not None
            number = len(self.shown.exchanges) + 1
            call = ToolCall(
                id=f"c{number}", name=name, arguments=arguments, parse_error=parse_error
            )
            self.turn = Turn(calls=(call,))
            self.changed.notify_all()

    def last(self) -> CallResult | None:
        """Return what the last call came to, while the loop is free; None before the first."""
        exchanges = self.investigation.exchanges if self.investigation else []
        return exchanges[-1].results[-1] if exchanges and exchanges[-1].results else None

    def cancel(self) -> bool:
        """Give up an exploration that is under way; return whether there is one.

        Step 0, the screens, registrations and confirmations are not given up: they are under way for good.
        """
        investigation = self.investigation
        if self.free or investigation is None or not investigation.exchanges:
            return False
        last = investigation.exchanges[-1]
        under_way = last.turn.calls[len(last.results) :]
        worker = investigation.worker
        if not under_way or under_way[0].name in HOUSE or not isinstance(worker, RemoteWorker):
            return False
        worker.cancel()
        return True

    def close(self) -> None:
        """Let the loop go where it waits; the run stays as it is and can be resumed."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        if self.thread is not None and self.free:
            self.thread.join()
