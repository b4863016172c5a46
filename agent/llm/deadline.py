"""An end to every attempt, for all three protocols: a body may arrive for so long and no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def deadline_hooks(
    clock: Callable[[], float], deadline: float
) -> dict[str, list[Callable[..., None]]]:
    """Return HTTP hooks that end a body still arriving after `deadline` seconds on `clock`.

    They watch bytes, not events: a stream may stay alive on comments alone, which make no event.
    """
    import httpx2

    class Watched(httpx2.SyncByteStream):
        def __init__(self, body: Any, until: float) -> None:
            self.body, self.until = body, until

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self.body:
                if clock() > self.until:
                    raise httpx2.ReadTimeout(f"no whole answer within {deadline:g} s")
                yield chunk

        def close(self) -> None:
            self.body.close()

    def begin(request: httpx2.Request) -> None:
        request.extensions["until"] = clock() + deadline

    def watch(response: httpx2.Response) -> None:
        response.stream = Watched(response.stream, response.request.extensions["until"])

    return {"request": [begin], "response": [watch]}
