"""A circuit breaker: while a provider fails one run, the other runs on this machine do not ask it either."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LONGEST_S = 60.0
"""Nobody is kept away for longer by what happened to somebody else."""


class CircuitBreaker:
    """Until when a provider is left alone: the time stamp of a file that all runs of one user share.

    A file without a lock: should two write at once, one of two pauses of like length stands.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path, self.now = path, now

    def pause(self) -> float:
        """Return for how many seconds the provider is to be left alone; 0 for one that answers."""
        try:
            until = self.path.stat().st_mtime
        except OSError:
            return 0.0
        return min(max(until - self.now(), 0.0), LONGEST_S)

    def failed(self, seconds: float) -> None:
        """Keep everybody away for so many seconds. What cannot be written is not shared."""
        until = self.now() + min(seconds, LONGEST_S)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            os.utime(self.path, (until, until))
        except OSError:
            return

    def succeeded(self) -> None:
        """Let everybody ask again. A mark that cannot be removed runs out by itself."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def breaker_of(provider: str, address: str | None) -> CircuitBreaker:
    """Return the breaker of a provider at an address, for all runs of this user on this machine."""
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    mark = hashlib.sha256(f"{provider} {address or ''}".encode()).hexdigest()[:16]
    return CircuitBreaker(Path(tempfile.gettempdir()) / f"naturalist-{owner}" / f"failing-{mark}")
