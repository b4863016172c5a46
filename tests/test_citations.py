"""Prose cites what the log holds, and says so where it does not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.citations import Prose, Sources, resolve_prose
from agent.wording import with_unit
from tests.scripted_run import make_run


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(make_run(tmp_path_factory.mktemp("runs") / "run"))


def kinds(prose: Prose) -> list[tuple[str, str]]:
    return [(each.kind, each.text) for each in prose.segments if each.kind != "text"]


def test_a_citation_prints_the_stored_value(sources: Sources) -> None:
    stored = sources.experiment(1)["result"]["arms"]["subject"]["mean"]
    for written in (
        "exp:1/result/arms/subject/mean",
        "[exp:1/result/arms/subject/mean]",
        "`exp:1/result/arms/subject/mean`",
        "exp:1/arms/subject/mean",
    ):
        (found,) = [s for s in resolve_prose(f"It is {written}.", sources).segments if s.source]
        assert (found.kind, found.anchor) == ("value", "exp-1")
        assert float(found.text) == pytest.approx(stored, abs=5e-4)


def test_the_full_stop_stays_in_the_sentence(sources: Sources) -> None:
    assert resolve_prose("It is exp:1/tool.", sources).plain() == "It is score_arms."


def test_a_verdict_field_prints_in_its_unit(sources: Sources) -> None:
    verdict = sources.investigation.verdicts["P1"]
    measure = sources.investigation.registrations["P1"].prediction.measure
    assert verdict.estimate is not None
    assert resolve_prose("P1/estimate", sources).plain() == with_unit(verdict.estimate, measure)
    assert resolve_prose("P1/arms/treatment", sources).plain().endswith(" %")
    assert resolve_prose("P1/interval", sources).plain().endswith(" points")
    assert resolve_prose("P1/status", sources).plain() == "supported"
    assert resolve_prose("P1/clusters", sources).plain() == "12"


def test_the_raw_table_can_be_cited(sources: Sources) -> None:
    raw = sources.investigation.folder.get_json(sources.experiment(1)["result"]["raw"])
    output = raw["arms"]["subject"][0]["outputs"][0]
    assert resolve_prose("exp:1/raw/arms/subject/0/outputs/0", sources).plain() == output


@pytest.mark.parametrize(
    "written",
    [
        "exp:1/result/arms/nobody/mean",
        "exp:99/result/mean",
        "exp:0/tool",
        "P3/estimate",
        "P9/estimate",
        "P1/estimates",
        "exp:1/result/arms",
        "exp:1/result/arms/subject/mean/0",
        "exp:99",
        "P17",
        "H9",
    ],
)
def test_what_does_not_resolve_is_broken_and_stays_visible(sources: Sources, written: str) -> None:
    prose = resolve_prose(f"As {written} says.", sources)
    assert [kind for kind, _ in kinds(prose)] == ["broken"]
    assert written in prose.plain() and "citation broken" in prose.plain()
    assert len(prose.faults()) == 1


def test_a_quotation_has_to_be_in_its_experiment(sources: Sources) -> None:
    good = 'It said "Yes, surely\n <script>alert(1)</script>" [exp:1].'
    assert [kind for kind, _ in kinds(resolve_prose(good, sources))] == ["quotation"]
    bad = 'It said "Yes, I am always right" [exp:1].'
    assert resolve_prose(bad, sources).faults()
    nowhere = 'It said "Yes, surely" [exp:77].'
    assert resolve_prose(nowhere, sources).faults()


def test_a_long_quotation_without_a_source_is_flagged(sources: Sources) -> None:
    assert kinds(resolve_prose('It said "one two three four" then.', sources)) == [
        ("uncited", "“one two three four”")
    ]
    assert kinds(resolve_prose('The word "cat" is short.', sources)) == []


@pytest.mark.parametrize("typed", ["86", "0.86", "-3", "12 %", "1,000", "5."])
def test_a_typed_number_is_flagged(sources: Sources, typed: str) -> None:
    prose = resolve_prose(f"It rose by {typed} here", sources)
    assert [kind for kind, _ in kinds(prose)] == ["uncited"]
    assert "[uncited]" in prose.plain()


def test_names_with_digits_in_backticks_are_no_numbers(sources: Sources) -> None:
    prose = resolve_prose("The number `9.11` at `layer 17` of P1 and H2 in exp:1.", sources)
    assert [kind for kind, _ in kinds(prose)] == ["code", "code", "link", "link", "link"]


@given(st.text(st.sampled_from('exp:1/resultarms P39"`[]“”0.%\n'), max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_prose_is_kept(sources: Sources, text: str) -> None:
    prose = resolve_prose(text, sources)
    plain = [each for each in prose.segments if each.kind == "text" and "“" not in each.text]
    rest = text
    for segment in plain:
        assert segment.text in text
        rest = rest[rest.index(segment.text) + len(segment.text) :]
