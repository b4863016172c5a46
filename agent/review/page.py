"""The review page: a folder of runs in a browser, on this machine only. Rendered here, without scripts.

The address carries a token that is new at every start; there is no cookie and no other state than the
runs' own files. Starlette and uvicorn are loaded when the page is started, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agent.rendering import ORDER, PAGES, forests, html_pages, registered
from agent.review.desk import EVENTS_PAGE, ROWS_PAGE, Desk, NotThere, Seen, as_json
from agent.review.guard import Guard
from agent.review.index import Entry
from agent.review.records import JUDGEMENTS, as_csv
from agent.run_folder import RunError
from agent.sweeps import is_behind
from agent.words import hears, say_to

LONGEST_QUERY = 300
LARGEST_RAW = 2**28
Answer = Callable[[Request], Response]


class Pages:
    """The routes of the page."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        """Return every address and what answers it."""
        run = "/run/{key:str}"
        return [
            Route("/", self.queue),
            Route("/style.css", style),
            Route("/next", self.next),
            Route("/search", self.search),
            Route("/compare", self.compare),
            Route("/agreement", self.agreement),
            Route("/reviews.json", self.reviews_json),
            Route("/reviews.csv", self.reviews_csv),
            Route(run, self.run),
            Route(f"{run}/say", self.say, methods=["POST"]),
            Route(f"{run}/report", self.report),
            Route(f"{run}/transcript", self.transcript),
            Route(f"{run}/ledger", self.ledger),
            Route(f"{run}/evidence", self.evidence),
            Route(f"{run}/evidence/{{number:int}}", self.experiment),
            Route(f"{run}/raw/{{digest:str}}", self.raw),
            Route(f"{run}/finding/{{finding:str}}", self.finding),
            Route(f"{run}/finding/{{finding:str}}", self.review, methods=["POST"]),
        ]

    def page(
        self,
        request: Request,
        name: str,
        status: int = 200,
        *,
        refresh: int | None = None,
        **content: Any,
    ) -> Response:
        """Render a template; everything that it prints is escaped. Its reader asked for it again every `refresh` s."""
        known: dict[str, Any] = {
            "base": request.scope["root_path"],
            "reviewer": self.desk.reviewer,
            "orders": ORDER,
            "here": "",
            "query": "",
        }
        text = html_pages().get_template(f"review_{name}.html.j2").render(known | content)
        again = {"Refresh": str(refresh)} if refresh else None
        return Response(text, status, again, media_type="text/html; charset=utf-8")

    def place(self, request: Request) -> tuple[Entry, Path]:
        """Return the run that an address names."""
        return self.desk.run(request.path_params["key"])

    def queue(self, request: Request) -> Response:
        """Every run, what became of it and how far its review is."""
        queue = self.desk.queue()
        follow = "follow" in request.query_params
        live = any(each.entry.live for each in queue)
        return self.page(
            request,
            "queue",
            here="queue",
            queue=queue,
            live=live,
            follow=follow,
            unread=len(self.desk.index.folders()) - len(queue),
            refresh=5 if live and follow else None,
            left=sum(len(each.open) for each in queue) - sum(q.reviewed for q in queue if q.open),
        )

    def next(self, request: Request) -> Response:
        """Go to the first finding that this reviewer has not reviewed."""
        found = self.desk.first_unreviewed()
        return self.onward(request, found)

    def onward(self, request: Request, found: tuple[str, str] | None) -> Response:
        """Go to a finding, or to the queue when there is none."""
        base = request.scope["root_path"]
        target = f"{base}/run/{found[0]}/finding/{found[1]}" if found else f"{base}/"
        return RedirectResponse(target, 303)

    def search(self, request: Request) -> Response:
        """Where words occur, in all runs or in one."""
        query = request.query_params.get("q", "")[:LONGEST_QUERY]
        key = request.query_params.get("run") or None
        within = self.desk.run(key)[0] if key else None
        number = whole(request, "page", 1)
        kind = request.query_params.get("in", "")
        kind = kind if kind in ("event", "row") else ""
        hits, more = self.desk.index.search(
            query, within.number if within else None, number, kind=kind
        )
        return self.page(
            request,
            "search",
            here="search",
            query=query,
            within=within,
            kind=kind,
            hits=hits,
            number=number,
            more=f"?{urlencode({'q': query, 'run': key or '', 'in': kind, 'page': number + 1})}"
            if more
            else None,
            links=[link_of(hit.place) for hit in hits],
        )

    def compare(self, request: Request) -> Response:
        """Two runs side by side."""
        names = [request.query_params.get(each) or None for each in ("first", "second")]
        chosen = [self.desk.run(name) if name else None for name in names]
        found = None
        if chosen[0] and chosen[1]:
            found = self.desk.compare(chosen[0][1], chosen[1][1])
        return self.page(
            request,
            "compare",
            here="compare",
            entries=self.desk.index.runs(),
            chosen=[each[0].key if each else None for each in chosen],
            found=found,
        )

    def agreement(self, request: Request) -> Response:
        """How far reviewers agree."""
        keys = {entry.name: entry.key for entry in self.desk.index.runs()}
        found = self.desk.agreements()
        return self.page(request, "agreement", here="agreement", found=found, keys=keys)

    def reviews_json(self, request: Request) -> Response:
        """The reviews that may be seen, and agreement, as JSON."""
        text = as_json(self.desk.export(), self.desk.agreements())
        return download(text, "reviews.json", "application/json")

    def reviews_csv(self, request: Request) -> Response:
        """The reviews that may be seen, as CSV."""
        return download(as_csv(self.desk.export()), "reviews.csv", "text/csv; charset=utf-8")

    def run(self, request: Request) -> Response:
        """One run in short: how far it is, its findings, where to go on."""
        entry, path = self.place(request)
        follow = "follow" in request.query_params
        seen = self.desk.reviews_of(path)
        reviews = {f["id"]: seen.get(f["id"], Seen()) for f in entry.findings}
        return self.page(
            request,
            "run",
            entry=entry,
            queued=self.desk.queued(entry, path),
            reviews=reviews,
            follow=follow,
            refresh=3 if entry.live and follow else None,
            hears=entry.live and hears(str(entry.facts.get("investigator", ""))),
            said="said" in request.query_params,
        )

    async def say(self, request: Request) -> Response:
        """Leave a word for a running investigation, as `naturalist say` does."""
        form = await form_of(request)
        _, path = self.place(request)
        await run_in_threadpool(say_to, path, form.get("text", ""))
        return RedirectResponse(f"{request.url.path.removesuffix('/say')}?said=1#say", 303)

    def report(self, request: Request) -> Response:
        """The report of a run, rendered from its log."""
        entry, path = self.place(request)
        report = self.desk.opened(path).report
        content: dict[str, Any] = {
            "entry": entry,
            "report": report,
            "registered": registered(report),
            "forests": forests(report),
            "place": "",
            "log": f"{request.scope['root_path']}/run/{entry.key}/transcript",
        }
        return self.page(request, "report", **content)

    def transcript(self, request: Request) -> Response:
        """What was said and done, a page at a time."""
        return self.log(request, "transcript", self.desk.transcript)

    def ledger(self, request: Request) -> Response:
        """What was registered, drawn and decided, in order."""
        return self.log(request, "ledger", self.desk.ledger)

    def evidence(self, request: Request) -> Response:
        """Every experiment."""
        return self.log(request, "evidence", self.desk.experiments)

    def log(self, request: Request, name: str, read: Callable[..., Any]) -> Response:
        """Show events from a sequence number on."""
        entry, path = self.place(request)
        start = whole(request, "from", 0)
        events = read(entry, path, start)
        more = events[-1].seq + 1 if events and events[-1].seq + 1 < entry.events else None
        before = max(0, start - EVENTS_PAGE) if start else None
        return self.page(
            request, name, entry=entry, events=events, start=start, more=more, before=before
        )

    def experiment(self, request: Request) -> Response:
        """One experiment, down to its raw prompts and outputs."""
        entry, path = self.place(request)
        number = request.path_params["number"]
        arm = request.query_params.get("arm")
        stored = self.desk.stored(entry, path, number, arm, whole(request, "page", 1))
        return self.page(request, "experiment", entry=entry, stored=stored)

    def raw(self, request: Request) -> Response:
        """A blob as it is, for saving."""
        _, path = self.place(request)
        digest = request.path_params["digest"]
        return download(self.desk.raw(path, digest, LARGEST_RAW), f"{digest}.bin")

    def finding(self, request: Request) -> Response:
        """One finding with what it rests on, and the form for its review."""
        return self.show_finding(request)

    def show_finding(self, request: Request, status: int = 200, **said: Any) -> Response:
        """Show a finding; `said` holds what a form that was not taken held, and why."""
        entry, path = self.place(request)
        run, finding = self.desk.finding(path, request.path_params["finding"])
        seen = self.desk.reviews_of(path).get(finding.id, Seen())
        ids = [each.id for each in run.report.findings]
        at = ids.index(finding.id)
        content: dict[str, Any] = {
            "entry": entry,
            "report": run.report,
            "digest": run.digest,
            "f": finding,
            "evidence": run.report.evidence_for(finding.id),
            "sweeps": [each for each in run.report.sweeps if is_behind(each, finding)],
            "place": f"{request.scope['root_path']}/run/{entry.key}/report",
            "log": f"{request.scope['root_path']}/run/{entry.key}/transcript",
            "own": seen.own,
            "others": seen.others,
            "count": seen.count,
            "before": ids[at - 1] if at else None,
            "after": ids[at + 1] if at + 1 < len(ids) else None,
            "judgements": JUDGEMENTS,
            "saved": "saved" in request.query_params,
            "fault": None,
            "comment": seen.own.comment if seen.own else "",
            "verdict": seen.own.verdict if seen.own else None,
        }
        return self.page(request, "finding", status, **(content | said))

    async def review(self, request: Request) -> Response:
        """Keep a review and go on."""
        return await run_in_threadpool(self.keep, request, await form_of(request))

    def keep(self, request: Request, form: dict[str, str]) -> Response:
        """Keep a review that a form holds, or show the form again with what is wrong."""
        entry, path = self.place(request)
        _, finding = self.desk.finding(path, request.path_params["finding"])
        if not entry.ended:
            raise RunError("findings can be reviewed once their run has ended")
        said = (form.get("verdict"), form.get("comment", ""))
        try:
            self.desk.give(path, finding.id, said, form.get("report", ""))
        except ValidationError as error:
            why = "; ".join(fault_words(each) for each in error.errors())
            return self.show_finding(request, 422, fault=why, verdict=said[0], comment=said[1])
        if "onward" in form:
            return self.onward(request, self.desk.first_unreviewed((entry.key, finding.id)))
        return RedirectResponse(f"{request.url.path}?saved=1#review", 303)


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that was sent."""
    try:
        text = (await request.body()).decode()
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}


