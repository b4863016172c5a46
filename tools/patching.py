"""Pairs of prompts, the grid of their activations swapped both ways, and what stands out of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tools import statistics as stats
from tools.architecture import Site
from tools.blobs import BlobStore
from tools.directed_runs import answer_tokens, difference
from tools.effects import Effect, effect_of, template_means
from tools.experiment import Context, canonical_json
from tools.patch_sweep import patch_sweep
from tools.prompt import Arm, PromptItem, Transform
from tools.prompt_variation import from_own_items
from tools.registry import Record, ToolError
from tools.sampling import Prompts
from tools.scoring import items_from, transformed
from tools.sequential import max_statistic_p
from tools.subject import SubjectModel

MOST_POSITIONS = 16
SHOWN_CELLS = 24
FLIPS = 999
ENOUGH_TEMPLATES = 5
"""With fewer, sign flips cannot reach 0.05."""


class PairArguments(Record):
    """Clean and corrupted prompts: edits of the same items, or two lists of equal length."""

    items: Prompts | None = Field(
        default=None, description="prompts that both versions are made of"
    )
    clean_edits: tuple[Transform, ...] = Field(
        default=(), description="with `items`: edits that make the clean version"
    )
    corrupted_edits: tuple[Transform, ...] = Field(
        default=(), description="with `items`: edits that make the corrupted version"
    )
    clean: Prompts | None = Field(
        default=None, description="the clean prompts, in the order of the pairs"
    )
    corrupted: Prompts | None = Field(
        default=None, description="the corrupted prompts, in the same order"
    )

    @model_validator(mode="after")
    def says_one_thing(self) -> PairArguments:
        """Refuse pairs that are given in no way, or in two."""
        edited = self.items is not None and self.clean_edits != self.corrupted_edits
        listed = self.clean is not None and self.corrupted is not None
        if edited == listed:
            raise ValueError(
                "give `items` with different `clean_edits` and `corrupted_edits`, or `clean` and `corrupted`"
            )
        return self


@dataclass(frozen=True)
class Pair:
    """A clean prompt with its corrupted one, as tokens."""

    item: PromptItem
    """The clean one: its template is the cluster, its slots fill the answers."""
    clean: list[int]
    corrupted: list[int]
    answers: list[int]
    """The token at which each answer parts from the others, the positive ones first."""
    shared: int
    """So many positions from the end mean the same place in both."""
    first_difference: int
    """The first position that differs, from the end; what lies before it is the same in both runs."""


def pairs_of(model: SubjectModel, args: Any) -> list[Pair]:
    """Encode the pairs; raise `ToolError` for answers that cannot be told apart and for versions that do not differ.

    A beginning that all answers share (the digits before those that differ) stands behind both prompts.
    """
    clean, corrupted = versions(args)
    tokens = answer_tokens(model, clean, args.measure)
    found: list[Pair] = []
    for item, other, answers in zip(clean, corrupted, tokens, strict=True):
        begun = shared_beginning(answers)
        first = [ids[len(begun)] for ids in answers]
        positive = len(args.measure.positive)
        if set(first[:positive]) & set(first[positive:]):
            raise ToolError(
                f"a positive and a negative answer of {item.id} begin with the same token; name answers that do not"
            )
        ours, theirs = (model.encode(each.prompt) + begun for each in (item, other))
        if ours == theirs:
            raise ToolError(f"the clean and the corrupted version of {item.id} are the same prompt")
        equal = len(ours) == len(theirs)
        suffix = shared_suffix(ours, theirs)
        found.append(
            Pair(
                item=item,
                clean=ours,
                corrupted=theirs,
                answers=first,
                shared=len(ours) if equal else suffix,
                first_difference=first_difference(ours, theirs) if equal else -suffix,
            )
        )
    return found


def shared_beginning(answers: Sequence[Sequence[int]]) -> list[int]:
    """Return the tokens with which all answers begin; each has at least one more."""
    most = min(map(len, answers)) - 1
    size = next((k for k in range(most) if len({ids[k] for ids in answers}) > 1), most)
    return list(answers[0][:size])


def versions(args: PairArguments) -> tuple[Sequence[PromptItem], Sequence[PromptItem]]:
    """Return the clean and the corrupted items, in the order of the pairs."""
    if args.items is not None:
        items = items_from(args.items)
        choose = from_own_items(list(items))
        sides = [
            transformed(Arm(name="side", edits=edits), items, choose).items
            for edits in (args.clean_edits, args.corrupted_edits)
        ]
        return sides[0], sides[1]
    clean, corrupted = items_from(args.clean or ()), items_from(args.corrupted or ())
    if len(clean) != len(corrupted):
        raise ToolError(
            f"{len(clean)} clean and {len(corrupted)} corrupted prompts; pairs are needed"
        )
    return clean, corrupted


def shared_suffix(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Return how many last tokens are the same."""
    pairs = zip(reversed(ours), reversed(theirs), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Return the first position that differs in prompts of one length, counted from the end."""
    place = next(k for k, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return place - len(ours)


Way = Literal["denoising", "noising", "control"]


@dataclass
class Grid:
    """What every swap does, in nats towards the clean prompt's answer."""

    pairs: list[Pair]
    sites: list[Site]
    positions: list[int]
    levels: dict[Literal["clean", "corrupted"], Tensor]
    """The measure [pair] of both versions."""
    effects: dict[Way, Tensor]
    """[pair, site, position]; NaN where a position does not mean the same place in a pair. `denoising`
    is what the corrupted prompt gains, `noising` what the clean one loses, `control` what it loses to
    another clean prompt."""
    notes: tuple[str, ...] = field(default=())

    def templates(self) -> list[str]:
        """Return the template of each pair."""
        return [pair.item.template_id for pair in self.pairs]

    def level(self, version: Literal["clean", "corrupted"]) -> float:
        """Return the mean measure of one version over templates, in nats."""
        return effect_of(self.templates(), self.levels[version].tolist()).mean

    def total(self) -> Effect:
        """Return clean less corrupted: what there is to carry."""
        return effect_of(
            self.templates(), (self.levels["clean"] - self.levels["corrupted"]).tolist()
        )

    def store(self, blobs: BlobStore) -> str:
        """Store the whole grid, NaN as null."""
        table: dict[str, Any] = {
            "items": [
                {"id": i.id, "template_id": i.template_id}
                for i in (pair.item for pair in self.pairs)
            ],
            "sites": [list(site) for site in self.sites],
            "positions": self.positions,
            "levels": {name: values.tolist() for name, values in self.levels.items()},
            "effects": {name: nullable(values.tolist()) for name, values in self.effects.items()},
        }
        return blobs.put(canonical_json(table).encode())


def nullable(values: Any) -> Any:
    """Return nested lists with None for NaN."""
    if isinstance(values, list):
        return [nullable(each) for each in values]
    return None if values != values else values


def grid_of(model: SubjectModel, args: Any, pairs: list[Pair], context: Context) -> Grid:
    """Run all swaps; raise `ToolError` when no position means the same place in any pair."""
    sites = wanted_sites(args, model.n_layers)
    positions = wanted_positions(args.positions, pairs)
    shape = (len(pairs), len(sites), len(positions))
    empty = torch.full(shape, float("nan"), dtype=torch.float64)
    effects: dict[Way, Tensor] = {way: empty.clone() for way in ("denoising", "noising", "control")}
    levels: dict[Literal["clean", "corrupted"], Tensor] = {
        "clean": torch.zeros(len(pairs), dtype=torch.float64),
        "corrupted": torch.zeros(len(pairs), dtype=torch.float64),
    }
    count = len(args.measure.positive)
    groups = by_positions(pairs, positions)
    for turn, (places, members) in enumerate(groups.items()):
        context.progress(turn / len(groups), f"{len(members)} pairs")
        part = [pairs[k] for k in members]
        clean, corrupted = [p.clean for p in part], [p.corrupted for p in part]
        others = [
            pairs[companion(pairs, k, max(-place for place in places))].clean for k in members
        ]
        tokens = [p.answers for p in part]
        chosen = torch.tensor([positions.index(place) for place in places])
        cells = (
            torch.tensor(members)[:, None, None],
            torch.arange(len(sites))[None, :, None],
            chosen,
        )
        runs = {
            "denoising": patch_sweep(model, clean, corrupted, sites, places, tokens),
            "noising": patch_sweep(model, corrupted, clean, sites, places, tokens),
            "control": patch_sweep(model, others, clean, sites, places, tokens),
        }
        for way in effects:
            patched = difference(runs[way].patched, count)
            plain = difference(runs[way].corrupt, count)[:, None, None]
            effects[way][cells] = patched - plain if way == "denoising" else plain - patched
        levels["clean"][members] = difference(runs["noising"].corrupt, count)
        levels["corrupted"][members] = difference(runs["denoising"].corrupt, count)
    return Grid(pairs, sites, positions, levels, effects, notes_on(pairs, positions))


def wanted_sites(args: Any, n_layers: int) -> list[Site]:
    """Return the sites to patch: the given layers, or all.

    Of all layers the last one's residual stream is left out: by construction it carries everything at
    the last token and nothing elsewhere.
    """
    if args.layers:
        return [Site(layer, kind) for layer in args.layers for kind in args.sites]
    every = [Site(layer, kind) for layer in range(n_layers) for kind in args.sites]
    return [site for site in every if site != Site(n_layers - 1)] or every


def wanted_positions(given: Sequence[int], pairs: Sequence[Pair]) -> list[int]:
    """Return the positions to patch: the given ones, or those from the first difference to the end."""
    if given:
        return sorted(set(given))
    earliest = min(pair.first_difference for pair in pairs)
    return list(range(max(earliest, -MOST_POSITIONS), 0))


def by_positions(
    pairs: Sequence[Pair], positions: Sequence[int]
) -> dict[tuple[int, ...], list[int]]:
    """Group pairs by the positions that mean the same place in both of their prompts."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, pair in enumerate(pairs):
        places = tuple(place for place in positions if -place <= pair.shared)
        if places:
            groups.setdefault(places, []).append(number)
    if not groups:
        raise ToolError(
            "no position means the same place in the two prompts of any pair: make them of equal length in "
            "tokens, or alike at the end"
        )
    return groups


def companion(pairs: Sequence[Pair], number: int, depth: int) -> int:
    """Return another pair whose clean prompt is the control: of the same template if there is one.

    It must be long enough, and read other tokens; where there is none the pair stands in for itself.
    """
    own = pairs[number]
    fit = [
        k
        for k, pair in enumerate(pairs)
        if k != number and len(pair.clean) >= depth and pair.clean != own.clean
    ]
    alike = [k for k in fit if pairs[k].item.template_id == own.item.template_id] or fit
    return min(alike, key=lambda k: (k - number) % len(pairs), default=number)


def notes_on(pairs: Sequence[Pair], positions: Sequence[int]) -> tuple[str, ...]:
    """Return what limits the reading of the grid."""
    notes: list[str] = []
    unequal = sum(len(pair.clean) != len(pair.corrupted) for pair in pairs)
    if unequal:
        notes.append(
            f"{unequal} of {len(pairs)} pairs differ in length: only the tokens they share at the end were patched"
        )
    hidden = sum(pair.first_difference < positions[0] for pair in pairs)
    if hidden:
        notes.append(
            f"{hidden} pairs differ before position {positions[0]} too, which was not patched"
        )
    templates = len({pair.item.template_id for pair in pairs})
    if templates < ENOUGH_TEMPLATES:
        notes.append(
            f"{templates} templates: p cannot fall below {2**-templates:.2g}; give {ENOUGH_TEMPLATES} or more"
        )
    return tuple(notes)


class PatchedCell(Record):
    """One place. Shares of the total: 1 carries all of it, 0 nothing, negative pushes the other way."""

    site: str
    layer: int
    position: int
    share: float
    """Mean of both directions."""
    interval: tuple[float, float] | None
    """95 % over templates, the total taken as known."""
    denoising: float
    noising: float
    control: float
    """What an activation of another clean prompt does; near 0 if the place holds only what differs."""
    p: float
    """Family-wise over the whole sweep: sign flips by template, largest cell of each."""
    pairs: int


def ranked_cells(grid: Grid, seed: int) -> tuple[PatchedCell, ...]:
    """Return the strongest position of every site and layer, with its p against the whole sweep."""
    total = grid.total().mean
    if total == 0:
        raise ToolError(
            "clean and corrupted prompts have the same measure: there is nothing to carry"
        )
    templates = grid.templates()
    both = (grid.effects["denoising"] + grid.effects["noising"]) / 2 / total
    cells: list[PatchedCell] = []
    tables: list[dict[str, float]] = []
    for s, p in itertools.product(range(len(grid.sites)), range(len(grid.positions))):
        if both[:, s, p].isnan().all():
            continue
        tables.append(template_means(templates, both[:, s, p].tolist()))
        effect = effect_of(templates, both[:, s, p].tolist())
        ways = {
            way: effect_of(templates, (values[:, s, p] / total).tolist()).mean
            for way, values in grid.effects.items()
        }
        cells.append(
            PatchedCell(
                site=grid.sites[s].kind,
                layer=grid.sites[s].layer,
                position=grid.positions[p],
                share=effect.mean,
                interval=effect.interval,
                p=1.0,
                pairs=int((~both[:, s, p].isnan()).sum()),
                **ways,
            )
        )
    ps = sweep_p(tables, seed)
    known = [cell.model_copy(update={"p": p}) for cell, p in zip(cells, ps, strict=True)]
    strongest: dict[tuple[str, int], PatchedCell] = {}
    for cell in sorted(known, key=lambda cell: -cell.share):
        strongest.setdefault((cell.site, cell.layer), cell)
    return tuple(strongest.values())[:SHOWN_CELLS]


def sweep_p(cells: Sequence[dict[str, float]], seed: int) -> list[float]:
    """Return the family-wise p of every cell, from sign flips that a template has in all of them."""
    names = list(dict.fromkeys(name for cell in cells for name in cell))
    values = torch.tensor([[cell.get(n, 0.0) for cell in cells] for n in names]).double()
    counts = torch.tensor([float(len(cell)) for cell in cells]).double()
    rng = random.Random(seed)
    signs = torch.tensor([[rng.choice((-1.0, 1.0)) for _ in names] for _ in range(FLIPS)]).double()
    observed = [stats.mean(list(cell.values())) for cell in cells]
    return max_statistic_p(observed, (signs @ values / counts).tolist())
