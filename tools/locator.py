"""Where a model's files are, and whether they may be opened.

Everything here reads bytes and JSON only: a model is refused before a line of anybody's code runs.
Weights are safetensors or nothing, no configuration may name code (`auto_map`), every file that an
index or a checksum list names must be there and be the right one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from pydantic import Field, JsonValue, ValidationError

from tools.faults import SubjectRefused
from tools.registry import Record

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
SAFE_TO_DOWNLOAD = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
CHECKSUMS = "checksums.json"
SUBJECT = "subject.json"
"""In a folder without weights: the model that is meant, under a hidden system prompt."""
# Adapters that subtract their initial value from the base: switching them off is not the base.
REWRITES_BASE = ("pissa", "olora", "corda", "eva", "loftq")


class ModelLocator(Record):
    """Which model, from where. Goes from the command line to the worker and nowhere else."""

    model: str
    """A local folder, a Hugging Face hub id, or behind an API `api:anthropic/MODEL`, `api:openai/MODEL`,
    `api:openai-chat/MODEL`."""
    revision: str | None = None
    adapter: str | None = None
    """A PEFT adapter: a local folder or a hub id."""
    adapter_scale: float = Field(default=1.0, ge=0, le=1, exclude_if=lambda scale: scale == 1.0)
    """How much of the adapter's change is kept, of a LoRA: 1 is all of it, 0 the model without it."""
    system: str | None = None
    """A hidden system prompt, put in front of every conversation."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: as stored on an accelerator, float32 on a CPU, where half precision is slow and coarse."""
    device: str = "auto"
    chat_template_arguments: dict[str, JsonValue] = {}
    """Passed to the chat template, such as `enable_thinking`."""
    digest: str | None = None
    """The digest the loaded files must have; see `digest`."""
    base_url: str | None = None
    """Of an API: its address, with the `/v1` of OpenAI's protocols."""
    key_env: str | None = None
    """Of an API: the environment variable that holds the server's own key."""
    thinking: bool | None = None
    """Of an API: thinking switched on or off; None leaves it to the provider."""
    parallel: int = Field(default=16, ge=1, le=256)
    """Of an API: how many requests are under way at once."""


def described_in(folder: Path) -> ModelLocator | None:
    """Return the subject that a folder describes, a model under a hidden system prompt; None where it does not.

    Raises `SubjectRefused` for a description that cannot be used.
    """
    path = folder / SUBJECT
    if not path.is_file():
        return None
    check_listed_hashes(folder, str(folder))
    try:
        return ModelLocator.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise SubjectRefused(f"{folder}: its {SUBJECT} describes no model; it is damaged") from None


class ModelFiles:
    """The checked files of a locator: resolve, check, digest. Opens no weight as a tensor."""

    def __init__(self, locator: ModelLocator) -> None:
        self.locator = locator
        self.model = find_folder(locator.model, locator.revision)
        self.adapter = find_folder(locator.adapter, None) if locator.adapter else None
        check_model_folder(self.model, locator.model)
        if self.adapter:
            check_adapter_folder(self.adapter, str(locator.adapter))
        self.digest = self._digest()
        if locator.digest not in (None, self.digest):
            raise SubjectRefused(
                f"{locator.model}: the files have digest {self.digest[:16]}..., expected "
                f"{str(locator.digest)[:16]}...; they are not the model that was meant"
            )

    def _digest(self) -> str:
        """SHA-256 over every file that shapes the model, and over the hidden system prompt."""
        total = hashlib.sha256()
        for part in (self.model, self.adapter):
            for path in relevant_files(part) if part else ():
                total.update(f"{path.name}\0{file_digest(path)}\0".encode())
            total.update(b"\1")
        total.update((self.locator.system or "").encode())
        arguments = self.locator.chat_template_arguments
        total.update(json.dumps(arguments, sort_keys=True).encode())
        if self.locator.adapter_scale != 1.0:
            total.update(f"adapter scale {self.locator.adapter_scale}".encode())
        return total.hexdigest()


