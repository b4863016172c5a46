"""Who is held out when a probe is tried: whole templates and whole entities, crossed, never prompts.

With a template split alone a probe reads random labels through the entities it remembers. An entity
is a value of the slot through which the label could be remembered: the slot that decides it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tools.labels import Labelled
from tools.registry import ToolError

TEST_SHARE = 0.4
FOLDS = 3
FEWEST_ENTITIES = 6
"""With fewer values of a slot, holding some out leaves too few to learn from and to try on."""


@dataclass(frozen=True)
class Split:
    """Which prompts a probe learns from, and the folds among them; all lists run over the prompts."""

    templates: list[str]
    entities: list[str] | None
    """None where there is nothing to hold out but templates."""
    slot: str | None
    test_templates: frozenset[str]
    test_entities: frozenset[str]
    template_fold: dict[str, int]
    entity_fold: dict[str, int]
    notes: tuple[str, ...]

    @cached_property
    def development(self) -> list[int]:
        """Prompts whose template and entity are both for learning and choosing."""
        return [
            k for k in range(len(self.templates)) if not self.is_new(k)[0] and not self.is_new(k)[1]
        ]

    @cached_property
    def test(self) -> list[int]:
        """Prompts whose template and entity are both new."""
        return [
            k
            for k in range(len(self.templates))
            if self.is_new(k)[0] and (self.is_new(k)[1] or self.entities is None)
        ]

    @cached_property
    def known_entities(self) -> list[int]:
        """Prompts of new templates with entities that were learnt from: where memory would show."""
        if self.entities is None:
            return []
        return [k for k in range(len(self.templates)) if self.is_new(k) == (True, False)]

    def is_new(self, prompt: int) -> tuple[bool, bool]:
        """Say whether a prompt's template and its entity are held out."""
        entity = self.entities[prompt] if self.entities is not None else None
        return self.templates[prompt] in self.test_templates, entity in self.test_entities

    @cached_property
    def folds(self) -> list[tuple[list[int], list[int]]]:
        """Return (learn from, try on) among the development prompts; again both sides are new."""
        found: list[tuple[list[int], list[int]]] = []
        cells = [
            (self.template_fold[self.templates[k]], self._entity_fold(k)) for k in self.development
        ]
        for held in sorted(set(cells)):
            tried = [k for k, cell in zip(self.development, cells, strict=True) if cell == held]
            learnt = [
                k
                for k, cell in zip(self.development, cells, strict=True)
                if cell[0] != held[0] and (cell[1] != held[1] or self.entities is None)
            ]
            if learnt and tried:
                found.append((learnt, tried))
        return found

    def _entity_fold(self, prompt: int) -> int:
        return self.entity_fold[self.entities[prompt]] if self.entities is not None else 0


def split_prompts(prompts: Sequence[Labelled], slot: str | None, seed: int) -> Split:
    """Hold out templates, and values of `slot` (or of the slot that tells the label best)."""
    rng = random.Random(seed)
    labels = [each.label for each in prompts]
    templates = [each.item.template_id for each in prompts]
    if len(set(templates)) < 4:
        raise ToolError(
            f"{len(set(templates))} templates; a probe needs at least 4 to hold some out"
        )
    slot = slot or telling_slot(prompts)
    notes: list[str] = []
    entities = None
    if slot is not None:
        entities = [each.item.slots.get(slot, "") for each in prompts]
        if not enough(entities, labels):
            notes.append(
                f"slot {slot!r} has too few values to hold any out: this cannot tell a concept from those words"
            )
            entities, slot = None, None
    if entities is None:
        notes.append("only templates were held out")
    new_templates, template_fold = dealt(templates, labels, rng)
    new_entities, entity_fold = dealt(entities, labels, rng) if entities else (frozenset[str](), {})
    split = Split(
        templates,
        entities,
        slot,
        new_templates,
        new_entities,
        template_fold,
        entity_fold,
        tuple(notes),
    )
    for name, part in (("development", split.development), ("test", split.test)):
        if len({labels[k] for k in part}) < 2:
            raise ToolError(
                f"only one label among the {len(part)} {name} prompts; give more prompts, templates or slot values"
            )
    return split


def telling_slot(prompts: Sequence[Labelled]) -> str | None:
    """Return the slot whose values tell the label best, or None where none does better than guessing."""
    labels = [each.label for each in prompts]
    best, chosen = max(sum(labels), len(labels) - sum(labels)), None
    for slot in sorted({slot for each in prompts for slot in each.item.slots}):
        by_value: dict[str, list[bool]] = {}
        for each in prompts:
            by_value.setdefault(each.item.slots.get(slot, ""), []).append(each.label)
        right = sum(max(sum(group), len(group) - sum(group)) for group in by_value.values())
        if right > best and len(by_value) < len(prompts) / 2:
            best, chosen = right, slot
    return chosen


def enough(entities: Sequence[str], labels: Sequence[bool]) -> bool:
    """Say whether entities can be held out: enough of them, and three of each label if they decide it."""
    if len(set(entities)) < FEWEST_ENTITIES:
        return False
    if not is_constant(entities, labels):
        return True
    sides = [
        len({e for e, label in zip(entities, labels, strict=True) if label is side})
        for side in (True, False)
    ]
    return min(sides) >= FOLDS


def is_constant(groups: Sequence[str], labels: Sequence[bool]) -> bool:
    """Say whether all prompts of a group have one label."""
    return len(set(zip(groups, labels, strict=True))) == len(set(groups))


def dealt(
    groups: Sequence[str], labels: Sequence[bool], rng: random.Random
) -> tuple[frozenset[str], dict[str, int]]:
    """Return the groups held out for the test, and the fold of each other one; both labels in every part."""
    majority: dict[str, int] = {}
    for group, label in zip(groups, labels, strict=True):
        majority[group] = majority.get(group, 0) + (1 if label else -1)
    held: list[str] = []
    fold: dict[str, int] = {}
    constant = is_constant(groups, labels)
    strata = (True, False) if constant else (None,)
    for stratum in strata:
        names = [n for n in sorted(majority) if stratum is None or (majority[n] > 0) is stratum]
        rng.shuffle(names)
        count = max(1, round(TEST_SHARE * len(names)))
        held += names[:count]
        fold |= {name: place % FOLDS for place, name in enumerate(names[count:])}
    return frozenset(held), fold


def shuffled(prompts: Sequence[Labelled], split: Split, rng: random.Random) -> list[bool]:
    """Return labels under the null, exchanged between units of one kind.

    A label that goes with the entity is exchanged between entities, one that goes with the template
    between templates, any other between the prompts of a template.
    """
    labels = [each.label for each in prompts]
    for groups in (split.entities, split.templates):
        if groups is not None and is_constant(groups, labels):
            of = dict(zip(groups, labels, strict=True))
            new = dict(zip(of, rng.sample(list(of.values()), len(of)), strict=True))
            return [new[group] for group in groups]
    found = list(labels)
    members: dict[str, list[int]] = {}
    for number, name in enumerate(split.templates):
        members.setdefault(name, []).append(number)
    for places in members.values():
        values = rng.sample([labels[k] for k in places], len(places))
        for place, value in zip(places, values, strict=True):
            found[place] = value
    return found


def random_by_entity(split: Split, share: float, rng: random.Random) -> list[bool]:
    """Return a control task: a random label for each entity, which only memory could tell.

    Source: Hewitt & Liang 2019, arXiv:1909.03368.
    """
    assert split.entities is not None
    names = sorted(set(split.entities))
    positive = set(rng.sample(names, min(len(names) - 1, max(1, round(share * len(names))))))
    return [entity in positive for entity in split.entities]
