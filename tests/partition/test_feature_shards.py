import numpy as np
import pytest

from atoll.blobs import open_store
from atoll.config import Config
from atoll.node_cache import NodeCache
from partition.centroids import load_centroids
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition

NUM = 61


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    images = np.random.default_rng(0).integers(0, 256, (NUM, 4, 4), np.uint8)
    np.savez(folder / "data.npz", images=images)
    config = Config.model_validate(
        {
            "run": {"uri": str(folder / "run")},
            "data": {"source": "npz", "path": str(folder / "data.npz")},
            "partition": {"num_experts": 3, "num_fine": 8, "pca_dims": 5, "samples_per_shard": 7},
            "expert": {"condition": "none"},
            "evaluation": {"extractor": {"transformers": "none"}},
        }
    )
    run_partition(config, lambda *_: None)
    store = open_store(config.run.uri)
    return store, load_partition(store)


def test_features_read_beside_a_sample_are_those_its_image_has(run, tmp_path):
    store, partition = run
    reader = ShardReader(store, partition, None, NodeCache(tmp_path), 0, features=True)
    batch = reader.batch(0, NUM)
    model = load_centroids(store, partition)
    wanted = model.features.transform(batch.images)
    np.testing.assert_allclose(batch.features, wanted, rtol=1e-3, atol=1e-3)
    assert partition.features.dims == 5
    of_images = [len(shard_set.shards) for shard_set in partition.shard_sets]
    assert [len(shards) for shards in partition.features.shards] == of_images


def test_features_of_one_cluster_follow_its_own_samples(run, tmp_path):
    store, partition = run
    reader = ShardReader(store, partition, [1], NodeCache(tmp_path), 0, features=True)
    batch = reader.batch(0, reader.num_samples)
    wanted = load_centroids(store, partition).features.transform(batch.images)
    np.testing.assert_allclose(batch.features, wanted, rtol=1e-3, atol=1e-3)


def test_batches_bring_no_features_unless_asked(run, tmp_path):
    store, partition = run
    assert ShardReader(store, partition, None, NodeCache(tmp_path), 0).batch(0, 5).features is None