def fault_words(error: Any) -> str:
    """Return what is wrong with a field of the form."""
    field = str(error["loc"][0]) if error["loc"] else "form"
    return {
        "verdict": "choose accept, reject or unsure",
        "comment": "the comment is too long (10,000 characters at most)",
        "report": "the form was not the page's own; reload it",
    }.get(field, f"{field}: {error['msg']}")


def link_of(place: str) -> str:
    """Return the address within a run of a place in its log."""
    kind, _, rest = place.partition("/")
    if kind == "event":
        number = int(rest)
        return f"transcript?from={number - number % EVENTS_PAGE}#event-{number}"
    number, _, rest = rest.partition("/")
    arm, _, row = rest.rpartition("/")
    page = int(row) // ROWS_PAGE + 1
    return f"evidence/{number}?{urlencode({'arm': arm, 'page': page})}#row-{row}"


def whole(request: Request, name: str, default: int) -> int:
    """Return a whole number of the query; the default for what is none."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def download(content: str | bytes, name: str, kind: str = "application/octet-stream") -> Response:
    """Return content that a browser saves and does not show."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=kind, headers=headers)


def style(request: Request) -> Response:
    """The style of the report, and what the page adds to it."""
    text = "".join((PAGES / name).read_text("utf-8") for name in ("style.css", "review.css"))
    return Response(text, media_type="text/css; charset=utf-8")


def make_app(desk: Desk, host: str, token: str) -> Guard:
    """Return the page behind its guard; `host` is what requests must call it."""
    pages = Pages(desk)

    def told(status: int) -> Callable[[Request, Exception], Response]:
        return lambda request, error: pages.page(request, "fault", status, why=str(error))

    def missing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return pages.page(request, "fault", error.status_code, why=error.detail)

    app = Starlette(
        routes=pages.routes(),
        exception_handlers={NotThere: told(404), RunError: told(409), HTTPException: missing},
    )
    return Guard(app, host, token)
