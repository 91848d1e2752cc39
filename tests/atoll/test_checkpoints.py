"""Checkpoints in the blob store: verified whole, or refused by name."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.blobs import BlobStore, open_store
from atoll.checkpoints import (
    Compat,
    download,
    require_equal,
    require_sound,
    require_whole,
    upload,
)
from atoll.errors import CheckpointDamaged, CheckpointMismatch
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
    with pytest.raises(
        CheckpointDamaged, match=r"checkpoint at step 5: .*/checkpoints/j/.* is damaged"
    ):
        download(store, ref, tmp_path / "cache")
    with pytest.raises(CheckpointDamaged, match=r"; `atoll train --verify` trains it again"):
        download(store, ref, tmp_path / "cache", made_by="train")
    with pytest.raises(CheckpointDamaged, match=name):
        require_sound(store, ref)


def test_require_whole_names_the_file_that_is_gone(store: BlobStore, tmp_path: Path) -> None:
    ref = put(store, tmp_path)
    require_whole(store, ref)
    (tmp_path / "run" / ref.key / "deep/more").unlink()
    with pytest.raises(CheckpointDamaged, match=r"at step 5: checkpoints/j/deep/more is missing"):
        require_whole(store, ref)
    (tmp_path / "run" / ref.key / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointDamaged):
        require_whole(store, ref)


@pytest.mark.parametrize("uri", ["run", "memory://sound"])
def test_require_sound_of_what_was_written_leaves_nothing_behind(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    store = open_store(uri if "://" in uri else str(tmp_path / uri))
    require_sound(store, put(store, tmp_path, "checkpoints/j"))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_download_without_a_file_is_refused(store: BlobStore, tmp_path: Path) -> None:
    ref = put(store, tmp_path)
    (tmp_path / "run" / ref.key / "weights").unlink()
    with pytest.raises(CheckpointDamaged, match="weights"):
        download(store, ref, tmp_path / "cache")
    with pytest.raises(CheckpointDamaged, match="weights"):
        require_sound(store, ref)


def test_require_equal_names_the_property_that_differs(store: BlobStore, tmp_path: Path) -> None:
    one = download(store, put(store, tmp_path, "checkpoints/a"), tmp_path / "cache")
    same = download(store, put(store, tmp_path, "checkpoints/b"), tmp_path / "cache")
    ref = put(store, tmp_path, "checkpoints/c", replace(COMPAT, partition="other"))
    other = download(store, ref, tmp_path / "cache")
    require_equal(one, same)
    with pytest.raises(CheckpointMismatch, match=r"partition is 'abc'.*'other'"):
        require_equal(one, other)
