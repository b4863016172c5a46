"""A run played again from its log, without a model: the same loop, the recorded turns and experiments.

Everything that the harness decided has to come out again as it stands in the log: step 0, what was
registered with which alpha and power, which prompts were drawn, which arguments an experiment had,
every verdict. Only what came from outside is taken from the log: what the investigator said, what
the model put out, and the clock.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from agent.budget import Budget
from agent.case import Limits
from agent.investigation import ExperimentEntry, Investigation, Transcript, Turn
from agent.loop import run
from agent.rerun import replicate
from agent.run_folder import GENESIS, Event, RunFolder, redact
from tools.boundary import Catalogue
from tools.experiment import Experiment, canonical_json
from tools.judging import Judge
from tools.prompt import Template

CHECKED = frozenset(
    name.removeprefix("_apply_") for name in dir(Investigation) if name.startswith("_apply_")
) - {"clock"} | {"replication"}
"""The kinds of event that change a run's state: each has to come out again."""
SAME_DIGITS = 1e-10
NEAR_ZERO = 1e-15


class EndOfLog(Exception):
    """The log ends here: the run was stopped, or has not ended yet."""


class Diverged(Exception):
    """From here on the log is not what the harness would have written."""


class ReplayFolder(RunFolder):
    """Stands where the run's folder stood: what is appended is compared with what the log holds."""

    def __init__(self, recorded: RunFolder) -> None:
        self.path, self.log, self.blobs = recorded.path, recorded.log, recorded.blobs
        self.recorded = recorded.events
        self.events = list(recorded.events[:1])
        self.place = 1
        self.faults: list[tuple[int, str]] = []
        """(place in the log, what is wrong there)"""

    def upcoming(self) -> Event | None:
        """Return the next event that has to come out again."""
        rest = self.recorded[self.place :]
        return next((event for event in rest if event.type in CHECKED), None)

    def catalogue(self) -> Catalogue:
        """Return the catalogue of the session that the next event was written in."""
        upcoming = self.upcoming()
        end = upcoming.seq if upcoming else len(self.recorded)
        sessions = [e for e in self.recorded[:end] if e.type in ("run_opened", "run_resumed")]
        return Catalogue.model_validate(sessions[-1].data["catalogue"])

    def append(self, kind: str, data: dict[str, Any], *, sync: bool = False) -> Event:
        """Compare an event with the log and return the recorded one."""
        if kind == "clock":
            return self.clock() or self.told(kind, data)
        if kind not in CHECKED:
            return self.told(kind, data)
        recorded = self.upcoming()
        if recorded is None:
            raise EndOfLog
        if recorded.type != kind:
            self.diverge(
                recorded.seq, f"the log has {recorded.type!r} where {kind!r} had to follow"
            )
        found = first_difference(recorded.data, redact(data))
        if found is not None:
            self.faults.append((recorded.seq, f"{kind}: {found}"))
        self.events.append(recorded)
        self.place = recorded.seq + 1
        return recorded

    def clock(self) -> Event | None:
        """Return the recorded clock of the next turn: what was left of the minutes decided what was refused.

        A run that was killed just before the turn has an earlier one as well.
        """
        rest = itertools.takewhile(lambda event: event.type != "turn", self.recorded[self.place :])
        clocks = [event for event in rest if event.type == "clock"]
        return clocks[-1] if clocks else None

    def told(self, kind: str, data: dict[str, Any]) -> Event:
        """Return an event that the log need not hold."""
        return Event(seq=self.place, type=kind, data=data, prev=GENESIS)

    def diverge(self, place: int, what: str) -> NoReturn:
        """Note a fault after which nothing can be compared any more."""
        self.faults.append((place, what))
        raise Diverged(what)

    def put_json(self, value: object) -> str:
        """Return the reference that a value would get; nothing is written."""
        return hashlib.sha256(canonical_json(value).encode()).hexdigest()

    def close(self) -> None:
        """Nothing is open."""


class RecordedWorker:
    """Stands where the worker stood: the experiments of the log, found by what was asked."""

    def __init__(self, folder: ReplayFolder, stored: Mapping[int, Experiment]) -> None:
        self.folder, self.stored = folder, stored
        self.judge: Judge | None = None
        self.by_question = {
            question(each.tool, each.arguments, each.seed): each for each in stored.values()
        }

    @property
    def catalogue(self) -> Catalogue:
        """What could be called then."""
        return self.folder.catalogue()

    def call(
        self, tool: str, arguments: Mapping[str, Any], seed: int, *, deadline_s: float = 0.0
    ) -> Experiment:
        """Return the recorded experiment; without one the run has diverged from its log."""
        found = self.by_question.get(question(tool, arguments, seed))
        if found is not None:
            return found
        recorded = self.folder.upcoming()
        if recorded is None:
            raise EndOfLog
        if recorded.type != "experiment":
            self.folder.diverge(
                recorded.seq,
                f"the log has {recorded.type!r} where an experiment with {tool} had to follow",
            )
        other = self.stored.get(ExperimentEntry.model_validate(recorded.data).number)
        asked = {"tool": tool, "arguments": dict(arguments), "seed": seed}
        known = (
            other.model_dump(mode="json", include={"tool", "arguments", "seed"}) if other else {}
        )
        return self.folder.diverge(
            recorded.seq, f"experiment: {first_difference(known, asked)} (recorded, recomputed)"
        )

    def close(self) -> None:
        """Nothing to stop."""


