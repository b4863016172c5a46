"""Length-prefixed JSON over a pair of descriptors: how a worker and the process that uses it talk.

A frame is four bytes of length, big-endian, and that many bytes of ASCII JSON. No pickle, so that
nothing a subject says can become code on the way.
"""

from __future__ import annotations

import json
import os
import select
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any

HEADER = struct.Struct(">I")
LONGEST = 1 << 29
"""Bytes in one frame; what is larger belongs into a blob."""
PIECE = 1 << 20


class Channel:
    """Both directions of a connection. One reader at a time; any number of threads may send."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming, self.outgoing = incoming, outgoing
        self.lock = threading.Lock()
        self.buffer = bytearray()
        self.closed = self.broken = False
        for descriptor in {incoming, outgoing}:
            os.set_blocking(descriptor, False)
            # A library's own child process must not hold the connection open after we are gone.
            os.set_inheritable(descriptor, False)

    def send(self, frame: Mapping[str, Any], timeout: float | None = None) -> None:
        """Send a frame whole.

        Raises `ValueError` for what is no JSON or too long, `BrokenPipeError` when nobody listens,
        `TimeoutError` when the other side has not taken it within `timeout` seconds (the connection
        is then of no more use).
        """
        body = json.dumps(frame, allow_nan=False, separators=(",", ":")).encode("ascii")
        if len(body) > LONGEST:
            raise ValueError(f"a frame of {len(body)} bytes; at most {LONGEST} fit")
        until = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            if self.closed or self.broken:
                raise BrokenPipeError("the connection is closed")
            self.drain(memoryview(HEADER.pack(len(body)) + body), until)

    def drain(self, rest: memoryview, until: float | None) -> None:
        """Write until nothing is left."""
        while rest:
            try:
                wait_for(self.outgoing, select.POLLOUT, until)
                rest = rest[os.write(self.outgoing, rest[:PIECE]) :]
            except BlockingIOError:
                continue
            except TimeoutError:
                # Half a frame went out: whatever followed would be misread.
                self.broken = True
                raise

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next frame.

        Raises `EOFError` when the other side is gone, also in the middle of a frame, and
        `TimeoutError` after `timeout` seconds; a frame that is half here is kept for the next call.
        """
        until = None if timeout is None else time.monotonic() + timeout
        self.fill(HEADER.size, until)
        (length,) = HEADER.unpack_from(self.buffer)
        if length > LONGEST:
            raise EOFError(f"a frame of {length} bytes is not ours")
        self.fill(HEADER.size + length, until)
        body = bytes(self.buffer[HEADER.size : HEADER.size + length])
        del self.buffer[: HEADER.size + length]
        return json.loads(body)

    def fill(self, size: int, until: float | None) -> None:
        """Read until the buffer holds `size` bytes."""
        while len(self.buffer) < size:
            wait_for(self.incoming, select.POLLIN, until)
            try:
                piece = os.read(self.incoming, PIECE)
            except BlockingIOError:
                continue
            except ConnectionResetError as error:
                raise EOFError("the other side is gone") from error
            if not piece:
                raise EOFError("the other side is gone")
            self.buffer += piece

    def close(self) -> None:
        """Close both descriptors; a second time does nothing."""
        with self.lock:
            if not self.closed:
                self.closed = True
                for descriptor in {self.incoming, self.outgoing}:
                    os.close(descriptor)


def wait_for(descriptor: int, event: int, until: float | None) -> None:
    """Wait until a descriptor can be read or written, or has hung up; `until` is monotonic time."""
    poll = select.poll()
    poll.register(descriptor, event)
    left = None if until is None else max(0.0, until - time.monotonic())
    if not poll.poll(None if left is None else left * 1000):
        raise TimeoutError
