"""Registrations whose null hypothesis is true, by the thousand, through the real gates.

The subject is a table in which no edit has any effect, but every template reacts to every wording in
its own way (intraclass correlation 0.5), which is what makes prompts taken as independent lie. Each
run uses up its eight registrations, one by one, and counts as an error if any of them rejects.

Two measures: log-probabilities, where the test can reach its level, and answers counted as 0 or 1, a few a
template, whose sums often tie; ties count against a claim, so there the error rate lies below its level.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

from agent.case import Case
from agent.confirm import confirm
from agent.house_tools import propose_hypothesis
from agent.investigation import Investigation
from agent.opening import open_run
from agent.prediction import Prediction
from agent.registration import register
from tools.behaviour_table import BehaviourTable
from tools.black_box import BLACK_BOX
from tools.registry import ToolError
from tools.synthetic import SyntheticSubject
from tools.worker_client import InProcessWorker

REGISTRATIONS = 8
CLUSTERS = 12
Kind = Literal["nats", "rate"]
MEASURES: dict[Kind, dict[str, Any]] = {
    "nats": {"kind": "logprob_difference", "positive": ["I keep"], "negative": ["I leave"]},
    "rate": {"kind": "regex", "pattern": "keep"},
}
SIZES: dict[Kind, tuple[float, ...]] = {"nats": (3.0, 4.0, 6.0, 9.0, 15.0), "rate": (0.6, 0.9)}
"""Smallest effects to try: the first that has the power is registered."""
ITEMS: dict[Kind, int] = {"nats": 1, "rate": 4}
FAMILIES = ("wording", "format", "trigger")
THINGS = 60


def null_case(kind: Kind) -> Case:
    """Return a case about nothing: a question, a slot of eight levels that mean nothing."""
    templates = [
        f"{{mood}}On the {word} day, {question}" for word in ORDINALS for question in QUESTIONS
    ]
    levels = {name: [f"It is a {name} {noun}. " for noun in NOUNS] for name in MOODS}
    return Case.model_validate(
        {
            "name": "nothing",
            "behaviour": "nothing happens",
            "subject": {"model": "synthetic"},
            "measure": MEASURES[kind],
            "templates": [{"text": text} for text in templates],
            "slots": {
                "mood": {"levels": levels},
                "thing": {
                    "values": [f"{noun} number {k}" for noun in NOUNS for k in range(THINGS)]
                },
            },
            "limits": {"registrations": REGISTRATIONS},
        }
    )


ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
QUESTIONS = (
    "what do you do with {thing}?",
    "would {thing} stay on your shelf?",
    "is {thing} of any use to you now?",
    "please decide at last about {thing}.",
)
NOUNS = ("lamp", "chair", "table", "book", "stone")
MOODS = ("plain", "warm", "cold", "loud", "quiet", "bright", "dark", "slow", "quick")


def null_table(seed: int) -> BehaviourTable:
    """Return a subject without any effect, whose templates react to each wording in their own way."""
    return BehaviourTable.model_validate(
        {
            "reference": False,
            "behaviours": [{"match": "", "shown": ["I keep it."], "otherwise": ["I leave it."]}],
            "scatter": {"template_by_wording": 0.5, "seed": seed},
        }
    )


def null_run(kind: Kind, seed: int) -> tuple[bool, bool]:
    """Make one run of eight true-null registrations; return (any rejected, any supported)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        worker = InProcessWorker(SyntheticSubject(null_table(seed)), BLACK_BOX, path / "blobs")
        investigation = open_run(path, null_case(kind), worker, "null", seed)
        for family in FAMILIES:
            given = {"claim": "an effect", "family": family, "rivals": ["none"], "prior": 0.1}
            propose_hypothesis(investigation, given, None)
        for number in range(REGISTRATIONS):
            register_one(investigation, kind, number)
        verdicts = [
            confirm(investigation, [name])[name] for name in list(investigation.registrations)
        ]
        investigation.folder.close()
    rejected = any(verdict.p is not None and verdict.p <= verdict.threshold for verdict in verdicts)
    return rejected, any(verdict.status == "supported" for verdict in verdicts)


def register_one(investigation: Investigation, kind: Kind, number: int) -> None:
    """Register one true-null difference, with the smallest effect that the power allows."""
    for size in SIZES[kind]:
        try:
            register(investigation, [null_prediction(kind, number, size)])
        except ToolError as error:
            small = "power" in str(error) or "smallest effect" in str(error)
            if not small or size == SIZES[kind][-1]:
                raise
        else:
            return


def null_prediction(kind: Kind, number: int, size: float) -> Prediction:
    """Return the prediction that one meaningless level differs from another."""
    return Prediction.model_validate(
        {
            "hypothesis": "H1",
            "measure": MEASURES[kind],
            "treatment": {"name": "t", "edits": [level_edit(MOODS[number + 1])]},
            "control": {"name": "c", "edits": [level_edit(MOODS[0])]},
            "direction": "more" if number % 2 else "less",
            "smallest_effect": size,
            "clusters": CLUSTERS,
            "per_cluster": ITEMS[kind],
            "rivals": [{"name": "nothing", "predicts": [-0.1, 0.1]}],
        }
    )


def level_edit(level: str) -> dict[str, str]:
    """Return the edit that sets the meaningless factor."""
    return {"kind": "choose_level", "slot": "mood", "level": level}


def rejection_rates(kind: Kind, runs: int, processes: int) -> dict[str, Any]:
    """Return in how many runs anything was rejected, and anything supported."""
    with ProcessPoolExecutor(processes) as pool:
        outcomes = list(pool.map(partial(null_run, kind), range(runs), chunksize=20))
    return {
        "runs": runs,
        "registrations": REGISTRATIONS,
        "rejected": sum(rejected for rejected, _ in outcomes),
        "supported": sum(supported for _, supported in outcomes),
    }
