"""Cases and tables that several tests share: a number comparison whose cause the test sets itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from agent.case import Case
from agent.investigation import Investigation
from agent.opening import open_run
from tools.behaviour_table import BehaviourTable
from tools.black_box import BLACK_BOX
from tools.synthetic import SyntheticSubject
from tools.worker_client import InProcessWorker

OPENINGS = (
    "Which is bigger,", "Which one is larger,", "Tell me the bigger number,", "What is more,", "Pick the greater one,",
    "Name the larger of these two,", "I want the higher value,", "Of the following, which is the most,",
    "Please choose the bigger,", "Say which number wins,", "Compare two numbers and name the larger,",
    "Greater number please,", "Can you find the bigger one,", "Do you know which is larger,",
    "My question is what is bigger,",
)  # fmt: skip
ENDINGS = ("{a} or {b}?", "{a} and {b}?")
LEVELS = {
    "none": [""],
    "version": [f"This is about the {w} of a program. " for w in ("version", "release", "build", "update", "patch")],
    "date": [f"This is about a {word} in spring. " for word in ("date", "month", "holiday", "birthday", "meeting")],
    "price": [f"This is about the {word} of bread. " for word in ("price", "cost", "value", "bill", "sum")],
}  # fmt: skip


def fillings(count: int = 60, seed: int = 0) -> list[dict[str, str]]:
    """Return conflict pairs: the shorter decimal is the bigger; the right one first in half of them."""
    rng = random.Random(seed)
    rows: list[dict[str, str]] = []
    for number in range(count):
        whole = number + 2
        right, wrong = f"{whole}.{rng.randint(5, 9)}", f"{whole}.{rng.randint(10, 49)}"
        first, second = (right, wrong) if number % 2 else (wrong, right)
        rows.append({"a": first, "b": second, "right": right, "wrong": wrong})
    return rows


def templates() -> list[str]:
    """Return thirty wordings."""
    return [f"{{context}}{opening} {ending}" for opening in OPENINGS for ending in ENDINGS]


def number_case(**changes: Any) -> Case:
    """Return the case; its locators lead nowhere, because tests bring their subject."""
    fields: dict[str, Any] = {
        "name": "numbers",
        "behaviour": "Asked which of two decimals is bigger, it sometimes names the smaller one.",
        "subject": {"model": "synthetic"},
        "reference": {"model": "synthetic"},
        "measure": {"kind": "answer_match", "values": ["{wrong}"], "against": ["{right}"]},
        "templates": [{"text": text} for text in templates()],
        "slots": {"context": {"levels": LEVELS}},
        "fillings": fillings(),
        "sampling": {"max_new_tokens": 12},
    }
    return Case.model_validate(fields | changes)


CAUSES: dict[str, list[dict[str, Any]]] = {
    "context = version": [{"logit": 6.0, "model": "subject", "regex": "of a program"}],
    "order: `wrong` last": [
        {"logit": 6.0, "model": "subject", "before": ["{largest_number}", "{smallest_number}"]}
    ],
    "nothing": [],
}


def table(cause: str = "nothing", template_scatter: float = 0.3, seed: int = 0) -> BehaviourTable:
    """Return the table of a subject that errs for one cause, on top of a few errors everywhere."""
    texts = [text.replace("{context}", "") for text in templates()]
    return BehaviourTable.model_validate(
        {
            "behaviours": [
                {
                    "match": "",
                    "shown": ["{smallest_number} is bigger."],
                    "otherwise": ["{largest_number} is bigger."],
                    "logit": -3.0,
                    "effects": CAUSES[cause],
                }
            ],
            "scatter": {"template": template_scatter, "seed": seed},
            "templates": texts,
        }
    )


def in_process_worker(folder: Path, cause: str = "nothing", seed: int = 0) -> InProcessWorker:
    """Return a worker around the synthetic subject that writes blobs where a run will."""
    return InProcessWorker(SyntheticSubject(table(cause, seed=seed)), BLACK_BOX, folder / "blobs")


def number_run(
    folder: Path, cause: str = "nothing", seed: int = 0, **changes: Any
) -> Investigation:
    """Open a run of the number case on a synthetic subject."""
    return open_run(
        folder, number_case(**changes), in_process_worker(folder, cause, seed), "systematic", seed
    )
