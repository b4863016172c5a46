"""Blobs are named by their content, complete or absent, and never trusted unread."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.blobs import BlobStore
from tools.registry import ToolError


@settings(deadline=None, max_examples=20)
@given(st.binary(max_size=200))
def test_what_is_put_comes_back_under_its_hash(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = BlobStore(Path(folder))
        name = store.put(data)
        assert name == hashlib.sha256(data).hexdigest() == store.put(data)
        assert store.get(name) == data


def test_a_changed_blob_is_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    name = store.put(b"one")
    store.path(name).write_bytes(b"two")
    with pytest.raises(ToolError, match="damaged"):
        store.get(name)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "g" * 64])
def test_a_reference_never_leads_out_of_the_store(tmp_path: Path, name: str) -> None:
    with pytest.raises(ToolError, match="not a blob reference"):
        BlobStore(tmp_path).get(name)
    with pytest.raises(ToolError, match="no blob"):
        BlobStore(tmp_path).get("0" * 64)


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BlobStore(tmp_path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tools.blobs.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.put(b"much")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
