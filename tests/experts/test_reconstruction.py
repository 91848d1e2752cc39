import numpy as np
import pytest
import torch
from scipy.integrate import quad

from experts.profiles import exponent
from experts.reconstruction import Profile, mixed, mixture_of

TRACKED = [Profile(step, length) for step in range(100, 601, 100) for length in (0.05, 0.10)]


def density(profile, at):
    power = exponent(profile.length)
    return (power + 1) * at**power / profile.step ** (power + 1) * (at <= profile.step)


@pytest.mark.parametrize("wanted", [Profile(600, 0.075), Profile(600, 0.2), Profile(450, 0.1)])
def test_mixture_is_that_of_least_squares_on_a_grid(wanted):
    at = (np.arange(60_000) + 0.5) / 100
    matrix = np.stack([density(each, at) for each in TRACKED], axis=1)
    target = density(wanted, at)
    parts = np.linalg.lstsq(matrix, target, rcond=None)[0]
    found = mixture_of(TRACKED, wanted)
    np.testing.assert_allclose(found.parts, parts / parts.sum(), atol=1e-4)
    distance = np.linalg.norm(matrix @ found.parts - target) / np.linalg.norm(target)
    assert found.error == pytest.approx(distance, rel=1e-3)


def test_error_of_a_mixture_of_one_is_the_distance_of_two_profiles():
    one, other = Profile(300, 0.1), Profile(400, 0.2)

    def squared(function):
        return quad(lambda at: function(at) ** 2, 0, 400, points=[300], epsabs=1e-12)[0]

    distance = squared(lambda at: density(one, at) - density(other, at))
    found = mixture_of([one], other)
    assert found.parts == (1.0,)
    assert found.error == pytest.approx((distance / squared(lambda at: density(other, at))) ** 0.5)


@pytest.mark.parametrize("length", [0.05, 0.10])
def test_mixture_for_a_tracked_average_is_that_average(length):
    found = mixture_of(TRACKED, Profile(600, length))
    expected = [float(each == Profile(600, length)) for each in TRACKED]
    assert found.parts == pytest.approx(expected, abs=1e-9)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_mixture_of_more_checkpoints_is_nearer():
    errors = []
    for every in (200, 100, 50):
        steps = range(every, 1001, every)
        tracked = [Profile(step, length) for step in steps for length in (0.05, 0.10)]
        errors.append(mixture_of(tracked, Profile(1000, 0.13)).error)
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 0


def test_mixture_of_checkpoints_that_hardly_differ_stays_small():
    """A run's last checkpoints are neighbours: what tells them apart is lost in rounding."""
    tracked = [Profile(10**7 + step, 0.1) for step in range(5)]
    found = mixture_of(tracked, Profile(10**7 + 4, 0.12))
    assert sum(found.parts) == pytest.approx(1)
    assert max(map(abs, found.parts)) < 100


def test_mixed_adds_up_in_double_precision_and_keeps_types():
    big, small = torch.tensor([1e8, 1.0]), torch.tensor([-1e8, 2.0])
    found = mixed([(0.5, {"a": big}), (0.5, {"a": small}), (1.0, {"a": torch.ones(2)})])
    assert found["a"].dtype == torch.float32
    assert found["a"].tolist() == [1.0, 2.5]
