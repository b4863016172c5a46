"""The files of an organism's folder: JSON that is the same for equal values, checksums, and the declaration."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tools.registry import Record, describe_faults

Read = TypeVar("Read", bound=Record)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that equal values give equal bytes."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_declaration(path: Path, kind: type[Read], fault: type[Exception]) -> Read:
    """Read a TOML file as a record; raise `fault`, one line for each thing that is wrong."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise fault(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise fault(f"{path} is not TOML: {error}") from None
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise fault("\n".join(describe_faults(str(path), kind, error))) from None
