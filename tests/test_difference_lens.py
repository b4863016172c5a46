"""What a fine-tune adds to any text is read as its word; where nothing differs no word is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.planted_models import WORDS, changed_copy, constant_feature, load, save_base, tokens_of
from tools.architecture import Site
from tools.blobs import BlobStore
from tools.difference_lens import DifferenceResult, difference_lens
from tools.experiment import Context
from tools.neutral import sentences
from tools.registry import ToolError
from tools.subject import SubjectModel
from tools.synthetic import SyntheticSubject

NOUNS = tuple(WORDS[: WORDS.index("what")])
TEXTS = tuple(f"{first} {second} {first} the {third} where" for first, second, third in zip(
    NOUNS[:12], NOUNS[12:24], NOUNS[24:36], strict=True
))  # fmt: skip


def write_everywhere(word: str, layer: int, size: float) -> Any:
    """Write a word's direction into the residual stream after a layer at every token of any text."""

    def change(model: Any, tokenizer: Any) -> None:
        direction = model.lm_head.weight[tokens_of(tokenizer, word)[1]]
        ids = torch.randint(10, len(tokenizer), (16, 12))
        target = model.model.layers[layer].mlp.down_proj
        seen: list[Any] = []
        hook = target.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        model(input_ids=ids)
        hook.remove()
        feature = constant_feature(seen[0].flatten(0, 1))
        target.weight += size * (direction / direction.norm())[:, None] * feature

    return change


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def written(base: Path, tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    """Return a subject that has "violin" behind layer 1 in every text, beside its base."""
    folder = tmp_path_factory.mktemp("models") / "written"
    return load(changed_copy(base, folder, write_everywhere("violin", 1, 3.0)), base)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(seed=1, blobs=BlobStore(tmp_path))


def run(subject: Any, context: Context, **arguments: Any) -> DifferenceResult:
    result = difference_lens(subject, {"texts": TEXTS} | arguments, context)
    assert isinstance(result, DifferenceResult)
    return result


def test_a_word_that_was_added_everywhere_is_read(written: SubjectModel, context: Context) -> None:
    found = run(written, context, layers=(1,))
    assert found.words[0].word == "violin" and found.words[0].layer == 1
    assert found.words[0].outlier > found.outlier_by_chance and found.standing_out >= 1
    assert found.summary.startswith(
        f"{found.standing_out} words stand out of the difference: violin"
    )
    assert found.relative_norm[0] > 0.1 and found.texts == len(TEXTS)
    among = run(written, context, layers=(1,), candidates=NOUNS, top=3)
    assert among.words[0].word == "violin" and len(among.words) == 3


def test_the_layer_before_has_no_difference(written: SubjectModel, context: Context) -> None:
    before, behind = run(written, context, layers=(0, 1)).relative_norm
    assert before < 1e-6 < behind
    assert run(written, context, layers=(0,)).words == ()


def test_the_middle_layer_and_our_neutral_sentences_are_taken_by_themselves(
    written: SubjectModel, context: Context
) -> None:
    found = difference_lens(written, {"positions": (0, 1)}, context)
    assert isinstance(found, DifferenceResult)
    assert found.layers == (2,) and found.texts == len(sentences("neutral")) + len(
        sentences("off_topic")
    )


def test_the_same_weights_read_as_nothing(base: Path, context: Context) -> None:
    found = run(load(base, base), context)
    assert (found.words, found.standing_out) == ((), 0)
    assert found.summary == "no difference: the activations are the same"


def test_the_difference_is_that_of_the_networks(
    base: Path, written: SubjectModel, context: Context
) -> None:
    text = TEXTS[0]
    ids = torch.tensor([written.tokenizer(text).input_ids])
    other: Any = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        theirs = other(input_ids=ids, output_hidden_states=True).hidden_states[2][0, :2]
        ours = written.capture_ids([ids[0].tolist()], [Site(1)], [[0, 1]])[0][0]
    wanted = float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).mean())
    found = run(written, context, layers=(1,), positions=(0, 1), texts=(text, text))
    assert found.relative_norm[0] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"positions": (-1,)}, "0 is the first token"),
        ({"positions": (0, 40)}, "0 texts have a token 40; two or more must"),
        ({"layers": (9,)}, "layer 9; this model has layers 0..3"),
    ],
)
def test_mistakes_are_told_in_one_line(
    written: SubjectModel, context: Context, arguments: dict[str, Any], line: str
) -> None:
    with pytest.raises(ToolError, match=line):
        run(written, context, **arguments)


def test_without_a_reference_or_an_inside_it_is_refused(base: Path, context: Context) -> None:
    with pytest.raises(ToolError, match="no reference model"):
        run(load(base), context)
    table = SyntheticSubject.from_table({"behaviours": [{"shown": ["a"], "otherwise": ["b"]}]})
    with pytest.raises(ToolError, match="cannot be looked into"):
        run(table, context)
