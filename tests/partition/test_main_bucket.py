import dataclasses
from pathlib import Path

import numpy as np
import pytest

from atoll.node_cache import NodeCache
from partition.main_bucket import main_bucket
from partition.reader import ShardReader
from tests.partition.bucketed_run import BucketedRun, numbers


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> BucketedRun:
    return BucketedRun.written(tmp_path_factory.mktemp("buckets"))


def test_main_bucket_of_a_partition_reads_as_one_of_a_single_size(
    run: BucketedRun, tmp_path: Path
) -> None:
    main = main_bucket(run.made)
    assert (main.num_samples, main.shapes, main.shape) == (37, ((3, 8, 8),), (8, 8, 3))
    reader = ShardReader(run.store, main, None, NodeCache(tmp_path), 0, features=True)
    batch = reader.batch(0, 37)
    wanted = {number for number, image in enumerate(run.images) if image.shape == (8, 8, 3)}
    assert set(numbers(batch)) == wanted
    assert np.array_equal(batch.images, [run.images[number] for number in numbers(batch)])
    beside = run.reader(features=True)
    assert batch.features is not None
    known = dict(zip(numbers(batch), batch.features, strict=True))
    for step in range(30):
        other = beside.batch(step * 6, 6)
        if other.images.shape[1:] == (8, 8, 3):
            assert np.array_equal(other.features, [known[number] for number in numbers(other)])


def test_main_bucket_of_a_partition_without_buckets_is_itself(run: BucketedRun) -> None:
    plain = dataclasses.replace(run.made, buckets=())
    assert main_bucket(plain) is plain
