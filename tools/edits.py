"""Edits of activations: what is written where, on which rows, at which positions.

An `Edit` is checked whole before the model runs. While it runs, `Interventions` is what the body of
every trace calls: site by site in execution order, first the edits, then the captures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tools.architecture import KINDS, Anatomy, Site, first_tensor
from tools.blobs import BlobStore
from tools.registry import ToolError

Operation = Literal["add", "project_out", "set"]
Positions = Literal["all", "prompt", "generated"] | int | Sequence[int]


@dataclass(frozen=True)
class Edit:
    """One write into the model: `add` c*v, `project_out` v (scaled to length 1), or `set` to c*v."""

    site: Site
    operation: Operation
    vector: Tensor
    """[d_model], or [rows, d_model] with one vector for each prompt of the call."""
    coefficient: float | Tensor = 1.0
    """A number, or [rows]. For `project_out` the share removed: 1 is all of it."""
    positions: Positions = "all"
    """Tokens of the prompt, of what follows it, of both, or one position: -1 is the prompt's last
    token, 0 its first; a sequence gives one position for each prompt."""
    rows: Sequence[int] | None = None
    """The prompts it applies to, by number; all of them when None. Vectors, coefficients and
    positions given by row then run over these."""


def check_edit(edit: Edit, anatomy: Anatomy, lengths: Sequence[int]) -> None:
    """Raise `ToolError` for an edit that does not fit the model or prompts of these lengths."""
    anatomy.validate(edit.site)
    rows = range(len(lengths)) if edit.rows is None else edit.rows
    where = f"edit at layer {edit.site.layer} {edit.site.kind}"
    if any(not 0 <= row < len(lengths) for row in rows):
        raise ToolError(f"{where}: row outside the {len(lengths)} prompts of the call")
    if edit.operation not in ("add", "project_out", "set"):
        raise ToolError(f"{where}: operation {edit.operation!r}; use add, project_out or set")
    shapes = ((anatomy.d_model,), (len(rows), anatomy.d_model))
    if tuple(edit.vector.shape) not in shapes:
        raise ToolError(
            f"{where}: vector of shape {tuple(edit.vector.shape)}; this needs "
            f"[{anatomy.d_model}] or [{len(rows)}, {anatomy.d_model}]"
        )
    coefficient = torch.as_tensor(edit.coefficient)
    if tuple(coefficient.shape) not in ((), (len(rows),)):
        raise ToolError(f"{where}: {tuple(coefficient.shape)} coefficients for {len(rows)} rows")
    if not (torch.isfinite(edit.vector).all() and torch.isfinite(coefficient).all()):
        raise ToolError(f"{where}: the vector or coefficient is not finite")
    if edit.operation == "project_out" and not edit.vector.norm(dim=-1).gt(0).all():
        raise ToolError(f"{where}: cannot project out a zero vector")
    check_positions(edit.positions, [lengths[row] for row in rows], where)


def check_positions(positions: Positions, lengths: Sequence[int], where: str) -> None:
    """Raise `ToolError` for a position outside its prompt."""
    if isinstance(positions, str):
        if positions not in ("all", "prompt", "generated"):
            raise ToolError(f"{where}: positions {positions!r}; use all, prompt, generated or -1")
        return
    each = [positions] * len(lengths) if isinstance(positions, int) else list(positions)
    if len(each) != len(lengths):
        raise ToolError(f"{where}: {len(each)} positions for {len(lengths)} rows")
    for row, (position, length) in enumerate(zip(each, lengths, strict=True)):
        if not -length <= position < length:
            raise ToolError(
                f"{where}: position {position} outside the {length} tokens of row {row}"
            )


def positions_by_prompt(
    positions: Sequence[int] | Sequence[Sequence[int]], lengths: Sequence[int]
) -> list[list[int]]:
    """Return a list of positions for each prompt, all equally long and inside their prompts."""
    each = [[p] if isinstance(p, int) else list(p) for p in positions]
    if all(isinstance(p, int) for p in positions):
        each = [[p for (p,) in each]] * len(lengths)
    if len(each) != len(lengths) or len({len(row) for row in each}) != 1 or not each[0]:
        raise ToolError("give one or more positions, the same number for each prompt")
    for column in zip(*each, strict=True):
        check_positions(column, lengths, "capture")
    return each


@dataclass
class Stage:
    """What a forward pass is about: which prompts its rows are, and which tokens it holds."""

    phase: Literal["prompt", "generated"]
    rows: Tensor
    """[batch]: the number of the prompt, in the call, that each row continues."""
    lengths: Tensor
    """[batch]: tokens of the prompt without padding."""
    width: int
    """Columns of the prompt with its left padding."""
    prepared: dict[int, Any] = field(default_factory=dict)
    """What an edit comes to on these rows, so that it is worked out once and not at every token."""


@dataclass
class Prepared:
    """An edit on the rows of one stage; `rows` and `columns` are None for all of them."""

    vector: Tensor
    coefficient: Tensor
    rows: Tensor | None
    columns: Tensor | None


def prepare(edit: Edit, stage: Stage, device: torch.device) -> Prepared | None:
    """Return the edit in the terms of a stage; None where it does not apply."""
    if edit.positions not in ("all", stage.phase) and (
        isinstance(edit.positions, str) or stage.phase != "prompt"
    ):
        return None
    prompts, chosen = stage.rows.to(device), None
    wanted = prompts
    if edit.rows is not None:
        slots = torch.full((int(max(prompts.max(), *edit.rows)) + 1,), -1, device=device)
        slots[torch.tensor(list(edit.rows), device=device)] = torch.arange(
            len(edit.rows), device=device
        )
        chosen = (slots[prompts] >= 0).nonzero()[:, 0]
        wanted = slots[prompts[chosen]]
        if len(chosen) == 0:
            return None
    columns = None
    if not isinstance(edit.positions, str):
        chosen = torch.arange(len(prompts), device=device) if chosen is None else chosen
        columns = columns_of(stage, by_row(edit.positions, wanted, torch.int64), chosen)
    vector = edit.vector.to(device, torch.float32)
    vector = vector[wanted] if vector.dim() == 2 else vector.expand(len(wanted), -1)
    if edit.operation == "project_out":
        vector = vector / vector.norm(dim=-1, keepdim=True)
    return Prepared(vector, by_row(edit.coefficient, wanted, torch.float32), chosen, columns)


def by_row(value: Any, wanted: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a number, or the numbers of the wanted rows, as one number for each."""
    values = torch.as_tensor(value, dtype=dtype).to(wanted.device)
    return values[wanted] if values.dim() else values.expand(len(wanted))


