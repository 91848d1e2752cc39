import tarfile
from pathlib import Path

import numpy as np
import pytest

from atoll.blobs import BlobStore, open_store
from atoll.cache_stamp import Stamp
from atoll.config import Config
from atoll.errors import BadInput, BlobDamaged, BlobMissing, ConfigError, DataError
from atoll.node_cache import NodeCache
from partition.batch import Batch
from partition.manifest import Partition
from partition.order import EndlessOrder
from partition.reader import ShardReader
from partition.shards import places
from partition.stage import run_partition

NUM = 101


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    images = np.random.default_rng(0).integers(0, 256, (NUM, 4, 4), np.uint8)
    images[:, 0, 0] = np.arange(NUM)  # tells which is which
    np.savez(folder / "data.npz", images=images, labels=np.arange(NUM) % 7)
    return folder


def partitioned(folder: Path, run: Path) -> tuple[BlobStore, Partition]:
    config = Config.model_validate(
        {
            "run": {"uri": str(run)},
            "data": {"source": "npz", "path": str(folder / "data.npz")},
            "partition": {"num_experts": 3, "num_fine": 8, "samples_per_shard": 15},
        }
    )
    return open_store(str(run)), run_partition(config, lambda *_: None)


@pytest.fixture(scope="module")
def run(folder: Path) -> tuple[BlobStore, Partition]:
    return partitioned(folder, folder / "run")


def reader(
    run: tuple[BlobStore, Partition], tmp_path: Path, clusters: list[int] | None = None, **kw: int
) -> ShardReader:
    return ShardReader(*run, clusters, NodeCache(tmp_path / "cache"), kw.pop("seed", 0), **kw)


