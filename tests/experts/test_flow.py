import torch

from experts.flow import flow_loss, linear_path, seeded

CPU = torch.device("cpu")


def test_linear_path_runs_from_image_to_noise():
    x0, noise = torch.randn(2, 3, 1, 2, 2)
    point = linear_path(x0, noise, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(point.x_t[0], x0[0])
    torch.testing.assert_close(point.x_t[1], 0.75 * x0[1] + 0.25 * noise[1])
    torch.testing.assert_close(point.x_t[2], noise[2])
    torch.testing.assert_close(point.target, noise - x0)


def test_flow_loss_averages_each_row_alone():
    target = torch.zeros(2, 1, 2, 2)
    predicted = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    assert flow_loss(predicted, target).tolist() == [1.0, 9.0]


def test_seeded_generators_of_neighbouring_seeds_are_unrelated():
    streams = torch.stack([torch.randn(1000, generator=seeded(CPU, 7, i)) for i in range(50)])
    correlation = torch.corrcoef(streams) - torch.eye(50)
    assert correlation.abs().max() < 0.15
    assert torch.equal(streams[3], torch.randn(1000, generator=seeded(CPU, 7, 3)))
