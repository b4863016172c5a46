"""What an interpretation names beyond its statement is told, and what the statement holds is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.citations import Sources, resolve_prose
from agent.finding import findings, held_of
from agent.opening import read_run
from agent.overreach import beyond, minds_in, names_of
from agent.plain_words import stem
from agent.rendering import render_html, render_markdown
from agent.report import build_report
from tests.scripted_run import CLAIMS, LEVELS, case_of, make_run, turns

Told = Callable[[str, str], str]
FALSE = "It reads the claims as rivers, out of politeness."
"""A name that was not tested, the inside of the model, and an effect where none was shown."""
MORE = {
    name: tuple(f"{start} {thing}." for start in ("We see", "There is", "Here comes"))
    for name, thing in (("meal", "a soup"), ("river", "the stream"), ("song", "some music"))
}
CASE = case_of(
    slots={"context": {"levels": LEVELS | MORE}, "claim": {"values": CLAIMS}},
)
"""More levels than placebos are taken from."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    said = turns(interpretations={"P1": "Version lists do it.", "P2": FALSE}, summary="")
    call = said[1].calls[0]
    wishes = [
        each | {"smallest_effect": 0.4, "per_cluster": 12} for each in call.arguments["predictions"]
    ]
    register = call.model_copy(update={"arguments": {"predictions": wishes}})
    said[1] = said[1].model_copy(update={"calls": (register,)})
    make_run(path, said, case=CASE)
    return path


@pytest.fixture(scope="module")
def told(path: Path) -> Told:
    """Return what is told of an interpretation of a finding."""
    run = read_run(path)
    sources, known, question = Sources(run), names_of(run), run.case.behaviour
    found = {each.id: each for each in findings(run)}

    def of(finding: str, text: str) -> str:
        prose = resolve_prose(text, sources)
        return " ".join(beyond(prose, held_of(found[finding], known), known, question))

    return of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Version lists make it agree: P1/arms/treatment, no other did.",
        "Setting the `context` to a version history raises yes; the effect is large.",
        "The versions do it, not the dates.",
        "It says yes because the context is a version list.",
        "Neither an off-topic context nor a no-op edit does that.",
        "A version history is a hidden constant of the context: it flips the reply to yes.",
        "It says yes to versions; nothing here says what it wants or believes, and songs were not tested.",
    ],
)
def test_nothing_is_told_of_what_the_statement_and_its_controls_hold(told: Told, text: str) -> None:
    assert told("P1", text) == ""


@pytest.mark.parametrize(
    ("finding", "text", "words"),
    [
        ("P1", "It hears them as songs or a river.", "`river` and `songs` (a level of `context`)"),
        ("P1", "It hears music.", "`music` (said at level `song` of `context`)"),
        ("P1", "It is some claim that does it.", "`claim` (a slot of the case, `claim`)"),
        ("P1", "It is carried in layer 3.", "layer 3 (a place in the model)"),
        ("P1", "An attention head reads the list.", "goes on inside the model (`attention`)"),
        ("P1", "It takes a version for an order.", "goes on inside the model (`takes`)"),
        (
            "P1",
            "Versions work because it wants to please.",
            "wants, feels or understands (`wants`)",
        ),
        ("P1", "The sound of syllables attracts it.", "names nothing of what was changed"),
        ("P1", "A version list makes no difference.", "denies an effect"),
        ("P1", "With a version it says yes less often.", "the other way round"),
        ("P2", "Calendars make it say yes.", "nowhere says that no effect was shown"),
        ("P1", "The dates do it.", "`dates` (a level of `context`), which stands here only in a"),
    ],
)
def test_what_goes_beyond_is_told(told: Told, finding: str, text: str, words: str) -> None:
    assert words in told(finding, text)


def test_a_cause_is_told_only_where_the_verdict_leaves_it_open(path: Path) -> None:
    run = read_run(path)
    finding, known = findings(run)[0], names_of(run)
    opened = finding.model_copy(update={"status": "effect shown, cause open"})
    for text, count in (("Versions cause it.", 1), ("Nothing says that versions cause it.", 0)):
        prose = resolve_prose(text, Sources(run))
        assert len(beyond(prose, held_of(opened, known), known, "")) == count
        assert beyond(prose, held_of(finding, known), known, "") == ()


def test_it_stands_on_every_page_beside_the_interpretation(path: Path) -> None:
    report = build_report(read_run(path))
    first, second, *_ = report.findings
    assert first.overreach == () and len(second.overreach) == 3
    page, text = render_html(report), render_markdown(report)
    at = page.index("It reads the claims as rivers")
    assert at < page.index("Beyond what was tested?", at) < at + 400
    assert page.count("Beyond what was tested?") == text.count("Beyond what was tested?") == 3
    assert "nothing has tested whether they are the right reading" in page


def test_endings_do_not_part_words() -> None:
    for first, second in (("versions", "version"), ("dates", "date"), ("mixing", "mix")):
        assert stem(first) == stem(second)
    assert stem("carries") == stem("carry") and stem("order") != stem("odd")


def test_a_rival_that_survived_has_no_mind_and_a_model_that_wants_to_survive_is_given_one() -> None:
    assert minds_in("a rival explanation survived") == [] == minds_in("it survived every test")
    assert minds_in("it stops because it means to survive") == ["survive"]
