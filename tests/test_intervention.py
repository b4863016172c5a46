import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from agent.recount_sweeps import recount_sweep
from agent.sweeps import curve_of
from tests.planted_circuit import (
    CREATURES,
    D_MODEL,
    KIND,
    MEASURE,
    MOOD,
    VERDICT,
    basis,
    creature_items,
    kind,
    planted_subject,
)
from tools.architecture import Site
from tools.blobs import BlobStore
from tools.directed_runs import Asking, DirectedRuns
from tools.directions import isotropic, seeded
from tools.edits import save_direction
from tools.experiment import Context
from tools.intervention import (
    AblationResult,
    SteeringResult,
    ablate_direction,
    steer,
)
from tools.locator import ModelLocator
from tools.measures import LogprobDifference
from tools.prompt import AblateDirection, user_prompt
from tools.registry import ToolError
from tools.scoring import items_from
from tools.subject import SubjectModel

YES = [c for c in CREATURES if kind(c)]
NO = [c for c in CREATURES if not kind(c)]
ITEMS = [item.model_dump(mode="json") for item in creature_items()[::24]]
ACTED_ON = [
    next(
        i for i in creature_items() if i.template_id == name and kind(i.slots["creature"])
    ).model_dump(mode="json")
    for name in dict.fromkeys(item.template_id for item in creature_items())
]
HALVES: dict[str, Any] = {
    "positive": [
        i.model_dump(mode="json") for i in creature_items(12) if kind(i.slots["creature"])
    ],
    "negative": [
        i.model_dump(mode="json") for i in creature_items(12) if not kind(i.slots["creature"])
    ],
}
WORDS = LogprobDifference(positive=("A",), negative=("B",))


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> SubjectModel:
    return planted_subject(tmp_path_factory.mktemp("planted") / "model")


@pytest.fixture(scope="module")
def llama(model_folders: Callable[[str], Path]) -> SubjectModel:
    return SubjectModel.load(ModelLocator(model=str(model_folders("llama"))))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context(2, BlobStore(tmp_path_factory.mktemp("blobs")))


@pytest.fixture(scope="module")
def concepts(context: Context) -> list[str]:
    return [save_direction(context.blobs, each) for each in isotropic(1.0, D_MODEL, 20, seeded(7))]


def passed(result: SteeringResult | AblationResult) -> dict[str, bool]:
    return {guard.name: guard.passed for guard in result.guards}


# steer


def steered(subject: SubjectModel, context: Context, **changes: Any) -> SteeringResult:
    args = {"items": ITEMS, "measure": MEASURE, "layer": 2, "doses": [0.01, 0.02, 0.04]}
    return steer(subject, {**args, **changes}, context)


def test_the_planted_direction_controls(
    subject: SubjectModel, context: Context, concepts: list[str]
) -> None:
    result = steered(subject, context, **HALVES, other_directions=concepts)
    assert result.reading == "controls the measure (exploratory)", passed(result)
    assert {band.kind: band.p for band in result.bands} == {
        "isotropic": 0.01, "covariance": 0.01, "shuffled": 0.01, "concept": 1 / 25,
    }  # fmt: skip
    levels = [dose.change.mean for dose in result.doses]
    assert levels == sorted(levels) and levels[0] < 0 < levels[-1]
    assert result.anti_steered == 0 and result.ahead_of_concepts == 1
    assert result.doses[0].kl_neutral > result.doses[2].kl_neutral > 0
    # What is told follows from the raw data, as `verify` counts it again, and can be drawn.
    told = result.model_dump(mode="json")
    assert list(recount_sweep("steer", {}, told, json.loads(context.blobs.get(result.raw)))) == []
    curve = curve_of({"measure": {"kind": "word_count"}}, told)
    assert curve is not None and [point.change for point in curve.points] == levels


