"""The review page on a port of loopback, in this process, and requests as bytes: what no client would send too."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

from agent.review.desk import Desk
from agent.review.index import RunIndex
from agent.review.page import make_app
from agent.review.server import bind, settings

TOKEN = "t0ken-of-this-test"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Site:
    """A running page."""

    def __init__(self, desk: Desk, port: int) -> None:
        self.desk, self.port = desk, port
        self.host = f"127.0.0.1:{port}"
        self.base = f"/{TOKEN}"
        self.address = f"http://{self.host}{self.base}/"

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers)

    def post(self, path: str, fields: Mapping[str, str]) -> Answer:
        headers = {
            "Origin": f"http://{self.host}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.ask("POST", path, headers, urlencode(fields))

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"{self.base}{path}", body, dict(headers))
            got = connection.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, found, got.read())
        finally:
            connection.close()

    def raw(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes = b""
    ) -> Answer:
        """Send exactly this, and read the answer until the connection is closed."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers)]
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            got = http.client.HTTPResponse(connection, method=method)
            got.begin()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, found, got.read())

    def key(self, name: str) -> str:
        return next(e.key for e in self.desk.index.runs() if e.name == name)


@contextlib.contextmanager
def site(runs: Path, reviewer: str = "ann") -> Generator[Site]:
    """Serve a folder of runs, indexed once, until the block ends."""
    desk = Desk(RunIndex(runs), reviewer)
    desk.index.refresh()
    listening = bind(0)
    made = Site(desk, listening.getsockname()[1])
    server = uvicorn.Server(settings(make_app(desk, made.host, TOKEN)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield made
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
