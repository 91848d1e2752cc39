"""What every blob store must keep, and what only a folder can show; S3's own is in tests/atoll."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from atoll.blob_checks import digest_file
from atoll.blobs import BlobStore, open_store
from atoll.errors import BadInput, BlobDamaged, BlobError, BlobExists, BlobMissing
from tests.ports import free_address


@pytest.fixture(params=["folder", "object", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URI of a new store of each kind."""
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/some/run"
    return {"folder": f"{tmp_path}/store", "object": f"memory://{tmp_path}"}[request.param]


@pytest.fixture
def store(place: str) -> BlobStore:
    return open_store(place)


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


def test_download_copies_a_key_and_tells_of_its_bytes(store: BlobStore, tmp_path: Path) -> None:
    source, heard = tmp_path / "file", []
    source.write_bytes(os.urandom(9_000_000))
    store.put_file("deep/file", source)
    store.download("deep/file", tmp_path / "copy", heard.append)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert sum(heard) == 9_000_000
    with pytest.raises(BlobMissing, match="deep/none is missing"):
        store.download("deep/none", tmp_path / "none", heard.append)


@pytest.mark.parametrize(
    ("place", "there"), [("folder", True), ("object", False), ("s3", False)], indirect=["place"]
)
def test_only_a_folder_has_its_keys_in_place(store: BlobStore, there: bool) -> None:
    store.put_bytes("k", b"bytes")
    path = store.in_place("k")
    assert (path is not None and path.read_bytes() == b"bytes") == there


def test_fetch_of_bytes_that_changed_is_damage(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put_bytes("k", b"bytes").digest
    store.publish("k", b"other")
    with pytest.raises(BlobDamaged, match="/k is damaged"):
        store.fetch("k", digest, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*"))


@pytest.mark.parametrize("place", ["object", "s3"], indirect=True)
def test_fetch_mends_a_damaged_copy(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put_bytes("k", b"bytes").digest
    store.fetch("k", digest, tmp_path / "cache").write_bytes(b"other")
    assert store.fetch("k", digest, tmp_path / "cache").read_bytes() == b"bytes"


# fsspec has no condition to put a key on.
@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True)
def test_put_by_many_writers_at_once_is_won_by_exactly_one(store: BlobStore) -> None:
    ready, won = threading.Barrier(8), []

    def write(number: int) -> None:
        ready.wait()
        with contextlib.suppress(BlobExists):
            store.put_bytes("k", bytes([number]))
            won.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert store.get_bytes("k") == bytes(won)


def test_list_names_the_keys_of_a_folder(store: BlobStore) -> None:
    for key in ("a/2", "a/1", "ab/3"):
        store.put_bytes(key, b"")
    assert store.list("a") == ["a/1", "a/2"]
    assert store.list("") == ["a/1", "a/2", "ab/3"]
    assert store.list("none") == []


def test_sizes_are_those_of_the_keys_of_a_folder(store: BlobStore) -> None:
    for key, size in {"a/2": 5, "a/deep/1": 0, "ab/3": 7}.items():
        store.put_bytes(key, bytes(size))
    assert store.sizes("a") == {"a/2": 5, "a/deep/1": 0}
    assert store.sizes("") == {"a/2": 5, "a/deep/1": 0, "ab/3": 7}
    assert store.sizes("none") == {}


def test_deleted_keys_are_gone_and_free_again(store: BlobStore) -> None:
    for key in ("a/1", "a/2", "b"):
        store.put_bytes(key, b"first")
    store.delete(["a/1", "b", "never"])
    assert store.list("") == ["a/2"]
    store.put_bytes("b", b"second")
    assert store.get_bytes("b") == b"second"


def test_sweep_leaves_every_key(store: BlobStore) -> None:
    store.put_bytes("k", b"bytes")
    assert store.sweep(older_than_s=0) == 0
    assert store.get_bytes("k") == b"bytes"


def test_folder_refuses_keys_that_leave_it(tmp_path: Path) -> None:
    with pytest.raises(BlobError, match="outside"):
        open_store(str(tmp_path / "store")).put_bytes("../escape", b"")


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(BadInput, match="nosuch"):
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

    cat_file = pipe_file = put_file = get_file = info = find = rm_file = _refuse


@pytest.fixture(params=["folder", "object", "s3"])
def shut_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BlobStore:
    """A store whose every key fails otherwise than by being missing.

    Names are too long, nobody has the credentials, or nothing listens.
    """
    if request.param == "s3":
        place = request.getfixturevalue("bucket")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{free_address()}")
        return open_store(place)
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
        lambda store, key, path: store.sizes(key),
        lambda store, key, path: store.delete([key]),
    ],
    ids=[
        "put_bytes",
        "put_file",
        "publish",
        "get_bytes",
        "fetch",
        "exists",
        "list",
        "sizes",
        "delete",
    ],
)
def test_store_that_cannot_be_reached_says_so(
    shut_store: BlobStore, tmp_path: Path, use: Any
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobError, match=r"could not be (read|written|deleted)") as caught:
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


# Killed in the middle of a write: what a disk holds of it is no key.
KILLED = """
import os, signal, sys
from pathlib import Path
from atoll.blobs import open_store

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
open_store(sys.argv[1]).put_bytes("k", bytes(1000))
"""


def test_killed_write_leaves_no_key_and_is_swept_when_it_is_old(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put_bytes("a", b"a")  # the folder is there, so the first sync is the file's
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False).returncode == -9
    (left,) = tmp_path.glob(".tmp-*")
    assert store.sizes("") == {"a": 1}
    assert store.sweep(older_than_s=3600) == 0
    assert left.exists()
    os.utime(left, (0, 0))
    assert store.sweep(older_than_s=3600) == 1000
    assert not left.exists()
