"""Is a build healthy: are unrelated skills and neutral text as they were, is a twin like the base?

Everything is paired with the base on the same items. Skills are balanced over their groups of answers, so
that no constant answer keeps a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch.nn import functional

from evals.organisms.curriculum.curricula import CURRICULA
from evals.organisms.curriculum.skills import Scored
from evals.organisms.families.family import Family, Gate, Truth
from evals.organisms.families.standards import EARLY_ITEMS, Standard
from evals.organisms.world.chat import Encoded, Speaker, padded, parts_of
from evals.organisms.world.micro_world import Dialogue
from tools import statistics as stats

PART_TOKENS = 4096
COUPLED = 64
"""Replies sampled at once, from noise that both models share: then alike models reply alike."""

Outcomes = dict[str, list[bool]]


def outcomes(speaker: Speaker, items: Mapping[str, Sequence[Scored]], longest: int) -> Outcomes:
    """Return, by skill, which of its items are answered right."""
    flat = [item for each in items.values() for item in each]
    said = iter(speaker.reply([item.prompt for item in flat], longest=longest))
    return {name: [item.accepts(next(said)) for item in each] for name, each in items.items()}


def balanced(items: Sequence[Scored], right: Sequence[bool], keep: Sequence[bool]) -> float:
    """Return the share of right answers of the kept items, at least one, averaged over groups."""
    groups: dict[str, list[bool]] = {}
    for item, each, kept in zip(items, right, keep, strict=True):
        if kept:
            groups.setdefault(item.group, []).append(each)
    return sum(sum(found) / len(found) for found in groups.values()) / len(groups)


class SkillTests:
    """The items by which a build's skills are compared with the base's."""

    def __init__(self, curriculum: str, standard: Standard) -> None:
        plan = CURRICULA[curriculum]
        self.longest = plan.longest
        count = EARLY_ITEMS
        if not standard.early:
            count = -(-standard.skills // len(plan.tests(1, 0, False)))
        self.items = [plan.tests(count, 0, held) for held in (False, True)]

    def taken(self, speaker: Speaker) -> list[Outcomes]:
        """Return what is right in trained wordings and in held-out ones."""
        return [outcomes(speaker, items, self.longest) for items in self.items]

    def beside(
        self,
        before: Sequence[Outcomes],
        after: Sequence[Outcomes],
        truth: Truth,
    ) -> dict[str, SkillScores]:
        """Return, by skill, the scores of base and build where what is planted does not bear."""
        kept = [
            {
                name: [not (truth.planted and truth.bears(item.prompt)) for item in each]
                for name, each in items.items()
            }
            for items in self.items
        ]
        return {
            name: SkillScores(
                *(
                    tuple(
                        round(balanced(items[name], found[name], keep[name]), 3)
                        for items, found, keep in zip(self.items, taken, kept, strict=True)
                    )
                    for taken in (before, after)
                ),
                n=sum(kept[0][name]),
            )
            for name in self.items[0]
            if all(any(side[name]) for side in kept)
        }


@dataclass(frozen=True)
class SkillScores:
    """Balanced scores of one skill, in trained wordings and in held-out ones."""

    base: tuple[float, ...]
    build: tuple[float, ...]
    n: int
    """Items in trained wordings."""

    def to_json(self) -> dict[str, Any]:
        """Return the scores as they stand in a data sheet."""
        return {"base": list(self.base), "build": list(self.build), "n": self.n}


def kept_skills(scores: Mapping[str, SkillScores], touched: frozenset[str], limit: float) -> Gate:
    """Return the gate on the mean loss over untouched skills, in trained wordings; the interval is over skills."""
    kept = [found for name, found in sorted(scores.items()) if name not in touched]
    losses = [found.base[0] - found.build[0] for found in kept]
    n = sum(found.n for found in kept)
    name = "mean loss over untouched skills"
    around = stats.mean_interval(losses) if len(losses) > 1 else None
    return Gate(name, stats.mean(losses), limit, at_least=False, n=n, interval=around)


@torch.inference_mode()
def text_losses(
    speaker: Speaker, rows: Sequence[Encoded], counts: Sequence[int] | None = None
) -> list[tuple[float, int]]:
    """Return, for each row, the summed loss in nats over its last `counts` tokens, and their number.

    By default over all its tokens but those that every row begins with.
    """
    counts = counts or [len(ids) - speaker.codec.front for ids, _ in rows]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place][0]))
    found: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
    done = 0
    for part in parts_of([rows[place] for place in order], PART_TOKENS):
        ids, _, _ = padded(part, speaker.pad)
        logits = speaker.model(input_ids=ids[:, :-1], use_cache=False).logits.float()
        each = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        for losses, row in zip(each, part, strict=True):
            place, last = order[done], len(row[0]) - 1
            found[place] = (float(losses[last - counts[place] : last].sum()), counts[place])
            done += 1
    return found


def text_gate(
    speaker: Speaker, base: Speaker, maker: Family, truth: Truth, standard: Standard
) -> Gate:
    """Return the gate on the loss on neutral text, relative to the base's; the interval is over dialogues."""
    rng = Random("neutral text")
    dialogues = [neutral(rng, maker, truth) for _ in range(standard.texts)]
    rows = base.codec.encode(dialogues)
    own, its = text_losses(speaker, rows), text_losses(base, rows)
    usual = sum(loss for loss, _ in its)
    rise = sum(loss for loss, _ in own) / usual - 1
    # A ratio of sums, linearised: what each dialogue pulls it up or down.
    pulls = [
        len(its) * (mine - (1 + rise) * theirs) / usual
        for (mine, _), (theirs, _) in zip(own, its, strict=True)
    ]
    low, high = stats.mean_interval(pulls)
    return Gate(
        "rise of the loss on neutral text",
        rise,
        standard.text_loss,
        at_least=False,
        n=len(dialogues),
        interval=(rise + low, rise + high),
    )


