import math

import pytest
import torch

from experts.flow import TimeDensity, flow_loss, linear_path, seeded

CPU = torch.device("cpu")


def drawn(density):
    return density.sample(200_000, seeded(CPU, 0)).double()


def test_linear_path_runs_from_image_to_noise():
    x0, noise = torch.randn(2, 3, 1, 2, 2)
    point = linear_path(x0, noise, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(point.x_t[0], x0[0])
    torch.testing.assert_close(point.x_t[1], 0.75 * x0[1] + 0.25 * noise[1])
    torch.testing.assert_close(point.x_t[2], noise[2])
    torch.testing.assert_close(point.velocity, noise - x0)


def test_flow_loss_averages_each_row_alone():
    target = torch.zeros(2, 1, 2, 2)
    predicted = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    assert flow_loss(predicted, target).tolist() == [1.0, 9.0]


def test_uniform_times_have_the_moments_of_their_density():
    t = drawn(TimeDensity("uniform"))
    assert t.mean() == pytest.approx(1 / 2, abs=2e-3)
    assert t.var() == pytest.approx(1 / 12, abs=1e-3)


def test_logit_normal_times_are_normal_in_the_logit():
    logit = torch.logit(drawn(TimeDensity("logit-normal")))
    assert logit.mean() == pytest.approx(0, abs=1e-2)
    assert logit.var() == pytest.approx(1, abs=2e-2)
    assert (logit**4).mean() == pytest.approx(3, abs=0.1)


def test_shifted_times_have_the_moments_of_their_density():
    # E[s u / (1 + (s - 1) u)] for u uniform, by integration.
    s = 3.0
    mean = s / (s - 1) * (1 - math.log(s) / (s - 1))
    assert drawn(TimeDensity("shifted", s)).mean() == pytest.approx(mean, abs=2e-3)
    assert torch.equal(drawn(TimeDensity("shifted", 1.0)), drawn(TimeDensity("uniform")))


@pytest.mark.parametrize("kind", ["uniform", "logit-normal", "shifted"])
def test_times_lie_between_data_and_noise(kind):
    t = drawn(TimeDensity(kind, 3.0))
    assert t.min() >= 0
    assert t.max() <= 1


def test_seeded_generators_of_neighbouring_seeds_are_unrelated():
    streams = torch.stack([torch.randn(1000, generator=seeded(CPU, 7, i)) for i in range(50)])
    correlation = torch.corrcoef(streams) - torch.eye(50)
    assert correlation.abs().max() < 0.15
    assert torch.equal(streams[3], torch.randn(1000, generator=seeded(CPU, 7, 3)))
