"""How large a model is, read from its files without opening a weight: for a plan before anything runs."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from tools.locator import ModelLocator
from tools.registry import Record

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1} | {
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1
}  # fmt: skip
MOST_HEADER = 2**28


class Footprint(Record):
    """What a model takes, as stored."""

    parameters: int
    weight_bytes: int
    """As stored; on a CPU with dtype `auto` they are held in float32, four bytes each."""
    cache_bytes_per_token: int
    """Keys and values of one token over all layers, two bytes a number; sliding windows not counted."""


def footprint(locator: ModelLocator) -> Footprint | None:
    """Return the size of a model that is on this machine, or None where it is not or cannot be read."""
    folder = folder_of(locator)
    if folder is None:
        return None
    try:
        sizes = [tensor_sizes(path) for path in sorted(folder.glob("*.safetensors"))]
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        cache = cache_bytes(config.get("text_config", config))
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
    if not sizes:
        return None
    return Footprint(
        parameters=sum(count for count, _ in sizes),
        weight_bytes=sum(size for _, size in sizes),
        cache_bytes_per_token=cache,
    )


def folder_of(locator: ModelLocator) -> Path | None:
    """Return the model's folder if it is here already; nothing is downloaded."""
    folder = Path(locator.model).expanduser()
    if folder.is_dir():
        return folder
    try:
        return Path(
            snapshot_download(locator.model, revision=locator.revision, local_files_only=True)
        )
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None


def tensor_sizes(path: Path) -> tuple[int, int]:
    """Return the number of weights in a safetensors file and their bytes, from its header alone."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MOST_HEADER:
            raise ValueError("not a safetensors header")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    counts = [(math.prod(each["shape"]), BYTES[each["dtype"]]) for each in header.values()]
    return sum(count for count, _ in counts), sum(count * size for count, size in counts)


def cache_bytes(config: dict[str, Any]) -> int:
    """Return the bytes of one token's keys and values; GPT-2's names for the same things are known."""
    layers = config.get("num_hidden_layers") or config["n_layer"]
    heads = config.get("num_attention_heads") or config["n_head"]
    width = config.get("hidden_size") or config["n_embd"]
    groups = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or width // heads
    return int(2 * 2 * layers * groups * head)
