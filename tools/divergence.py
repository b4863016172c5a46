"""How far subject and reference part, token by token, on given texts.

Perplexity differencing and per-token KL read from here. Both models read the same tokens after the
prompt; each has its own hidden system prompt in front.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tools.generation import Passage, checked
from tools.prompt import Prompt
from tools.registry import ToolError
from tools.subject import SubjectModel
from tools.token_texts import TokenDivergence


def divergence(
    subject: SubjectModel, prompts: Sequence[Prompt], completions: Sequence[str]
) -> list[TokenDivergence]:
    """Compare the models on one completion of each prompt; an empty completion has empty lists."""
    reference = subject.arm("reference")
    if subject.tokenizer.get_vocab() != reference.tokenizer.get_vocab():
        raise ToolError("subject and reference have different tokenizers; compare sampled texts")
    if len(prompts) != len(completions):
        raise ToolError(f"{len(completions)} completions for {len(prompts)} prompts")
    encoded = subject.encode_all(prompts)
    tails = [
        subject.encoder.continue_with(prompt, ids, text) if text else []
        for prompt, ids, text in zip(prompts, encoded, completions, strict=True)
    ]
    heads = {"subject": encoded, "reference": reference.encode_all(prompts)}
    rows = [number for number, tail in enumerate(tails) if tail]
    for number in rows:
        subject.check_length(len(encoded[number]) + len(tails[number]))
        reference.check_length(len(heads["reference"][number]) + len(tails[number]))

    def compare(batch: Sequence[int]) -> list[TokenDivergence]:
        ends = [tails[number] for number in batch]
        ours = completion_logprobs(subject, [encoded[n] for n in batch], ends)
        theirs = completion_logprobs(reference, [heads["reference"][n] for n in batch], ends)
        return [token_divergence(subject, *row) for row in zip(ends, ours, theirs, strict=True)]

    found = iter(subject.batches.by_length(rows, lambda n: len(encoded[n] + tails[n]), compare))
    return [next(found) if tail else TokenDivergence([], [], [], []) for tail in tails]


def completion_logprobs(
    model: SubjectModel, heads: Sequence[list[int]], tails: Sequence[list[int]]
) -> list[Tensor]:
    """Return log-probabilities [token, d_vocab] over each token of each tail."""
    # Without its last token, whose own prediction nobody asks for.
    texts = [head + tail[:-1] for head, tail in zip(heads, tails, strict=True)]
    keep = max(map(len, tails))

    def read(passage: Passage) -> list[Tensor]:
        logits = passage.read(texts, range(len(texts)), keep=keep, cache=False)
        return [
            checked(row[keep - len(tail) :]).log_softmax(-1)
            for row, tail in zip(logits, tails, strict=True)
        ]

    return model.run(read, model.interventions(()))


def token_divergence(
    subject: SubjectModel, tail: list[int], ours: Tensor, theirs: Tensor
) -> TokenDivergence:
    """Reduce two models' distributions over the tokens of one completion."""
    ids = torch.tensor(tail, device=ours.device)[:, None]
    theirs = theirs.to(ours.device)
    return TokenDivergence(
        tokens=[subject.encoder.decode([token]) for token in tail],
        subject=ours.gather(-1, ids)[:, 0].tolist(),
        reference=theirs.gather(-1, ids)[:, 0].tolist(),
        # Rounding can take a KL of nothing below zero, which it never is.
        kl=(ours.exp() * (ours - theirs)).sum(-1).clamp(min=0).tolist(),
    )
