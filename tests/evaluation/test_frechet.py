import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import BadInput
from evaluation.frechet import Moments, frechet_distance, moments


def with_moments(mean, covariance, num=50, seed=0):
    """Samples whose mean and covariance are exactly these."""
    raw = np.random.default_rng(seed).normal(size=(num, len(mean)))
    raw -= raw.mean(0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_commuting_gaussians_is_their_closed_form():
    mean, other = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    first, second = np.array([4.0, 1.0, 0.25]), np.array([1.0, 9.0, 0.25])
    distance = frechet_distance(
        moments(with_moments(mean, np.diag(first), seed=1)),
        moments(with_moments(other, np.diag(second), seed=2)),
    )
    expected = ((mean - other) ** 2).sum() + ((first**0.5 - second**0.5) ** 2).sum()
    assert distance == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_rotated_gaussians_is_the_one_before_the_rotation():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    first, second = (np.diag(rng.uniform(0.1, 5, 6)) for _ in range(2))
    zero = np.zeros(6)
    straight = frechet_distance(Moments(zero, first), Moments(zero, second))
    rotated = frechet_distance(
        Moments(zero, turn @ first @ turn.T), Moments(zero, turn @ second @ turn.T)
    )
    assert rotated == pytest.approx(straight, rel=1e-10)


def test_frechet_distance_of_gaussians_that_do_not_commute_is_their_closed_form():
    mean, first = np.array([1.0, 3.0]), np.array([[2.0, 1.0], [1.0, 2.0]])
    other, second = np.array([0.0, 1.0]), np.array([[1.0, 0.0], [0.0, 4.0]])
    assert not np.allclose(first @ second, second @ first)
    # The root of a 2 x 2 matrix has the trace sqrt(trace + 2 sqrt(determinant)); here the product
    # has trace 10 and determinant 12.
    expected = 1 + 4 + 4 + 5 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    found = frechet_distance(Moments(mean, first), Moments(other, second))
    assert found == pytest.approx(expected, rel=1e-12)


@settings(max_examples=30)
@given(num=st.integers(2, 40), width=st.integers(1, 30), seed=st.integers(0, 1000))
def test_frechet_distance_of_a_set_to_itself_is_zero_even_when_singular(num, width, seed):
    found = moments(np.random.default_rng(seed).normal(size=(num, width)).astype(np.float32))
    assert frechet_distance(found, found) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_few_samples_is_symmetric_and_finite():
    rng = np.random.default_rng(0)
    few, many = moments(rng.normal(size=(3, 64))), moments(rng.normal(size=(500, 64)))
    forth, back = frechet_distance(few, many), frechet_distance(many, few)
    assert forth > 0
    assert forth == pytest.approx(back, rel=1e-9)


def test_moments_of_a_single_sample_are_refused():
    with pytest.raises(BadInput, match="at least 2 samples"):
        moments(np.zeros((1, 4)))
