"""Prompts to explore with and prompts to confirm on: templates and entities, split once and crossed.

The split is by template and by entity (linked rows that share a value stay together), never by
prompt: with a template split alone, a probe reads random labels through the entities it remembers.
Slots marked `candidates` name the answers a claim is about; they are not held out, templates are.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar

from agent.case import Case, Slot, wrapped_templates
from tools.prompt import PromptItem, Template, fill
from tools.registry import Record, ToolError, unknown

Item = TypeVar("Item")
Pool = Literal["explore", "confirm", "reserve"]
SHARES: tuple[tuple[Pool, int], ...] = (("explore", 2), ("confirm", 2), ("reserve", 1))
GENERAL_CLAIM = 12
"""At least so many confirmation templates for a claim that is not scoped "on these prompts"."""
NEAR_DUPLICATE = 0.8


class PoolContent(Record):
    """What one side of the split may use."""

    templates: tuple[str, ...]
    fillings: tuple[dict[str, str], ...]
    slots: dict[str, Slot]


class Population(Record):
    """Templates x slot values, split into explore, confirm and reserve."""

    id: str
    templates: dict[str, Template]
    pools: dict[Pool, PoolContent]
    scope: str
    """What a claim confirmed here generalises to, in words for the report."""
    everywhere: tuple[str, ...] = ()
    """Slots that every prompt shows although no template holds them: the case's environment does."""

    def usable(self, pool: Pool, slots: Iterable[str] = ()) -> list[str]:
        """Return a pool's templates, and so clusters, that show every one of `slots`."""
        wanted = set(slots) - set(self.everywhere)
        return [
            name for name in self.pools[pool].templates if wanted <= marks(self.templates[name])
        ]

    def levels(self, slot: str) -> tuple[str, ...]:
        """Return the declared levels of a factor slot; empty for a plain one."""
        found = self.pools["explore"].slots.get(slot)
        return tuple(found.levels) if found else ()

    def choose(self, pool: Pool, seed: int) -> ChooseFromPool:
        """Return the function that fills `choose_level` edits from this pool."""
        return ChooseFromPool(self.pools[pool], seed)


class ChooseFromPool:
    """Draws a level's value for an item: the same item and level, the same value, in every arm."""

    def __init__(self, content: PoolContent, seed: int) -> None:
        self.content, self.seed = content, seed

    def __call__(self, slot: str, level: str, item: PromptItem) -> str:
        """Return a value of that level; raise `ToolError` for an unknown slot or level."""
        found = self.content.slots.get(slot)
        if found is None or not found.levels:
            factors = [name for name, each in self.content.slots.items() if each.levels]
            raise ToolError(unknown("factor slot", slot, factors or ["none in this population"]))
        if level not in found.levels:
            raise ToolError(unknown(f"level of {slot!r}", level, list(found.levels)))
        values = found.levels[level]
        return values[stable_number(self.seed, item.id, slot, level) % len(values)]


def stable_number(*parts: object) -> int:
    """Return a 64-bit number that depends on nothing but its parts."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def population_of(case: Case, seed: int) -> Population:
    """Split a case's prompts. Raises `ToolError` when templates are near-duplicates of each other."""
    templates, slots = case.templates, dict(case.slots)
    scope = "prompts of the kind the case describes"
    if case.prompts:
        wrapped, wrappers = wrapped_templates(case.prompts)
        templates, slots = (*templates, *wrapped), slots | wrappers
        scope = "these prompts, in generic wrappers"
    population = split_population("case", templates, slots, case.fillings, scope, seed)
    if case.environment is None:
        return population
    return population.model_copy(update={"everywhere": tuple(sorted(case.environment.slots()))})


def split_population(
    name: str,
    templates: Sequence[Template],
    slots: dict[str, Slot],
    fillings: Sequence[dict[str, str]],
    scope: str,
    seed: int,
) -> Population:
    """Split 2:2:1 by template and by entity, crossed; the same arguments give the same split."""
    check_duplicates(templates)
    rng = random.Random(stable_number("split", name, seed))
    named = {f"{name}-{number:03d}": template for number, template in enumerate(templates, 1)}
    template_parts = cut([[key] for key in named], rng)
    row_parts = cut(linked_rows(fillings), rng)
    slot_parts = {key: split_slot(slot, rng) for key, slot in sorted(slots.items())}
    pools: dict[Pool, PoolContent] = {}
    for number, (pool, _) in enumerate(SHARES):
        pools[pool] = PoolContent(
            templates=tuple(sorted(template_parts[number])),
            fillings=tuple(fillings[row] for row in sorted(row_parts[number])),
            slots={key: parts[number] for key, parts in slot_parts.items()},
        )
    if len(pools["confirm"].templates) < GENERAL_CLAIM and not scope.startswith("these"):
        scope = "these prompts only (fewer than 12 held-out templates)"
    return Population(id=name, templates=named, pools=pools, scope=scope)


