"""Copies on a node's disk, shared by processes that know nothing of each other."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.blobs import Blob, BlobStore, open_store
from atoll.cache_room import Copy, giving_way
from atoll.cache_section import CacheSection
from atoll.cache_stamp import Stamp
from atoll.errors import BlobDamaged, BlobError, ConfigError, StorageFull
from atoll.file_store import FileStore
from atoll.node_cache import NodeCache, open_cache

SIZE = 1000


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_store(str(tmp_path / "run"))


@pytest.fixture
def blobs(store: BlobStore) -> list[Blob]:
    return [store.put_bytes(f"shard-{n}", bytes([n]) * SIZE) for n in range(4)]


def cache(tmp_path: Path, num: int = 0) -> NodeCache:
    """Of room for so many blobs."""
    return NodeCache(tmp_path / "cache", num * SIZE, copy_always=True)


def copies(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache" / "copies").iterdir()}


def fetched(of: NodeCache, store: BlobStore, *blobs: Blob) -> list[Path]:
    files = of.hold(store, blobs)
    return [files.path(blob) for blob in blobs]


def test_copies_are_verified_and_need_the_store_no_more(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    heard: list[int] = []
    files = cache(tmp_path).hold(store, blobs, heard.append)
    assert [files.path(blob).read_bytes()[0] for blob in blobs] == [0, 1, 2, 3]
    assert sum(heard) == 4 * SIZE
    store.delete([blob.key for blob in blobs])
    files = cache(tmp_path).hold(store, blobs, heard.append)
    assert [files.path(blob).read_bytes()[0] for blob in blobs] == [0, 1, 2, 3]
    assert sum(heard) == 8 * SIZE


def test_files_of_a_folder_are_read_in_place(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    here = NodeCache(tmp_path / "cache", size_bytes=1)
    assert fetched(here, store, *blobs)[2] == tmp_path / "run" / "shard-2"
    assert not copies(tmp_path)
    (tmp_path / "run" / "shard-2").write_bytes(b"shorter")
    with pytest.raises(BlobDamaged, match="shard-2 is damaged"):
        fetched(here, store, *blobs)


def test_damaged_copy_is_fetched_again(tmp_path: Path, store: BlobStore, blobs: list[Blob]) -> None:
    (path,) = fetched(cache(tmp_path), store, blobs[0])
    path.write_bytes(b"shorter")
    (again,) = fetched(cache(tmp_path), store, blobs[0])
    assert again.read_bytes() == bytes(SIZE)


def test_copy_that_rotted_unseen_is_fetched_again_after_a_doubt(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    files = cache(tmp_path).hold(store, blobs)
    path = files.path(blobs[0])
    path.write_bytes(b"rotten")
    with Stamp.opened(tmp_path / "cache" / "seen" / blobs[0].digest) as stamp:
        stamp.set(path)  # a disk tells nobody what it forgets
    assert files.path(blobs[0]).read_bytes() == b"rotten"
    files.doubt(blobs[0])
    assert files.path(blobs[0]).read_bytes() == bytes(SIZE)


class Unlucky(FileStore):
    """Some of the first downloads arrive damaged."""

    def __init__(self, root: Path, num: int) -> None:
        super().__init__(root)
        self.num = num

    def download(self, key: str, path: Path, heard: Any) -> None:
        super().download(key, path, heard)
        if self.num > 0:
            self.num -= 1
            path.write_bytes(b"torn")


def test_download_damaged_on_its_way_is_tried_once_more(tmp_path: Path, blobs: list[Blob]) -> None:
    (path,) = fetched(cache(tmp_path), Unlucky(tmp_path / "run", 1), blobs[1])
    assert path.read_bytes() == b"\1" * SIZE
    with pytest.raises(BlobDamaged, match="shard-2 is damaged"):
        fetched(cache(tmp_path), Unlucky(tmp_path / "run", 2), blobs[2])
    assert copies(tmp_path) == {blobs[1].digest}
    assert not list((tmp_path / "cache" / "partial").iterdir())


def test_least_recently_used_copies_give_way(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    for blob in (blobs[0], blobs[1], blobs[0]):
        fetched(cache(tmp_path, 2), store, blob)
    os.utime(tmp_path / "cache" / "seen" / blobs[1].digest, (1, 1))  # clocks may be coarse
    fetched(cache(tmp_path, 2), store, blobs[2])
    assert copies(tmp_path) == {blobs[0].digest, blobs[2].digest}


def test_copies_in_use_never_give_way(tmp_path: Path, store: BlobStore, blobs: list[Blob]) -> None:
    files = cache(tmp_path, 2).hold(store, blobs[:2])
    with pytest.raises(StorageFull, match=r"raise cache\.size_gb, or have fewer islands on a node"):
        cache(tmp_path, 2).hold(store, blobs[2:3])
    assert files.path(blobs[0]).exists()
    del files
    fetched(cache(tmp_path, 2), store, blobs[2])


def test_more_than_the_cache_may_hold_is_refused_by_key(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    with pytest.raises(ConfigError, match=r"cache\.size_gb = 2e-06 has no room .* raise it"):
        cache(tmp_path, 2).hold(store, blobs)


def test_more_than_the_disk_has_room_for_is_told_before_a_byte_is_fetched(
    tmp_path: Path, store: BlobStore
) -> None:
    huge = Blob("huge", "0" * 64, 1 << 60)
    with pytest.raises(StorageFull, match=r"take 1152921504\.607; free some there"):
        cache(tmp_path).hold(store, [huge])


def test_file_that_is_no_copy_is_never_deleted(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    fetched(cache(tmp_path, 1), store, blobs[0])
    (tmp_path / "cache" / "copies" / "diary").write_text("mine")
    fetched(cache(tmp_path, 1), store, blobs[1])
    assert copies(tmp_path) == {blobs[1].digest, "diary"}


def test_folder_that_cannot_be_made_is_named(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(BlobError, match=r"cache could not be used for copies \(cache\.folder\)"):
        cache(tmp_path).hold(store, blobs)


# Its first download is cut short by SIGKILL, halfway through the file.
KILLED = """
import os, signal, sys
from pathlib import Path
from atoll.blobs import Blob, open_store
from atoll.node_cache import NodeCache

