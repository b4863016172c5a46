"""What came out when an experiment was run again, beside what is recorded of it.

On the machine, libraries and code of the record nothing may differ: sampling noise belongs to the row.
Elsewhere sums are rounded otherwise, which can turn a close choice of a token. So there a text may differ
where that explains it (`agent.following` asks), a few where nobody can tell, and a number by a little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from agent.investigation import ExperimentEntry
from tools.blobs import BlobStore
from tools.boundary import Catalogue
from tools.experiment import Experiment
from tools.recorded_texts import FollowedText
from tools.registry import Record

SAME_TEXTS = 0.99
"""On another machine at least this share of outputs and numbers has to be the same, but for outputs that
rounding explains."""
NUMBER_TOLERANCE = 1e-3
"""Log-probabilities in nats, and other numbers, may differ by so much."""
LISTED = 10
SHOWN = 100
BLOB = re.compile(r"[0-9a-f]{64}")


class Differing(Record):
    """A place where what came out is not what is recorded."""

    place: str
    """Of an output: its arm, the id of its prompt, and which sample it is."""
    recorded: str
    came_out: str
    prompt: str | None = None
    followed: FollowedText | None = None
    """Whether the model could have said the recorded text; None where that was not asked."""

    def line(self) -> str:
        """Return one line for a terminal."""
        asked = f"; prompt {cut(self.prompt)}" if self.prompt is not None else ""
        text = f"{self.place}{asked}: recorded {cut(self.recorded)}, came out {cut(self.came_out)}"
        found = self.followed
        if found is None:
            return text
        if found.outcome != "impossible":
            why = (
                "rounding explains it" if found.outcome == "possible" else "too many close choices"
            )
            return f"{text}; {why}"
        over = f"recorded {found.recorded}" if found.recorded else "any token that leads on to it"
        return (
            f"{text}; IMPOSSIBLE: at token {found.token} the model prefers {found.preferred} over {over} "
            f"by {found.margin:.3g} nats"
        )


class Agreement(Record):
    """How an experiment that was run again compares with the stored one."""

    experiment: int
    tool: str
    purpose: str
    texts: int = 0
    texts_same: int = 0
    numbers: int = 0
    numbers_same: int = 0
    """Numbers within the tolerance."""
    same_models: bool
    same_error: bool = True
    same_raw: bool = True
    """Of a search, whether its raw data came out again, as far as texts and numbers have to."""
    registration: str | None = None
    same_verdict: bool | None = None
    """Whether the verdict computed from the new data has the same status; None where there is none."""
    differing: tuple[str, ...] = ()
    """The first places that differ."""
    elsewhere: tuple[str, ...] = ()
    """What is not as it was where the experiment was recorded. Empty: nothing may differ."""
    shown: tuple[Differing, ...] = ()
    """The differing outputs that were looked into, impossible ones first; without outputs the first place."""
    explained: int = 0
    """Differing outputs that rounding explains."""
    judged_again: bool = False
    """Judges may answer otherwise the second time, so scores need not all be the same."""
    impossible: int = 0
    """Recorded outputs that the model cannot have said, on any machine."""

    def line(self) -> str:
        """Return one line for a terminal."""
        parts = [
            f"{self.texts_same} of {self.texts} texts and {self.numbers_same} of {self.numbers} numbers the same"
        ]
        parts += [] if self.same_models else ["OTHER WEIGHTS"]
        parts += [] if self.same_error else ["one failed, the other did not"]
        parts += [] if self.same_raw else ["OTHER RAW DATA"]
        parts += [f"{self.impossible} recorded texts IMPOSSIBLE"] if self.impossible else []
        parts += [f"{self.explained} differ by rounding"] if self.explained else []
        if self.registration is not None:
            parts.append(
                f"{self.registration} {'same' if self.same_verdict else 'ANOTHER'} verdict"
            )
        parts += [f"first difference at {self.differing[0]}"] if self.differing else []
        parts += [] if self.agrees else ["DOES NOT AGREE"]
        return f"exp:{self.experiment} {self.tool} ({self.purpose}): {', '.join(parts)}"

    def lines(self) -> list[str]:
        """Return the line, and one for the difference that says most."""
        return [self.line(), *(f"    {each.line()}" for each in self.shown[:1])]

    @property
    def identical(self) -> bool:
        """Say whether nothing at all differs: to be expected on one machine, code and weights."""
        return self.agrees and not self.differing

    @property
    def agrees(self) -> bool:
        """Say whether nothing differs, or, elsewhere, no more than the tolerance allows."""
        if not (self.same_models and self.same_error and self.same_raw):
            return False
        if self.same_verdict is False:
            return False
        exact = not self.elsewhere
        if exact and self.texts_same < self.texts:
            return False
        if exact and not self.judged_again:
            return self.numbers_same == self.numbers
        return (
            not self.impossible
            and enough(self.texts_same + self.explained, self.texts)
            and enough(self.numbers_same, self.numbers)
        )


def enough(same: int, count: int) -> bool:
    """Say whether so many are the same as another machine has to give."""
    return same >= SAME_TEXTS * count


def cut(text: str) -> str:
    """Return a text in quotation marks, its middle left out where it is long."""
    half = SHOWN // 2
    return repr(text if len(text) <= SHOWN else f"{text[:half]} ... {text[-half:]}")


def unlike(then: Catalogue, now: Catalogue) -> tuple[str, ...]:
    """Return what decides how numbers are rounded and is not as it was; empty on the machine of the record."""
    found = [] if then.code == now.code else ["other code of the tools"]
    if not then.machine or not now.machine:
        return (*found, "nobody knows on which machine it was recorded")
    names = list(dict.fromkeys([*then.machine, *now.machine]))
    for name in names:
        was, here = (each.machine.get(name, "none") for each in (then, now))
        if was != here:
            found.append(f"{name} {was}, here {here}")
    return tuple(found)


def compare(
    blobs: BlobStore,
    entry: ExperimentEntry,
    stored: Experiment,
    done: Experiment,
    elsewhere: tuple[str, ...],
) -> Agreement:
    """Compare what was observed, then and now."""
    differing: list[tuple[str, Any, Any]] = []
    outputs = differing_outputs(blobs, stored, done)
    moved = {(each.arm, each.row["id"], each.sample) for each in outputs}
    texts, numbers = counted(
        observed(blobs, stored, moved), observed(blobs, done, moved), differing
    )
    # Beside a grid of thousands a handful of numbers that were told would not count: it stands apart.
    raw = counted(grid_behind(blobs, stored), grid_behind(blobs, done), differing, "/raw")
    shown = [
        Differing(place=place, recorded=str(then), came_out=str(now))
        for place, then, now in differing[:1]
    ]
    return Agreement(
        experiment=entry.number,
        tool=entry.tool,
        purpose=entry.purpose,
        texts=texts[0],
        texts_same=texts[1],
        numbers=numbers[0],
        numbers_same=numbers[1],
        same_models=stored.models == done.models,
        same_error=(stored.error is None) == (done.error is None),
        same_raw=all(enough(same, count) if elsewhere else same == count for count, same in raw),
        differing=tuple(place for place, _, _ in differing),
        elsewhere=elsewhere,
        shown=tuple(each.told() for each in outputs[:1]) or tuple(shown),
    )


class Output(Record):
    """A sampled output that differs."""

    arm: str
    row: Mapping[str, Any]
    """The raw row as it came out."""
    sample: int
    recorded: str
    came_out: str

    def told(self, followed: FollowedText | None = None) -> Differing:
        """Return it as a reader sees it."""
        prompt = self.row["prompt"]
        words = "\n".join([*(turn["content"] for turn in prompt["messages"]), prompt["prefill"]])
        return Differing(
            place=f"{self.arm}, {self.row['id']}, sample {self.sample + 1}",
            prompt=words.strip(),
            recorded=self.recorded,
            came_out=self.came_out,
            followed=followed,
        )


def differing_outputs(blobs: BlobStore, stored: Experiment, done: Experiment) -> list[Output]:
    """Return the sampled outputs that are not what is recorded for the same prompt, arm and sample."""
    then, now = (raw_of(blobs, each).get("arms") or {} for each in (stored, done))
    return [
        Output(arm=arm, row=row, sample=sample, recorded=old, came_out=new)
        for arm in then
        for was, row in zip(then[arm], now.get(arm, ()), strict=False)
        if was["id"] == row["id"]
        for sample, (old, new) in enumerate(
            zip(was.get("outputs") or (), row.get("outputs") or (), strict=False)
        )
        if old != new
    ]


def counted(
    then: Any, now: Any, differing: list[tuple[str, Any, Any]], path: str = ""
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how many texts there are and how many are the same, and so for numbers; list what differs first."""
    texts, numbers = [0, 0], [0, 0]
    for place, old, new in paired(then, now, path):
        is_number = isinstance(old, int | float) and isinstance(new, int | float)
        same = abs(old - new) <= NUMBER_TOLERANCE if is_number else old == new
        counts = numbers if is_number else texts
        counts[0] += 1
        counts[1] += same
        if not same and len(differing) < LISTED:
            differing.append((place, old, new))
    return (texts[0], texts[1]), (numbers[0], numbers[1])