def columns_of(stage: Stage, positions: Tensor, rows: Tensor) -> Tensor:
    """Return the columns in the padded prompt of positions ([rows] or [rows, n]) of these rows."""
    lengths = stage.lengths.to(rows.device)[rows]
    lengths = lengths if positions.dim() == 1 else lengths[:, None]
    return stage.width + positions - torch.where(positions < 0, 0, lengths)


def apply_edit(edit: Edit, hidden: Tensor, stage: Stage) -> None:
    """Write an edit into hidden states [batch, pos, d_model], in place."""
    if id(edit) not in stage.prepared:
        stage.prepared[id(edit)] = prepare(edit, stage, hidden.device)
    ready: Prepared | None = stage.prepared[id(edit)]
    if ready is None:
        return
    if ready.columns is not None:
        target = hidden[ready.rows, ready.columns][:, None]
        hidden[ready.rows, ready.columns] = edited(edit, ready, target)[:, 0].to(hidden.dtype)
    elif ready.rows is not None:
        hidden[ready.rows] = edited(edit, ready, hidden[ready.rows]).to(hidden.dtype)
    elif edit.operation == "add":
        hidden += (ready.coefficient[:, None] * ready.vector)[:, None].to(hidden.dtype)
    else:
        hidden.copy_(edited(edit, ready, hidden))


