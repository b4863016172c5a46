"""What the runs of a set were sure of beforehand stands against what their own tests came to."""

from __future__ import annotations

from agent.prediction import Hypothesis, Prediction
from agent.rendering import confidence_figure
from agent.set_reading import Held, ReadRun, SetPart, Tried, held_of
from agent.submission import Answer
from agent.verdict import Status
from tests.scripted_run import prediction


def run(*stated: tuple[float, Status | None]) -> ReadRun:
    """Return a run with one hypothesis and one registration for each confidence and status."""
    return ReadRun(
        name="1",
        run="0" * 64,
        answer=Answer(kind="unknown"),
        hypotheses=tuple(
            Hypothesis(id=f"H{k}", claim="c", family="wording", rivals=("r",), prior=prior)
            for k, (prior, _) in enumerate(stated)
        ),
        tried=tuple(
            Tried(
                prediction=Prediction.model_validate(prediction(hypothesis=f"H{k}")), status=status
            )
            for k, (_, status) in enumerate(stated)
        ),
    )


def test_confidence_is_binned_over_runs_and_untested_hypotheses_are_left_out() -> None:
    runs = [
        run((0.1, "refuted"), (0.9, "supported"), (0.95, None)),
        run((0.2, "supported"), (1.0, "effect shown, cause open")),
    ]
    low, high = held_of(runs)
    assert (low.hypotheses, low.supported, round(low.stated, 3)) == (2, 1, 0.15)
    assert (high.hypotheses, high.supported, round(high.stated, 3)) == (2, 1, 0.95)


def test_the_figure_has_a_point_for_each_bin() -> None:
    part = SetPart(sentence="s", held=(Held(stated=0.25, hypotheses=4, supported=1),))
    drawn = confidence_figure(part)
    assert 'cx="130.0" cy="196.0"' in drawn and "stated 25 %: 25 %" in drawn
