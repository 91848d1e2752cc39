"""Blob stores: one suite over a folder and an object store, and what only a folder can show."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from atoll.blob_checks import digest_file
from atoll.blobs import BlobStore, open_store
from atoll.errors import BlobDamaged, BlobError, BlobExists, BlobMissing


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
    with pytest.raises(BlobExists, match="delete it first"):
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


def test_put_on_taken_key_says_how_to_go_on(store: BlobStore) -> None:
    store.put_bytes("k", b"first")
    with pytest.raises(BlobExists, match="delete it first"):
        store.put_bytes("k", b"second")


class NoCredentials(Exception):
    """As drivers have errors of their own."""


class Locked(MemoryFileSystem):
    """A place that nobody has the credentials for."""

    protocol = "locked"

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise NoCredentials("no credentials")

    cat_file = pipe_file = put_file = get_file = info = find = _refuse


@pytest.fixture(params=["folder", "object"])
def shut_store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """A store whose every key fails otherwise than by being missing: names too long, or a lock."""
    fsspec.register_implementation("locked", Locked, clobber=True)
    return open_store(str(tmp_path) if request.param == "folder" else f"locked://{tmp_path}")


@pytest.mark.parametrize(
    "use",
    [
        lambda store, key, path: store.put_bytes(key, b""),
        lambda store, key, path: store.put_file(key, path),
        lambda store, key, path: store.publish(key, b""),
        lambda store, key, path: store.get_bytes(key),
        lambda store, key, path: store.fetch(key, "0" * 64, path.parent / "cache"),
        lambda store, key, path: store.exists(key),
        lambda store, key, path: store.list(key),
    ],
    ids=["put_bytes", "put_file", "publish", "get_bytes", "fetch", "exists", "list"],
)
def test_store_that_cannot_be_reached_says_so(
    shut_store: BlobStore, tmp_path: Path, use: Any
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobError, match=r"could not be (read|written)") as caught:
        use(shut_store, "k" * 300, tmp_path / "file")
    assert not isinstance(caught.value, BlobMissing)


# A file may grow to a megabyte: to a process the same as a disk that is full, without being root.
FULL_DISK = """
import resource, sys
from pathlib import Path
from atoll.blobs import open_store
from atoll.errors import StorageFull

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
store, large = open_store(sys.argv[1]), Path(sys.argv[2])
store.put_bytes("small", b"x" * 1000)
writes = lambda: store.put_file("large", large), lambda: store.publish("small", large.read_bytes())
for write in writes:
    try:
        write()
    except StorageFull as error:
        print(error)
"""


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    large, folder = tmp_path / "large", tmp_path / "store"
    large.write_bytes(bytes(2 << 20))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, folder, large], capture_output=True, text=True, check=True
    )
    large_said, small_said = done.stdout.splitlines()
    assert large_said.startswith(f"{folder}/large could not be written: no space or quota left")
    assert small_said.startswith(f"{folder}/small could not be written: no space or quota left")
    store = open_store(str(folder))
    assert store.list("") == ["small"]
    assert store.get_bytes("small") == b"x" * 1000
    assert sorted(path.name for path in folder.iterdir()) == ["small"]
