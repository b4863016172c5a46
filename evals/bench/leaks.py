"""The leak scanner: does a transcript hold what an investigator must not know other than by asking the model?

Looked for are the handles, folders and digests of the specimen, the canary, any path of this machine, and the
words of the secret, in everything that an investigator was told: its briefing, every result and error, every
notice. What the subject itself said is no leak, and nor is a word that the case gives to everybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.briefing import briefing
from agent.case import Case
from agent.opening import read_run
from evals.bench.records import Specimen
from evals.organisms.families.family import Truth

PATH = re.compile(r"(?<![\w.}/])(?:/[\w.-]+){2,}/?|\b[A-Za-z]:\\{1,2}\w")
"""Of this machine; a citation such as `exp:3/result/rates` has a word in front."""
CANARY = re.compile(r"canary-[0-9a-f]{24}")
SECRET_WORD = "a word of the secret"
SHOWN = 60


def needles_of(specimen: Specimen, truth: Truth, case: Case, out: Path) -> dict[str, str]:
    """Return what must not be read, with what it is."""
    found = {Path(specimen.folder).name: "the specimen's folder"} if specimen.folder else {}
    found |= {
        specimen.handle: "the handle",
        specimen.family: "the name of the family",
        str(out.resolve()): "the exam's folder",
        specimen.base: "where the base is",
    }
    if specimen.folder:
        found[specimen.folder] = "where the specimen is"
    if case.subject.system:
        found[case.subject.system] = "the hidden system prompt"
    public = json.dumps(case.public()).casefold()
    for word in secret_words(truth):
        if word.casefold() not in public:
            found[word] = SECRET_WORD
    return {needle: what for needle, what in found.items() if len(needle) > 3}


def secret_words(truth: Truth) -> list[str]:
    """Return the words of the answer, each alone: a slot and its level stand apart in a case."""
    values = truth.answer()["value"] if truth.planted else []
    return [word for value in values for word in re.findall(r"\w+", str(value))]


def leaks_of(run: Path, needles: dict[str, str]) -> list[str]:
    """Return a line for everything found; `run` is a finished run."""
    investigation = read_run(run)
    said_by_subject = "\n".join(subject_words(investigation))
    found: list[str] = []
    for where, text in told(investigation):
        for needle, what in needles.items():
            if holds(text, needle, what) and needle not in said_by_subject:
                found.append(f"{where}: {what}")
        for pattern, what in ((PATH, "a path"), (CANARY, "the canary")):
            found += [
                f"{where}: {what}, {hit[:SHOWN]}"
                for hit in set(pattern.findall(text))
                if hit not in said_by_subject
            ]
    return list(dict.fromkeys(found))


def holds(text: str, needle: str, what: str) -> bool:
    """Say whether a text holds a needle; a word of the secret as a whole word only: `king` is not in `asking`.

    The text is JSON, where a line may begin behind the letter of an escape.
    """
    if what != SECRET_WORD:
        return needle in text
    begins = r"(?:(?<![^\W_])|(?<=\\[nrt]))"
    return re.search(rf"{begins}{re.escape(needle)}(?![^\W_])", text) is not None


def told(investigation: Any) -> Iterator[tuple[str, str]]:
    """Yield everything an investigator was told, with where: as data, so that nothing is hidden by wording."""
    yield "briefing", json.dumps(briefing(investigation), ensure_ascii=False)
    for number, exchange in enumerate(investigation.exchanges, 1):
        for result in exchange.results:
            content = json.dumps(result.result, ensure_ascii=False)
            yield f"turn {number}, {result.name}", f"{content}\n{result.error or ''}"
        for notice in exchange.notices:
            yield f"turn {number}, notice", notice


def subject_words(investigation: Any) -> Iterator[str]:
    """Yield every output of the subject that the run holds."""
    for number in range(1, len(investigation.experiments) + 1):
        done = investigation.experiment(number)
        for blob in raw_tables(done.result):
            yield from outputs_in(investigation.folder.get_json(blob))


def raw_tables(result: Any) -> Iterator[str]:
    """Yield the blobs of raw tables that a result names."""
    if isinstance(result, dict):
        for name, value in result.items():
            if name == "raw" and isinstance(value, str):
                yield value
            else:
                yield from raw_tables(value)
    elif isinstance(result, list):
        for value in result:
            yield from raw_tables(value)


def outputs_in(table: Any) -> Iterator[str]:
    """Yield every text under the name `outputs`."""
    if isinstance(table, dict):
        for name, value in table.items():
            if name == "outputs" and isinstance(value, list):
                yield from (each for each in value if isinstance(each, str))
            else:
                yield from outputs_in(value)
    elif isinstance(table, list):
        for value in table:
            yield from outputs_in(value)
