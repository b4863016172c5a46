"""Settings are chosen on secrets that no exam asks for, kept and read; the pipelines are held against the text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.case import Case
from evals.bench import elicitation, validation
from evals.bench.elicitation import (
    DIFFERENCE_GRID,
    LENS_GRID,
    DifferenceLens,
    DifferenceSettings,
    LensSettings,
    LensToGuess,
    TextToGuess,
    settings_in,
    write_settings,
)
from evals.bench.plan import Wanted, plan_exam
from evals.bench.suites import SuiteError, built_in
from evals.bench.validation import Validation, choose, main, order, told, validation_secrets
from evals.organisms.catalogue import SHIPPED
from evals.organisms.registry import FAMILIES
from tests.test_bench_baselines import SAYS_IT, called, sat
from tests.test_systematic import open_case

GUESSES = [f"word{k}" for k in range(10)]


class Looking:
    """What stands for a look: the place of the secret among the guesses, by pipeline, settings and specimen."""

    def __init__(self, place: Any) -> None:
        self.place, self.looks = place, 0

    def __call__(self, pipeline: Any, specimen: Validation, path: Path) -> Sequence[str]:
        self.looks += 1
        path.mkdir(parents=True)
        found = list(GUESSES)
        place = self.place(pipeline, specimen)
        if place is not None:
            found[place - 1] = specimen.name
        return found


def specimens(count: int) -> list[Validation]:
    case = Case.model_construct()
    return [
        Validation(f"secret{k}", case, lambda guesses, k=k: f"secret{k}" in guesses)
        for k in range(count)
    ]


def test_all_settings_are_tried_once_the_best_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = LENS_GRID[5], DIFFERENCE_GRID[3]

    def place(pipeline: Any, specimen: Validation) -> int | None:
        if pipeline.chosen in good:
            return 2
        return 10 if specimen.name == "secret0" else None

    look = Looking(place)
    monkeypatch.setattr(validation, "looked", look)
    written = tmp_path / "settings.toml"
    lines = choose(specimens(3), tmp_path / "out", written)
    assert look.looks == 3 * (len(LENS_GRID) + len(DIFFERENCE_GRID))
    assert settings_in(written) == good
    assert "3 validation organisms" in written.read_text()
    chosen = [line for line in lines if "chosen |" in line]
    assert len(chosen) == 2 and all("| 0.500 | 3 of 3 |" in line for line in chosen)
    assert sum("| 0.033 | 1 of 3 |" in line for line in lines) == look.looks / 3 - 2
    # Started again, it looks at nothing twice.
    assert choose(specimens(3), tmp_path / "out", written) == lines
    assert look.looks == 3 * (len(LENS_GRID) + len(DIFFERENCE_GRID))
    # The pipelines take what was written.
    monkeypatch.setattr(elicitation, "SETTINGS", written)
    assert (LensToGuess().chosen, DifferenceLens().chosen) == good


def test_a_look_that_was_cut_off_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = specimens(1)
    place = tmp_path / "look"
    (place / "blobs").mkdir(parents=True)
    look = Looking(lambda *_: 4)
    monkeypatch.setattr(validation, "looked", look)
    assert validation.earliness(LensToGuess(), one, place) == 0.25
    assert validation.earliness(LensToGuess(), one, place) == 0.25
    assert look.looks == 1 and json.loads((place / "guesses.json").read_text())[3] == one.name


def test_without_a_file_the_settings_are_the_published_ones(tmp_path: Path) -> None:
    assert settings_in(tmp_path / "none.toml") == (LensSettings(), DifferenceSettings())
    path = tmp_path / "some.toml"
    write_settings(path, LENS_GRID[-1], DIFFERENCE_GRID[-1], "Of a test.")
    assert settings_in(path) == (LENS_GRID[-1], DIFFERENCE_GRID[-1])
    path.write_text(path.read_text().replace("depth", "deepth"))
    with pytest.raises(TypeError, match="deepth"):
        settings_in(path)


def test_the_published_order_is_shown_only_where_the_lens_sees_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def better(pipeline: Any, specimen: Validation) -> int | None:
        if pipeline.name == "text-to-guess":
            return 10
        # The difference names what the text names, no earlier.
        return 1 + int(specimen.name[-1]) % 2 if pipeline.name == "lens-to-guess" else 10

    monkeypatch.setattr(validation, "looked", Looking(better))
    lens, difference = order(specimens(10), tmp_path / "a", tmp_path / "none.toml")
    assert lens.verdict == "shown" and lens.difference == pytest.approx(0.65)
    assert lens.interval is not None and lens.interval[0] > 0
    assert difference.verdict == "not shown" and difference.difference == 0
    assert "lens-to-guess less text-to-guess" in told(lens) and "shown" in told(lens)


def test_secrets_that_an_exam_asks_for_choose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The menagerie asks for what ships, whether it is planned or not.
    with pytest.raises(SuiteError, match="asks for the secret of each"):
        validation_secrets(SHIPPED, [])
    # A secret that is drawn anew is another one, though its family is examined.
    shipped = next(each for each in built_in(SHIPPED, "menagerie", "") if each.family == "taboo")
    truth = FAMILIES["taboo"].truth(FAMILIES["taboo"].draw(12345), "organism")
    folder = tmp_path / "organisms"
    for name in ("same", "other"):
        shutil.copytree(Path(shipped.folder or ""), folder / name)
    (folder / "other" / "truth.json").write_text(json.dumps(truth.to_json()))
    found = validation_secrets(folder, [])
    assert [Path(each.folder or "").name for each, _ in found] == ["other"]
    plan_exam(f"folder:{folder}", tmp_path / "exam", Wanted())
    words = ["choose", str(folder), "--exam", str(tmp_path / "exam"), "--out", str(tmp_path)]
    assert main(words) == 2
    assert "2 organisms, and the exam asks for the secret of each" in capsys.readouterr().err
    assert main(["order", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "no finished organism is there" in capsys.readouterr().err


def test_text_alone_is_read_with_as_many_guesses(tmp_path: Path) -> None:
    investigation = open_case(tmp_path / "run", None, SAYS_IT)
    answer = sat(investigation, TextToGuess())
    assert called(investigation) == {"sample_responses", "submit_report"}
    assert (answer.kind, answer.value, len(answer.guesses)) == ("word", ("candle",), 10)
