"""An investigation from a notebook: a person is the investigator, with the same ledger and the same gates.

Exploration is free: any tool, any prompts, as often as you like. What counts is strict: a prediction is
registered before its data and confirmed on prompts that nobody has seen, and the verdict is computed.

    run = Notebook.open("evals/cases/number_comparison.toml", seed=1)
    run.experiment("sample_responses", items=["Which is bigger, 9.11 or 9.8?"])
    run.propose("version numbers do it", "context and priority", ["order"], prior=0.3)
    run.register({"hypothesis": "H1", ...})
    run.confirm("P1")
    run.submit("factor", ["context"], confidence=0.8)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agent.case import Case
from agent.doors.handed_in import HandedIn
from agent.house_tools import HOUSE_TOOLS
from agent.investigation import Investigation, Transcript
from agent.opening import opened_event
from agent.prediction import Prediction
from agent.rendering import html_pages
from agent.run_folder import RunError, RunFolder
from agent.safe_text import safe_text
from agent.session import (
    Models,
    Opening,
    changed_case,
    new_run_path,
    open_again,
    open_new,
    tool_files,
)
from agent.templates import shown
from tools.registry import ToolError

if TYPE_CHECKING:
    import pandas

SHOWN_CHARACTERS = 6000


class Outcome(dict[str, Any]):
    """What a call came to; in a notebook it shows itself as text, harmless whatever the subject said."""

    def __init__(self, call: str, result: Mapping[str, Any]) -> None:
        super().__init__(result)
        self.call = call

    @property
    def experiment(self) -> int | None:
        """The number of the experiment, for `Notebook.frame`."""
        name = self.get("experiment")
        return int(name.removeprefix("exp:")) if isinstance(name, str) else None

    def _repr_html_(self) -> str:
        page = html_pages().get_template("outcome.html.j2")
        return page.render(call=self.call, lines=lines_of(self))


def lines_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields of a result as text, cut to what one reads."""
    return [(name, shown(value)[:SHOWN_CHARACTERS]) for name, value in result.items()]


