import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from partition.balance import fit_offsets, sizes_under, target_sizes


def random_distances(num_clusters: int, num: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    points, centres = (
        generator.standard_normal((num, 3)),
        generator.standard_normal((num_clusters, 3)),
    )
    return np.square(centres[:, None] - points).sum(2).astype(np.float32)


@given(
    free=st.lists(st.integers(0, 1000), min_size=1, max_size=20),
    balance=st.floats(0, 1),
)
def test_target_sizes_keep_the_sum_and_leave_none_empty(free: list[int], balance: float) -> None:
    sizes = np.array(free)
    sizes[0] += len(sizes)  # at least a sample each
    targets = target_sizes(sizes, balance)
    assert targets.sum() == sizes.sum()
    assert targets.min() >= 1


def test_target_sizes_go_from_free_to_even() -> None:
    free = np.array([700, 200, 97])
    assert target_sizes(free, 0.0).tolist() == [700, 200, 97]
    assert sorted(target_sizes(free, 1.0)) == [332, 332, 333]
    assert target_sizes(free, 0.5).tolist() == [516, 266, 215]


def test_target_sizes_in_proportions_give_the_largest_to_the_largest() -> None:
    free = np.array([200, 700, 100])
    assert target_sizes(free, 1.0, (1.0, 1.0, 2.0)).tolist() == [250, 500, 250]
    assert target_sizes(free, 0.5, (1.0, 1.0, 2.0)).tolist() == [225, 600, 175]
    assert target_sizes(free, 0.0, (1.0, 1.0, 2.0)).tolist() == free.tolist()
    assert np.array_equal(target_sizes(free, 1.0, (3.0, 3.0, 3.0)), target_sizes(free, 1.0))


@pytest.mark.parametrize(("num_clusters", "num"), [(1, 5), (2, 2), (4, 10), (4, 1797), (16, 500)])
def test_offsets_for_even_sizes_give_them_to_a_sample(num_clusters: int, num: int) -> None:
    distances = random_distances(num_clusters, num)
    targets = target_sizes(sizes_under(distances, np.zeros(num_clusters)), 1.0)
    sizes = sizes_under(distances, fit_offsets(distances, targets))
    assert np.abs(sizes - targets).max() <= 1


def test_offsets_for_free_sizes_are_zero() -> None:
    distances = random_distances(4, 100)
    targets = target_sizes(sizes_under(distances, np.zeros(4)), 0.0)
    assert fit_offsets(distances, targets).tolist() == [0, 0, 0, 0]


def test_offsets_of_many_samples_give_sizes_within_half_a_percent() -> None:
    distances = random_distances(32, 32_000)
    sizes = sizes_under(distances, fit_offsets(distances, np.full(32, 1000)))
    assert np.abs(sizes - 1000).max() <= 5


def test_offsets_give_the_cheapest_assignment_of_these_sizes() -> None:
    distances = random_distances(4, 40)
    targets = np.full(4, 10)
    nearest = (distances - fit_offsets(distances, targets)[:, None]).argmin(0)
    cost = distances[nearest, np.arange(40)].sum()
    seats = np.repeat(distances, 10, axis=0)
    assert cost == pytest.approx(seats[linear_sum_assignment(seats)].sum(), rel=1e-5)
