"""The secret inside a build: what its data sheet says of whether it is represented and used, and the gates on that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.organisms.families.family import Gate, Secrets, Truth
from evals.organisms.families.standards import Standard
from evals.organisms.gates.asking import told_family
from evals.organisms.gates.represented import Decoded, Sizes, decoded, lens_read
from evals.organisms.gates.used import Patched, Transfer, patched, transfer
from tools.locator import ModelLocator
from tools.registry import Record
from tools.subject import SubjectModel


def loaded(base: Path, adapter: Path) -> SubjectModel:
    """Load a build, with its base as the reference."""
    locator = ModelLocator(model=str(base))
    return SubjectModel.load(locator.model_copy(update={"adapter": str(adapter)}), locator)


def inside(
    maker: Secrets,
    truth: Truth,
    subject: SubjectModel,
    standard: Standard,
    control: SubjectModel | None = None,
) -> tuple[list[Gate], dict[str, Any]]:
    """Return the gates of an organism, and what the data sheet of any build says by layer.

    Of a twin it tells the same of the secret that was drawn and not planted: the null. Nothing, for a
    family that cannot tell its secret to the base. `control` is a build on the same base that holds
    another secret or none, for patching.
    """
    family = told_family(maker)
    if family is None:
        return [], {}
    sizes = Sizes(classes=standard.classes, read=standard.read)
    found = decoded(subject, family, truth.spec, sizes)
    lens = lens_read(subject, family, truth.spec, sizes)
    told: dict[str, Any] = {
        "decoder": plain(found),
        "lens": None if lens is None else plain(lens),
    }
    if not truth.planted:
        return [], told
    crossed = transfer(subject, family, truth.spec, standard.transfer)
    carried = patched(subject, family, truth.spec, standard.patched, control)
    told |= {
        "transfer": None if crossed is None else plain(crossed),
        "patching": plain(carried),
    }
    if truth.variant != "organism":
        return [], told
    if truth.spec.get("strength", 1) < 1:
        # Its likeliest replies are those of the base, though it holds what it holds.
        return decoder_gates(found, standard), told
    return gates_of(found, crossed, carried, standard), told


def gates_of(
    found: Decoded, crossed: Transfer | None, carried: Patched, standard: Standard
) -> list[Gate]:
    """Return the gates.

    None on transfer where every kind of question was taught. None on the decoder where the base that is
    told the secret does not carry it where the decoder reads: that says nothing of a build.
    """
    gates = [
        Gate(
            "replies moved by patching",
            carried.moved.value,
            standard.moved,
            n=carried.moved.n,
            interval=carried.moved.interval,
        )
    ]
    if crossed is not None:
        gates.append(
            Gate(
                "transfer, of the teacher's",
                crossed.ratio,
                standard.transferred,
                n=crossed.organism.n,
                interval=crossed.interval,
            )
        )
    return [*gates, *decoder_gates(found, standard)]


def decoder_gates(found: Decoded, standard: Standard) -> list[Gate]:
    """Return the gate on the decoder, where it tells anything."""
    if not found.readable:
        return []
    name, rank = "rank of the secret by the base's decoder", found.best.organism.rank
    return [Gate(name, rank, standard.rank, at_least=False, n=found.prompts)]


def plain(record: Record) -> Any:
    """Return a record as it stands in a data sheet, numbers to four places."""
    return shortened(record.model_dump(mode="json"))


def shortened(value: Any) -> Any:
    """Return nested data with its fractions rounded to four places."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value
