"""The centroid gate is exact where its picture of the data is."""

import numpy as np
import pytest
import torch

from atoll.errors import ConfigError
from partition.centroids import CentroidModel, assign
from partition.pca import PcaFeatures
from router.centroid import CentroidGate, centroid_gate
from router.gate import PriorGate

CPU = torch.device("cpu")
PRIOR = PriorGate(torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5]], dtype=torch.float64))


def gaussian_clusters():
    """A gate for three isotropic clusters in a rotated, shifted plane; std 0.5."""
    rotation, _ = torch.linalg.qr(
        torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    return CentroidGate(
        mean=torch.tensor([0.3, -0.2, 0.1, 0.5], dtype=torch.float64),
        components=rotation,
        centroids=torch.tensor(
            [[2.0, 0, 0, 0], [0, 1.5, 0, 1], [-1, 0, -1, 0]], dtype=torch.float64
        ),
        offsets=torch.zeros(3, dtype=torch.float64),
        variance=0.25,
        prior=PRIOR,
    )


def exact(gate, x_t, t, prior):
    """Bayes' rule over N((1 - t) mean_k, (1 - t)^2 variance + t^2) in the pixels."""
    centres = gate.centroids @ gate.components + gate.mean
    signal = (1 - t).unsqueeze(1)
    away = x_t.flatten(1).unsqueeze(1) - signal.unsqueeze(2) * centres
    spread = signal.square() * gate.variance + t.unsqueeze(1).square()
    return torch.softmax(prior.log() - away.square().sum(2) / (2 * spread), dim=1)


def test_gate_of_isotropic_clusters_is_the_exact_posterior_at_every_time():
    gate = gaussian_clusters()
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(50, 1, 2, 2, dtype=torch.float64, generator=generator)
    t = torch.linspace(0, 1, 50, dtype=torch.float64)

    for cond, row in ((None, 1), (torch.zeros(50, dtype=torch.int64), 0)):
        expected = exact(gate, x_t, t, PRIOR.table[row])
        torch.testing.assert_close(gate(x_t, t, cond), expected)


def test_gate_of_pure_noise_is_the_prior():
    p = gaussian_clusters()(torch.randn(5, 1, 2, 2).double(), torch.ones(5).double(), None)

    torch.testing.assert_close(p, PRIOR.table[1:].expand(5, -1))


def model_with(features):
    return CentroidModel(
        features=features,
        fine=np.array([[3.0, 0], [1, 0], [0, 2], [0, 2]], np.float32),
        cluster_of_fine=np.array([0, 0, 1, 1]),
        coarse=np.array([[2.0, 0], [0, 2]], np.float32),
        offsets=np.array([0.0, 3.0], np.float32),
        scatter=0.5,
    )


def test_gate_from_a_partition_agrees_with_its_assignment_of_clean_images():
    generator = np.random.default_rng(0)
    components = np.linalg.qr(generator.standard_normal((4, 2)))[0].T.astype(np.float32)
    features = PcaFeatures(np.zeros(4, np.float32), np.ascontiguousarray(components))
    model = model_with(features)
    images = generator.integers(0, 256, (400, 2, 2, 1), np.uint8)
    gate = centroid_gate(model, PriorGate(torch.full((1, 2), 0.5)), CPU)

    x0 = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    choice = gate(x0, torch.zeros(400), None).argmax(1)

    assert gate.variance == pytest.approx(0.25)
    assert np.array_equal(
        choice.numpy(), assign(features.transform(images), model.coarse, model.offsets)
    )


def test_gate_of_features_that_are_not_linear_is_refused():
    class Other:
        def transform(self, images):
            return images

        def arrays(self):
            return {}

    with pytest.raises(ConfigError, match=r'needs partition\.features = "pca"'):
        centroid_gate(model_with(Other()), PRIOR, CPU)
