from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from atoll.errors import BadInput
from atoll.sections import PartitionSection
from partition.assignment import Assignment, assign_samples
from partition.centroids import assign
from partition.rowfile import RowFile


def split(path: Path, points: np.ndarray, seed: int = 0, **settings: Any) -> Assignment:
    rows = RowFile(path / "rows", points.shape[1])
    path.joinpath("rows").write_bytes(points.astype(np.float32).tobytes())
    section = PartitionSection.model_validate(settings)
    return assign_samples(rows, section, seed)


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centres = 20 * generator.standard_normal((len(sizes), 8))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return centres[labels] + generator.standard_normal((len(labels), 8)), labels


def test_separate_blobs_are_recovered_exactly(tmp_path: Path) -> None:
    points, labels = blobs([500, 300, 100, 30])
    found = split(tmp_path, points, num_experts=4, num_fine=32, balance=0.0)
    assert adjusted_rand_score(labels, found.clusters) == 1
    assert sorted(found.sizes) == [30, 100, 300, 500]


def test_even_sizes_are_even_whatever_the_blobs(tmp_path: Path) -> None:
    points, _ = blobs([500, 300, 100, 30])
    found = split(tmp_path, points, num_experts=4, num_fine=32, balance=1.0)
    assert np.abs(found.sizes - 232.5).max() <= 1.5


def test_sizes_in_proportions_make_clusters_of_them(tmp_path: Path) -> None:
    """On nodes of these speeds, each with its share of the batch, all experts end together."""
    points, _ = blobs([500, 300, 100, 30])
    found = split(tmp_path, points, num_experts=4, num_fine=32, sizes=(1.0, 1.0, 4.0, 3.0))
    assert np.abs(np.sort(found.sizes) - np.array([1, 1, 3, 4]) * 930 / 9).max() <= 1.5


def test_half_balance_lies_between(tmp_path: Path) -> None:
    points, _ = blobs([500, 300, 100, 30])
    found = split(tmp_path, points, num_experts=4, num_fine=32, balance=0.5)
    assert np.abs(np.sort(found.sizes) - [131, 166, 266, 366]).max() <= 1


def test_free_assignment_is_the_nearest_coarse_centroid(tmp_path: Path) -> None:
    points = np.random.default_rng(1).standard_normal((3000, 4)).astype(np.float32)
    found = split(tmp_path, points, num_experts=5, num_fine=40, balance=0.0)
    squares = np.square(points[:, None] - found.coarse).sum(2)
    assert np.array_equal(found.clusters, squares.argmin(1))


def test_assignment_follows_from_centroids_and_offsets_alone(tmp_path: Path) -> None:
    points = np.random.default_rng(1).standard_normal((3000, 4)).astype(np.float32)
    found = split(tmp_path, points, num_experts=5, num_fine=40)
    assert np.array_equal(assign(points, found.coarse, found.offsets), found.clusters)
    assert found.cluster_of_fine.shape == (len(found.fine),)


@pytest.mark.parametrize("num_fine", [5, 40])
def test_scatter_is_the_mean_squared_distance_of_samples_to_their_centre(
    tmp_path: Path, num_fine: int
) -> None:
    points = np.random.default_rng(1).standard_normal((3000, 4)).astype(np.float32)
    found = split(tmp_path, points, num_experts=5, num_fine=num_fine)
    away = np.square(points - found.coarse[found.clusters]).sum(1)
    assert found.scatter == pytest.approx(away.mean(), rel=1e-5)


def test_assignment_of_one_seed_is_the_same_twice_and_differs_from_anothers(tmp_path: Path) -> None:
    points = np.random.default_rng(1).standard_normal((3000, 4))
    first, again, other = (
        split(tmp_path, points, seed, num_experts=5, num_fine=40) for seed in (0, 0, 1)
    )
    assert np.array_equal(first.clusters, again.clusters)
    assert np.array_equal(first.fine, again.fine)
    assert not np.array_equal(first.clusters, other.clusters)


def test_one_sample_a_cluster_is_possible(tmp_path: Path) -> None:
    points = np.arange(5.0)[:, None]
    found = split(tmp_path, points, num_experts=5, num_fine=64)
    assert found.sizes.tolist() == [1] * 5


def test_more_clusters_than_samples_is_refused_by_key(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"partition\.num_experts = 8 is more than the 5 samples"):
        split(tmp_path, np.arange(5.0)[:, None], num_experts=8)


def test_more_clusters_than_different_samples_is_refused_by_key(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"num_experts = 4, but the samples form only 1 groups"):
        split(tmp_path, np.ones((50, 3)), num_experts=4)
