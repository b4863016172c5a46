from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tools.architecture import Site
from tools.patch_sweep import patch_sweep
from tools.prompt import Prompt, user_prompt
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


def test_patch_sweep_is_one_patch_at_a_time(
    family: str, subjects: Subjects, plains: Plains
) -> None:
    subject, plain = subjects(family), plains(family)
    clean = [subject.encode(user_prompt(f"The {word} sat.")) for word in ("cat", "bigger number")]
    corrupt = [subject.encode(user_prompt(f"The {word} sat.")) for word in ("mat", "clock number")]
    sites = [Site(3), Site(0), Site(2, "resid_pre"), Site(0, "resid_pre"), Site(2, "mlp_out")]
    sites += [Site(1, kind) for kind in ("mlp_out", "resid_post", "attn_out", "resid_pre")]
    positions = [-1, -4, 2]
    tokens = [[5, 9], [20, 11]]
    subject.batches.size = 7  # several batches, which begin in the midst of a layer
    found = patch_sweep(subject, clean, corrupt, sites, positions, tokens)
    for pair in range(2):
        for s, site in enumerate(sites):
            source = plain.observed(site, clean[pair])
            for p, position in enumerate(positions):

                def put(hidden: Tensor, at: int = position, new: Tensor = source) -> Tensor:
                    hidden = hidden.clone()
                    hidden[0, at] = new[at]
                    return hidden

                with plain.hooked(site, put):
                    wanted = plain.logits(corrupt[pair])[-1].log_softmax(-1)[tokens[pair]]
                assert_close(found.patched[pair, s, p], wanted)
        wanted = plain.logits(clean[pair])[-1].log_softmax(-1)[tokens[pair]]
        assert_close(found.clean[pair], wanted)
        wanted = plain.logits(corrupt[pair])[-1].log_softmax(-1)[tokens[pair]]
        assert_close(found.corrupt[pair], wanted)