def find_folder(name: str, revision: str | None) -> Path:
    """Return the local folder of a model; a hub id is downloaded without its pickles and code."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.exists():
        raise SubjectRefused(f"{name}: is a file; give the folder that holds it")
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise SubjectRefused(f"{name}: no such folder; check the path")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[*SAFE_TO_DOWNLOAD]))
    except HFValidationError:
        raise SubjectRefused(f"{name}: neither a folder nor a hub id; check the spelling") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise SubjectRefused(
            f"{name}: no such folder, and not to be had from the hub ({type(error).__name__}); "
            "check the spelling and the network, or download it first"
        ) from None


def check_model_folder(folder: Path, name: str) -> None:
    """Raise `SubjectRefused` unless the folder is a complete safetensors model without code."""
    if not (folder / "config.json").is_file():
        raise SubjectRefused(f"{name}: has no config.json; it is not a Hugging Face model folder")
    refuse_code(folder, name)
    if (folder / INDEX).is_file():
        check_shards(folder, name)
    elif not (folder / WEIGHTS).is_file():
        refuse_without_safetensors(folder, name, WEIGHTS)
    check_listed_hashes(folder, name)


def check_adapter_folder(folder: Path, name: str) -> None:
    """Raise `SubjectRefused` unless the folder is a safetensors adapter without code."""
    if not (folder / ADAPTER_CONFIG).is_file():
        raise SubjectRefused(f"{name}: has no {ADAPTER_CONFIG}; it is not a PEFT adapter")
    refuse_code(folder, name)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        refuse_without_safetensors(folder, name, ADAPTER_WEIGHTS)
    initial = read_json(folder / ADAPTER_CONFIG, name).get("init_lora_weights")
    if isinstance(initial, str) and initial.lower().startswith(REWRITES_BASE):
        raise SubjectRefused(
            f"{name}: a {initial} adapter rewrites the base weights; convert it to plain LoRA"
        )
    check_listed_hashes(folder, name)


def refuse_without_safetensors(folder: Path, name: str, wanted: str) -> None:
    """Say why there are no usable weights: only pickles, or none at all."""
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise SubjectRefused(
            f"{name}: {pickles[0]} is a pickle, which can run code when opened, and there is no "
            f"{wanted}; convert the checkpoint to safetensors"
        )
    raise SubjectRefused(f"{name}: {wanted} is missing; the download or copy is incomplete")


def refuse_code(folder: Path, name: str) -> None:
    """Refuse any configuration that names code to run (`auto_map`, attention kernels from the hub)."""
    for path in sorted(folder.glob("*.json")):
        if path.name in ("tokenizer.json", "vocab.json", INDEX):
            continue
        for key, value in walk(read_json(path, name)):
            kernel = key.endswith("attn_implementation") and "/" in str(value)
            if key in ("auto_map", "custom_pipelines") or kernel:
                raise SubjectRefused(
                    f"{name}: {path.name} asks to run code of its own ({key}); "
                    "use a model that transformers implements itself"
                )


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def check_shards(folder: Path, name: str) -> None:
    """Raise `SubjectRefused` when the index names a shard that is not there or not safetensors."""
    shards = read_json(folder / INDEX, name).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise SubjectRefused(f"{name}: {INDEX} names no shards; the download is damaged")
    for shard in sorted({str(shard) for shard in shards.values()}):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise SubjectRefused(f"{name}: {INDEX} names {shard!r}, which is no safetensors shard")
        if not (folder / shard).is_file():
            raise SubjectRefused(f"{name}: shard {shard} is missing; the download is incomplete")


def check_listed_hashes(folder: Path, name: str) -> None:
    """Compare files with the SHA-256 that a `checksums.json` beside or above them lists."""
    for root in (folder, folder.parent):
        if not (root / CHECKSUMS).is_file():
            continue
        listed = read_json(root / CHECKSUMS, name)
        files = listed.get("files", listed)
        for relative, expected in files.items() if isinstance(files, dict) else ():
            path = root / str(relative)
            if not path.resolve().is_relative_to(folder):
                continue
            if not path.is_file():
                raise SubjectRefused(f"{name}: {path.name} is missing; {CHECKSUMS} lists it")
            if file_digest(path) != str(expected).removeprefix("sha256:"):
                raise SubjectRefused(
                    f"{name}: {path.name} has another SHA-256 than {CHECKSUMS} lists; "
                    "the file was changed or damaged"
                )


def relevant_files(folder: Path) -> list[Path]:
    """Return the files that shape a model's behaviour, by name: weights, configurations, tokenizer."""
    shards: set[str] = set()
    if (folder / INDEX).is_file():
        shards = {str(s) for s in json.loads((folder / INDEX).read_text())["weight_map"].values()}
    elif (folder / WEIGHTS).is_file():
        shards = {WEIGHTS}
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name in shards
        or path.name == ADAPTER_WEIGHTS
        or path.name in (ADAPTER_CONFIG, "config.json", "generation_config.json", INDEX)
        or path.name.startswith(("tokenizer", "vocab", "merges", "special_tokens", "added_tokens"))
        or path.name.startswith("chat_template")
    ]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read a JSON object; `SubjectRefused` when it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        raise SubjectRefused(f"{name}: {path.name} cannot be read as JSON; it is damaged") from None
    return value if isinstance(value, dict) else {"": value}
