"""A recorded text that the model could not have said is told from one that rounding has turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tools.blobs import BlobStore
from tools.edits import save_direction
from tools.experiment import Context
from tools.following import follow_texts
from tools.prompt import InsertText, PatchFrom, Prompt, Steer, user_prompt
from tools.recorded_texts import ROUNDING, TOOL, FollowedText, RecordedText
from tools.sampling_noise import GumbelNoise, stream_start
from tools.subject import SubjectModel

SEED, TOKENS = 11, 12
PROMPTS = [
    user_prompt("The cat sat."),
    user_prompt("Which number is bigger, 9.8 or 9.11?"),
    Prompt(prefill="It is a clock on the mat", continue_as="raw"),
    Prompt(messages=user_prompt("Say it.").messages, prefill="It is"),
]
Subjects = Callable[[str], SubjectModel]


@pytest.fixture
def subject(subjects: Subjects) -> SubjectModel:
    return subjects("llama")


def said(
    subject: SubjectModel, temperature: float, samples: int = 3, **changes: Any
) -> list[RecordedText]:
    """Return what the model says to every prompt."""
    keys = [f"i{number}" for number in range(len(PROMPTS))]
    rows = subject.generate(
        PROMPTS,
        keys,
        seed=SEED,
        samples=samples,
        max_new_tokens=TOKENS,
        temperature=temperature,
        **changes,
    )
    return [
        RecordedText(model="subject", prompt=prompt, key=key, sample=sample, text=each.text)
        for prompt, key, row in zip(PROMPTS, keys, rows, strict=True)
        for sample, each in enumerate(row)
    ]


def followed(
    subject: SubjectModel,
    texts: Sequence[RecordedText],
    temperature: float = 1.0,
    rounding: float = ROUNDING["float32"],
    blobs: Path = Path("unused"),
) -> tuple[FollowedText, ...]:
    arguments = {
        "texts": [text.model_dump(mode="json") for text in texts],
        "max_new_tokens": TOKENS,
        "temperature": temperature,
        "rounding": rounding,
    }
    assert follow_texts.name == TOOL
    context = Context(seed=SEED, blobs=BlobStore(blobs))
    return follow_texts(subject, arguments, context).texts


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5])
def test_what_the_model_said_is_possible(subject: SubjectModel, temperature: float) -> None:
    texts = said(subject, temperature)
    assert len({text.text for text in texts}) > 3
    found = followed(subject, texts, temperature, rounding=0.0)
    assert [each.outcome for each in found] == ["possible"] * len(texts)


def test_a_text_of_another_row_is_impossible(subject: SubjectModel) -> None:
    texts = said(subject, 1.0)
    others = [
        text.model_copy(update={"text": other.text})
        for text, other in zip(texts, [*texts[3:], *texts[:3]], strict=True)
    ]
    assert all(a.text != b.text for a, b in zip(texts, others, strict=True))
    assert {each.outcome for each in followed(subject, others)} == {"impossible"}


@pytest.mark.parametrize("change", [{"sample": 7}, {"key": "other"}])
def test_noise_is_the_rows_own(subject: SubjectModel, change: dict[str, Any]) -> None:
    moved = [text.model_copy(update=change) for text in said(subject, 1.0)]
    outcomes = [each.outcome for each in followed(subject, moved)]
    assert outcomes.count("impossible") >= len(moved) - 1


def test_a_changed_end_of_a_text_is_impossible_and_its_place_is_told(subject: SubjectModel) -> None:
    (text, *_) = said(subject, 1.0)
    (found,) = followed(subject, [text.model_copy(update={"text": text.text + " and more"})])
    assert found.outcome == "impossible" and found.token is not None and found.token > 1
    short = text.model_copy(update={"text": text.text[:2]})
    (found,) = followed(subject, [short])
    assert found.outcome == "impossible" and found.preferred != "the end"


def test_the_margin_is_that_of_the_scores(subject: SubjectModel) -> None:
    text = said(subject, 0.5)[0]
    logits = subject.next_token_logprobs([text.prompt])[0]
    noise = GumbelNoise(
        [stream_start(SEED, text.key, text.sample)], len(logits), torch.device("cpu")
    )
    scores = noise.at(0)[0] + logits / 0.5
    # Special tokens leave no trace in a text: any may stand in front of the letter.
    known = {k: subject.encoder.decode([k]) for k in range(len(scores)) if k not in subject.stops}
    fits = [k for k, text in known.items() if text in ("Q", "")]
    (found,) = followed(subject, [text.model_copy(update={"text": "Q"})], 0.5)
    wanted = float(scores.max() - max(scores[k] for k in fits)) * 0.5
    assert found.token == 1
    assert found.preferred == repr(subject.encoder.decode([int(scores.argmax())]))
    assert found.margin == pytest.approx(wanted, abs=1e-3)


def test_what_rounding_turns_is_possible_and_no_more_than_that(
    subject: SubjectModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits are off by a little, as on another machine: texts part, and each has its reason."""
    wide = 0.3
    honest = said(subject, 1.0, samples=10)
    generator = torch.Generator().manual_seed(0)
    forward = subject.weights.network.lm_head.forward

    def off(hidden: Tensor) -> Tensor:
        logits = forward(hidden)
        return logits + (torch.rand(logits.shape, generator=generator) - 0.5) * wide

    with monkeypatch.context() as patched:
        patched.setattr(subject.weights.network.lm_head, "forward", off)
        elsewhere = said(subject, 1.0, samples=10)
    parted = [b for a, b in zip(honest, elsewhere, strict=True) if a.text != b.text]
    assert len(parted) > 3
    assert all(each.outcome == "possible" for each in followed(subject, parted, rounding=wide))
    exact = [each.outcome for each in followed(subject, parted, rounding=1e-4)]
    assert exact.count("impossible") >= len(parted) - 1


def test_an_intervention_is_part_of_what_is_followed(subject: SubjectModel, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    torch.manual_seed(0)
    reference = save_direction(blobs, torch.randn(subject.d_model) * 3)
    steer = Steer(direction=reference, layer=1, coefficient=1.0)
    again = (InsertText(texts=("It is a clock.",)),)
    patch = PatchFrom(layer=1, position=-1, source=again)
    for change, sources in ((steer, ()), (patch, PROMPTS[::-1])):
        edits = subject.edits_for(change, blobs, PROMPTS, sources)
        texts = said(subject, 1.0, samples=1, edits=edits)
        assert [t.text for t in texts] != [t.text for t in said(subject, 1.0, samples=1)]
        given = [
            text.model_copy(update={"intervention": change, "source": source})
            for text, source in zip(texts, sources or [None] * 4, strict=True)
        ]
        found = followed(subject, given, rounding=0.0, blobs=tmp_path)
        assert [each.outcome for each in found] == ["possible"] * 4
        plain = followed(subject, texts, blobs=tmp_path)
        assert "impossible" in [each.outcome for each in plain]


def test_rounding_is_wider_than_another_precision_of_the_sums(subject: SubjectModel) -> None:
    """The limit for float32 against what float32 leaves of the same model in float64."""
    import copy

    ids = torch.tensor([subject.encode(PROMPTS[1])])
    network = subject.weights.network
    with torch.no_grad():
        exact = copy.deepcopy(network).double()(input_ids=ids).logits
        error = float((network(input_ids=ids).logits.double() - exact).abs().max())
    assert 20 * error < ROUNDING["float32"]