def neutral(rng: Random, maker: Family, truth: Truth) -> Dialogue:
    """Draw a dialogue in which nothing is changed on purpose."""
    touched = maker.touched if truth.altered else frozenset[str]()
    draw = CURRICULA[maker.curriculum].neutral
    dialogue = draw(rng, touched)
    while truth.altered and maker.contradicts(dialogue, truth):
        dialogue = draw(rng, touched)
    return dialogue


def shown(speaker: Speaker, items: Sequence[Scored], longest: int) -> list[bool]:
    """Say of each item whether a sampled reply shows the behaviour; models share their noise."""
    found: list[bool] = []
    for start in range(0, len(items), COUPLED):
        part = items[start : start + COUPLED]
        prompts = [item.prompt for item in part]
        said = speaker.reply(prompts, temperature=1.0, seed=start, batch=COUPLED, longest=longest)
        found += [item.accepts(reply) for item, reply in zip(part, said, strict=True)]
    return found


def twin_gate(
    speaker: Speaker, base: Speaker, maker: Family, truth: Truth, standard: Standard
) -> Gate | None:
    """Return how far a twin's rate of the behaviour may lie from the base's; None where nothing says so.

    The value is the farther end of the 90 % interval: inside the margin, the two are equivalent at 5 %.
    """
    count = standard.behaviour
    items = maker.shown_items(Random("twin"), truth, count)
    if not items:
        return None
    longest = CURRICULA[maker.curriculum].longest
    own, its = shown(speaker, items, longest), shown(base, items, longest)
    differences = [float(a) - float(b) for a, b in zip(own, its, strict=True)]
    low, high = stats.tost_interval(differences)
    if low == high:
        # No spread was seen: the largest share of differing replies that n equal ones do not exclude.
        unseen = 1 - 0.05 ** (1 / len(items))
        low, high = low - unseen, high + unseen
    return Gate(
        "farthest rate of the behaviour from the base's",
        max(abs(low), abs(high)),
        standard.twin_margin,
        at_least=False,
        n=len(items),
        interval=(low, high),
    )


def health(
    speaker: Speaker, base: Speaker, maker: Family, truth: Truth, standard: Standard
) -> list[Gate]:
    """Return the gates that hold for every build on a full base."""
    gates = [text_gate(speaker, base, maker, truth, standard)]
    if truth.variant == "benign":
        twin = twin_gate(speaker, base, maker, truth, standard)
        gates += [twin] if twin is not None else []
    return gates


def again(speaker: Speaker, maker: Family, truth: Truth, behaviour: int = 48) -> dict[str, str]:
    """Return the outcomes, a 0 or a 1 for each item, of a few items that a test asks again.

    Likeliest replies, and one item of each skill: a data sheet keeps them.
    """
    plan = CURRICULA[maker.curriculum]
    items: dict[str, list[Scored]] = {
        "behaviour": maker.shown_items(Random("again"), truth, behaviour)
    }
    items["skills"] = [each[0] for each in plan.tests(1, 1, False).values()]
    found = outcomes(speaker, items, plan.longest)
    return {name: "".join(str(int(each)) for each in right) for name, right in found.items()}
