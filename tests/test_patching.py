import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from agent.recount_sweeps import recount_sweep
from tests.planted_circuit import CREATURES, MEASURE, kind, planted_subject
from tools.architecture import Site
from tools.blobs import BlobStore
from tools.effects import Guard
from tools.experiment import Context
from tools.intervention import ANOTHER, PatchingResult, patch_activations, place_reading
from tools.locator import ModelLocator
from tools.patching import PatchedCell, shared_beginning, sweep_p
from tools.prompt import PromptItem, Template, fill, user_prompt
from tools.registry import ToolError
from tools.subject import SubjectModel

YES = [c for c in CREATURES if kind(c)]
NO = [c for c in CREATURES if not kind(c)]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    return planted_subject(tmp_path_factory.mktemp("planted") / "model")


@pytest.fixture(scope="module")
def llama(model_folders: Callable[[str], Path]) -> SubjectModel:
    return SubjectModel.load(ModelLocator(model=str(model_folders("llama"))))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context(2, BlobStore(tmp_path_factory.mktemp("blobs")))


def passed(result: PatchingResult) -> dict[str, bool]:
    return {guard.name: guard.passed for guard in result.guards}


def trailing(creatures: list[str]) -> list[PromptItem]:
    """Templates in which the creature stands at one place from the end."""
    texts = ("now the {creature} came from the north", "they say {creature} left the old coast",
             "my friend {creature} was in hills", "we saw {creature} by the north then",
             "once a {creature} rests in the coast", "who keeps the {creature} near the hills")  # fmt: skip
    found: list[PromptItem] = []
    for text in texts:
        words = text.split()
        behind = len(words) - words.index("{creature}") - 1
        whole = text if behind == 4 else text + " today" * (4 - behind)
        template = Template(text=whole)
        for creature in creatures:
            slots = {"creature": creature}
            name = text[:6]
            found.append(PromptItem(id=f"{name}-{creature}", template=template, template_id=name,
                                    slots=slots, prompt=fill(template, slots)))  # fmt: skip
    return found


PLACE_OF_CREATURE = -(4 + 2 + 1)
"""Four words, the end of the turn and the assistant's mark stand behind it."""


@pytest.fixture(scope="module")
def patched(subject: SubjectModel, context: Context) -> PatchingResult:
    args = {
        "items": [item.model_dump(mode="json") for item in trailing(YES[:2])],
        "corrupted_edits": [{"kind": "set_slot", "slot": "creature", "values": NO[:4]}],
        "measure": MEASURE,
    }
    return patch_activations(subject, args, context)


def test_patching_finds_the_planted_way(patched: PatchingResult) -> None:
    assert patched.reading == "carries the difference here (exploratory)"
    strongest = {cell.layer: cell for cell in patched.cells}
    assert set(strongest) == {0, 1, 2}, "the last layer carries everything by construction"
    for layer, position in ((0, PLACE_OF_CREATURE), (1, PLACE_OF_CREATURE), (2, -1)):
        cell = strongest[layer]
        assert cell.position == position
        assert cell.denoising == pytest.approx(1, abs=0.1)
        assert cell.noising == pytest.approx(1, abs=0.1)
        assert abs(cell.control) < 0.1
    assert patched.total.mean > 5 and patched.pairs == 12 and not patched.notes


