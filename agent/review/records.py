"""Reviews: what people say of findings, in `reviews.jsonl` beside the log of a run.

A side file with its own lock, appended to and never changed; no review touches the log or a status.
The last line of a reviewer on a finding counts. A second reviewer is blind: what others said of a
finding is shown to nobody who has not said something of it.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from agent.run_folder import RunError
from agent.safe_text import one_line
from tools.judging import cohen_kappa
from tools.registry import Record

FILE = "reviews.jsonl"
Judgement = Literal["accept", "reject", "unsure"]
JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)
LARGEST = 2**24
"""Bytes of reviews that are read of one run."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Review(Record):
    """What one person says of one finding."""

    finding: str = Field(min_length=1, max_length=20)
    reviewer: str = Field(min_length=1, max_length=60)
    verdict: Judgement
    comment: str = Field(default="", max_length=10_000)
    at: str
    """When, in UTC."""
    report: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the report.json that the reviewer saw."""


class Agreement(Record):
    """How far two reviewers agree on the findings that both reviewed."""

    reviewers: tuple[str, str]
    findings: int
    agreed: int
    percent: float
    kappa: float | None
    """Cohen's kappa, 1 for full agreement, 0 for that of chance; None where it is not defined."""
    interval: tuple[float, float] | None
    """95 % interval of kappa."""
    disputed: tuple[tuple[str, str], ...]
    """(run, finding) on which they differ."""


def new_review(
    finding: str, reviewer: str, verdict: Judgement, comment: str, report: str
) -> Review:
    """Return a review given now."""
    return Review(
        finding=finding,
        reviewer=reviewer,
        verdict=verdict,
        comment=comment.strip(),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        report=report,
    )


def add_review(run: Path, review: Review) -> None:
    """Append a review; on the disk when this returns. Raises `RunError` if the file is no plain file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(run / FILE, flags, 0o644)
    except OSError as error:
        raise RunError(f"{run / FILE} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        line = json.dumps(review.model_dump(), ensure_ascii=False).encode() + b"\n"
        written = os.write(handle, b"\n" * torn + line)
        if written != len(line) + torn:
            raise RunError(
                f"{run / FILE}: the review could not be written whole; is the disk full?"
            )
        os.fsync(handle)
    finally:
        os.close(handle)


def read_reviews(run: Path) -> list[Review]:
    """Return all reviews of a run in the order they were given; lines that are none are left out."""
    try:
        handle = os.open(run / FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return []
    with os.fdopen(handle, "rb") as file:
        content = file.read(LARGEST)
    found: list[Review] = []
    for line in content.split(b"\n"):
        try:
            found.append(Review.model_validate_json(line))
        except ValidationError:
            continue
    return found


def standing(reviews: Iterable[Review]) -> dict[tuple[str, str], Review]:
    """Return the review that counts, the last, by finding and reviewer."""
    return {(review.finding, review.reviewer): review for review in reviews}


def of_reviewer(reviews: Iterable[Review], reviewer: str) -> dict[str, Review]:
    """Return what one reviewer says, by finding."""
    return {f: review for (f, who), review in standing(reviews).items() if who == reviewer}


def visible(reviews: Iterable[Review], reviewer: str) -> list[Review]:
    """Return what a reviewer may see: all that counts on the findings that this reviewer has reviewed."""
    reviews = list(reviews)
    own = of_reviewer(reviews, reviewer)
    return [review for (finding, _), review in standing(reviews).items() if finding in own]


def agreements(runs: Mapping[str, Sequence[Review]]) -> list[Agreement]:
    """Return the agreement of every two reviewers who share findings, over runs by name."""
    said: dict[str, dict[tuple[str, str], Judgement]] = {}
    for run, reviews in runs.items():
        for (finding, who), review in standing(reviews).items():
            said.setdefault(who, {})[run, finding] = review.verdict
    return [
        agreement((first, second), said[first], said[second])
        for first, second in combinations(sorted(said), 2)
        if said[first].keys() & said[second].keys()
    ]


def agreement(
    reviewers: tuple[str, str],
    first: Mapping[tuple[str, str], Judgement],
    second: Mapping[tuple[str, str], Judgement],
) -> Agreement:
    """Compare two reviewers on what both reviewed.

    Source of the interval: Fleiss, Cohen and Everitt 1969, as statsmodels computes it.
    """
    shared = sorted(first.keys() & second.keys())
    pairs = [(first[each], second[each]) for each in shared]
    agreed = sum(a == b for a, b in pairs)
    kappa = cohen_kappa(pairs)
    return Agreement(
        reviewers=reviewers,
        findings=len(shared),
        agreed=agreed,
        percent=100 * agreed / len(shared),
        kappa=kappa,
        interval=None if kappa is None else kappa_interval(pairs),
        disputed=tuple(each for each in shared if first[each] != second[each]),
    )


def kappa_interval(pairs: Sequence[tuple[str, str]]) -> tuple[float, float] | None:
    """Return the 95 % interval of Cohen's kappa; None where it has no end."""
    table = [[pairs.count((a, b)) for b in JUDGEMENTS] for a in JUDGEMENTS]
    # Only here: they take half a second to load.
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa

    # With a handful of findings its z value divides by zero; only the interval is used.
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Any = cohens_kappa(table)
    low, high = float(found.kappa_low), float(found.kappa_upp)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def export_rows(
    runs: Mapping[str, Sequence[Review]], statuses: Mapping[tuple[str, str], str]
) -> list[dict[str, Any]]:
    """Return reviews as flat rows, with the computed status of each finding beside the person's verdict."""
    return [
        {"run": run, "status": statuses.get((run, review.finding)), **review.model_dump()}
        for run, reviews in runs.items()
        for review in reviews
    ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV in which a spreadsheet finds no formula."""
    names = ["run", "status", *Review.model_fields]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: cell(row[name]) for name in names})
    return text.getvalue()


def cell(value: Any) -> str:
    """Return a value that a spreadsheet takes for text."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def reviewer_name(given: str) -> str:
    """Return a name as it is kept; raise `RunError` for none."""
    name = one_line(given, 60)
    if not name:
        raise RunError("a reviewer needs a name; give one with --reviewer NAME")
    return name
