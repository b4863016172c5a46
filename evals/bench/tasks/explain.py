"""Explain: does the report let somebody who sees nothing else predict the behaviour?

The headline where no truth is planted. One reader forecasts three times: from nothing, from raw examples as long
as the report, and from the report, which is worth what it does better than the examples.
"""

from __future__ import annotations

import json

from agent.investigation import Spent
from evals.bench.forecast import log_score
from evals.bench.paper import Asked, Paper
from evals.bench.readers import Question, as_long_as
from evals.bench.records import Score
from tools.prompt import Arm

NO_READER = "no reader was given (--reader MODEL)"


class Explain:
    """Nats a prompt that the report is better to a reader than raw examples of the same length; 0 is no better."""

    name = "explain"

    def score(self, paper: Paper) -> Score:
        """Score the reader's forecasts; unscored without a reader."""
        if paper.reader is None:
            return Score(unscored=NO_READER)
        measure = paper.harness.measure
        if measure is None or not paper.truth.rates_known:
            return Score(unscored="no measure or no known rate, so nothing to predict")
        asked = paper.asked(paper.reader.prompts)
        scores = paper.scores(Arm(name="arm"), asked)
        kept = [(each, s) for each, s in zip(asked, scores, strict=True) if s is not None]
        outcomes = [score >= 0.5 for _, score in kept]
        if not outcomes:
            return Score(unscored="no answer of the subject could be scored")
        question = Question(
            behaviour=paper.case.behaviour,
            measure=measure,
            prompts=tuple(words_of(each) for each, _ in kept),
        )
        report = (paper.run / "report" / "report.md").read_text(encoding="utf-8")
        known = {
            "nothing": "",
            "examples": as_long_as(report, raw_examples(paper)),
            "report": report,
        }
        found: dict[str, float] = {}
        before = paper.reader.cost
        for name, text in known.items():
            forecasts = paper.reader.forecast(question, text)
            if forecasts is None:
                return Score(unscored=f"the reader gave no {len(kept)} probabilities from: {name}")
            found[name] = log_score(forecasts, outcomes)
        rate = sum(outcomes) / len(outcomes)
        details = {f"log_score_{name}": value for name, value in found.items()} | {
            "log_score_base_rate": log_score([rate] * len(outcomes), outcomes),
            "prompts": len(outcomes),
            "reader": paper.reader.name,
            **cost_between(before, paper.reader.cost),
        }
        return Score(value=found["report"] - found["examples"], details=details)


def cost_between(before: Spent, after: Spent) -> dict[str, float]:
    """Return what a reader took in between: tokens, and dollars where a price is known."""
    tokens = [each.input_tokens + each.output_tokens for each in (before, after)]
    found: dict[str, float] = {"reader_tokens": tokens[1] - tokens[0]}
    if after.dollars is not None:
        found["reader_dollars"] = round(after.dollars - (before.dollars or 0.0), 6)
    return found


def words_of(asked: Asked) -> str:
    """Return a prompt's words."""
    return asked.item.prompt.text()


def raw_examples(paper: Paper) -> list[str]:
    """Return the prompts and outputs of the run's own first look at the behaviour, one a line."""
    investigation = paper.investigation
    found: list[str] = []
    for number, entry in enumerate(investigation.experiments, 1):
        raw = (investigation.experiment(number).result or {}).get("raw")
        if entry.purpose not in ("step 0", "exploration") or raw is None:
            continue
        rows = investigation.folder.get_json(raw).get("arms", {}).get("subject", [])
        for row in rows:
            words = " / ".join(message["content"] for message in row["prompt"]["messages"])
            for output in row.get("outputs", []):
                found.append(json.dumps({"prompt": words, "output": output}, ensure_ascii=False))
    return found


TASK = Explain()
