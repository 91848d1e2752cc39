from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from partition.batch import Batch
from partition.centroids import load_centroids
from partition.images import squeezed
from partition.reader import ShardReader
from tests.partition.bucketed_run import BucketedRun, numbers

SIZE = 6  # of a batch
NUMS = [37, 9, 1]  # images of each bucket
STEPS = sum(47 * num // SIZE for num in NUMS)  # of 47 epochs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> BucketedRun:
    return BucketedRun.written(tmp_path_factory.mktemp("buckets"))


def batches(reader: ShardReader, num: int, first: int = 0) -> list[Batch]:
    return [reader.batch(step * SIZE, SIZE) for step in range(first, first + num)]


def assert_equal(one: Batch, other: Batch) -> None:
    for name in ("images", "labels", "clusters", "indices"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.captions == other.captions


def test_batches_are_of_one_bucket_each_and_hold_its_images_bit_by_bit(run: BucketedRun) -> None:
    for batch in batches(run.reader(), 60):
        wanted = [run.images[number] for number in numbers(batch)]
        assert len({image.shape for image in wanted}) == 1
        assert np.array_equal(batch.images, np.stack(wanted))
        dark = np.array([image.mean() < 128 for image in wanted])
        assert ((batch.clusters == run.dark) == dark).all()


def test_buckets_are_seen_in_proportion_and_nothing_is_dropped(run: BucketedRun) -> None:
    seen: Counter[int] = Counter()
    visits: Counter[tuple[int, ...]] = Counter()
    for batch in batches(run.reader(), STEPS):
        seen.update(numbers(batch))
        visits[batch.images.shape[1:]] += 1
    assert [visits[8, 8, 3], visits[4, 12, 3], visits[12, 4, 3]] == [
        47 * num // SIZE for num in NUMS
    ]
    for number, image in enumerate(run.images):
        num = {(8, 8): 37, (4, 12): 9, (12, 4): 1}[image.shape[:2]]
        often = 47 * num // SIZE * SIZE // num
        assert often <= seen[number] <= often + 1


@pytest.mark.parametrize("world", [2, 3, 5])
def test_slices_of_the_ranks_make_up_the_batch_of_one_bucket(run: BucketedRun, world: int) -> None:
    samples = run.reader()
    for step in range(20):
        whole = samples.batch(step * SIZE, SIZE)
        parts = [samples.batch(step * SIZE, SIZE, rank, world) for rank in range(world)]
        for name in ("images", "labels", "clusters", "indices"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert np.array_equal(joined, getattr(whole, name))


@pytest.mark.parametrize("memory", [{}, {"memory_bytes": 0}])
def test_reader_opened_anew_at_any_step_goes_on_exactly(
    run: BucketedRun, memory: dict[str, int]
) -> None:
    steady = batches(run.reader(), 30)
    for first in (0, 7, 29):
        again = batches(run.reader(**memory), 30 - first, first)
        for one, other in zip(again, steady[first:], strict=True):
            assert_equal(one, other)


def test_images_of_all_buckets_together_decide_whether_they_are_kept(run: BucketedRun) -> None:
    whole = sum(image.size for image in run.images)
    kept, read = run.reader(memory_bytes=whole), run.reader(memory_bytes=whole - 1)
    assert kept._kept is not None
    assert read._kept is None


def test_cluster_without_images_of_a_bucket_has_batches_of_the_others(run: BucketedRun) -> None:
    for cluster, shapes in ((run.dark, {(8, 8), (4, 12)}), (1 - run.dark, {(8, 8), (12, 4)})):
        seen = batches(run.reader([cluster]), 120)
        assert {batch.images.shape[1:3] for batch in seen} == shapes
        assert {owner for batch in seen for owner in batch.clusters} == {cluster}


@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_samples_are_batches_of_one_bucket_that_are_never_learnt_from(
    run: BucketedRun, seed: int
) -> None:
    everyone = run.reader(held_out=5, seed=seed)
    measured = everyone.held_out()
    assert sum(len(batch.images) for batch in measured) == 10
    for batch in measured:
        wanted = np.stack([run.images[number] for number in numbers(batch)])
        assert np.array_equal(batch.images, wanted)
        assert sorted(batch.clusters) == batch.clusters.tolist()
    held = {number for batch in measured for number in numbers(batch)}
    parts = [run.reader([cluster], held_out=5).held_out() for cluster in (0, 1)]
    alone = [number for part in parts for batch in part for number in numbers(batch)]
    assert sorted(alone) == sorted(held)
    learnt = {number for batch in batches(everyone, STEPS) for number in numbers(batch)}
    assert learnt == set(range(47)) - held


def test_bucket_that_a_cluster_holds_out_whole_is_told_of(
    run: BucketedRun, caplog: pytest.LogCaptureFixture
) -> None:
    run.reader([run.dark], held_out=5)  # of nine and more
    assert not caplog.records
    measured = run.reader(held_out=5).held_out()
    assert [len(batch.images) for batch in measured if batch.images.shape[1:3] == (12, 4)] == [1]
    (told,) = (record.__dict__["fields"] for record in caplog.records)
    assert told == {"cluster": 1 - run.dark, "bucket": "4x12", "samples": 1}


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_features_lie_beside_their_samples_and_are_those_of_the_whole_picture(
    tmp_path: Path, duplicates: str
) -> None:
    dropping = {"duplicates": duplicates, "duplicate_epsilon": 0.4}
    run = BucketedRun.written(tmp_path, partition=dropping)
    assert (run.made.num_samples < 47) == (duplicates == "drop")
    model = load_centroids(run.store, run.made)
    for batch in batches(run.reader(features=True), 40):
        whole = np.stack([squeezed(image, (8, 8)) for image in batch.images])
        wanted = model.features.transform(whole)
        np.testing.assert_allclose(batch.features, wanted, rtol=1e-3, atol=1e-3)
