import itertools

import numpy as np
import pytest
import torch

from experts.expert import expert_task
from experts.flow import flow_loss
from experts.objectives import VELOCITY, Diffusion
from experts.task import Place
from experts.weighing import weighted_loss, with_weights
from partition.batch import Batch

KINDS = itertools.product(("epsilon", "v"), ("linear", "cosine"))
OBJECTIVES = [VELOCITY, *(Diffusion(*kind) for kind in KINDS)]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("most", [1.0, 5.0])
def test_error_of_the_image_counts_alike_whatever_a_network_tells(objective, most):
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 60, 1, 2, 2, generator=generator).double()
    t = torch.linspace(0.02, 0.98, 60).double()
    ones, zeros = torch.ones_like(x0), torch.zeros_like(x0)
    point = objective.point(x0, noise, t)
    alpha, sigma = objective.point(ones, zeros, t).x_t, objective.point(zeros, ones, t).x_t
    # Who takes the image for this one takes the noise for what is left of the point.
    off = 0.1 * torch.randn(60, 1, 2, 2, generator=generator).double()
    answer = objective.point(x0 + off, noise - alpha * off / sigma, t)
    torch.testing.assert_close(answer.x_t, point.x_t)

    target = with_weights(point.target, objective.weights(point.t, most))
    found = weighted_loss(answer.target, target)

    snr = (alpha / sigma).square().flatten(1)[:, 0]
    expected = snr.clamp(max=most) * off.square().flatten(1).mean(1)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)  # times are told in float32
    assert {bool(each) for each in snr > most} == {False, True}  # both branches were met


def test_weights_at_either_end_are_finite():
    for objective in OBJECTIVES:
        weights = objective.weights(torch.tensor([0.0, 0.999]), 5.0)
        assert ((weights >= 0) & (weights <= 1)).all()


def test_loss_of_a_weighted_target_is_the_loss_times_the_weight():
    predicted, target = torch.randn(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.0, 0.5, 1.0, 2.0])
    found = weighted_loss(predicted, with_weights(target, weights))
    torch.testing.assert_close(found, weights * flow_loss(predicted, target))


def test_expert_that_weighs_its_rows_learns_from_the_same_points(make_run):
    plain, weighing = make_run(), make_run(training={"min_snr": 5.0})
    tasks = [
        expert_task(run.config, run.assignment().spec, run.partition) for run in (plain, weighing)
    ]
    numbers = np.zeros(6, np.int64)
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    batch = Batch(images, numbers, numbers, None, numbers)
    one, other = (task.examples(batch, 1, Place()) for task in tasks)
    assert torch.equal(one.x_t, other.x_t)
    output = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = VELOCITY.weights(one.t, 5.0) * tasks[0].loss(output, one.target)
    torch.testing.assert_close(tasks[1].loss(output, other.target), expected)
    assert weighing.train(weighing.assignment())
