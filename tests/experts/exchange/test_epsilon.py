"""Data from one normal distribution, of which noise and velocity are known in closed form."""

import pytest
import torch

from experts.exchange.epsilon import EpsilonField

MEAN, SPREAD = 0.7, 0.5


def told_noise(z, s, cond):
    """The mean of eps given z = alpha x0 + sigma eps, where x0 ~ N(MEAN, SPREAD²)."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    logarithms = (1 - betas).log().cumsum(0)
    steps = 1000 * s.double()
    low = steps.floor().long().clamp(0, 998)
    # Between steps, the signal's logarithm is what a network meets in training at either side.
    ratios = (logarithms.exp() / (1 - logarithms.exp())).log() / 2
    ratio = ratios[low] + (steps - low) * (ratios[low + 1] - ratios[low])
    alpha, sigma = torch.sigmoid(2 * ratio).sqrt(), torch.sigmoid(-2 * ratio).sqrt()
    alpha, sigma = (each.reshape(-1, 1, 1, 1) for each in (alpha, sigma))
    centred = z.double() - alpha * MEAN
    return (sigma * centred / (alpha**2 * SPREAD**2 + sigma**2)).float()


def velocity(x_t, t):
    """The mean of eps - x0 given x_t = (1 - t) x0 + t eps."""
    t = t.reshape(-1, 1, 1, 1)
    variance = (1 - t) ** 2 * SPREAD**2 + t**2
    centred = x_t - (1 - t) * MEAN
    return t * centred / variance - MEAN - (1 - t) * SPREAD**2 * centred / variance


def test_epsilon_field_of_the_true_noise_is_the_true_velocity():
    t = torch.linspace(0.012, 0.99, 40)
    x_t = torch.randn(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = EpsilonField(told_noise)(x_t, t, None)
    error = (found - velocity(x_t, t)).abs().flatten(1).amax(1)
    # The formula divides by 1 - t, and so does rounding grow.
    assert (error * (1 - t)).max() < 1e-5


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_epsilon_field_at_either_end_is_finite_and_near_the_true_velocity(t):
    x_t = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    times = torch.full((8,), t)
    found = EpsilonField(told_noise)(x_t, times, None)
    assert torch.allclose(found, velocity(x_t, times), atol=0.1)


def test_epsilon_field_asks_for_steps_from_first_to_last():
    asked = []

    def field(x_t, s, cond):
        asked.append(1000 * s)
        return x_t

    EpsilonField(field)(torch.zeros(3, 1, 2, 2), torch.tensor([0.0, 0.5, 1.0]), None)
    first, middle, last = asked[0].tolist()
    assert (first, last) == (pytest.approx(0, abs=1e-3), pytest.approx(999, abs=1e-3))
    assert 200 < middle < 300  # where DDPM's alpha and sigma are equal
