"""Blob stores: one suite over a folder and an object store, and what only a folder can show."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.blobs import BlobStore, digest_file, open_store
from atoll.errors import BlobDamaged, BlobError, BlobExists, BlobMissing, StorageFull


@pytest.fixture(params=["folder", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return open_store(
        str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path}"
    )


def test_put_then_get_returns_the_bytes(store: BlobStore) -> None:
    blob = store.put_bytes("a/b", b"bytes")
    assert store.get_bytes("a/b", blob.digest) == b"bytes"
    assert (blob.key, blob.size_bytes) == ("a/b", 5)
    assert store.exists("a/b")
    assert not store.exists("a/c")


def test_put_on_taken_key_is_refused_and_keeps_the_first(store: BlobStore, tmp_path: Path) -> None:
    store.put_bytes("k", b"first")
    source = tmp_path / "file"
    source.write_bytes(b"second")
    with pytest.raises(BlobExists):
        store.put_bytes("k", b"second")
    with pytest.raises(BlobExists):
        store.put_file("k", source)
    assert store.get_bytes("k") == b"first"


def test_publish_replaces(store: BlobStore) -> None:
    store.publish("k", b"first")
    store.publish("k", b"second")
    assert store.get_bytes("k") == b"second"


def test_get_of_missing_key_is_named(store: BlobStore) -> None:
    with pytest.raises(BlobMissing, match="nowhere"):
        store.get_bytes("nowhere")


def test_get_with_other_digest_is_damage(store: BlobStore) -> None:
    store.put_bytes("k", b"bytes")
    with pytest.raises(BlobDamaged, match="is damaged"):
        store.get_bytes("k", "0" * 64)


def test_fetch_gives_a_verified_file(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(os.urandom(3_000_000))
    blob = store.put_file("deep/file", source)
    assert blob.digest == digest_file(source)
    first = store.fetch("deep/file", blob.digest, tmp_path / "cache")
    again = store.fetch("deep/file", blob.digest, tmp_path / "cache")
    assert first == again
    assert first.read_bytes() == source.read_bytes()
    with pytest.raises(BlobDamaged):
        store.fetch("deep/file", "0" * 64, tmp_path / "cache")
    with pytest.raises(BlobMissing):
        store.fetch("deep/none", "0" * 64, tmp_path / "cache")


def test_list_names_the_keys_of_a_folder(store: BlobStore) -> None:
    for key in ("a/2", "a/1", "ab/3"):
        store.put_bytes(key, b"")
    assert store.list("a") == ["a/1", "a/2"]


def test_folder_refuses_keys_that_leave_it(tmp_path: Path) -> None:
    with pytest.raises(BlobError, match="outside"):
        open_store(str(tmp_path / "store")).put_bytes("../escape", b"")


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(BlobError, match="nosuch"):
        open_store("nosuch://bucket/run")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where this user may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_leaves_nothing_behind(tiny_disk: Path, tmp_path: Path) -> None:
    store = open_store(str(tiny_disk))
    store.put_bytes("small", b"x" * 1000)
    large = tmp_path / "large"
    large.write_bytes(bytes(2_000_000))
    with pytest.raises(StorageFull, match="no space left"):
        store.put_file("large", large)
    with pytest.raises(StorageFull):
        store.publish("small", bytes(2_000_000))
    assert store.list("") == ["small"]
    assert store.get_bytes("small") == b"x" * 1000
    assert sorted(path.name for path in tiny_disk.iterdir()) == ["small"]
