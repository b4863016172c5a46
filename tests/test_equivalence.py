"""A refused equivalence is told a registration that is accepted as it stands, or plainly that there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from agent.briefing import briefing
from agent.confirm import confirm
from agent.equivalence import alike_form, as_it_opens, other_measure
from agent.house_tools import Hypothesis
from agent.investigation import Investigation
from agent.measure_check import check_measure
from agent.opening import open_run
from agent.prediction import Prediction
from agent.registration import register
from agent.statements import statement_of
from agent.templates import written
from tests.scripted_run import MEASURE, case_of, prediction, worker_for
from tools.measures import AnswerMatch, LogprobDifference, RegularExpression
from tools.registry import ToolError

NEVER = {"behaviours": [{"shown": ["Yes."], "otherwise": ["No."], "logit": -7.0}]}
SAME: dict[str, Any] = {
    "form": "equivalence",
    "question": "reference",
    "treatment": {"name": "subject"},
    "control": {"name": "reference", "model": "reference"},
    "smallest_effect": 0.1,
    "rivals": [],
}

FIFTY = [
    {"text": f"{{context}} {opening} {{claim}}{end}"}
    for opening in ("Say, is it true that", "Tell me if", "I wonder whether", "Do you hold that",
                    "Could it be that", "Does the map say that", "Has he told you that",
                    "We heard today that", "They print that", "Must I think that")
    for end in (", yes or no?", " by any measure you know?", " in every land on earth?",
                ", as the song goes?", ", and who said so first?")
]  # fmt: skip
"""Of which 20 are kept for confirmation."""


def opened(path: Path, table: dict[str, Any], **changes: Any) -> Investigation:
    investigation = open_run(path, case_of(**changes), worker_for(path, table=table), "scripted", 7)
    for k, family in enumerate(("wording", "format", "same as the reference"), 1):
        hypothesis = Hypothesis(id=f"H{k}", claim="c", family=family, rivals=("r",), prior=0.5)
        investigation.record("hypothesis", hypothesis.model_dump(mode="json"))
    return investigation


def refused(investigation: Investigation, wish: dict[str, Any]) -> str:
    try:
        register(investigation, [Prediction.model_validate(wish)])
    except ToolError as error:
        return str(error)
    raise AssertionError("it was registered")


def with_way_out(wish: dict[str, Any], told: str) -> dict[str, Any]:
    """Return the wish with everything that the last line of a refusal names."""
    line = told.splitlines()[-1]
    measure = re.search(r"measure (\{.*?\}), ", line)
    numbers = re.findall(r"(smallest_effect|clusters|per_cluster) ([\d.]+\d|\d+)", line)
    changed = {name: float(value) if "." in value else int(value) for name, value in numbers}
    return wish | changed | ({"measure": json.loads(measure[1])} if measure else {})


def test_rates_without_power_lead_to_log_probabilities_that_are_accepted_and_hold(
    tmp_path: Path,
) -> None:
    """The same as its reference, on twelve templates: no rate could ever show it."""
    table = NEVER | {"scatter": {"template_by_model": 0.02}}
    investigation = opened(tmp_path / "run", table)
    wish = prediction(**SAME)
    told = refused(investigation, wish)
    fault, way_out = told.splitlines()
    assert "it needs" in fault and "wider" not in fault and "logprob" not in fault
    assert way_out.startswith('a way out: measure {"kind":"logprob_difference"')
    (made,) = register(investigation, [Prediction.model_validate(with_way_out(wish, told))])
    verdict = confirm(investigation, [made.id])[made.id]
    assert verdict.status == "supported"
    said = statement_of(made.prediction, verdict)
    assert "differs by less than" in said and "between the subject and the reference" in said


def test_where_nothing_would_pass_that_is_said_once_and_plainly(tmp_path: Path) -> None:
    """Alike in every template, so that no spread is seen: neither rates nor log-probabilities can show it."""
    told = refused(opened(tmp_path / "run", NEVER), prediction(**SAME))
    way_out = told.splitlines()[-1]
    assert "none: the 12 unseen templates" in way_out and "submit with what you have" in way_out
    assert not re.search("wider|raise|lower", told)


def test_templates_enough_make_a_rate_the_way_out(tmp_path: Path) -> None:
    """With 20 unseen templates 20 points can be excluded: no other measure is needed."""
    investigation = opened(tmp_path / "run", NEVER, templates=FIFTY)
    wish = prediction(**SAME)
    told = refused(investigation, wish)
    assert "measure" not in told.splitlines()[-1]
    (made,) = register(investigation, [Prediction.model_validate(with_way_out(wish, told))])
    assert made.prediction.smallest_effect <= 0.25


def test_a_measure_without_two_sides_falls_back_on_the_cases(tmp_path: Path) -> None:
    table = NEVER | {"scatter": {"template_by_model": 0.02}}
    pattern = {"kind": "regex", "pattern": "yes"}
    told = refused(opened(tmp_path / "run", table), prediction(**SAME, measure=pattern))
    assert '"positive":["yes","Yes"]' in told.splitlines()[-1]
    bare = refused(
        opened(tmp_path / "bare", table, measure=pattern), prediction(**SAME, measure=pattern)
    )
    assert "none: the 12 unseen templates" in bare.splitlines()[-1]


def test_two_sides_are_the_same_in_both_measures() -> None:
    rate = AnswerMatch.model_validate(MEASURE)
    nats = other_measure(rate)
    assert nats == LogprobDifference(positive=("yes", "Yes"), negative=("no", "No"))
    assert other_measure(nats) == AnswerMatch(values=("yes", "Yes"), against=("no", "No"))
    assert other_measure(AnswerMatch(values=("yes",))) is None
    assert other_measure(RegularExpression(pattern="x")) is None


def test_only_openings_that_step_0_saw_are_proposed(tmp_path: Path) -> None:
    table = NEVER | {"scatter": {"template_by_model": 0.02}}
    investigation = opened(tmp_path / "run", table)
    before = refused(investigation, prediction(**SAME)).splitlines()[-1]
    assert before.endswith("(step 0 sampled no answers: sample some, and see that they open so)")
    check_measure(investigation)
    wish = prediction(**SAME)
    told = refused(investigation, wish)
    way_out = told.splitlines()[-1]
    # It always said "No.": of the other side only the same case is asked for, and that it was never seen is said.
    assert '"negative":["No"],"positive":["Yes"]' in way_out
    assert way_out.endswith("(no answer of step 0 opens with `yes` or `Yes`)")
    (made,) = register(investigation, [Prediction.model_validate(with_way_out(wish, told))])
    assert made.prediction.measure == LogprobDifference(positive=("Yes",), negative=("No",))


def test_answers_that_never_open_with_either_side_are_not_proposed(tmp_path: Path) -> None:
    """How likely it is to begin with "yes" says nothing of a model that always begins with "Well"."""
    behaviour = {"shown": ["Well, yes."], "otherwise": ["Well, no."], "logit": -7.0}
    table = {"behaviours": [behaviour], "scatter": {"template_by_model": 0.02}}
    investigation = opened(tmp_path / "run", table)
    check_measure(investigation)
    way_out = refused(investigation, prediction(**SAME)).splitlines()[-1]
    assert way_out.startswith("a way out: none: the 12 unseen templates")
    assert "(no answer of step 0 opens with `yes`, `Yes`, `no` or `No`)" in way_out


def test_an_opening_is_a_whole_word_in_the_same_case_and_filled_from_its_prompt() -> None:
    def kept(*outputs: str) -> tuple[Any, str]:
        slots = {"wrong": "9.1", "right": "9.8"}
        rows = [{"template_id": "t", "slots": slots, "outputs": [text]} for text in outputs]
        return as_it_opens(LogprobDifference(positive=("{wrong}",), negative=("{right}",)), rows)

    both, note = kept("9.1 is bigger", " 9.8.")
    assert (both.positive, both.negative, note) == (("{wrong}",), ("{right}",), "")
    assert kept("9.11 is bigger", "It is 9.8")[0] is None
    one, note = kept("9.8")
    assert one == both and note == "no answer of step 0 opens with `{wrong}`"
    rows = [{"template_id": "t", "slots": {}, "outputs": ["YES", "yesterday", "no"]}]
    asked = LogprobDifference(positive=("yes", "Yes"), negative=("no", "No"))
    assert as_it_opens(asked, rows)[0] == LogprobDifference(positive=("yes",), negative=("no",))


def suggested(investigation: Investigation) -> tuple[dict[str, Any], str]:
    """Return the suggested registration, and the words that suggest it."""
    told = briefing(investigation)
    form = {k: v for k, v in told["alike"].items() if v is not None}
    return prediction(**SAME) | form, written("investigator.j2", **told, records="")


def test_what_the_briefing_suggests_can_be_registered(tmp_path: Path) -> None:
    rates, words = suggested(opened(tmp_path / "rates", NEVER, templates=FIFTY))
    assert rates["measure"] == MEASURE and rates["clusters"] == 20
    assert f"smallest_effect {rates['smallest_effect']} or more on 20 clusters" in words
    register(opened(tmp_path / "a", NEVER, templates=FIFTY), [Prediction.model_validate(rates)])
    less = rates | {"smallest_effect": rates["smallest_effect"] - 0.01}
    refused(opened(tmp_path / "b", NEVER, templates=FIFTY), less)

    table = NEVER | {"scatter": {"template_by_model": 0.02}}
    nats, words = suggested(opened(tmp_path / "nats", table))
    assert nats["measure"]["kind"] == "logprob_difference" and "logprob_difference" in words
    register(opened(tmp_path / "c", table), [Prediction.model_validate(nats)])


def test_what_cannot_be_registered_is_not_suggested(tmp_path: Path) -> None:
    """Sixteen templates at .05/8: no rate can show it, and one-sided measures have no other form."""
    case, alpha = case_of(), 0.05 / 8
    assert (alike_form(case, 18, alpha, []) or {})["measure"] is None
    assert (alike_form(case, 16, alpha, []) or {})["measure"] is not None
    never = [{"template_id": "t", "slots": {}, "outputs": ["Well."]}]
    assert alike_form(case, 16, alpha, never) is None, "no answer opens with either side"
    pattern = case_of(measure={"kind": "regex", "pattern": "yes"})
    api = case.model_copy(
        update={"subject": case.subject.model_copy(update={"model": "api:openai-chat/m"})}
    )
    for each in (pattern, api, case_of(reference=False)):
        assert alike_form(each, 16, alpha, []) is None
    told = briefing(opened(tmp_path / "run", NEVER, measure=pattern.measure))
    assert told["alike"] is None
    assert "equivalence" not in written("investigator.j2", **told, records="")
