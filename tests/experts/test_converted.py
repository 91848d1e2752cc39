"""Data from one normal distribution, of which noise, v and velocity are known in closed form."""

import itertools
import math

import pytest
import torch

from experts.converted import Converted
from experts.schedule import NoiseSchedule

MEAN, SPREAD = 0.7, 0.5
KINDS = [(told, name) for told in ("epsilon", "v") for name in ("linear", "cosine")]


def betas_of(name):
    if name == "linear":
        return torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    cosines = [math.cos((s / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for s in range(1001)]
    ratios = [min(1 - after / before, 0.999) for before, after in itertools.pairwise(cosines)]
    return torch.tensor(ratios, dtype=torch.float64)


def told_by(target, name):
    """The mean of eps, or of v, given z = alpha x0 + sigma eps, where x0 ~ N(MEAN, SPREAD²)."""
    logarithms = (1 - betas_of(name)).log().cumsum(0)
    ratios = (logarithms.exp() / (1 - logarithms.exp())).log() / 2

    def tell(z, s, cond):
        steps = 1000 * s.double()
        low = steps.floor().long().clamp(0, 998)
        # Between steps, the signal's logarithm is what a network meets in training at either side.
        ratio = ratios[low] + (steps - low) * (ratios[low + 1] - ratios[low])
        alpha, sigma = torch.sigmoid(2 * ratio).sqrt(), torch.sigmoid(-2 * ratio).sqrt()
        alpha, sigma = (each.reshape(-1, 1, 1, 1) for each in (alpha, sigma))
        centred = z.double() - alpha * MEAN
        variance = alpha**2 * SPREAD**2 + sigma**2
        noise, image = sigma * centred / variance, MEAN + alpha * SPREAD**2 * centred / variance
        return (noise if target == "epsilon" else alpha * noise - sigma * image).float()

    return tell


def converted(told, name, network=None):
    return Converted(network or told_by(told, name), told, NoiseSchedule(name))


def velocity(x_t, t):
    """The mean of eps - x0 given x_t = (1 - t) x0 + t eps."""
    t = t.reshape(-1, 1, 1, 1)
    variance = (1 - t) ** 2 * SPREAD**2 + t**2
    centred = x_t - (1 - t) * MEAN
    return t * centred / variance - MEAN - (1 - t) * SPREAD**2 * centred / variance


@pytest.mark.parametrize(("told", "name"), KINDS)
def test_field_of_what_is_true_is_the_true_velocity(told, name):
    t = torch.linspace(0.012, 0.99, 40)
    x_t = torch.randn(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = converted(told, name)(x_t, t, None)
    error = (found - velocity(x_t, t)).abs().flatten(1).amax(1)
    # Of a noise the formula divides by 1 - t, and so does rounding grow; of v it does not.
    assert (error * (1 - t if told == "epsilon" else 1)).max() < 1e-5


@pytest.mark.parametrize(("told", "name"), KINDS)
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_field_at_either_end_is_finite_and_near_the_true_velocity(told, name, t):
    x_t = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    times = torch.full((8,), t)
    found = converted(told, name)(x_t, times, None)
    assert torch.allclose(found, velocity(x_t, times), atol=0.1)


@pytest.mark.parametrize(("told", "name"), KINDS)
def test_error_of_an_answer_near_noise_grows_by_no_more_than_the_linear_schedule_lets_it(
    told, name
):
    x_t = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    exact = told_by(told, name)
    off = converted(told, name, lambda z, s, cond: exact(z, s, cond) + 0.01)
    grown = off(x_t, torch.ones(8), None) - converted(told, name)(x_t, torch.ones(8), None)
    assert grown.abs().max() < (1.6 if told == "epsilon" else 0.011)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_field_asks_for_steps_from_first_to_last(name):
    asked = []

    def network(x_t, s, cond):
        asked.append(1000 * s)
        return x_t

    field = converted("v", name, network)
    field(torch.zeros(3, 1, 2, 2), torch.tensor([0.0, 0.5, 1.0]), None)
    first, middle, last = asked[0].tolist()
    assert (first, last) == (pytest.approx(0, abs=1e-3), pytest.approx(999, abs=1e-3))
    # Where alpha and sigma are equal; with the cosine that is in the middle, but for its offset.
    assert (200 < middle < 300) if name == "linear" else middle == pytest.approx(495, abs=1)