def cut(groups: Sequence[Sequence[Item]], rng: random.Random) -> list[list[Item]]:
    """Deal groups at random into three parts of about 2:2:1 by size, each group whole.

    With fewer than three groups the parts share what there is, so that no part is empty.
    """
    shuffled = sorted(groups, key=lambda group: (-len(group), rng.random()))
    parts: list[list[Item]] = [[], [], []]
    for group in shuffled:
        emptiest = min(range(3), key=lambda k: (len(parts[k]) / SHARES[k][1], k))
        parts[emptiest].extend(group)
    full = next((part for part in parts if part), [])
    return [part or list(full) for part in parts]


def split_slot(slot: Slot, rng: random.Random) -> list[Slot]:
    """Split a slot's values, level by level; candidates and single values are shared by all parts."""
    if slot.candidates:
        return [slot] * 3
    if slot.values:
        return [Slot(values=tuple(part)) for part in cut([[value] for value in slot.values], rng)]
    levels = {name: cut([[value] for value in values], rng) for name, values in slot.levels.items()}
    return [
        Slot(levels={name: tuple(parts[k]) for name, parts in levels.items()}) for k in range(3)
    ]


def linked_rows(fillings: Sequence[dict[str, str]]) -> list[list[int]]:
    """Group rows that share any value, directly or through others: an entity is on one side only.

    Values that occur in more than a fifth of the rows (an attribute such as "yes") link nothing.
    """
    by_value: dict[str, list[int]] = {}
    for number, row in enumerate(fillings):
        for value in set(row.values()):
            by_value.setdefault(value.casefold(), []).append(number)
    parent = list(range(len(fillings)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for rows in by_value.values():
        if len(rows) <= max(2, len(fillings) // 5):
            for row in rows[1:]:
                parent[root(row)] = root(rows[0])
    groups: dict[int, list[int]] = {}
    for row in range(len(fillings)):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def draw(
    population: Population,
    pool: Pool,
    size: tuple[int, int],
    seed: int,
    *,
    burned: Iterable[str] = (),
    slots: Iterable[str] = (),
) -> list[PromptItem]:
    """Draw filled prompts: `size` is (templates, distinct fillings of each).

    Only templates that show every one of `slots` are drawn. The same arguments give the same
    prompts. A prompt whose text is in `burned` is never drawn again; a template with nothing fresh
    left yields fewer items.
    """
    content = population.pools[pool]
    rng = random.Random(stable_number("draw", population.id, pool, seed))
    clusters, per_cluster = size
    names = population.usable(pool, slots)
    rng.shuffle(names)
    used = set(burned)
    items: list[PromptItem] = []
    for name in names[:clusters]:
        made, tries = 0, 0
        while made < per_cluster and tries < 20 * per_cluster:
            tries += 1
            slots = draw_slots(content, rng)
            template = population.templates[name]
            prompt = fill(template, slots)
            mark = fingerprint(prompt.text())
            if mark in used:
                continue
            used.add(mark)
            made += 1
            items.append(
                PromptItem(
                    id=f"{pool}-{name}-{mark[:12]}",
                    template=template,
                    template_id=name,
                    slots=slots,
                    prompt=prompt,
                )
            )
    return items


def marks(template: Template) -> set[str]:
    """Return the slots that a template shows in any of its turns."""
    turns = [
        template.system or "",
        *(turn.content for turn in template.history),
        template.text,
        template.prefill,
    ]
    return {name for text in turns for name in re.findall(r"\{([a-z_][a-z0-9_]*)\}", text)}


def draw_slots(content: PoolContent, rng: random.Random) -> dict[str, str]:
    """Draw one value for every slot: a linked row, a level and then a value, or a plain value."""
    slots = dict(rng.choice(content.fillings)) if content.fillings else {}
    for name, slot in content.slots.items():
        values = slot.values or slot.levels[rng.choice(sorted(slot.levels))]
        slots[name] = rng.choice(values)
    return slots


def fingerprint(text: str) -> str:
    """Return the mark by which a used prompt is recognised: case and white space do not count."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def check_duplicates(templates: Sequence[Template]) -> None:
    """Raise `ToolError` for templates that are near-duplicates: Jaccard of word 3-grams >= 0.8."""
    grams = [word_grams(template) for template in templates]
    for later in range(len(templates)):
        for earlier in range(later):
            union = grams[later] | grams[earlier]
            if union and len(grams[later] & grams[earlier]) / len(union) >= NEAR_DUPLICATE:
                raise ToolError(
                    f"templates {earlier + 1} and {later + 1} are near-duplicates: on both sides of the split "
                    "they would leak; word one of them differently"
                )


def word_grams(template: Template, size: int = 3) -> set[tuple[str, ...]]:
    """Return the word 3-grams of a template, with marks at both ends."""
    turns = [
        template.system or "",
        *(turn.content for turn in template.history),
        template.text,
        template.prefill,
    ]
    found = ["^", *re.findall(r"[a-z0-9_']+", " ".join(turns).casefold()), "$"]
    return {tuple(found[k : k + size]) for k in range(max(1, len(found) - size + 1))}
