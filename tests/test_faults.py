"""Lack of memory, numbers that are none, and calls that make no sense."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tools.architecture import Site
from tools.edits import Edit
from tools.faults import NonFinite, OutOfMemory
from tools.generation import Passage
from tools.locator import ModelLocator
from tools.prompt import Prompt, user_prompt
from tools.registry import ToolError
from tools.subject import SubjectModel

PROMPTS = [
    user_prompt("The cat sat."),
    user_prompt("Which number is bigger, 9.8 or 9.11?"),
    Prompt(prefill="It is a clock on the mat", continue_as="raw"),
]
Subjects = Callable[[str], SubjectModel]
Plains = Callable[[str], Any]


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=3e-4, rtol=3e-4)


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let memory run out for batches of more than three rows; return the sizes that were tried."""
    forward, tried = Passage._forward, []

    def limited(self: Passage, ids: Tensor, positions: Tensor, keep: int) -> Tensor:
        tried.append(len(ids))
        if len(ids) > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return forward(self, ids, positions, keep)

    monkeypatch.setattr(Passage, "_forward", limited)
    return tried


@pytest.mark.parametrize("edited", [False, True])
def test_batches_are_halved_when_memory_runs_out_and_stay_so(
    edited: bool, subjects: Subjects, crowded: list[int]
) -> None:
    subject = subjects("llama")
    edits = [Edit(Site(1), "add", torch.ones(48))] if edited else []
    prompts = [user_prompt(f"The {n} cats") for n in range(20)]
    keys = [str(n) for n in range(20)]
    few = [
        subject.generate([p], [k], seed=1, max_new_tokens=4, edits=edits)[0]
        for p, k in zip(prompts, keys, strict=True)
    ]
    many = subject.generate(prompts, keys, seed=1, max_new_tokens=4, edits=edits)
    assert many == few
    assert subject.batches.size == 2
    crowded.clear()
    subject.next_token_logprobs(prompts)
    assert max(crowded) == 2


def test_other_errors_are_not_taken_for_lack_of_memory(
    subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = subjects("llama")

    def broken(*_: object) -> Tensor:
        raise RuntimeError("size mismatch")

    with monkeypatch.context() as patch:
        patch.setattr(Passage, "_forward", broken)
        with pytest.raises(RuntimeError, match="size mismatch"):
            subject.next_token_logprobs(PROMPTS)
        assert subject.batches.size == 32
        patch.setattr(Passage, "_forward", out_of_memory)
        with pytest.raises(OutOfMemory, match="one row"):
            subject.capture(PROMPTS, [Site(0)])
    subject.next_token_logprobs(PROMPTS)


def out_of_memory(*_: object) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_nan_is_raised_and_never_a_value(model_folders: Callable[[str], Path]) -> None:
    subject = SubjectModel.load(ModelLocator(model=str(model_folders("llama"))))
    weight = subject.weights.network.model.layers[1].mlp.down_proj.weight
    healthy = weight[0, 0].clone()
    with torch.no_grad():
        weight[0, 0] = torch.nan
    calls: list[Callable[[], object]] = [
        lambda: subject.generate(PROMPTS, "abc", seed=1),
        lambda: subject.next_token_logprobs(PROMPTS),
        lambda: subject.continuation_logprobs(PROMPTS, [["a b c"]] * 3),
        lambda: subject.capture(PROMPTS, [Site(2)]),
        lambda: subject.lens(torch.full((48,), torch.nan)),
    ]
    for call in calls:
        with pytest.raises(NonFinite):
            call()
    assert torch.isfinite(subject.capture(PROMPTS, [Site(0)])).all()
    with torch.no_grad():
        weight[0, 0] = healthy
    assert torch.isfinite(subject.next_token_logprobs(PROMPTS)).all()


def edit(**changes: Any) -> Edit:
    fields: dict[str, Any] = {"site": Site(1), "operation": "add", "vector": torch.ones(48)}
    return Edit(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"site": Site(99)}, "layer 99; this model has layers 0..3"),
        ({"site": Site(1, "heads")}, "sites are: resid_pre"),  # pyright: ignore[reportArgumentType]
        ({"vector": torch.ones(47)}, r"this needs \[48\] or \[3, 48\]"),
        ({"vector": torch.ones(2, 48)}, r"this needs \[48\] or \[3, 48\]"),
        ({"vector": torch.full((48,), torch.inf)}, "not finite"),
        ({"coefficient": torch.ones(2)}, "coefficients for 3 rows"),
        ({"operation": "project_out", "vector": torch.zeros(48)}, "zero vector"),
        ({"operation": "double"}, "use add, project_out or set"),
        ({"positions": "last"}, "use all, prompt, generated or -1"),
        ({"positions": -50}, "position -50 outside the 8 tokens of row 0"),
        ({"positions": [-1, -1]}, "2 positions for 3 rows"),
        ({"rows": [7]}, "row outside the 3 prompts"),
    ],
)
def test_wrong_edits_are_refused_in_one_line_before_the_model_runs(
    changes: dict[str, Any], message: str, subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError("the model ran")

    monkeypatch.setattr(Passage, "_forward", never)
    with pytest.raises(ToolError, match=message) as caught:
        subjects("llama").generate(PROMPTS, "abc", seed=1, edits=[edit(**changes)])
    assert "\n" not in str(caught.value)


def test_wrong_calls_are_refused_in_one_line(subjects: Subjects) -> None:
    subject = subjects("llama")
    with pytest.raises(ToolError, match="no prompts"):
        subject.next_token_logprobs([])
    with pytest.raises(ToolError, match="reads at most 192"):
        subject.generate([user_prompt("cat " * 100)], ["a"], seed=1, max_new_tokens=100)
    with pytest.raises(ToolError, match="no reference"):
        subject.arm("reference")
    with pytest.raises(ToolError, match="layer 4; this model has layers 0..3"):
        subject.capture(PROMPTS, [Site(4)])
    with pytest.raises(ToolError, match="position 40 outside"):
        subject.capture(PROMPTS, [Site(0)], [40])
    with pytest.raises(ToolError, match="a continuation is empty"):
        subject.continuation_logprobs(PROMPTS[:1], [[""]])
