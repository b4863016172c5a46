"""What reaches the review page: requests of this machine's own browser that carry the start's token.

Other pages that are open in the same browser can send requests to a loopback address too; this stands
between them and the runs. No cookie is set, so nothing is sent along that a page did not write itself.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from markupsafe import escape
from starlette.responses import HTMLResponse

from agent.wording import capital

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

METHODS = ("GET", "HEAD", "POST")
LONGEST_ADDRESS = 4096
LARGEST_BODY = 64 * 1024
SECONDS = 10.0
"""A body that is not complete after so long is given up."""
REFUSED = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Refused · Naturalist</title>
</head>
<body><main><h1>Refused</h1><p>{why}.</p></main></body>
</html>
"""
SINGLE = (
    b"host",
    b"origin",
    b"referer",
    b"content-length",
    b"content-type",
    b"transfer-encoding",
    b"sec-fetch-site",
    b"sec-fetch-dest",
)
"""Headers that come once or not at all: two of them are read differently by different programs."""
SHOWN_AS = ("document", "style", "empty")
FORM = "application/x-www-form-urlencoded"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it a browser says `Origin: null` for the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refusal(Exception):
    """A request that is not answered; the status says what kind of wrong it is."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Guard:
    """Refuses what does not come from the page itself, before anything of it is read."""

    def __init__(self, app: App, host: str, token: str) -> None:
        self.app, self.host, self.token = app, host, token

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = with_headers(send)
        try:
            self.check(scope)
            body = await asyncio.wait_for(whole_body(receive), SECONDS)
        except TimeoutError:
            await refuse(Refusal(408, "the request was not complete"), scope, receive, answer)
            return
        except Refusal as refusal:
            await refuse(refusal, scope, receive, answer)
            return
        scope["root_path"] = f"/{self.token}"
        await self.app(scope, replay(body, receive), answer)

    def check(self, scope: MutableMapping[str, Any]) -> None:
        """Raise `Refusal` for a request that is not the page's own; its body is not looked at."""
        headers = single_headers(scope["headers"])
        if scope["method"] not in METHODS:
            raise Refusal(405, "only GET, HEAD and POST are known here")
        if headers.get("host") != self.host:
            raise Refusal(421, "this address is not called that")
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            raise Refusal(414, "the address is too long")
        self.check_origin(scope["method"], headers)
        if not hmac.compare_digest(scope["path"].split("/")[1].encode(), self.token.encode()):
            raise Refusal(
                403, "the address lacks the token that was printed at the start; open that one"
            )
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
            raise Refusal(413, "the request is too large")
        if scope["method"] == "POST":
            if headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
                raise Refusal(415, "only the page's own forms are taken")
        elif length != "0" or "transfer-encoding" in headers:
            raise Refusal(400, "a request to read has no body")

    def check_origin(self, method: str, headers: dict[str, str]) -> None:
        """Raise `Refusal` for a request that another page caused, whatever its method."""
        own = f"http://{self.host}"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin not in (None, own) or (method == "POST" and origin is None):
            raise Refusal(403, "the request comes from another page")
        if site not in (None, "same-origin", "none") or (method == "POST" and site == "none"):
            raise Refusal(403, "the request comes from another site")
        if headers.get("sec-fetch-dest", "document") not in SHOWN_AS:
            raise Refusal(403, "the page is not shown inside another one")
        referer = headers.get("referer")
        if referer is not None and not referer.startswith(f"{own}/"):
            raise Refusal(403, "the request comes from another page")


def single_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers that matter; raise `Refusal` if one of them is there twice."""
    found: dict[str, str] = {}
    for name, value in raw:
        if name in SINGLE:
            if name.decode() in found:
                raise Refusal(400, f"the header {name.decode()} is there twice")
            found[name.decode()] = value.decode("latin-1")
    return found


async def whole_body(receive: Receive) -> bytes:
    """Return the body of a request; raise `Refusal` as soon as it is too large."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the request was broken off")
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise Refusal(413, "the request is too large")
        if not message.get("more_body", False):
            return body


def replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then what comes after it."""
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


def with_headers(send: Send) -> Send:
    """Return what sends a response with the page's own headers."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message.get("headers", []), *own]
        await send(message)

    return sent


async def refuse(refusal: Refusal, scope: Any, receive: Any, send: Any) -> None:
    """Send a refusal and close the connection, so that nobody reads on in a body that was not read."""
    page = REFUSED.format(why=escape(capital(str(refusal))))
    response = HTMLResponse(page, status_code=refusal.status, headers={"Connection": "close"})
    await response(scope, receive, send)
