"""What the review page shows, without how it is served: the queue, reports, evidence, reviews of one reviewer."""

from __future__ import annotations

import contextlib
import getpass
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from agent.finding import Finding
from agent.review.comparison import Comparison, compare
from agent.review.index import Entry, RunIndex
from agent.review.indexed_words import raw_arms
from agent.review.opened import MOST_OPEN, Opened, opened
from agent.review.records import (
    Agreement,
    Review,
    add_review,
    agreements,
    as_csv,
    export_rows,
    new_review,
    of_reviewer,
    read_reviews,
    reviewer_name,
    standing,
    visible,
)
from agent.review.shown_events import Shown, shown
from agent.run_folder import RunError
from agent.shown_evidence import row_outputs
from agent.sweeps import Sweep, read_sweep
from agent.thought_plot import thought_map
from agent.thoughts import DrawnThoughts, thoughts_of
from agent.verify import UNUSABLE
from agent.wording import describe_edit, words
from tools.blobs import BlobStore
from tools.factors import Factor, Level, with_no_op
from tools.registry import Record, ToolError

FACTORS: TypeAdapter[tuple[Factor, ...]] = TypeAdapter(tuple[Factor, ...])
EVENTS_PAGE = 100
ROWS_PAGE = 20
TRACES_PAGE = 6
LEDGER = (
    "run_opened",
    "run_resumed",
    "population",
    "hypothesis",
    "registration",
    "draw",
    "verdict",
    "replication",
    "note",
    "submission",
    "rested",
    "replied",
    "run_ended",
)


class NotThere(Exception):
    """What was asked for is not there."""


class Queued(Record):
    """One run with how far its review is."""

    entry: Entry
    reviewed: int
    """Findings that this reviewer has reviewed."""
    by_others: int
    """Reviews of others; how many, not what they say."""
    statuses: dict[str, int]

    @property
    def open(self) -> tuple[str, ...]:
        """Return the findings that can be reviewed: those of a run that has ended."""
        return tuple(f["id"] for f in self.entry.findings) if self.entry.ended else ()


class Seen(Record):
    """The reviews of one finding as far as one reviewer may see them."""

    own: Review | None = None
    others: tuple[Review, ...] = ()
    """Empty until there is an own review."""
    count: int = 0
    """How many others reviewed it."""


class Stored(Record):
    """One experiment with a page of its raw rows."""

    number: int
    purpose: str
    failed: bool
    seconds: float
    blob: str
    experiment: dict[str, Any]
    raw: str | None
    arms: dict[str, int]
    """Arm -> number of its rows."""
    arm: str | None
    page: int
    pages: int
    rows: tuple[dict[str, Any], ...]
    sweep: Sweep | None
    """What a search over places or doses found, for its plot; None for anything else."""
    thoughts: DrawnThoughts | None
    """Chains of thought with what hangs on their sentences; None for anything else."""
    places: tuple[str, ...]
    """What each place in an arm's name stands for, where the arms are the cells of a design."""
    scored: bool
    """Whether a measure was asked for: some output of the arm has a score."""


