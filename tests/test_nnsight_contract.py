"""What the engine relies on in nnsight: nine ways of writing a trace, and what becomes of each.

nnsight reads the source text of the `with` block it is called from, so ordinary refactors break it. An
upgrade that changes one of these shows here, not as a hang in the middle of an investigation.
"""

# ruff: noqa: SIM117, F841 - merged or shortened, these blocks would test something else
from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.plain_models import SIZES
from tools.loading import nnsight

SECONDS = 60
IDS = torch.tensor([[3, 4, 5, 6]])


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return nnsight.NNsight(LlamaForCausalLM(LlamaConfig(vocab_size=32, **SIZES)).eval())


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """Fail what would hang: older versions wait for ever where this one raises."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"nnsight did not come back within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def layer_output(model: Any, index: int) -> torch.Tensor:
    """Read a layer by a plain hook."""
    seen: list[torch.Tensor] = []
    layer = model._module.model.layers[index]
    handle = layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        model._module(IDS)
    handle.remove()
    return seen[0]


def test_a_trace_alone_on_its_line_saves_what_leaves_it(model: Any) -> None:
    with torch.no_grad():
        with model.trace(IDS):
            seen = nnsight.save(model.model.layers[1].output)
    assert torch.equal(seen, layer_output(model, 1))


def test_a_trace_beside_no_grad_on_one_line_works(model: Any) -> None:
    with torch.no_grad(), model.trace(IDS):
        seen = nnsight.save(model.model.layers[1].output)
    assert torch.equal(seen, layer_output(model, 1))


def test_a_parenthesised_trace_works(model: Any) -> None:
    with (
        torch.no_grad(),
        model.trace(IDS),
    ):
        seen = nnsight.save(model.model.layers[1].output)
    assert torch.equal(seen, layer_output(model, 1))


def test_a_return_inside_the_block_is_refused(model: Any) -> None:
    def run() -> Any:
        with model.trace(IDS):
            return nnsight.save(model.model.layers[1].output)

    with pytest.raises(SyntaxError):
        run()


def test_a_context_manager_of_our_own_is_refused(model: Any) -> None:
    @contextmanager
    def traced() -> Iterator[None]:
        with model.trace(IDS):
            yield

    with pytest.raises(SyntaxError), traced():
        pass


def test_a_function_called_inside_the_block_works(model: Any) -> None:
    def read(index: int) -> Any:
        return nnsight.save(model.model.layers[index].output)

    with torch.no_grad():
        with model.trace(IDS):
            seen = read(2)
    assert torch.equal(seen, layer_output(model, 2))


def test_layers_are_read_in_forward_order_or_not_at_all(model: Any) -> None:
    with pytest.raises(Exception, match="already ran past") as caught:
        with model.trace(IDS):
            late = nnsight.save(model.model.layers[2].output)
            early = nnsight.save(model.model.layers[0].output)
    assert "OutOfOrder" in type(caught.value).__name__


def test_what_is_not_saved_does_not_leave_the_block(model: Any) -> None:
    def run() -> Any:
        with torch.no_grad():
            with model.trace(IDS):
                lost = model.model.layers[1].output  # pyright: ignore[reportUnusedVariable]
        return lost

    with pytest.raises(UnboundLocalError):
        run()


def test_a_trace_without_source_text_is_refused(model: Any) -> None:
    code = "with model.trace(ids):\n    seen = nnsight.save(model.model.layers[1].output)\n"
    with pytest.raises(Exception) as caught:
        exec(code, {"model": model, "ids": IDS})
    assert "WithBlockNotFound" in type(caught.value).__name__


def test_a_layer_out_of_range_is_an_error_before_anything_runs(model: Any) -> None:
    with pytest.raises((AttributeError, IndexError)):
        with model.trace(IDS):
            seen = nnsight.save(model.model.layers[99].output)
