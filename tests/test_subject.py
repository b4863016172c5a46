"""Every number the subject gives, against plain Hugging Face calls with plain torch hooks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tools.architecture import Site
from tools.edits import Edit
from tools.prompt import Prompt, user_prompt
from tools.sampling_noise import GumbelNoise, stream_start
from tools.subject import SubjectModel

PROMPTS = [
    user_prompt("The cat sat."),
    user_prompt("Which number is bigger, 9.8 or 9.11?"),
    Prompt(prefill="It is a clock on the mat", continue_as="raw"),
]
NORM_BEHIND = ("gemma2", "gemma3", "olmo2")


Subjects = Callable[[str], SubjectModel]
Plains = Callable[[str], Any]


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=3e-4, rtol=3e-4)


def test_captures_are_what_plain_hooks_see(family: str, subjects: Subjects, plains: Plains) -> None:
    subject, plain = subjects(family), plains(family)
    sites = [Site(layer) for layer in range(4)]
    sites += [Site(0, "resid_pre"), Site(2, "resid_pre"), Site(1, "attn_out"), Site(3, "mlp_out")]
    positions = [-1, -3, 0, 2]
    found = subject.capture(PROMPTS, sites, positions)
    for row, prompt in enumerate(PROMPTS):
        for number, site in enumerate(sites):
            wanted = plain.observed(site, subject.encode(prompt))[positions]
            assert_close(found[number, row], wanted)
    assert found.dtype == torch.float32
    assert found.requires_grad is False
    (found * 2).sum()  # usable outside inference mode
    apart = subject.capture(PROMPTS[:2], sites[:1], [[-1, 1], [3, -2]])
    wanted = plain.observed(sites[0], subject.encode(PROMPTS[1]))[[3, -2]]
    assert_close(apart[0, 1], wanted)


def test_edits_are_what_plain_hooks_write(family: str, subjects: Subjects, plains: Plains) -> None:
    subject, plain = subjects(family), plains(family)
    torch.manual_seed(0)
    vectors = torch.randn(3, 48)
    coefficients = torch.tensor([0.5, -3.0, 2.0])

    def add(row: int, hidden: Tensor) -> Tensor:
        return hidden + coefficients[row] * vectors[row]

    def project(row: int, hidden: Tensor) -> Tensor:
        unit = vectors[0] / vectors[0].norm()
        return hidden - (hidden @ unit)[..., None] * unit

    def put(row: int, hidden: Tensor) -> Tensor:
        changed = hidden.clone()
        changed[0, [-2, 3, -1][row]] = vectors[row]
        return changed

    cases: list[tuple[Edit, Callable[[int, Tensor], Tensor]]] = [
        (Edit(Site(1), "add", vectors, coefficients), add),
        (Edit(Site(0, "resid_pre"), "add", vectors, coefficients, "prompt"), add),
        (Edit(Site(2, "attn_out"), "add", vectors, coefficients), add),
        (Edit(Site(3, "mlp_out"), "add", vectors, coefficients), add),
        (Edit(Site(2), "project_out", vectors[0] * 7), project),
        (Edit(Site(1), "set", vectors, positions=[-2, 3, -1]), put),
    ]
    for edit, change in cases:
        found = subject.next_token_logprobs(PROMPTS, edits=[edit])
        for row, prompt in enumerate(PROMPTS):
            with plain.hooked(edit.site, lambda hidden, row=row, c=change: c(row, hidden)):
                wanted = plain.logits(subject.encode(prompt))[-1].log_softmax(-1)
            assert_close(found[row], wanted)
    bare = subject.next_token_logprobs(PROMPTS)
    partial = subject.next_token_logprobs(
        PROMPTS, edits=[replace(cases[0][0], vector=vectors[:1], coefficient=1.0, rows=[1])]
    )
    assert_close(partial[[0, 2]], bare[[0, 2]])
    assert (partial[1] - bare[1]).abs().max() > 0.01


def test_lens_on_the_last_layer_gives_the_logits(
    family: str, subjects: Subjects, plains: Plains
) -> None:
    subject = subjects(family)
    hidden = subject.capture(PROMPTS, [Site(3)], [-1])[0, :, 0]
    logits = subject.lens(hidden)
    for row, prompt in enumerate(PROMPTS):
        assert_close(logits[row], plains(family).logits(subject.encode(prompt))[-1])


def naive_samples(
    subject: SubjectModel, plain: Any, prompt: Prompt, key: str, temperature: float, tokens: int
) -> list[int]:
    """Sample without a cache, without a batch, from the plain model."""
    ids = subject.encode(prompt)
    new: list[int] = []
    noise = GumbelNoise([stream_start(7, key, 0)], subject.vocab_size, torch.device("cpu"))
    for step in range(tokens):
        scores = plain.logits(ids + new)[-1]
        if temperature > 0:
            scores = scores / temperature + noise.at(step)[0]
        token = int(scores.argmax())
        if token == 2:
            break
        new.append(token)
    return new


def test_sampling_with_a_cache_is_sampling_without(
    family: str, subjects: Subjects, plains: Plains
) -> None:
    subject, plain = subjects(family), plains(family)
    for temperature in (0.0, 1.0):
        found = subject.generate(
            PROMPTS, ["a", "b", "c"], seed=7, max_new_tokens=14, temperature=temperature
        )
        for prompt, key, generations in zip(PROMPTS, "abc", found, strict=True):
            ids = naive_samples(subject, plain, prompt, key, temperature, 14)
            assert generations[0].text == subject.encoder.decode(ids, prompt)
            assert generations[0].tokens == len(ids)
            assert generations[0].finished == (len(ids) < 14)


def test_same_texts_at_any_batch_size_with_and_without_edits(
    family: str, subjects: Subjects
) -> None:
    subject = subjects(family)
    torch.manual_seed(1)
    edits = [
        Edit(Site(1), "add", torch.randn(3, 48), torch.tensor([1.0, 3.0, -2.0]), "generated"),
        Edit(Site(2), "project_out", torch.randn(48)),
    ]
    for given in ((), edits):
        texts: list[Any] = []
        for size in (1, 8, 32):
            subject.batches.size = size
            texts.append(
                subject.generate(PROMPTS, "abc", seed=3, samples=9, max_new_tokens=10, edits=given)
            )
        assert texts[0] == texts[1] == texts[2]
        assert len({generation.text for generation in texts[0][0]}) > 5
    alone = subject.generate(PROMPTS[1:2], "b", seed=3, samples=2, max_new_tokens=10)
    together = subject.generate(PROMPTS, "abc", seed=3, samples=2, max_new_tokens=10)
    assert alone[0] == together[1]


@pytest.mark.parametrize("positions", ["all", "prompt", "generated", -1])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_steering_while_generating_is_steering_every_step(
    family: str, positions: Any, subjects: Subjects, plains: Plains
) -> None:
    subject, plain = subjects(family), plains(family)
    torch.manual_seed(2)
    vector = torch.randn(48) * 2
    edit = Edit(Site(1), "add", vector, positions=positions)
    for prompt in PROMPTS:
        length = len(subject.encode(prompt))

        def steer(hidden: Tensor, length: int = length) -> Tensor:
            where = torch.zeros(hidden.shape[1], 1)
            part = {
                "all": slice(None),
                "prompt": slice(0, length),
                "generated": slice(length, None),
                -1: slice(length - 1, length),
            }[positions]
            where[part] = 1
            return hidden + where * vector

        with plain.hooked(edit.site, steer):
            ids = naive_samples(subject, plain, prompt, "k", 1.0, 10)
        padded = subject.generate(
            [*PROMPTS, prompt], "xyzk", seed=7, max_new_tokens=10, edits=[edit]
        )
        assert padded[-1][0].text == subject.encoder.decode(ids, prompt)


def test_log_probabilities_of_continuations(
    family: str, subjects: Subjects, plains: Plains
) -> None:
    subject, plain = subjects(family), plains(family)
    continuations = [["9.8", "The cat sat on"], ["9.11"], ["!", " or the number", " mat mat mat"]]
    for size in (1, 32):
        subject.batches.size = size
        found = subject.continuation_logprobs(PROMPTS, continuations)
        for prompt, texts, values in zip(PROMPTS, continuations, found, strict=True):
            ids = subject.encode(prompt)
            for text, value in zip(texts, values, strict=True):
                tail = subject.encoder.continue_with(prompt, ids, text)
                scores = plain.logits(ids + tail).log_softmax(-1)
                wanted = sum(scores[len(ids) - 1 + k, token] for k, token in enumerate(tail))
                assert value == pytest.approx(float(wanted), abs=1e-3)
