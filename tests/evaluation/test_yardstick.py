import numpy as np
import pytest
import torch

from evaluation.real import RealImages
from evaluation.yardstick import Yardstick


class Pixels:
    """Pixels as features: 16 of them."""

    name, digest, accuracy = "pixels", "0", None

    def __call__(self, images):
        return images.reshape(len(images), -1).astype(np.float32)


@pytest.fixture
def yardstick():
    """Clusters of 100 images, of 10, which is fewer than there are features, and of none."""
    images = np.random.default_rng(0).integers(0, 256, (110, 4, 4, 1), dtype=np.uint8)
    clusters = (np.arange(110) >= 100).astype(np.int64)
    real = RealImages(images, -np.ones(110), clusters, 3, None, "", torch.empty)
    return Yardstick(Pixels(), real)


def test_scores_of_the_real_images_are_perfect(yardstick):
    scores = yardstick.scores(yardstick.real.images)
    assert scores.frechet == pytest.approx(0, abs=1e-6)
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 1)
    assert scores.num_samples == 110


def test_floor_compares_halves(yardstick):
    floor = yardstick.floor()
    assert floor.num_samples == 55
    assert floor.frechet > 0


def test_scores_of_a_cluster_with_fewer_images_than_features_have_no_frechet_distance(yardstick):
    real = yardstick.real
    large, small, none = yardstick.clusters(real.images, real.clusters)
    assert large.frechet == pytest.approx(0, abs=1e-6)
    assert small.frechet is None
    assert small.kid is not None
    assert (small.num_real, small.num_generated) == (10, 10)
    assert (none.cluster, none.num_real, none.frechet, none.kid) == (2, 0, None, None)


def test_scores_of_a_cluster_nobody_painted_are_left_out(yardstick):
    real = yardstick.real
    _, small, _ = yardstick.clusters(real.images[:50], real.clusters[:50])
    assert (small.num_generated, small.frechet, small.kid) == (0, None, None)