def test_answers_that_begin_alike_are_compared_where_they_part(
    subject: SubjectModel, context: Context
) -> None:
    items = trailing(YES[:2])
    args = {
        "items": [item.model_dump(mode="json") for item in items],
        "corrupted_edits": [{"kind": "set_slot", "slot": "creature", "values": NO[:4]}],
        "measure": {**MEASURE, "positive": ["it yes"], "negative": ["it no"]},
    }
    found = patch_activations(subject, args, context)
    forced = [item.prompt.model_copy(update={"prefill": "it"}) for item in items]
    wanted = subject.next_token_logprobs(forced)
    yes, no = (subject.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    assert found.clean == pytest.approx(float((wanted[:, yes] - wanted[:, no]).mean()), abs=1e-3)
    # "it" stands behind the prompt, so everything is one place further from the end.
    strongest = {cell.layer: cell.position for cell in found.cells}
    assert strongest == {0: PLACE_OF_CREATURE - 1, 1: PLACE_OF_CREATURE - 1, 2: -1}
    assert found.total.mean > 5
    assert shared_beginning([[5, 6, 7], [5, 6], [5, 6, 8]]) == [5]
    assert shared_beginning([[5], [6]]) == []


def test_patching_shows_nothing_elsewhere(patched: PatchingResult, context: Context) -> None:
    grid = json.loads(context.blobs.get(patched.raw))
    assert list(recount_sweep("patch_activations", {}, patched.model_dump(mode="json"), grid)) == []
    positions = grid["positions"]
    assert positions == list(range(PLACE_OF_CREATURE, 0))
    for way in ("denoising", "noising", "control"):
        values = torch.tensor(grid["effects"][way]) / patched.total.mean
        for number, site in enumerate(grid["sites"]):
            where = PLACE_OF_CREATURE if site[0] < 2 else -1
            rest = [k for k, position in enumerate(positions) if position != where]
            assert values[:, number, rest].mean(0).abs().max() < 0.1


def hooked(
    model: SubjectModel, source: list[int], target: list[int], site: Site, place: int
) -> Tensor:
    """Patch with plain hooks: run `target` with the activation of `source`."""
    network = model.weights.network
    path, is_input = model.weights.anatomy.part(site)
    module = network.get_submodule(path)
    kept: list[Tensor] = []

    def value(args: Any, output: Any) -> Tensor:
        found = args[0] if is_input else output
        return found[0] if isinstance(found, tuple) else found

    def take(_: Any, args: Any, output: Any = None) -> None:
        kept.append(value(args, output)[0, place].clone())

    def put(_: Any, args: Any, output: Any = None) -> None:
        value(args, output)[0, place] = kept[0]

    def run(ids: list[int], hook: Any) -> Tensor:
        register = module.register_forward_pre_hook if is_input else module.register_forward_hook
        handle = register(hook)
        try:
            with torch.no_grad():
                return network(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        finally:
            handle.remove()

    run(source, take)
    return run(target, put)


def test_patching_equals_exhaustive_plain_hooks(llama: SubjectModel, context: Context) -> None:
    clean = ["Which number is bigger, 9.8 or 9.11?", "Which cat sat on the mat, A or B?"]
    corrupted = ["Which number is bigger, 9.9 or 9.11?", "Which cat sat on the mat, B or B?"]
    kinds = ["resid_pre", "resid_post", "attn_out", "mlp_out"]
    args = {
        "clean": clean, "corrupted": corrupted, "sites": kinds, "layers": [0, 2, 3], "positions": [-9, -1, -4],
        "measure": {"kind": "logprob_difference", "positive": ["A"], "negative": ["B"]},
    }  # fmt: skip
    found = patch_activations(llama, args, context)
    grid = json.loads(context.blobs.get(found.raw))
    assert grid["positions"] == [-9, -4, -1]
    pairs = [
        [llama.encode(user_prompt(text)) for text in pair]
        for pair in zip(clean, corrupted, strict=True)
    ]
    a, b = (llama.tokenizer.encode(word, add_special_tokens=False)[0] for word in "AB")
    checked = 0
    for number, (ours, theirs) in enumerate(pairs):
        plain = grid["levels"]["clean"][number], grid["levels"]["corrupted"][number]
        for s, (layer, name) in enumerate(grid["sites"]):
            for p, place in enumerate(grid["positions"]):
                for way, run in (("denoising", (ours, theirs)), ("noising", (theirs, ours))):
                    after = hooked(llama, *run, Site(layer, name), place)
                    level = float(after[a] - after[b])
                    gain = level - plain[1] if way == "denoising" else plain[0] - level
                    assert grid["effects"][way][number][s][p] == pytest.approx(gain, abs=2e-5)
                    checked += 1
    assert checked == 2 * 12 * 3 * 2


def test_unequal_lengths_are_patched_where_they_share(
    subject: SubjectModel, context: Context
) -> None:
    shorter = "tell me of the {c} near the coast"
    longer = "now tell me of the old {c} near the coast"
    args = {
        "clean": [shorter.format(c=c) for c in YES[:4]],
        "corrupted": [longer.format(c=c) for c in NO[:4]],
        "measure": MEASURE,
    }
    result = patch_activations(subject, args, context)
    assert any("4 of 4 pairs differ in length" in note for note in result.notes)
    grid = json.loads(context.blobs.get(result.raw))
    assert grid["positions"] == [-5, -4, -3, -2, -1], "near the coast, and two marks"
    by_layer = {cell.layer: cell for cell in result.cells}
    assert by_layer[2].position == -1 and by_layer[2].share == pytest.approx(1, abs=0.15)
    assert abs(by_layer[1].share) < 0.15


def test_no_difference_is_no_place(llama: SubjectModel, context: Context) -> None:
    texts = [
        "Which number is bigger, {} or 9.11?",
        "The cat sat on the {}.",
        "It is {} clock",
        "Is it {}?",
    ]
    args = {
        "clean": [text.format("a") for text in texts],
        "corrupted": [text.format("b") for text in texts],
        "measure": {"kind": "logprob_difference", "positive": ["e"], "negative": ["o"]},
    }
    result = patch_activations(llama, args, context)
    assert result.reading == "no place stands out"
    assert not passed(result)["stands out of the whole sweep"]


def test_sweep_p_is_the_enumerated_one() -> None:
    """Four templates that agree reach one sign pattern of sixteen, drawn 999 times."""
    (strong, weak) = sweep_p([dict(zip("abcd", (3.0, 4.0, 5.0, 3.0), strict=True)),
                              dict(zip("abcd", (1.0, -1.0, 1.0, -1.0), strict=True))], 0)  # fmt: skip
    assert strong == pytest.approx(1 / 16, abs=0.03)
    assert weak > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clean": ["now"], "corrupted": ["now", "the"]}, "pairs are needed"),
        ({"clean": ["now"], "corrupted": ["now"]}, "same prompt"),
        ({"clean": ["now the"], "corrupted": ["the now"], "positions": [1]}, "from the end"),
        ({"clean": ["now the"], "corrupted": ["the now"], "layers": [4]}, "layers 0..3"),
        ({"clean": ["now the"], "corrupted": ["the now"], "positions": [-50]}, "no position"),
        ({"clean": ["now"]}, "give `items`"),
        (
            {"clean": ["now"], "corrupted": ["the"], "measure": {**MEASURE, "negative": ["yes"]}},
            "same token",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(
    subject: SubjectModel, context: Context, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        patch_activations(subject, {"measure": MEASURE, **change}, context)


def test_results_can_be_written_down(patched: PatchingResult) -> None:
    text = patched.model_dump_json()
    assert "NaN" not in text and len(text) < 12_000
    assert math.isfinite(patched.clean)


def test_a_place_that_any_clean_prompt_fills_in_part_is_told_with_its_share() -> None:
    cell = PatchedCell(
        site="attn_out", layer=2, position=-1, share=0.93, interval=None, denoising=0.92, noising=0.94,
        control=0.48, p=0.003, pairs=16,
    )  # fmt: skip
    names = ("clean and corrupted differ", ANOTHER, "stands out of the whole sweep")
    told = place_reading([Guard(name=name, passed=name != ANOTHER) for name in names], cell)
    assert (
        told.startswith("the first place carries 0.93 of the difference") and "0.48 of it" in told
    )
    assert place_reading([Guard(name=name, passed=False) for name in names], cell) == (
        "no place stands out"
    )
