"""Every arm is run on its prompts and scored; what cannot be scored is no zero."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.blobs import BlobStore
from tools.experiment import Context
from tools.prompt import Arm, Prompt, PromptItem, Template
from tools.registry import ToolError
from tools.scoring import (
    ArmPrompts,
    ScoringArguments,
    batches_of_arms,
    cluster_means,
    items_from,
    logprob_score,
    score_arms,
    summarise,
    transformed,
)
from tools.synthetic import SyntheticSubject

MATCH: dict[str, Any] = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}
TABLE: dict[str, Any] = {
    "behaviours": [
        {
            "shown": ["Yes."],
            "otherwise": ["No."],
            "logit": -30.0,
            "effects": [{"logit": 60.0, "phrase": "please", "model": "subject"}],
        }
    ]
}


def items(*texts: str) -> tuple[PromptItem, ...]:
    return items_from(texts)


def score(folder: Path, measure: dict[str, Any], table: dict[str, Any] = TABLE, **arms: Any) -> Any:
    blobs = BlobStore(folder)
    prompts = {
        name: ArmPrompts(arm=Arm(name=name, model=arm[0]), items=items(*arm[1])).model_dump()
        for name, arm in arms.items()
    }
    given = {"measure": measure, "arms": prompts, "samples": 3}
    result = score_arms(SyntheticSubject.from_table(table), given, Context(seed=1, blobs=blobs))
    return result, blobs


def test_each_arm_is_scored_on_its_own_model_and_prompts(tmp_path: Path) -> None:
    both = ("please go", "go")
    result, blobs = score(
        tmp_path,
        MATCH,
        subject=("subject", both),
        reference=("reference", both),
        one=("subject", both[:1]),
    )
    assert list(result.arms) == ["subject", "reference", "one"]
    assert {name: arm.mean for name, arm in result.arms.items()} == {
        "subject": 0.5,
        "reference": 0.0,
        "one": 1.0,
    }
    rows = json.loads(blobs.get(result.raw))["arms"]["subject"]
    assert [row["mean"] for row in rows] == [1.0, 0.0]
    assert rows[0]["outputs"] == ["Yes."] * 3 and rows[0]["scores"] == [1.0] * 3


def test_an_empty_answer_is_unscored(tmp_path: Path) -> None:
    silent = {"behaviours": [{"shown": [" "], "otherwise": [" "]}]}
    result, _ = score(tmp_path, MATCH, silent, a=("subject", ("go",)))
    assert result.arms["a"].mean is None and result.arms["a"].unscored == 1


def test_what_is_unscored_stays_out_of_every_mean() -> None:
    rows = [
        {"template_id": "t", "mean": 1.0},
        {"template_id": "t", "mean": None},
        {"template_id": "u", "mean": None},
        {"template_id": "v", "mean": 0.0},
    ]
    assert cluster_means(rows) == {"t": 1.0, "v": 0.0}
    assert summarise(rows).unscored == 2 and summarise(rows).mean == 0.5


def test_log_probabilities_are_read_not_sampled(tmp_path: Path) -> None:
    measure = {"kind": "logprob_difference", "positive": ["Yes"], "negative": ["No"]}
    result, _ = score(tmp_path, measure, a=("subject", ("please go", "go")))
    assert result.arms["a"].mean == pytest.approx(0, abs=1e-6)
    difference: Any = type("M", (), {"positive": ["a", "b"], "negative": ["c"]})
    assert logprob_score(difference, {"a": -1.0, "b": -1.0, "c": -1.0}) == pytest.approx(
        0.6931, abs=1e-4
    )


def test_a_measure_is_filled_from_each_item(tmp_path: Path) -> None:
    template = Template(text="is {a} so?")
    rows = tuple(
        PromptItem(
            id=a, template=template, template_id="t", slots={"a": a}, prompt=items("x")[0].prompt
        )
        for a in ("yes", "maybe")
    )
    prompts = {"arm": ArmPrompts(arm=Arm(name="arm"), items=rows)}
    table = {"behaviours": [{"shown": ["Yes."], "otherwise": ["Yes."]}]}
    given = ScoringArguments.model_validate(
        {"measure": {"kind": "answer_match", "values": ["{a}"]}, "arms": prompts}
    )
    result = score_arms(
        SyntheticSubject.from_table(table), given, Context(seed=0, blobs=BlobStore(tmp_path))
    )
    assert result.arms["arm"].mean == 0.5


def test_the_arms_of_a_contrast_share_their_noise(tmp_path: Path) -> None:
    table = {"behaviours": [{"shown": ["Yes."], "otherwise": ["No."], "logit": 0.0}]}
    texts = tuple(f"prompt {k}" for k in range(40))
    result, blobs = score(tmp_path, MATCH, table, a=("subject", texts), b=("subject", texts))
    arms = json.loads(blobs.get(result.raw))["arms"]
    assert [row["outputs"] for row in arms["a"]] == [row["outputs"] for row in arms["b"]]
    assert 0.2 < result.arms["a"].mean < 0.8


def test_paraphrases_go_round_by_template_and_not_by_item() -> None:
    edit: Any = {"kind": "insert_text", "texts": ("A", "B")}
    arm = Arm.model_validate({"name": "x", "edits": [edit]})
    given = [
        item.model_copy(update={"template_id": t})
        for item, t in zip(items("1", "2", "3"), "aab", strict=True)
    ]
    done = transformed(arm, given, lambda *_: "")
    assert [item.prompt.messages[0].content for item in done.items] == ["A 1", "A 2", "B 3"]


def test_batches_hold_one_model_and_a_bounded_number_of_items() -> None:
    many = tuple(f"p{k}" for k in range(600))
    arms = {
        name: ArmPrompts(arm=Arm(name=name, model=model), items=items(*many))
        for name, model in (("a", "subject"), ("r", "reference"), ("b", "subject"))
    }
    assert [list(batch) for batch in batches_of_arms(arms)] == [["a"], ["b"], ["r"]]


def test_own_prompts_are_clusters_of_their_own_and_never_empty() -> None:
    made = items_from(["x", Prompt(prefill="y", continue_as="raw")])
    assert [item.template_id for item in made] == ["own-001", "own-002"]
    assert made[0].template.source == "investigator"
    with pytest.raises(ToolError, match="prompt 1 is empty"):
        items_from([Prompt()])