def test_too_few_concepts_are_said(subject: SubjectModel, context: Context) -> None:
    result = steered(subject, context, **HALVES)
    assert result.reading.startswith(
        "moves the measure (exploratory); not passed: compared with 20"
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_random_direction_does_no_more(
    subject: SubjectModel, context: Context, seed: int
) -> None:
    drawn = isotropic(20.0, D_MODEL, 1, seeded(1000 + seed))[0]
    result = steered(subject, context, direction=save_direction(context.blobs, drawn))
    assert result.reading == "does no more than placebo directions"


def test_what_is_written_and_never_read_does_not_control(
    subject: SubjectModel, context: Context
) -> None:
    reference = save_direction(context.blobs, 20 * basis(MOOD))
    result = steered(subject, context, direction=reference, layer=1)
    assert result.reading == "does no more than placebo directions"
    assert steered(subject, context, direction=save_direction(context.blobs, 20 * basis(KIND)),
                   layer=1).effect.mean > 3 * abs(result.effect.mean)  # fmt: skip


def test_shuffled_labels_give_no_direction(subject: SubjectModel, context: Context) -> None:
    everyone = [*HALVES["positive"], *HALVES["negative"]]
    readings = [
        steered(
            subject,
            Context(seed, context.blobs),
            items=ITEMS[:6],
            positive=everyone[seed::2],
            negative=everyone[1 - seed :: 2],
        ).reading
        for seed in (0, 1)
    ]  # fmt: skip
    assert not [reading for reading in readings if reading.startswith("controls")]


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_steered_runs_equal_plain_hooks(llama: SubjectModel, context: Context, layer: int) -> None:
    items = items_from(["Which number is bigger?", "The cat sat on the mat.", "It"])
    vectors = isotropic(2.0, llama.d_model, 5, seeded(layer))
    runs = DirectedRuns(llama, items, Asking(WORDS), context, "add", [Site(layer)])
    found = runs.scores(vectors)
    plain = runs.plain()
    a, b = (llama.tokenizer.encode(word, add_special_tokens=False)[0] for word in "AB")
    block = llama.weights.anatomy.layers[layer]
    for row, vector in enumerate([None, *vectors]):
        for column, item in enumerate(items):

            def push(_: Any, args: Any, output: Tensor, vector: Tensor | None = vector) -> Any:
                return output if vector is None else output + vector

            handle = block.register_forward_hook(push)
            with torch.no_grad():
                ids = torch.tensor([llama.encode(item.prompt)])
                logits = llama.weights.network(input_ids=ids).logits[0, -1]
            handle.remove()
            wanted = float(logits[a] - logits[b])
            got = plain[column] if vector is None else found[row - 1, column]
            assert float(got) == pytest.approx(wanted, abs=2e-5)


def test_long_answers_take_the_same_way_as_declared_edits(
    llama: SubjectModel, context: Context
) -> None:
    """Answers of several tokens cannot leave the plain row; both ways must agree on short ones."""
    items = items_from(["Which number is bigger?", "The cat sat on the mat."])
    vectors = isotropic(2.0, llama.d_model, 3, seeded(1))
    short = DirectedRuns(llama, items, Asking(WORDS), context, "add", [Site(1)])
    long = DirectedRuns(llama, items, Asking(WORDS), context, "add", [Site(1)])
    long.tokens = None
    assert torch.allclose(short.scores(vectors), long.scores(vectors), atol=2e-5)
    assert torch.allclose(short.plain(), long.plain(), atol=2e-5)
    several = Asking(LogprobDifference(positive=("the cat",), negative=("B",)))
    assert DirectedRuns(llama, items, several, context, "add", [Site(1)]).scores(vectors).shape == (
        3,
        2,
    )


def test_sampled_measures_can_be_steered(subject: SubjectModel, context: Context) -> None:
    measure = {"kind": "answer_match", "values": ["yes"], "against": ["no"]}
    result = steered(
        subject, context, **HALVES, items=ITEMS[:4], measure=measure, doses=[0.25, 0.5, 1.0], max_new_tokens=1
    )  # fmt: skip
    assert result.effect.mean > 0.3
    assert {band.kind: band.p <= 0.05 for band in result.bands}["isotropic"]


# ablate_direction


def test_the_planted_direction_contributes(
    subject: SubjectModel, context: Context, concepts: list[str]
) -> None:
    reference = save_direction(context.blobs, basis(VERDICT))
    args = {
        "items": ACTED_ON,
        "measure": MEASURE,
        "direction": reference,
        "layer": 2,
        "other_directions": concepts,
    }
    result = ablate_direction(subject, args, context)
    assert result.before > 5
    assert result.before + result.effect.mean == pytest.approx(0, abs=0.2)
    assert {band.kind: band.p for band in result.bands}["covariance"] == 0.01
    failed = {name for name, ok in passed(result).items() if not ok}
    assert failed <= {"neutral text is kept"}


def test_a_direction_that_is_not_read_does_not_contribute(
    subject: SubjectModel, context: Context
) -> None:
    reference = save_direction(context.blobs, basis(MOOD))
    args = {"items": ACTED_ON, "measure": MEASURE, "direction": reference, "layer": 1}
    result = ablate_direction(subject, args, context)
    assert result.reading == "does no more than placebo directions"
    # What is left is larger after the norm, so the answer gets surer: no loss, whatever its size.
    assert result.effect.mean > 0 and all(band.p > 0.5 for band in result.bands)


def test_an_unrelated_skill_is_looked_at(subject: SubjectModel, context: Context) -> None:
    reference = save_direction(context.blobs, basis(VERDICT))
    args = {
        "items": ACTED_ON[:12], "measure": MEASURE, "direction": reference, "layer": 2, "layers": [2],
        "unrelated_items": ITEMS[:12],
        "unrelated_measure": {"kind": "logprob_difference", "positive": ["it"], "negative": ["the"]},
    }  # fmt: skip
    result = ablate_direction(subject, args, context)
    assert result.unrelated is not None
    assert abs(result.unrelated.mean) < 0.1 * abs(result.effect.mean)
    broken = {**args, "unrelated_items": ACTED_ON[:12], "unrelated_measure": MEASURE}
    assert not passed(ablate_direction(subject, broken, context))["unrelated skill is kept"]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_ablation_everywhere_equals_edited_weights(
    family: str, model_folders: Callable[[str], Path], context: Context, tmp_path: Path
) -> None:
    """Nothing that writes into the stream may write the direction: W <- W - r r^T W, biases too."""
    folder = model_folders(family)
    subject = SubjectModel.load(ModelLocator(model=str(folder)))
    direction = isotropic(1.0, subject.d_model, 1, seeded(0))[0]
    intervention = AblateDirection(direction=save_direction(context.blobs, 3 * direction))
    prompts = [
        user_prompt(text)
        for text in ("Which number is bigger?", "The cat", "It is a clock, is it?")
    ]
    edits = subject.edits_for(intervention, context.blobs, prompts)
    hooked = subject.next_token_logprobs(prompts, edits)
    network = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            last = name.split(".")[-2]
            if last in ("embed_tokens", "wte", "wpe") or (family == "gpt2" and last == "c_proj"):
                weight -= (weight @ direction)[
                    ..., None
                ] * direction  # rows, or a bias, in the stream
            elif last in ("o_proj", "down_proj"):
                weight -= direction[:, None] * (direction @ weight)
        if family == "gpt2":
            network.lm_head.weight = torch.nn.Parameter(
                subject.weights.network.lm_head.weight.clone()
            )
        for row, prompt in enumerate(prompts):
            ids = torch.tensor([subject.encode(prompt)])
            edited = network(input_ids=ids).logits[0, -1].log_softmax(-1)
            assert torch.allclose(hooked[row], edited, atol=1e-5)
    plain = subject.next_token_logprobs(prompts)
    assert float((plain - hooked).abs().max()) > 0.01


# mistakes


@pytest.mark.parametrize(
    ("tool", "change", "message"),
    [
        (steer, {"layer": 9}, "layers 0..3"),
        (steer, {"doses": [0.0, 1.0, 2.0]}, "positive"),
        (steer, {"positive": None, "negative": None}, "give a `direction`"),
        (steer, {"negative": HALVES["positive"]}, "direction is zero"),
        (ablate_direction, {"layers": [4]}, "layers 0..3"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_line(
    subject: SubjectModel, context: Context, tool: Any, change: dict[str, Any], message: str
) -> None:
    args: dict[str, Any] = {"measure": MEASURE, "items": ITEMS[:4], "layer": 2, **HALVES}
    with pytest.raises(ToolError, match=message):
        tool(subject, {**args, **change}, context)
