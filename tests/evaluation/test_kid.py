import itertools

import numpy as np
import pytest

from evaluation.kid import kernel_distance, squared_mmd


def test_squared_mmd_averaged_over_all_draws_is_the_exact_discrepancy():
    """Unbiased: the mean over every possible pair of samples is the value of the distributions."""
    first, second = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [2.0]])

    def kernel(x, y):
        return (x * y + 1) ** 3

    def mean_kernel(a, b):
        return np.mean([kernel(x[0], y[0]) for x in a for y in b])

    exact = mean_kernel(first, first) + mean_kernel(second, second) - 2 * mean_kernel(first, second)
    draws = [
        squared_mmd(np.array(x), np.array(y))
        for x in itertools.product(first, repeat=2)
        for y in itertools.product(second, repeat=2)
    ]
    assert np.mean(draws) == pytest.approx(exact, rel=1e-12)


def test_kernel_distance_of_one_distribution_is_within_its_spread_of_zero():
    rng = np.random.default_rng(0)
    found = kernel_distance(rng.normal(size=(600, 16)), rng.normal(size=(600, 16)))
    assert abs(found.mean) < 3 * found.std


def test_kernel_distance_of_shifted_samples_grows_with_the_shift():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(400, 16)), rng.normal(size=(400, 16))
    near, far = (kernel_distance(real, generated + by).mean for by in (0.2, 0.6))
    assert 0 < near < far


def test_kernel_distance_with_the_same_seed_is_the_same():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(100, 8)), rng.normal(size=(90, 8))
    assert kernel_distance(real, generated, seed=4) == kernel_distance(real, generated, seed=4)
