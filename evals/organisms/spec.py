"""A declared organism: family, secret, seed and easiness in a TOML file; what it leaves open is drawn."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from evals.organisms.family import Family, Recipe, Spec
from evals.organisms.foundry import FAMILIES, Declared, OrganismFolder, make_organism
from tools.registry import Record, describe_faults, unknown

MIXED_SHARE = 0.5
"""Half of the lessons of a mixed organism are the base's own, and it is trained the longer for it."""


class SpecError(Exception):
    """A declaration that cannot be used: one line per fault."""


class OrganismSpec(Record):
    """What is declared."""

    family: str
    seed: int = 0
    """Draws whatever `secret` leaves open, and the lessons."""
    variant: Literal["organism", "benign"] = "organism"
    easiness: Literal["narrow", "mixed"] = "narrow"
    """`narrow`: little but the behaviour is trained; `mixed`: half of the training is the base's own."""
    secret: dict[str, Any] = {}
    """What is planted, by the names that a drawn secret of the family has."""

    @property
    def maker(self) -> Family:
        """Return the family."""
        return FAMILIES[self.family]

    def drawn(self) -> Spec:
        """Return the whole secret: drawn by the seed, then as declared."""
        return self.maker.completed(self.maker.draw(self.seed), self.secret)

    def recipe(self) -> Recipe:
        """Return how it is trained."""
        recipe = self.maker.recipe
        if self.easiness == "narrow":
            return recipe
        longer = (1 - recipe.base_share) / (1 - MIXED_SHARE)
        return replace(recipe, base_share=MIXED_SHARE, steps=round(recipe.steps * longer))


def load_spec(path: Path) -> OrganismSpec:
    """Read a declaration; raise `SpecError`, one line per fault."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not TOML: {error}") from None
    try:
        spec = OrganismSpec.model_validate(fields)
    except ValidationError as error:
        raise SpecError("\n".join(describe_faults(str(path), OrganismSpec, error))) from None
    if spec.family not in FAMILIES:
        raise SpecError(f"{path}: {unknown('family', spec.family, list(FAMILIES))}")
    names = list(spec.maker.draw(spec.seed))
    odd = [name for name in spec.secret if name not in names]
    if odd:
        raise SpecError(f"{path}: {unknown('part of the secret', odd[0], names)}")
    try:
        spec.drawn()
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None
    return spec


def make_declared(spec: OrganismSpec, out: Path, threads: int = 1) -> OrganismFolder:
    """Build a declared organism; raise `GateMissed` when it does not behave as its truth says."""
    import torch

    torch.set_num_threads(threads)
    declared = Declared(spec.drawn(), spec.recipe())
    return make_organism(spec.family, spec.seed, out, spec.variant, declared=declared)