def assert_equal(first: Batch, second: Batch) -> None:
    for name in ("images", "labels", "clusters", "indices"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.captions == second.captions


def names(batch: Batch) -> list[int]:
    return [int(name) for name in batch.images[:, 0, 0, 0]]


@pytest.mark.parametrize("epoch", [0, 1, 1000])
def test_each_epoch_holds_every_sample_once(
    run: tuple[BlobStore, Partition], tmp_path: Path, epoch: int
) -> None:
    batch = reader(run, tmp_path).batch(epoch * NUM, NUM)
    assert sorted(names(batch)) == list(range(NUM))
    assert [name % 7 for name in names(batch)] == batch.labels.tolist()


def test_epochs_and_seeds_have_orders_of_their_own(
    run: tuple[BlobStore, Partition], tmp_path: Path
) -> None:
    first, other = reader(run, tmp_path), reader(run, tmp_path, seed=1)
    orders = {tuple(names(r.batch(at, NUM))) for r in (first, other) for at in (0, NUM)}
    assert len(orders) == 4


def test_chosen_clusters_alone_are_read(run: tuple[BlobStore, Partition], tmp_path: Path) -> None:
    everything = reader(run, tmp_path).batch(0, NUM)
    one = reader(run, tmp_path, [1])
    batch = one.batch(0, one.num_samples)
    assert set(batch.clusters) == {1}
    assert one.num_samples == run[1].shard_sets[1].num_samples
    owned = np.array(names(everything))[everything.clusters == 1]
    assert sorted(names(batch)) == sorted(owned)


@pytest.mark.parametrize(("size", "world"), [(12, 1), (12, 2), (12, 3), (13, 4), (3, 5), (250, 2)])
def test_slices_of_the_ranks_make_up_the_batch(
    run: tuple[BlobStore, Partition], tmp_path: Path, size: int, world: int
) -> None:
    samples = reader(run, tmp_path)
    whole = samples.batch(95, size)
    slices = [samples.batch(95, size, rank, world) for rank in range(world)]
    assert len(whole.images) == size
    for name in ("images", "labels", "clusters", "indices"):
        parts = np.concatenate([getattr(part, name) for part in slices])
        assert np.array_equal(parts, getattr(whole, name))


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_samples_are_the_same_for_whoever_reads_and_in_no_batch(
    run: tuple[BlobStore, Partition], tmp_path: Path, seed: int
) -> None:
    everyone = reader(run, tmp_path, held_out=5, seed=seed)
    (measured,) = everyone.held_out()
    assert measured.clusters.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    (one,) = reader(run, tmp_path, [1], held_out=5).held_out()
    assert names(one) == names(measured)[5:10]
    assert names(one) != sorted(names(one))  # not merely the first of its shards
    epoch = NUM - 15
    for cursor in (0, epoch, 7 * epoch):
        learnt = names(everyone.batch(cursor, epoch))
        assert sorted(learnt + names(measured)) == list(range(NUM))


def test_reader_that_holds_nothing_out_reads_what_it_always_read(
    run: tuple[BlobStore, Partition], tmp_path: Path
) -> None:
    plain = reader(run, tmp_path)
    assert plain.held_out() == ()
    order = EndlessOrder(NUM, 0).span(90, 140)
    assert plain.batch(90, 50).indices.tolist() == order.tolist()


def test_reader_that_would_hold_out_a_whole_cluster_refuses(
    run: tuple[BlobStore, Partition], tmp_path: Path
) -> None:
    smallest = min(shard_set.num_samples for shard_set in run[1].shard_sets)
    with pytest.raises(ConfigError, match=f"training.held_out = {smallest} leaves nothing of"):
        reader(run, tmp_path, held_out=smallest)


def test_reader_opened_anew_at_a_cursor_goes_on_exactly(
    run: tuple[BlobStore, Partition], tmp_path: Path
) -> None:
    steady = reader(run, tmp_path)
    for cursor in range(0, 3 * NUM, 24):
        assert_equal(reader(run, tmp_path).batch(cursor, 24), steady.batch(cursor, 24))


def test_reader_without_memory_gives_the_same(
    run: tuple[BlobStore, Partition], tmp_path: Path
) -> None:
    rich, poor = reader(run, tmp_path), reader(run, tmp_path, memory_bytes=0)
    for cursor in (0, 90, 500):
        assert_equal(poor.batch(cursor, 40), rich.batch(cursor, 40))


def test_reader_keeps_samples_it_decoded(folder: Path, tmp_path: Path) -> None:
    samples = reader(partitioned(folder, tmp_path / "run"), tmp_path)
    first = samples.batch(0, NUM)
    for path in (tmp_path / "run").rglob("*.tar"):
        path.unlink()
    assert_equal(samples.batch(0, NUM), first)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_shard_is_named(folder: Path, tmp_path: Path, damage: str) -> None:
    run = partitioned(folder, tmp_path / "run")
    path = sorted((tmp_path / "run").rglob("*.tar"))[2]
    data = path.read_bytes()
    path.write_bytes(data[:5000] if damage == "cut" else data.replace(b"label", b"lapel", 1))
    with pytest.raises(DataError, match=f"{path.name} is damaged: .* restore it from a copy"):
        reader(run, tmp_path)


def test_shard_that_rotted_since_it_was_verified_is_verified_anew_at_the_next_try(
    folder: Path, tmp_path: Path
) -> None:
    run = partitioned(folder, tmp_path / "run")
    whole = reader(run, tmp_path)
    shard = run[1].shard_sets[0].shards[0]
    path = tmp_path / "run" / shard.key
    path.write_bytes(path.read_bytes().replace(b"IDAT", b"IDOT"))
    with Stamp.opened(tmp_path / "cache" / "seen" / shard.digest) as stamp:
        stamp.set(path)  # a disk tells nobody what it forgets
    with pytest.raises(BlobDamaged, match=f"{path.name} makes no sense on this machine"):
        whole.batch(0, NUM)
    with pytest.raises(DataError, match=f"{path.name} is damaged"):
        reader(run, tmp_path)


def test_places_in_a_shard_are_those_that_the_standard_library_finds(
    run: tuple[BlobStore, Partition],
) -> None:
    path = run[0].in_place(run[1].shard_sets[1].shards[0].key)
    assert path
    with tarfile.open(path) as tar:
        assert places(path).tolist() == [[member.offset_data, member.size] for member in tar]


def test_missing_shard_is_named(folder: Path, tmp_path: Path) -> None:
    run = partitioned(folder, tmp_path / "run")
    path = sorted((tmp_path / "run").rglob("*.tar"))[2]
    path.unlink()
    with pytest.raises(BlobMissing, match=path.name):
        reader(run, tmp_path)


@pytest.mark.parametrize("clusters", [[3], [-1], []])
def test_clusters_that_are_not_there_are_refused(
    run: tuple[BlobStore, Partition], tmp_path: Path, clusters: list[int]
) -> None:
    with pytest.raises(BadInput, match="cluster"):
        reader(run, tmp_path, clusters)
