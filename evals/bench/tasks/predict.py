"""Predict: how likely is the behaviour on unseen prompts? Asked when the run is closed."""

from __future__ import annotations

from evals.bench.forecast import log_score, read_report, skill
from evals.bench.paper import Paper
from evals.bench.records import Score
from tools.prompt import Arm

PROMPTS = 120


class Predict:
    """How far the forecasts of the handed-in findings come from the base rate (0) to the truth (1).

    The forecasts are made from the report by one and the same program, whoever wrote it.
    """

    name = "predict"

    def score(self, paper: Paper) -> Score:
        """Score the forecasts against one sampled answer to each prompt; unscored where nothing varies."""
        if paper.harness.measure is None or not paper.truth.rates_known:
            return Score(unscored="no measure or no known rate, so nothing to predict")
        asked = paper.asked(PROMPTS)
        scores = paper.scores(Arm(name="arm"), asked)
        kept = [
            (each, score) for each, score in zip(asked, scores, strict=True) if score is not None
        ]
        if not kept:
            return Score(unscored="no answer of the subject could be scored")
        outcomes = [score >= 0.5 for _, score in kept]
        prompts = [each for each, _ in kept]
        oracle = [each.truth for each in prompts]
        forecasts = read_report(paper.report, paper.harness, prompts)
        worth = skill(forecasts, outcomes, oracle)
        details = {
            "prompts": len(kept),
            "log_score": log_score(forecasts, outcomes),
            "oracle": log_score(oracle, outcomes),
            "rate": sum(outcomes) / len(outcomes),
        }
        if worth is None:
            return Score(unscored="nothing to predict: the truth is one rate", details=details)
        return Score(value=worth, details=details)


TASK = Predict()
