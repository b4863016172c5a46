"""Headless Chromium over its DevTools protocol, for the tests that look at pages as people do."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

BINARY = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SECONDS = 60.0
HARMFUL = """
[...document.querySelectorAll('*')].flatMap(e => [
  ...(['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'BASE', 'IMG', 'VIDEO', 'AUDIO'].includes(e.tagName) ? [e.tagName] : []),
  ...[...e.attributes].filter(a => a.name.startsWith('on') || a.name === 'style' || a.name === 'srcdoc' ||
    (['href', 'src', 'action', 'formaction', 'poster', 'background', 'xlink:href'].includes(a.name) &&
     new URL(a.value, location.href).origin !== location.origin && a.value !== 'data:,'))
    .map(a => e.tagName + ' ' + a.name + '=' + a.value)])
"""
"""Elements that load or run something, handlers, styles, and addresses elsewhere."""


class Browser:
    """One page of a browser: where it goes, what it asks for, what runs in it."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.number = 0
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **content: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": content}))
        while True:
            message = self.hear()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    def hear(self) -> dict[str, Any]:
        """Return the next message; note requests and dialogs, and close the latter."""
        message = json.loads(self.socket.recv())
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Page.javascriptDialogOpening":
                self.dialogs.append(message["params"]["message"])
                self.number += 1
                close = {"id": self.number, "method": "Page.handleJavaScriptDialog"}
                self.socket.send(json.dumps(close | {"params": {"accept": True}}))
            case _:
                pass
        if "method" in message:
            self.events.append(message)
        return message

    def until_loaded(self) -> None:
        """Wait for the page that is being loaded."""
        ended = time.monotonic() + SECONDS
        while not any(each["method"] == "Page.loadEventFired" for each in self.events):
            assert time.monotonic() < ended, "the page did not load"
            self.hear()

    def go(self, address: str) -> None:
        """Open an address and wait until it is there."""
        self.events.clear()
        self.tell("Page.navigate", url=address)
        self.until_loaded()

    def value(self, expression: str) -> Any:
        """Return what an expression comes to in the page."""
        found = self.tell(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self) -> str:
        """Return the words on the page."""
        return self.value("document.body.innerText")

    def click(self, selector: str) -> None:
        """Click what a selector names and wait for the page that it leads to."""
        self.events.clear()
        self.value(f"document.querySelector({json.dumps(selector)}).click()")
        self.until_loaded()

    def choose(self, selector: str) -> None:
        """Click what a selector names, which leads nowhere."""
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, words: str) -> None:
        """Type words as a keyboard does."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.tell("Input.insertText", text=words)

    def key(self, name: str, text: str = "") -> None:
        """Press a key, which may put text into what has the focus."""
        code = {"Tab": 9, "Enter": 13, "ArrowDown": 40}[name]
        said = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.tell("Input.dispatchKeyEvent", type="keyDown", text=text, **said)
        self.tell("Input.dispatchKeyEvent", type="keyUp", **said)

    def look(self, *, dark: bool = False, width: int = 1100, height: int = 900) -> None:
        """Show pages light or dark, at a width in pixels."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def photograph(self, path: Path) -> None:
        """Save a picture of the whole page, two thousand pixels of it at most."""
        tall = min(2000, int(self.value("document.documentElement.scrollHeight")))
        wide = int(self.value("innerWidth"))
        clip = {"x": 0, "y": 0, "width": wide, "height": tall, "scale": 1}
        taken = self.tell("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Generator[Browser]:
    """Start Chromium with a profile in a folder, and stop it."""
    assert BINARY is not None
    settings = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        "--disable-dev-shm-usage",
    )
    quiet = (
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    )
    process = subprocess.Popen(
        [BINARY, *settings, *quiet, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = folder / "DevToolsActivePort"
        ended = time.monotonic() + SECONDS
        while not told.exists() or not told.read_text().strip():
            assert process.poll() is None and time.monotonic() < ended, "Chromium did not start"
            time.sleep(0.1)
        port = told.read_text().split()[0]
        with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [each for each in json.load(answer) if each["type"] == "page"]
        page = Browser(pages[0]["webSocketDebuggerUrl"])
        yield page
        page.socket.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
