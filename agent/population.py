"""Prompts to explore with and prompts to confirm on: templates and entities, split once and crossed.

The split is by template and by entity (linked rows that share a value stay together), never by
prompt: with a template split alone, a probe reads random labels through the entities it remembers.
Slots marked `candidates` name the answers a claim is about; they are not held out, templates are.

When several runs share a case (`Case.part`), its prompts are first cut in two, in the same way: one
part for all independent investigations, one kept for whoever confirms anew what they found.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeVar

from agent.case import Case, Part, Slot, wrapped_templates
from tools.prompt import PromptItem, Template, fill
from tools.registry import Record, ToolError, unknown

Item = TypeVar("Item")
Pool = Literal["explore", "confirm", "reserve"]
POOLS: tuple[Pool, ...] = ("explore", "confirm", "reserve")
SHARES = (2, 2, 1)
"""In the order of `POOLS`."""
GENERAL_CLAIM = 12
"""At least so many confirmation templates for a claim that is not scoped "on these prompts"."""
NEAR_DUPLICATE = 0.8
FEWEST_TO_INVESTIGATE = 20
"""Templates beside those kept for an aggregator: 8 of them confirm, the fewest whose smallest p is below
0.05 / 8."""


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

    def usable(
        self, pool: Pool, slots: Iterable[str] = (), without: Iterable[str] = ()
    ) -> list[str]:
        """Return a pool's templates, and so clusters, that show every one of `slots` and none of `without`."""
        wanted, unwanted = set(slots), set(without)
        return [
            name
            for name in self.pools[pool].templates
            if wanted <= (shown := self.shown(name)) and not unwanted & shown
        ]

    def shown(self, name: str) -> set[str]:
        """Return the slots that a template shows, with those that every prompt does."""
        return marks(self.templates[name]) | set(self.everywhere)

    def levels(self, slot: str) -> tuple[str, ...]:
        """Return the declared levels of a factor slot; empty for a plain one."""
        found = self.pools["explore"].slots.get(slot)
        return tuple(found.levels) if found else ()

    def level_texts(self) -> Iterator[str]:
        """Yield the texts of all levels of all factor slots, on every side of the split."""
        for slot in (slot for pool in self.pools.values() for slot in pool.slots.values()):
            yield from (text for values in slot.levels.values() for text in values)

    def levels_of(self, item: PromptItem) -> dict[str, str]:
        """Return the level of every factor slot that an item shows, as it was drawn."""
        values = {
            name: {value: level for level, values in slot.levels.items() for value in values}
            for name, slot in self.pools["explore"].slots.items()
            if slot.levels and name in marks(item.template)
        }
        return {
            name: levels[item.slots[name]]
            for name, levels in values.items()
            if item.slots.get(name) in levels
        }

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
    population = split_population("case", templates, slots, case.fillings, scope, seed, case.part)
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
    part: Part | None = None,
) -> Population:
    """Split 2:2:1 by template and by entity, crossed; the same arguments give the same split.

    Of a part "investigation" the kept prompts are left out; in a part "aggregation" they are all that
    is confirmed on. Raises `ToolError` when there are too few templates to keep some.
    """
    check_duplicates(templates)
    rng = random.Random(stable_number("split", name, seed))
    named = {f"{name}-{number:03d}": template for number, template in enumerate(templates, 1)}
    whole = PoolContent(templates=tuple(named), fillings=tuple(fillings), slots=slots)
    if part is None:
        pools = dict(zip(POOLS, split_content(whole, rng), strict=True))
    else:
        open_part, kept = cut_for_set(name, whole, part.seed)
        if part.whose == "investigation":
            pools = dict(zip(POOLS, split_content(open_part, rng), strict=True))
        else:
            pools = dict(zip(POOLS, (open_part, *with_reserve(kept, rng)), strict=True))
        named = {key: named[key] for pool in pools.values() for key in pool.templates}
    if len(pools["confirm"].templates) < GENERAL_CLAIM and not scope.startswith("these"):
        scope = "these prompts only (fewer than 12 held-out templates)"
    return Population(id=name, templates=named, pools=pools, scope=scope)


def fresh_population(
    name: str, templates: Sequence[Template], case: Population, seed: int
) -> Population:
    """Split fresh templates like the case's; what goes into their slots is split as it is in the case.

    An entity that was explored in the case's prompts is not confirmed on in fresh ones.
    """
    rng = random.Random(stable_number("split", name, seed))
    named = {f"{name}-{number:03d}": template for number, template in enumerate(templates, 1)}
    parts = cut([[key] for key in named], rng)
    pools: dict[Pool, PoolContent] = {
        pool: case.pools[pool].model_copy(update={"templates": tuple(sorted(parts[number]))})
        for number, pool in enumerate(POOLS)
    }
    scope = "prompts of the kind the case describes, written without sight of the hypothesis"
    if len(pools["confirm"].templates) < GENERAL_CLAIM:
        scope = "these fresh prompts only (fewer than 12 held-out templates)"
    return Population(id=name, templates=named, pools=pools, scope=scope)


