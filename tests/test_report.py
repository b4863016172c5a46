"""The report says what was found, keeps what was said harmless, and stands alone."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.rendering import render_html, render_markdown, write_report
from agent.report import Report, build_report
from agent.safe_text import markdown_block, markdown_text, safe_text
from agent.shown_evidence import shown
from agent.wording import name as in_ticks
from tests.scripted_run import case_of, level, make_run, prediction, turns

VOID = {"meta", "br", "line", "circle", "polyline"}


class Outline(HTMLParser):
    """Reads a page: its elements, attributes, ids, links and text; open elements must be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    make_run(path)
    write_report(path)
    return path


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return Report.model_validate_json((folder / "report/report.json").read_text())


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report/report.html").read_text()


def test_the_json_is_the_whole_report(report: Report) -> None:
    assert [(each.id, each.status) for each in report.findings] == [
        ("P1", "supported"),
        ("P2", "refuted"),
        ("P3", "not tested (abandoned)"),
        ("N1", "exploratory"),
    ]
    assert (report.tests.registered, report.tests.confirmed, report.tests.abandoned) == (3, 2, 1)
    assert [each.id for each in report.untested_hypotheses] == ["H3"]
    assert "trigger" in report.untested_families and "wording" not in report.untested_families
    assert report.answer.supported_by == ("P1",)
    assert report.answer.sentences[0].endswith("which P1 supports.")
    assert report.findings[0].statement in report.answer.sentences[1]


def test_the_log_tells_that_a_prediction_came_before_its_data(report: Report, page: str) -> None:
    steps = report.steps
    assert steps["H1"] < steps["P1"] < steps["P1/draw"] < steps["exp:4"] < steps["P1/verdict"]
    text = " ".join("".join(Outline(page).text).split())
    assert (
        f"Registered before its data: event {steps['P1']}, its prompts drawn at event {steps['P1/draw']}"
        in text
    )
    assert re.search(rf'<tr id="exp-4">.*?event {steps["exp:4"]}<', page)


def test_nothing_of_where_the_models_are_is_in_it(folder: Path) -> None:
    for name in ("report.json", "report.md", "report.html"):
        text = (folder / "report" / name).read_text()
        for hidden in ("/secret/place", "a hidden word", str(folder)):
            assert hidden not in text


def test_the_evidence_is_that_of_the_experiment(report: Report, folder: Path) -> None:
    evidence = report.evidence_for("P1")
    verdict = report.findings[0].verdict
    assert evidence is not None and verdict is not None
    arms = {arm.name: arm for arm in evidence.arms}
    assert {"treatment", "control", "rival_0", "scope_treatment"} <= set(arms)
    for name, arm in arms.items():
        assert arm.mean == verdict.arms[name] and len(arm.templates) == 12
        assert len({each.template for each in arm.shown}) == len(arm.shown) == 6
    assert arms["treatment"].description == "setting `context` to level `version`"


def test_the_page_is_well_formed_and_runs_nothing(page: str) -> None:
    found = Outline(page)
    assert not {"script", "iframe", "object", "embed", "form", "img", "link"} & set(found.names)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert all(target.startswith("#") for target in found.values("href"))
    assert "url(" not in page and "@import" not in page


def test_its_policy_allows_only_its_own_style(page: str) -> None:
    policy = next(value for value in Outline(page).values("content") if "default-src" in value)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_every_link_has_its_target_and_every_id_is_there_once(page: str) -> None:
    found = Outline(page)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in found.values("href")} <= set(ids)
    assert {"P1", "P2", "P3", "N1", "exp-1", "exp-4", "H1"} <= set(ids)


def test_tables_and_pictures_say_what_they_are(page: str) -> None:
    found = Outline(page)
    assert found.names.count("svg") == found.values("role").count("img") == 3
    assert all(found.values("aria-label"))
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    headings = [int(name[1]) for name in found.names if re.fullmatch(r"h[1-6]", name)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(headings, headings[1:], strict=False))


def test_the_first_screen_answers_and_qualifies(page: str, report: Report) -> None:
    text = " ".join("".join(Outline(page).text).split())
    plain = " ".join(report.findings[0].statement.replace("`", "").split())
    assert plain in text
    for words in (
        "added by training: the reference model's effect is below the smallest one asked for",
        "on prompts of the kind the case describes",
        "What it does not mean",
        "the placebo level context = date",
        "Never tested.",
        "tested: 2; abandoned: 1",
        "naturalist verify RUN",
    ):
        assert words in text


