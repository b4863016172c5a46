"""Content-addressed files: what a record names by its SHA-256 and never holds itself."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from tools.registry import ToolError


class BlobStore:
    """A folder of immutable files named `sha256/ab/abcdef...`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Return where the blob lies; raise `ToolError` if `digest` is no SHA-256 in hex."""
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ToolError(f"{digest[:80]!r} is not a blob reference (64 hexadecimal digits)")
        return self.root / "sha256" / digest[:2] / digest

    def put(self, data: bytes) -> str:
        """Store `data` and return its SHA-256; on disk, complete and synced, before it returns."""
        digest = hashlib.sha256(data).hexdigest()
        target = self.path(digest)
        if target.exists():
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes; raise `ToolError` if there is no such blob or its content has changed."""
        path = self.path(digest)
        if not path.exists():
            raise ToolError(f"no blob {digest} in this run; use a reference that a result returned")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ToolError(f"blob {digest} is damaged: its content no longer has that SHA-256")
        return data