uri, folder, key, digest, size = sys.argv[1:]
blob = Blob(key, digest, int(size))
files = NodeCache(Path(folder), copy_always=True).hold(
    open_store(uri), [blob], lambda _: os.kill(os.getpid(), signal.SIGKILL)
)
files.path(blob)
"""


def test_process_killed_in_the_middle_leaves_neither_its_part_nor_its_claim(
    tmp_path: Path, store: BlobStore, blobs: list[Blob]
) -> None:
    (tmp_path / "large").write_bytes(bytes(9 << 20))
    large = store.put_file("large", tmp_path / "large")
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(folder)]
    command += [large.key, large.digest, str(large.size_bytes)]
    assert subprocess.run(command, check=False).returncode == -9
    assert [path.name for path in (folder / "partial").glob("*/*")] == ["part"]
    fetched(cache(tmp_path, 1), store, blobs[0])
    assert not list((folder / "partial").iterdir())
    assert copies(tmp_path) == {blobs[0].digest}
    (path,) = fetched(cache(tmp_path), store, large)
    assert path.stat().st_size == 9 << 20


HOLDER = """
import sys
from pathlib import Path
from atoll.blobs import Blob, open_store
from atoll.node_cache import NodeCache

uri, folder, *rest = sys.argv[1:]
blobs = [Blob(key, digest, 1000) for key, digest in zip(rest[::2], rest[1::2])]
store = open_store(uri)
print("ready", flush=True)
sys.stdin.readline()
files = NodeCache(Path(folder)).hold(store, blobs)
print([files.path(blob).read_bytes()[0] for blob in blobs], flush=True)
"""


def test_processes_that_want_the_same_fetch_it_once(bucket: str, s3: Any, tmp_path: Path) -> None:
    store = open_store(f"{bucket}/run")
    blobs = [store.put_bytes(f"shard-{n}", bytes([n]) * SIZE) for n in range(4)]
    names = [word for blob in blobs for word in (blob.key, blob.digest)]
    command = [sys.executable, "-c", HOLDER, f"{bucket}/run", str(tmp_path / "cache"), *names]
    with contextlib.ExitStack() as ends:
        both = [
            ends.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(2)
        ]
        for process in both:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        s3.asked.clear()
        for process in both:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.communicate()[0] for process in both] == ["[0, 1, 2, 3]\n"] * 2
    assert sum(line.startswith("GET") for line in s3.asked) == 4


@given(
    sizes=st.lists(st.integers(1, 50), max_size=12),
    times=st.lists(st.integers(0, 5), min_size=12, max_size=12),
    used=st.sets(st.integers(0, 11)),
    excess=st.integers(-10, 400),
)
def test_those_that_give_way_are_idle_oldest_and_no_more_than_it_takes(
    sizes: list[int], times: list[int], used: set[int], excess: int
) -> None:
    all_copies = [Copy(str(n), size, times[n]) for n, size in enumerate(sizes)]
    gone = giving_way(all_copies, {str(n) for n in used}, excess)
    idle = [copy for n, copy in enumerate(all_copies) if n not in used]
    kept = [copy for copy in idle if copy not in gone]
    assert all(copy in idle for copy in gone)
    freed = sum(copy.size_bytes for copy in gone)
    assert freed >= excess or not kept
    assert not gone or freed - gone[-1].size_bytes < excess
    assert all(one.used_at_ns <= other.used_at_ns for one in gone for other in kept)


def test_cache_lies_beside_the_run_or_where_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: list[Blob], store: BlobStore
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for section, uri, place in (
        (CacheSection(), str(tmp_path / "run"), "run/local/cache"),
        (CacheSection(), "s3://lab/run", ".atoll/cache"),
        (CacheSection(folder="~/copies", copy_always=True), "s3://lab/run", "home/copies"),
    ):
        open_cache(section, uri).hold(store, blobs)
        assert (tmp_path / place / "seen").is_dir()
