"""Checkpoints in the blob store: verified whole, or refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest

from atoll.blobs import BlobStore, open_store
from atoll.checkpoints import Compat, download, require_equal, require_whole, upload
from atoll.errors import BlobDamaged, BlobMissing, CheckpointMismatch
from atoll.types import CheckpointRef

COMPAT = Compat("linear", "pixels", (1, 8, 8), "class:10", "abc")


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_store(str(tmp_path / "run"))


def put(
    store: BlobStore, tmp_path: Path, key: str = "checkpoints/j", compat: Compat = COMPAT
) -> CheckpointRef:
    folder = tmp_path / key.replace("/", "-")
    (folder / "deep").mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * 100)
    (folder / "deep/more").write_bytes(b"m" * 100)
    return upload(store, key, folder, step=5, epoch=2, compat=compat, about={"role": "expert"})


def test_download_returns_what_was_uploaded(store: BlobStore, tmp_path: Path) -> None:
    ref = put(store, tmp_path)
    found = download(store, ref, tmp_path / "cache")
    assert {name: path.read_bytes()[:1] for name, path in found.files.items()} == {
        "weights": b"w",
        "deep/more": b"m",
    }
    assert found.about == {"role": "expert"}
    assert found.compat == COMPAT.as_json()
    assert (ref.step, ref.epoch) == (5, 2)


@pytest.mark.parametrize("name", ["weights", "deep/more", "manifest.json"])
def test_download_with_one_flipped_byte_is_refused(
    store: BlobStore, tmp_path: Path, name: str
) -> None:
    ref = put(store, tmp_path)
    file = tmp_path / "run" / ref.key / name
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    with pytest.raises(BlobDamaged, match=r"checkpoints/j at step 5.*damaged"):
        download(store, ref, tmp_path / "cache")


def test_require_whole_names_the_file_that_is_gone(store: BlobStore, tmp_path: Path) -> None:
    ref = put(store, tmp_path)
    require_whole(store, ref)
    (tmp_path / "run" / ref.key / "deep/more").unlink()
    with pytest.raises(BlobMissing, match=r"checkpoints/j at step 5 lacks deep/more; restore it"):
        require_whole(store, ref)
    (tmp_path / "run" / ref.key / "manifest.json").write_text("{}")
    with pytest.raises(BlobDamaged):
        require_whole(store, ref)


def test_download_without_a_file_is_refused(store: BlobStore, tmp_path: Path) -> None:
    ref = put(store, tmp_path)
    (tmp_path / "run" / ref.key / "weights").unlink()
    with pytest.raises(BlobMissing, match="weights"):
        download(store, ref, tmp_path / "cache")


def test_require_equal_names_the_property_that_differs(store: BlobStore, tmp_path: Path) -> None:
    one = download(store, put(store, tmp_path, "checkpoints/a"), tmp_path / "cache")
    same = download(store, put(store, tmp_path, "checkpoints/b"), tmp_path / "cache")
    ref = put(store, tmp_path, "checkpoints/c", replace(COMPAT, partition="other"))
    other = download(store, ref, tmp_path / "cache")
    require_equal(one, same)
    with pytest.raises(CheckpointMismatch, match=r"partition is 'abc'.*'other'"):
        require_equal(one, other)
