"""A loopback server that speaks providers' protocols from a script, over real sockets, faults included.

A script is a list of steps, one per request, that know no protocol. A `Dialect` turns a step into a
protocol's events and refuses requests that the provider would refuse; a further provider is a further
dialect, given to `LLMServer`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol, Self
from urllib.parse import urlsplit

import pytest

Event = dict[str, Any]
REQUEST_ID = "req_1"
PATIENCE = 10.0
"""Seconds after which a stalled answer gives up, should a test fail to."""


@dataclass(frozen=True)
class Call:
    """A tool call; `arguments` is the text that is sent, good JSON or not."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """Tokens, counted as OpenAI does: `read` with the cached ones, `written` with reasoning."""

    read: int
    cached: int
    stored: int
    written: int
    reasoned: int


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    usage: Usage = Usage(0, 0, 0, 0, 0)
    stop: Literal["stop", "max_tokens", "content_filter", "refusal"] = "stop"
    """`refusal`: `text` is the words of the refusal."""


@dataclass(frozen=True)
class Raw:
    """Events of the dialect, sent as they are; a string is sent as it is too, as the data of an event."""

    events: tuple[Event | str, ...]


@dataclass(frozen=True)
class Error:
    """An error: a response of its own, or an event in a stream."""

    status: int = 500
    code: str | int | None = None
    type: str | None = None
    message: str = "something went wrong"
    headers: Mapping[str, str] = field(default_factory=dict)
    html: str | None = None
    """Sent in place of the provider's own form, as a gateway in front of it does."""


@dataclass(frozen=True)
class Broken:
    """An answer that goes wrong after so many events.

    `cut`: the connection breaks; `end`: the body ends in good order; `stall`: nothing more comes;
    `trickle`: comments come, and no event; an `Error`: it comes as an event.
    """

    how: Literal["cut", "end", "stall", "trickle"] | Error
    after: int = 2
    reply: Reply = Reply(text="never whole", calls=(Call("c1", "look", '{"layer": 3}'),))


@dataclass(frozen=True)
class Drop:
    """The connection breaks before any answer."""


Step = Reply | Raw | Error | Broken | Drop
Rule = Callable[[dict[str, Any]], Step]
"""From the body of a request to its answer."""


@dataclass(frozen=True)
class Recorded:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: dict[str, Any]
    text: str
    at: float


class Dialect(Protocol):
    """One provider's protocol."""

    path: str
    ending: bytes
    """What closes a whole stream."""

    def fault(self, headers: Mapping[str, str], body: dict[str, Any]) -> Error | None:
        """Return why the provider would refuse this request."""
        ...

    def events(self, reply: Reply, body: dict[str, Any]) -> list[Event]:
        """Return the events of an answer."""
        ...

    def frame(self, event: Event | str) -> bytes:
        """Return an event as it is on the wire."""
        ...

    def error_body(self, error: Error) -> Event:
        """Return the JSON body of an error response."""
        ...

    def error_event(self, error: Error) -> Event:
        """Return the event of an error in a stream."""
        ...


def forget_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no key, address or proxy of whoever runs the tests reach them."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


class LLMServer:
    """Plays a script to whoever asks, and records the requests; a context manager."""

    def __init__(self, *dialects: Dialect) -> None:
        self.dialects = {dialect.path: dialect for dialect in dialects}
        self.script: list[Step] = []
        self.answer: Callable[[Recorded], Step] | None = None
        """What answers when the script is over, from many threads at once; None: nothing does."""
        self.lock = threading.Lock()
        self.requests: list[Recorded] = []
        self.closing = threading.Event()
        handler = type("ServerHandler", (_Handler,), {"llm": self})
        self._http = _Http(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def play(self, *steps: Step) -> None:
        """Answer the next requests with these steps."""
        self.script = list(steps)

    def __enter__(self) -> Self:
        serve = self._http.serve_forever
        threading.Thread(target=serve, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        if self._http.faults:
            raise self._http.faults[0]


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.faults: list[BaseException] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep a fault of this server for its test: the client sees but a broken connection."""
        error = sys.exception()
        if error and not isinstance(error, ConnectionError):
            self.faults.append(error)


class _Handler(BaseHTTPRequestHandler):
    llm: LLMServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # with it every request waits 40 ms

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        """Record a request and answer it by the next step."""
        text = self.rfile.read(int(self.headers["content-length"])).decode()
        # A client that takes this server for its proxy names the whole address.
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        recorded = Recorded(self.path, headers, json.loads(text), text, time.monotonic())
        with self.llm.lock:
            self.llm.requests.append(recorded)
        dialect = self.llm.dialects.get(path)
        if dialect is None:
            return self.send_error(404)
        step = dialect.fault(headers, recorded.body) or self._next_step(recorded)
        return self._answer(dialect, step, recorded.body)

    def _next_step(self, recorded: Recorded) -> Step:
        with self.llm.lock:
            if self.llm.script:
                return self.llm.script.pop(0)
        if self.llm.answer is not None:
            return self.llm.answer(recorded)
        return Error(400, message="the script is over")

    def _answer(self, dialect: Dialect, step: Step, body: dict[str, Any]) -> None:
        match step:
            case Drop():
                self._break()
            case Error():
                self._send_error(dialect, step)
            case Raw():
                self._send_stream([dialect.frame(event) for event in step.events])
                self._end(dialect.ending)
            case Reply():
                self._send_stream([dialect.frame(event) for event in dialect.events(step, body)])
                self._end(dialect.ending)
            case Broken():
                events = dialect.events(step.reply, body)
                assert step.after < len(events), "an answer that is whole is not broken"
                self._send_stream([dialect.frame(event) for event in events[: step.after]])
                self._go_wrong(dialect, step.how)

    def _go_wrong(self, dialect: Dialect, how: str | Error) -> None:
        match how:
            case Error():
                self._chunk(dialect.frame(dialect.error_event(how)))
                self._end()
            case "end":
                self._end()
            case "stall":
                self.llm.closing.wait(PATIENCE)
                self._break()
            case "trickle":
                until = time.monotonic() + PATIENCE
                while time.monotonic() < until and not self.llm.closing.wait(0.005):
                    self._chunk(b": still here\n\n")
                self._break()
            case _:
                self._break()

    def _send_error(self, dialect: Dialect, error: Error) -> None:
        html = error.html is not None
        content = (error.html or json.dumps(dialect.error_body(error))).encode()
        self.send_response(error.status)
        headers = {
            "content-type": "text/html" if html else "application/json",
            "content-length": str(len(content)),
            "x-request-id": REQUEST_ID,
            "request-id": REQUEST_ID,
            **error.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        if headers["content-length"] != str(len(content)):
            self._break()

    def _send_stream(self, frames: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("x-request-id", REQUEST_ID)
        self.send_header("request-id", REQUEST_ID)
        self.end_headers()
        for frame in frames:
            self._chunk(frame)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end(self, ending: bytes = b"") -> None:
        if ending:
            self._chunk(ending)
        self.wfile.write(b"0\r\n\r\n")

    def _break(self) -> None:
        self.close_connection = True
