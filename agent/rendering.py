"""Pages of a report: one HTML file without scripts, and Markdown. Both are rendered from `Report` alone.

What a subject said reaches a page as text and in no other way: every value that a template prints goes
through `safe_text` and, in HTML, through escaping.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic import TypeAdapter

from agent import plots, sweep_plots
from agent.citations import as_json_text
from agent.finding import Finding
from agent.investigation import ExperimentEntry
from agent.opening import read_run
from agent.prediction import Prediction
from agent.report import Report, build_report
from agent.review.indexed_words import gist
from agent.safe_text import markdown_block, markdown_text, one_line, safe_text, split_ticks
from agent.scope import LEVEL_WORDS
from agent.set_reading import SetPart
from agent.shown_evidence import Evidence
from agent.sweeps import Sweep, is_behind
from agent.thought_plot import thought_map
from agent.wording import capital, describe_measure, nats, number, p_value, predicted, with_unit
from tools.measures import Measure
from tools.statistics import wilson_interval

PAGES = Path(__file__).parent / "pages"
MARKS = {
    "supported": "●",
    "effect shown, cause open": "◐",
    "citation broken": "⚠",
    "refuted": "✕",
    "inconclusive": "○",
    "not tested (abandoned)": "–",
    "exploratory": "◌",
}
ORDER = tuple(MARKS)
STATISTICS = {
    "sign_flip": "exact sign-flip permutation",
    "tost": "two one-sided tests",
    "rank": "rank among matched placebos",
    "trend": "sign-flip permutation of slopes",
    "existence": "exact binomial",
}
SHOWN_JSON = 20_000
MOST_EXPERIMENTS = 500
MEASURE: TypeAdapter[Measure] = TypeAdapter(Measure)


def write_report(folder: Path) -> Path:
    """Build the report of the run in `folder` and write report.json, .md and .html; return their folder."""
    report = build_report(read_run(folder))
    target = folder / "report"
    target.mkdir(exist_ok=True)
    for name, content in rendered(report).items():
        unfinished = target / f".{name}.unfinished"
        unfinished.write_text(content, encoding="utf-8")
        unfinished.replace(target / name)
    return target


def rendered(report: Report) -> dict[str, str]:
    """Return the content of every file of a report."""
    return {
        "report.json": as_json(report),
        "report.md": render_markdown(report),
        "report.html": render_html(report),
    }


def as_json(report: Report) -> str:
    """Return the report as JSON."""
    return report.model_dump_json(indent=1) + "\n"


def render_html(report: Report) -> str:
    """Return the whole page as one file."""
    style = (PAGES / "style.css").read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        html_pages()
        .get_template("report.html.j2")
        .render(
            report=report,
            registered=registered(report),
            forests=forests(report),
            style=Markup(style),
            style_hash=hashed,
        )
    )


def render_markdown(report: Report) -> str:
    """Return the report as Markdown."""
    page = markdown_pages().get_template("report.md.j2")
    text = page.render(report=report, registered=registered(report))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def registered(report: Report) -> list[Finding]:
    """Return the findings that come from registrations, the strongest status first."""
    return [each for each in report.with_status(*ORDER) if each.prediction is not None]


def forests(report: Report) -> list[tuple[str, Markup]]:
    """Return one forest plot for every unit that occurs."""
    units = dict.fromkeys(each.unit for each in registered(report) if each.unit)
    drawn = [
        (unit, plots.forest([f for f in registered(report) if f.unit == unit], unit))
        for unit in units
    ]
    return [(unit, figure) for unit, figure in drawn if figure]


def sweeps_at(report: Report) -> dict[str, list[Sweep]]:
    """Return the sweeps that are drawn with each finding, each with the first it is behind; "" has the others."""
    places: dict[str, list[Sweep]] = {"": []}
    for sweep in report.sweeps:
        behind = [each.id for each in registered(report) if is_behind(sweep, each)]
        places.setdefault(behind[0] if behind else "", []).append(sweep)
    return places


def confidence_figure(part: SetPart) -> Markup:
    """Return how much of what the runs of a set were sure of beforehand their own tests supported."""
    points = [
        plots.Stated(
            100 * each.stated,
            100 * each.supported / each.hypotheses,
            plots.scaled(wilson_interval(each.supported, each.hypotheses), 100),
        )
        for each in part.held
    ]
    words = "stated beforehand, % (upward: supported by a test, %)"
    return plots.calibration(points, "Stated confidence and what was supported", words)


def listed_experiments(report: Report) -> list[ExperimentEntry]:
    """Return the experiments that a page lists: all, or of very many the first and those it refers to."""
    if len(report.experiments) <= MOST_EXPERIMENTS:
        return list(report.experiments)
    prose = [report.summary, *(f.interpretation for f in report.findings if f.interpretation)]
    anchors = {segment.anchor for text in prose for segment in text.segments}
    named = {each.experiment for each in report.evidence}
    named |= {each["experiment"] for each in report.screens}
    named |= {each.experiment for each in report.thoughts}
    named |= {report.step_zero.experiment} if report.step_zero else set()
    return [
        each
        for each in report.experiments
        if each.number <= MOST_EXPERIMENTS
        or each.number in named
        or f"exp-{each.number}" in anchors
    ]


def plain(value: Any) -> Any:
    """Make harmless whatever a template prints; markup of our own passes."""
    return value if isinstance(value, Markup) else safe_text(str(value))


def ticks(text: str) -> Markup:
    """Turn `...` into code, everything else into text."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if is_code else escape(part)
        for is_code, part in split_ticks(text)
    )


def span(text: str) -> str:
    """Return text as a Markdown code span."""
    return f"`{one_line(text, 400).replace('`', chr(0x2BC))}`"


