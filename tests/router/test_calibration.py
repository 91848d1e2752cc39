"""Calibration of gates whose answers are known."""

import numpy as np
import pytest
import torch

from atoll.errors import BadInput
from router.calibration import Known, calibrate


def known(mixture, num_batches=20):
    generator = torch.Generator().manual_seed(0)
    for _ in range(num_batches):
        x0, cluster, label = mixture.draw(200, generator)
        yield Known(x0, label, cluster)


def test_exact_gate_is_calibrated_at_every_time_and_knows_less_the_more_noise(mixture):
    found = calibrate(mixture.gate, known(mixture), seed=0, num_times=5)

    assert (found.calibration_error < 0.03).all()
    assert (np.diff(found.accuracy) < 0).all()
    assert (np.diff(found.cross_entropy) > 0).all()
    assert found.accuracy[0] > 0.95


def test_gate_that_is_sure_and_wrong_is_measured_so(mixture):
    def always_first(x_t, t, cond):
        return torch.tensor([1.0, 0.0, 0.0]).expand(len(x_t), -1)

    found = calibrate(always_first, known(mixture), seed=0, num_times=2)

    share = mixture.prior()[0].item()
    assert found.accuracy == pytest.approx([share] * 2, abs=0.03)
    assert found.calibration_error == pytest.approx(1 - found.accuracy)
    assert found.mean_confidence.tolist() == [1, 1]
    assert found.confidence[:, :-1].sum() == 0
    assert found.confusion[:, 1:].sum() == 0


def test_mean_confidence_is_the_mean_and_not_that_of_its_ranges(mixture):
    def surer_without_noise(x_t, t, cond):
        surest = torch.where(t < 0.5, 0.9625, 0.7)
        return torch.stack([surest, 1 - surest, torch.zeros_like(t)], dim=1)

    found = calibrate(surer_without_noise, known(mixture, num_batches=1), seed=0, num_times=4)

    assert found.mean_confidence == pytest.approx([0.9625, 0.9625, 0.7, 0.7])


def test_gate_whose_answers_are_no_numbers_is_refused(mixture):
    def diverged(x_t, t, cond):
        return torch.full((len(x_t), 3), float("nan"))

    with pytest.raises(BadInput, match=r"has diverged; train the router again .* router\.learning"):
        calibrate(diverged, known(mixture, num_batches=1), seed=0)


def test_every_image_is_counted_once_in_every_range_of_time(mixture):
    found = calibrate(
        mixture.gate, known(mixture, num_batches=3), seed=0, num_times=4, num_confidences=8
    )

    assert found.times.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.confidence.shape == (4, 8)
    assert found.confidence.sum(1).tolist() == [600] * 4
    assert found.confusion.sum() == 2400


def test_exact_gate_is_as_right_as_it_is_sure(mixture):
    found = calibrate(mixture.gate, known(mixture), seed=0, num_times=5, num_confidences=10)

    many = found.confidence.sum(0) > 500
    assert many.sum() >= 4
    assert found.right[many] == pytest.approx(found.sure[many], abs=0.05)
    bounds = np.arange(10) / 10
    filled = found.confidence.sum(0) > 0
    assert ((found.sure >= bounds) & (found.sure <= bounds + 0.1))[filled].all()


def test_gate_that_sees_the_class_loses_less_than_one_that_does_not(mixture):
    seeing = calibrate(mixture.gate, known(mixture), seed=0)
    blind = calibrate(lambda x, t, c: mixture.gate(x, t, None), known(mixture), seed=0)

    assert (seeing.cross_entropy <= blind.cross_entropy + 1e-3).all()
    assert seeing.cross_entropy[-1] < blind.cross_entropy[-1] - 0.005
