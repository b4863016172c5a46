"""Frames arrive whole or not at all."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest

from tools.frames import Channel


def test_a_frame_cut_short_is_an_end_and_half_a_frame_is_kept() -> None:
    reader, writer = os.pipe()
    channel = Channel(reader, os.open(os.devnull, os.O_WRONLY))
    os.write(writer, b'\x00\x00\x00\x07{"a"')
    with pytest.raises(TimeoutError):
        channel.receive(timeout=0.05)
    os.write(writer, b":1}\x00\x00\x00\x09{")
    assert channel.receive(timeout=1) == {"a": 1}
    os.close(writer)
    with pytest.raises(EOFError):
        channel.receive(timeout=1)
    channel.close()


def test_a_reader_that_stops_reading_makes_a_send_time_out() -> None:
    one, two = socket.socketpair()
    with contextlib.closing(two):
        descriptor = one.detach()
        channel = Channel(descriptor, descriptor)
        with pytest.raises(TimeoutError):
            channel.send({"text": "x" * 3_000_000}, timeout=0.1)
        with pytest.raises(BrokenPipeError):
            channel.send({"text": "after half a frame"}, timeout=0.1)
        channel.close()