def markdown_ticks(text: str) -> str:
    """Keep `...` as code spans in Markdown, escape the rest."""
    return "".join(
        span(part) if is_code else markdown_text(part) for is_code, part in split_ticks(text)
    )


def level(value: float | None, unit: str | None) -> str:
    """Return a mean: a percentage for rates, else the value with its unit."""
    if value is None:
        return "not scored"
    if unit == "nats":
        return f"{nats(value).removeprefix('+')} nats"
    return f"{100 * value:.1f} %" if unit == "points" else f"{value:.2f} {unit or ''}".strip()


def bounds(rate: dict[str, Any], unit: str | None) -> str:
    """Return the interval of a stored mean, that of a share within 0 and 1: a t interval knows no such ends."""
    low, high = rate["interval"]
    if unit == "points" and 0 <= (rate["mean"] or 0) <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
    return f"{level(low, unit)} to {level(high, unit)}"


def controls_words(finding: Finding) -> str:
    """Return how many rivals fell and how many checks were passed, in short."""
    if finding.verdict is None:
        return "not run"
    if finding.decided not in ("supported", "effect shown, cause open"):
        return "no effect to explain"
    checks = [each.passed for each in finding.controls if each.kind == "check"]
    rivals = [each.passed for each in finding.controls if each.kind != "check"]
    passed = f"; {sum(checks)} of {len(checks)} checks passed" if checks else ""
    return f"{sum(rivals)} of {len(rivals)} rivals excluded{passed}"


def braced(found: list[Finding]) -> bool:
    """Say whether a statement names a slot in braces, such as `{wrong}`."""
    return any("`{" in each.statement for each in found)


def headline(statement: str) -> str:
    """Return a statement without its numbers in brackets, for a table that has them beside it."""
    return re.sub(r" \(95 % interval [^()]*\)", "", statement)


def statistic(text: str) -> str:
    """Return the name of a statistic in words, with its version."""
    kind, _, version = text.partition("/")
    return f"{STATISTICS.get(kind, kind)} (version {version})"


def so_far(status: str, ended: Any) -> str:
    """Return a status in words; what has no verdict is not abandoned while its run may go on."""
    return "not tested yet" if status == "not tested (abandoned)" and not ended else status


def sesoi(prediction: Prediction) -> str:
    """Return the smallest effect of interest with its unit."""
    if prediction.form == "existence":
        return f"{100 * prediction.smallest_effect:.0f} % of templates"
    return with_unit(prediction.smallest_effect, prediction.measure)


def measure_words(measure: dict[str, Any] | None) -> str:
    """Return a stored measure in words."""
    return describe_measure(MEASURE.validate_python(measure)) if measure else "none given"


def p_words(p: float | None) -> str:
    """Return a p-value as it stands in a sentence."""
    return f"p = {p_value(p)}".replace("= below", "below")


def when(text: str) -> str:
    """Return a time in ISO 8601 to the minute; what is none stays as it is."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if time.tzinfo else text


def prediction_words(prediction: dict[str, Any]) -> str:
    """Return a stored prediction as a sentence without its end."""
    return capital(predicted(Prediction.model_validate(prediction)))


def page_of_json(value: Any) -> str:
    """Return a stored value as text, a page or so of it."""
    text = as_json_text(value)
    return text if len(text) <= SHOWN_JSON else f"{text[:SHOWN_JSON]}\n… (the rest is in the log)"


def dose_figure(evidence: Evidence, finding: Finding) -> Markup:
    """Return the dose-response plot of a trend."""
    assert finding.prediction is not None and finding.unit is not None
    return plots.dose_response(
        evidence, [step.dose for step in finding.prediction.doses], finding.unit
    )


FILTERS: dict[str, Any] = {
    "capital": capital,
    "class_of": plots.class_of,
    "gist": gist,
    "headline": headline,
    "level": level,
    "measure": measure_words,
    "number": number,
    "one_line": one_line,
    "bounds": bounds,
    "controls_words": controls_words,
    "braced": braced,
    "foretold": lambda prediction: capital(predicted(prediction)),
    "p_value": p_value,
    "p_words": p_words,
    "page_of_json": page_of_json,
    "predicted": prediction_words,
    "sesoi": sesoi,
    "so_far": so_far,
    "statistic": statistic,
    "unit_words": plots.caption,
    "when": when,
}
NAMES: dict[str, Any] = {
    "marks": MARKS,
    "level_words": LEVEL_WORDS,
    "layer_map": sweep_plots.layer_map,
    "map_words": sweep_plots.map_words,
    "steering_curve": sweep_plots.steering_curve,
    "curve_words": sweep_plots.curve_words,
    "curve_points": sweep_plots.curve_points,
    "sweeps_at": sweeps_at,
    "confidence_figure": confidence_figure,
    "thought_map": thought_map,
    "listed_experiments": listed_experiments,
    "template_dots": plots.template_dots,
    "dose_response": dose_figure,
    "place": "",
    "log": "",
}
"""`place` is the page that a finding's links lead to: the finding's own, unless it is shown elsewhere; `log` is the
page of the transcript, where there is one."""


@cache
def html_pages() -> Environment:
    """Return the templates of the page: everything printed is escaped."""
    pages = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(FILTERS, ticks=ticks)
    pages.globals.update(NAMES)
    return pages


@cache
def markdown_pages() -> Environment:
    """Return the templates of the Markdown: nothing a subject said is markup."""
    pages = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=False,
        undefined=StrictUndefined,
        finalize=lambda value: safe_text(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        FILTERS, md=markdown_text, md_ticks=markdown_ticks, span=span, block=markdown_block
    )
    pages.globals.update(NAMES)
    return pages
