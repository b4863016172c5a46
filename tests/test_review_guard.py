"""Nobody reaches the review page but its own browser, and refusing changes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from agent.review import server as review_server
from agent.review.index import key_of
from agent.run_folder import RunError
from tests.review_server import TOKEN, Site, site
from tests.scripted_run import make_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs" / "one")
    return tmp_path / "runs"


@pytest.fixture
def page(runs: Path) -> Generator[Site]:
    with site(runs) as served:
        yield served


def test_it_listens_on_loopback_only_and_under_a_new_token() -> None:
    listening = review_server.bind(0)
    try:
        assert listening.getsockname()[0] == "127.0.0.1"
        with pytest.raises(RunError, match="choose another --port"):
            review_server.bind(listening.getsockname()[1])
    finally:
        listening.close()


Requests = list[tuple[str, str, list[tuple[str, str]], bytes]]
"""Method, target, headers, body."""


def strange_callers(page: Site) -> Requests:
    """Return requests that another page, or another name of this machine, may cause."""
    host, origin = ("Host", page.host), ("Origin", f"http://{page.host}")
    form = ("Content-Type", "application/x-www-form-urlencoded")
    base, run = page.base, f"{page.base}/run/{page.key('one')}"
    target, body = f"{run}/finding/P1", b"verdict=accept&report=" + b"0" * 64
    size = ("Content-Length", str(len(body)))
    found: Requests = []
    port = page.port
    for name in (
        f"evil.invalid:{port}", f"localhost:{port}", "127.0.0.1", "127.0.0.1:1", f"[::1]:{port}", f"0.0.0.0:{port}",
        f"127.0.0.1:{port}.evil.invalid", f"ann@127.0.0.1:{port}", f"127.1:{port}", f"2130706433:{port}", "",
    ):  # fmt: skip
        found.append(("GET", f"{base}/", [("Host", name)], b""))
    found.append(("GET", f"{base}/", [host, host], b""))
    found.append(("GET", f"{base}/", [host, ("Host", "evil.invalid")], b""))
    found.append(
        ("GET", f"{base}/", [("X-Forwarded-Host", page.host), ("Host", "evil.invalid")], b"")
    )
    strangers = (
        "null", "http://evil.invalid", f"https://{page.host}", "http://127.0.0.1", f"http://localhost:{port}",
        f"http://{page.host}.evil.invalid",
    )  # fmt: skip
    for stranger in strangers:
        found.append(("GET", f"{base}/", [host, ("Origin", stranger)], b""))
        found.append(("POST", target, [host, ("Origin", stranger), form, size], body))
    found.append(("POST", target, [host, form, size], body))
    found.append(("POST", target, [host, origin, origin, form, size], body))
    for value in ("cross-site", "same-site"):
        found.append(("GET", f"{base}/", [host, ("Sec-Fetch-Site", value)], b""))
        found.append(("POST", target, [host, origin, ("Sec-Fetch-Site", value), form, size], body))
    found.append(("POST", target, [host, origin, ("Sec-Fetch-Site", "none"), form, size], body))
    for value in ("iframe", "image", "script", "object"):
        found.append(("GET", f"{base}/", [host, ("Sec-Fetch-Dest", value)], b""))
    found.append(("GET", f"{base}/", [host, ("Referer", "http://evil.invalid/")], b""))
    return found


def strange_requests(page: Site) -> Requests:
    """Return requests for what is not there, in forms that nobody needs."""
    host, origin = ("Host", page.host), ("Origin", f"http://{page.host}")
    form = ("Content-Type", "application/x-www-form-urlencoded")
    base, run = page.base, f"{page.base}/run/{page.key('one')}"
    target, body = f"{run}/finding/P1", b"verdict=accept&report=" + b"0" * 64
    size = ("Content-Length", str(len(body)))
    found: Requests = []
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        found.append((method, target, [host, origin, form, size], body))
    for path in (
        "/", "/next", "/x/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/{TOKEN.upper()}/", f"/?token={TOKEN}", f"//{TOKEN}/",
        "/style.css", f"/x/../{TOKEN}/",
    ):  # fmt: skip
        found.append(("GET", path, [host, ("Authorization", f"Bearer {TOKEN}")], b""))
    for path in (
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/run/..%2f..%2f..%2fetc/report", "/run/../secret.txt",
        f"/run/{page.key('one')}/raw/../../events.jsonl", f"/run/{page.key('one')}/raw/..%2f..%2fevents.jsonl",
        f"/run/{page.key('one')}/raw/" + "0" * 64, "/run/one/report", "/run/%00/report",
        f"/run/{key_of('link')}/report",
        "/index.sqlite", "/run/..%5c..%5csecret.txt/report", f"/run/{page.key('one')}/finding/..%2f..%2fevents.jsonl",
    ):  # fmt: skip
        found.append(("GET", f"{base}{path}", [host], b""))
    huge = ("Content-Length", str(2**30))
    found.append(("POST", target, [host, origin, form, huge], b""))
    found.append(("POST", target, [host, origin, form, ("Content-Length", "-1")], body))
    found.append(("POST", target, [host, origin, form, size, ("Content-Length", "1")], body))
    large = body + b"&pad=" + b"x" * 2**17
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    found.append(("POST", target, [host, origin, form, ("Transfer-Encoding", "chunked")], chunks))
    found.append(("POST", target, [host, origin, form, ("Content-Length", str(len(large)))], large))
    found.append(("GET", f"{base}/", [host, size], body))
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        found.append(("POST", target, [host, origin, ("Content-Type", kind), size], body))
    fields = b"&".join(b"f%d=1" % number for number in range(5000))
    many = ("Content-Length", str(len(fields)))
    found.append(("POST", target, [host, origin, form, many], fields))
    found.append(("POST", target, [host, origin, form, ("Content-Length", "9")], b"verdict=\xff"))
    found.append(("GET", f"{base}/?q={'x' * 5000}", [host], b""))
    found.append(("POST", f"{base}/", [host, origin, form, size], body))
    found.append(("POST", f"{run}/finding/P99", [host, origin, form, size], body))
    return found


def test_hostile_requests_are_refused_and_change_nothing(page: Site, runs: Path) -> None:
    secret = runs.parent / "secret.txt"
    secret.write_text("the secret outside")
    shutil.copytree(runs / "one", runs.parent / "outside")
    (runs / "link").symlink_to(runs.parent / "outside")
    page.desk.index.refresh()
    requests = strange_callers(page) + strange_requests(page)
    assert len(requests) >= 60
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    for method, target, headers, body in requests:
        answer = page.raw(method, target, headers, body)
        told = (method, target[:120], headers, answer.status, answer.body[:200])
        assert 400 <= answer.status < 500, told
        for kept in (b"the secret outside", b"run_opened", b"root:"):
            assert kept not in answer.body, told
        assert "access-control-allow-origin" not in answer.headers, told
        assert "set-cookie" not in answer.headers
    after = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert after == before
    assert page.get("/").status == 200


def test_a_request_of_its_own_is_answered(page: Site) -> None:
    own = {
        "Sec-Fetch-Site": "same-origin",
        "Sec-Fetch-Dest": "document",
        "Origin": f"http://{page.host}",
    }
    answer = page.ask("GET", "/", own)
    assert answer.status == 200 and "set-cookie" not in answer.headers
    assert page.ask("HEAD", "/", own).status == 200
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_a_body_that_is_too_large_is_not_waited_for(page: Site) -> None:
    headers = [
        ("Host", page.host),
        ("Origin", f"http://{page.host}"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", str(2**30)),
    ]
    started = time.monotonic()
    target = f"{page.base}/run/{page.key('one')}/finding/P1"
    assert page.raw("POST", target, headers).status == 413
    assert time.monotonic() - started < 5


def test_the_page_is_loaded_only_when_it_is_started() -> None:
    code = "import naturalist, sys; sys.exit(bool({'starlette', 'uvicorn', 'sqlite3'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