def edited(edit: Edit, ready: Prepared, hidden: Tensor) -> Tensor:
    """Return what hidden states [rows, pos, d_model] become."""
    vector, coefficient = ready.vector[:, None], ready.coefficient[:, None, None]
    if edit.operation == "set":
        return (coefficient * vector).expand_as(hidden)
    values = hidden.float()
    if edit.operation == "add":
        return values + coefficient * vector
    return values - coefficient * (values * vector).sum(-1, keepdim=True) * vector


class Visitor(Protocol):
    """What the body of a trace calls: once for each forward pass, told beforehand what it is about."""

    stage: Stage | None

    def __bool__(self) -> bool:
        """Say whether there is anything to do; nothing is traced otherwise."""
        ...

    def visit(self) -> None:
        """Read and write activations, in the order of execution."""
        ...


class Interventions:
    """The edits and captures of one call, in the order in which the model reaches them."""

    def __init__(
        self, anatomy: Anatomy, envoy: Any, edits: Sequence[Edit], capture: Sequence[Site] = ()
    ) -> None:
        self.stage: Stage | None = None
        self.captured: dict[Site, Tensor] = {}
        self.positions: Tensor | None = None
        """[batch, n] positions to capture; all columns when None."""
        sites = {edit.site for edit in edits} | set(capture)
        self.stops = [
            (*self._module(anatomy, envoy, site), site, [e for e in edits if e.site == site])
            for site in sorted(sites, key=lambda site: (site.layer, KINDS.index(site.kind)))
        ]
        self.wanted = set(capture)

    def __bool__(self) -> bool:
        return bool(self.stops)

    @staticmethod
    def _module(anatomy: Anatomy, envoy: Any, site: Site) -> tuple[Any, bool]:
        path, is_input = anatomy.part(site)
        return reach(envoy, path), is_input

    def visit(self) -> None:
        """Take one forward pass through every stop. Called in the body of a trace."""
        for module, is_input, site, edits in self.stops:
            hidden = module.input if is_input else first_tensor(module.output)
            stage = self.stage
            assert stage is not None
            for edit in edits:
                apply_edit(edit, hidden, stage)
            if site in self.wanted and stage.phase == "prompt":
                self.captured[site] = self._taken(hidden, stage)

    def _taken(self, hidden: Tensor, stage: Stage) -> Tensor:
        if self.positions is None:
            return hidden.float().cpu().clone()
        rows = torch.arange(len(hidden), device=hidden.device)
        columns = columns_of(stage, self.positions.to(hidden.device), rows)
        return hidden[rows[:, None], columns].float().cpu()


def reach(envoy: Any, path: str) -> Any:
    """Return the nnsight envoy of a module path."""
    for name in path.split("."):
        envoy = envoy[int(name)] if name.isdigit() else getattr(envoy, name)
    return envoy


def save_direction(blobs: BlobStore, direction: Tensor, **more: Tensor) -> str:
    """Store a direction [d_model] (and tensors beside it) and return its blob reference."""
    tensors = {"direction": direction, **more}
    return blobs.put(save({k: v.detach().float().cpu().contiguous() for k, v in tensors.items()}))


def load_direction(blobs: BlobStore, reference: str, d_model: int) -> Tensor:
    """Return the direction of a blob; `ToolError` when it holds none for this model."""
    try:
        tensors: Mapping[str, Tensor] = load(blobs.get(reference))
    except SafetensorError:
        raise ToolError(f"blob {reference[:16]}... holds no direction") from None
    direction = tensors.get("direction")
    if direction is None or tuple(direction.shape) != (d_model,):
        raise ToolError(f"blob {reference[:16]}... holds no direction of {d_model} numbers")
    return direction