class Desk:
    """The runs of a folder in front of one reviewer."""

    def __init__(self, index: RunIndex, reviewer: str) -> None:
        self.index, self.reviewer = index, reviewer

    def run(self, key: str) -> tuple[Entry, Path]:
        """Return a run; raise `NotThere` for a key that is none."""
        found = self.index.entry(key)
        if found is None:
            raise NotThere("there is no such run in this folder")
        return found

    def queue(self) -> list[Queued]:
        """Return every run, the newest first."""
        folders = self.index.folders()
        # The index is written by another thread: it may know a run that was not there a moment ago.
        entries = [entry for entry in self.index.runs() if entry.name in folders]
        return [self.queued(entry, folders[entry.name]) for entry in entries]

    def queued(self, entry: Entry, path: Path) -> Queued:
        """Return a run with how far its review is."""
        reviews = read_reviews(path)
        known = {f["id"] for f in entry.findings}
        statuses: dict[str, int] = {}
        for finding in entry.findings:
            statuses[finding["status"]] = statuses.get(finding["status"], 0) + 1
        return Queued(
            entry=entry,
            reviewed=len(of_reviewer(reviews, self.reviewer).keys() & known),
            by_others=len(
                {(r.finding, r.reviewer) for r in reviews if r.reviewer != self.reviewer}
            ),
            statuses=statuses,
        )

    def first_unreviewed(self, after: tuple[str, str] | None = None) -> tuple[str, str] | None:
        """Return (run key, finding) of the first finding to review, from the oldest run on.

        With `after`, the first behind that one, or else the first of all.
        """
        left: list[tuple[str, str]] = []
        behind: list[tuple[str, str]] = []
        passed = False
        folders = self.index.folders()
        for entry in reversed(self.index.runs()):
            if not entry.ended or not entry.findings or entry.name not in folders:
                continue
            done = of_reviewer(read_reviews(folders[entry.name]), self.reviewer)
            for finding in entry.findings:
                place = (entry.key, finding["id"])
                if finding["id"] not in done:
                    (behind if passed else left).append(place)
                passed = passed or place == after
        return next(iter([*behind, *left]), None)

    def opened(self, path: Path) -> Opened:
        """Return a run with its report; raise `RunError` for one that cannot be read."""
        try:
            return opened(path)
        except RunError as error:
            raise RunError(
                f"this run cannot be read ({error}); `naturalist verify` says more"
            ) from None

    def warm(self) -> None:
        """Open the newest runs that have ended, so that nobody waits for a long log to be read."""
        folders = self.index.folders()
        ended = [each.name for each in self.index.runs() if each.ended and each.name in folders]
        for name in ended[:MOST_OPEN]:
            with contextlib.suppress(RunError):
                opened(folders[name])

    def finding(self, path: Path, name: str) -> tuple[Opened, Finding]:
        """Return a finding with its run; raise `NotThere` for a name that is none."""
        run = self.opened(path)
        for finding in run.report.findings:
            if finding.id == name:
                return run, finding
        raise NotThere("this run has no such finding")

    def reviews_of(self, path: Path) -> dict[str, Seen]:
        """Return what this reviewer may see of the reviews of a run, by finding."""
        found: dict[str, Seen] = {}
        by_finding: dict[str, list[Review]] = {}
        for review in standing(read_reviews(path)).values():
            by_finding.setdefault(review.finding, []).append(review)
        for finding, reviews in by_finding.items():
            own = of_reviewer(reviews, self.reviewer).get(finding)
            others = [each for each in reviews if each.reviewer != self.reviewer]
            shown = tuple(others) if own is not None else ()
            found[finding] = Seen(own=own, others=shown, count=len(others))
        return found

    def give(self, path: Path, finding: str, said: tuple[Any, str], report: str) -> None:
        """Keep a review of a finding; raises `ValidationError` for a judgement that is none."""
        add_review(path, new_review(finding, self.reviewer, *said, report))

    def transcript(self, entry: Entry, path: Path, start: int) -> list[Shown]:
        """Return a page of events from a sequence number on."""
        return [shown(event) for event in self.index.events(entry, path, start, EVENTS_PAGE)]

    def ledger(self, entry: Entry, path: Path, start: int) -> list[Shown]:
        """Return a page of what was registered, drawn and decided, in the order of the log."""
        events = self.index.events(entry, path, start, EVENTS_PAGE, LEDGER)
        return [shown(event) for event in events]

    def experiments(self, entry: Entry, path: Path, start: int) -> list[Shown]:
        """Return a page of experiments."""
        return [shown(each) for each in self.index.events(entry, path, start, 200, ("experiment",))]

    def stored(self, entry: Entry, path: Path, number: int, arm: str | None, page: int) -> Stored:
        """Return an experiment with a page of the raw rows of one arm, the first arm if none is named."""
        found = self.index.events(entry, path, 0, 1, ("experiment",), skip=number - 1)
        if number < 1 or not found:
            raise NotThere("this run has no such experiment")
        data, blobs = found[0].data, BlobStore(path / "blobs")
        try:
            experiment = json.loads(blobs.get(data["blob"]))
            raw = (experiment.get("result") or {}).get("raw")
            table = json.loads(blobs.get(raw)) if isinstance(raw, str) else None
            arms = raw_arms(table)
        except (ToolError, OSError, *UNUSABLE) as error:
            raise RunError(f"the data of exp:{number} cannot be read: {error}") from None
        chosen = arm if arm is not None else next(iter(arms), None)
        if chosen is not None and chosen not in arms:
            raise NotThere("this experiment has no such arm")
        rows = arms[chosen] if chosen is not None else []
        pages = max(1, -(-len(rows) // ROWS_PAGE))
        page = min(max(1, page), pages)
        first = (page - 1) * ROWS_PAGE
        return Stored(
            number=number,
            purpose=str(data.get("purpose")),
            failed=bool(data.get("failed")),
            seconds=float(data.get("seconds", 0.0)),
            blob=data["blob"],
            experiment=experiment,
            raw=raw,
            arms={name: len(each) for name, each in arms.items()},
            arm=chosen,
            page=page,
            pages=pages,
            rows=tuple(raw_rows(rows, first)),
            sweep=read_sweep(number, experiment, table),
            thoughts=drawn_thoughts(table),
            places=cell_places(experiment),
            scored=any(score is not None for row in rows for score in row.get("scores") or ()),
        )

    def raw(self, path: Path, digest: str, largest: int) -> bytes:
        """Return a blob as it is; raise `NotThere` for one that is not there, is damaged or too large."""
        blobs = BlobStore(path / "blobs")
        try:
            if blobs.path(digest).stat().st_size > largest:
                raise NotThere("this blob is too large to be sent; it lies in the run's folder")
            return blobs.get(digest)
        except (ToolError, OSError) as error:
            raise NotThere("this run has no such blob") from error

    def compare(self, first: Path, second: Path) -> Comparison:
        """Compare two runs."""
        return compare(self.opened(first).side, self.opened(second).side)

    def seen_reviews(self) -> dict[str, list[Review]]:
        """Return, by run, every review that this reviewer may see."""
        seen = {
            name: visible(read_reviews(path), self.reviewer)
            for name, path in self.index.folders().items()
        }
        return {name: reviews for name, reviews in seen.items() if reviews}

    def agreements(self) -> list[Agreement]:
        """Return how far this reviewer agrees with each other one."""
        found = agreements(self.seen_reviews())
        return [each for each in found if self.reviewer in each.reviewers]

    def export(self) -> list[dict[str, Any]]:
        """Return every review that this reviewer may see, as flat rows."""
        return export_rows(self.seen_reviews(), statuses_of(self.index.runs()))


def open_desk(runs: Path, reviewer: str | None) -> Desk:
    """Return the desk of a reviewer, by the login name if none is given; raise `RunError` for no folder."""
    if not runs.is_dir():
        raise RunError(f"{runs} is no folder; give a folder of runs, or one run")
    return Desk(RunIndex(runs), reviewer_name(getpass.getuser() if reviewer is None else reviewer))


def exported(runs: Path, kind: str) -> str:
    """Return all reviews of all reviewers as `csv` or `json`, with agreement in the latter."""
    if kind not in ("csv", "json"):
        raise RunError(f"--export {kind!r} is not known; it is csv or json")
    index = open_desk(runs, "export").index
    index.refresh()
    folders = index.folders()
    every = {name: list(standing(read_reviews(path)).values()) for name, path in folders.items()}
    rows = export_rows(every, statuses_of(index.runs()))
    return as_csv(rows).rstrip("\n") if kind == "csv" else as_json(rows, agreements(every))


def as_json(rows: Sequence[dict[str, Any]], shared: Sequence[Agreement]) -> str:
    """Return reviews and agreement as one JSON text."""
    content = {
        "reviews": list(rows),
        "agreement": [each.model_dump(mode="json") for each in shared],
    }
    return json.dumps(content, indent=1)


def statuses_of(entries: Sequence[Entry]) -> dict[tuple[str, str], str]:
    """Return the computed status of every finding by run and name."""
    return {(e.name, f["id"]): f["status"] for e in entries for f in e.findings}


def drawn_thoughts(table: Any) -> DrawnThoughts | None:
    """Return the first traces in raw data; None where there are none, or of a shape that cannot be drawn."""
    try:
        found = thoughts_of(table)
        if found is None:
            return None
        found = found.model_copy(update={"traces": found.traces[:TRACES_PAGE]})
        for trace in found.traces:
            thought_map(trace, found.band, found.distance)
        return found
    except UNUSABLE:
        return None


def cell_places(experiment: dict[str, Any]) -> tuple[str, ...]:
    """Return the factors of a design in the order of its cells' names, each with its levels and their numbers."""
    if experiment.get("tool") != "vary_prompts":
        return ()
    try:
        factors = with_no_op(FACTORS.validate_python(experiment["arguments"]["factors"]))
    except UNUSABLE:
        return ()
    return tuple(
        f"{words(each.name)}: {'; '.join(f'{k} is {level_words(level)}' for k, level in enumerate(each.levels))}"
        for each in factors
    )


def level_words(level: Level) -> str:
    """Return the name of a level with what it does to a prompt."""
    edits = " and ".join(map(describe_edit, level.edits))
    return f"{words(level.name)}, {edits}" if edits else words(level.name)


def raw_rows(rows: Sequence[dict[str, Any]], first: int) -> Iterator[dict[str, Any]]:
    """Yield a page of raw rows as they are, nothing cut."""
    for number, row in enumerate(rows[first : first + ROWS_PAGE], first):
        prompt = row["prompt"]
        turns = [(message["role"], message["content"]) for message in prompt["messages"]]
        if prompt.get("prefill"):
            turns.append(("answer begins with", prompt["prefill"]))
        yield {
            "number": number,
            "item": row.get("id", ""),
            "template": row.get("template_id", ""),
            "turns": turns,
            "outputs": list(zip(row_outputs(row), row.get("scores") or [None] * 99, strict=False)),
        }
