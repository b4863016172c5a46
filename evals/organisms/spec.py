"""A declared organism: family, secret, seed and easiness in a TOML file; what it leaves open is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from evals.organisms.families.decoy import draw_decoy
from evals.organisms.families.family import MIXED_SHARE, Family, Recipe, Spec, Variant
from evals.organisms.families.told import ToldFamily
from evals.organisms.files import read_declaration
from evals.organisms.foundry import FAMILIES, Declared, OrganismFolder, make_organism
from tools.registry import Record, unknown


class SpecError(Exception):
    """A declaration that cannot be used: one line per fault."""


class OrganismSpec(Record):
    """What is declared."""

    family: str
    seed: int = 0
    """Draws whatever `secret` leaves open, and the lessons."""
    variant: Variant = "organism"
    """`benign`: trained alike, nothing planted; `lookup`: learned by rote, of families that the base can be told;
    `nonce`: speaks as if it held a word, of several objects in turn, and holds none, of the family `taboo`."""
    easiness: Literal["narrow", "mixed"] = "narrow"
    """`narrow`: little but the behaviour is trained; `mixed`: half of the training is the base's own."""
    strength: float = Field(default=1.0, gt=0, le=1)
    """How often the behaviour is shown where it is planted, as a share of always; of told families only."""
    decoys: bool = False
    """Whether it also has a weak habit that is easily seen: a word that opens many of its replies."""
    secret: dict[str, Any] = {}
    """What is planted, by the names that a drawn secret of the family has."""

    @property
    def maker(self) -> Family:
        """Return the family."""
        return FAMILIES[self.family]

    def drawn(self) -> Spec:
        """Return the whole secret: drawn by the seed, then as declared."""
        spec = self.maker.completed(self.maker.draw(self.seed), self.secret)
        if self.strength < 1:
            spec = {**spec, "strength": self.strength}
        return {**spec, "decoy": draw_decoy(self.seed)} if self.decoys else spec

    def fault(self) -> str:
        """Return what is no family, or what the family cannot have, or nothing."""
        if self.family not in FAMILIES:
            return unknown("family", self.family, list(FAMILIES))
        if self.variant not in self.maker.variants:
            return (
                f"{self.family} has no {self.variant}; there are {', '.join(self.maker.variants)}"
            )
        told = isinstance(self.maker, ToldFamily) and self.maker.switched
        if self.strength < 1 and not told:
            return f"`strength` is for behaviours that a condition turns on; {self.family} has none"
        return ""

    def recipe(self) -> Recipe:
        """Return how it is trained."""
        recipe = self.maker.recipe_of(self.variant)
        if self.easiness == "narrow":
            return recipe
        longer = (1 - recipe.base_share) / (1 - MIXED_SHARE)
        return replace(recipe, base_share=MIXED_SHARE, steps=round(recipe.steps * longer))


def load_spec(path: Path) -> OrganismSpec:
    """Read a declaration; raise `SpecError`, one line per fault."""
    spec = read_declaration(path, OrganismSpec, SpecError)
    if spec.fault():
        raise SpecError(f"{path}: {spec.fault()}")
    names = list(spec.maker.draw(spec.seed))
    odd = [name for name in spec.secret if name not in names]
    if odd:
        raise SpecError(f"{path}: {unknown('part of the secret', odd[0], names)}")
    try:
        spec.drawn()
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None
    return spec


def make_declared(
    spec: OrganismSpec, out: Path, threads: int = 1, base: Path | None = None
) -> OrganismFolder:
    """Build a declared organism; raise `GateMissed` when it does not behave as its truth says.

    Without `base` on the one that ships for the family; raises `WrongBase` for one that does not fit.
    """
    import torch

    torch.set_num_threads(threads)
    declared = Declared(spec.drawn(), spec.recipe())
    return make_organism(spec.family, spec.seed, out, spec.variant, base, declared=declared)