def test_what_the_subject_says_is_text(page: str, folder: Path) -> None:
    markdown = (folder / "report/report.md").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page
    for character in ("\u202e", "\x1b"):
        assert character not in page and character not in markdown
    assert "⟨U+202E⟩⟨U+001B⟩[31m" in page


HOSTILE = (
    "</pre></style><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{ 7*7 }}{% raw %}",
    "]]><!--", '" onmouseover="x', "\x1b]0;title\x07\x9b31m", "\u202egnp.exe\u2066\u200b\ufeff",
    "````\n# heading\n[x](javascript:alert(1))", "| a | b |\n|---|---|", "[/INST] <|end|> \ud800",
    "&lt;b&gt; &#x202e;", "\u2028\u2029\x00\x85", "![x](http://a.b/c.png) www.a.b http://a.b",
)  # fmt: skip


def hostile_report(report: Report, text: str) -> Report:
    """Return the report with a text put wherever somebody else's words may stand."""
    value: Any = report.model_dump(mode="json")
    value["question"] = value["investigator"] = value["name"] = text
    value["answer"]["guesses"] = [text]
    value["answer"]["sentences"] = [in_ticks(text), text, text]
    for prose in (value["summary"], value["findings"][0]["interpretation"]):
        prose["segments"] = [
            {"kind": kind, "text": text, "source": text, "anchor": "P1"}
            for kind in ("text", "code", "value", "link", "quotation", "broken", "uncited")
        ]
    for finding in value["findings"]:
        finding["statement"] = text
        for control in finding["controls"]:
            control["name"] = control["detail"] = text
        if finding["hypothesis"]:
            finding["hypothesis"]["claim"] = text
    for hypothesis in (*value["hypotheses"], *value["untested_hypotheses"]):
        hypothesis["claim"] = text
    for arm in (arm for each in value["evidence"] for arm in each["arms"]):
        arm["title"] = arm["description"] = text
        arm["templates"] = {f"{text}{k}": mean for k, mean in enumerate(arm["templates"].values())}
        for row in arm["shown"]:
            row["outputs"], row["prompt"] = [text], [["user", text]]
    value["step_zero"]["labelled"] = [{"prompt": text, "output": text, "label": None}]
    value["screens"] = [{"tool": text, "experiment": 1, "result": {text: text}, "error": None}]
    return Report.model_validate(value)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(report: Report, text: str) -> None:
    changed = hostile_report(report, text)
    page, reference = (
        Outline(render_html(changed)),
        Outline(render_html(hostile_report(report, "x"))),
    )
    assert page.names == reference.names
    assert [name for name, _ in page.attributes] == [name for name, _ in reference.attributes]
    assert html.unescape(safe_text(text)).split()[0] in html.unescape("".join(page.text))
    markdown = render_markdown(changed)
    for rendered in (render_html(changed), markdown):
        assert all(c.isprintable() or c in "\n\t" for c in rendered)
        rendered.encode()


def test_markdown_reads_no_markup_in_what_was_said(report: Report) -> None:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable("table")
    plain = [token.type for token in reader.parse(render_markdown(hostile_report(report, "x")))]
    for text in HOSTILE:
        tokens = reader.parse(render_markdown(hostile_report(report, text)))
        assert [token.type for token in tokens] == plain, text
        inner = {child.type for token in tokens for child in token.children or []}
        assert not inner & {"html_inline", "link_open", "image"}, text


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_safe_text_is_printable_and_settled(text: str) -> None:
    safe = safe_text(text)
    assert all(c.isprintable() or c in "\n\t" for c in safe)
    assert safe_text(safe) == safe
    safe.encode()
    assert "\n" not in markdown_text(text)
    fence, *_, last = markdown_block(text).split("\n")
    assert fence == f"{last}text" and last not in safe


def test_without_a_reference_every_finding_says_so(tmp_path: Path) -> None:
    made = build_report(make_run(tmp_path / "run", case=case_of(reference=False)))
    words = "contrasts between prompts only: no reference model was given"
    assert all(words in each.scope for each in made.findings if each.prediction)
    assert "without a reference model" in made.answer.sentences[2]
    assert "No reference model was given." in render_html(made)


def test_a_run_that_never_submitted_gets_a_report(tmp_path: Path) -> None:
    said = [turn.model_copy(update={"calls": ()}) for turn in turns()] * 2
    made = build_report(make_run(tmp_path / "run", said))
    assert made.answer.sentences[0] == "The investigator gave no answer."
    assert made.ended is not None and "without a valid call" in made.ended
    assert "No prediction was registered." in render_html(made)
    assert len(made.untested_families) == 12


