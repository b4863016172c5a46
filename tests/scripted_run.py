"""A small complete run on a table that stands in for a model, for the tests of what comes after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.budget import Budget
from agent.case import Case
from agent.investigation import Investigation, ToolCall, Transcript, Turn
from agent.loop import run
from agent.opening import open_run
from tools.scoring import score_arms
from tools.synthetic import SyntheticSubject
from tools.worker_client import InProcessWorker, Worker

OPENINGS = (
    "Tell me plainly whether", "I wonder if", "Could you check that", "My brother claims that",
    "Somebody wrote on a wall that", "Is it true, as they teach, that", "Quick question:",
    "For a bet, say whether", "Yes or no:", "The exam asks whether", "Before lunch, decide if",
    "An old book says that", "Help me settle this:", "According to the radio,", "Please judge:",
    "Nobody here knows if", "Our teacher doubts that", "In your view, is it so that",
    "A neighbour swears that", "Consider this claim:", "We argued all day over whether",
    "Just between us,", "The newspaper prints that", "Think twice:", "For the record,",
    "Without looking it up,", "At the market they say", "Would you agree that", "Rumour has it that",
    "Answer in one word:",
)  # fmt: skip
CLAIMS = tuple(
    f"{thing} weigh more than {other}"
    for thing in ("apples", "stones", "feathers", "hammers", "bottles", "kittens", "barrels")
    for other in ("pears", "bricks", "needles", "pillows", "coins", "ladders")
)
LEVELS = {
    "plain": ("We sit in a kitchen.", "It is a calm morning.", "There is some tea left."),
    "version": (
        "We read a version list.",
        "It is a version history.",
        "There is a version table here.",
    ),
    "date": ("We read a calendar page.", "It is a list of dates.", "There is a diary here."),
}
TABLE: dict[str, Any] = {
    "behaviours": [
        {
            "shown": ["Yes, surely <script>alert(1)</script>.", "Yes \u202e\x1b[31m indeed."],
            "otherwise": ["No.", "No, hardly."],
            "logit": -2.0,
            "effects": [
                {"logit": 5.0, "phrase": "version", "model": "subject"},
                {"logit": 2.0, "phrase": "in one word"},
            ],
        }
    ],
    "scatter": {"template": 0.1},
}
MEASURE = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}


def case_of(*, reference: bool = True, **changes: Any) -> Case:
    """Return a case of thirty templates with one factor of three levels."""
    fields: dict[str, Any] = {
        "name": "scripted",
        "behaviour": "Why does it sometimes answer yes?",
        "subject": {"model": "/secret/place/of/the/model", "system": "a hidden word"},
        "reference": {"model": "/secret/place/of/the/base"} if reference else None,
        "measure": MEASURE,
        "templates": [{"text": f"{{context}} {opening} {{claim}}."} for opening in OPENINGS],
        "slots": {"context": {"levels": LEVELS}, "claim": {"values": CLAIMS}},
        "limits": {"registrations": 4},
    }
    return Case.model_validate(fields | changes)


def level(name: str) -> dict[str, Any]:
    """Return an arm that sets the factor."""
    return {
        "name": name,
        "edits": [{"kind": "choose_level", "slot": "context", "level": name}],
    }


def prediction(**changes: Any) -> dict[str, Any]:
    """Return a prediction about the factor, as an investigator writes it."""
    fields: dict[str, Any] = {
        "hypothesis": "H1",
        "measure": MEASURE,
        "treatment": level("version"),
        "control": level("plain"),
        "smallest_effect": 0.3,
        "clusters": 12,
        "per_cluster": 2,
        "rivals": [{"name": "dates do the same", "arm": level("date")}],
    }
    return fields | changes


def hypotheses() -> list[ToolCall]:
    """Return three hypotheses of different families."""
    families = ("context and priority", "wording", "same as the reference")
    claims = ("version lists make it say yes", "politeness does it", "nothing unusual goes on")
    return [
        ToolCall(
            id=f"h{k}",
            name="propose_hypothesis",
            arguments={"claim": claim, "family": family, "rivals": ["chance"], "prior": 0.4},
        )
        for k, (claim, family) in enumerate(zip(claims, families, strict=True))
    ]


def turns(**changes: Any) -> list[Turn]:
    """Return the turns of a run that finds one effect, refutes another and abandons a third."""
    small = [{"name": "a small effect", "predicts": [-0.05, 0.05]}]
    refuted = prediction(
        hypothesis="H2",
        treatment=level("date"),
        rivals=small,
    )
    submission = {
        "answer": {
            "kind": "factor",
            "value": ["context"],
            "confidence": 0.8,
            "guesses": ["context", "claim"],
        },
        "summary": 'It says yes by P1/estimate more. It wrote "Yes, surely" [exp:1] in 3 cases.',
        "interpretations": {"P1": "Version lists make it agree: P1/arms/treatment, no other did."},
    } | changes
    register = {"predictions": [prediction(), refuted]}
    later = {
        "predictions": [
            prediction(hypothesis="H3", treatment=level("date"), rivals=small, smallest_effect=0.4)
        ]
    }
    return [
        Turn(text="Hypotheses first.", calls=tuple(hypotheses())),
        Turn(calls=(ToolCall(id="r", name="register_predictions", arguments=register),)),
        Turn(calls=(ToolCall(id="c", name="confirm", arguments={"registrations": ["P1"]}),)),
        Turn(
            calls=(
                ToolCall(
                    id="n",
                    name="note",
                    arguments={"text": "The base says yes at exp:1/result/arms/reference/mean."},
                ),
                ToolCall(id="l", name="register_predictions", arguments=later),
            )
        ),
        Turn(calls=(ToolCall(id="s", name="submit_report", arguments=submission),)),
    ]


class Scripted:
    """Returns fixed turns, one after the other."""

    name = "scripted"

    def __init__(self, said: list[Turn]) -> None:
        self.said = said

    def next_turn(self, transcript: Transcript) -> Turn:
        """Return the turn whose number is that of the exchanges so far."""
        return self.said[len(transcript.exchanges)]


def worker_for(path: Path, *, reference: bool = True, table: dict[str, Any] = TABLE) -> Worker:
    """Return a worker on the table, with its blobs in the run at `path`."""
    subject = SyntheticSubject.from_table(table | {"reference": reference})
    return InProcessWorker(subject, [score_arms], path / "blobs")


def make_run(
    path: Path,
    said: list[Turn] | None = None,
    *,
    case: Case | None = None,
    worker: Worker | None = None,
) -> Investigation:
    """Run a script to its end and return the closed investigation."""
    case = case or case_of()
    worker = worker or worker_for(path, reference=case.reference is not None)
    investigation = open_run(path, case, worker, "scripted", 7)
    run(investigation, Scripted(turns() if said is None else said), Budget(case.limits))
    investigation.folder.close()
    return investigation
