"""Serving the review page: on loopback, under a token that is new at every start, until it is interrupted."""

from __future__ import annotations

import secrets
import socket
import sqlite3
import threading
from collections.abc import Callable

import uvicorn

from agent.review.desk import Desk
from agent.review.guard import Guard
from agent.review.page import make_app
from agent.run_folder import RunError
from agent.terminal import say

ADDRESS = "127.0.0.1"
LOOK_AGAIN_S = 1.0


class Watch(threading.Thread):
    """Brings the index up to the logs, again and again, until it is stopped, and has runs open for readers."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(name="watch", daemon=True)
        self.desk, self.stopped = desk, threading.Event()

    def run(self) -> None:
        """Look, wait, look again; a disk that is full for a while is waited for."""
        told = ""
        while not self.stopped.is_set():
            try:
                self.desk.index.refresh()
                self.desk.warm()
            except (sqlite3.Error, OSError) as error:
                if str(error) != told:
                    say(f"the index could not be brought up to date: {error}")
                told = str(error)
            self.stopped.wait(LOOK_AGAIN_S)


def bind(port: int) -> socket.socket:
    """Return a listening socket on loopback; raise `RunError` if the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
    except OSError as error:
        listening.close()
        raise RunError(
            f"port {port} cannot be used ({error.strerror}); choose another --port"
        ) from None
    listening.listen(64)
    return listening


def settings(app: Guard) -> uvicorn.Config:
    """Return how the page is served: no log of addresses, which hold the token, and no proxy is believed."""
    return uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        ws="none",
    )


def serve(desk: Desk, port: int, announce: Callable[[str], None]) -> None:
    """Serve the page until it is interrupted; `announce` gets its address once it can be opened."""
    listening = bind(port)
    host = f"{ADDRESS}:{listening.getsockname()[1]}"
    token = secrets.token_urlsafe(24)
    watch = Watch(desk)
    watch.start()
    announce(f"http://{host}/{token}/")
    try:
        uvicorn.Server(settings(make_app(desk, host, token))).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        watch.stopped.set()
        listening.close()
