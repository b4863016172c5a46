"""An experiment is one call, complete; its key says when two are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.blobs import BlobStore
from tools.experiment import Context, call_key, canonical_json, run_experiment
from tools.registry import Record, ToolError, tool


class Arguments(Record):
    word: str = "a"


class Result(Record):
    said: str


@tool
def echo(subject: Any, args: Arguments, context: Context) -> Result:
    """Say it again."""
    if args.word == "bad":
        raise ToolError("bad word")
    if args.word == "broken":
        raise RuntimeError("a fault of ours")
    return Result(said=f"{args.word} {context.seed}")


class Subject:
    digests = {"subject": "d"}


def context(folder: Path) -> Context:
    return Context(seed=5, blobs=BlobStore(folder))


def test_a_result_and_a_mistake_are_both_complete_experiments(tmp_path: Path) -> None:
    done = run_experiment([echo], "echo", Subject(), {"word": "hi"}, context(tmp_path))
    assert (done.result, done.error, done.seed) == ({"said": "hi 5"}, None, 5)
    assert done.models == {"subject": "d"} and len(done.code) == 64
    done = run_experiment([echo], "echo", Subject(), {"word": "bad"}, context(tmp_path))
    assert (done.result, done.error, done.error_kind) == (None, "bad word", "investigator")
    assert done.arguments == {"word": "bad"}


def test_an_unknown_tool_is_a_mistake_and_a_bug_is_not(tmp_path: Path) -> None:
    done = run_experiment([echo], "ecko", Subject(), {}, context(tmp_path))
    assert done.error_kind == "investigator" and "did you mean 'echo'" in (done.error or "")
    with pytest.raises(RuntimeError, match="fault of ours"):
        run_experiment([echo], "echo", Subject(), {"word": "broken"}, context(tmp_path))


KEY = ("t", {"a": 1, "b": [2]}, {"subject": "x"}, "code", 3)


def test_the_key_covers_everything_that_decides_the_outcome() -> None:
    others = [
        ("u", *KEY[1:]),
        (KEY[0], {"a": 1, "b": [3]}, *KEY[2:]),
        (*KEY[:2], {"subject": "y"}, *KEY[3:]),
        (*KEY[:3], "changed", 3),
        (*KEY[:4], 4),
    ]
    assert len({call_key(*KEY), *(call_key(*other) for other in others)}) == 6


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(max_size=4), json_values, max_size=5))
def test_the_key_does_not_depend_on_the_order_of_arguments(value: dict[str, Any]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(turned)
    assert call_key("t", value, {}, "", 0) == call_key("t", turned, {}, "", 0)


def test_canonical_json_holds_no_nan() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"a": float("nan")})