def test_an_answer_that_no_finding_names_is_said_to_be_that(tmp_path: Path) -> None:
    said = turns(answer={"kind": "word", "value": ["banana"], "confidence": 0.9})
    made = build_report(make_run(tmp_path / "run", said))
    assert made.answer.supported_by == ()
    assert (
        "`banana` (its confidence: 90 %), which no supported finding names."
        in (made.answer.sentences[0])
    )


def test_nothing_is_said_of_levels_when_all_were_tested(report: Report) -> None:
    assert [each.untested_levels for each in report.findings] == [""] * 4


def test_what_was_decided_together_and_how_small_an_effect_was_asked(tmp_path: Path) -> None:
    said = turns()
    wishes = said[1].calls[0].arguments["predictions"]
    wishes = [wishes[0], wishes[1] | {"smallest_effect": 0.4}]
    register = said[1].calls[0].model_copy(update={"arguments": {"predictions": wishes}})
    said[1] = said[1].model_copy(update={"calls": (register,)})
    later = said[3].calls[1].arguments["predictions"][0] | {"smallest_effect": 0.5}
    more = said[3].calls[1].model_copy(update={"arguments": {"predictions": [later]}})
    said[3] = said[3].model_copy(update={"calls": (said[3].calls[0], more)})
    made = build_report(make_run(tmp_path / "run", said))
    first, second = made.tests.batches
    assert first.startswith(
        "P1, P2: registered in one call and decided together (Holm); smallest effects P1 30 points, "
        "P2 40 points: the investigator named each"
    )
    assert re.search(r"pilot \(sd P1 \d+ points, P2 [\d.]+ points\)\.$", first)
    assert second == "P3: registered alone, never decided."
    assert [each.decided_with for each in made.findings] == [("P2",), ("P1",), (), ()]
    page = "".join(Outline(render_html(made)).text)
    assert first in page and "in one call with P2, and decided together" in page


def test_the_page_says_what_the_reference_is(page: str, report: Report) -> None:
    assert report.reference == "another model, or another checkpoint, than the subject"
    assert f"The reference model is {report.reference}." in "".join(Outline(page).text)


def test_the_record_and_the_raw_table_are_told_apart(page: str, report: Report) -> None:
    evidence = report.evidence_for("P1")
    assert evidence is not None and evidence.raw is not None
    entry = report.experiments[evidence.experiment - 1]
    assert evidence.record == entry.blob != evidence.raw
    text = " ".join("".join(Outline(page).text).split())
    assert "Record (blob)" in text
    assert (
        f"record {evidence.record[:16]}; its raw table, with every prompt and output, is blob {evidence.raw[:16]}"
        in text
    )


def test_a_trend_is_drawn_over_its_doses(tmp_path: Path) -> None:
    arms = ("plain", "date", "version")
    doses = [{"dose": k, "arm": level(name)} for k, name in enumerate(arms)]
    rivals = [{"name": "a small effect", "predicts": [-0.05, 0.05]}]
    rises = prediction(form="trend", control=None, doses=doses, rivals=rivals, per_cluster=8)
    said = turns(summary="", interpretations={})
    register = said[1].calls[0].model_copy(update={"arguments": {"predictions": [rises]}})
    said[1] = said[1].model_copy(update={"calls": (register,)})
    made = build_report(make_run(tmp_path / "run", said))
    assert "Going over 3 steps from" in made.findings[0].statement
    page = Outline(render_html(made))
    assert page.names.count("polyline") == 12
    assert any(label.startswith("Dose-response") for label in page.values("aria-label"))


def test_the_same_log_gives_the_same_pages(folder: Path) -> None:
    before = {p.name: p.read_bytes() for p in (folder / "report").iterdir()}
    write_report(folder)
    assert {p.name: p.read_bytes() for p in (folder / "report").iterdir()} == before
    assert json.loads(before["report.json"])["format"] == 1


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ({"outputs": ["a", "b"], "scores": [1.0, None]}, ("a", "b")),
        ({"logprobs": {"yes": -0.5, "no": -1.5}, "scores": [1.0]}, ("log P(yes) = -0.500; log P(no) = -1.500",)),
        ({"projection": 0.25, "scores": [0.25]}, ("projection 0.25",)),
        ({"projection": None, "scores": [None]}, ("no reading",)),
    ],
)  # fmt: skip
def test_a_row_is_shown_with_one_text_for_each_score(
    read: dict[str, Any], told: tuple[str, ...]
) -> None:
    prompt = {"messages": [{"role": "user", "content": "Well?"}], "prefill": ""}
    found = shown({"id": "i", "template_id": "t", "slots": {}, "prompt": prompt, **read})
    assert found.outputs == told and len(found.scores) == len(told)