class RecordedInvestigator:
    """Stands where the investigator stood: its recorded turns."""

    def __init__(self, folder: ReplayFolder, name: str) -> None:
        self.folder, self.name = folder, name

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the next recorded turn."""
        upcoming = self.folder.upcoming()
        if upcoming is None:
            raise EndOfLog
        if upcoming.type != "turn":
            self.folder.diverge(
                upcoming.seq, f"the log has {upcoming.type!r} where a turn had to follow"
            )
        return Turn.model_validate(upcoming.data)


class RecordedWriter:
    """Stands where the writer stood: what it gave, round by round."""

    def __init__(self, folder: ReplayFolder) -> None:
        self.rounds = [event.data for event in folder.recorded if event.type == "written"]

    def write(self, view: dict[str, Any], count: int) -> tuple[list[Template], None]:
        """Return the prompts of the next round, those that were not taken too."""
        if not self.rounds:
            raise EndOfLog
        return [Template.model_validate(each) for each in self.rounds.pop(0)["templates"]], None


class RecordedBudget(Budget):
    """Stands where the budget stood: it was used up where the log says so, since clocks differ."""

    def __init__(self, folder: ReplayFolder, limits: Limits) -> None:
        super().__init__(limits, clock=lambda: 0.0)
        self.folder = folder
        ended = [event.data["reason"] for event in folder.recorded if event.type == "run_ended"]
        self.ended: str = ended[-1] if ended else ""

    def exhausted(self, investigation: Investigation) -> str | None:
        """Return the limit before the last turn, if the log says that one was reached."""
        rest = self.folder.recorded[self.folder.place :]
        upcoming = self.folder.upcoming()
        if upcoming is not None and upcoming.type in ("rested", "replied"):
            return upcoming.data["why"].partition("budget used up: ")[2] or None
        turns = [event for event in rest if event.type == "turn"]
        if len(turns) != 1:
            return None
        if self.ended.startswith("budget used up: "):
            return self.ended.removeprefix("budget used up: ")
        refused = any(
            "budget is used up" in (event.data.get("error") or "")
            for event in rest
            if event.type == "call_result"
        )
        return "minutes" if refused else None

    def warning(self, investigation: Investigation) -> str | None:
        """Return nothing: nobody reads it."""
        return None


def replay(recorded: RunFolder, stored: Mapping[int, Experiment]) -> list[tuple[int, str]]:
    """Play a run again; return every place where the log differs from what comes out.

    `stored` holds the experiments of the log by number.
    """
    folder = ReplayFolder(recorded)
    investigation = Investigation(folder, RecordedWorker(folder, stored))
    investigation.writer = RecordedWriter(folder)
    sceptic = investigation.roles.get("sceptic")
    try:
        run(
            investigation,
            RecordedInvestigator(folder, investigation.investigator),
            RecordedBudget(folder, investigation.case.limits),
            RecordedInvestigator(folder, sceptic) if sceptic else None,
        )
        while (name := next_replication(folder)) is not None:
            replicate(investigation, name)
    except (EndOfLog, Diverged):
        return folder.faults
    left = folder.upcoming()
    if left is not None:
        folder.faults.append((left.seq, f"the log has {left.type!r} after its run had ended"))
    return folder.faults


def next_replication(folder: ReplayFolder) -> str | None:
    """Return the registration whose replication the log holds next, or None."""
    rest = folder.recorded[folder.place :]
    return next((e.data["registration"] for e in rest if e.type == "replication"), None)


def question(tool: str, arguments: Mapping[str, Any], seed: int) -> str:
    """Return the mark of what was asked, whatever model and code answered."""
    return hashlib.sha256(canonical_json([tool, dict(arguments), seed]).encode()).hexdigest()


def first_difference(left: Any, right: Any, path: str = "") -> str | None:
    """Return where two JSON values differ first, and how; numbers agree to ten significant digits."""
    if left == right:
        return None
    if isinstance(left, tuple | list) and isinstance(right, tuple | list):
        if len(left) != len(right):
            return f"{path or '/'}: {len(left)} entries, {len(right)} recomputed"
        pairs = [(str(k), left[k], right[k]) for k in range(len(left))]
    elif isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            odd = sorted(set(left) ^ set(right))[0]
            return f"{path}/{odd}: only {'in the log' if odd in left else 'recomputed'}"
        pairs = [(key, left[key], right[key]) for key in sorted(left)]
    else:
        return None if same(left, right) else f"{path}: {brief(left)}, recomputed {brief(right)}"
    found = (first_difference(a, b, f"{path}/{key}") for key, a, b in pairs)
    return next((each for each in found if each is not None), None)


def same(left: Any, right: Any) -> bool:
    """Say whether two leaves are the same; a boolean is no number."""
    numbers = int | float
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, numbers) and isinstance(right, numbers):
        return math.isclose(left, right, rel_tol=SAME_DIGITS, abs_tol=NEAR_ZERO)
    return type(left) is type(right) and left == right


def brief(value: Any) -> str:
    """Return a value cut short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
