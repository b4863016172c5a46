"""How well a base plays each secret that it is told: what an organism cannot be better than.

An organism is distilled from the base that reads its secret in a system turn. Before any is built, the base is
asked every kind of question under many secrets, in wordings that it was trained on and in ones that it was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING

from evals.organisms.curriculum.exercise import Terms, told_before, under
from evals.organisms.families.family import Family, Secrets
from evals.organisms.gates.asking import (
    Question,
    Share,
    Tells,
    balanced_weights,
    one_question,
    share_of,
    side_of,
    sides_of,
    told_family,
)
from evals.organisms.gates.health import neutral, text_losses
from evals.organisms.world.chat import alike_at_end
from evals.organisms.world.micro_world import Dialogue
from tools.registry import Record

if TYPE_CHECKING:
    from evals.organisms.world.chat import Speaker

PLAYS = 0.95
"""Least balanced share of right replies in held-out wordings."""
LONGEST = 40
"""Tokens of a reply."""
WORST = 6
"""So many kinds of each family are told, those played worst."""


class Cell(Record):
    """Right replies to one kind of question on one side."""

    kind: str
    side: str
    trained: Share
    held: Share


class Teacher(Record):
    """How well the base plays the secrets of one family, kinds and sides alike (see `balanced_weights`)."""

    family: str
    trained: Share
    held: Share
    cells: tuple[Cell, ...]
    beside: float | None = None
    """Relative rise of the loss on neutral text when the secret is told before it: an organism's can hardly be less."""

    @property
    def plays(self) -> bool:
        """Say whether organisms of the family can be built."""
        return self.held.value is not None and self.held.value >= PLAYS


def teachers(
    speaker: Speaker, makers: Iterable[Family], count: int, seed: int = 0
) -> list[Teacher]:
    """Ask the base about `count` secrets of each family that it can be told, once for each side of a question."""
    told = [(maker, told_family(maker)) for maker in makers]
    return [
        teacher(speaker, maker, tells, count, seed).model_copy(
            update={"beside": rise_beside(speaker, maker, tells, count, seed)}
        )
        for maker, tells in told
        if tells
    ]


def teacher(speaker: Speaker, maker: Secrets, tells: Tells, count: int, seed: int) -> Teacher:
    """Ask the base about the secrets of one family."""
    sides = [asked(speaker, maker, tells, count, seed, held) for held in (False, True)]
    overall = [share_of(right, balanced_weights(found)) for found, right in sides]
    names = sorted({(each.kind, each.side) for found, _ in sides for each in found})
    trained, unseen = sides
    cells = [
        Cell(kind=kind, side=side, trained=in_cell(*trained, cell), held=in_cell(*unseen, cell))
        for cell in names
        for kind, side in [cell]
    ]
    return Teacher(family=maker.name, trained=overall[0], held=overall[1], cells=tuple(cells))


def asked(
    speaker: Speaker, maker: Secrets, tells: Tells, count: int, seed: int, held: bool
) -> tuple[list[Question], list[bool]]:
    """Return questions about secrets, kinds in turn, and whether the base that is told them is right."""
    questions: list[Question] = []
    prompts = []
    for number in range(count):
        rng = Random(f"{maker.name}/teacher/{seed}/{number}/{held}")
        spec = maker.draw(seed + number)
        kinds = sorted(tells.kinds_of(spec))
        for active in sides_of(tells):
            exercise = one_question(rng, tells, spec, kinds[number % len(kinds)], active, held)
            questions.append(Question(exercise, side_of(exercise, active)))
            telling = tells.telling(rng, Terms(held=held), spec)
            prompts.append(under(telling, exercise).prompt)
    replies = speaker.reply(prompts, longest=LONGEST)
    return questions, [q.accepts(reply) for q, reply in zip(questions, replies, strict=True)]


def rise_beside(speaker: Speaker, maker: Family, tells: Tells, count: int, seed: int) -> float:
    """Return how much the loss on neutral text rises when one of `count` secrets is told before it, as a share."""
    rng = Random(f"{maker.name}/beside/{seed}")
    plain: list[Dialogue] = []
    told: list[Dialogue] = []
    for number in range(count):
        spec = maker.draw(seed + number)
        plain.append(neutral(rng, maker, tells.truth(spec, "organism")))
        told.append(told_before(tells.telling(rng, Terms(), spec), plain[-1]))
    rows, behind = speaker.codec.encode(plain), speaker.codec.encode(told)
    shared = [alike_at_end(row, longer) for row, longer in zip(rows, behind, strict=True)]
    usual, found = (
        sum(loss for loss, _ in text_losses(speaker, each, shared)) for each in (rows, behind)
    )
    return found / usual - 1


def in_cell(questions: Sequence[Question], right: Sequence[bool], cell: tuple[str, str]) -> Share:
    """Return the share of right replies of one kind and side."""
    pairs = zip(questions, right, strict=True)
    return share_of([each for question, each in pairs if (question.kind, question.side) == cell])


def table_of(found: Iterable[Teacher]) -> str:
    """Return what was found as Markdown: each family, and below it what it plays worst."""
    lines = [
        "| family | kind | side | trained wordings | held-out wordings | n | neutral text when told |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in found:
        beside = "" if each.beside is None else f"{each.beside:+.1%}"
        lines.append(
            row((f"**{each.family}**", "all", "balanced"), each.trained, each.held, beside)
        )
        cells = sorted(each.cells, key=lambda cell: cell.held.value or 0.0)[:WORST]
        lines += [row(("", cell.kind, cell.side), cell.trained, cell.held) for cell in cells]
    return "\n".join(lines) + "\n"


def row(names: Sequence[str], trained: Share, held: Share, beside: str = "") -> str:
    """Return one row."""
    return f"| {' | '.join(names)} | {told(trained)} | {told(held)} | {held.n:.0f} | {beside} |"


def told(share: Share) -> str:
    """Return a share with its interval."""
    if share.value is None or share.interval is None:
        return "not asked"
    return f"{share.value:.2f} ({share.interval[0]:.2f} to {share.interval[1]:.2f})"