def observed(
    blobs: BlobStore, done: Experiment, moved: Collection[tuple[str, str, int]] = ()
) -> Any:
    """Return what the model contributed: outputs and scores of every row, else the whole result.

    An output that has `moved` has no score here: a difference counts once.
    """
    if done.result is None:
        return None
    table = raw_of(blobs, done).get("arms")
    if table is None:
        return done.result

    def scores(name: str, row: Mapping[str, Any]) -> list[Any]:
        return [
            None if (name, row["id"], sample) in moved else score
            for sample, score in enumerate(row.get("scores") or ())
        ]

    return {
        name: {
            row["id"]: [row.get("outputs"), row.get("logprobs"), scores(name, row)] for row in rows
        }
        for name, rows in table.items()
    }


def grid_behind(blobs: BlobStore, done: Experiment) -> Any:
    """Return the raw data of a search, from which its map is drawn; None for what has arms."""
    raw = raw_of(blobs, done)
    return None if "arms" in raw else raw


def raw_of(blobs: BlobStore, done: Experiment) -> dict[str, Any]:
    """Return the raw data of an experiment; empty where it has none, or another kind of blob."""
    raw = (done.result or {}).get("raw")
    try:
        value: Any = json.loads(blobs.get(raw)) if isinstance(raw, str) else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def paired(then: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of two JSON values side by side; a missing one is None."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(set(then) | set(now)):
            yield from paired(then.get(key), now.get(key), f"{path}/{key}")
    elif isinstance(then, list) and isinstance(now, list):
        for place in range(max(len(then), len(now))):
            left = then[place] if place < len(then) else None
            right = now[place] if place < len(now) else None
            yield from paired(left, right, f"{path}/{place}")
    elif not (then is None and now is None) and not (is_blob(then) and is_blob(now)):
        yield path, then, now


def is_blob(value: Any) -> bool:
    """Say whether a leaf names a blob: tensors may differ in the last bit, and so their names."""
    return isinstance(value, str) and BLOB.fullmatch(value) is not None