class Notebook:
    """One run and the worker behind it. Made by `Notebook.open` or `Notebook.resume`, ended by `submit`."""

    def __init__(self, desk: HandedIn, path: Path) -> None:
        self.desk, self.path = desk, path
        self.wait()

    @classmethod
    def open(
        cls,
        case: str | Path | Case,
        *,
        subject: str | None = None,
        reference: str | None = None,
        adapter: str | None = None,
        path: str | Path | None = None,
        seed: int = 0,
        tools: Sequence[str | Path] = (),
    ) -> Self:
        """Open a new run, take step 0 and the screens; the other arguments are those of `investigate`.

        `path` is the run's folder, by default a new one in `runs`. Raises `CaseError`, `ToolError`,
        `RunError` and `WorkerRefused`, each in one line.
        """
        if not isinstance(case, Case):
            models = Models(subject=subject, reference=reference, adapter=adapter)
            case = changed_case(Path(case), models, {})
        elif (subject, reference, adapter) != (None, None, None):
            raise ToolError("a Case has its models; changes go with the path of a case")
        folder = Path(path) if path is not None else new_run_path(Path("runs"), case.name)
        opening = Opening(seed=seed, tools=tool_files([Path(each) for each in tools]))
        desk = HandedIn("notebook")
        wanted = case
        desk.start(lambda: open_new(folder, wanted, desk.name, opening))
        return cls(desk, folder)

    @classmethod
    def resume(cls, path: str | Path) -> Self:
        """Go on with a run of a notebook that was left anywhere; raises `RunError` for another's run."""
        folder = Path(path)
        who = opened_event(RunFolder(folder))["investigator"]
        if who != "notebook":
            raise RunError(f"{folder}: its investigator is {who!r}, not a notebook")

        desk = HandedIn("notebook")
        desk.start(lambda: open_again(folder))
        return cls(desk, folder)

    def wait(self) -> None:
        """Wait until the loop is free; an interrupt gives up an exploration, a fault is raised here."""
        try:
            self.desk.wait()
        except KeyboardInterrupt:
            if self.desk.cancel():
                self.desk.wait()
            raise
        if self.desk.fault is not None:
            raise self.desk.fault

    def call(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """Call a tool by name; raises `ToolError` with what to change when it was a mistake."""
        self.desk.hand_in(name, dict(arguments))
        self.wait()
        last = self.desk.last()
        assert last is not None
        for notice in self.desk.shown.notices if self.desk.shown else ():
            print(safe_text(notice))  # noqa: T201
        if last.error is not None:
            raise ToolError(*last.error.splitlines())
        return Outcome(name, last.result or {})

    def experiment(self, tool: str, /, **arguments: Any) -> Outcome:
        """Run a science tool, exploratory; {"draw": {"templates": 12, "per_template": 2}} draws prompts."""
        if tool in {each.name for each in HOUSE_TOOLS}:
            raise ToolError(f"{tool} is no experiment; it has a method of its own")
        return self.call(tool, arguments)

    def propose(
        self, claim: str, family: str, rivals: Sequence[str], *, prior: float = 0.5
    ) -> Outcome:
        """Write down a hypothesis; the outcome has its `id`."""
        return self.call(
            "propose_hypothesis",
            {"claim": claim, "family": family, "rivals": list(rivals), "prior": prior},
        )

    def register(self, *predictions: Prediction | Mapping[str, Any]) -> Outcome:
        """Register predictions before their data; those of one call are decided together."""
        given = [
            each.model_dump(mode="json", exclude_unset=True)
            if isinstance(each, Prediction)
            else dict(each)
            for each in predictions
        ]
        return self.call("register_predictions", {"predictions": given})

    def confirm(self, *registrations: str) -> Outcome:
        """Test registered predictions on unseen prompts; the verdicts are computed."""
        return self.call("confirm", {"registrations": list(registrations)})

    def note(self, text: str) -> Outcome:
        """Keep an observation for the report, as exploratory."""
        return self.call("note", {"text": text})

    def submit(
        self,
        kind: str,
        value: Sequence[str] = (),
        *,
        confidence: float = 0.5,
        guesses: Sequence[str] = (),
        summary: str = "",
        interpretations: Mapping[str, str] | None = None,
    ) -> Path:
        """End the investigation; return the page of its report."""
        answer = {
            "kind": kind,
            "value": list(value),
            "confidence": confidence,
            "guesses": list(guesses),
        }
        given = {
            "answer": answer,
            "summary": summary,
            "interpretations": dict(interpretations or {}),
        }
        self.call("submit_report", given)
        return self.path / "report" / "report.html"

    @property
    def investigation(self) -> Investigation:
        """The state of the run, to read."""
        assert self.desk.investigation is not None
        return self.desk.investigation

    @property
    def briefing(self) -> dict[str, Any]:
        """What an investigator is told: the case, the prompts to explore with, step 0, the screens, the tools."""
        told = self.desk.shown
        if not isinstance(told, Transcript):
            raise RunError(f"{self.path}: the investigation is over")
        return told.briefing

    def frame(self, experiment: int | Outcome | None = None) -> pandas.DataFrame:
        """Return outputs with their scores, one a row: of one experiment, or of all that may be seen.

        The prompts of confirmations are left out until the report is submitted.
        """
        from agent.doors.item_frames import items_frame

        number = experiment.experiment if isinstance(experiment, Outcome) else experiment
        found = items_frame(self.investigation)
        wanted = found["experiment"] == number if number is not None else found["experiment"] > 0
        if self.investigation.submission is None:
            wanted &= found["purpose"] != "confirmation"
        return found.loc[wanted]

    def close(self) -> None:
        """Leave the run as it is; `Notebook.resume` goes on with it."""
        self.desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        run = self.investigation
        rows = [
            (
                name,
                run.hypotheses[each.prediction.hypothesis].claim
                if each.prediction.hypothesis in run.hypotheses
                else "",
                run.verdicts[name].status if name in run.verdicts else "not confirmed yet",
            )
            for name, each in run.registrations.items()
        ]
        page = html_pages().get_template("notebook.html.j2")
        return page.render(run=run, name=self.path.name, rows=rows)