def cut_for_set(name: str, whole: PoolContent, seed: int) -> list[PoolContent]:
    """Cut a case in two, about 2:1: what independent investigations may use, and what is kept from them."""
    count = len(whole.templates)
    kept = max(GENERAL_CLAIM, count // 3)
    if count - kept < FEWEST_TO_INVESTIGATE:
        needed = GENERAL_CLAIM + FEWEST_TO_INVESTIGATE
        raise ToolError(
            f"{count} templates are too few for independent investigations: {GENERAL_CLAIM} are kept for the "
            f"aggregator and {FEWEST_TO_INVESTIGATE} are needed to investigate on; give the case "
            f"{needed - count} more"
        )
    rng = random.Random(stable_number("part", name, seed))
    return split_content(whole, rng, (count - kept, kept))


def with_reserve(kept: PoolContent, rng: random.Random) -> list[PoolContent]:
    """Split what an aggregator keeps into confirm and reserve; too few templates are all to confirm on."""
    if 2 * len(kept.templates) // 3 >= GENERAL_CLAIM:
        return split_content(kept, rng, (2, 1))
    return [kept, PoolContent(templates=(), fillings=(), slots=kept.slots)]


def split_content(
    content: PoolContent, rng: random.Random, shares: Sequence[int] = SHARES
) -> list[PoolContent]:
    """Split templates, linked rows and slot values at random by `shares`, crossed."""
    template_parts = cut([[key] for key in content.templates], rng, shares)
    row_parts = cut(linked_rows(content.fillings), rng, shares)
    slot_parts = {key: split_slot(slot, rng, shares) for key, slot in sorted(content.slots.items())}
    return [
        PoolContent(
            templates=tuple(sorted(template_parts[number])),
            fillings=tuple(content.fillings[row] for row in sorted(row_parts[number])),
            slots={key: parts[number] for key, parts in slot_parts.items()},
        )
        for number in range(len(shares))
    ]


def cut(
    groups: Sequence[Sequence[Item]], rng: random.Random, shares: Sequence[int] = SHARES
) -> list[list[Item]]:
    """Deal groups at random into parts of about these shares by size, each group whole.

    With fewer groups than parts the parts share what there is, so that no part is empty.
    """
    shuffled = sorted(groups, key=lambda group: (-len(group), rng.random()))
    parts: list[list[Item]] = [[] for _ in shares]
    for group in shuffled:
        emptiest = min(range(len(shares)), key=lambda k: (len(parts[k]) / shares[k], k))
        parts[emptiest].extend(group)
    full = next((part for part in parts if part), [])
    return [part or list(full) for part in parts]


def split_slot(slot: Slot, rng: random.Random, shares: Sequence[int]) -> list[Slot]:
    """Split a slot's values, level by level; candidates and single values are shared by all parts."""
    if slot.candidates:
        return [slot] * len(shares)
    if slot.values:
        parts = cut([[value] for value in slot.values], rng, shares)
        return [Slot(values=tuple(part)) for part in parts]
    levels = {
        name: cut([[value] for value in values], rng, shares)
        for name, values in slot.levels.items()
    }
    return [
        Slot(levels={name: tuple(parts[k]) for name, parts in levels.items()})
        for k in range(len(shares))
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
    without: Iterable[str] = (),
) -> list[PromptItem]:
    """Draw filled prompts: `size` is (templates, distinct fillings of each).

    Only templates that show every one of `slots` and none of `without` are drawn. The same arguments give the same
    prompts. A prompt whose text is in `burned` is never drawn again; a template with nothing fresh
    left yields fewer items.
    """
    content = population.pools[pool]
    rng = random.Random(stable_number("draw", population.id, pool, seed))
    clusters, per_cluster = size
    names = population.usable(pool, slots, without)
    rng.shuffle(names)
    used = set(burned)
    items: list[PromptItem] = []
    for name in names[:clusters]:
        made, tries = 0, 0
        seen: set[frozenset[tuple[str, str]]] = set()
        while made < per_cluster and tries < 20 * per_cluster:
            tries += 1
            slots = draw_slots(content, rng)
            # What was drawn before is used by now: where little is left to draw, most draws are of that kind.
            if (drawn := frozenset(slots.items())) in seen:
                continue
            seen.add(drawn)
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
        *(turn.words() for turn in template.history),
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


def alike(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> bool:
    """Say whether two sets of word 3-grams are those of near-duplicates: Jaccard index >= 0.8."""
    union = first | second
    return bool(union) and len(first & second) / len(union) >= NEAR_DUPLICATE


def check_duplicates(templates: Sequence[Template]) -> None:
    """Raise `ToolError` for templates that are near-duplicates of each other."""
    grams = [word_grams(template) for template in templates]
    for later in range(len(templates)):
        for earlier in range(later):
            if alike(grams[later], grams[earlier]):
                raise ToolError(
                    f"templates {earlier + 1} and {later + 1} are near-duplicates: on both sides of the split "
                    "they would leak; word one of them differently"
                )


def word_grams(template: Template, size: int = 3) -> set[tuple[str, ...]]:
    """Return the word 3-grams of a template, with marks at both ends."""
    turns = [
        template.system or "",
        *(turn.words() for turn in template.history),
        template.text,
        template.prefill,
    ]
    found = ["^", *re.findall(r"[a-z0-9_']+", " ".join(turns).casefold()), "$"]
    return {tuple(found[k : k + size]) for k in range(max(1, len(found) - size + 1))}
